"""Each writer is held against the parser that will read it on a host: the real one."""

from __future__ import annotations

import os
import select
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from osawslab.host import interfaces
from osawslab.region import machine

NIC, MAC = "eth1", "02:aa:00:00:20:65"


@pytest.fixture(scope="module")
def parsers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Unpack the programs that read these files, as Debian ships them."""
    folder = tmp_path_factory.mktemp("debs")
    folder.chmod(0o755)
    names = ["systemd", "netplan.io", "ifupdown"]
    shared = subprocess.run(
        ["apt-cache", "--names-only", "search", "^(libnetplan[0-9]+|libnetplan1|netplan-generator"
         "|libsystemd-shared)$"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    names += [line.split()[0] for line in shared.stdout.splitlines()]
    subprocess.run(["apt-get", "download", "-q", *names], cwd=folder, check=True,
                   capture_output=True)  # fmt: skip
    for package in folder.glob("*.deb"):
        subprocess.run(["dpkg-deb", "-x", str(package), str(folder / "root")], check=True)
    return folder / "root"


def libraries(root: Path) -> str:
    found = {path.parent for path in root.rglob("*.so*")}
    return os.pathsep.join(map(str, sorted(found)))


def program(root: Path, *paths: str) -> Path:
    return next(path for name in paths if (path := root / name).is_file())


def test_ifupdown_brings_the_nic_up_and_gives_no_address(parsers: Path, tmp_path: Path) -> None:
    file = tmp_path / "interfaces"
    file.write_text(interfaces.ifupdown(NIC))
    ifup = machine.find("ifup") or program(parsers, "sbin/ifup", "usr/sbin/ifup")
    done = subprocess.run(
        [ifup, "--no-act", "--verbose", "-i", file, "--state-dir", tmp_path, NIC],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = done.stdout + done.stderr
    assert "ip link set dev $IFACE up" in said or f"ip link set dev {NIC} up" in said
    assert "addr" not in said
    assert "dhclient" not in said


def test_ifupdown_would_notice_a_mistake(parsers: Path, tmp_path: Path) -> None:
    file = tmp_path / "interfaces"
    file.write_text(interfaces.ifupdown(NIC).replace("inet manual", "inet manul"))
    ifup = machine.find("ifup") or program(parsers, "sbin/ifup", "usr/sbin/ifup")
    done = subprocess.run(
        [ifup, "--no-act", "-i", file, "--state-dir", tmp_path, NIC],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode != 0


def networkd(parsers: Path, text: str, tmp_path: Path) -> list[str]:
    """Give what systemd-networkd says of a .network file, in namespaces of its own."""
    file = tmp_path / "05-osawslab-provider.network"
    file.write_text(text)
    daemon = program(parsers, "lib/systemd/systemd-networkd", "usr/lib/systemd/systemd-networkd")
    # networkd wants to become another user, which nobody can be here.
    start = (
        "import os; from osawslab.region import kernel; kernel.pretend_set_ids();"
        f" os.execv({str(daemon)!r}, [{str(daemon)!r}])"
    )
    script = (
        "mount -t tmpfs t /run && mount -t tmpfs t /etc/systemd && mkdir -p /etc/systemd/network"
        f" && cp {file} /etc/systemd/network/"
        f" && exec {sys.executable} -c {shlex.quote(start)}"
    )
    process = subprocess.Popen(
        ["unshare", "--user", "--map-root-user", "--net", "--mount", "--pid", "--fork",
         "--kill-child=KILL", "sh", "-c", script],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "SYSTEMD_LOG_LEVEL": "debug",
             "SYSTEMD_LOG_TARGET": "console", "LD_LIBRARY_PATH": libraries(parsers)},
    )  # fmt: skip
    assert process.stderr is not None
    said, end = b"", time.monotonic() + 20
    while b"Enumeration completed" not in said:
        left = end - time.monotonic()
        assert select.select([process.stderr], [], [], max(left, 0))[0], said.decode()
        part = os.read(process.stderr.fileno(), 65536)
        assert part, said.decode()
        said += part
    process.kill()
    process.wait()
    process.stderr.close()
    return [line for line in said.decode().splitlines() if "05-osawslab-provider" in line]


@pytest.mark.kernel
def test_networkd_reads_every_line(parsers: Path, tmp_path: Path) -> None:
    assert networkd(parsers, interfaces.networkd(MAC), tmp_path) == []


@pytest.mark.kernel
@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text.replace("IPv6AcceptRA", "IPv6AcceptRouterAdvertisement"),
        lambda text: text.replace(MAC, "02:aa"),
        lambda text: text.replace("DHCP=no", "DHCP=perhaps"),
    ],
)
def test_networkd_would_notice_a_mistake(
    parsers: Path, tmp_path: Path, spoil: Callable[[str], str]
) -> None:
    assert networkd(parsers, spoil(interfaces.networkd(MAC)), tmp_path) != []


def netplan(parsers: Path, text: str, tmp_path: Path) -> tuple[int, str, str]:
    """Give exit status, words, and the networkd configuration that netplan makes of a file."""
    (tmp_path / "etc/netplan").mkdir(parents=True)
    file = tmp_path / "etc/netplan/95-osawslab-provider.yaml"
    file.write_text(text)
    file.chmod(0o600)
    generate = program(
        parsers, "lib/netplan/generate", "usr/lib/netplan/generate", "usr/libexec/netplan/generate"
    )
    done = subprocess.run(
        [generate, "--root-dir", tmp_path], capture_output=True, text=True, check=False,
        env={"LD_LIBRARY_PATH": libraries(parsers)},
    )  # fmt: skip
    made = "".join(path.read_text() for path in tmp_path.glob("run/systemd/network/*.network"))
    return done.returncode, done.stderr, made


def test_netplan_makes_a_nic_without_addresses(parsers: Path, tmp_path: Path) -> None:
    code, said, made = netplan(parsers, interfaces.netplan(NIC, MAC), tmp_path)
    assert code == 0, said
    assert MAC in made
    assert "LinkLocalAddressing=no" in made
    assert "DHCP=" not in made.replace("DHCP=no", "")
    assert "Address=" not in made.replace(f"MACAddress={MAC}", "")


def test_netplan_would_notice_a_mistake(parsers: Path, tmp_path: Path) -> None:
    text = interfaces.netplan(NIC, MAC).replace("dhcp4: false", "dhcp4: perhaps")
    assert netplan(parsers, text, tmp_path)[0] != 0


@pytest.mark.parametrize(
    ("has", "paths"),
    [
        ({}, []),
        ({"has_ifupdown": True}, [interfaces.IFUPDOWN]),
        ({"has_networkd": True, "has_netplan": True}, [interfaces.NETPLAN, interfaces.NETWORKD]),
        ({"has_cloud_init": True}, [interfaces.HOTPLUG]),
    ],
)
def test_only_the_files_of_systems_that_are_there(has: dict[str, bool], paths: list[str]) -> None:
    none = dict.fromkeys(("has_ifupdown", "has_networkd", "has_netplan", "has_cloud_init"), False)
    wanted = interfaces.wanted(NIC, MAC, **{**none, **has})
    assert [file.path for file in wanted] == paths
    assert interfaces.lacking(wanted, {file.path: file.text for file in wanted}) == []
    assert interfaces.lacking(wanted, {}) == wanted
