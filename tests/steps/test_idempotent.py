"""Run twice, killed anywhere, taken over, undone by hand: a step converges to the same facts."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from osawslab import Lab
from osawslab.errors import LabBusy, StepNotReady
from osawslab.host.ssh import SshHost
from osawslab.region import local
from osawslab.report import Action
from osawslab.steps import run as steps
from osawslab.steps.site import Site

pytestmark = pytest.mark.kernel

NAME = "twice"
SETTINGS = {"bridge": "linux"}  # no daemon to wait for; Open vSwitch is tried by the notebooks
ON_INSTANCE = tuple(name for name in Lab.steps if name != "provision")
LOOKS = ("Describe", "Get", "List")


@pytest.fixture(scope="module")
def lab(home: Path) -> Iterator[Lab]:
    """One lab for the module; each test leaves it as the whole tour does."""
    with Lab(NAME, **SETTINGS) as made:
        for step in made.steps:
            report = made.run(step)
            assert report.ok, report.text
        yield made
        local.remove(NAME)


@dataclass
class Calls:
    """What was changed: EC2 calls and commands that are no mere looks."""

    made: list[str] = field(default_factory=list)


@pytest.fixture
def calls(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Calls:
    """Count every call and command that changes anything."""
    counted = Calls()
    plain, client = SshHost.plain, lab.client("ec2")

    def counting(self: SshHost, command: str, *shown: str) -> str:
        looks = "exec(zlib.decompress" in command or command in ("hostname", "true")
        if not looks:
            counted.made.append(command)
        return plain(self, command, *shown)

    def before(model: Any, **_: Any) -> None:
        if not model.name.startswith(LOOKS):
            counted.made.append(model.name)

    monkeypatch.setattr(SshHost, "plain", counting)
    client.meta.events.register("before-call", before, unique_id="count")
    yield counted
    client.meta.events.unregister("before-call", unique_id="count")


PLANNED = (
    "install_cloud", "provider_nic", "networks", "swap_mac", "publish_vm", "make_it_last",
)  # fmt: skip


def facts(lab: Lab) -> list[tuple[str, int]]:
    """Give what must be the same after any detour: nothing is missing of any step."""
    return [(step, len(lab.plan(step).actions)) for step in PLANNED]


NOTHING = [(step, 0) for step in PLANNED]


@pytest.mark.parametrize("step", Lab.steps)
def test_the_second_run_changes_nothing(lab: Lab, calls: Calls, step: str) -> None:
    report = lab.run(step)
    assert report.ok, report.text
    assert not report.changed
    assert calls.made == []


def test_the_count_sees_a_change(lab: Lab, calls: Calls) -> None:
    lab.shell("ip link show")
    lab.client("ec2").create_tags(Resources=[lab.client("ec2").describe_vpcs()["Vpcs"][0]["VpcId"]],
                                  Tags=[{"Key": "a", "Value": "b"}])  # fmt: skip
    assert len(calls.made) == 2


class Killed(BaseException):
    """The end of a process, as far as Python can see."""


def killed_at(
    monkeypatch: pytest.MonkeyPatch, number: int, after: bool
) -> Callable[[Site, str, tuple[Action, ...]], None]:
    """Have the step's process end before or after its action of that number."""
    do = steps.apply

    def dying(site: Site, step: str, actions: tuple[Action, ...]) -> None:
        def last() -> None:
            if after:
                actions[number].do()
            raise Killed

        do(site, step, (*actions[:number], replace(actions[number], do=last)))

    monkeypatch.setattr(steps, "apply", dying)
    return dying


@pytest.mark.parametrize("step", [s for s in ON_INSTANCE if s not in ("verify", "see_the_drop")])
def test_killed_at_each_action_another_process_converges(lab: Lab, step: str) -> None:
    lab.reset(step)
    for before in ON_INSTANCE[: ON_INSTANCE.index(step)]:
        lab.run(before)
    left = len(lab.plan(step).actions)
    assert left
    while left:  # each round a new process does one action more, and ends
        with pytest.MonkeyPatch.context() as patch, Lab(NAME, **SETTINGS) as other:
            killed_at(patch, 0, after=True)
            with pytest.raises(Killed):
                other.run(step)
        now = len(lab.plan(step).actions)
        assert now < left, lab.plan(step)
        left = now
    with Lab(NAME, **SETTINGS) as other:
        for name in other.steps:
            report = other.run(name)
            assert report.ok, report.text
    assert facts(lab) == NOTHING


def test_provision_killed_at_each_action_is_taken_over(home: Path) -> None:
    count, done = 0, False
    while not done:
        with pytest.MonkeyPatch.context() as patch, Lab("kills", **SETTINGS) as other:
            killed_at(patch, 0, after=True)
            try:
                other.provision()
                done = True
            except (Killed, IndexError):
                done = not other.plan("provision").actions
        count += 1
        assert count < 30
    with Lab("kills", **SETTINGS) as other:
        report = other.provision()
        assert report.ok, report.text
        assert not report.changed
        ec2 = other.client("ec2")
        mine = [{"Name": "tag:osawslab:lab", "Values": ["kills"]}]
        assert len(ec2.describe_vpcs(Filters=mine)["Vpcs"]) == 1
        assert len(ec2.describe_addresses(Filters=mine)["Addresses"]) == 2
        assert len(ec2.describe_network_interfaces(Filters=mine)["NetworkInterfaces"]) == 2
    local.remove("kills")


