"""Hold what is read of a capture against recordings of tcpdump 4.99 and frames made by hand."""

from __future__ import annotations

import base64
import os
import struct
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from osawslab.errors import BadCapture
from osawslab.observe.capture import Capture, load_capture
from osawslab.observe.columns import COLUMNS
from osawslab.observe.conversation import BROADCAST

# One ping, a TCP connection to a closed port and a datagram to another, between 172.16.20.101
# (02:aa:00:00:00:01) and 172.16.20.1 (02:bb:00:00:00:01), as `tcpdump -U -w -` wrote them.
RECORDED = {
    "ether": """
1MOyoQIABAAAAAAAAAAAAAAABAABAAAA8MMCa5apBwAqAAAAKgAAAP///////wKqAAAAAQgGAAEIAAYEAAECqgAAAAGsEBRl
AAAAAAAArBAUAfDDAmvMqQcAKgAAACoAAAACqgAAAAECuwAAAAEIBgABCAAGBAACArsAAAABrBAUAQKqAAAAAawQFGXwwwJr
zqkHAGIAAABiAAAAArsAAAABAqoAAAABCABFAABUVOhAAEABZTqsEBRlrBAUAQgA0kATFAAB8MMCawAAAABZqAcAAAAAABAR
EhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1NjfwwwJr+KoHAGIAAABiAAAAAqoAAAABArsAAAABCABFAABU
x+IAAEABMkCsEBQBrBAUZQAA2kATFAAB8MMCawAAAABZqAcAAAAAABAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4v
MDEyMzQ1NjfwwwJroxIKAEoAAABKAAAAArsAAAABAqoAAAABCABFAAA8+3dAAEAGvr2sEBRlrBAUAdlmABakkNIgAAAAAKAC
+vCAtQAAAgQFtAQCCArCZEXLAAAAAAEDAwrwwwJryxIKADYAAAA2AAAAAqoAAAABArsAAAABCABFAAAoAABAAEAGukmsEBQB
rBAUZQAW2WYAAAAApJDSIVAUAADfGgAA8MMCa6QTCgArAAAAKwAAAAK7AAAAAQKqAAAAAQgARQAAHRPMQABAEaZ9rBAUZawQ
FAHMDQA1AAmAoXjwwwJrKxQKAEcAAABHAAAAAqoAAAABArsAAAABCABFwAA5x+UAAEABMZisEBQBrBAUZQMDOA8AAAAARQAA
HRPMQABAEaZ9rBAUZawQFAHMDQA1AAmAoXg=
""",
    "nano": """
TTyyoQIABAAAAAAAAAAAAEAAAAABAAAA9MMCazJWwB4qAAAAKgAAAP///////wKqAAAAAQgGAAEIAAYEAAECqgAAAAGsEBRl
AAAAAAAArBAUAfTDAmuCyMAeKgAAACoAAAACqgAAAAECuwAAAAEIBgABCAAGBAACArsAAAABrBAUAQKqAAAAAawQFGX0wwJr
wdTAHkAAAABiAAAAArsAAAABAqoAAAABCABFAABUVQ1AAEABZRWsEBRlrBAUAQgA7doTQwAB9MMCawAAAAA53wcAAAAAABAR
EhMUFfTDAmswA8EeQAAAAGIAAAACqgAAAAECuwAAAAEIAEUAAFTLngAAQAEuhKwQFAGsEBRlAAD12hNDAAH0wwJrAAAAADnf
BwAAAAAAEBESExQV9MMCa+agmCVAAAAASgAAAAK7AAAAAQKqAAAAAQgARQAAPA3iQABABqxTrBAUZawQFAHZbAAWfXEmmgAA
AACgAvrwgLUAAAIEBbQEAggKjFP0wwJrwAWZJTYAAAA2AAAAAqoAAAABArsAAAABCABFAAAoAABAAEAGukmsEBQBrBAUZQAW
2WwAAAAAfXEmm1AUAACxugAA9MMCa46vnSUrAAAAKwAAAAK7AAAAAQKqAAAAAQgARQAAHRWPQABAEaS6rBAUZawQFAHOhQA1
AAmAoXj0wwJrEPCdJUAAAABHAAAAAqoAAAABArsAAAABCABFwAA5y6oAAEABLdOsEBQBrBAUZQMDNZcAAAAARQAAHRWPQABA
EaS6rBAUZawQFAHOhQ==
""",
    "sll": """
1MOyoQIABAAAAAAAAAAAAAAABABxAAAA+MMCaxuBCAAsAAAALAAAAAAEAAEABgKqAAAAAQAACAYAAQgABgQAAQKqAAAAAawQ
FGUAAAAAAACsEBQB+MMCaziBCAAsAAAALAAAAAAAAAEABgK7AAAAAQAACAYAAQgABgQAAgK7AAAAAawQFAECqgAAAAGsEBRl
+MMCazuBCABkAAAAZAAAAAAEAAEABgKqAAAAAQAACABFAABUVlRAAEABY86sEBRlrBAUAQgAIQoTcgAB+MMCawAAAAABgQgA
AAAAABAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njf4wwJrRoEIAGQAAABkAAAAAAAAAQAGArsAAAAB
AAAIAEUAAFTMugAAQAEtaKwQFAGsEBRlAAApChNyAAH4wwJrAAAAAAGBCAAAAAAAEBESExQVFhcYGRobHB0eHyAhIiMkJSYn
KCkqKywtLi8wMTIzNDU2N/jDAmt9igoATAAAAEwAAAAABAABAAYCqgAAAAEAAAgARQAAPJGjQABABiiSrBAUZawQFAG5KgAW
hQMTPgAAAACgAvrwgLUAAAIEBbQEAggKMGhTygAAAAABAwMK+MMCa5eKCgA4AAAAOAAAAAAAAAEABgK7AAAAAQAACABFAAAo
AABAAEAGukmsEBQBrBAUZQAWuSoAAAAAhQMTP1AUAADdxgAA+MMCa+mKCgAtAAAALQAAAAAEAAEABgKqAAAAAQAACABFAAAd
FctAAEARpH6sEBRlrBAUAdTaADUACYChePjDAmv5igoASQAAAEkAAAAAAAABAAYCuwAAAAEAAAgARcAAOczaAABAASyjrBAU
AawQFGUDAy9CAAAAAEUAAB0Vy0AAQBGkfqwQFGWsEBQB1NoANQAJgKF4
""",
    "sll2": """
1MOyoQIABAAAAAAAAAAAAAAABAAUAQAA/MMCa7nrCAAwAAAAMAAAAAgGAAAAAAACAAEEBgKqAAAAAQAAAAEIAAYEAAECqgAA
AAGsEBRlAAAAAAAArBAUAfzDAmvP6wgAMAAAADAAAAAIBgAAAAAAAgABAAYCuwAAAAEAAAABCAAGBAACArsAAAABrBAUAQKq
AAAAAawQFGX8wwJr0usIAGgAAABoAAAACAAAAAAAAAIAAQQGAqoAAAABAABFAABUWEhAAEABYdqsEBRlrBAUAQgAgXAToQAB
/MMCawAAAACc6wgAAAAAABAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njf8wwJr3usIAGgAAABoAAAA
CAAAAAAAAAIAAQAGArsAAAABAABFAABU0F0AAEABKcWsEBQBrBAUZQAAiXAToQAB/MMCawAAAACc6wgAAAAAABAREhMUFRYX
GBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njf8wwJr2ekKAFAAAABQAAAACAAAAAAAAAIAAQQGAqoAAAABAABFAAA8
NCdAAEAGhg6sEBRlrBAUAbkwABYddN6BAAAAAKAC+vCAtQAAAgQFtAQCCApC3L5yAAAAAAEDAwr8wwJr7ekKADwAAAA8AAAA
CAAAAAAAAAIAAQAGArsAAAABAABFAAAoAABAAEAGukmsEBQBrBAUZQAWuTAAAAAAHXTeglAUAAB6DAAA/MMCa9DqCgAxAAAA
MQAAAAgAAAAAAAACAAEEBgKqAAAAAQAARQAAHRYkQABAEaQlrBAUZawQFAGgVwA1AAmAoXj8wwJr3eoKAE0AAABNAAAACAAA
AAAAAAIAAQAGArsAAAABAABFwAA50HMAAEABKQqsEBQBrBAUZQMDY8UAAAAARQAAHRYkQABAEaQlrBAUZawQFAGgVwA1AAmA
oXg=
""",
}
A, B, GATEWAY = "02:aa:00:00:00:01", "02:bb:00:00:00:01", "172.16.20.1"
US = "172.16.20.101"
SAID = [  # protocol, src, dst, dport, says: the same words tcpdump prints
    ("ARP", US, GATEWAY, None, "who-has 172.16.20.1 tell 172.16.20.101"),
    ("ARP", GATEWAY, US, None, "172.16.20.1 is-at 02:bb:00:00:00:01"),
    ("ICMP", US, GATEWAY, None, "echo request"),
    ("ICMP", GATEWAY, US, None, "echo reply"),
    ("TCP", US, GATEWAY, 22, "SYN"),
    ("TCP", GATEWAY, US, ..., "RST ACK"),
    ("UDP", US, GATEWAY, 53, "DNS request"),
    ("ICMP", GATEWAY, US, None, "destination unreachable: port"),
]


