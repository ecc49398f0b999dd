"""A capture while it runs, and what is made of it: one `Capture` of many points, in time's order.

What became of a frame follows from facts alone: the VPC's own record of what it drops, frame by
frame, held against the bytes that left the NIC. Where nobody records that, as on AWS, only what
came in, and what was answered, is known to have been delivered.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import BinaryIO, Self

import numpy as np

from osawslab.host.listen import BLOCK, DROP
from osawslab.observe import pcapng, ring
from osawslab.observe.answers import answered
from osawslab.observe.capture import Capture, Origin, of_batches
from osawslab.observe.container import PAD, Batch, Point, losses
from osawslab.observe.ring import Seen

NIC, VPC, VPC_DROPS = "provider NIC", "VPC", "VPC drops"
DELIVERED = "delivered"
DROPPED = "dropped by the VPC"
REASONS = {  # as the VPC's firewall calls them
    "mac": f"{DROPPED}: MAC not registered",
    "arp": f"{DROPPED}: ARP tells a pair of MAC and address that is not registered",
    "ip": f"{DROPPED}: source address not registered, and SourceDestCheck is on",
    "acl": f"{DROPPED}: the subnet's network ACL denies it",
    "group": f"{DROPPED}: no rule of a security group lets it through",
    "no_eip": f"{DROPPED}: its address has no Elastic IP, so no way to the internet",
}
ROUTED = ("acl", "group", "no_eip")  # seen by the VPC's router, which has counted the hop already
ETHERNET, RAW, UNKNOWN = 1, 101, 147  # LINKTYPE_ of tcpdump.org/linktypes.html
LINKS = {1: ETHERNET, 772: ETHERNET, 65534: RAW}  # by ARPHRD_ of linux/if_arp.h
AT_ONCE = 32_768  # frames of a batch
LIMITS = {
    "seconds": "{:g} seconds had passed",
    "frames": "{:,} frames were there",
    "bytes": "{:,} bytes were there",
}


def over(why: str, limits: Mapping[str, float]) -> str:
    """Say in words what ended a capture: a bound, or nobody; "" where it was asked for."""
    if why in ("", "asked"):
        return ""
    return LIMITS.get(why, "the connection broke").format(limits.get(why, 0))


@dataclass(frozen=True)
class Spot:
    """A point to capture at: its name, where it is, and how it lies on the way to the internet."""

    name: str
    netns: str
    device: str
    rank: float  # 0 is the VM, larger is nearer to the internet
    outward: str  # the direction that leads there: "in", "out", or "" where neither does
    vantage: bool = False  # the place's, not the instance's
    hidden: bool = False  # captured for the verdicts it gives, and not shown

    def goes_out(self, direction: int) -> bool:
        """Say whether a frame with this direction is on its way to the internet."""
        return not direction or self.outward == ("", "in", "out")[direction]


def ordered(seen: Iterable[Seen], spots: Sequence[Spot]) -> list[Seen]:
    """Put frames in the order of time; those of one moment in the order of their way."""

    def key(each: Seen) -> tuple[int, float]:
        spot = spots[each.point]
        return each.time, spot.rank if spot.goes_out(each.direction) else -spot.rank

    return sorted(seen, key=key)


def judge(frames: Sequence[Seen], spots: Sequence[Spot], sure: bool) -> list[str]:
    """Say what became of each frame at the provider NIC and in the VPC; "" where nobody knows.

    A frame is the dropped one where its bytes are. Where fewer equal ones were dropped than sent,
    a drop is that of the last one sent before it. `sure`: no drop is missing.
    """
    recorded = any(spot.name == VPC_DROPS for spot in spots)
    verdicts = [""] * len(frames)
    dropped: dict[bytes, list[int]] = defaultdict(list)
    for row, each in enumerate(frames):
        if spots[each.point].name == VPC_DROPS:
            verdicts[row] = REASONS.get(each.reason, DROPPED)
            dropped[_key(each.data, each.reason in ROUTED)].append(row)
    routed = any(frames[row].reason in ROUTED for rows in dropped.values() for row in rows)
    for place in (NIC, VPC):
        sent: dict[bytes, list[int]] = defaultdict(list)
        for row, each in enumerate(frames):
            spot = spots[each.point]
            if spot.name != place:
                continue
            if not spot.goes_out(each.direction):
                verdicts[row] = DELIVERED
            elif recorded:
                verdicts[row] = DELIVERED if sure and _counted(each.data) else ""
                for kind in (False, True) if routed else (False,):
                    key = _key(each.data, kind)
                    if key in dropped:
                        sent[key].append(row)
        for key, rows in sent.items():
            for drop, row in _pairs(dropped[key], rows, frames):
                verdicts[row] = verdicts[drop]
        passed = (
            (row, spots[each.point].goes_out(each.direction), each.data)
            for row, each in enumerate(frames)
            if spots[each.point].name == place
        )
        for row in answered(passed):
            verdicts[row] = verdicts[row] or DELIVERED
    return verdicts


def _pairs(drops: list[int], rows: list[int], frames: Sequence[Seen]) -> list[tuple[int, int]]:
    """Pair drops with equal frames, in order."""
    if len(drops) >= len(rows):
        return list(zip(drops, rows, strict=False))
    times, free, found = [frames[row].time for row in rows], set(rows), []
    for drop in drops:
        before = rows[: bisect_right(times, frames[drop].time)] or rows
        left = [row for row in before if row in free]
        if left:
            free.remove(left[-1])
            found.append((drop, left[-1]))
    return found


def _key(data: bytes, routed: bool) -> bytes:
    """Give what stays the same of a frame until it is dropped."""
    if not routed:
        return data
    return b"ip" + data[14:22] + data[23:24] + data[26:]  # but MACs, TTL and checksum


def _counted(data: bytes) -> bool:
    """Say whether the VPC records the drop of such a frame: not of IPv6 and IGMP."""
    kind = data[12:14]
    return kind != b"\x86\xdd" and not (kind == b"\x08\x00" and data[23:24] == b"\x02")


def placed(frames: list[Seen], spots: Sequence[Spot]) -> list[Seen]:
    """Give drops the time that the same bytes had in the VPC, or at the NIC before it.

    The kernel records no time of a drop; until then it has the one at which it was read.
    """
    known: dict[bytes, list[int]] = defaultdict(list)
    drops = [each for each in frames if spots[each.point].name == VPC_DROPS]
    if not drops:
        return frames
    wanted = {each.data for each in drops}
    names = {spot.name for spot in spots}
    place = VPC if VPC in names else NIC
    for each in frames:
        spot = spots[each.point]
        if spot.name == place and spot.goes_out(each.direction) and each.data in wanted:
            known[each.data].append(each.time)

    def time(each: Seen) -> int:
        before = [moment for moment in known[each.data] if moment <= each.time]
        return before[-1] if before else each.time

    return [
        each._replace(time=time(each)) if spots[each.point].name == VPC_DROPS else each
        for each in frames
    ]


def write(
    file: BinaryIO, frames: Iterable[Seen], verdicts: Iterable[str], spots: Sequence[Spot]
) -> None:
    """Write frames into a pcapng file that has begun, each with its verdict."""
    for each, verdict in zip(frames, verdicts, strict=False):
        if not spots[each.point].hidden:
            pcapng.write(
                file,
                each.data,
                point=each.point,
                time=each.time,
                length=each.length,
                direction=each.direction,
                comments=pcapng.words(verdict, ""),
            )


def batches(frames: Sequence[Seen]) -> Iterator[Batch]:
    """Give frames as batches: their bytes one after another."""
    base = 0
    for first in range(0, len(frames), AT_ONCE):
        some = frames[first : first + AT_ONCE]
        data = b"".join([each.data for each in some])
        size = np.array([len(each.data) for each in some], np.int64)
        time, point, direction, length = (
            np.array([each[field] for each in some], np.int64)
            for field in map(Seen._fields.index, ("time", "point", "direction", "length"))
        )
        yield Batch(
            data + PAD, base, np.cumsum(size) - size, size, length, time, point,
            np.zeros(len(some), np.uint8), direction.astype(np.uint8),
        )  # fmt: skip
        base += len(data)


@dataclass(frozen=True)
class Catch:
    """All that a capture has brought: frames by point, what was lost, what ended it."""

    spots: tuple[Spot, ...]
    kinds: Mapping[int, int]  # ARPHRD_ by point
    frames: list[Seen]
    lost: Mapping[str, int]  # frames by point's name, where there are any
    sure: bool = True  # no drop is missing
    since: int = 0  # when all points were captured: nanoseconds since 1970
    until: int = 1 << 63
    ended: str = ""  # "" where it was asked for, else its limit, in words
    missing: str = ""  # a point that could not be had, in words
    limits: Mapping[str, float] = field(default_factory=dict)  # "frames", "bytes": of all points

    @property
    def points(self) -> list[Point]:
        """Give the points as a file describes them."""
        return [
            Point(
                spot.name,
                LINKS.get(self.kinds.get(number, 1), UNKNOWN),
                ticks=10**9,
                outward=spot.outward,
                lost=self.lost.get(spot.name, 0),
            )
            for number, spot in enumerate(self.spots)
            if not spot.hidden
        ]

    @property
    def caption(self) -> str:
        """Say where this was captured, and what is missing."""
        said = [f"Captured at {', '.join(spot.name for spot in self.spots if not spot.hidden)}"]
        if self.missing:
            said.append(self.missing)
        if self.lost:
            said.append(losses(self.lost))
        if self.ended:
            said.append(f"it ended by itself: {self.ended}")
        return "; ".join(said)

    def capture(self, names: Mapping[str, str]) -> Capture:
        """Make a capture of it: in order, with verdicts, and with these owners' names."""
        frames = ordered(placed(self.frames, self.spots), self.spots)
        verdicts = judge(frames, self.spots, self.sure)
        # Judged is all that there is; shown is what was captured while all points were.
        whole = [
            row
            for row, each in enumerate(frames)
            if self.since <= each.time <= self.until and not self.spots[each.point].hidden
        ]
        whole, bound = self._within(whole, frames)
        shown = [frames[row] for row in whole]
        origin = Origin(None, b"".join(each.data for each in shown))
        told = replace(self, ended=over(bound, self.limits)) if bound else self
        made = of_batches(batches(shown), self.points, origin, names, told.caption)
        return made.judged([verdicts[row] for row in whole])

    def _within(self, rows: list[int], frames: Sequence[Seen]) -> tuple[list[int], str]:
        """Give the first rows that are within the bounds, and the bound that ends them."""
        most, bound = self.limits.get("frames", len(rows)), ""
        if len(rows) > most:
            rows, bound = rows[: int(most)], "frames"
        if "bytes" in self.limits:
            sizes = accumulate(len(frames[row].data) for row in rows)
            fit = sum(size <= self.limits["bytes"] for size in sizes)
            rows, bound = rows[:fit], "bytes" if fit < len(rows) else bound
        return rows, bound


def read(messages: Iterable[tuple[int, int, bytes]], numbers: Sequence[int]) -> list[Seen]:
    """Read the messages of a `listen`; `numbers` are those of its points in the capture."""
    found: list[Seen] = []
    for kind, point, data in messages:
        if kind == BLOCK:
            found += ring.block(numbers[point], data)
        elif kind == DROP:
            found.append(ring.drop(numbers[point], data))
    return found


@dataclass(frozen=True, eq=False, repr=False)
class LiveCapture(Capture):
    """A capture that is filled when its `with` block ends; what it lost is in `lost`."""

    _end: Callable[[], tuple[Capture, Mapping[str, int]]] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End the capture, where it goes on, and fill this with what it brought."""
        if self._end is not None:
            end = self._end
            self.__dict__["_end"] = None
            made, lost = end()
            self.__dict__.pop("frame", None)
            self.__dict__.update(vars(made), lost=lost)  # frozen for all others
