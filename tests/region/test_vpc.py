"""Each rule of the VPC, held by real frames: sent by hand in one instance, watched in others."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest

from osawslab.region import local, network

World = Any  # conftest's
Machine = Any

BROADCAST, NOBODY = "ff:ff:ff:ff:ff:ff", "02:99:99:99:99:99"
FREE = "172.16.10.200"  # an address that nobody has
PUBLIC, USER = network.PUBLIC_ADDRESS, network.USER_ADDRESS
REASONS = ("mac", "arp", "ip", "other")
MARK = b"osawslab: the last frame"

# Runs inside the region: sends frames, and tells what came in until each watched place has seen
# its mark. Frames between two ports keep their order, so whatever was to come has come by then.
WIRE = """
import ctypes, json, os, select, socket, sys, time
given, libc = json.load(sys.stdin), ctypes.CDLL(None)

def port(place, device):
    fd = os.open("/run/netns/" + place, os.O_RDONLY)
    assert libc.setns(fd, 0x40000000) == 0
    os.close(fd)
    made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    made.bind((device, 0))
    return made

watched = {port(place, "eth0"): place for place in given["marks"]}
out, seen = port(given["place"], "eth0"), {place: [] for place in given["marks"]}
for frame in given["frames"]:
    out.send(bytes.fromhex(frame))
end = time.monotonic() + 5
while watched:
    ready = select.select(list(watched), [], [], max(0, end - time.monotonic()))[0]
    if not ready:
        sys.exit("no mark at " + ", ".join(watched.values()))
    for each in ready:
        data, about = each.recvfrom(65536)
        place = watched[each]
        if bytes.fromhex(given["marks"][place]) in data:
            del watched[each]
        elif about[2] != 4:  # its own, going out
            seen[place].append(data.hex())
print(json.dumps(seen))
"""


def packed(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


def ip(address: str) -> bytes:
    return IPv4Address(address).packed


def ethernet(source: str, target: str, kind: int, content: bytes) -> bytes:
    return packed(target) + packed(source) + struct.pack("!H", kind) + content.ljust(46, b"\0")


def checksum(data: bytes) -> int:
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    return ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF


def ipv4(source: str, target: str, content: bytes, protocol: int = 1) -> bytes:
    """Make an IPv4 packet (RFC 791); ICMP by default."""

    def head(check: int) -> bytes:
        length = 20 + len(content)
        fixed = struct.pack("!BBHHHBBH", 0x45, 0, length, 1, 0, 64, protocol, check)
        return fixed + ip(source) + ip(target)

    return head(checksum(head(0))) + content


def echo_reply(words: bytes) -> bytes:
    """Make an ICMP echo reply (RFC 792), which a host that has not asked passes over in silence."""
    words += b"\0" * (len(words) % 2)
    return struct.pack("!BBHHH", 0, 0, checksum(b"\0" * 8 + words), 0, 0) + words


def arp(source: str, address: str, wanted: str, operation: int = 1, target: str = "") -> bytes:
    """Make an ARP message for Ethernet and IPv4 (RFC 826)."""
    head = struct.pack("!HHBBH", 1, 0x800, 6, 4, operation)
    return head + packed(source) + ip(address) + packed(target or "00:" * 5 + "00") + ip(wanted)


@dataclass(frozen=True)
class Net:
    """Two instances in one subnet and one in another; the first has an Elastic IP."""

    world: World
    one: Machine
    two: Machine
    far: Machine
    eip: str

    @property
    def router(self) -> str:
        """The router's MAC in the subnet of the first two."""
        return network.router_mac(self.world.a)

    def send(self, *frames: bytes, watch: tuple[Machine, ...] = ()) -> list[list[bytes]]:
        """Send frames out of the first instance; what arrived at each watched one."""
        one, marks, last = self.one, {}, []
        for machine in watch or (self.two,):
            if machine == one:  # the router's answer comes after all others
                asked = arp(one.mac, one.address, "172.16.10.1")
                last.append(ethernet(one.mac, BROADCAST, 0x806, asked))
                mark = arp(self.router, "172.16.10.1", one.address, 2, one.mac)
            else:
                way = self.router if machine == self.far else machine.mac
                packet = ipv4(one.address, machine.address, echo_reply(MARK))
                last.append(ethernet(one.mac, way, 0x800, packet))
                mark = MARK
            marks[self.world.netns(machine)] = mark.hex()
        frames_ = [frame.hex() for frame in (*frames, *last)]
        asked_ = {"place": self.world.netns(one), "marks": marks, "frames": frames_}
        words = ("internet", "python3", "-c", WIRE)
        told = json.loads(self.world.must(*words, given=json.dumps(asked_)))
        return [[bytes.fromhex(frame) for frame in told[place]] for place in marks]

    def drops(self) -> dict[str, int]:
        """Count what the VPC's guard dropped until now."""
        found = self.world.region.drops()
        return {reason: found[reason] for reason in REASONS}

    def _ping(self, place: Machine | str, address: str, *how: str) -> bool:
        if place == "internet":
            how = (*how, "-I", USER)
        netns = place if isinstance(place, str) else self.world.netns(place)
        done = self.world.run(netns, "ping", "-n", "-c", "1", *how, address)
        return bool(done.returncode == 0)

    def reaches(self, place: Machine | str, address: str) -> bool:
        """Ping an address once."""
        return self._ping(place, address, "-W", "5")

    def fails(self, place: Machine | str, address: str) -> bool:
        """Ping an address once, and say whether it was in vain; it takes half a second."""
        return not self._ping(place, address, "-W", "0.5")


