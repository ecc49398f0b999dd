"""One ping or one TCP connection of a capture: the packet that asks, and what answers it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from osawslab.errors import BadCapture, BadSetting
from osawslab.observe import hops
from osawslab.observe.capture import Capture
from osawslab.observe.hops import ACK, ECHO, ECHO_REPLY, RST, SYN, Journey, Known, Packet

KINDS = ("icmp", "tcp", "arp")
LOOKED_AT = 5000  # frames in which the one that tells most is looked for
DROPPED = "dropped"
NOTHING = Journey(())


@dataclass(frozen=True)
class Exchange:
    """What asks, what answers, and where ARP had to ask before: journeys of one packet each."""

    asks: Journey
    answers: Journey = NOTHING
    errors: Journey = NOTHING  # ICMP says why there is no answer
    who_has: tuple[int, ...] = ()  # rows of ARP
    is_at: tuple[int, ...] = ()


def find(capture: Capture, kind: str, known: Known) -> Exchange:
    """Find the exchange that tells most: dropped first, then at most points, then the first.

    `kind` is one of KINDS, or "" for any. Raises BadSetting, BadCapture where there is none.
    """
    if kind not in ("", *KINDS):
        raise BadSetting(
            f"nobody can follow {kind!r}", seen=kind, next=f"one of: {', '.join(KINDS)}"
        )
    packets: list[Packet] = []
    if kind in ("", "icmp"):
        found = hops.read(capture, hops.echoes(capture)[:LOOKED_AT])
        packets += [each for each in found if each.kind == ECHO] or found
    if kind in ("", "tcp"):
        found = hops.read(capture, hops.segments(capture, opening=True)[:LOOKED_AT])
        opening = [each for each in found if _opens(each)]
        packets += opening or (
            hops.read(capture, hops.segments(capture)[:LOOKED_AT]) if not packets else []
        )
    verdicts = capture.columns["verdict"].texts()
    dropped = [each for each in packets if verdicts[each.row].startswith(DROPPED)]
    best = hops.most_seen(dropped) or hops.most_seen(packets)
    if best is not None:
        same = [each for each in packets if each.data == best.data and each.seq == best.seq]
        return of(capture, min(each.row for each in same), known)
    asked = _asked(capture) if kind in ("", "arp") else ()
    if not asked:
        raise BadCapture(
            f"there is no {kind.upper() or 'ping and no TCP connection'} in this capture to follow",
            seen=f"{len(capture)} frames",
            next="capture while a ping runs; fragments are followed by nobody",
        )
    return of(capture, asked[0], known)


def of(capture: Capture, row: int, known: Known) -> Exchange:
    """Find the exchange that a frame, by its place, is part of. Raises BadSetting for another."""
    protocol = capture.columns["protocol"]
    code = protocol.values[row]
    name = protocol.words[code] if protocol.words and code >= 0 else ""
    if name == "ARP":
        found_arp = _arp_of(capture, row)
        if found_arp.who_has or found_arp.is_at:
            return found_arp
    whole = name in ("ICMP", "TCP") and not capture.columns["broken"].values[row]
    found = hops.read(capture, [row] if whole else [])
    if not found or (name == "ICMP" and found[0].kind not in (ECHO, ECHO_REPLY)):
        raise BadSetting(
            f"frame {row} cannot be followed",
            seen=capture.columns["says"].texts()[row] or name,
            next="a row of ARP, of an echo or of TCP that is whole and no fragment",
        )
    made = _ping(capture, found[0], known) if name == "ICMP" else _tcp(capture, found[0], known)
    return made


def _arp_of(capture: Capture, row: int) -> Exchange:
    kind = capture.columns["arp_operation"]
    assert kind.missing is not None
    if kind.missing[row] or kind.values[row] not in (1, 2):
        return Exchange(NOTHING)
    ends = [capture.columns[name].texts()[row] for name in ("src", "dst")]
    return arp(capture, *(ends if kind.values[row] == 1 else ends[::-1]))


def _ping(capture: Capture, given: Packet, known: Known) -> Exchange:
    every = hops.read(capture, hops.echoes(capture, given.seq))
    start: Packet | None = given
    if given.kind == ECHO_REPLY:
        start = _matching(every, ECHO, given)
    asks = hops.journey(start, every, known) if start else NOTHING
    reply = given if given.kind == ECHO_REPLY else _matching(every, ECHO_REPLY, given, asks)
    back = {flow.back for flow in asks.flows}
    answers = hops.journey(reply, every, known, back) if reply else NOTHING
    if asks.twice and answers.packets:  # what answers one of two alike may answer the other
        answers = Journey(answers.packets, frozenset(each.row for each in answers.packets))
    return Exchange(asks, answers, _errors(capture, asks))


def _matching(
    every: Sequence[Packet], kind: int, given: Packet, asks: Journey = NOTHING
) -> Packet | None:
    """Find the first echo of the other kind: the reply gives back what the request brought."""
    flows = {flow.back for flow in asks.flows} or {given.flow.back}
    fits = []
    for each in every:
        count = min(len(each.data), len(given.data))
        alike = each.size == given.size and each.data[:count] == given.data[:count]
        if each.kind == kind and alike:
            fits.append(each)
    exact = [each for each in fits if each.flow in flows]
    if exact:
        return exact[0]
    ends = {flow.src for flow in flows} | {flow.dst for flow in flows}
    return next((each for each in fits if {each.flow.src, each.flow.dst} & ends), None)


def _opens(packet: Packet) -> bool:
    return bool(packet.kind & SYN and not packet.kind & ACK)


def _tcp(capture: Capture, given: Packet, known: Known) -> Exchange:
    # Without its SYN it was open before the capture began: then that packet is followed.
    start = _opening(capture, given) or given
    wanted = (start.seq + start.size + bool(start.kind & SYN)) & 0xFFFFFFFF
    every = hops.read(capture, hops.segments(capture, seq=start.seq, ack=wanted))
    asks = hops.journey(start, every, known)
    back = {flow.back for flow in asks.flows}
    answer = next(
        (
            each
            for each in every
            if each.flow in back
            and each.ack == wanted
            and each.kind & ACK
            and (not _opens(start) or each.kind & (SYN | RST))
        ),
        None,
    )
    answers = hops.journey(answer, every, known, back) if answer else NOTHING
    return Exchange(asks, answers, _errors(capture, asks))


def _opening(capture: Capture, given: Packet) -> Packet | None:
    """Find the SYN of a packet's connection: the last one of its flow before it."""
    ends = (given.flow, given.flow.back)
    every = hops.read(capture, hops.segments(capture, opening=True, flow=given.flow))
    opening = [each for each in every if _opens(each) and each.flow in ends]
    time = capture.columns["time"].values
    before = [each for each in opening if time[each.row] <= time[given.row]]
    found = before[-1] if before else None
    if found is None and given.kind & SYN:  # its answer
        found = next((each for each in opening if each.seq + 1 == given.ack), None)
    if found is None:
        return None
    return next(each for each in opening if each.seq == found.seq and each.flow == found.flow)