def read(data: bytes) -> list[SimpleNamespace]:
    """Give the rows of a capture, "" or None where a value is missing, times in seconds."""
    columns = load_capture(data).columns
    rows = []
    for row in range(len(columns["time"].values)):
        values: dict[str, Any] = {}
        for name, column in columns.items():
            value = column.values[row].item() if name != "data" else column.values[row]
            if column.words is not None:
                value = column.words[value] if value >= 0 else ""
            elif column.missing is not None and column.missing[row]:
                value = None
            values[name] = value / 1e9 if name == "time" else value
        rows.append(SimpleNamespace(**values))
    return rows


def recorded(name: str) -> bytes:
    return base64.b64decode(RECORDED[name])


def capture(*frames: bytes, link: int = 1, order: str = "<", magic: int = 0xA1B2C3D4) -> bytes:
    """Write frames as a capture; each comes one second and 500 units later."""
    data = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 262144, link)
    for second, frame in enumerate(frames, 1):
        data += struct.pack(order + "IIII", second, 500, len(frame), len(frame)) + frame
    return data


def ethernet(kind: int, payload: bytes, tags: bytes = b"") -> bytes:
    dst, src = bytes.fromhex("02bb00000001"), bytes.fromhex("02aa00000001")
    return dst + src + tags + struct.pack("!H", kind) + payload