@pytest.fixture(scope="module")
def net(world: World) -> Net:
    one, two, far = map(world.machine, ("172.16.10.101", "172.16.10.102", "172.16.20.103"))
    for machine in (one, two, far):
        world.up(machine)
    return Net(world, one, two, far, world.eip(one))


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


@pytest.fixture
def unchecked(net: Net) -> Iterator[None]:
    """Switch SourceDestCheck of the first instance off."""
    ec2 = net.world.ec2
    ec2.modify_network_interface_attribute(
        NetworkInterfaceId=net.one.nic, SourceDestCheck={"Value": False}
    )
    yield
    ec2.modify_network_interface_attribute(
        NetworkInterfaceId=net.one.nic, SourceDestCheck={"Value": True}
    )


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


# The internet.

TALK = """
import ctypes, os, socket, sys
libc = ctypes.CDLL(None)
def made(place, address):
    fd = os.open("/run/netns/" + place, os.O_RDONLY)
    assert libc.setns(fd, 0x40000000) == 0
    os.close(fd)
    each = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    each.settimeout(2)
    each.bind((address, 5353))
    return each
server, client = made("internet", "8.8.8.8"), made(sys.argv[1], sys.argv[2])
client.sendto(b"who am I?", ("8.8.8.8", 5353))
_, who = server.recvfrom(100)
server.sendto(who[0].encode(), who)
print(client.recv(100).decode())
"""


def test_what_leaves_has_the_elastic_ip_and_the_answer_comes_back(net: Net) -> None:
    place = net.world.netns(net.one)
    said = net.world.must("internet", "python3", "-c", TALK, place, net.one.address)
    assert said.strip() == net.eip


def test_what_comes_to_the_elastic_ip_arrives(net: Net) -> None:
    assert net.reaches("internet", net.eip)
    net.world.host(net.eip).wait(10)
    with net.world.region.connect(net.eip, 22) as made:
        assert made.recv(100).startswith(b"SSH-2.0-osawslab")


def test_without_an_elastic_ip_there_is_no_internet(net: Net) -> None:
    before = net.world.region.drops()["no_eip"]
    assert net.fails(net.two, PUBLIC)
    assert net.world.region.drops()["no_eip"] == before + 1
    assert net.reaches(net.one, PUBLIC)


def test_an_elastic_ip_that_leads_nowhere_does_not_answer(net: Net) -> None:
    ec2 = net.world.ec2
    spare = ec2.allocate_address(Domain="vpc")
    with pytest.raises(OSError, match="unreachable"):
        net.world.region.connect(spare["PublicIp"], 22)
    led = ec2.associate_address(AllocationId=spare["AllocationId"], NetworkInterfaceId=net.two.nic)
    assert net.reaches("internet", spare["PublicIp"])
    ec2.disassociate_address(AssociationId=led["AssociationId"])
    with pytest.raises(OSError, match="unreachable"):
        net.world.region.connect(spare["PublicIp"], 22)
    ec2.release_address(AllocationId=spare["AllocationId"])


def test_an_elastic_ip_leads_where_it_is_moved_to(net: Net) -> None:
    ec2 = net.world.ec2
    (about,) = ec2.describe_addresses(PublicIps=[net.eip])["Addresses"]

    def lead(machine: Machine) -> None:
        ec2.associate_address(
            AllocationId=about["AllocationId"],
            NetworkInterfaceId=machine.nic,
            AllowReassociation=True,
        )

    lead(net.two)
    assert net.reaches(net.two, PUBLIC)
    assert net.fails(net.one, PUBLIC)
    assert net.world.host(net.eip).plain("hostname") == "ip-172-16-10-102\n"
    lead(net.one)
    assert net.reaches(net.one, PUBLIC)
    assert net.world.host(net.eip).plain("hostname") == "ip-172-16-10-101\n"


