"""Questions that were answered: whose answer is there was delivered, whoever cannot look.

ARP who-has and is-at (RFC 826), echo request and reply (RFC 792), SYN and what acknowledges it
(RFC 9293); matched by the fields that an answer repeats, not by time alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

Key = tuple[bytes, ...]
ARP, IPV4 = b"\x08\x06", b"\x08\x00"
ICMP, TCP = 1, 6
ECHO, REPLY = 8, 0
SYN, ACK = 0x02, 0x10


def answered(frames: Iterable[tuple[int, bool, bytes]]) -> set[int]:
    """Find the frames that were answered: each has its number, whether it goes out, its bytes.

    In the order of time. One that was asked again before the answer is not known to be it.
    """
    asked: dict[Key, list[int]] = defaultdict(list)
    found: set[int] = set()
    for number, out, data in frames:
        key = _key(data, answer=not out)
        if key is None:
            continue
        if out:
            asked[key].append(number)
        elif len(numbers := asked.pop(key, [])) == 1:
            found.update(numbers)
    return found


def _key(data: bytes, *, answer: bool) -> Key | None:
    """Give what a question and its answer share; None for what is neither."""
    kind = data[12:14]
    if kind == ARP and len(data) >= 42:
        sender, target = data[22:32], data[32:42]  # MAC and address of each
        if answer:
            sender, target = target, sender
        operation = 2 if answer else 1
        return (ARP, sender, target[6:]) if data[21] == operation else None
    if kind != IPV4 or len(data) < 34:
        return None
    at = 14 + 4 * (data[14] & 15)
    ends = data[26:30], data[30:34]
    source, target = ends[::-1] if answer else ends
    if data[23] == ICMP and len(data) >= at + 8:
        wanted = REPLY if answer else ECHO
        return (b"echo", source, target, data[at + 4 : at + 8]) if data[at] == wanted else None
    if data[23] == TCP and len(data) >= at + 14:
        ports = data[at : at + 2], data[at + 2 : at + 4]
        here, there = ports[::-1] if answer else ports
        number = int.from_bytes(data[at + 4 : at + 8], "big") + 1 & 0xFFFFFFFF
        told = data[at + 8 : at + 12] if answer else number.to_bytes(4, "big")
        right = data[at + 13] & ACK if answer else data[at + 13] & (SYN | ACK) == SYN
        return (b"tcp", source, target, here, there, told) if right else None
    return None
