"""pcapng: sections of blocks, read into batches and written (draft-ietf-opsawg-pcapng).

Each section has its own byte order and its own interfaces, whose names say where a frame was
seen, and what it has lost. Blocks that tell of neither frames nor interfaces are passed over.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import BinaryIO

import numpy as np

from osawslab.observe.container import (
    ENDS_IN_BLOCK,
    FOREIGN,
    IMPOSSIBLE,
    LONGEST,
    NO_TIME,
    NOWHERE,
    OVERLONG,
    Array,
    Batch,
    Point,
    Window,
    ending,
    fields,
    nanoseconds,
)

SECTION = b"\x0a\x0d\x0d\x0a"  # the same in both byte orders
INTERFACE, OLD_PACKET, SIMPLE_PACKET, STATISTICS, PACKET = 1, 2, 3, 5, 6
ORDERS = {b"\x4d\x3c\x2b\x1a": "<", b"\x1a\x2b\x3c\x4d": ">"}
VERSIONS = ((1, 0), (1, 2))  # major, minor; the latter is the same, of some writers
NOBODY = Point("", 0xFFFF)  # the interface of frames whose interface is not described
LARGEST = 16 << 20  # bytes of a block, as in Wireshark's pcapng.c
HEAD = 28  # bytes of a packet's block before its frame
COMMENT, FLAGS = 1, 2  # options of a packet
VERDICT = "verdict: "  # what a comment with a verdict begins with
UNTIMED = "the time is unknown"  # a comment of ours: a packet's block must have some time
NAME, DESCRIPTION, RESOLUTION, OFFSET = 2, 3, 9, 14  # options of an interface
BY_INTERFACE, BY_SYSTEM = (
    5,
    7,
)  # isb_ifdrop, isb_osdrop: what its statistics say was lost, and where


def blocks(window: Window, points: list[Point]) -> Iterator[Batch]:
    """Read every block of a file; `points` gets the interfaces of all sections in order."""
    order, at, first = "<", 0, 0  # `first`: the place of this section's interface 0
    found: list[tuple[int, int]] = []  # place and kind of blocks with frames, of one section
    head = struct.Struct(order + "II").unpack_from
    while True:
        size = window.size
        kind, total = head(window.data, at) if at + 8 <= size else (0, 12)
        if kind == 0x0A0D0D0A and at + 12 <= size:
            if found:
                yield _frames(window, found, points, first, order)
                found = []
            order = ORDERS.get(window.data[at + 8 : at + 12], "")
            head = struct.Struct((order or "<") + "II").unpack_from
            _, total = head(window.data, at)
            first = len(points)
        elif kind == 0x0A0D0D0A:
            total = 12  # its length is in its own byte order, which comes after it
        wrong = IMPOSSIBLE if not order or total < 12 or total % 4 or total > LARGEST else 0
        if kind == 0x0A0D0D0A and not wrong and at + 16 <= size:
            version = struct.unpack_from(order + "HH", window.data, at + 12)
            wrong = 0 if version in VERSIONS else FOREIGN
        if wrong or at + 12 > size or at + total > size:
            if found:
                yield _frames(window, found, points, first, order)
                found = []
            if wrong or (window.ended and at < size):
                yield ending(window, at, NO_TIME, -1, wrong or ENDS_IN_BLOCK)
                return
            if window.ended:
                return
            window.move(at, total)
            at = 0
            continue
        if kind == PACKET or kind in (OLD_PACKET, SIMPLE_PACKET):
            found.append((at, kind))
        elif kind == INTERFACE:
            points.append(_interface(window.data[at : at + total], order, len(points) - first))
        elif kind == STATISTICS:
            _statistics(window.data[at : at + total], order, points, first)
        at += total


def _interface(block: bytes, order: str, number: int) -> Point:
    """Read what an interface is called, its link type and its clock."""
    if len(block) < 20:
        return Point(f"interface {number}", 0xFFFF)
    link, _, snaplen = struct.unpack_from(order + "HHI", block, 8)
    told = dict(reversed(list(_options(block, 16, len(block) - 4, order))))  # the first counts
    name = told.get(NAME) or told.get(DESCRIPTION) or b""
    unit, offset = told.get(RESOLUTION, b"\x06"), told.get(OFFSET, bytes(8))
    power = unit[0] if unit else 6
    return Point(
        name.rstrip(b"\0").decode(errors="replace") or f"interface {number}",
        link,
        snaplen,
        2 ** (power & 0x7F) if power & 0x80 else 10**power,
        struct.unpack(order + "q", offset)[0] if len(offset) == 8 else 0,
    )


def _statistics(block: bytes, order: str, points: list[Point], first: int) -> None:
    """Read how many frames an interface has lost; they are counted from its beginning."""
    if len(block) < 24:
        return
    number = first + int(struct.unpack_from(order + "I", block, 8)[0])
    told = dict(_options(block, 20, len(block) - 4, order))
    counts = [told[each] for each in (BY_INTERFACE, BY_SYSTEM) if len(told.get(each, b"")) == 8]
    if counts and number < len(points):
        lost = sum(struct.unpack(order + "Q", each)[0] for each in counts)
        points[number] = replace(points[number], lost=lost)


def _options(data: bytes, at: int, end: int, order: str) -> Iterator[tuple[int, bytes]]:
    """Read options up to the end mark, or to where they no longer fit."""
    while at + 4 <= end:
        code, size = struct.unpack_from(order + "HH", data, at)
        at += 4
        if code == 0 or at + size > end:
            return
        yield code, data[at : at + size]
        at += size + -size % 4


def _frames(
    window: Window, found: list[tuple[int, int]], points: list[Point], first: int, order: str
) -> Batch:
    """Find the frames in blocks; all numbers are those of the section's byte order."""
    data = window.data
    at, kind = np.array(found, np.int64).T
    short, number = fields(data, order + "u2"), fields(data, order + "u4")
    total = number[at + 4].astype(np.int64)
    simple, old = kind == SIMPLE_PACKET, kind == OLD_PACKET
    point = np.where(old, short[at + 8], np.where(simple, 0, number[at + 8])).astype(np.int64)
    length = np.where(simple, number[at + 8], number[at + 24]).astype(np.int64)
    start = at + np.where(simple, 12, HEAD)
    room = np.maximum(total - np.where(simple, 16, HEAD + 4), 0)
    known = point < len(points) - first
    # Only the interfaces of these frames: a section may describe one for each frame.
    places, of = np.unique(np.where(known, point, -1), return_inverse=True)
    described = [points[first + each] if each >= 0 else NOBODY for each in places.tolist()]
    limit = np.array([each.snaplen or LONGEST for each in described])[of]
    captured = np.where(simple, np.minimum(length, np.minimum(limit, room)), number[at + 20])
    captured = captured.astype(np.int64)
    trouble = np.where(captured > room, OVERLONG, 0).astype(np.uint8)
    trouble[~known] = NOWHERE
    start, captured = np.minimum(start, window.size), np.minimum(captured, room)
    time = np.full(len(at), NO_TIME)
    ticks = number[at + 12].astype(np.uint64) << np.uint64(32) | number[at + 16]
    clocks = [(each.ticks, each.offset) for each in described]
    distinct = {clock: number for number, clock in enumerate(dict.fromkeys(clocks))}
    clock = np.array([distinct[each] for each in clocks])[of]
    for (unit, offset), each in distinct.items():
        timed = (clock == each) & ~simple
        time[timed] = nanoseconds(ticks[timed], unit, offset)
    batch = Batch(
        data, window.base, start, captured, length, time, np.where(known, point + first, -1),
        trouble, np.zeros(len(at), np.uint8),
    )  # fmt: skip
    _tell(batch, np.where(simple, at + total, start + captured + -captured % 4), at + total, order)
    return batch