UNDONE = {
    "provider_nic": [
        ("ip link set eth1 down", 1),
        ("ip link set eth1 alias ''", 1),
        ("rm /var/lib/osawslab/registered-mac", 1),
        ("ip addr add 10.9.9.9/24 dev eth1", 1),
        ("rm /etc/network/interfaces.d/osawslab-provider", 1),
        ("ip link set eth1 nomaster", 1),
    ],
    "networks": [
        ("ip -n {router} route del default", 1),
        ("ip -n {router} link set {gateway} mtu 1400", 1),
        ("ip -n {router} addr del 192.168.20.1/24 dev {inner}", 1),
        ("ip netns exec {router} iptables -t nat -F neutron-l3-agent-snat", 1),
        ("ip netns exec {router} sh -c 'echo 0 > /proc/sys/net/ipv4/ip_forward'", 1),
        ("ip -n vm-vm1 route del default", 1),
        ("ip link set {tap} nomaster", 1),
        ("ip netns pids vm-vm1 | xargs -n 1 kill -9 || true", 1),
    ],
    "swap_mac": [
        ("ip -n {router} link set {gateway} address fa:16:3e:00:00:09", 1),
    ],
    "publish_vm": [
        ("ip netns exec {router} iptables -t nat -D PREROUTING -d 172.16.20.101/32 -p tcp"
         " -m tcp --dport 522 -j DNAT --to-destination 192.168.20.5:22", 1),
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("step", "command", "planned"),
    [(step, *case) for step, cases in UNDONE.items() for case in cases],
)
def test_what_is_undone_by_hand_is_planned_and_nothing_else(
    lab: Lab, step: str, command: str, planned: int
) -> None:
    from osawslab.cloud.names import names

    called = names(NAME, "vm1")
    lab.shell(
        command.format(
            router=called.router_netns, gateway=called.gateway, inner=called.inner, tap=called.tap
        )
    )
    assert len(lab.plan(step).actions) == planned, lab.plan(step)
    report = lab.run(step)
    assert report.ok, report.text
    assert facts(lab) == NOTHING


def test_the_nics_mac_set_back_by_hand_is_one_action(lab: Lab) -> None:
    mac = lab.shell("cat /var/lib/osawslab/registered-mac").output
    lab.shell(f"ip link set eth1 down; ip link set eth1 address {mac}; ip link set eth1 up")
    assert len(lab.plan("swap_mac").actions) == 1
    assert lab.swap_mac().ok
    assert lab.verify().ok


def test_an_elastic_ip_led_elsewhere_is_one_action(lab: Lab) -> None:
    ec2 = lab.client("ec2")
    [address] = ec2.describe_addresses(
        Filters=[{"Name": "private-ip-address", "Values": ["172.16.20.101"]}]
    )["Addresses"]
    ec2.disassociate_address(AssociationId=address["AssociationId"])
    planned = lab.plan("provision").actions
    assert [action.command.split()[2] for action in planned] == ["associate-address"]
    assert lab.provision().ok
    assert lab.publish_vm().ok


@pytest.mark.parametrize("step", [name for name in ON_INSTANCE if name != "verify"])
def test_reset_and_run_again(lab: Lab, step: str) -> None:
    lab.reset(step)
    if step != "see_the_drop":
        assert lab.plan(step).actions
    for name in ON_INSTANCE[ON_INSTANCE.index(step) :]:
        report = lab.run(name)
        assert report.ok, report.text
    assert facts(lab) == NOTHING


def test_steps_out_of_order_say_which_comes_first(home: Path) -> None:
    with Lab("order", **SETTINGS) as fresh:
        with pytest.raises(StepNotReady, match="no running instance") as caught:
            fresh.networks()
        assert caught.value.next == "lab.provision()"
        fresh.provision()
        for step, first in (
            ("networks", "install_cloud"),
            ("see_the_drop", "networks"),
            ("swap_mac", "networks"),
            ("publish_vm", "networks"),
            ("make_it_last", "networks"),
        ):
            with pytest.raises(StepNotReady) as caught:
                fresh.run(step)
            assert caught.value.next == f"lab.{first}()", step
    local.remove("order")


def test_a_second_process_is_told_of_the_first(lab: Lab) -> None:
    with (
        lab._working("networks"),
        Lab(NAME, **SETTINGS) as other,
        pytest.raises(LabBusy) as caught,
    ):
        other.networks()
    assert "networks" in caught.value.seen
    assert lab.networks().ok


def test_a_program_that_began_meanwhile_does_not_keep_the_lock(lab: Lab) -> None:
    with lab._working("networks"):
        links = {fd: Path(f"/proc/self/fd/{fd}") for fd in map(int, os.listdir("/proc/self/fd"))}
        copied = [fd for fd, link in links.items() if str(link.resolve()).endswith("/working")]
        begun = subprocess.Popen(["sleep", "60"], pass_fds=copied)
    try:
        assert copied
        with lab._working("networks"):
            pass
    finally:
        begun.kill()
        begun.wait()
