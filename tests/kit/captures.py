"""Captures for tests: what tcpdump has recorded, and frames made by hand."""

from __future__ import annotations

import base64
import struct
from types import SimpleNamespace
from typing import Any

from osawslab.observe.capture import load_capture

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
