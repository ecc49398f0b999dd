"""Answer DHCP in each VPC as AWS does: RFC 2131, and the leases that EC2's instances write down.

One listener in each VPC's router. A subnet's server is its router; whoever asks gets its ENI's
primary address, whatever it asks for, and nobody else's. The resolver that a lease names is AWS's
(VPC guide, "Amazon DNS server"); nothing answers there, as nothing else resolves names here.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import socket
import struct
import threading
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Network

from osawslab.region import kernel, network
from osawslab.region.metadata import name_of
from osawslab.region.state import Eni, State

SERVER, CLIENT = 67, 68
IPV4 = 0x0800
DISCOVER, OFFER, REQUEST, ACK, NAK, INFORM = 1, 2, 3, 5, 6, 8  # RFC 2132, 9.6
LEASE_SECONDS = 3600  # dhclient's leases on EC2: "option dhcp-lease-time 3600"
COOKIE = bytes((99, 130, 83, 99))
EVERYBODY = bytes((255, 255, 255, 255))
FIXED = struct.Struct("!4BIHH4s4s4s4s16s192x4s")  # RFC 2131, 2, and the cookie
SO_ATTACH_FILTER = 26  # asm-generic/socket.h
FILTER = (  # linux/bpf_common.h: UDP to the server's port, no later fragment
    (0x30, 0, 0, 9), (0x15, 0, 6, socket.IPPROTO_UDP),
    (0x28, 0, 0, 6), (0x45, 4, 0, 0x1FFF),
    (0xB1, 0, 0, 0), (0x48, 0, 0, 2), (0x15, 0, 1, SERVER),
    (0x06, 0, 0, 0xFFFF), (0x06, 0, 0, 0),
)  # fmt: skip


def read(field: bytes) -> dict[int, bytes]:
    """Read options up to their end, or to where they are cut off.

    >>> read(bytes([53, 1, 3, 0, 50, 4, 10, 0, 0, 5, 255, 1])), read(bytes([50, 4, 10]))
    ({53: b'\\x03', 50: b'\\n\\x00\\x00\\x05'}, {})
    """
    found: dict[int, bytes] = {}
    at = 0
    while at < len(field) and field[at] != 255:
        if field[at] == 0:
            at += 1
            continue
        size = field[at + 1] if at + 1 < len(field) else len(field)
        value = field[at + 2 : at + 2 + size]
        if len(value) < size:
            break
        found[field[at]] = value
        at += 2 + size
    return found


def lease(state: State, eni: Eni, region: str) -> dict[int, bytes]:
    """Give the options that configure an ENI: RFC 2132, in the order of EC2's leases."""
    subnet = state.subnets[eni.subnet]
    cidr = IPv4Network(subnet.cidr)
    name, domain = name_of(eni.addresses[0], region).split(".", 1)
    return {
        1: cidr.netmask.packed,
        3: cidr[1].packed,
        6: IPv4Network(subnet.vpc_cidr)[2].packed,
        12: name.encode(),
        15: domain.encode(),
        26: struct.pack("!H", network.VPC_MTU),
        28: cidr.broadcast_address.packed,
    }


def answer(state: State, region: str, bridge: str, mac: str, packet: bytes) -> bytes:
    """Answer an IP packet that a MAC has sent to a subnet's bridge; b"" for silence."""
    data = packet[(packet[0] & 15) * 4 :][8:]
    eni = _whose(state, bridge, mac)
    if eni is None or len(data) < FIXED.size:
        return b""
    asked = FIXED.unpack_from(data)
    operation, _, size, _, number, _, flags, current, _, _, relay, hardware, cookie = asked
    own = bytes.fromhex(mac.replace(":", ""))
    if (operation, size, hardware[:6], cookie) != (1, 6, own, COOKIE) or any(relay):
        return b""
    given = read(data[FIXED.size :])
    server = IPv4Network(state.subnets[eni.subnet].cidr)[1].packed
    if given.get(54, server) != server:
        return b""  # it has taken another server's offer
    primary = IPv4Address(eni.addresses[0]).packed
    told = {54: server, 51: struct.pack("!I", LEASE_SECONDS), **lease(state, eni, region)}
    yours = primary
    match given.get(53):
        case b"\x01":
            kind = OFFER
        case b"\x03" if given.get(50, current) == primary:
            kind = ACK
        case b"\x03":
            kind, told, yours = NAK, {54: server}, bytes(4)
        case b"\x08":
            kind, yours = ACK, bytes(4)
            del told[51]
        case _:
            return b""
    to = yours if any(yours) and not flags & 0x8000 else EVERYBODY
    if kind == ACK and current == primary:  # it has the address already
        to = current
    fixed = FIXED.pack(
        2, 1, 6, 0, number, 0, flags, bytes(4) if kind == NAK else current, yours, bytes(4),
        bytes(4), hardware, COOKIE,
    )  # fmt: skip
    return _datagram(server, to, (fixed + _write({53: bytes([kind]), **told})).ljust(300, b"\0"))


