"""What a frame says, in words: each distinct saying is made once, from one number.

A saying is a uint64: kind (8 bits), argument (36 bits), VLAN (12 bits), trouble with the
container (8 bits). `Sayings` turns such a number into a text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from ipaddress import IPv4Address, IPv6Address

import numpy as np

from osawslab.observe import container
from osawslab.observe.columns import Vocabulary
from osawslab.observe.container import Array

ARGUMENT, VLAN = 20, 8  # where they begin, in bits
(
    NOTHING, BROKEN, ETHERTYPE, LINK, IP_PROTOCOL, FRAGMENT, ICMP, ICMP6, NEXT_HEADER, TCP, UDP,
    VXLAN, ARP, FAMILY,
) = range(14)  # fmt: skip
# What may be wrong around a frame, or with a length in it; what it says is said all the same.
TROUBLES = (
    *container.TROUBLES,
    "its IP length goes beyond the frame",
    "its UDP length goes beyond the packet",
)
LONG_IP, LONG_UDP = range(len(container.TROUBLES), len(TROUBLES))

# The places where a frame may be cut off or broken; the argument of BROKEN.
FAULTS = (
    "cut off in the link header",
    "cut off in the ARP header",
    "cut off in the IPv4 header",
    "broken IPv4 header",
    "cut off in the IPv6 header",
    "broken IPv6 header",
    "cut off in the ICMP header",
    "cut off in the TCP header",
    "cut off in the UDP header",
    "cut off in the VXLAN header",
    "broken TCP header",
    "broken UDP header",
    "cut off in the ICMPv6 header",
)
FAULT: Mapping[str, int] = {words: number for number, words in enumerate(FAULTS)}

ICMP_UNREACHABLE = {  # RFC 792, RFC 1122 3.2.2.1, RFC 1812 5.2.7.1
    0: "network",
    1: "host",
    2: "protocol",
    3: "port",
    4: "fragmentation needed",
    13: "prohibited",
}
ICMP_TYPES = {0: "echo reply", 5: "redirect", 8: "echo request", 11: "time exceeded"}  # RFC 792
ICMP6_TYPES = {  # RFC 4443, RFC 4861, RFC 3810
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
SERVED = tuple(
    f"{name} {what}" for name in UDP_SERVERS.values() for what in ("answer", "request")
)  # the argument of UDP, from 1
OTHER_ARP = 0  # the argument of ARP that is not of IPv4 on Ethernet
BITS36, BITS8 = (1 << 36) - 1, 0xFF


def mac(key: int) -> str:
    """Write a MAC.

    >>> mac(0x02AA00000001)
    '02:aa:00:00:00:01'
    """
    return key.to_bytes(6, "big").hex(":")


def address(key: int | bytes) -> str:
    """Write an address: a number is IPv4's, 16 bytes are IPv6's.

    >>> address(0xAC101465), address(bytes(15) + b"\\1")
    ('172.16.20.101', '::1')
    """
    return str(IPv6Address(key) if isinstance(key, bytes) else IPv4Address(key))


class Sayings:
    """The texts of a capture's frames; ARP's are numbered here, because they are long."""

    def __init__(self, macs: Vocabulary, addresses: Vocabulary) -> None:
        self.macs, self.addresses = macs, addresses
        self.texts = Vocabulary(self._text)
        self._pairs = Vocabulary(lambda key: f"{key:x}"), Vocabulary(lambda key: f"{key:x}")
        self._arp: list[str] = ["ARP of something else than IPv4 on Ethernet"]
        self._arp_numbers: dict[int, int] = {}

    def arp(self, operation: Array, sender: Array, target: Array, said: Array) -> Array:
        """Number what ARP says, from addresses' and MACs' numbers; `said` is -1 when not said."""
        one, two = self._pairs
        ends = one.codes(sender.astype(np.uint64) << np.uint64(32) | target.astype(np.uint64))
        rest = operation.astype(np.uint64) << np.uint64(32) | (said + 1).astype(np.uint64)
        key = ends.astype(np.uint64) << np.uint64(32) | two.codes(rest).astype(np.uint64)
        distinct, first, place = np.unique(key, return_index=True, return_inverse=True)
        numbers = []
        for each, row in zip(distinct.tolist(), first.tolist(), strict=True):
            if each not in self._arp_numbers:
                self._arp_numbers[each] = len(self._arp)
                of = (operation[row], sender[row], target[row], said[row])
                self._arp.append(self._arp_text(*map(int, of)))
            numbers.append(self._arp_numbers[each])
        return np.array(numbers, np.uint64)[place]

    def _arp_text(self, operation: int, sender: int, target: int, said: int) -> str:
        asks, wanted = self.addresses.words[sender], self.addresses.words[target]
        mac = self.macs.words[said] if said >= 0 else ""
        if operation == 2:
            return f"{asks} is-at {mac}"
        words = f"who-has {wanted} tell {asks}" if operation == 1 else f"ARP operation {operation}"
        return f"{words} at {mac}" if mac else words

    def _text(self, key: int) -> str:
        kind, argument = key >> 56, key >> ARGUMENT & BITS36
        vlan, trouble = key >> VLAN & 0xFFF, key & BITS8
        text = self._arp[argument] if kind == ARP else TEXTS[kind](argument)
        text += f" (VLAN {vlan})" if vlan else ""
        return (
            f"{text} ({TROUBLES[trouble]})".strip()
            if trouble and text
            else (text or TROUBLES[trouble])
        )


def _unreachable(code: int) -> str:
    return f"destination unreachable: {ICMP_UNREACHABLE.get(code, f'code {code}')}"


def _icmp(argument: int) -> str:
    kind, code = argument >> 8, argument & BITS8
    return _unreachable(code) if kind == 3 else ICMP_TYPES.get(kind, f"ICMP type {kind}")


def _tcp(flags: int) -> str:
    return " ".join(word for bit, word in TCP_FLAGS.items() if flags & bit) or "no flags"


TEXTS: Mapping[int, Callable[[int], str]] = {
    NOTHING: lambda _: "",
    BROKEN: lambda number: FAULTS[number],
    ETHERTYPE: lambda kind: f"EtherType {kind:#06x}" if kind >= 0x600 else "802.3 frame",
    LINK: lambda link: f"link type {link}",
    FAMILY: lambda number: f"address family {number}",
    IP_PROTOCOL: lambda number: f"IP protocol {number}",
    FRAGMENT: lambda _: "a later fragment",
    ICMP: _icmp,
    ICMP6: lambda kind: ICMP6_TYPES.get(kind, f"ICMPv6 type {kind}"),
    NEXT_HEADER: lambda number: f"next header {number}",
    TCP: _tcp,
    UDP: lambda number: SERVED[number - 1] if number else "datagram",
    VXLAN: lambda vni: f"VXLAN {vni}",
}


def key(kind: int, argument: Array | int = 0) -> Array:
    """Make the number of a saying, without VLAN and trouble."""
    words = np.asarray(argument).astype(np.uint64) << np.uint64(ARGUMENT)
    return words | np.uint64(kind << 56)
