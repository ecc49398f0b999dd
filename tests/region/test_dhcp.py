"""DHCP in the VPC: real frames between an instance and the router, read by tshark."""

from __future__ import annotations

import json
import os
import random
import shutil
import struct
import subprocess
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from wire import BROADCAST, FREE, NOBODY, ethernet, ip, ipv4, packed
from world import Machine, World

from osawslab.region import dhcp, local, network
from osawslab.region.state import Eni, Instance, State, Subnet

DISCOVER, REQUEST, RELEASE, INFORM = 1, 3, 7, 8
ROUTER = "172.16.10.1"
NUMBERS = count(0x0A050001)
# Runs inside the region: sends frames out of one NIC, and tells what DHCP's answers come to each
# place until the last frame, by its number, is answered. The router answers in turn.
ASK = """
import ctypes, json, os, select, socket, sys, time
given, libc = json.load(sys.stdin), ctypes.CDLL(None)

def port(place, device):
    fd = os.open("/run/netns/" + place, os.O_RDONLY)
    assert libc.setns(fd, 0x40000000) == 0
    os.close(fd)
    made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    made.bind((device, 0))
    return made

watched = {port(place, "eth0"): place for place in reversed(given["places"])}
[out] = [each for each, place in watched.items() if place == given["places"][0]]
frames, seen = [bytes.fromhex(frame) for frame in given["frames"]], []
for frame in frames:
    out.send(frame)
end = time.monotonic() + 5
while True:
    ready = select.select(list(watched), [], [], max(0, end - time.monotonic()))[0]
    if not ready:
        sys.exit("no answer to the last frame")
    for each in ready:
        data, about = each.recvfrom(65536)
        if about[2] != 4 and data[12:14] + data[23:24] + data[34:36] == b"\\x08\\0\\x11\\0C":
            seen.append([watched[each], data.hex()])
            if data[46:50] == frames[-1][46:50]:
                print(json.dumps(seen))
                sys.exit()
"""
FIELDS = {
    "to": "eth.dst", "from": "ip.src", "ip": "ip.dst", "kind": "dhcp.option.dhcp",
    "number": "dhcp.id", "yours": "dhcp.ip.your", "server": "dhcp.option.dhcp_server_id",
    "mask": "dhcp.option.subnet_mask", "router": "dhcp.option.router",
    "resolver": "dhcp.option.domain_name_server", "mtu": "dhcp.option.interface_mtu",
    "seconds": "dhcp.option.ip_address_lease_time", "name": "dhcp.option.hostname",
    "domain": "dhcp.option.domain_name", "broadcast": "dhcp.option.broadcast_address",
    "wrong": "_ws.malformed", "sums": "ip.checksum.status", "udp": "udp.checksum.status",
}  # fmt: skip
LEASE = {
    "mask": "255.255.255.0", "router": ROUTER, "resolver": "172.16.0.2", "mtu": "9001",
    "name": "ip-172-16-10-101", "domain": "ec2.internal", "broadcast": "172.16.10.255",
}  # fmt: skip
OFFERED = {
    **LEASE, "from": ROUTER, "ip": "172.16.10.101", "kind": "2", "yours": "172.16.10.101",
    "server": ROUTER, "seconds": "3600", "wrong": "", "sums": "1", "udp": "1",
}  # fmt: skip


def message(
    mac: str, kind: int, *, number: int = 0, current: str = "0.0.0.0", flags: int = 0,
    **options: bytes,
) -> bytes:  # fmt: skip
    """Make a client's UDP datagram (RFC 2131); options are `o` and their number."""
    head = struct.pack("!4BIHH", 1, 1, 6, 0, number or next(NUMBERS), 0, flags)
    body = head + ip(current) + bytes(12) + packed(mac).ljust(16, b"\0") + bytes(192)
    body += bytes([99, 130, 83, 99, 53, 1, kind])
    for name, value in options.items():
        body += bytes([int(name[1:]), len(value)]) + value
    body += b"\xff"
    return struct.pack("!4H", 68, 67, 8 + len(body), 0) + body


def asks(mac: str, kind: int = DISCOVER, *, ether: str = "", **how: bytes | int) -> bytes:
    """Make the frame of a client that has no address yet."""
    packet = ipv4("0.0.0.0", "255.255.255.255", message(mac, kind, **how), 17)  # type: ignore[arg-type]
    return ethernet(ether or mac, BROADCAST, 0x800, packet)