def _whose(state: State, bridge: str, mac: str) -> Eni | None:
    for eni in state.enis.values():
        if eni.mac == mac and network.bridge_name(eni.subnet) == bridge:
            found = state.instances.get(eni.instance)
            return eni if found and found.running else None
    return None


def _write(options: Mapping[int, bytes]) -> bytes:
    return b"".join(bytes((key, len(value))) + value for key, value in options.items()) + b"\xff"


def _datagram(source: bytes, to: bytes, data: bytes) -> bytes:
    size = 8 + len(data)
    pseudo = source + to + struct.pack("!HH", socket.IPPROTO_UDP, size)
    ports = struct.pack("!HHH", SERVER, CLIENT, size)
    udp = ports + struct.pack("!H", _checksum(pseudo + ports + data) or 0xFFFF) + data
    start = struct.pack("!BBHHHBB", 0x45, 0, 20 + size, 0, 0, 64, socket.IPPROTO_UDP)
    return start + struct.pack("!H", _checksum(start + source + to)) + source + to + udp


def _checksum(data: bytes) -> int:
    """Sum as the internet does (RFC 1071)."""
    data += b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


class Dhcp:
    """The service of a region; `follow` is told what exists."""

    def __init__(self, region: str) -> None:
        self.region = region
        self.state = State({}, {}, {}, {})
        self._open: dict[str, Service] = {}

    def follow(self, state: State) -> None:
        """Serve what exists now, in each VPC that has a router. Raises OSError."""
        self.state = state
        wanted = network.vpcs(state)
        for vpc in self._open.keys() - wanted:
            self._open.pop(vpc).end()  # an open socket would keep the router's namespace
        for vpc in wanted - self._open.keys():
            self._open[vpc] = Service(self, vpc)


class Service:
    """The listener of one VPC's router: who has no address yet is spoken to by its MAC."""

    def __init__(self, dhcp: Dhcp, vpc: str) -> None:
        self.dhcp = dhcp
        self._ended = os.eventfd(0)
        self._socket = kernel.in_netns(network.vpc_netns(vpc), _listen)
        self._thread = threading.Thread(target=self._serve, name=f"dhcp {vpc}", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        poll = select.poll()
        for descriptor in (self._ended, self._socket.fileno()):
            poll.register(descriptor, select.POLLIN)
        while all(descriptor != self._ended for descriptor, _ in poll.poll()):
            with contextlib.suppress(OSError):  # the bridge it came by is gone
                packet, (bridge, _, _, _, mac) = self._socket.recvfrom(65536)
                told = answer(self.dhcp.state, self.dhcp.region, bridge, mac.hex(":"), packet)
                if told:
                    self._socket.sendto(told, (bridge, IPV4, 0, 0, mac))

    def end(self) -> None:
        """Listen no more, from now on."""
        os.eventfd_write(self._ended, 1)
        self._thread.join()
        self._socket.close()
        os.close(self._ended)


def _listen() -> socket.socket:
    """Open a socket for packets of any bridge; each comes with its sender's MAC (packet(7))."""
    kind = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK
    made = socket.socket(socket.AF_PACKET, kind, socket.htons(IPV4))
    program = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *each) for each in FILTER))
    given = struct.pack("@HP", len(FILTER), ctypes.addressof(program))
    made.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, given)
    with contextlib.suppress(BlockingIOError):
        while True:  # what came before there was a filter
            made.recv(1)
    return made
