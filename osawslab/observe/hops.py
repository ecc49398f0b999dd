"""Which frames at which points are one packet, by what hops along: never by time alone.

A router gives a packet other MACs, a lower TTL, and where it translates another address, port or
id of an echo (`--random-fully` does so). What it leaves alone is the sequence number, the payload
and the identification of IPv4. Where those fit twice, connection tracking decides; where it does
not know either, nobody does, and that is said.
"""

from __future__ import annotations

import struct
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from osawslab.observe.capture import Capture
from osawslab.observe.container import Array
from osawslab.observe.tracked import Flow

ECHO_REPLY, ECHO, ERRORS = 0, 8, (3, 11)  # RFC 792
SYN, RST, ACK = 0x02, 0x04, 0x10  # RFC 9293 3.1
# Bytes before the IPv4 header, by LINKTYPE_ of tcpdump.org/linktypes.html.
HEADERS = {1: 14, 0: 4, 12: 0, 101: 0, 113: 16, 228: 0, 276: 20}
TAGS = (b"\x81\x00", b"\x88\xa8")
Known = Callable[[str, Flow], Iterable[Flow]]  # protocol and flow -> what it becomes or was


class Packet(NamedTuple):
    """A packet of an echo or of TCP, as it was seen once."""

    row: int
    point: int
    direction: str
    protocol: str
    kind: int  # type of ICMP, or flags of TCP
    flow: Flow
    seq: int
    ack: int
    ttl: int
    ip_id: int
    size: int  # bytes of payload on the wire
    data: bytes  # as many of them as were captured
    quoted: tuple[Flow, int] | None = None  # of an ICMP error: whose packet it speaks of


def read(capture: Capture, rows: Iterable[int]) -> list[Packet]:
    """Read the packets at some places; what is cut off, a fragment or something else is left out.

    A fragment is nobody's: its fellows do not say which packet they belong to.
    """
    direction = capture.columns["direction"]
    points = capture.columns["_point"].values
    found = []
    wanted = [int(row) for row in rows]
    for row, frame in zip(wanted, capture.raws(wanted), strict=True):
        point = int(points[row])
        link = capture.points[point].link if point >= 0 else -1
        code = int(direction.values[row])
        way = direction.words[code] if code >= 0 and direction.words else ""
        made = _packet(frame, link, row, point, way)
        if made is not None:
            found.append(made)
    return found


def _packet(frame: bytes, link: int, row: int, point: int, way: str) -> Packet | None:
    at = HEADERS.get(link, -1)
    while link == 1 and frame[at - 2 : at] in TAGS:
        at += 4
    if at < 0 or len(frame) < at + 28:
        return None
    ip = frame[at:]
    head, total = (ip[0] & 15) * 4, int.from_bytes(ip[2:4], "big") or len(ip)
    fragment = int.from_bytes(ip[6:8], "big") & 0x3FFF  # more of them, or not the first
    if ip[0] >> 4 != 4 or head < 20 or fragment or ip[9] not in (1, 6):
        return None
    body = ip[head:total]
    ends = ".".join(map(str, ip[12:16])), ".".join(map(str, ip[16:20]))
    ip_id = int.from_bytes(ip[4:6], "big")
    if ip[9] == 1 and len(body) >= 8:
        kind, ident, seq = body[0], *struct.unpack(">HH", body[4:8])
        flow = Flow(ends[0], ident, ends[1], ident)
        quoted = _quoted(body[8:]) if kind in ERRORS else None
        size = total - head - 8
        return Packet(
            row, point, way, "ICMP", kind, flow, seq, 0, ip[8], ip_id, size, body[8:], quoted
        )
    if ip[9] == 6 and len(body) >= 20:
        sport, dport, seq, ack = struct.unpack(">HHII", body[:12])
        flow = Flow(ends[0], sport, ends[1], dport)
        options = (body[12] >> 4) * 4
        size = max(0, total - head - options)
        flags = body[13] & 0x3F
        return Packet(
            row, point, way, "TCP", flags, flow, seq, ack, ip[8], ip_id, size, body[options:]
        )
    return None


def _quoted(ip: bytes) -> tuple[Flow, int] | None:
    """Read of whose packet an ICMP error speaks: its flow and its sequence number (RFC 792)."""
    head = (ip[0] & 15) * 4 if ip else 0
    if head < 20 or len(ip) < head + 8 or ip[9] not in (1, 6):
        return None
    ends = ".".join(map(str, ip[12:16])), ".".join(map(str, ip[16:20]))
    body = ip[head : head + 8]
    if ip[9] == 1:
        ident, seq = struct.unpack(">HH", body[4:8])
        return Flow(ends[0], ident, ends[1], ident), seq
    sport, dport, seq = struct.unpack(">HHI", body)
    return Flow(ends[0], sport, ends[1], dport), seq


@dataclass(frozen=True)
class Journey:
    """One packet at all points where it was seen, in the order of its way."""

    packets: tuple[Packet, ...]
    twice: frozenset[int] = frozenset()  # rows of those that fit as well as another one

    @property
    def flows(self) -> set[Flow]:
        """Its addresses and ports, as they were on the way."""
        return {each.flow for each in self.packets}


def _same(one: Packet, two: Packet) -> bool:
    """Say whether two have all that hops along in common."""
    count = min(len(one.data), len(two.data))
    return (
        (one.protocol, one.kind, one.seq, one.ack, one.size)
        == (two.protocol, two.kind, two.seq, two.ack, two.size)
        and one.data[:count] == two.data[:count]
    )  # fmt: skip


