"""Hear which frames pass the host's interfaces; part of what `look` sends, and sent by itself."""

from __future__ import annotations

import contextlib
import ctypes
import select
import socket
import struct
import time
from typing import Any

# Jump offsets as of `tcpdump -dd "arp or icmp"`, for Ethernet.
FILTER = ((0x28, 0, 0, 12), (0x15, 3, 0, 0x806), (0x15, 0, 3, 0x800), (0x30, 0, 0, 23),
          (0x15, 0, 1, 1), (6, 0, 0, 0x40000), (6, 0, 0, 0))  # fmt: skip
# The same of `tcpdump -dd "tcp[tcpflags] & tcp-syn != 0"`.
SYN = ((0x28, 0, 0, 12), (0x15, 0, 8, 0x800), (0x30, 0, 0, 23), (0x15, 0, 6, 6), (0x28, 0, 0, 20),
       (0x45, 4, 0, 0x1FFF), (0xB1, 0, 0, 14), (0x50, 0, 0, 27), (0x45, 0, 1, 2),
       (6, 0, 0, 0x40000), (6, 0, 0, 0))  # fmt: skip


class Ear:
    """Hear ARP and ICMP, or what `program` lets through, on every interface of this namespace.

    Promiscuity stays as it is.
    """

    def __init__(self, program: Any = FILTER) -> None:
        self.socket: Any = None
        with contextlib.suppress(OSError, AttributeError):
            made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
            code = b"".join(struct.pack("HBBI", *each) for each in program)
            held = ctypes.create_string_buffer(code)
            about = struct.pack("HL", len(program), ctypes.addressof(held))
            made.setsockopt(socket.SOL_SOCKET, 26, about)  # SO_ATTACH_FILTER
            self.socket = made

    def heard(self) -> list[list[str]]:
        """Give what has come: interface, out or in, MACs from and to, protocol, from, to."""
        rows: list[list[str]] = []
        while self.socket and select.select([self.socket], [], [], 0)[0] and len(rows) < 2000:
            data, about = self.socket.recvfrom(256)
            line = told(data)
            if line:
                row = [about[0], "out" if about[2] == 4 else "in", *line]
                if row not in rows:
                    rows.append(row)
        return rows


def told(data: bytes) -> list[str]:
    """Name a frame's MACs, protocol and addresses."""
    there, here = (":".join(f"{byte:02x}" for byte in data[at : at + 6]) for at in (0, 6))
    if data[12:14] == b"\x08\x06" and len(data) >= 42:
        words = "who-has" if data[21] == 1 else "is-at"
        return [here, there, f"arp {words}", socket.inet_ntoa(data[28:32]),
                socket.inet_ntoa(data[38:42])]  # fmt: skip
    if data[12:14] == b"\x08\x00" and data[23:24] == b"\x01" and len(data) >= 35:
        kind = {0: "reply", 3: "unreachable", 8: "request", 11: "exceeded"}.get(data[34], "other")
        return [here, there, f"icmp {kind}", socket.inet_ntoa(data[26:30]),
                socket.inet_ntoa(data[30:34])]  # fmt: skip
    at = 14 + (data[14] & 15) * 4 if data[12:14] == b"\x08\x00" else len(data)
    if data[23:24] == b"\x06" and len(data) >= at + 14:
        source, port = struct.unpack("!HH", data[at : at + 4])
        words = f"syn-ack {source}" if data[at + 13] & 16 else f"syn {port}"
        return [here, there, f"tcp {words}", socket.inet_ntoa(data[26:30]),
                socket.inet_ntoa(data[30:34])]  # fmt: skip
    return []


def knocks(given: dict[str, Any]) -> list[list[str]]:
    """Hear for some seconds who begins a TCP connection, and who answers that."""
    ear, end = Ear(SYN), time.monotonic() + given["seconds"]
    rows: list[list[str]] = []
    while ear.socket and time.monotonic() < end:
        rows += [row for row in ear.heard() if row not in rows]
        select.select([ear.socket], [], [], max(0.0, end - time.monotonic()))
    return rows
