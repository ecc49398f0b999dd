"""Hold pcapng files of many sections, and what is written of odd frames, against made blocks."""

from __future__ import annotations

import struct
import time

from osawslab.observe.capture import load_capture

FRAME = bytes.fromhex("02bb0000000102aa0000000108060001080006040002" + "02aa00000001ac101465" * 2)


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    body += bytes(-len(body) % 4)
    total = struct.pack(order + "I", 12 + len(body))
    return struct.pack(order + "I", kind) + total + body + total


def section(order: str = "<", link: int = 1, name: bytes = b"eth1") -> bytes:
    head = block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1), order)
    called = struct.pack(order + "HH", 2, len(name)) + name + bytes(-len(name) % 4) + bytes(4)
    return head + block(1, struct.pack(order + "HHI", link, 0, 0) + called, order)


def packet(frame: bytes = FRAME, order: str = "<", point: int = 0, length: int = 0) -> bytes:
    numbers = (point, 0, 0, len(frame), length or len(frame))
    return block(6, struct.pack(order + "IIIII", *numbers) + frame, order)


def spent(data: bytes) -> float:
    """Give the seconds of this process that reading takes, the least of three."""
    took = []
    for _ in range(3):
        begin = time.process_time()
        load_capture(data)
        took.append(time.process_time() - begin)
    return min(took)


def test_time_grows_with_sections_not_with_their_square() -> None:
    few, many = (spent((section() + packet()) * count) for count in (2_000, 16_000))
    assert many < few * 24  # eight times as many; their square is 64 times as much
