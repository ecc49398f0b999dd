"""From one strategy to another nothing of the first is left, and each is exact by itself."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from osawslab import Lab
from osawslab.cloud.names import names
from osawslab.errors import Refused
from osawslab.region import local
from osawslab.steps import work

pytestmark = pytest.mark.kernel

CALLED = names("moving-openvswitch", "vm1")
BEFORE = ("provision", "install_cloud", "provider_nic", "networks", "see_the_drop")


def made(bridge: str) -> Iterator[Lab]:
    name = f"moving-{bridge}"
    with Lab(name, bridge=bridge) as lab:
        try:
            for step in BEFORE:
                report = lab.run(step)
                assert report.ok, report.text
            yield lab
        finally:
            local.remove(name)


@pytest.fixture(scope="module")
def openvswitch(home: Path) -> Iterator[Lab]:
    """A lab up to the swap, with Open vSwitch."""
    yield from made("openvswitch")


@pytest.fixture(scope="module")
def linux(home: Path) -> Iterator[Lab]:
    """A lab up to the swap, with Linux bridges."""
    yield from made("linux")


def take(lab: Lab, strategy: str) -> None:
    """Have the lab take another strategy."""
    lab.settings = replace(lab.settings, strategy=strategy)


def facts(lab: Lab) -> dict[str, Any]:
    """Give all that a strategy may change."""
    cloud = work.read(lab._site()).cloud
    host = cloud.host
    return {
        "links": {
            (space, link.name): (
                # Open vSwitch makes up the MAC of a bridge's own port, anew for each bridge.
                "" if link.name == "br-mac-nat" else link.mac,
                link.up,
                link.master,
                link.alias,
                link.addresses,
            )
            for space, found in host.namespaces.items()
            for link in found.links.values()
        },
        "fdb": {
            (each["mac"], each["ifname"], each["state"])
            for each in host.fdb
            if each.get("state") in ("permanent", "static") and each.get("master")
        },
        "switch": {
            name: (dict(found.ports), sorted(found.flows))
            for name, found in (host.bridges or {}).items()
        },
        "hwaddr": lab.shell("ovs-vsctl get bridge br-example other_config 2>&1; true").output,
        "ofport": lab.shell("ovs-vsctl get interface eth1 ofport_request 2>&1; true").output,
        "files": {
            path: text
            for path, text in host.files.items()
            if "names" not in path and not path.startswith("/proc/")
        },
    }


PAIRS = [
    (bridge, one, other)
    for bridge, known in (
        ("openvswitch", ("swap", "share", "mac-nat")),
        ("linux", ("swap", "share")),
    )
    for one, other in itertools.permutations(known, 2)
]


@pytest.fixture(scope="module")
def fresh() -> dict[tuple[str, str], dict[str, Any]]:
    """Remember the facts of each strategy where none was before."""
    return {}


@pytest.mark.parametrize(("bridge", "one", "other"), PAIRS)
def test_moving_leaves_nothing_of_the_first(
    request: pytest.FixtureRequest, fresh: dict[Any, Any], bridge: str, one: str, other: str
) -> None:
    lab: Lab = request.getfixturevalue(bridge)
    for strategy in (other, one):
        lab.reset("swap_mac")
        nothing = fresh.setdefault((bridge, ""), facts(lab))
        assert facts(lab) == nothing
        take(lab, strategy)
        report = lab.swap_mac()
        assert report.ok, report.text
        assert facts(lab) == fresh.setdefault((bridge, strategy), facts(lab)) != nothing
    take(lab, other)
    report = lab.swap_mac()
    assert report.ok, report.text
    assert facts(lab) == fresh[bridge, other] != fresh[bridge, one]
    assert not lab.swap_mac().changed
    verified = lab.verify()
    assert verified.ok, verified.text


UNDONE = [
    ("ovs-ofctl --strict del-flows br-mac-nat"
     " 'priority=20,arp,in_port=1,arp_tpa=172.16.20.101'", "ovs-ofctl add-flow"),
    ("ovs-ofctl --strict del-flows br-mac-nat"
     " 'priority=20,ip,in_port=2,nw_src=172.16.20.101'", "ovs-ofctl add-flow"),
    ("ovs-ofctl add-flow br-mac-nat priority=5,actions=NORMAL", "ovs-ofctl --strict"),
    ("ovs-ofctl add-flow br-mac-nat 'priority=20,ip,in_port=2,nw_src=172.16.20.101,actions=drop'",
     "ovs-ofctl add-flow"),
    ("ovs-vsctl del-port nat-ex", "ovs-vsctl --may-exist"),
    ("ovs-vsctl del-port ex-nat", "ovs-vsctl --may-exist"),
    ("ovs-vsctl del-port br-mac-nat eth1", "ovs-vsctl --if-exists"),
]  # fmt: skip


@pytest.mark.parametrize(("command", "planned"), UNDONE)
def test_what_is_undone_by_hand_is_planned_and_nothing_else(
    openvswitch: Lab, command: str, planned: str
) -> None:
    lab = openvswitch
    take(lab, "mac-nat")
    assert lab.swap_mac().ok
    lab.shell(command)
    actions = [action.command for action in lab.plan("swap_mac").actions]
    assert [each[: len(planned)] for each in actions] == [planned], actions
    assert not lab.check("swap_mac")
    assert lab.swap_mac().ok
    assert lab.verify().ok
    assert lab.plan("provider_nic").actions == ()


def test_the_gateway_ports_own_mac_is_one_action(openvswitch: Lab) -> None:
    lab = openvswitch
    take(lab, "mac-nat")
    assert lab.swap_mac().ok
    lab.shell(f"ip -n {CALLED.router_netns} link set {CALLED.gateway} address fa:16:3e:00:00:09")
    assert len(lab.plan("swap_mac").actions) == 1
    assert lab.swap_mac().ok
    assert lab.verify().ok


def test_mac_nat_on_a_linux_bridge_is_refused_with_what_to_use(linux: Lab) -> None:
    lab = linux
    take(lab, "mac-nat")
    with pytest.raises(Refused, match="Linux bridge") as caught:
        lab.swap_mac()
    assert 'strategy = "share"' in caught.value.next
    assert not lab.check("swap_mac")


def test_a_second_router_on_a_linux_bridge_is_refused_with_what_to_use(linux: Lab) -> None:
    lab = linux
    take(lab, "auto")
    lab.shell(
        "ip netns add qrouter-second && ip link add qg-second netns qrouter-second type veth"
        " && ip -n qrouter-second addr add 172.16.20.102/24 dev qg-second"
    )
    with pytest.raises(Refused, match="several routers") as caught:
        lab.swap_mac()
    assert 'bridge = "openvswitch"' in caught.value.next
    lab.shell("ip netns del qrouter-second")
    assert lab.swap_mac().ok


SECOND = """
ip netns add qrouter-second
ovs-vsctl add-port br-int qg-second -- set port qg-second tag=1 \
 -- set interface qg-second type=internal
