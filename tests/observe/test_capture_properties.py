"""Frames that are built are read back; bytes that nobody built are rows or our own error."""

from __future__ import annotations

import base64
import contextlib
import random
import struct
import tempfile
import time
import tracemalloc
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from osawslab.errors import BadCapture
from osawslab.observe.capture import Capture, load_capture
from osawslab.observe.container import MAGIC
from osawslab.observe.pcapng import SECTION

MACS = st.binary(min_size=6, max_size=6)
WORDS, BYTES = st.integers(0, 0xFFFF), st.binary(max_size=80)
NUMBERS = st.integers(0, 0xFFFFFFFF)
PATIENCE = settings(deadline=None, max_examples=60)


@st.composite
def frames(draw: Any) -> tuple[bytes, dict[str, Any]]:
    """Build a frame and what its row must say."""
    src, dst, tag = draw(MACS), draw(MACS), draw(st.none() | st.integers(0, 4095))
    row: dict[str, Any] = {"src_mac": src.hex(":"), "dst_mac": dst.hex(":"), "vlan": tag}
    kind = draw(st.sampled_from(("ARP", "ICMP", "TCP", "UDP", "IPv6", "other")))
    payload, sender, target = draw(BYTES), draw(NUMBERS), draw(NUMBERS)
    row |= {"protocol": kind, "broken": False}
    ends = {"src": str(IPv4Address(sender)), "dst": str(IPv4Address(target))}
    if kind == "ARP":
        operation, said, asked = draw(WORDS), draw(MACS), draw(MACS)
        body = struct.pack("!HHBBH6sI6sI", 1, 0x800, 6, 4, operation, said, sender, asked, target)
        row |= {"arp_operation": operation, "arp_src_mac": said.hex(":"), **ends}
        row |= {"arp_dst_mac": asked.hex(":"), "sport": None}
        ethertype = 0x0806
    elif kind == "IPv6":
        a, b = draw(st.binary(min_size=16, max_size=16)), draw(st.binary(min_size=16, max_size=16))
        body = struct.pack("!IHBB", 6 << 28, len(payload), 59, 7) + a + b + payload
        row |= {"src": str(IPv6Address(a)), "dst": str(IPv6Address(b)), "ttl": 7}
        row |= {"ip_protocol": 59, "says": "next header 59"}
        ethertype = 0x86DD
    elif kind == "other":
        body, ethertype = payload, 0x88B5
        row |= {"data": payload[:64] or None, "says": "EtherType 0x88b5", "src": None}
    else:
        one, two, seq, ack = draw(WORDS), draw(WORDS), draw(NUMBERS), draw(NUMBERS)
        if kind == "ICMP":
            inner = struct.pack("!BBHHH", 8, 0, 0, one, two) + payload
            row |= {"ident": one, "seq": two, "icmp_type": 8, "says": "echo request"}
        elif kind == "TCP":
            flags = draw(st.integers(0, 255))
            inner = struct.pack("!HHIIBBHHH", one, two, seq, ack, 0x50, flags, one, 0, 0) + payload
            row |= {"sport": one, "dport": two, "seq": seq, "ack": ack, "flags": flags}
            row |= {"payload": len(payload), "window": one}
        else:
            two = 9 if two == 4789 else two
            inner = struct.pack("!HHHH", one, two, 8 + len(payload), 0) + payload
            row |= {"sport": one, "dport": two, "payload": len(payload), "vni": None}
        number = {"ICMP": 1, "TCP": 6, "UDP": 17}[kind]
        head = struct.pack("!BBHHHBB", 0x45, 0, 20 + len(inner), one, 0x4000, 64, number)
        body = head + b"\0\0" + struct.pack("!II", sender, target) + inner
        row |= {**ends, "ip_id": one, "ttl": 64, "ip_protocol": number, "fragment": 0}
        ethertype = 0x0800
    if tag and "says" in row:
        row["says"] += f" (VLAN {tag})"
    tags = b"" if tag is None else struct.pack("!HH", 0x8100, tag)
    whole = dst + src + tags + struct.pack("!H", ethertype) + body
    return whole, row | {"ethertype": ethertype, "length": len(whole), "captured": len(whole)}


def classic(magic: bytes, data: list[bytes]) -> tuple[bytes, int]:
    order, ticks, size = MAGIC[magic]
    out = [magic, struct.pack(order + "HHiIII", 2, 4, 0, 0, 262144, 1)]
    for row, each in enumerate(data):
        head = struct.pack(order + "IIII", 1_700_000_000 + row, row, len(each), len(each))
        out += [head, bytes(size - 16), each]
    return b"".join(out), 10**9 // ticks


