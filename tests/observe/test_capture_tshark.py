"""Hold every column against tshark's, field by field: on recordings, samples, and frames made here.

The samples are those of Debian's golang-github-google-gopacket-dev: pcap of Ethernet and
loopback, and the collection of pcapng files in both byte orders.
"""

from __future__ import annotations

import os
import random
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from oracle import INSTALL, differences, tshark

from osawslab.errors import BadCapture
from osawslab.observe.capture import load_capture

SAMPLES = Path("/usr/share/gocode/src/github.com/google/gopacket")


def samples() -> Iterator[Path]:
    yield from sorted(path for path in SAMPLES.rglob("*.pcap*") if path.stat().st_size)


def made(order: str) -> bytes:
    """Make a capture of what the samples lack: ARP, VLANs, TCP, VXLAN, fragments, cuts."""
    random_ = random.Random(order)
    out = [struct.pack(order + "IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 262144, 1)]

    def ip(number: int, payload: bytes, options: bytes = b"", fragment: int = 0) -> bytes:
        size = 20 + len(options)
        ends = random_.randbytes(3) + b"\1" + random_.randbytes(3) + b"\1"
        ends = b"\x0a" + ends[:3] + b"\x0a" + ends[4:7]  # 10.0.0.0/8: no group, no loopback
        head = struct.pack(
            "!BBHHHBBH",
            0x40 | size // 4,
            0,
            size + len(payload),
            random_.randrange(65536),
            fragment,
            random_.randrange(1, 255),
            number,
            0,
        )
        return b"\x08\x00" + head + ends + options + payload

    def tcp(flags: int, payload: bytes) -> bytes:
        numbers = random_.randbytes(8)
        ports = struct.pack("!HH", random_.randrange(40000, 60000), random_.choice((7000, 50001)))
        return ports + numbers + struct.pack("!BBHHH", 0x50, flags, 99, 0, 0) + payload

    def udp(port: int, payload: bytes) -> bytes:
        return (
            struct.pack("!HHHH", random_.randrange(40000, 60000), port, 8 + len(payload), 0)
            + payload
        )

    def ethernet(payload: bytes) -> bytes:
        return b"\x02" + random_.randbytes(5) + b"\x0e" + random_.randbytes(5) + payload

    def arp(operation: int) -> bytes:
        said = random_.randbytes(5)
        return (
            b"\x08\x06"
            + bytes.fromhex("000108000604")
            + struct.pack("!H", operation)
            + b"\x02"
            + said
            + b"\x0a\0\0"
            + said[:1]
            + b"\x02"
            + said
            + b"\x0a\1\0"
            + said[1:2]
        )

    for _ in range(20):
        noise = random_.randbytes(random_.randrange(40))
        for frame in (
            arp(1),
            arp(2),
            ip(6, tcp(2, b"")),
            ip(6, tcp(0x18, noise)),
            ip(6, tcp(0x11, b"")),
            ip(17, udp(50002, noise)),
            ip(1, struct.pack("!BBHHH", 8, 0, 0, 7, 9) + noise),
            ip(1, struct.pack("!BBHHH", 0, 0, 0, 7, 9) + noise, options=b"\1" * 8),
            ip(17, noise, fragment=185),
            b"\x81\x00\x00\x2a" + ip(6, tcp(0x10, b"")),
            b"\x88\xa8\x00\x07\x81\x00\x00\x05" + arp(1),
            b"\x88\xb5" + noise,
            *(
                ip(17, udp(4789, b"\x08\0\0\0\0\x01\x02\0" + ethernet(inside)))
                for inside in (
                    b"\x88\xb5" + noise,
                    arp(2),
                    ip(6, tcp(0x12, noise)),
                    ip(17, udp(50003, noise)),
                    b"\x81\x00\x00\x09" + ip(1, struct.pack("!BBHHH", 8, 0, 0, 7, 9) + noise),
                )
            ),
        ):
            whole = ethernet(frame)
            cut = random_.choice((len(whole), len(whole), random_.randrange(len(whole))))
            when = random_.randrange(1, 2**31), random_.randrange(10**9)
            out.append(struct.pack(order + "IIII", *when, cut, len(whole)) + whole[:cut])
    return b"".join(out)


@pytest.mark.parametrize("order", ["<", ">"])
def test_frames_made_here(order: str, tmp_path: Path) -> None:
    path = tmp_path / "made.pcap"
    path.write_bytes(made(order))
    assert differences(path) == []
    saved = load_capture(path).save(tmp_path / "saved.pcapng")
    assert differences(saved) == []


def test_what_is_saved_opens_without_a_warning_and_has_its_comments(tmp_path: Path) -> None:
    path = tmp_path / "made.pcap"
    path.write_bytes(made("<"))
    capture = load_capture(path)
    capture = capture.judged(lambda row: "dropped: mac" if row == 1 else "")
    capture = replace(capture, lost={capture.points[0].name: 7})
    saved = capture.save(tmp_path / "saved.pcapng")
    done = tshark("-r", saved, "-T", "fields", "-e", "frame.comment")
    said = done.stderr.splitlines()
    assert done.returncode == 0
    assert [line for line in said if not line.startswith("Running as user")] == []
    assert done.stdout.splitlines()[:3] == ["", "verdict: dropped: mac", ""]
    assert list(load_capture(saved).lost.values()) == [7]


@pytest.mark.parametrize("path", list(samples()), ids=lambda path: "/".join(path.parts[-2:]))
def test_samples(path: Path) -> None:
    try:
        load_capture(path)
    except BadCapture:
        assert tshark("-r", path).returncode
        return
    assert differences(path) == []


def test_there_are_samples() -> None:
    if not list(samples()):
        say = pytest.fail if os.environ.get("CI") else pytest.skip
        say(f"NOT RUN: no samples here: {INSTALL}")
    assert len(list(samples())) > 40