def read(frames: list[bytes], folder: Path) -> list[dict[str, str]]:
    """Have tshark read frames."""
    program = shutil.which("tshark")
    if program is None:
        say = pytest.fail if os.environ.get("CI") else pytest.skip
        say("NOT RUN: no tshark here")
    text = struct.pack("=IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
    for frame in frames:
        text += struct.pack("=IIII", 0, 0, len(frame), len(frame)) + frame
    (folder / "answers.pcap").write_bytes(text)
    words = [word for field in FIELDS.values() for word in ("-e", field)]
    for option in ("ip.check_checksum:TRUE", "udp.check_checksum:TRUE"):
        words += ["-o", option]
    done = subprocess.run(
        [program, "-n", "-r", str(folder / "answers.pcap"), "-T", "fields", *words],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    lines = [line.split("\t") for line in done.stdout.split("\n")[:-1]]
    return [dict(zip(FIELDS, line, strict=True)) for line in lines]


class Asking:
    """An instance that asks, and others that must not hear the answers."""

    def __init__(self, world: World, folder: Path, one: Machine, *others: Machine) -> None:
        self.world, self.folder, self.one, self.others = world, folder, one, others
        self.places = [world.netns(each) for each in (one, *others)]

    def __call__(self, *frames: bytes) -> list[dict[str, str]]:
        """Send frames, the last of which is answered; all answers, which nobody else hears."""
        given = {"places": self.places, "frames": [frame.hex() for frame in frames]}
        told = self.world.must("internet", "python3", "-c", ASK, given=json.dumps(given))
        heard = json.loads(told)
        assert {place for place, _ in heard} == {self.places[0]}
        return read([bytes.fromhex(frame) for _, frame in heard], self.folder)


@pytest.fixture(scope="module", params=["userns", "root"])
def asking(request: pytest.FixtureRequest, home: Path) -> Iterator[Asking]:
    """Give an instance in the region of an ordinary user, and in root's."""
    tier = str(request.param)
    if tier == "root" and os.geteuid():
        pytest.fail("NOT RUN: only root can try this")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OSAWSLAB_TIER", tier)
        world = World(f"dhcp-{tier}")
    assert world.region.tier == tier
    machines = [world.machine(f"172.16.10.{last}") for last in (101, 102)]
    yield Asking(world, home, *map(world.up, machines))
    local.remove(world.name)


@pytest.mark.kernel
def test_an_instance_is_offered_its_primary_address_as_on_aws(asking: Asking) -> None:
    one, before = asking.one, asking.world.region.drops()
    [offer] = asking(asks(one.mac, number=7))
    assert offer == {**OFFERED, "to": one.mac, "number": "0x00000007"}
    [broadcast] = asking(asks(one.mac, flags=0x8000))
    assert (broadcast["ip"], broadcast["to"]) == ("255.255.255.255", one.mac)
    [given] = asking(asks(one.mac, REQUEST, o50=ip(one.address), o54=ip(ROUTER), number=8))
    assert given == {**OFFERED, "to": one.mac, "number": "0x00000008", "kind": "5"}
    assert asking.world.region.drops() == before


@pytest.mark.kernel
def test_who_wants_another_address_gets_none(asking: Asking) -> None:
    mac, nic = asking.one.mac, asking.one.nic
    second = {"NetworkInterfaceId": nic, "PrivateIpAddresses": [FREE]}
    asking.world.ec2.assign_private_ip_addresses(**second)
    for wanted in (FREE, asking.others[0].address):
        [offer] = asking(asks(mac, o50=ip(wanted)))
        assert offer["yours"] == asking.one.address
        [refused] = asking(asks(mac, REQUEST, o50=ip(wanted)))
        assert (refused["kind"], refused["yours"]) == ("6", "0.0.0.0")
        assert (refused["ip"], refused["mask"]) == ("255.255.255.255", "")
    asking.world.ec2.unassign_private_ip_addresses(**second)


@pytest.mark.kernel
def test_only_the_enis_own_mac_is_answered(asking: Asking) -> None:
    one, two = asking.one.mac, asking.others[0].mac
    before = asking.world.region.drops()
    last = asks(one)
    for silent in (
        asks(NOBODY), asks(two), asks(two, ether=one), asks(NOBODY, ether=one),
        asks(one, RELEASE), asks(one, REQUEST, o50=ip(asking.one.address), o54=ip("172.16.10.9")),
    ):  # fmt: skip
        [answer] = asking(silent, last)
        assert answer["number"] == f"0x{int.from_bytes(last[46:50], 'big'):08x}"
    assert asking.world.region.drops() == {**before, "mac": before["mac"] + 2}


@pytest.mark.kernel
def test_a_lease_is_renewed_by_datagrams(asking: Asking) -> None:
    """As a client does that has its address, by an ordinary socket that would hear a refusal."""
    one = asking.one
    for kind, told in ((REQUEST, one.address), (INFORM, "0.0.0.0")):
        data = message(one.mac, kind, current=one.address)[8:]
        ask = (
            "import socket, sys; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
            f"s.settimeout(5); s.bind(('{one.address}', 68)); s.connect(('{ROUTER}', 67))\n"
            "s.send(bytes.fromhex(sys.stdin.read())); print(s.recv(9000).hex())\n"
            "s.settimeout(0.2)\n"
            "try: s.recv(9000)\n"
            "except TimeoutError: pass\n"  # and not: connection refused
        )
        said = asking.world.must(asking.places[0], "python3", "-c", ask, given=data.hex())
        answer = bytes.fromhex(said)
        assert (answer[0], answer[16:20], answer[240:243]) == (2, ip(told), bytes([53, 1, 5]))
        assert (bytes([51, 4]) in answer) == (kind == REQUEST)


@pytest.mark.kernel
def test_an_eni_that_comes_later_is_answered_in_its_own_subnet(asking: Asking) -> None:
    world = asking.world
    third = world.up(world.machine("172.16.20.103"))
    [offer] = Asking(world, asking.folder, third)(asks(third.mac))
    assert (offer["yours"], offer["from"], offer["router"], offer["resolver"]) == (
        "172.16.20.103", "172.16.20.1", "172.16.20.1", "172.16.0.2",
    )  # fmt: skip
    world.ec2.terminate_instances(InstanceIds=[third.id])


@pytest.mark.kernel
def test_a_vpc_whose_router_went_and_came_is_served_again(home: Path) -> None:
    world = World("dhcp-again")
    for _ in range(2):
        machine = world.up(world.machine("172.16.10.101"))
        [offer] = Asking(world, home, machine)(asks(machine.mac))
        assert offer["yours"] == machine.address
        world.ec2.terminate_instances(InstanceIds=[machine.id])
        assert world.router not in world.region.places()
    local.remove(world.name)


STATE = State(
    {"subnet-1": Subnet("subnet-1", "vpc-1", "10.0.1.0/25", True, "10.0.0.0/16")},
    {"eni-1": Eni("eni-1", "02:00:00:00:00:01", ("10.0.1.5",), "subnet-1", "i-1", 0, True, (), {})},
    {},
    {"i-1": Instance("i-1", True, 1, "t3.large", "debian", "", b"")},
)


def test_no_packet_ends_the_service() -> None:
    """Cut and changed at every byte, which an instance may send."""
    mac = STATE.enis["eni-1"].mac
    whole = ipv4("0.0.0.0", "255.255.255.255", message(mac, REQUEST, o50=ip("10.0.1.5")), 17)
    bridge = network.bridge_name("subnet-1")
    assert dhcp.answer(STATE, "eu-west-1", bridge, mac, whole)[-300:]
    assert not dhcp.answer(STATE, "eu-west-1", "igw", mac, whole)
    chance = random.Random(1)
    for size in range(1, len(whole)):
        dhcp.answer(STATE, "eu-west-1", bridge, mac, whole[:size])
        changed = bytearray(whole)
        changed[size] = chance.randrange(256)
        dhcp.answer(STATE, "eu-west-1", bridge, mac, bytes(changed))


def test_the_domain_is_the_regions() -> None:
    found = dhcp.lease(STATE, STATE.enis["eni-1"], "eu-west-1")
    assert found[15] == b"eu-west-1.compute.internal"
    assert found[1] + found[28] == ip("255.255.255.128") + ip("10.0.1.127")