def _tell(batch: Batch, at: Array, end: Array, order: str) -> None:
    """Read direction and comment from the options between the frames' ends and their blocks'."""
    assert batch.direction is not None
    number = fields(batch.data, order + "u4")
    told = np.flatnonzero(end - 4 - at >= 4)
    plain = number[at[told]] == ((FLAGS << 16 | 4) if order == ">" else (4 << 16 | FLAGS))
    plain &= end[told] - 4 - at[told] >= 8
    flags = told[plain]
    batch.direction[flags] = number[at[flags] + 4] & 3
    done = (end[flags] - 4 - at[flags] == 8) | (number[at[flags] + 8] == 0)
    for row in np.concatenate((told[~plain], flags[~done])).tolist():
        said = []
        for code, value in _options(batch.data, int(at[row]), int(end[row]) - 4, order):
            if code == COMMENT and value == UNTIMED.encode():
                batch.time[row] = NO_TIME
            elif code == COMMENT:
                said.append(value.rstrip(b"\0").decode(errors="replace"))
            elif code == FLAGS and len(value) == 4:
                batch.direction[row] = struct.unpack(order + "I", value)[0] & 3
        if said:
            batch.comments[row] = "\n".join(said)


def _option(code: int, value: bytes) -> bytes:
    return struct.pack("<HH", code, len(value)) + value + bytes(-len(value) % 4)


