"""Where the frames of a capture lie: pcap and pcapng, read window by window.

A capture file is one of two containers of frames: the classic pcap (pcap-savefile(5)) or pcapng
(IETF draft-ietf-opsawg-pcapng). Both are read as batches: some bytes of the file, and arrays that
say where in them each frame begins, how much of it was captured, when, and at which point.
Memory is bounded by the window, whatever a length field says.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import BinaryIO

import numpy as np

from osawslab.errors import BadCapture
from osawslab.observe.chain import Array as Array
from osawslab.observe.chain import Chain
from osawslab.observe.chain import fields as fields
from osawslab.observe.chain import header as header

WINDOW = 4 << 20  # bytes that are looked at at once
LONGEST = 262_144  # bytes of a frame: MAXIMUM_SNAPLEN of libpcap's pcap-int.h
PAD = bytes(64)  # so that a whole header can be fetched at any byte of a window
NO_TIME = np.iinfo(np.int64).min  # what pandas and numpy call NaT
TRIES = 32  # guesses at a record's beginning
LAST_SECOND = 9_223_372_036  # of what int64 can count in nanoseconds

# pcap-savefile(5): the magic number gives the byte order and ticks in a second; the last two are
# of a libpcap that Alexey Kuznetsov had patched, with 8 more bytes in a record's header.
MAGIC = {
    b"\xd4\xc3\xb2\xa1": ("<", 10**6, 16),
    b"\xa1\xb2\xc3\xd4": (">", 10**6, 16),
    b"\x4d\x3c\xb2\xa1": ("<", 10**9, 16),
    b"\xa1\xb2\x3c\x4d": (">", 10**9, 16),
    b"\x34\xcd\xb2\xa1": ("<", 10**6, 24),
    b"\xa1\xb2\xcd\x34": (">", 10**6, 24),
}
CAPTURE_AGAIN = "tcpdump --immediate-mode -U -i eth1 -w FILE"

# What is wrong with the container around a frame; a frame's number in here is 0 when nothing is.
TROUBLES = (
    "",
    "the capture ends inside this frame",
    "the capture ends inside a record's header",
    "a record with an impossible length: nothing after it can be read",
    "longer than the block it is in",
    "of an interface that the capture does not describe",
    "the capture ends inside a block",
    "a section of another version of pcapng: nothing after it can be read",
)
ENDS_IN_FRAME, ENDS_IN_HEADER, IMPOSSIBLE, OVERLONG, NOWHERE, ENDS_IN_BLOCK, FOREIGN = range(1, 8)


@dataclass(frozen=True)
class Point:
    """An interface that was captured: its name ("" where the file has none), its link type."""

    name: str
    link: int  # LINKTYPE_ of tcpdump.org/linktypes.html
    snaplen: int = 0  # bytes; 0: whole frames
    ticks: int = 10**6  # in a second
    offset: int = 0  # seconds to add to each time
    outward: str = ""  # the direction to the internet, "in" or "out"; "" where nobody knows
    lost: int = 0  # frames that came and were not captured


def lost(points: Iterable[Point]) -> dict[str, int]:
    """Count what was lost, by the name of the point; without those that lost nothing."""
    found: dict[str, int] = {}
    for point in points:
        if point.lost:
            found[point.name] = found.get(point.name, 0) + point.lost
    return found


def losses(counts: Mapping[str, int]) -> str:
    """Say what was lost.

    >>> losses({"VPC": 1234})
    'frames lost: 1,234 at VPC'
    """
    return "frames lost: " + ", ".join(f"{count:,} at {name}" for name, count in counts.items())


@dataclass
class Batch:
    """Some frames, in the order of the file. All arrays have one element a frame."""

    data: bytes  # a window of the file, and PAD
    base: int  # where in the file the window begins
    start: Array  # int64: where in `data` the frame begins
    captured: Array  # int64, bytes that are there
    length: Array  # int64, bytes on the wire
    time: Array  # int64, nanoseconds since 1970, or NO_TIME
    point: Array  # int64, index of its Point, -1 where unknown
    trouble: Array  # uint8, index into TROUBLES
    direction: Array | None = None  # uint8: 0 unknown, 1 in, 2 out
    comments: dict[int, str] = field(default_factory=dict)  # by place in the batch

    def __len__(self) -> int:
        return len(self.start)


class Window:
    """A file, of which a piece is in memory: `data` begins at `base` in the file."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.data = PAD  # and PAD after it
        self.size = 0  # without PAD
        self.base = 0
        self.ended = False

    def move(self, at: int, need: int = 0) -> None:
        """Forget what is before `at` in the window, and read on: `need` bytes at least."""
        kept = self.data[at : self.size]
        self.base += at
        read = self.file.read(max(WINDOW, need - len(kept)))
        self.ended = not read
        self.data = b"".join((kept, read, PAD))
        self.size = len(kept) + len(read)


