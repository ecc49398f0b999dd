"""User-Mode Linux: chosen by itself where nothing else works, and a region like any other.

What forbids the rest is a seccomp filter like Docker's default, without any capability.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import docker_filter
import pytest
from wire import PUBLIC, Net

from osawslab.errors import RegionGone
from osawslab.region import local, tier, uml

CONTAINER = (sys.executable, docker_filter.__file__, "--uid-0", sys.executable)
CHOOSE = """
import json
from osawslab.region import tier
chosen, tried = tier.choose(())
print(json.dumps([chosen, {each.name: each.refused for each in tried}]))
"""


@pytest.fixture(scope="module", autouse=True)
def forced(home: Path) -> Iterator[None]:
    """Have this module's regions in this tier."""
    if uml.program() is None:
        pytest.fail("NOT RUN: no linux.uml (sudo apt-get install user-mode-linux)")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OSAWSLAB_TIER", "uml")
        yield


def contained(*words: str) -> subprocess.CompletedProcess[str]:
    """Run this Python in what is like a container of Docker's; no tier is forced."""
    environ = {key: value for key, value in os.environ.items() if key != "OSAWSLAB_TIER"}
    return subprocess.run(
        [*CONTAINER, *words], env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )


def kernels() -> set[int]:
    """Name the processes that are such a kernel, or a part of one."""
    found = set()
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if b"linux.uml" in entry.read_bytes():
                found.add(int(entry.parts[2]))
        except OSError:  # it has ended meanwhile
            continue
    return found


def left(before: set[int]) -> set[int]:
    """Wait until no kernel is left but those from before; the others, if they do not end."""
    deadline = time.monotonic() + 10
    while kernels() - before and time.monotonic() < deadline:
        time.sleep(0.05)
    return kernels() - before


def test_it_is_chosen_where_namespaces_are_forbidden(root: None) -> None:
    before = kernels()
    done = contained("-P", "-c", CHOOSE)
    chosen, refused = json.loads(done.stdout)
    assert chosen == "uml"
    assert "Operation not permitted" in refused["userns"]
    assert "Operation not permitted" in refused["root"]
    assert refused["uml"] == ""
    assert not left(before)


def test_groups_and_elastic_ips_hold_as_in_any_tier(net: Net) -> None:
    region = net.world.region
    assert region.tier == "uml"
    assert net.reaches("internet", net.eip)
    assert net.reaches(net.one, PUBLIC)
    before = region.drops()
    assert net.fails(net.two, PUBLIC)
    net.world.revoke("icmp", -1)
    assert net.fails("internet", net.eip)
    assert net.fails(net.far, net.one.address)
    net.world.allow("icmp", -1)
    assert net.reaches("internet", net.eip)
    acl, only = {"Name": "vpc-id", "Values": [net.world.vpc]}, "198.51.100.0/24"
    own = net.world.ec2.describe_network_acls(Filters=[acl])["NetworkAcls"][0]["NetworkAclId"]
    which = {"NetworkAclId": own, "RuleNumber": 90, "Egress": False}
    net.world.ec2.create_network_acl_entry(
        **which,
        Protocol="1",
        RuleAction="deny",
        CidrBlock=only,
        IcmpTypeCode={"Type": 8, "Code": -1},
    )
    assert net.fails("internet", net.eip)
    net.world.ec2.delete_network_acl_entry(**which)
    assert net.reaches("internet", net.eip)
    after = region.drops()
    assert after["acl"] > before["acl"]
    assert after["no_eip"] == before["no_eip"] + 1
    assert after["group"] >= before["group"] + 2
    assert after["mac"] == before["mac"]


def test_what_an_instance_wrote_is_there_when_the_region_comes_back(net: Net) -> None:
    host = net.world.host(net.eip)
    host.wait(60)
    host.plain("echo kept > kept")
    assert local.stop(net.world.name)
    assert local.ensure(net.world.name).tier == "uml"
    host = net.world.host(net.eip)
    host.wait(60)
    assert host.plain("cat kept") == "kept\n"


def test_a_kernel_that_dies_takes_the_region_along_and_it_comes_back(home: Path) -> None:
    before = kernels()
    region = local.ensure("dies")
    parts = {
        pid
        for pid in kernels()
        if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1] == str(region.pid)
    }
    assert parts
    for pid in parts:
        os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while local.find("dies") and time.monotonic() < deadline:
        time.sleep(0.05)
    with pytest.raises(RegionGone):
        region.places()
    assert not left(before)
    assert local.ensure("dies").places() == ["internet"]
    local.remove("dies")


def program(folder: Path, text: str) -> None:
    path = folder / "osawslab/debs" / uml.tree().name / "usr/bin/linux.uml"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    path.chmod(0o755)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "no linux.uml here (package user-mode-linux): "
         "./lab unpacks it where nothing else works"),
        ("#!/bin/sh\necho 'Checking that ptrace can change system call numbers...'; exit 1\n",
         "Checking that ptrace can change system call numbers..."),
        ("#!/bin/sh\nexit 3\n", "exit status 3"),
    ],
    ids=["none", "one that says why", "one that says nothing"],
)  # fmt: skip
def test_a_kernel_that_does_not_boot_says_why(
    text: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(uml, "INSTALLED", str(tmp_path))
    if text:
        program(tmp_path, text)
    found = tier.attempt("uml")
    assert found.refused == told
    assert not found.works


def test_only_where_nothing_else_works_the_kernel_is_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OSAWSLAB_TIER")
    monkeypatch.setattr(uml, "INSTALLED", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert not tier.wants_kernel()  # there are namespaces here
    works = {"userns": "refused", "root": "refused"}
    monkeypatch.setattr(tier, "attempt", lambda name: tier.Tier(name, works[name]))
    assert tier.wants_kernel()
    works["root"] = ""
    assert not tier.wants_kernel()
    monkeypatch.setenv("OSAWSLAB_TIER", "uml")
    assert tier.wants_kernel()
    program(tmp_path, "")
    assert not tier.wants_kernel()
