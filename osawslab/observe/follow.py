"""One frame followed: a ping or a TCP connection at every point of a capture, hop by hop.

Each hop says where the packet was, what the way there has changed, what became of it, and, where
the facts of a lab are known, the one rule or table entry that decided it. Times, ids and ports that
a program got by chance are left out: the table is the same on every run.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from osawslab.errors import BadSetting
from osawslab.observe import deciding, exchange, hops, seen
from osawslab.observe.capture import Capture
from osawslab.observe.conversation import SYSTEM_PORTS, Conversation
from osawslab.observe.deciding import UNTOLD, Entry, Facts
from osawslab.observe.exchange import DROPPED, Exchange
from osawslab.observe.hops import SYN, Journey, Packet
from osawslab.observe.seen import Seen
from osawslab.observe.tracked import Flow
from osawslab.report import Picture, Table

if TYPE_CHECKING:
    from pandas import DataFrame

COLUMNS = ("frame", "at", "direction", "source", "destination", "changed here", "verdict")
DECIDED = "decided by"
ANSWERED, AMBIGUOUS = "answered", "ambiguous"
TWICE = "ambiguous: two or more frames fit, and nothing that hops along tells them apart"
UNTRACKED = "the router's connection tracking might, and none was to be read"
UNREACHABLE = "destination unreachable: host"
NO_MORE, WAITS = "no answer is seen; seen last here", "it waits for the next hop's MAC"


@dataclass(frozen=True)
class Hop:
    """The packet at one point."""

    row: int  # its place in the capture
    way: str  # "asks", "ARP", "error" or "answers"
    says: str
    at: str
    direction: str
    source: str
    destination: str
    changed: tuple[str, ...]  # since the hop before
    verdict: str
    decided: Entry | None
    seen: Seen

    @property
    def dropped(self) -> bool:
        """Say whether this is where it died."""
        return self.verdict.startswith(DROPPED)

    def cells(self, decided: bool) -> tuple[str, ...]:
        """Give the hop as a row of the table."""
        told = f"{self.decided}: {self.decided.so}" if self.decided else ""
        return (
            self.says, self.at, self.direction, self.source, self.destination,
            "; ".join(self.changed), self.verdict, *((told,) if decided else ()),
        )  # fmt: skip


@dataclass(frozen=True, repr=False)
class Followed(Table):
    """The hops of one packet and of its answer, as a table; `picture` shows the same."""

    outcome: str = ""  # what became of it, in words
    hops: tuple[Hop, ...] = ()
    _capture: Capture | None = field(default=None, compare=False)
    tracked: bool = False  # what the routers have translated was there to be read

    @property
    def ambiguous(self) -> bool:
        """Say whether more frames fit than there can be of one packet."""
        return self.outcome.startswith(AMBIGUOUS)

    @property
    def answered(self) -> bool:
        """Say whether the answer is back where the question came from."""
        return self.outcome == ANSWERED

    @property
    def picture(self) -> Picture:
        """Draw the way, from top to bottom."""
        from osawslab.observe import way

        return way.picture(self)

    @property
    def frame(self) -> DataFrame:
        """Everything about its frames: `capture.frame`'s rows, and what is said of them here."""
        assert self._capture is not None
        made = self._capture.frame.iloc[[hop.row for hop in self.hops]].copy()
        made.insert(0, "way", [hop.way for hop in self.hops])
        made["changed"] = ["; ".join(hop.changed) for hop in self.hops]
        made["decided"] = [str(hop.decided or "") for hop in self.hops]
        return made

    def _repr_html_(self) -> str:
        return f"{self.picture._repr_html_()}\n{super()._repr_html_()}"


def follow(capture: Capture, what: Any = None, facts: Facts | None = None) -> Followed:
    """Follow the exchange of a frame, or the one that tells most.

    `what` is a place in the capture, a row of its `frame`, "icmp", "tcp" or "arp", or None.
    Raises BadSetting for a frame that is no whole ARP, echo or TCP, BadCapture for none at all.
    """
    known = facts.known if facts else _nothing
    if what is None or isinstance(what, str):
        found = exchange.find(capture, what or "", known)
    else:
        found = exchange.of(capture, _place(capture, what), known)
    return _Telling(capture, facts).told(found)


