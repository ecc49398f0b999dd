"""Each rule of the VPC within a subnet, held by real frames."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from wire import BROADCAST, FREE, NOBODY, PUBLIC, Net, arp, echo_reply, ethernet, ipv4, packed

from osawslab.region import local, network

Frame = Callable[[Net], bytes]


def to_two(source: str = "", address: str = "", target: str = "") -> Frame:
    """Make a datagram for the second instance, as if from somebody."""
    return lambda net: ethernet(
        source or net.one.mac,
        target or net.two.mac,
        0x800,
        ipv4(address or net.one.address, net.two.address, echo_reply(b"hello")),
    )


def says(ether: str = "", mac: str = "", address: str = "", operation: int = 1) -> Frame:
    """Make an ARP message to the second instance, as if from somebody."""
    return lambda net: ethernet(
        ether or net.one.mac,
        net.two.mac,
        0x806,
        arp(mac or net.one.mac, address or net.one.address, net.two.address, operation),
    )


def other(kind: int, content: bytes) -> Frame:
    return lambda net: ethernet(net.one.mac, net.two.mac, kind, content)


PASSES: list[Any] = [pytest.param(to_two(), id="its own MAC and IP")]
DROPPED: list[Any] = [
    pytest.param(frame, reason, id=name)
    for name, frame, reason in [
        ("a MAC that nobody has", to_two(NOBODY), "mac"),
        ("another instance's MAC", lambda net: to_two(net.two.mac)(net), "mac"),
        ("the router's MAC", lambda net: to_two(net.router)(net), "mac"),
        ("MAC and IP both", to_two(NOBODY, FREE), "mac"),
        ("an ARP message of a MAC that nobody has", says(NOBODY, NOBODY), "mac"),
        ("an IP that nobody has", to_two(address=FREE), "ip"),
        ("an IP of the internet", to_two(address=PUBLIC), "ip"),
        ("another instance's IP", lambda net: to_two(address=net.two.address)(net), "ip"),
        ("no IP at all", to_two(address="0.0.0.0"), "ip"),
        ("an ARP sender's IP", says(address=FREE), "arp"),
        ("an ARP sender's MAC", says(mac=NOBODY), "arp"),
        ("an ARP answer in the router's name", says(address="172.16.10.1", operation=2), "arp"),
        ("an ARP answer with another's MAC", says(mac=NOBODY, operation=2), "arp"),
        ("a protocol that a VPC does not carry", other(0x88B5, b"x"), "other"),
        (
            "an IP that nobody has, behind a VLAN tag",
            lambda net: other(
                0x8100, b"\0\5\x08\0" + ipv4(FREE, net.two.address, echo_reply(b"hello"))
            )(net),
            "other",
        ),
    ]
]


@pytest.mark.parametrize("frame", PASSES)
def test_a_frame_with_the_registered_pair_arrives(frame: Frame, net: Net) -> None:
    before = net.drops()
    sent = frame(net)
    assert net.send(sent) == [[sent]]
    assert net.drops() == before


@pytest.mark.parametrize(("frame", "reason"), DROPPED)
def test_a_spoofed_frame_is_dropped_and_counted(frame: Frame, reason: str, net: Net) -> None:
    before = net.drops()
    assert net.send(frame(net)) == [[]]
    assert net.drops() == {**before, reason: before[reason] + 1}


def test_ipv6_and_igmp_are_dropped_and_say_nothing_about_the_lab(net: Net) -> None:
    before = net.drops()
    igmp = ipv4("0.0.0.0", "224.0.0.22", b"\x22\0\0\0\0\0\0\0", 2)
    frames = (
        other(0x86DD, b"\x60" + bytes(39))(net),
        ethernet(net.one.mac, "33:33:00:00:00:01", 0x86DD, b"\x60" + bytes(39)),
        ethernet(net.one.mac, "01:00:5e:00:00:16", 0x800, igmp),
    )
    assert net.send(*frames) == [[]]
    assert net.drops() == before


def test_without_source_dest_check_any_ip_passes(net: Net, unchecked: None) -> None:
    before = net.drops()
    sent = to_two(address=FREE)(net)
    assert net.send(sent) == [[sent]]
    assert net.drops() == before


@pytest.mark.parametrize(
    ("frame", "reason"), [(to_two(NOBODY), "mac"), (says(address=FREE), "arp")]
)
def test_without_source_dest_check_mac_and_arp_are_held_all_the_same(
    frame: Frame, reason: str, net: Net, unchecked: None
) -> None:
    before = net.drops()
    assert net.send(frame(net)) == [[]]
    assert net.drops() == {**before, reason: before[reason] + 1}


@pytest.mark.parametrize(
    "frame",
    [
        pytest.param(to_two(target=BROADCAST), id="broadcast"),
        pytest.param(to_two(target=NOBODY), id="unknown unicast"),
        pytest.param(to_two(target="01:00:5e:00:00:01"), id="multicast"),
        pytest.param(
            lambda net: ethernet(
                net.one.mac, BROADCAST, 0x800,
                ipv4(net.one.address, "172.16.10.255", echo_reply(b"hello")),
            ),
            id="the subnet's broadcast address",
        ),
        pytest.param(
            lambda net: ethernet(
                net.one.mac, BROADCAST, 0x806, arp(net.one.mac, net.one.address, net.two.address)
            ),
            id="an ARP request",
        ),
        pytest.param(
            lambda net: ethernet(
                net.one.mac, BROADCAST, 0x806,
                arp(net.one.mac, net.one.address, net.one.address, 2),
            ),
            id="a gratuitous ARP",
        ),
    ],
)  # fmt: skip
def test_what_goes_to_all_is_seen_by_nobody(frame: Frame, net: Net) -> None:
    assert net.send(frame(net), watch=(net.two, net.far)) == [[], []]


def asks(net: Net, address: str) -> list[bytes]:
    """Ask by ARP who has an address; every frame that came back."""
    asked = arp(net.one.mac, net.one.address, address)
    (seen,) = net.send(ethernet(net.one.mac, BROADCAST, 0x806, asked), watch=(net.one,))
    return seen


def test_the_mapping_service_answers_with_the_registered_mac(net: Net) -> None:
    (answer,) = asks(net, net.two.address)
    assert answer[12:14] == b"\x08\x06"
    assert answer[14:42] == arp(net.two.mac, net.two.address, net.one.address, 2, net.one.mac)
    assert answer[:6] == packed(net.one.mac)


@pytest.mark.parametrize(
    "address",
    [
        pytest.param(FREE, id="of nobody"),
        pytest.param("172.16.20.103", id="of an instance in another subnet"),
        pytest.param("172.16.10.2", id="reserved by AWS"),
        pytest.param(PUBLIC, id="of the internet"),
    ],
)
def test_an_address_that_is_not_in_the_subnet_is_not_answered(address: str, net: Net) -> None:
    assert asks(net, address) == []


def test_an_instance_is_told_nothing_of_itself(net: Net) -> None:
    """Else the router's gratuitous ARP comes back, and the provider bridge learns it at the NIC."""
    assert asks(net, net.one.address) == []


