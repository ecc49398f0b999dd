"""Frames made by hand, sent by one instance and watched in others."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from ipaddress import IPv4Address

from world import Machine, World

from osawslab.region import network

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

    def tried(self, port: int) -> str:
        """Try a port of the first instance from the internet; where nobody listens it is "open"."""
        try:
            self.world.region.connect(self.eip, port, 0.5).close()
        except ConnectionRefusedError:
            return "open"
        except OSError as error:
            return "open" if "refused" in str(error) else str(error)
        return "served"
