"""The instance's SSH host key: made by it, proved once, kept as a tag, and pinned from then on."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import asyncssh
import pytest

from osawslab import Lab
from osawslab.aws import userdata
from osawslab.aws.facts import HOST_KEY
from osawslab.errors import CannotReach, StepNotReady, WrongHostKey
from osawslab.host import proof
from osawslab.keys import make_key
from osawslab.region import local
from osawslab.steps import host_key

pytestmark = pytest.mark.kernel

NAME = "proved"
SETTINGS = {"bridge": "linux"}
PLANNED = [("aws", "the instance proves its SSH host key; a tag keeps it")]


@pytest.fixture(scope="module")
def lab(home: Path) -> Iterator[Lab]:
    with Lab(NAME, **SETTINGS) as made:
        for step in made.steps:
            report = made.run(step)
            assert report.ok, report.text
        yield made
        local.remove(NAME)


def instance(lab: Lab) -> dict[str, Any]:
    [found] = lab.client().describe_instances()["Reservations"]
    return dict(found["Instances"][0])


def tagged(lab: Lab) -> str:
    tags = {tag["Key"]: tag["Value"] for tag in instance(lab)["Tags"]}
    return str(tags.get(HOST_KEY, ""))


def tag(lab: Lab, key: str) -> None:
    lab.client().create_tags(
        Resources=[instance(lab)["InstanceId"]], Tags=[{"Key": HOST_KEY, "Value": key}]
    )


def untag(lab: Lab) -> None:
    lab.client().delete_tags(Resources=[instance(lab)["InstanceId"]], Tags=[{"Key": HOST_KEY}])


@pytest.fixture
def kept(lab: Lab) -> Iterator[str]:
    """Give the host key that is kept, and have it again after the test."""
    key = tagged(lab)
    yield key
    tag(lab, key)


def planned(lab: Lab) -> list[tuple[str, str]]:
    return [(action.where, action.why) for action in lab.plan("provision").actions]


def test_no_private_key_is_in_the_user_data(lab: Lab) -> None:
    name = instance(lab)["InstanceId"]
    told = lab.client().describe_instance_attribute(InstanceId=name, Attribute="userData")
    data = base64.b64decode(told["UserData"]["Value"]).decode()
    assert data.startswith("#!")
    assert "PRIVATE" not in data
    assert re.fullmatch("[0-9a-f]{64}", userdata.secret(lab.client(), name))
    journal = (local.state_folder(NAME) / "journal").read_text()
    assert "PRIVATE" not in journal
    [given] = re.findall(r"&UserData=([^&\"]+)", journal)
    assert base64.b64decode(unquote(given)).decode() == data


def test_the_secret_stands_in_no_command_line_and_no_environment(lab: Lab) -> None:
    secret = userdata.secret(lab.client(), instance(lab)["InstanceId"])
    assert secret in lab.shell("cat /var/lib/cloud/instance/scripts/part-001").output
    for entry in Path("/proc").glob("[0-9]*"):
        for name in ("cmdline", "environ"):
            try:
                assert secret not in (entry / name).read_text(errors="replace")
            except OSError:
                continue


def test_it_is_the_instances_own_key_and_within_a_tags_bounds(lab: Lab) -> None:
    own = lab.shell("cut -d' ' -f1,2 /etc/ssh/ssh_host_ed25519_key.pub").output
    assert tagged(lab) == own
    assert len(own) <= 256


def test_another_process_knows_it_by_the_tag(lab: Lab) -> None:
    calls = (
        "from osawslab import Lab\n"
        f"lab = Lab({NAME!r}, bridge='linux')\n"
        "seen = []\n"
        "lab.client().meta.events.register('before-call', lambda model, **_:"
        " seen.append(model.name))\n"
        "print(lab.shell('hostname'))\n"
        "assert lab.check('provision')\n"
        "assert 'DescribeInstances' in seen\n"
        "assert 'DescribeInstanceAttribute' not in seen, seen\n"
    )
    done = subprocess.run([sys.executable, "-c", calls], capture_output=True, text=True, timeout=60)
    assert done.stdout == "ip-172-16-10-101\n", done.stderr


def test_without_the_tag_one_action_brings_it_back(lab: Lab, kept: str) -> None:
    untag(lab)
    with Lab(NAME, **SETTINGS) as other:
        assert planned(other) == PLANNED
        assert not other.check("provision")
        with pytest.raises(StepNotReady, match="has not proved") as caught:
            other.networks()
        assert caught.value.next == "lab.provision()"
        report = other.provision()
        assert report.ok, report.text
        assert len(report.actions) == 1
        assert tagged(lab) == kept
        assert not other.provision().changed


@pytest.mark.parametrize(
    ("another", "what"),
    [
        (" ".join(make_key("")[1].split()[:2]), "shows a host key that is not the lab's"),
        ("ssh-ed25519 AAAA", "what is kept as the host key of .* is none"),
        ("nonsense", "what is kept as the host key of .* is none"),
        ("ssh-ed25519 !", "what is kept as the host key of .* is none"),
    ],
    ids=["another", "cut off", "nonsense", "no base64"],
)
def test_a_tag_that_does_not_match_is_told_at_once(
    another: str, what: str, lab: Lab, kept: str
) -> None:
    tag(lab, another)
    with Lab(NAME, **SETTINGS) as other:
        with pytest.raises(WrongHostKey, match=what):
            other.shell("hostname")
        assert planned(other) == []
        *_, check = other.check("provision").checks
        assert not check
        assert re.search(what, check.seen)
        assert f"--tags Key={HOST_KEY}; then lab.provision()" in check.next
    tag(lab, kept)
    with Lab(NAME, **SETTINGS) as other:
        assert other.check("provision")


def relay(lab: Lab, banner: str, heard: list[str]) -> socket.socket:
    """Give a connection to a man in the middle: a host key of his own, the instance's banner."""
    ours, theirs = socket.socketpair()

    class Middle(asyncssh.SSHServer):
        def connection_made(self, conn: Any) -> None:
            self.connection = conn

        def begin_auth(self, username: str) -> bool:
            self.connection.send_auth_banner(banner)
            return True

        def public_key_auth_supported(self) -> bool:
            return True

        def validate_public_key(self, username: str, key: Any) -> bool:
            heard.append(username)
            return True

    async def serve() -> None:
        with contextlib.suppress(OSError, asyncssh.Error):  # who is refused hangs up
            done = await asyncssh.run_server(
                theirs, server_factory=Middle, gss_host=None,
                server_host_keys=[asyncssh.generate_private_key("ssh-ed25519")],
            )  # fmt: skip
            await done.wait_closed()

    threading.Thread(target=asyncio.run, args=(serve(),), daemon=True).start()
    return ours