def test_a_spoofed_public_source_does_not_reach_the_internet(net: Net, unchecked: None) -> None:
    """Past the source check there is still the gateway: no Elastic IP, no way out."""
    before = net.world.region.drops()["no_eip"]
    packet = ipv4(FREE, PUBLIC, echo_reply(b"hello"))
    net.send(ethernet(net.one.mac, net.router, 0x800, packet), watch=(net.one,))
    assert net.world.region.drops()["no_eip"] == before + 1


# Security groups.


def reach(net: Net, port: int) -> str:
    """Try a port of the first instance from the internet; nobody listens there."""
    try:
        net.world.region.connect(net.eip, port, 0.5).close()
    except ConnectionRefusedError:
        return "open"
    except OSError as error:
        return "open" if "refused" in str(error) else str(error)
    return "served"


def test_a_security_group_opens_and_closes_a_port(net: Net) -> None:
    before = net.world.region.drops()["group"]
    assert reach(net, 80) == "timed out"
    assert net.world.region.drops()["group"] > before
    net.world.allow("tcp", 80)
    assert reach(net, 80) == "open"
    assert reach(net, 81) == "timed out"
    net.world.revoke("tcp", 80)
    assert reach(net, 80) == "timed out"


def test_a_security_group_opens_and_closes_ping(net: Net) -> None:
    assert net.reaches("internet", net.eip)
    assert net.reaches(net.two, net.one.address)
    assert net.reaches(net.far, net.one.address)
    net.world.revoke("icmp", -1)
    assert net.fails("internet", net.eip)
    assert net.fails(net.two, net.one.address)
    assert net.fails(net.far, net.one.address)
    assert net.reaches(net.one, PUBLIC)  # the way out is open, and the answer belongs to it
    net.world.allow("icmp", -1)
    assert net.reaches("internet", net.eip)
    assert net.reaches(net.two, net.one.address)


KNOCK = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), 0.5)
    print("served")
except ConnectionRefusedError:
    print("open")
except TimeoutError:
    print("closed")
