"""The installer's parts: scripts that bash reads, stamps that say what a part was made from."""

from __future__ import annotations

import configparser
import fcntl
import os
import subprocess
import sys
import threading
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from osawslab.cloud.openstack import accounts, configuration, horizon, image, parts, services
from osawslab.cloud.openstack.configuration import About
from osawslab.cloud.openstack.facts import Installed
from osawslab.cloud.openstack.parts import Part
from osawslab.cloud.openstack.services import SERVICES
from osawslab.errors import BadSetting, LabError
from osawslab.settings import Settings
from osawslab.steps.openstack_install import ask, require

ABOUT = About("172.16.10.101", "br-example", "netdev", "qemu")
EVERY = parts.parts(ABOUT, "i-0123456789abcdef0")
SYSTEM = replace(ABOUT, datapath="system")
DASHBOARD = parts.dashboard(ABOUT)
SECRETS = "f" * 64
FRESH = Installed(
    system="debian", release="13", systemd=True, memory=8 * 10**9,
    available=7 * 10**9, disk=20 * 10**9,
    missing=services.PACKAGES, units={}, since={}, stamps={}, owner="", secrets="", foreign=(),
    kvm=False, openvswitch_module=False, tun=True,
)  # fmt: skip
DONE = replace(
    FRESH,
    missing=(),
    units=dict.fromkeys(SERVICES, "active"),
    stamps={part.name: part.stamp(SECRETS) for part in EVERY},
    owner="i-0123456789abcdef0",
    secrets=SECRETS,
)


def lacking(found: Installed, **settings: Any) -> list[str]:
    return [part.name for part in found.lacking(Settings(**settings), "i-0123456789abcdef0")]


@pytest.mark.parametrize(
    "part",
    [*EVERY, *parts.parts(SYSTEM, "i-1"), DASHBOARD, Part("forget", "", image.forget())],
)
def test_bash_reads_every_script(part: Part) -> None:
    done = subprocess.run(["bash", "-n"], input=part.command, capture_output=True, text=True)
    assert done.stderr == ""
    assert "{" + "about" not in part.command


@pytest.mark.parametrize(("path", "text"), configuration.files(ABOUT).items())
def test_every_file_is_ini_and_has_its_readers(path: str, text: str) -> None:
    read = configparser.RawConfigParser(strict=True)
    read.read_string(text)
    assert read.sections() or read.defaults()
    assert set(services.READERS[path]) <= set(SERVICES)


def bash(script: str, folder: Path, **programs: str) -> int:
    """Run a part's script, its folder and some programs replaced; its exit status."""
    for name, text in programs.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    words = ["bash", "-euo", "pipefail", "-c", script.replace(parts.FOLDER, str(folder))]
    return subprocess.run(words, env={"PATH": f"{folder}:{os.environ['PATH']}"}).returncode


@pytest.mark.parametrize(("before", "noted"), [(None, ""), ("old\n", "nova-api\n"), ("new\n", "")])
def test_who_reads_a_file_is_noted_also_where_the_note_was_cut_off(
    before: str | None, noted: str, tmp_path: Path
) -> None:
    file, kept = tmp_path / "nova.conf", tmp_path / "nova.conf.before"
    file.write_text("new\n")
    if before is not None:
        kept.write_text(before)
    assert bash(f"{parts.CHANGES}write {file} nova-api <<< new\n", tmp_path) == 0
    restart = tmp_path / "restart"
    assert (restart.read_text() if restart.exists() else "") == noted
    assert not kept.exists()


@pytest.mark.parametrize(
    ("there", "anew"), [((), True), (("tables",), False), (("databases.stamp",), False)]
)
def test_tables_that_were_never_finished_are_made_from_nothing(
    there: tuple[str, ...], anew: bool, tmp_path: Path
) -> None:
    """MariaDB keeps what a migration had made when it was cut off, and the next would find it."""
    for name in there:
        (tmp_path / name).touch()
    log = tmp_path / "log"
    programs = {"mariadb": f"cat >> {log}", "runuser": "exit 1"}
    assert bash(parts.tables(), tmp_path, **programs)
    assert (tmp_path / "tables").exists() == ("tables" in there)
    assert log.exists() == anew
    if anew:
        assert log.read_text().count("DROP DATABASE") == len(services.DATABASES)
    assert bash(parts.tables(), tmp_path, **{**programs, "runuser": "exit 0"}) == 0
    assert (tmp_path / "tables").exists()


