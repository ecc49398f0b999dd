"""Frames made by hand, and how to tell the answer to one: pure functions.

A `Match` is the bytes that a frame must have, each with its offset.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from ipaddress import IPv4Address

Match = tuple[tuple[int, bytes], ...]

BROADCAST = "ff:ff:ff:ff:ff:ff"
FOREIGN = "02:99:99:99:99:99"  # locally administered, and nobody's
PORT = 9  # "discard" (RFC 863): nobody answers
_ARP, _IPV4 = b"\x08\x06", b"\x08\x00"
_ICMP, _UDP = 1, 17
_COOKIE = bytes.fromhex("63825363")  # RFC 2131, section 3


def mac(text: str) -> bytes:
    """Pack a MAC."""
    return bytes.fromhex(text.replace(":", ""))


def ip(text: str) -> bytes:
    """Pack an IPv4 address."""
    return IPv4Address(text).packed


def ethernet(source: str, target: str, kind: bytes, content: bytes) -> bytes:
    """Make a frame, padded to the shortest there is (60 bytes without its check sum)."""
    return mac(target) + mac(source) + kind + content.ljust(46, b"\0")


def checksum(data: bytes) -> int:
    """Sum as IPv4, ICMP and UDP do (RFC 1071).

    >>> hex(checksum(bytes.fromhex("00010000")))
    '0xfffe'
    """
    data += b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _ipv4(source: str, target: str, protocol: int, content: bytes) -> bytes:
    def head(check: int) -> bytes:
        fixed = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(content), 1, 0, 64, protocol, check)
        return fixed + ip(source) + ip(target)

    return head(checksum(head(0))) + content


def echo(source: tuple[str, str], target: tuple[str, str], number: int) -> bytes:
    """Make a ping from a pair of MAC and IP to another; the number tells its answer."""
    fixed = struct.pack("!BBHHH", 8, 0, 0, number, 1) + b"osawslab probe.."
    icmp = fixed[:2] + struct.pack("!H", checksum(fixed)) + fixed[4:]
    return ethernet(source[0], target[0], _IPV4, _ipv4(source[1], target[1], _ICMP, icmp))


def echo_answer(peer: str, number: int) -> Match:
    """Tell the answer to a ping."""
    return (
        (12, _IPV4),
        (23, b"\x01"),
        (26, ip(peer)),
        (34, b"\0"),
        (38, struct.pack("!H", number)),
    )


def datagram(source: tuple[str, str], target: tuple[str, str], number: int) -> bytes:
    """Make a UDP datagram; the number is its source port, and tells it."""
    udp = struct.pack("!HHHH", number, PORT, 16, 0) + b"osawslab"  # no check sum: RFC 768
    return ethernet(source[0], target[0], _IPV4, _ipv4(source[1], target[1], _UDP, udp))


def that_datagram(number: int) -> Match:
    """Tell the datagram itself, where it arrives."""
    return ((12, _IPV4), (23, b"\x11"), (34, struct.pack("!HH", number, PORT)))


def arp(
    ether: str, sender: tuple[str, str], wanted: str, operation: int = 1, to: str = BROADCAST
) -> bytes:
    """Make an ARP message (RFC 826): a question, or an answer that nobody has asked for."""
    nobody = "00:00:00:00:00:00" if operation == 1 else to
    pairs = mac(sender[0]) + ip(sender[1]) + mac(nobody) + ip(wanted)
    return ethernet(ether, to, _ARP, struct.pack("!HHBBH", 1, 0x0800, 6, 4, operation) + pairs)


def arp_answer(peer: str) -> Match:
    """Tell the answer to who-has."""
    return ((12, _ARP), (20, b"\0\x02"), (28, ip(peer)))


def arp_question(wanted: str) -> Match:
    """Tell the question itself, where it arrives."""
    return ((12, _ARP), (20, b"\0\x01"), (38, ip(wanted)))


def says(frame: bytes) -> str:
    """Give the MAC that an ARP message tells."""
    return frame[22:28].hex(":")


def discover(source: str, number: int, wanted: str = "") -> bytes:
    """Make a DHCPDISCOVER (RFC 2131), which may ask for an address."""
    fixed = struct.pack("!BBBBIHH", 1, 1, 6, 0, number, 0, 0x8000)  # answer by broadcast
    options = bytes([53, 1, 1]) + (bytes([50, 4]) + ip(wanted) if wanted else b"") + b"\xff"
    bootp = fixed + bytes(16) + mac(source).ljust(16, b"\0") + bytes(192) + _COOKIE + options
    bootp = bootp.ljust(300, b"\0")
    udp = struct.pack("!HHHH", 68, 67, 8 + len(bootp), 0) + bootp
    packet = _ipv4("0.0.0.0", "255.255.255.255", _UDP, udp)
    return ethernet(source, BROADCAST, _IPV4, packet)


def offer(number: int) -> Match:
    """Tell the answer to a DHCPDISCOVER."""
    return (
        (12, _IPV4),
        (23, b"\x11"),
        (34, struct.pack("!H", 67)),
        (46, struct.pack("!I", number)),
    )


def offered(frame: bytes) -> str:
    """Give the address that a DHCPOFFER offers."""
    return str(IPv4Address(frame[58:62]))


def sent(match: Match) -> list[list[int | str]]:
    """Write a match as JSON can carry it."""
    return [[offset, wanted.hex()] for offset, wanted in match]


def matches(frame: bytes, match: Iterable[tuple[int, bytes]]) -> bool:
    """Hold a frame against a match."""
    return all(frame[offset : offset + len(wanted)] == wanted for offset, wanted in match)