def ipv4(number: int, payload: bytes, options: bytes = b"", fragment: int = 0) -> bytes:
    words = 5 + len(options) // 4
    start = struct.pack(
        "!BBHHHBBH", 0x40 | words, 0, words * 4 + len(payload), 7, fragment, 64, number, 0
    )
    addresses = bytes([172, 16, 20, 101, 172, 16, 20, 1])
    return ethernet(0x0800, start + addresses + options + payload)


def arp(operation: int, sender: str = "02aa00000001", kinds: str = "000108000604") -> bytes:
    body = struct.pack("!H", operation) + bytes.fromhex(sender) + bytes([172, 16, 20, 101])
    return bytes.fromhex(kinds) + body + bytes(6) + bytes([172, 16, 20, 1])


ECHO = bytes.fromhex("0800000000050009")
SYN = struct.pack("!HHIIBBHHH", 40000, 522, 9, 0, 0x50, 0x02, 0, 0, 0)


@pytest.mark.parametrize("name", RECORDED)
def test_recordings_say_what_tcpdump_says(name: str) -> None:
    frames = read(recorded(name))
    assert len(frames) == len(SAID)
    for frame, (protocol, src, dst, dport, says) in zip(frames, SAID, strict=True):
        assert (frame.protocol, frame.src, frame.dst, frame.says) == (protocol, src, dst, says)
        assert frame.src_mac == (A if src == US else B)
        assert dport is ... or frame.dport == dport
    cooked = name.startswith("sll")
    assert [frame.dst_mac for frame in frames[:2]] == (["", ""] if cooked else [BROADCAST, A])
    assert frames[2].seq == frames[3].seq == 1
    assert frames[2].ident == frames[3].ident is not None
    assert all(later.time >= frame.time for frame, later in pairwise(frames))
    assert 1795343344 < frames[0].time < frames[-1].time < 1795343357