def _errors(capture: Capture, asks: Journey) -> Journey:
    """Find what ICMP says of a packet: it quotes its head."""
    if not asks.packets:
        return NOTHING
    first = asks.packets[0]
    found = [
        each
        for each in hops.read(capture, hops.errors(capture))
        if each.quoted and each.quoted[0] in asks.flows and each.quoted[1] == first.seq
    ]
    once: dict[tuple[int, str], Packet] = {}
    for each in found:
        once.setdefault((each.point, each.direction), each)
    return Journey(tuple(once.values()))


def _asked(capture: Capture) -> list[int]:
    """Find the rows where ARP asks: those that were dropped first, then those without answer."""
    columns = capture.columns
    kind = columns["arp_operation"]
    assert kind.missing is not None
    rows = np.flatnonzero(~kind.missing & (kind.values == 1)).tolist()
    verdicts = columns["verdict"].texts()
    return sorted(rows, key=lambda row: (not verdicts[row].startswith(DROPPED), row))


def asked_without_answer(capture: Capture) -> Iterator[tuple[str, str]]:
    """Name who asks for whom by ARP and hears nothing: both addresses."""
    columns = capture.columns
    src, dst = columns["src"].texts(), columns["dst"].texts()
    kind = columns["arp_operation"]
    assert kind.missing is not None
    said = {
        number: list(
            dict.fromkeys(
                (src[row], dst[row])
                for row in np.flatnonzero(~kind.missing & (kind.values == number)).tolist()
            )
        )
        for number in (1, 2)
    }
    for one, other in said[1]:
        if (other, one) not in said[2] and one != other:
            yield one, other


def arp(capture: Capture, asker: str, wanted: str) -> Exchange:
    """Find who asks for an address and who answers, once at each point and in each direction."""
    columns = capture.columns
    src, dst = columns["src"].texts(), columns["dst"].texts()
    kind = columns["arp_operation"]
    assert kind.missing is not None
    time = columns["time"].values
    found: dict[int, dict[tuple[int, int, str], int]] = {1: {}, 2: {}}
    macs = columns["src_mac"].texts()
    rows = np.flatnonzero(~kind.missing & np.isin(kind.values, (1, 2)))
    for row in sorted(rows.tolist(), key=lambda each: (int(time[each]), each)):
        number = int(kind.values[row])
        ends = (asker, wanted) if number == 1 else (wanted, asker)
        if (src[row], dst[row]) == ends:
            key = (int(columns["_point"].values[row]), int(columns["direction"].values[row]),
                   macs[row])  # fmt: skip
            found[number].setdefault(key, row)
    return Exchange(NOTHING, who_has=tuple(found[1].values()), is_at=tuple(found[2].values()))