def sections(orders: list[str], data: list[bytes]) -> bytes:
    """Write pcapng: all frames in each of some sections, at two interfaces in turns."""

    def block(order: str, kind: int, body: bytes) -> bytes:
        body += bytes(-len(body) % 4)
        total = struct.pack(order + "I", len(body) + 12)
        return struct.pack(order + "I", kind) + total + body + total

    out = []
    for number, order in enumerate(orders):
        out.append(block(order, 0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1)))
        for name in ("eth1", "qg-1"):
            text = f"{name}.{number}".encode()
            options = struct.pack(order + "HH", 2, len(text)) + text + bytes(-len(text) % 4)
            options += struct.pack(order + "HHBxxx", 9, 1, 9)
            out.append(block(order, 1, struct.pack(order + "HHI", 1, 0, 0) + options))
        out.append(block(order, 0x0BAD, b"passed over"))
        for row, each in enumerate(data):
            when = (1_700_000_000 * 10**9) + row
            head = struct.pack(order + "IIIII", row % 2, when >> 32, when & 0xFFFFFFFF,
                               len(each), len(each))  # fmt: skip
            flags = struct.pack(order + "HHIHH", 2, 4, 2, 0, 0)
            out.append(block(order, 6, head + each + bytes(-len(each) % 4) + flags))
    return b"".join(out)


def row_of(capture: Capture, row: int) -> dict[str, Any]:
    told: dict[str, Any] = {}
    for name, column in capture.columns.items():
        value = column.values[row]
        if column.words is not None:
            value = column.words[value] if value >= 0 else None
        elif column.missing is not None and column.missing[row]:
            value = None
        told[name] = value
    return told


def held(capture: Capture, row: int, wanted: dict[str, Any]) -> None:
    told = row_of(capture, row)
    assert {name: told[name] for name in wanted} == wanted


@PATIENCE
@given(built=st.lists(frames(), max_size=12), magic=st.sampled_from(sorted(MAGIC)))
def test_what_was_built_is_read_back(
    built: list[tuple[bytes, dict[str, Any]]], magic: bytes
) -> None:
    data, unit = classic(magic, [each for each, _ in built])
    capture = load_capture(data)
    assert len(capture) == len(built)
    for row, (whole, wanted) in enumerate(built):
        when = (1_700_000_000 + row) * 10**9 + row * unit
        held(capture, row, wanted | {"time": when, "point": None})
        assert capture.raw(row) == whole


@PATIENCE
@given(built=st.lists(frames(), max_size=8), orders=st.lists(st.sampled_from("<>"), min_size=1))
def test_sections_have_their_own_order_and_interfaces(
    built: list[tuple[bytes, dict[str, Any]]], orders: list[str]
) -> None:
    capture = load_capture(sections(orders, [each for each, _ in built]))
    names = [f"{name}.{number}" for number in range(len(orders)) for name in ("eth1", "qg-1")]
    assert [point.name for point in capture.points] == names
    assert len(capture) == len(built) * len(orders)
    for place in range(len(capture)):
        number, row = divmod(place, len(built))
        point = names[number * 2 + row % 2]
        when = 1_700_000_000 * 10**9 + row
        held(capture, place, built[row][1] | {"point": point, "time": when, "direction": "out"})


@PATIENCE
@given(frame=frames(), size=st.integers(0, 120))
def test_what_is_cut_is_a_row_and_never_an_invention(
    frame: tuple[bytes, dict[str, Any]], size: int
) -> None:
    whole, wanted = frame
    cut = whole[:size]
    head = struct.pack("<IIII", 1, 1, len(cut), len(whole))
    data, _ = classic(b"\xd4\xc3\xb2\xa1", [])
    told = row_of(load_capture(data + head + cut), 0)
    assert told["length"] == len(whole)
    for name, value in wanted.items():
        if told[name] is not None and name not in (
            "captured",
            "broken",
            "protocol",
            "says",
            "data",
        ):
            assert told[name] == value, name
    if told["broken"]:
        assert told["says"].startswith("cut off in the ")


RECORDED = base64.b64decode(
    "1MOyoQIABAAAAAAAAAAAAAAABAABAAAA8MMCa5apBwAqAAAAKgAAAP///////wKqAAAAAQgGAAEIAAYEAAECqgAAAAGsEBRl"
    "AAAAAAAArBAUAfDDAmvMqQcAKgAAACoAAAACqgAAAAECuwAAAAEIBgABCAAGBAACArsAAAABrBAUAQKqAAAAAawQFGU="
)  # two frames of ARP, as tcpdump wrote them


