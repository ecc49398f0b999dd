"""A region that dies at any moment comes back as it was, and nothing of the dead one is left."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError
from botocore.parsers import ResponseParserError
from world import World

from osawslab import Lab
from osawslab.errors import LabError
from osawslab.region import instances, local
from osawslab.region.local import Region
from osawslab.settings import Settings
from osawslab.target import open_target

LISTS = (
    "vpcs", "subnets", "internet_gateways", "route_tables", "security_groups", "key_pairs",
    "instances", "network_interfaces", "addresses", "volumes", "tags",
)  # fmt: skip


def told(ec2: Any) -> dict[str, Any]:
    """Read everything that EC2 says."""
    found = {what: getattr(ec2, f"describe_{what}")() for what in LISTS}
    for answer in found.values():
        del answer["ResponseMetadata"]
    return found


def client(name: str) -> Any:
    """Use a lab's region, which comes back for that."""
    return open_target(Settings(name=name)).client("ec2")


def children(pid: int) -> list[int]:
    """List the children of a process, also where the thread that forked them is gone."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if entry.name.isdecimal():
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                found += [int(entry.name)] if int(fields[1]) == pid else []
    return sorted(found)


def tree(pid: int) -> list[int]:
    return [pid, *(each for child in children(pid) for each in tree(child))]


def first_inside(pids: list[int]) -> int:
    """Choose the one with the lowest pid inside the region: the machine's own pids go round."""

    def inside(pid: int) -> int:
        status = Path(f"/proc/{pid}/status").read_text()
        [line] = [each for each in status.splitlines() if each.startswith("NSpid:")]
        return int(line.split()[2])

    return min(pids, key=inside)


def the_first(region: Region) -> list[int]:
    return [region.pid]


def pid_1(region: Region) -> list[int]:
    return children(region.pid)[:1]


def the_api(region: Region) -> list[int]:
    """Give the process that serves the API: the first that pid 1 has forked."""
    return [first_inside(children(*pid_1(region)))]


def the_one_that_boots(region: Region) -> list[int]:
    return [first_inside(children(*the_api(region)))]


def all_at_once(region: Region) -> list[int]:
    return tree(region.pid)


def kill(region: Region, chosen: Callable[[Region], list[int]] = the_first) -> None:
    """Kill processes of a region, and wait until all of it is gone."""
    everybody = []
    for pid in tree(region.pid):
        with contextlib.suppress(ProcessLookupError):  # a command's process, ended meanwhile
            everybody.append(os.pidfd_open(pid))
    for pid in chosen(region):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    for watch in everybody:
        assert select.select([watch], [], [], 10)[0], "a process of the dead region lives on"
        os.close(watch)


def listens(region: Region) -> bool:
    port = int(region.endpoint.rpartition(":")[2])
    lines = Path("/proc/net/tcp").read_text().splitlines()
    return any(f"0100007F:{port:04X} " in line and " 0A " in line for line in lines)


@pytest.fixture(scope="module")
def durable(home: Path) -> World:
    """Give a world with an instance that answers."""
    world = World("durable")
    machine = world.machine("172.16.10.101")
    world.host(world.eip(machine)).wait(20)
    return world


@pytest.mark.parametrize("chosen", [the_first, pid_1, the_api, the_one_that_boots, all_at_once])
def test_whatever_is_killed_the_whole_ends_and_comes_back(
    chosen: Callable[[Region], list[int]], durable: World
) -> None:
    before, mounts = told(client("durable")), Path("/proc/self/mounts").read_text()
    region = local.ensure("durable")
    kill(region, chosen)
    assert local.find("durable") is None
    assert not listens(region)
    assert Path("/proc/self/mounts").read_text() == mounts
    assert told(client("durable")) == before
    again = local.find("durable")
    assert again is not None
    assert again.pid != region.pid
    assert (again.access_key, again.secret_key) == (region.access_key, region.secret_key)
    (address,) = before["addresses"]["Addresses"]
    host = durable.host(address["PublicIp"])
    host._target = open_target(Settings(name="durable"))
    host.wait(20)
    assert host.plain("hostname") == "ip-172-16-10-101\n"


def test_an_instance_that_ended_by_itself_boots_again(durable: World) -> None:
    """Its pid 1 killed, as by a kernel that panics: a reboot, as EC2 does it."""
    region = local.ensure("durable")
    (address,) = client("durable").describe_addresses()["Addresses"]
    host = durable.host(address["PublicIp"])
    host._target = open_target(Settings(name="durable"))
    host.wait(20)
    host.run("touch /run/lost; ip link add lost0 type veth peer name lost1")
    (netns, pid), *_ = region.ask("places")[0]["running"].items()
    while time.clock_gettime(time.CLOCK_BOOTTIME) < booted(region, pid) + instances.BOOT_SECONDS:
        time.sleep(0.1)  # one that has hardly begun is not begun again
    region.execute("internet", ["kill", "-9", str(pid)])
    host.close()
    host.wait(20)
    assert host.run("ls /run/lost 2>/dev/null; ip link show lost0 2>/dev/null; echo") == "\n"
    assert netns not in region.places()
    assert local.find("durable") == region


