"""Hold pcapng files of many sections, and what is written of odd frames, against made blocks."""

from __future__ import annotations

import struct
from io import BytesIO
from typing import NoReturn

import pytest

from osawslab.observe.capture import load_capture
from osawslab.observe.container import Point, batches
from osawslab.observe.layers import decode
from osawslab.observe.packets import Known

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


class Looked(list[Point]):
    """Points that nobody may go through for each batch."""

    def __iter__(self) -> NoReturn:
        raise AssertionError("all points were looked at for one batch")


def test_a_section_costs_nothing_of_the_others() -> None:
    points = Looked()
    read = list(batches(BytesIO((section() + packet()) * 5), points))
    assert len(read) == len(points) == 5
    assert len({id(batch.data) for batch in read}) == 1
    assert [decode(batch, points, Known()).count for batch in read] == [1] * 5


def test_a_window_may_end_where_the_byte_order_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    data = section() + packet() + section(">") + packet(order=">")
    for window in range(28, len(data)):
        monkeypatch.setattr("osawslab.observe.container.WINDOW", window)
        assert load_capture(data).columns["broken"].values.tolist() == [False, False], window