@pytest.mark.parametrize(
    ("order", "magic", "time"),
    [
        ("<", 0xA1B2C3D4, 1 + 500e-6),
        (">", 0xA1B2C3D4, 1 + 500e-6),
        ("<", 0xA1B23C4D, 1 + 500e-9),
        (">", 0xA1B23C4D, 1 + 500e-9),
    ],
)
def test_byte_orders_and_units(order: str, magic: int, time: float) -> None:
    (frame,) = read(capture(ipv4(1, ECHO), order=order, magic=magic))
    assert (frame.time, frame.length, frame.says) == (
        pytest.approx(time, abs=1e-12),
        42,
        "echo request",
    )


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        (ipv4(1, ECHO), {"protocol": "ICMP", "says": "echo request", "ident": 5, "seq": 9}),
        (ipv4(1, ECHO, options=bytes(8)), {"says": "echo request", "ident": 5, "seq": 9}),
        (ipv4(1, b"\x03\x01" + bytes(6)), {"says": "destination unreachable: host", "seq": None}),
        (ipv4(1, b"\x03\x09" + bytes(6)), {"says": "destination unreachable: code 9"}),
        (ipv4(1, b"\x0b\x00" + bytes(6)), {"says": "time exceeded", "ident": None}),
        (ipv4(1, b"\x2a\x00" + bytes(6)), {"says": "ICMP type 42"}),
        (ipv4(6, SYN), {"protocol": "TCP", "sport": 40000, "dport": 522, "says": "SYN", "seq": 9}),
        (ipv4(6, SYN[:13] + b"\x12" + SYN[14:]), {"says": "SYN ACK"}),
        (ipv4(6, SYN[:13] + b"\x19" + SYN[14:]), {"says": "FIN PSH ACK"}),
        (ipv4(6, SYN[:13] + b"\x00" + SYN[14:]), {"says": "no flags"}),
        (ipv4(17, struct.pack("!HHHH", 67, 68, 8, 0)), {"protocol": "UDP", "says": "DHCP answer"}),
        (ipv4(17, struct.pack("!HHHH", 5000, 6000, 8, 0)), {"says": "datagram", "dport": 6000}),
        (ipv4(47, b""), {"protocol": "other", "says": "IP protocol 47", "src": US}),
        (ipv4(17, bytes(8), fragment=3), {"protocol": "UDP", "says": "a later fragment"}),
        (ethernet(0x0806, arp(1)), {"says": f"who-has {GATEWAY} tell {US}", "src": US}),
        (ethernet(0x0806, arp(2)), {"says": f"{US} is-at {A}", "dst": GATEWAY}),
        (
            ethernet(0x0806, arp(1, sender="02cc00000001")),
            {"says": f"who-has {GATEWAY} tell {US} at 02:cc:00:00:00:01", "src_mac": A},
        ),
        (ethernet(0x0806, arp(9)), {"protocol": "ARP", "says": "ARP operation 9"}),
        (
            ethernet(0x0806, arp(1, kinds="000686dd0604")),
            {"says": "ARP of something else than IPv4 on Ethernet", "src": ""},
        ),
        (
            ethernet(0x0806, arp(1), tags=bytes.fromhex("81000005")),
            {"protocol": "ARP", "says": f"who-has {GATEWAY} tell {US} (VLAN 5)"},
        ),
        (
            ethernet(0x0806, arp(2), tags=bytes.fromhex("88a8000781000005")),
            {"says": f"{US} is-at {A} (VLAN 7)"},
        ),
        (
            ethernet(0x86DD, b"\x60" + bytes(5) + b"\x3a\xff" + bytes(31) + b"\x01\x87"),
            {"protocol": "IPv6", "src": "::", "dst": "::1", "says": "neighbour solicitation"},
        ),
        (
            ethernet(0x86DD, b"\x60" + bytes(5) + b"\x00\xff" + bytes(32)),
            {"protocol": "IPv6", "says": "next header 0"},
        ),
        (ethernet(0x88CC, b"\x02"), {"protocol": "other", "says": "EtherType 0x88cc"}),
        (ethernet(38, bytes(38)), {"protocol": "other", "says": "802.3 frame", "src_mac": A}),
    ],
)
def test_frames_made_by_hand(data: bytes, wanted: dict[str, Any]) -> None:
    (frame,) = read(capture(data))
    assert {name: getattr(frame, name) for name in wanted} == wanted