def test_a_man_in_the_middle_is_refused(
    lab: Lab, kept: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Lab(NAME, **SETTINGS) as other:
        target = other._site().target
        banner = proof.shown(target, lab.host().address, "admin")[1]
        assert "osawslab-host-key-proof" in banner
        heard: list[str] = []
        object.__setattr__(target, "open_socket", lambda *_: relay(other, banner, heard))
        try:
            with pytest.raises(WrongHostKey):
                other.shell("hostname")
            untag(lab)
            monkeypatch.setattr(host_key, "WAIT_SECONDS", 0.3)
            with pytest.raises(CannotReach, match="has not proved") as caught:
                other.provision()
        finally:
            object.__setattr__(target, "open_socket", local.find(NAME).connect)  # type: ignore[union-attr]
        assert "with a wrong proof" in caught.value.seen
        assert not heard
        assert not tagged(lab)


@pytest.mark.parametrize(
    "plant",
    [
        "cd /etc/ssh; rm ssh_host_*; ssh-keygen -q -t ed25519 -N '' -f ssh_host_ed25519_key",
        "echo osawslab-host-key-proof $(sha256sum /etc/hosts | cut -c-64) > /etc/issue.net",
        "rm /etc/issue.net",
    ],
)
def test_an_instance_that_cannot_prove_its_key_is_not_entered(
    plant: str, lab: Lab, kept: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [instance(lab)["InstanceId"]]
    lab.shell(f"mkdir -p /root/kept; cp /etc/issue.net /etc/ssh/ssh_host_* /root/kept; {plant}")
    lab.client().reboot_instances(InstanceIds=ids)
    lab.close()
    untag(lab)
    with Lab(NAME, **SETTINGS) as other:
        monkeypatch.setattr(host_key, "WAIT_SECONDS", 3.0)
        with pytest.raises(CannotReach, match="has not proved its host key") as caught:
            other.provision()
        assert "proof" in caught.value.seen
        assert "lab.tear_down(), then lab.provision()" in caught.value.next
        assert planned(other) == PLANNED
        # As it was: its key of today is taken on trust, by this test alone.
        site = other._site()
        shows, _ = proof.shown(site.target, site.read_ec2().eip("management"), "admin")
        tag(lab, shows)
        other.shell("mv /root/kept/issue.net /etc; mv /root/kept/ssh_host_* /etc/ssh")
        lab.client().reboot_instances(InstanceIds=ids)
    untag(lab)
    monkeypatch.undo()
    with Lab(NAME, **SETTINGS) as other:
        assert other.provision().ok
        assert tagged(lab) == kept


def test_an_instance_of_another_making_says_so(lab: Lab) -> None:
    class Ec2:
        def describe_instance_attribute(self, **_: str) -> dict[str, Any]:
            return {"UserData": {"Value": base64.b64encode(b"#cloud-config\n").decode()}}

    with pytest.raises(Exception, match="no secret in its user data") as caught:
        userdata.secret(Ec2(), "i-1")
    assert getattr(caught.value, "seen", "") == "#cloud-config"


def test_what_a_person_could_type_does_the_same(lab: Lab, tmp_path: Path) -> None:
    """The command of the plan, with programs that stand for the network and for AWS."""
    key = tagged(lab)
    site = lab._site()
    banner = proof.shown(site.target, lab.host().address, "admin")[1]
    told = lab.client().describe_instance_attribute(
        InstanceId=instance(lab)["InstanceId"], Attribute="userData"
    )
    (tmp_path / "prove-host-key.py").write_bytes(base64.b64decode(told["UserData"]["Value"]))
    for name, does in (
        ("aws", 'echo "$@" >> said'),
        ("ssh-keyscan", f"echo 203.0.113.10 {key}"),
        ("ssh", f"cat >&2 <<'END'\n{banner}END"),
    ):
        (tmp_path / name).write_text(f"#!/bin/sh\n{does}\n")
        (tmp_path / name).chmod(0o755)
    environ = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "INSTANCE": "i-1"}
    subprocess.run(["sh", "-uc", f"MANAGEMENT_EIP=e; {host_key.PROVE}"], cwd=tmp_path, env=environ)
    assert (
        f"create-tags --resources i-1 --tags Key={HOST_KEY},Value={key}"
        in (tmp_path / "said").read_text()
    )
    (tmp_path / "said").unlink()
    (tmp_path / "ssh").write_text("#!/bin/sh\necho osawslab-host-key-proof 00 >&2\n")
    subprocess.run(["sh", "-uc", f"MANAGEMENT_EIP=e; {host_key.PROVE}"], cwd=tmp_path, env=environ)
    assert "create-tags" not in (tmp_path / "said").read_text()
