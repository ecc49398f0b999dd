"""What frames carry: ARP, IP and what is in it, for all frames of a batch at once.

Each layer takes the frames that have it as arrays (which rows, where the layer begins, where the
frame ends) and fetches its fields for all of them together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from osawslab.observe import words
from osawslab.observe.columns import Rows, Vocabulary
from osawslab.observe.container import LONGEST, Array, fields, header
from osawslab.observe.words import FAULT

VXLAN_PORT = 4789  # RFC 7348
DATA = 64  # bytes kept of what no column names
PROTOCOLS = ("other", "ARP", "ICMP", "TCP", "UDP", "IPv6")
# Headers as the RFCs draw them. numpy has no number of 6 bytes: a MAC is the first 48 bits of 64.
ETHERNET = np.dtype(
    {"names": ["dst", "src", "kind"], "formats": [">u8", ">u8", ">u2"], "offsets": [0, 6, 12]}
)
ARP = np.dtype(
    {
        "names": ["kinds", "operation", "src_mac", "src", "dst_mac", "dst"],
        "formats": [">u8", ">u2", ">u8", ">u4", ">u8", ">u4"],
        "offsets": [0, 6, 8, 14, 18, 24],
    }
)
IPV4 = np.dtype([
    ("start", "u1"), ("service", "u1"), ("total", ">u2"), ("id", ">u2"), ("place", ">u2"),
    ("ttl", "u1"), ("number", "u1"), ("checksum", ">u2"), ("src", ">u4"), ("dst", ">u4"),
])  # fmt: skip
ICMP = np.dtype([
    ("type", "u1"), ("code", "u1"), ("checksum", ">u2"), ("ident", ">u2"), ("seq", ">u2"),
])  # fmt: skip
TCP = np.dtype([
    ("sport", ">u2"), ("dport", ">u2"), ("seq", ">u4"), ("ack", ">u4"), ("offset", "u1"),
    ("flags", "u1"), ("window", ">u2"), ("checksum", ">u2"), ("urgent", ">u2"),
])  # fmt: skip
UDP = np.dtype([("sport", ">u2"), ("dport", ">u2"), ("size", ">u2"), ("checksum", ">u2")])
TRANSPORT = np.zeros(256, np.int8)  # the place in `PROTOCOLS` by IANA's protocol number
TRANSPORT[[1, 6, 17]] = [PROTOCOLS.index(name) for name in ("ICMP", "TCP", "UDP")]


@dataclass(frozen=True)
class Cursor:
    """Where a layer begins in some frames of a batch, and where they end."""

    rows: Array
    at: Array
    end: Array

    def __len__(self) -> int:
        return len(self.rows)

    def where(self, mask: Array) -> Cursor:
        """Keep some."""
        kept = np.flatnonzero(mask)
        return Cursor(self.rows[kept], self.at[kept], self.end[kept])

    def inside(self, size: Array | int) -> Cursor:
        """Step over a header."""
        return Cursor(self.rows, self.at + size, self.end)


class Known:
    """What all batches of a capture have in common: its distinct MACs, addresses and sayings."""

    def __init__(self) -> None:
        self.macs = Vocabulary(words.mac)
        self.addresses = Vocabulary(words.address)
        self.sayings = words.Sayings(self.macs, self.addresses)


class Packets:
    """What the frames of one batch carry, while they are decoded."""

    def __init__(self, known: Known, data: bytes, rows: Rows) -> None:
        self.common, self.data, self.put = known, data, rows.put
        self.u8, self.u16 = fields(data, "u1"), fields(data, ">u2")
        self.u32, self.u64 = fields(data, ">u4"), fields(data, ">u8")
        self.protocol = np.zeros(rows.count, np.int8)
        self.says = np.zeros(rows.count, np.uint64)
        self.vlan = np.zeros(rows.count, np.uint64)
        self.trouble = np.zeros(rows.count, np.uint8)
        self.broken = np.zeros(rows.count, bool)
        self.unseen = np.zeros(rows.count, np.int64)  # bytes on the wire after those captured
        self.tunnelled: list[tuple[Array, Array, Array]] = []
        self.sender = np.full(rows.count, -1, np.int32)  # the source MAC's number

    def finish(self) -> None:
        """Fill in what more than one layer has told."""
        every = np.arange(len(self.says))
        self.put("protocol", every, self.protocol)
        broken = self.says >> np.uint64(words.ARGUMENT + 36) == words.BROKEN
        self.trouble[broken & (self.trouble >= words.LONG_IP)] = 0  # it says where it ends
        self.put("broken", every, self.broken | (self.trouble != 0))
        key = self.says | self.vlan << np.uint64(words.VLAN) | self.trouble.astype(np.uint64)
        self.put("says", every, self.common.sayings.texts.codes(key))

    def say(self, c: Cursor, kind: int, argument: Array | int = 0) -> None:
        """Note what frames say."""
        self.says[c.rows] = words.key(kind, argument)

    def fault(self, c: Cursor, mask: Array, fault: str) -> Cursor:
        """Mark the frames of a mask as broken; give the others."""
        if not mask.any():
            return c
        bad = c.where(mask)
        self.broken[bad.rows] = True
        self.say(bad, words.BROKEN, FAULT[fault])
        self.keep(bad)
        return c.where(~mask)

    def doubt(self, c: Cursor, mask: Array, trouble: int) -> None:
        """Mark the frames of a mask as broken, and go on with what they say."""
        rows = c.rows[mask]
        self.trouble[rows[self.trouble[rows] == 0]] = trouble

    def whole(self, c: Cursor, size: Array | int, layer: str) -> Cursor:
        """Mark the frames that end inside this layer's header; give the others."""
        return self.fault(c, c.at + size > c.end, f"cut off in the {layer} header")

    def keep(self, c: Cursor) -> None:
        """Keep the bytes of what no column names."""
        for row, at, end in zip(c.rows.tolist(), c.at.tolist(), c.end.tolist(), strict=True):
            if end > at:
                self.put("data", row, self.data[at : min(end, at + DATA)])

    def head(self, c: Cursor, kind: np.dtype[Any]) -> Array:
        """Fetch a header, which must be whole."""
        return header(self.data, c.at, kind)

    def macs(self, keys: Array) -> Array:
        """Number MACs."""
        return self.common.macs.codes(keys)

    def source(self, c: Cursor, keys: Array) -> None:
        """Note who has sent frames."""
        codes = self.macs(keys)
        self.sender[c.rows] = codes
        self.put("src_mac", c.rows, codes)

    def arp(self, c: Cursor) -> None:
        """Decode ARP (RFC 826) of IPv4 on Ethernet."""
        self.protocol[c.rows] = PROTOCOLS.index("ARP")
        c = self.whole(c, 28, "ARP")
        head = self.head(c, ARP)
        self.put("arp_operation", c.rows, head["operation"])
        usual = head["kinds"] >> 16 == 0x000108000604
        self.say(c.where(~usual), words.ARP, words.OTHER_ARP)
        self.keep(c.where(~usual))
        c, head = c.where(usual), head[usual]
        operation = head["operation"].astype(np.int64)
        said = self.macs(head["src_mac"] >> 16)
        sender = self.common.addresses.codes(head["src"])
        target = self.common.addresses.codes(head["dst"])
        self.put("arp_src_mac", c.rows, said)
        self.put("arp_dst_mac", c.rows, self.macs(head["dst_mac"] >> 16))
        self.put("src", c.rows, sender)
        self.put("dst", c.rows, target)
        # A frame that comes from one MAC and speaks of another says so.
        same = (self.sender[c.rows] == said) | (self.sender[c.rows] < 0)
        spoken = np.where((operation != 2) & same, -1, said)
        if len(c):
            self.say(c, words.ARP, self.common.sayings.arp(operation, sender, target, spoken))

    def ipv4(self, c: Cursor) -> None:
        """Decode IPv4 (RFC 791). A total length of 0 was left to the NIC."""
        c = self.whole(c, 20, "IPv4")
        head = self.head(c, IPV4)
        self.put("src", c.rows, self.common.addresses.codes(head["src"]))
        self.put("dst", c.rows, self.common.addresses.codes(head["dst"]))
        total, size = head["total"].astype(np.int64), (head["start"] & 0x0F).astype(np.int64) * 4
        wrong = (head["start"] >> 4 != 4) | (size < 20) | ((total > 0) & (total < size))
        if wrong.any():
            c = self.fault(c, wrong, "broken IPv4 header")
            head, size, total = head[~wrong], size[~wrong], total[~wrong]
        self.put("ip_id", c.rows, head["id"])
        self.put("ttl", c.rows, head["ttl"])
        self.put("ip_protocol", c.rows, head["number"])
        there = c.at + size <= c.end
        if not there.all():
            c = self.whole(c, size, "IPv4")
            head, size, total = head[there], size[there], total[there]
        place = head["place"].astype(np.int64)
        fragment = (place & 0x1FFF) * 8
        self.put("fragment", c.rows, fragment)
        by_header = c.at + total
        self.doubt(c, by_header > c.end + self.unseen[c.rows], words.LONG_IP)
        end = np.where(total > 0, np.minimum(c.end, by_header), c.end)
        room = np.where(total > 0, by_header, c.end) - c.at - size  # on the wire
        c, first = Cursor(c.rows, c.at + size, end), place & 0x2000 != 0
        self.transport(c, head["number"], room, fragment > 0, first)

    def transport(self, c: Cursor, number: Array, size: Array, later: Array, first: Array) -> None:
        """Decode what IPv4 carries; `size` is its bytes on the wire, `later` a later fragment.

        The length in a `first` fragment is that of the whole datagram.
        """
        self.protocol[c.rows] = TRANSPORT[number]
        if later.any():
            self.say(c.where(later), words.FRAGMENT)
            self.keep(c.where(later))
            c, number, size, first = c.where(~later), number[~later], size[~later], first[~later]
        size = np.where(first & (number == 17), LONGEST, size)
        for each, layer in ((6, self.tcp), (17, self.udp), (1, self.icmp)):
            if (of := number == each).any():
                layer(c.where(of), size[of])
        if (rest := TRANSPORT[number] == 0).any():
            self.say(c.where(rest), words.IP_PROTOCOL, number[rest])
            self.keep(c.where(rest))

    def icmp(self, c: Cursor, _: Array) -> None:
        """Decode ICMP (RFC 792)."""
        c = self.whole(c, 8, "ICMP")
        head = self.head(c, ICMP)
        kind = head["type"].astype(np.int64)
        self.put("icmp_type", c.rows, kind)
        self.put("icmp_code", c.rows, head["code"])
        self.say(c, words.ICMP, kind << 8 | head["code"])
        rows, head = c.rows[echo := (kind == 0) | (kind == 8)], head[echo]
        self.put("ident", rows, head["ident"])
        self.put("seq", rows, head["seq"])

    def ports(self, c: Cursor, head: Array) -> None:
        """Note the ports."""
        self.put("sport", c.rows, head["sport"])
        self.put("dport", c.rows, head["dport"])

    def headed(self, c: Cursor, kind: np.dtype[Any], layer: str) -> tuple[Cursor, Array, Array]:
        """Fetch the headers that are whole, and tell which are; one cut off may have its ports."""
        there = c.at + kind.itemsize <= c.end
        if not there.all():
            some = c.where(~there & (c.at + 4 <= c.end))
            self.ports(some, self.head(some, UDP))  # of 8 bytes; what is after the frame is unread
            c = self.whole(c, kind.itemsize, layer)
        head = self.head(c, kind)
        self.ports(c, head)
        return c, head, there

    def tcp(self, c: Cursor, size: Array) -> None:
        """Decode TCP (RFC 9293)."""
        c, head, there = self.headed(c, TCP, "TCP")
        size = size[there]
        for name in ("seq", "ack", "flags", "window"):
            self.put(name, c.rows, head[name])
        header = (head["offset"] >> 4).astype(np.int64) * 4
        self.say(c, words.TCP, head["flags"] & 0x1F)
        wrong = (header < 20) | (header > size)
        c = self.fault(c, wrong, "broken TCP header")
        self.put("payload", c.rows, size[~wrong] - header[~wrong])

    def udp(self, c: Cursor, room: Array) -> None:
        """Decode UDP (RFC 768), and what is inside VXLAN (RFC 7348); `room` as IP tells it."""
        c, head, there = self.headed(c, UDP, "UDP")
        size = head["size"].astype(np.int64)  # 0: left to the NIC, or a jumbogram
        self.doubt(c, size > room[there], words.LONG_UDP)
        if (wrong := (size > 0) & (size < 8)).any():
            c, head = self.fault(c, wrong, "broken UDP header"), head[~wrong]
            size = size[~wrong]
        sport, dport = head["sport"].astype(np.int64), head["dport"].astype(np.int64)
        self.put("payload", c.rows[size > 0], size[size > 0] - 8)
        served = np.zeros(len(c), np.int64)
        for place, port in enumerate(words.UDP_SERVERS):
            served[(served == 0) & (sport == port)] = place * 2 + 1
        for place, port in enumerate(words.UDP_SERVERS):
            served[(served == 0) & (dport == port)] = place * 2 + 2
        self.say(c, words.UDP, served)
        if (of := dport == VXLAN_PORT).any():
            self.vxlan(c.where(of).inside(8))

    def vxlan(self, c: Cursor) -> None:
        """Note the network's number, and where the frame inside begins."""
        c = self.whole(c, 8, "VXLAN")
        c = c.where(self.u8[c.at] & 0x08 != 0)  # the flag that the number counts
        vni = self.u32[c.at + 4] >> 8
        self.put("vni", c.rows, vni)
        self.say(c, words.VXLAN, vni)
        self.tunnelled.append((c.rows, c.at + 8, c.end))

    def ipv6(self, c: Cursor) -> None:
        """Decode IPv6 (RFC 8200) as far as to name it."""
        self.protocol[c.rows] = PROTOCOLS.index("IPv6")
        c = self.whole(c, 40, "IPv6")
        c = self.fault(c, self.u8[c.at] >> 4 != 6, "broken IPv6 header")
        code = self.common.addresses.code
        for name, place in (("src", 8), ("dst", 24)):
            codes = [code(self.data[at : at + 16]) for at in (c.at + place).tolist()]
            self.put(name, c.rows, np.array(codes, np.int32))
        length = self.u16[c.at + 4].astype(np.int64)  # 0: left to the NIC, or a jumbogram
        self.doubt(c, c.at + 40 + length > c.end + self.unseen[c.rows], words.LONG_IP)
        following = self.u8[c.at + 6]
        self.put("ip_protocol", c.rows, following)
        self.put("ttl", c.rows, self.u8[c.at + 7])
        self.say(c, words.NEXT_HEADER, following)
        c = c.where(following == 58).inside(40)
        for place, name in enumerate(("icmp_type", "icmp_code")):
            there = c.where(c.at + place < c.end)
            self.put(name, there.rows, self.u8[there.at + place])
        c = self.whole(c, 4, "ICMPv6")  # RFC 4443
        self.say(c, words.ICMP6, self.u8[c.at])