def nanoseconds(ticks: Array, unit: int, offset: int = 0) -> Array:
    """Turn uint64 counts of 1/unit seconds into int64 nanoseconds since 1970, else NO_TIME."""
    if unit >= 1 << 64:
        seconds, rest = np.zeros_like(ticks), np.zeros_like(ticks)
    else:
        seconds, rest = ticks // np.uint64(unit), ticks % np.uint64(unit)
        while unit > 1 << 34:  # else rest * 10^9 does not fit in 64 bits
            step = 10 if unit % 10 == 0 else 2
            unit, rest = unit // step, rest // np.uint64(step)
        rest = rest * np.uint64(10**9) // np.uint64(unit)
    whole = seconds.astype(np.float64) + offset
    fits = (np.abs(whole) < LAST_SECOND) & (seconds < LAST_SECOND * 4)
    total = (seconds.astype(np.int64) + np.int64(offset)) * 10**9 + rest.astype(np.int64)
    return np.where(fits, total, NO_TIME)


def batches(file: BinaryIO, points: list[Point]) -> Iterator[Batch]:
    """Read a capture; `points` gets each interface when it is described.

    Raises BadCapture where the bytes are no capture.
    """
    from osawslab.observe import pcapng

    window = Window(file)
    window.move(0)
    start = window.data[: min(4, window.size)]
    if start == pcapng.SECTION and window.size >= 28:
        yield from pcapng.blocks(window, points)
    elif start in MAGIC and window.size >= 24:
        yield from _records(window, points, *MAGIC[start])
    else:
        size = window.size
        begin = f"bytes that begin with {start.hex(' ')}"
        raise BadCapture(
            "these bytes are no capture",
            seen=f"{size} {begin}" if 0 < size < WINDOW else begin if size else "no bytes",
            next=CAPTURE_AGAIN,
        )


def _records(
    window: Window, points: list[Point], order: str, unit: int, size: int
) -> Iterator[Batch]:
    link = struct.unpack_from(order + "I", window.data, 20)[0] & 0xFFFF  # above: the FCS's length
    points.append(Point("", link, ticks=unit))
    kind = np.dtype([(name, order + "u4") for name in ("seconds", "rest", "captured", "length")])
    at, going, last = 24, True, NO_TIME
    while going:
        data = window.data
        chain = Chain(order, 8, size, _guess(data, order, unit, size, at))
        heads = chain.heads(data, at, window.size - size)
        head = header(data, heads, kind)
        captured = head["captured"].astype(np.int64)
        trouble = np.zeros(len(heads), np.uint8)
        ends = heads + size + captured
        if len(absurd := np.flatnonzero(captured > LONGEST)):
            stop = int(absurd[0])
            heads, captured, trouble = heads[: stop + 1], captured[: stop + 1], trouble[: stop + 1]
            ends = ends[: stop + 1]
            captured[stop], trouble[stop], going = 0, IMPOSSIBLE, False
        elif len(heads) and ends[-1] > window.size:
            if window.ended:
                captured[-1] = window.size - heads[-1] - size
                trouble[-1] = ENDS_IN_FRAME
            else:
                ends, heads, captured, trouble = ends[:-1], heads[:-1], captured[:-1], trouble[:-1]
        at = int(ends[-1]) if len(ends) else at
        head = head[: len(heads)]
        ticks = head["seconds"].astype(np.uint64) * np.uint64(unit) + head["rest"]
        batch = Batch(
            data,
            window.base,
            heads + size,
            captured,
            head["length"].astype(np.int64),
            nanoseconds(ticks, unit),
            np.zeros(len(heads), np.int64),
            trouble,
        )
        last = int(batch.time[-1]) if len(batch) else last
        yield batch
        if going and window.ended:
            going = False
            if at < window.size:
                yield ending(window, at, last, 0, ENDS_IN_HEADER)
        elif going:
            window.move(at)
            at = 0


def _guess(
    data: bytes, order: str, unit: int, size: int, at: int
) -> Callable[[bytes, int, int], int]:
    """Tell records by what their headers have in common with the one at `at`: the hour, about."""
    head = struct.Struct(order + "IIII").unpack_from
    place = 0 if order == ">" else 2
    hour = data[at + place : at + place + 2]

    def guess(data: bytes, begin: int, end: int) -> int:
        found = begin - 1
        for _ in range(TRIES):
            found = data.find(hour, found + 1 + place, end + place + 1) - place
            if found < begin:
                break
            _, rest, captured, length = head(data, found)
            after = found + size + captured
            if (
                rest < unit
                and captured <= min(length, LONGEST)
                and (data.startswith(hour, after + place) or after > len(data) - 2 * size)
            ):
                return found
        return end

    return guess


def ending(window: Window, at: int, time: int, point: int, trouble: int) -> Batch:
    """Make the row that says why the capture ends where it does; what is left are its bytes."""
    left = min(window.size - at, LONGEST)
    start, captured, length, when, where = (
        np.array([each], np.int64) for each in (at, left, 0, time, point)
    )
    wrong = np.array([trouble], np.uint8)
    return Batch(window.data, window.base, start, captured, length, when, where, wrong)
