"""Frames out of what `host.listen` writes: blocks of the kernel's rings, and logged drops.

Layout and flags: linux/if_packet.h (TPACKET_V3); numbers in a block are the host's, little endian
on all machines that EC2 has.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

BLOCK = struct.Struct("<8x4I")  # status, frames, offset of the first one, bytes used
PACKET = struct.Struct("<6I2H4xIH")  # next, s, ns, captured, length, status, mac, net, VLAN, TPID
SENDER = 48 + 10  # where sockaddr_ll has the packet's type: TPACKET_ALIGN of the header, and 10
OUTGOING, VLAN, TPID = 4, 1 << 4, 1 << 6  # PACKET_OUTGOING; TP_STATUS_VLAN_VALID, …_TPID_VALID
IN, OUT = 1, 2  # as pcapng's flags say it


class Seen(NamedTuple):
    """A frame at a point."""

    time: int  # nanoseconds since 1970
    point: int
    direction: int  # 0 unknown
    length: int  # bytes on the wire
    data: bytes
    reason: str = ""  # why it was dropped, where the point is drops


def block(point: int, data: bytes) -> Iterator[Seen]:
    """Read the frames of a block, each with the VLAN tag that the kernel has taken off it."""
    _, count, at, _ = BLOCK.unpack_from(data)
    for _ in range(count):
        step, seconds, rest, captured, length, status, mac, _, vlan, kind = PACKET.unpack_from(
            data, at
        )
        frame = data[at + mac : at + mac + captured]
        if status & VLAN:
            tag = struct.pack(">HH", kind if status & TPID else 0x8100, vlan)
            frame, length = frame[:12] + tag + frame[12:], length + 4
        direction = OUT if data[at + SENDER] == OUTGOING else IN
        yield Seen(seconds * 10**9 + rest, point, direction, length, frame)
        at += step


def drop(point: int, data: bytes) -> Seen:
    """Read a dropped frame and its reason."""
    reason, _, frame = data[8:].partition(b"\0")
    time = int.from_bytes(data[:8], "little")
    return Seen(time, point, 0, len(frame), frame, reason.decode(errors="replace"))