def booted(region: Region, pid: int) -> float:
    """Say when a process of a region began, in seconds since the machine did."""
    stat = region.execute("internet", ["cat", f"/proc/{pid}/stat"]).stdout
    return int(stat.rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")


def test_one_that_was_starting_when_its_starter_died_is_replaced(home: Path) -> None:
    source = "from osawslab.region import local; local.ensure('starting')"
    starter = subprocess.Popen([sys.executable, "-c", source])
    alive = local.state_folder("starting") / "alive"
    deadline = time.monotonic() + 20
    half: set[int] = set()
    while not half:
        assert time.monotonic() < deadline
        half = holders(alive) - {starter.pid}
    starter.kill()
    starter.wait()
    assert local.find("starting") is None
    region = local.ensure("starting")
    assert region.places() == ["internet"]
    assert holders(alive) == set(tree(region.pid))
    assert not half & holders(alive)
    local.remove("starting")


def holders(alive: Path) -> set[int]:
    """Name the processes that hold a lab's lock."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if local._holds(process, alive.stat()):
                found.add(int(process.name))
    return found


def test_its_disks_are_as_they_were(durable: World) -> None:
    (address,) = client("durable").describe_addresses()["Addresses"]

    def shell(command: str) -> str:
        host = durable.host(address["PublicIp"])
        host._target = open_target(Settings(name="durable"))
        host.wait(20)
        return host.run(command)

    shell("echo kept > /etc/kept; echo lost > /run/lost; sync")
    kill(local.ensure("durable"))
    assert shell("cat /etc/kept; cat /run/lost 2>/dev/null || echo gone") == "kept\ngone\n"


def test_what_was_answered_is_there_after_a_death_in_the_middle_of_a_call(home: Path) -> None:
    """Killed under a client that makes one thing after another, at different moments."""
    answered: set[str] = set()

    def make(hits: int, started: threading.Event) -> None:
        ec2 = client("middle")
        for number in range(1000):
            if number == hits:
                started.set()
            made = ec2.create_security_group(GroupName=f"g-{hits}-{number}", Description="x")
            answered.add(made["GroupId"])

    for hits in (1, 4, 7):
        region, started = local.ensure("middle"), threading.Event()

        def end(region: Region = region, seconds: float = hits / 200, go: Any = started) -> None:
            go.wait()
            threading.Event().wait(seconds)
            kill(region)

        killer = threading.Thread(target=end)
        killer.start()
        with pytest.raises((BotoCoreError, ResponseParserError)):  # none, or half an answer
            make(hits, started)
        killer.join()
        groups = client("middle").describe_security_groups()["SecurityGroups"]
        found = {each["GroupId"] for each in groups if each["GroupName"] != "default"}
        assert found >= answered
        assert len(found - answered) <= 1  # done, but the answer was cut off
        answered = found
    local.remove("middle")


@pytest.fixture
def halfway(home: Path) -> Iterator[Lab]:
    with Lab("halfway", bridge="linux") as lab:
        yield lab
    local.remove("halfway")


def killing(lab: Lab, number: int) -> None:
    """Have the region killed when the step begins its action of that number."""

    class Killer:
        count = 0

        def start(self, step: str, total: int) -> None:
            pass

        def action(self, text: str, **_: str) -> None:
            if self.count == number:
                kill(local.ensure(lab.settings.name))
            self.count += 1

        def done(self, text: str) -> None:
            pass

    lab.progress = Killer()


@pytest.mark.parametrize("number", [0, 11, 16])
def test_provision_goes_on_after_a_death_in_its_middle(number: int, halfway: Lab) -> None:
    progress = halfway.progress
    killing(halfway, number)
    with pytest.raises(LabError) as caught:
        halfway.provision()
    assert caught.value.next
    halfway.progress = progress
    report = halfway.provision()
    assert report.ok, report.text
    assert len(report.actions) == 18 - number
    assert not halfway.provision().changed


def test_a_lab_goes_on_when_its_region_died_between_two_steps(halfway: Lab) -> None:
    for step in ("install_cloud", "networks"):
        halfway.catch_up(step)
        kill(local.ensure("halfway"))
        halfway.catch_up(step)  # the instance has rebooted: what is no file is made anew
        report = halfway.run(step)
        assert report.ok, report.text
        assert not halfway.run(step).changed


def test_a_lab_goes_on_when_its_region_died_in_the_middle_of_a_step(halfway: Lab) -> None:
    for step in ("provision", "install_cloud", "provider_nic"):
        assert halfway.run(step).ok
    progress = halfway.progress
    killing(halfway, 5)
    with pytest.raises(LabError) as caught:
        halfway.networks()
    assert caught.value.next
    halfway.progress = progress
    for step in ("install_cloud", "provider_nic", "networks"):
        report = halfway.run(step)
        assert report.ok, report.text
