"""What frames carry: ARP, IP and what is in it, for all frames of a batch at once.

Each layer takes the frames that have it as arrays (which rows, where the layer begins, where the
frame ends) and fetches its fields for all of them together.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from osawslab.observe import words
from osawslab.observe.columns import Rows, Vocabulary
from osawslab.observe.container import Array, fields
from osawslab.observe.words import FAULT

VXLAN_PORT = 4789  # RFC 7348
DATA = 64  # bytes kept of what no column names
PROTOCOLS = ("other", "ARP", "ICMP", "TCP", "UDP", "IPv6")
TRANSPORTS = {1: "ICMP", 6: "TCP", 17: "UDP"}  # IANA protocol numbers


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
        return Cursor(self.rows[mask], self.at[mask], self.end[mask])

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
        self.tunnelled: list[tuple[Array, Array, Array]] = []
        self.sender = np.full(rows.count, -1, np.int32)  # the source MAC's number

    def finish(self) -> None:
        """Fill in what more than one layer has told."""
        every = np.arange(len(self.says))
        self.put("protocol", every, self.protocol)
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

    def whole(self, c: Cursor, size: Array | int, layer: str) -> Cursor:
        """Mark the frames that end inside this layer's header; give the others."""
        return self.fault(c, c.at + size > c.end, f"cut off in the {layer} header")

    def keep(self, c: Cursor) -> None:
        """Keep the bytes of what no column names."""
        for row, at, end in zip(c.rows.tolist(), c.at.tolist(), c.end.tolist(), strict=True):
            if end > at:
                self.put("data", row, self.data[at : min(end, at + DATA)])

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
        operation = self.u16[c.at + 6].astype(np.int64)
        self.put("arp_operation", c.rows, operation)
        usual = self.u64[c.at] >> 16 == 0x000108000604
        self.say(c.where(~usual), words.ARP, words.OTHER_ARP)
        self.keep(c.where(~usual))
        c, operation = c.where(usual), operation[usual]
        said = self.macs(self.u64[c.at + 8] >> 16)
        sender = self.common.addresses.codes(self.u32[c.at + 14])
        target = self.common.addresses.codes(self.u32[c.at + 24])
        self.put("arp_src_mac", c.rows, said)
        self.put("arp_dst_mac", c.rows, self.macs(self.u64[c.at + 18] >> 16))
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
        self.put("src", c.rows, self.common.addresses.codes(self.u32[c.at + 12]))
        self.put("dst", c.rows, self.common.addresses.codes(self.u32[c.at + 16]))
        start, total = self.u8[c.at], self.u16[c.at + 2].astype(np.int64)
        header = (start & 0x0F).astype(np.int64) * 4
        wrong = (start >> 4 != 4) | (header < 20) | ((total > 0) & (total < header))
        right = ~wrong
        c, header, total = self.fault(c, wrong, "broken IPv4 header"), header[right], total[right]
        self.put("ip_id", c.rows, self.u16[c.at + 4])
        self.put("ttl", c.rows, self.u8[c.at + 8])
        number = self.u8[c.at + 9]
        self.put("ip_protocol", c.rows, number)
        there = c.at + header <= c.end
        c = self.whole(c, header, "IPv4")
        header, total, number = header[there], total[there], number[there]
        fragment = (self.u16[c.at + 6] & 0x1FFF).astype(np.int64) * 8
        self.put("fragment", c.rows, fragment)
        by_header = c.at + total
        end = np.where(total > 0, np.minimum(c.end, by_header), c.end)
        size = np.where(total > 0, by_header, c.end) - c.at - header  # on the wire
        c = Cursor(c.rows, c.at + header, end)
        self.transport(c, number, size, fragment > 0)

    def transport(self, c: Cursor, number: Array, size: Array, later: Array) -> None:
        """Decode what IPv4 carries; `size` is its bytes on the wire, `later` a later fragment."""
        for each, name in TRANSPORTS.items():
            self.protocol[c.rows[number == each]] = PROTOCOLS.index(name)
        if later.any():
            self.say(c.where(later), words.FRAGMENT)
            self.keep(c.where(later))
            c, number, size = c.where(~later), number[~later], size[~later]
        for each, layer in ((6, self.tcp), (17, self.udp), (1, self.icmp)):
            if (of := number == each).any():
                layer(c.where(of), size[of])
        rest = ~np.isin(number, list(TRANSPORTS))
        self.say(c.where(rest), words.IP_PROTOCOL, number[rest])
        self.keep(c.where(rest))

    def icmp(self, c: Cursor, _: Array) -> None:
        """Decode ICMP (RFC 792)."""
        c = self.whole(c, 8, "ICMP")
        kind, code = self.u8[c.at].astype(np.int64), self.u8[c.at + 1].astype(np.int64)
        self.put("icmp_type", c.rows, kind)
        self.put("icmp_code", c.rows, code)
        self.say(c, words.ICMP, kind << 8 | code)
        c = c.where((kind == 0) | (kind == 8))
        self.put("ident", c.rows, self.u16[c.at + 4])
        self.put("seq", c.rows, self.u16[c.at + 6])

    def ports(self, c: Cursor) -> None:
        """Note the ports, which a header that is cut off may still have."""
        c = c.where(c.at + 4 <= c.end)
        self.put("sport", c.rows, self.u16[c.at])
        self.put("dport", c.rows, self.u16[c.at + 2])

    def tcp(self, c: Cursor, size: Array) -> None:
        """Decode TCP (RFC 9293)."""
        self.ports(c)
        there = c.at + 20 <= c.end
        c, size = self.whole(c, 20, "TCP"), size[there]
        self.put("seq", c.rows, self.u32[c.at + 4])
        self.put("ack", c.rows, self.u32[c.at + 8])
        flags = self.u8[c.at + 13]
        self.put("flags", c.rows, flags)
        self.put("window", c.rows, self.u16[c.at + 14])
        header = (self.u8[c.at + 12] >> 4).astype(np.int64) * 4
        self.say(c, words.TCP, flags & 0x1F)
        wrong = (header < 20) | (header > size)
        c = self.fault(c, wrong, "broken TCP header")
        self.put("payload", c.rows, size[~wrong] - header[~wrong])

    def udp(self, c: Cursor, _: Array) -> None:
        """Decode UDP (RFC 768), and what is inside VXLAN (RFC 7348)."""
        self.ports(c)
        c = self.whole(c, 8, "UDP")
        size = self.u16[c.at + 4].astype(np.int64)
        c = self.fault(c, (size > 0) & (size < 8), "broken UDP header")
        sport, dport = self.u16[c.at], self.u16[c.at + 2]
        size = self.u16[c.at + 4].astype(np.int64)  # 0: left to the NIC, or a jumbogram
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
        following = self.u8[c.at + 6]
        self.put("ip_protocol", c.rows, following)
        self.put("ttl", c.rows, self.u8[c.at + 7])
        self.say(c, words.NEXT_HEADER, following)
        c = c.where((following == 58) & (c.at + 40 < c.end)).inside(40)
        kind = self.u8[c.at]
        self.put("icmp_type", c.rows, kind)
        self.say(c, words.ICMP6, kind)
        c = c.where(c.at + 2 <= c.end)
        self.put("icmp_code", c.rows, self.u8[c.at + 1])
