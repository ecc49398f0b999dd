"""What user data does at the first boot of an instance, and only then."""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path
from typing import Any

import pytest
from paramiko import SSHException
from world import Box, World

from osawslab.host.proof import shown
from osawslab.keys import make_key
from osawslab.region import cloudinit
from osawslab.region.cloudinit import Given

KEY = f"etc/ssh/{cloudinit.HOST_KEY}"
SCRIPT = b"#!/bin/sh\nexit 0\n\xff"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "etc/ssh").mkdir(parents=True)
    (tmp_path / "etc/ssh/ssh_host_rsa_key").write_text("of the image")
    return tmp_path


def keys(root: Path) -> tuple[str, str]:
    return (root / KEY).read_text(), (root / f"{KEY}.pub").read_text()


def test_it_makes_a_key_of_its_own_and_keeps_it(root: Path) -> None:
    cloudinit.begin(root, Given.of("i-1", b""))
    first = keys(root)
    assert (root / KEY).stat().st_mode & 0o777 == 0o600
    assert first[1].startswith("ssh-ed25519 ")
    assert not (root / "etc/ssh/ssh_host_rsa_key").exists()
    (root / "etc/ssh/ssh_host_rsa_key").write_text("of its owner")
    cloudinit.begin(root, Given.of("i-1", b""))
    assert keys(root) == first
    assert (root / "etc/ssh/ssh_host_rsa_key").exists()


def test_another_instance_over_its_disk_is_another_host(root: Path) -> None:
    cloudinit.begin(root, Given.of("i-1", SCRIPT))
    (root / cloudinit.INSTANCE / cloudinit.RUN).touch()
    first = keys(root)
    cloudinit.begin(root, Given.of("i-2", b""))
    assert not set(keys(root)) & set(first)
    assert not (root / cloudinit.INSTANCE / cloudinit.SCRIPT).exists()
    cloudinit.begin(root, Given.of("i-3", SCRIPT))
    assert not (root / cloudinit.INSTANCE / cloudinit.RUN).exists()


def test_a_lost_key_is_replaced(root: Path) -> None:
    cloudinit.begin(root, Given.of("i-1", b""))
    first = keys(root)
    (root / KEY).unlink()
    cloudinit.begin(root, Given.of("i-1", b""))
    assert not set(keys(root)) & set(first)


def test_a_key_that_is_asked_for_is_there(root: Path) -> None:
    private, public = make_key("mine")
    asked = {"ssh_keys": {"ed25519_private": private, "ed25519_public": public}}
    data = b"#cloud-config\n" + json.dumps(asked).encode()
    for instance in ("i-1", "i-2"):
        cloudinit.begin(root, Given.of(instance, data))
        assert keys(root) == (private, public + "\n")


@pytest.mark.parametrize(
    ("data", "config", "script"),
    [
        (b"", {}, False),
        (b"#cloud-config\na: 1\n", {"a": 1}, False),
        (b"a: 1\n", {}, False),
        (b"#cloud-config\n[", {}, False),
        (b"#cloud-config\n- a\n", {}, False),
        (b"\xff\xfe", {}, False),
        (SCRIPT, {}, True),
        (b"\n#!/bin/sh\n", {}, False),
    ],
)
def test_user_data_is_read_as_cloud_init_reads_it(
    data: bytes, config: dict[str, Any], script: bool, root: Path
) -> None:
    assert cloudinit.cloud_config(data) == config
    cloudinit.begin(root, Given.of("i-1", data))
    file = root / cloudinit.INSTANCE / cloudinit.SCRIPT
    assert file.exists() == script
    if script:
        assert file.read_bytes() == data
        assert file.stat().st_mode & 0o777 == 0o700


def boot(world: World, address: str, data: str) -> Box:
    """Run an instance with this user data; it shows its key when its script has run."""
    machine = world.machine(address, user_data=data)
    eip = world.eip(machine)
    world.up(machine)
    return Box(world, machine, machine, eip, world.host(eip, key=key_when(world, eip, "ready")))


def key_when(world: World, eip: str, banner: str) -> str:
    """Wait for a banner; the host key that came with it."""
    deadline = time.monotonic() + 20
    key = said = ""
    while True:
        with contextlib.suppress(OSError, EOFError, SSHException):
            key, said = shown(world.target, eip, "admin")
        if key and said.strip() == banner:
            return key
        assert time.monotonic() < deadline, said
        time.sleep(0.02)


COUNT = """#!/bin/sh
echo again >> /root/runs
{ id -u; hostname; ip -br addr show eth0; pwd; echo $PATH; ls /etc/ssh/*_key; } > /root/seen 2>&1
echo said; echo complained >&2
echo ready > /etc/issue.net
"""


def test_a_script_is_run_once_as_root_in_the_instance(world: World) -> None:
    box = boot(world, "172.16.10.120", COUNT)
    seen = box.host.plain("sudo cat /root/seen").splitlines()
    assert seen[:2] == ["0", "ip-172-16-10-120"]
    assert "172.16.10.120/24" in seen[2]
    assert seen[3] == "/"
    assert seen[5] == "/etc/ssh/ssh_host_ed25519_key"
    assert box.host.plain("cat /var/log/cloud-init-output.log") == "said\ncomplained\n"
    box.reboot()
    assert box.host.plain("sudo cat /root/runs") == "again\n"
    key = {"InstanceIds": [box.machine.id]}
    world.ec2.stop_instances(**key)
    world.ec2.start_instances(**key)
    box.host.close()
    box.host.wait(20)  # with the same host key
    assert box.host.plain("sudo cat /root/runs") == "again\n"


@pytest.mark.parametrize(
    ("number", "data", "said"),
    [
        (130, "#!/no/such/program\n", "No such file"),
        (131, "#!/bin/cat /no/such/file\n", "No such file"),
        (132, "#!/bin/sh\necho begun; sleep 1000\n", "begun"),
    ],
)
def test_a_script_that_does_nothing_good_harms_nobody(
    number: int, data: str, said: str, world: World
) -> None:
    machine = world.machine(f"172.16.10.{number}", user_data=data)
    netns = world.netns(machine)
    eip = world.eip(machine)
    world.up(machine)
    host = world.host(eip, key=key_when(world, eip, ""))
    host.wait(20)
    assert host.plain("echo here") == "here\n"
    look = f"until grep -qs '{said}' /var/log/cloud-init-output.log; do sleep 0.02; done"
    host.plain(f'timeout 10 sh -c "{look}"')
    assert world.netns(machine) == netns  # it has not ended meanwhile


def test_a_banner_shows_nothing_of_the_machine(world: World) -> None:
    box = boot(world, "172.16.10.122", COUNT)
    assert shown(world.target, box.eip, "admin")[1] == "ready\n"
    for make in ("ln -sf /etc/passwd", "mkfifo", "mkdir"):
        box.host.run(f"rm -rf /etc/issue.net; {make} /etc/issue.net")
        assert shown(world.target, box.eip, "admin")[1] == ""