def test_an_installation_waits_for_who_else_installs(tmp_path: Path) -> None:
    """Whose lock is one of fcntl(2), apt's and dpkg's kind; the wait has a bound."""
    lock = tmp_path / "lock"

    def wait(seconds: str) -> subprocess.CompletedProcess[str]:
        words = [sys.executable, "-", seconds, str(lock)]
        return subprocess.run(words, input=parts.FREE, capture_output=True, text=True)

    assert not wait("0").returncode
    with lock.open("w") as held:
        fcntl.lockf(held, fcntl.LOCK_EX)
        refused = wait("0")
        assert refused.returncode
        assert f"another program has held {lock} for 0 s" in refused.stderr
        soon = threading.Timer(1, fcntl.lockf, (held, fcntl.LOCK_UN))
        soon.start()
        assert not wait("60").returncode
        soon.join()


def test_no_secret_is_in_a_script_only_its_name() -> None:
    text = "".join(part.command for part in EVERY)
    for name in parts.SECRET_NAMES:
        assert f"${name}" in text or name == "SERVICE_PASSWORD"
    assert "--bootstrap-password" not in text  # an argument, which everybody could see


def test_nothing_lacks_on_a_host_that_is_done_and_everything_on_a_new_one() -> None:
    assert lacking(DONE) == []
    assert lacking(FRESH) == [part.name for part in EVERY]


@pytest.mark.parametrize(
    ("found", "names"),
    [
        (replace(DONE, missing=("nova-api",)), ["packages"]),
        (replace(DONE, units={**DONE.units, "nova-compute": "failed"}), ["services"]),
        (
            replace(DONE, stamps={k: v for k, v in DONE.stamps.items() if k != "identity"}),
            ["identity"],
        ),
        (  # an image of another instance: whatever has a secret in it, and nothing else
            replace(DONE, owner="none", secrets="e" * 64),
            [part.name for part in EVERY if part.secret or part.name == "secrets"],
        ),
    ],
)
def test_what_is_not_done_is_done_again(found: Installed, names: list[str]) -> None:
    assert lacking(found) == names


def test_another_address_changes_what_it_is_in() -> None:
    assert lacking(DONE, provider_bridge="br-ex") == ["base", "configuration"]


def test_the_datapath_is_the_kernels_where_it_has_one() -> None:
    """Also before it is loaded: what is made from that is still the same afterwards."""
    assert replace(FRESH, openvswitch_module=True).about(Settings()) == SYSTEM
    assert FRESH.about(Settings()) == ABOUT
    assert lacking(replace(DONE, openvswitch_module=True)) == ["base", "configuration"]
    for about in (ABOUT, SYSTEM):
        base, files = parts.base(about), configuration.files(about)
        assert base.count(f"datapath_type={about.datapath}") == 2
        assert (
            f"datapath_type={about.datapath}\n"
            in files["/etc/neutron/plugins/ml2/openvswitch_agent.ini"]
        )


def test_vms_have_the_instances_own_processor_where_it_has_kvm() -> None:
    """On a kernel that has Open vSwitch, too: c8i.large, a fresh host of AWS's."""
    host = replace(FRESH, kvm=True, openvswitch_module=True).about(Settings())
    assert host == replace(SYSTEM, virtualization="kvm")
    for about, model in ((host, "host-passthrough"), (ABOUT, "none")):
        files = configuration.files(about)
        kind = f"virt_type={about.virtualization}\n"
        assert files["/etc/nova/nova-compute.conf"] == f"[libvirt]\n{kind}"
        assert f"[libvirt]\n{kind}cpu_mode={model}\n" in files["/etc/nova/nova.conf"]
    assert lacking(replace(DONE, kvm=True)) == ["configuration"]