def _block(kind: int, body: bytes) -> bytes:
    total = struct.pack("<I", 12 + len(body))
    return struct.pack("<I", kind) + total + body + total


def begin(file: BinaryIO, points: list[Point], offset: int = 0) -> None:
    """Write a section's header and its interfaces: clocks count nanoseconds after `offset` s."""
    clock = _option(RESOLUTION, b"\x09")
    clock += _option(OFFSET, struct.pack("<q", offset)) if offset else b""
    file.write(_block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1)))
    for point in points:
        name = _option(NAME, point.name.encode()[:65535]) if point.name else b""
        body = struct.pack("<HHI", point.link, 0, point.snaplen) + name
        file.write(_block(INTERFACE, body + clock + _option(0, b"")))


def lost(file: BinaryIO, point: int, time: int, count: int) -> None:
    """Write that the host lost so many frames at a point: an interface's statistics, isb_osdrop."""
    head = struct.pack("<III", point, time >> 32, time & 0xFFFFFFFF)
    told = _option(BY_SYSTEM, struct.pack("<Q", min(count, (1 << 64) - 1)))
    file.write(_block(STATISTICS, head + told + _option(0, b"")))


def write(
    file: BinaryIO,
    frame: bytes,
    *,
    point: int,
    time: int,
    length: int,
    direction: int = 0,
    comments: Iterable[str] = (),
) -> None:
    """Write a frame: its point's number, nanoseconds of its clock, its length on the wire."""
    head = struct.pack("<IIIII", point, time >> 32, time & 0xFFFFFFFF, len(frame), length)
    options = b"".join(_option(COMMENT, _clipped(each)) for each in comments)
    options += _option(FLAGS, struct.pack("<I", direction)) if direction else b""
    body = head + frame + bytes(-len(frame) % 4) + options + (_option(0, b"") if options else b"")
    file.write(_block(PACKET, body))


def _clipped(text: str) -> bytes:
    """Give what fits into an option, in whole characters."""
    return text.encode()[:65535].decode(errors="ignore").encode()


def words(verdict: str, comment: str) -> list[str]:
    """Turn a verdict and a comment into a packet's comments; a long one goes line by line.

    >>> parts("\\n".join(words("dropped: mac", "look here")))
    ('dropped: mac', 'look here')
    """
    lines = [comment] if len(comment.encode()) <= 65535 else comment.split("\n")
    return [*([f"{VERDICT}{verdict}"] if verdict else []), *(lines if comment else [])]


def parts(comment: str) -> tuple[str, str]:
    """Take a comment apart into verdict and comment."""
    first, _, rest = comment.partition("\n")
    return (first.removeprefix(VERDICT), rest) if first.startswith(VERDICT) else ("", comment)