@pytest.mark.parametrize(
    ("data", "protocol", "says"),
    [
        (b"", "other", "cut off in the link header"),
        (ethernet(0x8100, b"\x00"), "other", "cut off in the link header"),
        (ethernet(0x0806, arp(1)[:20]), "ARP", "cut off in the ARP header"),
        (ipv4(1, ECHO)[:30], "other", "cut off in the IPv4 header"),
        (ipv4(1, b"", options=bytes(8))[:36], "other", "cut off in the IPv4 header"),
        (ipv4(1, ECHO)[:38], "ICMP", "cut off in the ICMP header"),
        (ipv4(6, SYN)[:44], "TCP", "cut off in the TCP header"),
        (ipv4(6, SYN)[:53], "TCP", "cut off in the TCP header"),
        (ipv4(6, SYN[:12] + b"\x40" + SYN[13:]), "TCP", "broken TCP header"),
        (ipv4(17, struct.pack("!HHHH", 1, 2, 7, 0)), "UDP", "broken UDP header"),
        (
            ipv4(17, struct.pack("!HHHH", 1, 4789, 12, 0) + bytes(4)),
            "UDP",
            "cut off in the VXLAN header",
        ),
        (ipv4(17, b"\x00" * 4), "UDP", "cut off in the UDP header"),
        (ethernet(0x0800, b"\x65" + bytes(40)), "other", "broken IPv4 header"),
        (ethernet(0x0800, b"\x42" + bytes(40)), "other", "broken IPv4 header"),
        (ethernet(0x86DD, b"\x60" + bytes(8)), "IPv6", "cut off in the IPv6 header"),
        (ethernet(0x86DD, b"\x40" + bytes(40)), "IPv6", "broken IPv6 header"),
    ],
)
def test_broken_frames_become_rows(data: bytes, protocol: str, says: str) -> None:
    broken, whole = read(capture(data, ipv4(1, ECHO)))
    assert (broken.protocol, broken.says, broken.broken) == (protocol, says, True)
    assert not whole.broken
    assert whole.says == "echo request"


def test_padding_is_not_read_as_a_header() -> None:
    data = ipv4(1, ECHO[:4])  # says that it is 24 bytes long; Ethernet pads it to 60
    (frame,) = read(capture(data.ljust(60, b"\x00")))
    assert frame.says == "cut off in the ICMP header"


def test_every_cut_of_a_recording_is_read() -> None:
    data = recorded("ether")
    whole = read(data)
    for size in range(24, len(data)):
        frames = read(data[:size])
        ended = frames and "the capture ends inside" in frames[-1].says
        assert frames[: -1 if ended else None] == whole[: len(frames) - bool(ended)]
        assert not ended or frames[-1].broken
        assert len(frames) < len(whole) or ended


def test_length_is_that_on_the_wire() -> None:
    (*_, last) = read(recorded("nano"))  # 64 of its 71 bytes were captured
    assert (last.length, last.says) == (71, "destination unreachable: port")


def test_broadcast_in_a_cooked_capture() -> None:
    cooked = struct.pack("!HHH8sH", 1, 1, 6, bytes.fromhex("02aa00000001") + bytes(2), 0x0806)
    (frame,) = read(capture(cooked + arp(1, sender="02cc00000001"), link=113))
    assert (frame.src_mac, frame.dst_mac) == (A, BROADCAST)


def test_a_cooked_capture_without_addresses() -> None:
    cooked = struct.pack("!HHH8sH", 0, 1, 0, bytes(8), 0x0806)
    (frame,) = read(capture(cooked + arp(1), link=113))
    assert (frame.src_mac, frame.says) == ("", f"who-has {GATEWAY} tell {US}")


@pytest.mark.parametrize(
    ("data", "what", "seen"),
    [
        (b"", "no capture", "no bytes"),
        (recorded("ether")[:23], "no capture", "23 bytes that begin with d4 c3 b2 a1"),
        (bytes.fromhex("0a0d0d0a") + bytes(20), "no capture", "0a 0d 0d 0a"),
        (b"tcpdump: eth1: No such device", "no capture", "29 bytes"),
    ],
)
def test_what_is_no_capture_is_refused(data: bytes, what: str, seen: str) -> None:
    with pytest.raises(BadCapture, match=what) as caught:
        read(data)
    assert seen in caught.value.seen
    assert caught.value.next.startswith("tcpdump")