def test_the_mapping_service_answers_whoever_has_moved_its_mac(net: Net) -> None:
    """It tells what is registered, not what an instance's NIC says of itself."""
    netns = net.world.netns(net.two)
    net.world.must(netns, "ip", "link", "set", "eth0", "address", NOBODY)
    (answer,) = asks(net, net.two.address)
    assert answer[22:28] == packed(net.two.mac)
    assert net.fails(net.one, net.two.address)
    net.world.must(netns, "ip", "link", "set", "eth0", "address", net.two.mac)
    assert net.reaches(net.one, net.two.address)


def test_instances_reach_each_other_within_and_between_subnets(net: Net) -> None:
    before = net.drops()
    for source in (net.one, net.two, net.far):
        router = source.address.rpartition(".")[0] + ".1"
        for address in (net.one.address, net.two.address, net.far.address, router):
            assert net.reaches(source, address), f"{source.address} -> {address}"
    assert net.drops() == before


def test_a_terminated_instance_is_gone(net: Net) -> None:
    world = net.world
    gone = world.up(world.machine("172.16.10.104"))
    netns = world.netns(gone)
    disk = local.state_folder(world.name) / "disks" / gone.id
    port = network.port_name(gone.nic)
    assert net.reaches(net.one, gone.address)
    assert asks(net, gone.address)
    assert disk.is_dir()
    world.ec2.terminate_instances(InstanceIds=[gone.id])
    assert netns not in world.region.places()
    assert not disk.exists()
    assert port not in world.must(world.router, "ip", "link")
    assert asks(net, gone.address) == []
    rules = world.must(world.router, "nft", "list", "ruleset")
    assert port not in rules
    assert gone.address not in rules


def test_a_stopped_instance_is_off_the_wire_and_keeps_its_disk(net: Net) -> None:
    world = net.world
    machine = world.machine("172.16.10.105")
    disk = local.state_folder(world.name) / "disks" / machine.id
    world.ec2.stop_instances(InstanceIds=[machine.id])
    assert not [place for place in world.region.places() if place.startswith(machine.id)]
    assert asks(net, machine.address) == []
    assert disk.is_dir()
    world.ec2.terminate_instances(InstanceIds=[machine.id])


def test_a_nic_is_plugged_in_and_pulled_out_of_a_running_instance(net: Net) -> None:
    world = net.world
    netns = world.netns(net.two)
    second = world.plug(net.two, world.b, "172.16.20.102")
    (link,) = json.loads(world.must(netns, "ip", "-j", "link", "show", "eth1"))
    assert link["address"] == second.mac
    about = world.ec2.describe_network_interfaces(NetworkInterfaceIds=[second.nic])
    attachment = about["NetworkInterfaces"][0]["Attachment"]["AttachmentId"]
    world.ec2.detach_network_interface(AttachmentId=attachment)
    assert world.run(netns, "ip", "link", "show", "eth1").returncode
    assert network.port_name(second.nic) not in world.must(world.router, "ip", "link")
    world.ec2.delete_network_interface(NetworkInterfaceId=second.nic)
    assert net.reaches(net.two, net.one.address)


def test_a_change_elsewhere_leaves_links_and_counters_as_they_are(net: Net) -> None:
    world = net.world

    def kernel() -> list[Any]:
        """Read links with their indexes, neighbours, routes and rules, without what ages."""
        seen: list[Any] = [world.region.drops()]
        for place in world.region.places():
            seen.append(json.loads(world.must(place, "ip", "-j", "addr")))
            seen.append(json.loads(world.must(place, "ip", "-j", "route")))
        seen.append(world.must(world.router, "nft", "-s", "list", "ruleset"))
        return seen

    before = kernel()
    made = world.ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    assert kernel() == before
    world.ec2.delete_vpc(VpcId=made)
    assert kernel() == before