ip link set qg-second netns qrouter-second
ip -n qrouter-second link set qg-second address fa:16:3e:00:00:22 up
ip -n qrouter-second addr add 172.16.20.102/24 dev qg-second
ip -n qrouter-second route add default via 172.16.20.1
"""


def test_a_second_router_is_refused_without_and_answered_with_a_registered_address(
    openvswitch: Lab,
) -> None:
    lab, ec2 = openvswitch, openvswitch.client("ec2")
    take(lab, "auto")
    lab.shell(SECOND)
    with pytest.raises(Refused, match=r"does not have the address 172\.16\.20\.102") as caught:
        lab.swap_mac()
    assert "assign-private-ip-addresses" in caught.value.next
    [nic] = ec2.describe_network_interfaces(
        Filters=[{"Name": "private-ip-address", "Values": ["172.16.20.101"]}]
    )["NetworkInterfaces"]
    eni = nic["NetworkInterfaceId"]
    ec2.assign_private_ip_addresses(NetworkInterfaceId=eni, PrivateIpAddresses=["172.16.20.102"])
    eip = ec2.allocate_address(Domain="vpc")["AllocationId"]
    ec2.associate_address(
        AllocationId=eip, NetworkInterfaceId=eni, PrivateIpAddress="172.16.20.102"
    )
    report = lab.swap_mac()
    assert report.ok, report.text
    assert report.notes[0].startswith("strategy mac-nat: 2 routers")
    assert lab.verify().ok
    pinged = lab.shell("ip netns exec qrouter-second ping -n -c 3 -i 0.2 -W 2 8.8.8.8 | grep rec")
    assert " 3 received" in pinged.output
    assert len(lab.shell("ovs-ofctl dump-flows --no-stats br-mac-nat").output.splitlines()) == 8
    lab.shell("ip netns del qrouter-second; ovs-vsctl del-port br-int qg-second")
    planned = [action.command for action in lab.plan("swap_mac").actions]
    assert any("del-br br-mac-nat" in each for each in planned)  # one router: auto swaps again
    assert lab.swap_mac().ok
    assert lab.verify().ok