"""


@pytest.mark.parametrize("source", ["two", "far"])
def test_a_security_group_holds_between_instances_too(source: str, net: Net) -> None:
    def knock(port: int) -> str:
        place = net.world.netns(getattr(net, source))
        words = ("python3", "-c", KNOCK, net.one.address, str(port))
        return str(net.world.must(place, *words).strip())

    assert knock(80) == "closed"
    net.world.allow("tcp", 80)
    assert knock(80) == "open"
    net.world.revoke("tcp", 80)
    assert knock(80) == "closed"


def test_a_group_may_let_in_the_members_of_a_group(net: Net) -> None:
    members = [
        {
            "IpProtocol": "tcp",
            "FromPort": 80,
            "ToPort": 80,
            "UserIdGroupPairs": [{"GroupId": net.world.group}],
        }
    ]
    ec2, group = net.world.ec2, net.world.group
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=members)
    words = ("python3", "-c", KNOCK, net.one.address, "80")
    assert net.world.must(net.world.netns(net.two), *words) == "open\n"
    assert reach(net, 80) == "timed out"
    ec2.revoke_security_group_ingress(GroupId=group, IpPermissions=members)


def test_permissions_may_overlap(net: Net) -> None:
    """What lets somebody in is not less where it is said twice."""
    ec2, group = net.world.ec2, net.world.group
    overlapping = [
        {"IpProtocol": protocol, "FromPort": low, "ToPort": high, "IpRanges": [{"CidrIp": cidr}]}
        for protocol, low, high, cidr in (
            ("tcp", 20, 30, "198.51.100.0/24"),
            ("tcp", 25, 90, "0.0.0.0/0"),
            ("icmp", -1, -1, "198.51.100.0/25"),
            ("-1", -1, -1, "172.16.10.0/24"),
            ("-1", -1, -1, "172.16.10.102/32"),
        )
    ]
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=overlapping)
    assert [reach(net, port) for port in (20, 25, 90, 91)] == ["open"] * 3 + ["timed out"]
    assert net.reaches("internet", net.eip)
    ec2.revoke_security_group_ingress(GroupId=group, IpPermissions=overlapping)
    assert reach(net, 90) == "timed out"


def test_what_no_egress_rule_allows_does_not_leave(net: Net) -> None:
    everything = [{"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]
    ec2, group = net.world.ec2, net.world.group
    ec2.revoke_security_group_egress(GroupId=group, IpPermissions=everything)
    assert net.fails(net.one, PUBLIC)
    assert net.fails(net.one, net.far.address)
    assert net.fails(net.one, net.two.address)
    assert net.reaches("internet", net.eip)  # what is let in is answered
    ec2.authorize_security_group_egress(GroupId=group, IpPermissions=everything)
    assert net.reaches(net.one, PUBLIC)


# Sizes, ends, and what is not there.


def test_inside_a_vpc_frames_are_large_and_its_gateway_passes_1500(net: Net) -> None:
    def size(source: Machine, address: str, data: int) -> str:
        place = net.world.netns(source)
        words = ("ping", "-n", "-c", "1", "-W", "1", "-M", "do", "-s", str(data), address)
        done = net.world.run(place, *words)
        return str(done.stdout + done.stderr) if done.returncode else "answered"

    for target in (net.two, net.far):
        assert size(net.one, target.address, 9001 - 28) == "answered"
    assert "message too long" in size(net.one, net.two.address, 9002 - 28)
    assert size(net.one, PUBLIC, 1500 - 28) == "answered"
    refused = size(net.one, PUBLIC, 1501 - 28)
    assert re.search(r"From 172\.16\.10\.1 .*Frag needed and DF set \(mtu = 1500\)", refused)


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


def test_a_vpc_with_the_same_addresses_is_another_world(net: Net) -> None:
    world = net.world
    ec2 = world.ec2
    vpc = ec2.create_vpc(CidrBlock="172.16.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="172.16.10.0/24")["Subnet"]["SubnetId"]
    made = ec2.run_instances(
        ImageId=world.image, InstanceType="t2.large", MinCount=1, MaxCount=1,
        SubnetId=subnet, PrivateIpAddress=net.one.address,
    )["Instances"][0]["InstanceId"]  # fmt: skip
    place = world.netns(made)
    world.must(f"vpc-{vpc[-8:]}", "ping", "-i", "0.05", "-c", "1", "-w", "10", net.one.address)
    assert net.fails(place, net.two.address)
    assert net.reaches(place, "172.16.10.1")
    assert net.reaches(net.one, net.two.address)
    assert net.reaches("internet", net.eip)
    for _ in range(3):  # its only instance, so the whole VPC goes and comes back
        ec2.stop_instances(InstanceIds=[made])
        assert network.leg(vpc) not in world.must("internet", "ip", "link")
        ec2.start_instances(InstanceIds=[made])
        assert network.leg(vpc) in world.must("internet", "ip", "link")
    ec2.terminate_instances(InstanceIds=[made])
    assert f"vpc-{vpc[-8:]}" not in world.region.places()
    assert network.leg(vpc) not in world.must("internet", "ip", "link")


def test_a_change_elsewhere_leaves_links_and_counters_as_they_are(net: Net) -> None:
    world = net.world

    def kernel() -> list[Any]:
        """Read links with their indexes, neighbours, routes and rules, without what ages."""
        seen: list[Any] = [world.region.drops()]
        for place in world.region.places():
            links = json.loads(world.must(place, "ip", "-j", "-d", "addr"))
            for link in links:
                link.get("linkinfo", {}).pop("info_data", None)
            seen.append(links)
            seen.append(json.loads(world.must(place, "ip", "-j", "route")))
        seen.append(world.must(world.router, "nft", "-s", "list", "ruleset"))
        return seen

    before = kernel()
    made = world.ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    assert kernel() == before
    world.ec2.delete_vpc(VpcId=made)
    assert kernel() == before


def test_a_region_has_no_way_to_the_machine_or_beyond(net: Net) -> None:
    """Every device is a cable to another place of the region; no default route leaves it."""
    region = net.world.region
    own = Path(f"/proc/{region.pid}/net")
    assert re.findall(r"^\s*(\S+):", (own / "dev").read_text(), re.M) == ["lo"]
    assert (own / "route").read_text().count("\n") <= 1  # its headline
    for place in region.places():
        for link in json.loads(net.world.must(place, "ip", "-j", "-d", "link")):
            kind = link.get("linkinfo", {}).get("info_kind", "loopback")
            assert kind in ("loopback", "veth", "bridge"), f"{place}: {link}"
            if kind == "veth":
                assert link["link_netnsid"] is not None
    assert "default" not in net.world.must("internet", "ip", "route")
    with pytest.raises(OSError, match="unreachable"):
        region.connect("192.0.2.1", 53)
