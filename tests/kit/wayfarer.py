"""Frames by bytes, at named points: a ping and a TCP connection through the lab's way."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Address

from osawslab.observe import pcapng
from osawslab.observe.capture import Capture, load_capture
from osawslab.observe.container import Point

VM, TENANT, GATEWAY, ROUTER, EDGE, FAR = (f"02:00:00:00:01:{each:02x}" for each in range(6))
STORY = ("vm1", "router tenant port", "router gateway", "provider NIC", "VPC", "VPC drops",
         "internet")  # fmt: skip
OWNERS = {
    VM: "vm1", TENANT: "router tenant port", GATEWAY: "router gateway", ROUTER: "VPC router",
    "192.168.20.5": "vm1", "172.16.20.101": "router gateway",
    "203.0.113.11": "provider NIC's Elastic IP",
}  # fmt: skip


@dataclass(frozen=True)
class Frame:
    """A frame at a point; of TCP where it has flags, of ARP where it has an operation."""

    point: str
    direction: str  # "in", "out", ""
    macs: tuple[str, str]
    src: str
    dst: str
    ports: tuple[int, int] = (7, 7)  # of an echo both are its id
    seq: int = 1
    ack: int = 0
    kind: int = 8  # of ICMP, or flags, or the operation of ARP
    protocol: str = "ICMP"
    ttl: int = 64
    ip_id: int = 77
    payload: bytes = b"what hops along, and what nobody changes"
    verdict: str = ""
    fragment: int = 0
    vlan: int = 0
    cut: int = 9000  # bytes of it that are captured

    @property
    def data(self) -> bytes:
        """The bytes of it."""
        head = b"".join(bytes.fromhex(mac.replace(":", "")) for mac in reversed(self.macs))
        head += struct.pack(">HH", 0x8100, self.vlan) if self.vlan else b""
        ends = IPv4Address(self.src).packed, IPv4Address(self.dst).packed
        if self.protocol == "ARP":
            said = struct.pack(">HHBBH", 1, 0x800, 6, 4, self.kind)
            return head + b"\x08\x06" + said + head[6:12] + ends[0] + bytes(6) + ends[1]
        if self.protocol == "TCP":
            body = struct.pack(">HHIIBBHHH", *self.ports, self.seq, self.ack, 0x50, self.kind,
                               64240, 0, 0)  # fmt: skip
        else:
            body = struct.pack(">BBHHH", self.kind, 1 if self.kind == 3 else 0, 0, self.ports[0],
                               self.seq)  # fmt: skip
        body += self.payload
        number = 6 if self.protocol == "TCP" else 1
        ip = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(body), self.ip_id, self.fragment,
                         self.ttl, number, 0)  # fmt: skip
        return head + b"\x08\x00" + ip + ends[0] + ends[1] + body

    def but(self, **changed: object) -> Frame:
        """Give it with other values."""
        return replace(self, **changed)  # type: ignore[arg-type]


def capture(frames: Iterable[Frame], points: Sequence[str] = STORY) -> Capture:
    """Make a capture of frames, one each microsecond."""
    file = io.BytesIO()
    pcapng.begin(file, [Point(name, 1) for name in points])
    for number, each in enumerate(frames):
        pcapng.write(
            file,
            each.data[: each.cut],
            point=points.index(each.point),
            time=number * 1000,
            length=len(each.data),
            direction=("", "in", "out").index(each.direction),
            comments=pcapng.words(each.verdict, ""),
        )
    return load_capture(file.getvalue(), OWNERS)


def there(ident: int = 7, far_ident: int = 9, **more: object) -> list[Frame]:
    """Give an echo request from the VM to the internet; SNAT has another id, as it likes."""
    inner = Frame("vm1", "out", (VM, TENANT), "192.168.20.5", "8.8.8.8", (ident, ident))
    outer = inner.but(
        point="router gateway", macs=(GATEWAY, ROUTER), src="172.16.20.101",
        ports=(far_ident, far_ident), ttl=63,
    )  # fmt: skip
    found = [
        inner,
        inner.but(point="router tenant port", direction="in"),
        outer,
        outer.but(point="provider NIC", verdict="delivered"),
        outer.but(point="VPC", direction="in", verdict="delivered"),
        outer.but(point="internet", direction="in", macs=(EDGE, FAR), src="203.0.113.11", ttl=62),
    ]
    return [each.but(**more) for each in found]


def back(ident: int = 7, far_ident: int = 9, **more: object) -> list[Frame]:
    """Give its reply."""
    ways = {"in": "out", "out": "in"}
    return [
        each.but(
            direction=ways[each.direction],
            macs=each.macs[::-1],
            src=each.dst,
            dst=each.src,
            kind=0,
            ip_id=500,
            ttl=64 - number // 2,
            **more,
        )
        for number, each in enumerate(reversed(there(ident, far_ident)))
    ]


def login(**more: object) -> list[Frame]:
    """Give the SYN of a connection from the internet to the published VM."""
    far = Frame(
        "internet", "out", (FAR, EDGE), "198.51.100.7", "203.0.113.11", (40501, 522),
        seq=4_000_000_000, kind=2, protocol="TCP", payload=b"",
    )  # fmt: skip
    outer = far.but(point="VPC", macs=(ROUTER, GATEWAY), dst="172.16.20.101", ttl=63,
                    verdict="delivered")  # fmt: skip
    inner = far.but(point="router tenant port", macs=(TENANT, VM), dst="192.168.20.5",
                    ports=(40501, 22), ttl=62)  # fmt: skip
    found = [
        far,
        outer,
        outer.but(point="provider NIC", direction="in"),
        outer.but(point="router gateway", direction="in", verdict=""),
        inner,
        inner.but(point="vm1", direction="in"),
    ]
    return [each.but(**more) for each in found]


def welcome(flags: int = 0x12, **more: object) -> list[Frame]:
    """Give what answers it: SYN ACK, or 0x14 RST ACK."""
    ways = {"in": "out", "out": "in"}
    return [
        each.but(
            direction=ways[each.direction],
            macs=each.macs[::-1],
            src=each.dst,
            dst=each.src,
            ports=each.ports[::-1],
            kind=flags,
            seq=5,
            ack=4_000_000_001,
            ip_id=0,
            ttl=64 - number // 2,
            **more,
        )
        for number, each in enumerate(reversed(login()))
    ]


def who_has(points: Sequence[str], verdict: str = "", **more: object) -> list[Frame]:
    """Give ARP that asks for the VPC's router."""
    frame = Frame("", "out", (GATEWAY, "ff:ff:ff:ff:ff:ff"), "172.16.20.101", "172.16.20.1",
                  kind=1, protocol="ARP")  # fmt: skip
    frame = frame.but(**more)
    inside = ("router gateway", "router tenant port", "vm1")
    return [frame.but(point=name, verdict="" if name in inside else verdict) for name in points]


REFUSED = Frame(
    "router tenant port", "out", (TENANT, VM), "192.168.20.1",
    "192.168.20.5", (0, 0), seq=0, kind=3, payload=there()[0].data[14:42],
)  # fmt: skip
