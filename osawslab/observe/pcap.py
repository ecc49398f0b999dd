"""Frames of a classic capture, as `tcpdump -w -` writes it: addresses, ports and words.

A capture is a header of 24 bytes and records of 16 bytes and a frame, in the byte order of the
machine that wrote it (pcap-savefile(5)). A frame that is cut off or broken is a row that says so.

>>> read(b"tcpdump: eth1: No such device")
Traceback (most recent call last):
...
osawslab.errors.BadCapture: these bytes are no classic capture
  seen: 29 bytes that begin with 74 63 70 64
  next: tcpdump --immediate-mode -U -i eth1 -w -
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address

from osawslab.errors import BadCapture

BROADCAST = "ff:ff:ff:ff:ff:ff"
CAPTURE_AGAIN = "tcpdump --immediate-mode -U -i eth1 -w -"

# pcap-savefile(5): the magic number gives the byte order and the unit of the fraction, in seconds.
MAGIC = {
    b"\xd4\xc3\xb2\xa1": ("<", 1e-6),
    b"\xa1\xb2\xc3\xd4": (">", 1e-6),
    b"\x4d\x3c\xb2\xa1": ("<", 1e-9),
    b"\xa1\xb2\x3c\x4d": (">", 1e-9),
}
VLAN_TAGS = (0x8100, 0x88A8)  # 802.1Q, 802.1ad

ICMP_UNREACHABLE = {  # RFC 792, RFC 1122 3.2.2.1, RFC 1812 5.2.7.1
    0: "network",
    1: "host",
    2: "protocol",
    3: "port",
    4: "fragmentation needed",
    13: "prohibited",
}
ICMP = {0: "echo reply", 5: "redirect", 8: "echo request", 11: "time exceeded"}  # RFC 792
ICMP6 = {  # RFC 4443, RFC 4861, RFC 3810
    1: "destination unreachable",
    128: "echo request",
    129: "echo reply",
    133: "router solicitation",
    134: "router advertisement",
    135: "neighbour solicitation",
    136: "neighbour advertisement",
    143: "multicast listener report",
}
TCP_FLAGS = {0x02: "SYN", 0x01: "FIN", 0x04: "RST", 0x08: "PSH", 0x10: "ACK"}  # RFC 9293 3.1
UDP_SERVERS = {53: "DNS", 67: "DHCP", 123: "NTP"}  # IANA service names


@dataclass(frozen=True)
class Frame:
    """One frame; a text is "" and a number None where the frame does not carry it.

    `src` and `dst` are IP addresses, in ARP the sender's and the target's. `ident` is that of an
    echo, `seq` that of an echo or of TCP. Cooked captures know no destination MAC but broadcast.
    """

    time: float  # seconds since 1970
    length: int  # bytes on the wire, also where fewer were captured
    src_mac: str = ""
    dst_mac: str = ""
    protocol: str = "other"  # ARP, ICMP, TCP, UDP, IPv6 or other
    src: str = ""
    dst: str = ""
    sport: int | None = None
    dport: int | None = None
    says: str = ""
    ident: int | None = None
    seq: int | None = None


def read(data: bytes) -> list[Frame]:
    """Read every frame of a capture, in order.

    Raises BadCapture where the bytes are no classic capture or one of an unknown link type.
    """
    if len(data) < 24 or data[:4] not in MAGIC:
        raise BadCapture(
            "these bytes are no classic capture",
            seen=f"{len(data)} bytes that begin with {data[:4].hex(' ')}" if data else "no bytes",
            next=CAPTURE_AGAIN,
        )
    order, unit = MAGIC[data[:4]]
    link = struct.unpack_from(order + "I", data, 20)[0] & 0xFFFF  # above: length of the FCS
    if link not in LINKS:
        raise BadCapture(
            "this capture is of a kind of link that is not read here",
            seen=f"link type {link}; known are {', '.join(map(str, LINKS))}",
            next=CAPTURE_AGAIN,
        )
    frames: list[Frame] = []
    at, time = 24, 0.0
    while at < len(data):
        if len(data) - at < 16:
            frames.append(Frame(time, 0, says="the capture ends inside a record's header"))
            break
        seconds, fraction, captured, length = struct.unpack_from(order + "IIII", data, at)
        time = seconds + fraction * unit
        at += 16
        frame = _decode(Frame(time, length), link, data[at : at + captured])
        if captured > len(data) - at:
            says = f"{frame.says} (the capture ends inside this frame)".strip()
            frame = replace(frame, says=says)
        frames.append(frame)
        at += captured
    return frames


def _decode(frame: Frame, link: int, data: bytes) -> Frame:
    try:
        frame, kind, data = LINKS[link](frame, data)
        vlan = 0
        while kind in VLAN_TAGS:
            tag, kind = struct.unpack_from("!HH", data)
            vlan, data = vlan or tag & 0x0FFF, data[4:]
    except struct.error:
        return replace(frame, says="cut off in the link header")
    frame = _layer(kind, LAYERS.get(kind), frame, data)
    return replace(frame, says=f"{frame.says} (VLAN {vlan})") if vlan else frame


def _layer(number: int, layer: Layer | None, frame: Frame, data: bytes) -> Frame:
    """Decode one layer; where its header is cut off, say so and keep what is known."""
    if layer is None:
        says = f"EtherType {number:#06x}" if number >= 0x600 else "802.3 frame"
        return replace(frame, says=f"IP protocol {number}" if frame.src else says)
    name, decode = layer
    frame = replace(frame, protocol=name if name in PROTOCOLS else "other")
    try:
        return decode(frame, data)
    except struct.error:
        return replace(frame, says=f"cut off in the {name} header")


def _ethernet(frame: Frame, data: bytes) -> tuple[Frame, int, bytes]:
    dst, src, kind = struct.unpack_from("!6s6sH", data)
    return replace(frame, src_mac=src.hex(":"), dst_mac=dst.hex(":")), kind, data[14:]


def _cooked(frame: Frame, data: bytes) -> tuple[Frame, int, bytes]:  # LINKTYPE_LINUX_SLL
    direction, _, size, address, kind = struct.unpack_from("!HHH8sH", data)
    return _cooked_macs(frame, direction, address[:size]), kind, data[16:]


def _cooked2(frame: Frame, data: bytes) -> tuple[Frame, int, bytes]:  # LINKTYPE_LINUX_SLL2
    kind, _, _, _, direction, size, address = struct.unpack_from("!HHIHBB8s", data)
    return _cooked_macs(frame, direction, address[:size]), kind, data[20:]


def _cooked_macs(frame: Frame, direction: int, address: bytes) -> Frame:
    to_all = direction == 1  # PACKET_BROADCAST, linux/if_packet.h
    return replace(frame, src_mac=address.hex(":"), dst_mac=BROADCAST if to_all else "")


def _arp(frame: Frame, data: bytes) -> Frame:
    kinds, operation, mac, src, _, dst = struct.unpack_from("!6sH6s4s6s4s", data)  # RFC 826
    if kinds != b"\x00\x01\x08\x00\x06\x04":
        return replace(frame, says="ARP of something else than IPv4 on Ethernet")
    sender, target, said = str(IPv4Address(src)), str(IPv4Address(dst)), mac.hex(":")
    says = {1: f"who-has {target} tell {sender}", 2: f"{sender} is-at {said}"}.get(
        operation, f"ARP operation {operation}"
    )
    if operation != 2 and frame.src_mac not in ("", said):
        says += f" at {said}"  # the frame comes from one MAC and speaks of another
    return replace(frame, src=sender, dst=target, says=says)


def _ipv4(frame: Frame, data: bytes) -> Frame:
    start, total, fragment, number, src, dst = struct.unpack_from("!BxHxxHxBxx4s4s", data)
    header = (start & 0x0F) * 4
    frame = replace(frame, src=str(IPv4Address(src)), dst=str(IPv4Address(dst)))
    if start >> 4 != 4 or header < 20 or 0 < total < header:  # 0: left to the NIC (offload)
        return replace(frame, says="broken IPv4 header")
    if len(data) < header:
        return replace(frame, says="cut off in the IPv4 header")
    layer = TRANSPORTS.get(number)
    if fragment & 0x1FFF:
        return replace(frame, protocol=layer[0] if layer else "other", says="a later fragment")
    return _layer(number, layer, frame, data[header : total or None])


def _ipv6(frame: Frame, data: bytes) -> Frame:
    start, following, src, dst = struct.unpack_from("!B5xBx16s16s", data)
    if start >> 4 != 6:
        return replace(frame, says="broken IPv6 header")
    frame = replace(frame, src=str(IPv6Address(src)), dst=str(IPv6Address(dst)))
    if following != 58 or len(data) <= 40:
        return replace(frame, says=f"next header {following}")
    return replace(frame, says=ICMP6.get(data[40], f"ICMPv6 type {data[40]}"))


def _icmp(frame: Frame, data: bytes) -> Frame:
    kind, code, ident, seq = struct.unpack_from("!BBxxHH", data)
    if kind == 3:
        why = ICMP_UNREACHABLE.get(code, f"code {code}")
        return replace(frame, says=f"destination unreachable: {why}")
    frame = replace(frame, says=ICMP.get(kind, f"ICMP type {kind}"))
    return replace(frame, ident=ident, seq=seq) if kind in (0, 8) else frame


def _tcp(frame: Frame, data: bytes) -> Frame:
    sport, dport, seq, flags = struct.unpack_from("!HHI5xB", data)
    words = [word for bit, word in TCP_FLAGS.items() if flags & bit]
    says = " ".join(words) or "no flags"
    return replace(frame, sport=sport, dport=dport, seq=seq, says=says)


def _udp(frame: Frame, data: bytes) -> Frame:
    sport, dport = struct.unpack_from("!HH4x", data)
    says = "datagram"
    if sport in UDP_SERVERS:
        says = f"{UDP_SERVERS[sport]} answer"
    elif dport in UDP_SERVERS:
        says = f"{UDP_SERVERS[dport]} request"
    return replace(frame, sport=sport, dport=dport, says=says)


Layer = tuple[str, Callable[[Frame, bytes], Frame]]
LINKS = {1: _ethernet, 113: _cooked, 276: _cooked2}  # tcpdump.org/linktypes.html
LAYERS: dict[int, Layer] = {  # by EtherType
    0x0800: ("IPv4", _ipv4),
    0x0806: ("ARP", _arp),
    0x86DD: ("IPv6", _ipv6),
}
TRANSPORTS: dict[int, Layer] = {1: ("ICMP", _icmp), 6: ("TCP", _tcp), 17: ("UDP", _udp)}
PROTOCOLS = ("ARP", "ICMP", "TCP", "UDP", "IPv6")