def _nothing(protocol: str, flow: Flow) -> Iterable[Flow]:
    return ()


def _place(capture: Capture, what: Any) -> int:
    """Find the place of a row: itself, or the name that pandas gives a row of a frame."""
    place = getattr(what, "name", what)
    try:
        return range(len(capture))[int(place)]
    except (TypeError, ValueError, IndexError):
        raise BadSetting(
            "a frame is named by its place, from 0, or by its row",
            seen=repr(place)[:60],
            next=f"0 to {len(capture) - 1}, or capture.frame.iloc[0]",
        ) from None


@dataclass(frozen=True)
class _Telling:
    """Says what a capture tells of an exchange."""

    capture: Capture
    facts: Facts | None

    @property
    def tracked(self) -> bool:
        """Say whether connection tracking was there to be read."""
        return bool(self.facts and self.facts.tracked)

    def told(self, found: Exchange) -> Followed:
        asks = self._hops("asks", found.asks)
        answers = self._hops("answers", found.answers)
        errors = self._hops("error", found.errors)
        arps = self._arps(found)
        if found.asks.packets and not answers and not _died(asks):
            found_arp = self._waited_for(asks)
            arps = self._arps(found_arp) if found_arp else []
        outcome = self._outcome(found, asks, arps, errors, answers)
        if outcome.startswith("no answer"):
            told = (hop.decided.so for hop in (*asks, *arps) if hop.decided)
            outcome = "; ".join([outcome, *(so for so in told if so.endswith(UNTOLD))][:2])
        if asks and not answers and not asks[-1].verdict:
            asks[-1] = replace(asks[-1], verdict=WAITS if arps else NO_MORE)
        every = (*asks, *arps, *errors, *answers)
        first = every[0]
        columns = (*COLUMNS, *((DECIDED,) if self.facts else ()))
        ends = "" if first.way.startswith("ARP") else f", {first.source} to {first.destination}"
        caption = f"{first.says}{ends}: {outcome}"
        rows = tuple(hop.cells(self.facts is not None) for hop in every)
        return Followed(
            caption, columns, rows, (), outcome, tuple(every), self.capture, self.tracked
        )

    def _hops(self, way: str, found: Journey) -> list[Hop]:
        packets = hops.order(self.capture, found.packets)
        made = []
        for number, each in enumerate(packets):
            before = packets[number - 1] if number else None
            later = next((one.flow for one in packets[number + 1 :] if one.ttl < each.ttl), None)
            if way == "asks" and each.protocol == "TCP" and not each.kind & SYN:
                later = None  # of a packet in between, only tracking knows which way it goes
            made.append(
                self._hop(
                    way,
                    each.row,
                    tuple(self._changes(before, each, way)),
                    TWICE if each.row in found.twice else "",
                    later,
                )
            )
        return made

    def _arps(self, found: Exchange) -> list[Hop]:
        made = []
        for way, rows in (("ARP", found.who_has), ("ARP answers", found.is_at)):
            for number, row in enumerate(rows):
                last = rows[number - 1] if number else None
                made.append(self._hop(way, row, tuple(self._macs(last, row)), "", None))
        return made

    def _hop(
        self, way: str, row: int, changed: tuple[str, ...], verdict: str, became: Flow | None
    ) -> Hop:
        shown = Conversation(self.capture.columns)
        frame = seen.of_capture(self.capture, row)
        return Hop(
            row,
            way,
            shown.says(row),
            shown.text("point", row) or "the only point",
            frame.direction,
            shown.address("src", "sport", row),
            shown.address("dst", "dport", row),
            changed,
            verdict or frame.verdict,
            deciding.decide(self.facts, frame, became) if self.facts else None,
            frame,
        )

    def _macs(self, before: int | None, row: int) -> Iterator[str]:
        shown = Conversation(self.capture.columns)
        for name, words in (("src", "from"), ("dst", "to")):
            names = f"{name}_mac", f"{name}_owner"
            now = shown.named(*names, row)
            if now and (before is None or now != shown.named(*names, before)):
                yield f"{words} MAC {now}"

    def _changes(self, before: Packet | None, now: Packet, way: str) -> Iterator[str]:
        """Say what differs from the hop before."""
        if before is not None:
            shown = Conversation(self.capture.columns)
            back = " undone" if way == "answers" else ""
            for end, port, sent, kinds in (
                ("src", "sport", "source", ("SNAT", "DNAT")),
                ("dst", "dport", "destination", ("DNAT", "SNAT")),
            ):
                old, new = before.flow, now.flow
                if getattr(old, end) != getattr(new, end) or _told(old, new, port):
                    was, is_ = (shown.address(end, port, each.row) for each in (before, now))
                    kind = f"{kinds[1] if back else kinds[0]}{back}"
                    if "Elastic IP" in was + is_:
                        kind = "Elastic IP"
                    yield f"{sent} {was} → {is_} ({kind})"
                elif getattr(old, port) != getattr(new, port) and now.protocol == "TCP":
                    yield f"{sent} port, for another one"
            if now.protocol == "ICMP" and before.flow.sport != now.flow.sport:
                yield "id of the echo, for another one"
            if before.ttl > now.ttl:
                yield f"TTL {before.ttl - now.ttl} less: routed"
        yield from self._macs(before.row if before else None, now.row)

    def _waited_for(self, asks: Sequence[Hop]) -> Exchange | None:
        """Find the ARP that a packet waits for: of the next hop, else the only one unanswered."""
        pairs = list(exchange.asked_without_answer(self.capture))
        if self.facts and asks:
            last = asks[-1].seen
            following = deciding.next_hop(self.facts, last.point, last.dst)
            pairs = [pair for pair in pairs if pair[1] == following]
        if len(pairs) != 1:
            return None
        return exchange.arp(self.capture, *pairs[0])

    def _unlearned(self, asks: Sequence[Hop], error: Hop) -> str:
        """Name the next hop that a place of ours gave up to ask for, which is why it sent an error.

        It asks three times, and tells the sender then: a capture may begin in between.
        """
        if self.facts is None or not asks or error.says != UNREACHABLE:
            return ""
        last = asks[-1].seen
        return deciding.unlearned(self.facts, last.point, last.dst, error.seen.src)

    def _outcome(
        self,
        found: Exchange,
        asks: Sequence[Hop],
        arps: Sequence[Hop],
        errors: Sequence[Hop],
        answers: Sequence[Hop],
    ) -> str:
        if found.asks.twice or found.answers.twice:
            return TWICE if self.tracked else f"{TWICE}; {UNTRACKED}"
        if drop := _died(asks):
            return f"died after {drop.at}, {drop.verdict}"
        if answers:
            if drop := _died(answers):
                return f"the answer died after {drop.at}, {drop.verdict}"
            if asks and asks[0].at not in {hop.at for hop in answers}:
                return f"the answer is seen last at {answers[-1].at}, not at {asks[0].at}"
            return "refused" if "RST" in answers[0].says else ANSWERED
        if drop := _died(arps):
            words = f"the next hop's MAC is not learned: {drop.says} " if asks else ""
            return f"{words}died after {drop.at}, {drop.verdict}"
        if any(hop.way == "ARP answers" for hop in arps):
            return ANSWERED
        if arps:
            return f"no answer: {arps[0].says}, and nobody says"
        if errors:
            told = f"an error from {errors[0].source}: {errors[0].says}"
            if hop := self._unlearned(asks, errors[0]):
                asked = "asked before this capture, and nobody says"
                return f"the next hop's MAC is not learned: who-has {hop}, {asked}; {told}"
            return f"no answer, but {told}"
        return f"no answer is seen; seen last at {asks[-1].at}"


def _told(old: Flow, new: Flow, port: str) -> bool:
    """Say whether a port differs that is shown: one of a service."""
    one, two = getattr(old, port), getattr(new, port)
    return one != two and min(one, two) < SYSTEM_PORTS and old.sport != old.dport


def _died(found: Iterable[Hop]) -> Hop | None:
    return next((hop for hop in found if hop.dropped), None)