def with_dashboard(**changed: Any) -> list[str]:
    """Name the parts that a lab with a dashboard lacks, on a host with all the others done."""
    done = {
        "units": {**DONE.units, horizon.SERVICE: "active"},
        "stamps": {**DONE.stamps, "dashboard": DASHBOARD.stamp(SECRETS)},
    }
    return lacking(replace(DONE, **{**done, **changed}), cloud="openstack", dashboard="yes")


@pytest.mark.parametrize(
    ("changed", "names"),
    [
        ({}, []),
        ({"stamps": DONE.stamps}, ["dashboard"]),
        ({"missing": horizon.PACKAGES}, ["dashboard"]),
        ({"units": {**DONE.units, horizon.SERVICE: "inactive"}}, ["dashboard"]),
        ({"missing": ("nova-api",)}, ["packages"]),
    ],
)
def test_the_dashboard_is_a_part_of_its_own(changed: dict[str, Any], names: list[str]) -> None:
    assert with_dashboard(**changed) == names


def test_cirros_is_a_part_of_its_own() -> None:
    assert lacking(DONE, cloud="openstack", cirros="yes") == ["cirros"]
    assert lacking(DONE, cloud="openstack") == []


def test_the_dashboard_needs_no_room_for_all_packages() -> None:
    require(replace(DONE, missing=horizon.PACKAGES, disk=10**9), "i-1")


def test_the_dashboards_files_can_be_read_and_lead_nowhere_but_to_this_host() -> None:
    script = horizon.configure(ABOUT)
    settings: dict[str, Any] = {}
    exec(script.split("<<'END'\n")[1].split("END\n")[0], settings)
    assert settings["ALLOWED_HOSTS"] == ["127.0.0.1", "localhost"]
    assert settings["OPENSTACK_KEYSTONE_URL"] == "http://172.16.10.101:5000/v3"
    assert settings["SESSION_COOKIE_PATH"] == settings["WEBROOT"] == "/horizon/"
    assert "SECRET_KEY" not in settings
    read = configparser.RawConfigParser(strict=True)
    read.read_string(horizon.UWSGI)
    assert read["uwsgi"]["http-socket"] == "127.0.0.1:8780"
    assert read["uwsgi"]["processes"] == "1"
    read.read_string(horizon.UNIT)
    assert read["Service"]["User"] == "www-data"


def test_an_image_has_no_key_of_a_dashboard_and_does_not_start_it() -> None:
    stop, disable = image.forget().splitlines()[:2]
    assert horizon.SERVICE in stop.split()
    assert horizon.SERVICE in disable.split()
    assert f"rm -f {horizon.SECRET_KEY}\n" in image.forget()


def test_an_image_is_found_by_what_it_was_made_from() -> None:
    assert image.made_of("172.16.10.101") == image.made_of("172.16.10.101")
    assert image.made_of("172.16.10.101") != image.made_of("172.16.10.102")


def test_the_secrets_are_taken_out_of_the_files_that_have_them(tmp_path: Path) -> None:
    """And nothing else is: neither the id of the instance, nor what other files say."""
    secrets, file, other = (tmp_path / name for name in ("secrets", "nova.conf", "other"))
    secrets.write_text(
        "INSTANCE=i-1\nDB_PASSWORD=s3cr3t\nADMIN_PASSWORD=\nSERVICE_PASSWORD=0th3r\n"
    )
    file.write_text("connection=mysql://nova:s3cr3t@127.0.0.1/nova\nid=i-1\npassword=0th3r\n")
    file.chmod(0o640)
    other.write_text("s3cr3t")
    words = [sys.executable, "-", str(secrets), str(file), str(tmp_path / "none")]
    for _ in range(2):
        done = subprocess.run(words, input=image.BLANK, capture_output=True, text=True)
        assert not done.stderr
    assert file.read_text() == "connection=mysql://nova:@127.0.0.1/nova\nid=i-1\npassword=\n"
    assert file.stat().st_mode & 0o777 == 0o640
    assert other.read_text() == "s3cr3t"


