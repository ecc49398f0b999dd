"""Hear which ARP and ICMP frames pass the host's interfaces; part of what `look` sends."""

from __future__ import annotations

import contextlib
import ctypes
import select
import socket
import struct
from typing import Any

# Jump offsets as of `tcpdump -dd "arp or icmp"`, for Ethernet.
FILTER = ((0x28, 0, 0, 12), (0x15, 3, 0, 0x806), (0x15, 0, 3, 0x800), (0x30, 0, 0, 23),
          (0x15, 0, 1, 1), (6, 0, 0, 0x40000), (6, 0, 0, 0))  # fmt: skip


class Ear:
    """Hear ARP and ICMP on every interface of this namespace; promiscuity stays as it is."""

    def __init__(self) -> None:
        self.socket: Any = None
        with contextlib.suppress(OSError, AttributeError):
            made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
            code = b"".join(struct.pack("HBBI", *each) for each in FILTER)
            held = ctypes.create_string_buffer(code)
            program = struct.pack("HL", len(FILTER), ctypes.addressof(held))
            made.setsockopt(socket.SOL_SOCKET, 26, program)  # SO_ATTACH_FILTER
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
    if data[12:14] == b"\x08\x00" and len(data) >= 35:
        kind = {0: "reply", 3: "unreachable", 8: "request", 11: "exceeded"}.get(data[34], "other")
        return [here, there, f"icmp {kind}", socket.inet_ntoa(data[26:30]),
                socket.inet_ntoa(data[30:34])]  # fmt: skip
    return []
