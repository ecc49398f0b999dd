"""Hold what is read of a capture against recordings of tcpdump 4.99 and frames made by hand."""

from __future__ import annotations

import struct
from itertools import pairwise
from typing import Any

import pytest
from captures import (
    ECHO,
    GATEWAY,
    RECORDED,
    SAID,
    SYN,
    US,
    A,
    B,
    arp,
    capture,
    ethernet,
    ipv4,
    read,
    recorded,
)  # fmt: skip

from osawslab.errors import BadCapture
from osawslab.observe.conversation import BROADCAST


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
            {
                "protocol": "IPv6",
                "src": "::",
                "dst": "::1",
                "icmp_type": 135,
                "says": "cut off in the ICMPv6 header",
            },
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
        "VXLAN 42 (its IP length goes beyond the frame)", "cut off in the IPv4 header", True,
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


LONG = "its IP length goes beyond the frame"


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (ipv4(17, struct.pack("!HHHH", 1, 2, 12, 0) + b"abcd"), "datagram"),
        (ipv4(17, struct.pack("!HHHH", 1, 2, 13, 0) + b"abcd"),
         "datagram (its UDP length goes beyond the packet)"),
        # The length is the whole datagram's, of which this is the first fragment.
        (ipv4(17, struct.pack("!HHHH", 1, 2, 4000, 0) + b"abcd", fragment=0x2000), "datagram"),
        (ipv4(6, SYN + b"abcd")[:-1], f"SYN ({LONG})"),
        (ethernet(0x86DD, b"\x60" + bytes(4) + b"\x04\x3a" + bytes(33) + b"\x87\0\0\0"),
         "neighbour solicitation"),
        (ethernet(0x86DD, b"\x60" + bytes(4) + b"\x05\x3a" + bytes(33) + b"\x87\0\0\0"),
         f"neighbour solicitation ({LONG})"),
    ],
)  # fmt: skip
def test_a_length_beyond_what_is_there_is_broken(data: bytes, says: str) -> None:
    [row] = read(capture(data))
    assert (row.says, row.broken) == (says, "(" in says)


def test_what_only_the_capture_has_cut_off_is_not_broken() -> None:
    whole = ipv4(6, SYN + bytes(1000))
    head = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 64, 1)
    [row] = read(head + struct.pack("<IIII", 1, 0, 64, len(whole)) + whole[:64])
    assert (row.says, row.broken, row.payload) == ("SYN", False, 1000)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("family", "protocol", "says"),
    [
        (2, "ICMP", "echo request"),
        *((each, "IPv6", "next header 0") for each in (24, 28, 30)),
        *((each, "other", f"address family {each}") for each in (7, 10)),
    ],
)
def test_a_loopback_says_its_address_family(
    order: str, family: int, protocol: str, says: str
) -> None:
    packet = ipv4(1, ECHO)[14:] if family == 2 else b"\x60" + bytes(39)
    [row] = read(capture(struct.pack(order + "I", family) + packet, link=0))
    assert (row.protocol, row.says) == (protocol, says)
