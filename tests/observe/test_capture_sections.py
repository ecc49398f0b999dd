"""Hold pcapng files of many sections, and what is written of odd frames, against made blocks."""

from __future__ import annotations

import struct
from io import BytesIO
from pathlib import Path
from typing import NoReturn

import pytest
from captures import ECHO, ipv4

from osawslab.observe import pcapng
from osawslab.observe.capture import load_capture
from osawslab.observe.container import Point, batches
from osawslab.observe.layers import decode
from osawslab.observe.live import Catch, Spot
from osawslab.observe.packets import Known
from osawslab.observe.ring import Seen

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


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (section() + packet() + packet(point=7), "of an interface that the capture does not"),
        (section() + packet() + packet()[:40], "the capture ends inside a block"),
        (
            struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1)
            + struct.pack("<IIII", 1, 0, len(FRAME), len(FRAME))
            + FRAME
            + bytes(9),
            "the capture ends inside a record's header",
        ),
    ],
)
def test_what_is_no_frame_is_not_saved_as_one(data: bytes, says: str, tmp_path: Path) -> None:
    first = load_capture(data)
    again = load_capture(first.save(tmp_path / "seen.pcapng"))
    assert again.columns["says"].texts()[1] == "link type 147"
    assert again.columns["comment"].texts()[1].startswith(says)
    assert again.columns["says"].texts()[0] == first.columns["says"].texts()[0]
    assert again.raw(1) == first.raw(1)
    assert [point.link for point in again.points] == [1, 147]


def test_verdicts_and_comments_survive_saving(tmp_path: Path) -> None:
    said = b"".join(struct.pack("<HH", 1, 65532) + each * 65532 for each in (b"a", b"b"))
    numbers = struct.pack("<IIIII", 0, 0, 0, len(FRAME), len(FRAME))
    frame = FRAME + bytes(-len(FRAME) % 4)
    data = section() + block(6, numbers + frame + said + bytes(4)) + packet()
    first = load_capture(data).judged(["dropped:\nmac\r\nunknown", "é" * 40_000])
    assert first.columns["verdict"].texts()[0] == "dropped: mac unknown"
    again = load_capture(first.save(tmp_path / "seen.pcapng"))
    assert again.columns["comment"].texts() == first.columns["comment"].texts()
    assert again.columns["verdict"].texts() == ["dropped: mac unknown", "é" * 32_763]


def test_names_of_a_file_do_nothing_to_a_terminal() -> None:
    data = section(name=b"a\x1b[2J") + packet() + section(name="b\né".encode()) + packet()
    shown = repr(load_capture(data).judged(["\x1b[1m", ""]))
    assert "\x1b" not in shown
    assert len(shown.splitlines()) == 4
    assert all(each in shown for each in (r"a\x1b[2J", r"b\né", r"\x1b[1m"))


def test_saving_moves_no_times(tmp_path: Path) -> None:
    head = block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1))
    old = block(1, struct.pack("<HHIHHqI", 1, 0, 0, 14, 8, -86_401, 0))
    simple = block(3, struct.pack("<I", len(FRAME)) + FRAME)
    first = load_capture(head + old + packet() + simple + section() + packet())
    again = load_capture(first.save(tmp_path / "seen.pcapng"))
    assert again.columns["time"].values.tolist() == [-86_401 * 10**9, -(1 << 63), 0]
    assert again.columns["comment"].texts() == [""] * 3


def test_a_section_with_an_interface_for_each_frame_is_read_clock_by_clock(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file, asked = BytesIO(), []
    count = 500
    pcapng.begin(file, [Point(f"tap{n}", 1) for n in range(count)])
    for n in range(count):
        pcapng.write(file, ipv4(1, ECHO), point=n, time=n, length=42)
    real = pcapng.nanoseconds
    monkeypatch.setattr(pcapng, "nanoseconds", lambda *words: asked.append(1) or real(*words))
    frame = load_capture(file.getvalue()).frame
    assert len(asked) == 1
    assert frame["point"].tolist() == [f"tap{n}" for n in range(count)]
    assert [each.value for each in frame["time"]] == list(range(count))


def statistics(order: str, point: int, *told: tuple[int, int]) -> bytes:
    """Say what an interface counted: pairs of an option's number and its count."""
    options = b"".join(struct.pack(order + "HHQ", code, 8, count) for code, count in told)
    return block(5, struct.pack(order + "III", point, 0, 7) + options + bytes(4), order)


@pytest.mark.parametrize("order", ["<", ">"])
def test_what_was_lost_is_read_and_survives_saving(order: str, tmp_path: Path) -> None:
    data = section(order) + packet(order=order) + statistics(order, 0, (4, 99), (7, 3))
    data += statistics(order, 0, (5, 2), (7, 1200))  # the later one counts: both began at 0
    data += section(order, name=b"qg-1") + packet(order=order) + statistics(order, 7, (7, 1))
    first = load_capture(data + statistics(order, 0, (7, 0)), caption="Captured")
    assert first.lost == {"eth1": 1202}
    assert first.caption == "Captured; frames lost: 1,202 at eth1"
    again = load_capture(first.save(tmp_path / "seen.pcapng"))
    assert again.lost == first.lost
    assert again.take([0]).lost == first.lost
    assert len(again) == 2


def test_what_a_capture_of_a_lab_lost_is_saved(tmp_path: Path) -> None:
    spots = (Spot("router gateway", "", "qg-1", 3, "out"), Spot("VPC", "", "p-1", 6, "in"),
             Spot("VPC drops", "", "nflog:5", 7, "in", hidden=True))  # fmt: skip
    seen = Seen(5, 1, 1, len(FRAME), FRAME, "")
    made = Catch(spots, {}, [seen], {"VPC": 1 << 65, "VPC drops": 4}).capture({})
    again = load_capture(made.save(tmp_path / "seen.pcapng"))
    assert again.lost == {"VPC": (1 << 64) - 1}


def test_statistics_that_cannot_be_read_are_passed_over() -> None:
    broken = block(5, b"") + block(5, bytes(12)) + block(5, bytes(12) + b"\7\0\4\0" + bytes(8))
    made = load_capture(section() + packet() + broken + packet())
    assert len(made) == 2
    assert made.lost == {}