def test_a_capture_without_frames_is_empty() -> None:
    assert read(capture()) == []


def test_another_kind_of_link_is_bytes() -> None:
    (frame,) = read(capture(b"\x01\x02", link=239))
    assert (frame.says, frame.data, frame.broken) == ("link type 239", b"\x01\x02", False)


@pytest.mark.parametrize(
    ("link", "header"),
    [(101, b""), (12, b""), (228, b""), (0, b"\x02\0\0\0"), (0, b"\0\0\0\x02")],
)
def test_links_without_addresses(link: int, header: bytes) -> None:
    (frame,) = read(capture(header + ipv4(1, ECHO)[14:], link=link))
    assert (frame.says, frame.src, frame.src_mac) == ("echo request", US, "")


def test_an_impossible_length_ends_the_capture_in_a_row() -> None:
    data = bytearray(capture(*[ipv4(1, ECHO)] * 3))
    struct.pack_into("<I", data, 24 + 16 + 42 + 8, 0xFFFFFFF0)
    first, last = read(bytes(data))
    assert (first.says, first.broken) == ("echo request", False)
    assert (last.says.partition(":")[0], last.broken) == (
        "a record with an impossible length",
        True,
    )


def test_a_patched_libpcap_has_longer_headers() -> None:
    header = struct.pack("<IHHiIII", 0xA1B2CD34, 2, 4, 0, 0, 262144, 1)
    frame = ipv4(1, ECHO)
    record = struct.pack("<IIIIIHBB", 5, 0, len(frame), len(frame), 2, 0x0800, 0, 0) + frame
    assert [each.says for each in read(header + record * 2)] == ["echo request"] * 2


INNER = ethernet(0x0800, ipv4(6, SYN)[14:])
VXLAN = ipv4(17, struct.pack("!HHHHII", 5000, 4789, 0, 0, 0x08000000, 42 << 8) + INNER)


def test_a_frame_inside_vxlan() -> None:
    frame, cut = read(capture(VXLAN, VXLAN[: 14 + 20 + 16 + 20]))
    assert (frame.protocol, frame.vni, frame.says, frame.dport) == ("UDP", 42, "VXLAN 42", 4789)
    inner = {name.removeprefix("inner_"): value for name, value in vars(frame).items()
             if name.startswith("inner_")}  # fmt: skip
    assert inner == {
        "src_mac": A, "dst_mac": B, "vlan": None, "protocol": "TCP", "src": US, "dst": GATEWAY,
        "says": "SYN", "ident": None, "sport": 40000, "dport": 522, "seq": 9, "flags": 2,
    }  # fmt: skip
    assert (cut.says, cut.inner_says, cut.broken) == (
        "VXLAN 42", "cut off in the IPv4 header", True,
    )  # fmt: skip


def test_the_numbers_of_headers() -> None:
    segment = struct.pack("!HHIIBBHHH", 1, 2, 3, 4, 0x50, 0x18, 5, 0, 0) + b"abc"
    tcp, udp, arp_, echo, tagged = read(
        capture(
            ipv4(6, segment),
            ipv4(17, struct.pack("!HHHH", 1, 2, 12, 0) + b"abcd"),
            ethernet(0x0806, arp(2)),
            ipv4(1, ECHO, fragment=0x4000),
            ethernet(0x0806, arp(2), tags=bytes.fromhex("88a8000781000005")),
        )
    )
    assert (tcp.seq, tcp.ack, tcp.flags, tcp.window, tcp.payload) == (3, 4, 0x18, 5, 3)
    assert (tcp.ttl, tcp.ip_id, tcp.ip_protocol, tcp.fragment, tcp.ethertype) == (64, 7, 6, 0, 2048)
    assert (udp.payload, udp.sport, udp.dport) == (4, 1, 2)
    assert (arp_.arp_operation, arp_.arp_src_mac, arp_.arp_dst_mac, arp_.ttl) == (
        2, A, "00:00:00:00:00:00", None,
    )  # fmt: skip
    assert (echo.icmp_type, echo.icmp_code, echo.data) == (8, 0, None)
    assert (tagged.vlan, tagged.inner_vlan, tagged.ethertype) == (7, 5, 0x0806)