def seeds() -> list[bytes]:
    arp = RECORDED[40:82]
    vxlan = bytes.fromhex(
        "0800450000320000000040110000 0a000001 0a000002 1388 12b5 0000 0000 08000000 00002a00"
    )
    inside = arp[:12] + vxlan + arp
    whole = [
        arp,
        inside,
        b"\x02" * 12 + b"\x81\x00\x00\x05\x86\xdd\x60" + bytes(5) + b"\x3a" + bytes(40),
    ]
    links = [
        struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, link)
        for link in (0, 101, 113, 276, 9)
    ]
    record = struct.pack("<IIII", 1, 2, len(inside), len(inside)) + inside
    return [RECORDED, *(classic(magic, whole)[0] for magic in MAGIC), sections(["<", ">"], whole),
            *(link + record * 3 for link in links)]  # fmt: skip


def rows_or_our_error(data: bytes) -> None:
    """Hold what may come of any bytes: rows, or BadCapture; in bounded time and memory."""
    try:
        capture = load_capture(data)
    except BadCapture:
        return
    assert len(capture) <= len(data) // 12 + 1
    for name, column in capture.columns.items():
        assert len(column.values) == len(capture), name
    assert (capture.columns["captured"].values <= len(data)).all()
    assert repr(capture)
    assert len(capture.frame) == len(capture)
    with tempfile.TemporaryDirectory() as folder:
        again = load_capture(capture.save(f"{folder}/seen.pcapng"))
    assert len(again) == len(capture)
    for name in ("time", "length", "captured", "direction", "verdict"):
        assert again.columns[name].values.tolist() == capture.columns[name].values.tolist(), name
    for row in range(min(3, len(capture))):
        assert len(capture.raw(row)) == row_of(capture, row)["captured"]
        assert capture.stills[row].picture.svg
        assert repr(capture.stills[row])


def drawn_or_our_error(data: bytes) -> None:
    """Hold its plots, which take their time."""
    for name in ("sequence", "round_trips", "drops"):
        with contextlib.suppress(BadCapture):
            assert getattr(load_capture(data).plot, name)()._repr_png_()


@settings(deadline=2000, max_examples=150)
@given(start=st.sampled_from([*MAGIC, SECTION, b""]), rest=st.binary(max_size=400))
def test_any_bytes(start: bytes, rest: bytes) -> None:
    rows_or_our_error(start + rest)


@pytest.mark.parametrize("seed", range(8))
def test_mutated_captures(seed: int) -> None:
    random_, kinds = random.Random(seed), seeds()
    began = time.monotonic()
    for _ in range(60):
        data = bytearray(random_.choice(kinds))
        for _ in range(random_.choice((1, 2, 8, 40))):
            at = random_.randrange(len(data))
            match random_.randrange(4):
                case 0:
                    data[at] ^= 1 << random_.randrange(8)
                case 1:
                    data[at] = random_.choice((0, 1, 127, 128, 255))
                case 2:  # an absurd length
                    data[at : at + 4] = random_.choice((b"\xff" * 4, b"\x00" * 4, b"\x7f" * 4))
                case 3:
                    data[at:at] = data[random_.randrange(len(data)) :][: random_.randrange(60)]
        rows_or_our_error(
            bytes(data[: random_.choice((len(data), random_.randrange(len(data)))) + 1])
        )
    drawn_or_our_error(bytes(data))
    assert time.monotonic() - began < 60


@pytest.mark.parametrize("data", [
    RECORDED[:24] + struct.pack("<IIII", 1, 1, 0xFFFFFFFF, 0xFFFFFFFF) + bytes(100),
    RECORDED[:24] + struct.pack("<IIII", 1, 1, 0x7FFFFFFF, 60) + bytes(100),
    sections(["<"], []) + struct.pack("<II", 6, 0xFFFFFFFC) + bytes(100),
    sections(["<"], []) + struct.pack("<IIIIIII", 6, 32, 0, 0, 0, 0xFFFFFFF0, 60) + bytes(4),
    sections([">"], []) + struct.pack(">II", 6, 8) + bytes(100),
    RECORDED[:24] + bytes(40_000),
], ids=["longest", "long", "block", "frame", "short", "zeros"])  # fmt: skip
def test_absurd_lengths_take_no_memory(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "absurd"
    path.write_bytes(data)
    tracemalloc.start()
    try:
        rows_or_our_error(data)
        load_capture(path)
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()