def test_every_file_that_a_secret_is_written_to_is_emptied_of_it() -> None:
    [line] = [each for each in image.forget().splitlines() if each.startswith("python3 - ")]
    for path, text in configuration.files(ABOUT).items():
        assert path in line or "$" not in text
    assert line.endswith(" || exit 1")  # else an image would be made with them


def test_the_accounts_are_what_the_services_log_in_as() -> None:
    files = "".join(configuration.files(ABOUT).values())
    for name in accounts.SERVICES:
        assert f"username={name}\n" in files
    typed = accounts.commands(ABOUT.address)
    assert typed.count("endpoint create") == 3 * len(accounts.SERVICES)


@pytest.mark.parametrize(
    ("wrong", "seen"),
    [
        ({"system": "ubuntu", "release": "24.04"}, "ubuntu 24.04"),
        ({"release": "12"}, "debian 12"),
        ({"systemd": False}, "without systemd"),
        ({"memory": 4 * 10**9, "available": 39 * 10**8}, "3.9 GB of 4.0 GB"),
        ({"available": 44 * 10**8}, "4.4 GB of 8.0 GB"),
        ({"disk": 4 * 10**9}, "4.0 GB free"),
        ({"foreign": ("/etc/nova/nova.conf",)}, "/etc/nova/nova.conf"),
    ],
)
def test_a_host_that_cannot_carry_it_is_refused_before_anything(
    wrong: dict[str, Any], seen: str
) -> None:
    with pytest.raises(LabError) as caught:
        require(replace(FRESH, **wrong), "i-1")
    assert seen in caught.value.seen
    assert caught.value.next


def test_what_runs_already_needs_no_memory_more() -> None:
    """What OpenStack itself uses is not free; a machine of AWS's t2.large has enough."""
    require(replace(DONE, available=10**9), "i-1")
    require(replace(FRESH, memory=8 * 2**30 - 3 * 10**8), "i-1")


@pytest.mark.parametrize("settings", [{"debian": 12}, {"bridge": "linux"}])
def test_settings_that_it_cannot_have_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(BadSetting, match="Debian 13, with Open vSwitch"):
        Settings(cloud="openstack", **settings)
    Settings(cloud="handbuilt", **settings)


@pytest.mark.parametrize(
    ("agent", "compute", "alive"),
    [
        ("2026-03-01 10:00:02", "2026-03-01T10:00:02.000000", (True, "up")),
        ("2026-03-01 09:59:59", "2026-03-01T10:00:02.000000", (False, "up")),
        ("2026-03-01 10:00:00", "2026-03-01T10:00:02.000000", (False, "up")),  # just before
        ("2026-03-01 10:00:02", "2026-03-01T09:59:59.000000", (True, "down")),
        ("2026-03-01 10:00:02", None, (True, "down")),
    ],
)
def test_alive_is_who_has_reported_since_it_was_started(
    agent: str, compute: str | None, alive: tuple[bool, str]
) -> None:
    started = int(datetime(2026, 3, 1, 10, tzinfo=UTC).timestamp())
    told = SimpleNamespace(
        network=SimpleNamespace(
            agents=lambda: [
                SimpleNamespace(binary="neutron-l3-agent", is_alive=True, last_heartbeat_at=agent)
            ]
        ),
        compute=SimpleNamespace(
            services=lambda binary: [SimpleNamespace(state="up", updated_at=compute)],
            hypervisors=lambda details: [
                SimpleNamespace(name="ip-172-16-10-101", hypervisor_type="QEMU", state="up")
            ],
        ),
    )
    since = {"neutron-l3-agent": started, "nova-compute": started}
    [(_, agent_alive)], [(_, _, hypervisor)] = ask(told, since)
    assert (agent_alive, hypervisor) == alive
