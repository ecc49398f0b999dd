"""A region that dies comes back with the same EC2 state; nothing of the dead one is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from osawslab import Lab
from osawslab.region import folders, local

pytestmark = pytest.mark.kernel

NAME = "dies"


@pytest.fixture(scope="module")
def lab(home: Path) -> Iterator[Lab]:
    """A published lab with Linux bridges."""
    with Lab(NAME, bridge="linux") as made:
        for step in made.steps:
            report = made.run(step)
            assert report.ok, report.text
        yield made
        local.remove(NAME)


def described(lab: Lab) -> dict[str, Any]:
    """Give everything that EC2 says, without the request ids."""
    ec2 = lab.client("ec2")
    calls = (
        "describe_vpcs", "describe_subnets", "describe_instances", "describe_addresses",
        "describe_network_interfaces", "describe_security_groups", "describe_route_tables",
        "describe_internet_gateways", "describe_key_pairs",
    )  # fmt: skip
    found = {call: getattr(ec2, call)() for call in calls}
    for answer in found.values():
        del answer["ResponseMetadata"]
    return found


def members(pid: int) -> list[int]:
    """List a region's processes, its first one's descendants: inner namespaces included."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            parents[int(entry.name)] = int(fields[1])
    found = [pid]
    for each in found:
        found += [child for child, parent in parents.items() if parent == each]
    return found


@pytest.mark.parametrize("which", ["first", "last"])
def test_killed_it_comes_back_and_its_instances_have_rebooted(lab: Lab, which: str) -> None:
    region = local.find(NAME)
    assert region is not None
    before = described(lab)
    alive = members(region.pid)
    assert len(alive) > 5
    # unshare, then pid 1 inside, then the region itself.
    victim = region.pid if which == "first" else alive[2]
    os.kill(victim, signal.SIGKILL)
    end = time.monotonic() + 10
    while local.find(NAME) or any(Path(f"/proc/{pid}/exe").exists() for pid in alive):
        assert time.monotonic() < end, "processes of the dead region are left"
        time.sleep(0.01)
    lab.close()
    assert described(lab) == before
    again = local.find(NAME)
    assert again is not None
    assert again.pid != region.pid
    # The disk is the same, what was only in the kernel is gone: a reboot.
    assert lab.shell("cat /var/lib/osawslab/registered-mac").output
    assert not lab.check("networks")
    for step in lab.steps:
        report = lab.run(step)
        assert report.ok, report.text


def test_down_leaves_nothing(home: Path) -> None:
    with Lab("gone", bridge="linux") as made:
        made.provision()
        region = local.find("gone")
        assert region is not None
        alive = members(region.pid)
    assert local.remove("gone")
    assert not [pid for pid in alive if Path(f"/proc/{pid}/exe").exists()]
    assert not folders.state_folder("gone").exists()
    assert not folders.runtime_folder("gone").exists()
    assert not local.remove("gone")


PLANTED = {
    "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    "AWS_SESSION_TOKEN": "planted",
    "AWS_PROFILE": "no-such-profile",
    "AWS_DEFAULT_REGION": "eu-west-1",
    "AWS_ENDPOINT_URL": "http://192.0.2.1:1",
    "HTTP_PROXY": "http://192.0.2.2:1",
    "http_proxy": "http://192.0.2.2:1",
    "HTTPS_PROXY": "http://192.0.2.2:1",
    "ALL_PROXY": "http://192.0.2.2:1",
}
# Each connection is noted before it is made; the region dies between the client and its call.
WATCHED = """
import os, signal, socket, sys
asked = []
plain = socket.socket.connect
def connect(self, address):
    asked.append(address)
    return plain(self, address)
socket.socket.connect = connect
from osawslab import Lab, LabError
from osawslab.region import local
lab = Lab(sys.argv[1])
assert lab.check("provision") is not None
site = lab._site()
os.kill(local.find(sys.argv[1]).pid, signal.SIGKILL)
try:
    site.read_ec2()
except Exception as error:
    print(type(error).__name__)
else:
    print("answered")
print(lab.status().caption)
outside = [a for a in asked if isinstance(a, tuple) and a[0] != "127.0.0.1"]
print("outside:", outside)
print("asked:", len(asked))
"""


def test_planted_credentials_and_a_dead_region_lead_nowhere(home: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, "planted"],
        env={**os.environ, **PLANTED},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    local.remove("planted")
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    assert said[0] in ("EndpointConnectionError", "ConnectionClosedError"), done.stdout
    assert "outside: []" in said
    assert int(said[-1].split()[1]) > 0