def journey(
    start: Packet, every: Sequence[Packet], known: Known, more: Iterable[Flow] = ()
) -> Journey:
    """Find the sightings of one packet among those of a capture.

    `more` are flows that it had at other points, `known` what tracking tells. TCP may send a
    packet again: those of one flow are one. An echo that is there twice is ambiguous.
    """
    again = start.protocol == "TCP"
    alike = [each for each in every if _same(start, each)]
    ids = {each.ip_id for each in alike}
    if not again and start.ip_id and 0 not in ids:  # Linux writes no other one while it forwards
        alike = [each for each in alike if each.ip_id == start.ip_id]
    flows = _closure({start.flow, *more}, alike, known, fit=True)
    found = [each for each in alike if each.flow in flows]
    if _twice(found, again):
        sure = _closure({start.flow, *more}, alike, known, fit=False)
        narrow = [each for each in found if each.flow in sure]
        found = narrow if not _twice(narrow, again) and len(sure) > 1 else found
    twice = _twice(found, again)
    first: dict[tuple[Any, ...], Packet] = {}
    for each in found:
        key = (each.point, each.direction, each.flow, each.ttl, 0 if again else each.row)
        first.setdefault(key, each)
    return Journey(tuple(first.values()), frozenset(twice))


def _closure(start: set[Flow], alike: Sequence[Packet], known: Known, fit: bool) -> set[Flow]:
    """Find the flows that a packet had: known ones, and such that fit and share an address."""
    flows, waiting = set(start), list(start)
    there = {each.flow for each in alike}
    ids: dict[Flow, set[int]] = defaultdict(set)
    for each in alike:
        ids[each.flow].add(each.ip_id)
    while waiting:
        flow = waiting.pop()
        told = set(known(alike[0].protocol, flow)) if alike else set()
        for other in there | told:
            shares = flow.src == other.src or flow.dst == other.dst
            fits = fit and shares and _ids_fit(ids[flow], ids[other])
            if other not in flows and (other in told or fits):
                flows.add(other)
                waiting.append(other)
    return flows


def _ids_fit(one: set[int], two: set[int]) -> bool:
    return not one or not two or 0 in one | two or bool(one & two)


def _twice(found: Sequence[Packet], again: bool) -> set[int]:
    """Find those that fit as well as another one: same point, same direction, same hop."""
    places: dict[tuple[int, str, int], list[Packet]] = defaultdict(list)
    for each in found:
        places[each.point, each.direction, each.ttl].append(each)
    return {
        each.row
        for there in places.values()
        if len({one.flow for one in there} if again else there) > 1
        for each in there
    }


def echoes(capture: Capture, seq: int | None = None) -> Array:
    """Find the echoes, all or those with a sequence number."""
    kind = capture.columns["icmp_type"]
    assert kind.missing is not None
    said = ~kind.missing & np.isin(kind.values, (ECHO_REPLY, ECHO)) & _of(capture, "ICMP")
    if seq is not None:
        said &= capture.columns["seq"].values == seq
    return np.flatnonzero(said)


def errors(capture: Capture) -> Array:
    """Find the frames that say that a packet did not arrive."""
    kind = capture.columns["icmp_type"]
    assert kind.missing is not None
    return np.flatnonzero(~kind.missing & np.isin(kind.values, ERRORS) & _of(capture, "ICMP"))


def segments(
    capture: Capture,
    opening: bool = False,
    flow: Flow | None = None,
    seq: int | None = None,
    ack: int | None = None,
) -> Array:
    """Find the frames of TCP: those that open a connection or refuse it, those between the ports
    of a flow, those with one number or that acknowledge another one."""
    flags = capture.columns["flags"]
    assert flags.missing is not None
    said = ~flags.missing & _of(capture, "TCP")
    if opening:
        said &= (flags.values & (SYN | RST)) > 0
    values = {name: capture.columns[name].values for name in ("sport", "dport", "seq", "ack")}
    if flow is not None:
        there = (values["sport"] == flow.sport) & (values["dport"] == flow.dport)
        said &= there | (values["sport"] == flow.dport) & (values["dport"] == flow.sport)
    if seq is not None:
        said &= (values["seq"] == seq) | (values["ack"] == ack)
    return np.flatnonzero(said)


def _of(capture: Capture, protocol: str) -> Array:
    column = capture.columns["protocol"]
    words = list(column.words or ())
    made: Array = column.values == (words.index(protocol) if protocol in words else -2)
    return made & ~capture.columns["broken"].values


def order(capture: Capture, packets: Iterable[Packet]) -> list[Packet]:
    """Put sightings of one packet in the order of its way: TTL falls, then time, then place."""
    time = capture.columns["time"].values
    return sorted(packets, key=lambda each: (-each.ttl, int(time[each.row]), each.row))


def most_seen(packets: Sequence[Packet]) -> Packet | None:
    """Give the first sighting of what was seen at most points."""
    groups: dict[tuple[Any, ...], list[Packet]] = defaultdict(list)
    for each in packets:
        head = each.data[:16]
        groups[each.protocol, each.kind, each.seq, each.size, head].append(each)
    if not groups:
        return None
    count = Counter({key: len({one.point for one in there}) for key, there in groups.items()})
    best = max(groups, key=lambda key: (count[key], -groups[key][0].row))
    return groups[best][0]