def test_what_no_column_names_are_bytes() -> None:
    unknown, long = read(capture(ethernet(0x88CC, b"\x02\x07"), ethernet(0x88CC, bytes(100))))
    assert (unknown.data, long.data) == (b"\x02\x07", bytes(64))


def test_many_windows_are_one_capture(monkeypatch: pytest.MonkeyPatch) -> None:
    data = recorded("ether")
    whole = read(data)
    for window in (40, 64, 100, 257):
        monkeypatch.setattr("osawslab.observe.container.WINDOW", window)
        assert read(data) == whole


def mixed() -> Capture:
    return load_capture(recorded("ether"), {A.upper(): "provider NIC", GATEWAY: "VPC router"}, "On")


def test_the_frame_has_the_types_that_are_documented() -> None:
    for capture_ in (mixed(), load_capture(capture())):
        assert {name: str(each) for name, each in capture_.frame.dtypes.items()} == {
            name: each.dtype for name, each in COLUMNS.items()
        }
    assert [row[:2] for row in mixed().meaning.rows] == [
        (name, each.dtype) for name, each in COLUMNS.items()
    ]
    assert all(each.words for each in COLUMNS.values())


def test_owners_are_beside_addresses() -> None:
    frame = mixed().frame
    assert frame["src_owner"].tolist()[:2] == ["provider NIC", "unknown"]
    assert frame["dst_owner"].tolist()[:2] == ["everybody", "provider NIC"]
    assert frame["dst_name"].iloc[0] == "VPC router"
    assert frame["src_name"].isna().iloc[0]
    assert mixed().named({B: "somebody"}).frame["src_owner"].tolist()[:2] == ["unknown", "somebody"]
    assert mixed().sent(A)
    assert not mixed().sent(BROADCAST)


def test_a_capture_shows_the_conversation() -> None:
    lines = repr(mixed()).splitlines()
    assert lines[0] == "On"
    assert lines[2].split("  ")[0] == f"{A} (provider NIC)"
    assert len(lines) == 2 + len(SAID)
    assert mixed()._repr_html_().count("<tr>") == 1 + len(SAID)


def test_what_was_saved_is_read_again(tmp_path: Path) -> None:
    said = ["dropped: mac", "", "delivered"] + [""] * 5
    first = mixed().judged(said)
    path = first.save(tmp_path / "seen.pcapng")
    again = load_capture(path, {A: "provider NIC", GATEWAY: "VPC router"}, "On")
    assert again.frame["verdict"].tolist()[0:3:2] == ["dropped: mac", "delivered"]
    assert first.frame.drop(columns="point").equals(again.frame.drop(columns="point"))
    assert [again.raw(row) for row in range(8)] == [first.raw(row) for row in range(8)]
    assert os.listdir(tmp_path) == ["seen.pcapng"]
    assert "verdict" in repr(again).splitlines()[1]


def test_some_frames_in_another_order(tmp_path: Path) -> None:
    some = mixed().take([3, 0])
    assert some.frame["says"].tolist() == ["echo reply", f"who-has {GATEWAY} tell {US}"]
    assert some.raw(1) == mixed().raw(0)
    again = load_capture(some.save(tmp_path / "some.pcapng"))
    assert again.frame["says"].tolist() == some.frame["says"].tolist()
    assert again.take(again.frame["time"].argsort(kind="stable")).raw(0) == mixed().raw(0)


def test_a_file_that_has_changed_is_not_read_as_if_it_had_not(tmp_path: Path) -> None:
    path = tmp_path / "seen.pcap"
    path.write_bytes(recorded("ether"))
    seen = load_capture(str(path))
    path.write_bytes(recorded("nano"))
    with pytest.raises(BadCapture, match="changed"):
        seen.raw(0)
    with pytest.raises(BadCapture, match="changed"):
        seen.save(tmp_path / "other.pcapng")
    assert os.listdir(tmp_path) == ["seen.pcap"]


def test_what_cannot_be_read_or_written_says_so(tmp_path: Path) -> None:
    with pytest.raises(BadCapture, match="cannot be read") as caught:
        load_capture(tmp_path / "none.pcap")
    assert caught.value.seen == "No such file or directory"
    with pytest.raises(BadCapture, match="cannot be read"):
        load_capture(tmp_path)
    with pytest.raises(BadCapture, match="cannot be written"):
        mixed().save(tmp_path / "none" / "seen.pcapng")
