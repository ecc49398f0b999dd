"""What is in frames: a batch of them decoded at once, layer by layer, into columns.

Here are the link layers and the frame inside VXLAN; `packets` has what they carry. A frame that
is cut off or broken stays a row that says where.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from osawslab.observe import packets, words
from osawslab.observe.columns import INNER, Rows, names
from osawslab.observe.container import (
    ENDS_IN_BLOCK,
    ENDS_IN_HEADER,
    FOREIGN,
    IMPOSSIBLE,
    Array,
    Batch,
    Point,
)
from osawslab.observe.packets import Cursor, Known, Packets

NO_FRAME = (ENDS_IN_HEADER, IMPOSSIBLE, ENDS_IN_BLOCK, FOREIGN)  # such a row has no frame to decode
BROADCAST = 0xFFFF_FFFF_FFFF
ARP, IPV4, IPV6 = 0x0806, 0x0800, 0x86DD  # EtherTypes
VLAN_TAGS = (0x8100, 0x88A8)  # 802.1Q, 802.1ad
ETHERNET, COOKED, COOKED2, LOOPBACK = 1, 113, 276, 0  # tcpdump.org/linktypes.html
FAMILIES = (2, 24, 28, 30)  # IPv4; IPv6 of NetBSD, FreeBSD, macOS: LINKTYPE_NULL, the same page
RAW = {12: 0, 14: 0, 101: 0, 228: IPV4, 229: IPV6}  # IP without a link header; 0: as it says
INSIDE = names(
    ("src_mac", "dst_mac", "vlan", "protocol", "src", "dst", "says", "ident", "sport", "dport",
     "seq", "flags")
)  # fmt: skip


def decode(batch: Batch, points: Sequence[Point], known: Known) -> Rows:
    """Decode a batch; `known` is that of the whole capture."""
    rows = Rows(len(batch))
    frames = Frames(known, batch.data, rows)
    frames.trouble = batch.trouble.copy()
    frames.unseen = np.maximum(batch.length - batch.captured, 0)
    everything = Cursor(np.arange(len(batch)), batch.start, batch.start + batch.captured)
    if len(points) == 1 and not batch.trouble.any():
        frames.link(points[0].link, everything)
    else:
        # Only the interfaces that the batch has: a file may describe one for each frame.
        which, place = np.unique(batch.point, return_inverse=True)
        links = [points[each].link if each >= 0 else -1 for each in which.tolist()]
        link = np.array(links, np.int64)[place]
        link[np.isin(batch.trouble, NO_FRAME)] = -1
        for each in np.unique(link).tolist():
            frames.link(each, everything if (of := link == each).all() else everything.where(of))
    frames.finish()
    if inner := frames.tunnelled:
        of = Cursor(*(np.concatenate(each) for each in zip(*inner, strict=True)))
        found = Rows(len(of))
        inside = Frames(known, batch.data, found)
        inside.unseen = frames.unseen[of.rows]
        inside.ethernet(Cursor(np.arange(len(of)), of.at, of.end))
        inside.finish()
        broken, _ = rows.columns["broken"]
        broken[of.rows] |= found.columns["broken"][0]
        for name in INSIDE:
            if column := found.columns.get(name.removeprefix(INNER)):
                values, missing = column
                there = slice(None) if missing is None else ~missing
                rows.put(name, of.rows[there], values[there])
    return rows


class Frames(Packets):
    """The frames of one batch, from their link layer on."""

    def link(self, link: int, c: Cursor) -> None:
        """Decode frames of one link type."""
        if link == ETHERNET:
            self.ethernet(c)
        elif link in (COOKED, COOKED2):
            self.cooked(c, *((0, 4, 6, 14, 16) if link == COOKED else (10, 11, 12, 0, 20)))
        elif link in RAW or link == LOOPBACK:
            c = self.whole(c, 4 if link == LOOPBACK else 1, "link")
            if link == LOOPBACK:  # an address family of whatever machine, in its byte order
                family = self.u32[c.at].astype(np.int64)
                family = np.where(family > 0xFFFF, family >> 24, family)
                known = np.isin(family, FAMILIES)
                self.say(c.where(~known), words.FAMILY, family[~known])
                self.keep(c.where(~known).inside(4))
                c, kind = c.where(known).inside(4), np.where(family == 2, IPV4, IPV6)[known]
            else:
                kind = np.where(self.u8[c.at] >> 4 == 6, IPV6, RAW[link] or IPV4)
            self.network(c, kind)
        else:
            self.say(c, words.LINK if link >= 0 else words.NOTHING, max(link, 0))
            self.keep(c)

    def ethernet(self, c: Cursor) -> None:
        """Decode Ethernet (IEEE 802.3)."""
        c = self.whole(c, 14, "link")
        head = self.head(c, packets.ETHERNET)
        self.put("dst_mac", c.rows, self.macs(head["dst"] >> 16))
        self.source(c, head["src"] >> 16)
        self.tagged(c.inside(14), head["kind"].astype(np.int64))

    def cooked(self, c: Cursor, kind: int, size: int, mac: int, carries: int, header: int) -> None:
        """Decode what `tcpdump -i any` writes; the numbers are places in its header."""
        c = self.whole(c, header, "link")
        wide = header == 16  # LINKTYPE_LINUX_SLL has numbers of two bytes where SLL2 has one
        number = self.u16 if wide else self.u8
        direction, length = number[c.at + kind], number[c.at + size]
        to_all = c.rows[direction == 1]  # PACKET_BROADCAST, linux/if_packet.h
        self.put("dst_mac", to_all, self.macs(np.full(len(to_all), BROADCAST)))
        self.put("direction", c.rows, np.array([0, 0, 0, -1, 1, -1])[np.minimum(direction, 5)])
        self.source(c.where(six := length == 6), self.u64[c.at[six] + mac] >> 16)
        self.tagged(c.inside(header), self.u16[c.at + carries].astype(np.int64))

    def tagged(self, c: Cursor, kind: Array) -> None:
        """Step over VLAN tags; the first is `vlan`, the second `inner_vlan`."""
        depth = 0
        while (tagged := (kind == VLAN_TAGS[0]) | (kind == VLAN_TAGS[1])).any():
            plain, of = c.where(~tagged), self.whole(c.where(tagged), 4, "link")
            number = self.u16[of.at] & 0x0FFF
            if depth < 2:
                self.put(("vlan", INNER + "vlan")[depth], of.rows, number)
            first = self.vlan[of.rows]
            self.vlan[of.rows] = np.where(first == 0, number, first)
            after = self.u16[of.at + 2].astype(np.int64)
            depth += 1
            self.network(plain, kind[~tagged])
            c, kind = of.inside(4), after
        self.network(c, kind)

    def network(self, c: Cursor, kind: Array) -> None:
        """Decode what frames carry, by EtherType; below 0x600 it is a length."""
        if not len(c):
            return
        named = kind >= 0x600
        self.put("ethertype", c.rows[named], kind[named])
        for number, layer in ((IPV4, self.ipv4), (ARP, self.arp), (IPV6, self.ipv6)):
            if (of := kind == number).any():
                layer(c.where(of))
                c, kind = c.where(~of), kind[~of]
        self.say(c, words.ETHERTYPE, kind)
        self.keep(c)
