"""What was answered was delivered: by the fields that an answer repeats."""

from __future__ import annotations

import struct

import pytest
from wire import arp, echo_reply, ethernet, ipv4

from osawslab.observe.answers import answered

OURS, THEIRS = "02:aa:00:00:00:01", "0a:00:00:00:00:01"
HERE, THERE = "172.16.20.101", "172.16.20.1"


def who_has(address: str = THERE) -> bytes:
    return ethernet(OURS, "ff:ff:ff:ff:ff:ff", 0x806, arp(OURS, HERE, address))


def is_at(address: str = THERE) -> bytes:
    return ethernet(THEIRS, OURS, 0x806, arp(THEIRS, address, HERE, 2, OURS))


def echo(kind: int, seq: int, source: str = HERE, target: str = THERE) -> bytes:
    return ethernet(
        OURS, THEIRS, 0x800, ipv4(source, target, struct.pack("!BBHHH", kind, 0, 0, 7, seq))
    )


def tcp(flags: int, seq: int, ack: int, way: tuple[int, int], ends: tuple[str, str]) -> bytes:
    head = struct.pack("!HHIIBBHHH", *way, seq, ack, 5 << 4, flags, 0, 0, 0)
    return ethernet(OURS, THEIRS, 0x800, ipv4(*ends, head, 6))


OUT, BACK = ((40000, 80), (HERE, THERE)), ((80, 40000), (THERE, HERE))
SYN = tcp(0x02, 0xFFFFFFFF, 0, *OUT)


@pytest.mark.parametrize(
    ("sent", "came", "known"),
    [
        ([who_has()], [is_at()], {0}),
        ([who_has(), who_has("172.16.20.9")], [is_at()], {0}),
        ([who_has(), who_has()], [is_at()], set()),  # either may have been lost
        ([who_has()], [is_at("172.16.20.9")], set()),
        ([echo(8, 1), echo(8, 2)], [echo(0, 2, THERE, HERE)], {1}),
        ([echo(8, 1)], [echo(0, 1, "172.16.20.9", HERE)], set()),
        ([echo(8, 1)], [echo(8, 1, THERE, HERE)], set()),  # a question of theirs
        ([SYN], [tcp(0x12, 5, 0, *BACK)], {0}),
        ([SYN], [tcp(0x14, 0, 0, *BACK)], {0}),  # refused is an answer too
        ([SYN], [tcp(0x12, 5, 1, *BACK)], set()),
        ([who_has()[:30], echo(8, 1)[:36], b""], [is_at()[:30], b"\0" * 14], set()),
        ([ethernet(OURS, THEIRS, 0x800, ipv4(HERE, THERE, echo_reply(b"x")))], [is_at()], set()),
    ],
)
def test_only_what_is_answered_is_known(
    sent: list[bytes], came: list[bytes], known: set[int]
) -> None:
    frames = [(number, True, data) for number, data in enumerate(sent)]
    frames += [(len(sent) + number, False, data) for number, data in enumerate(came)]
    assert answered(frames) == known


def test_a_question_that_was_answered_can_be_asked_again() -> None:
    frames = [who_has(), is_at(), who_has(), is_at()]
    assert answered((n, n % 2 == 0, data) for n, data in enumerate(frames)) == {0, 2}


def test_an_answer_before_the_question_is_none() -> None:
    assert answered([(0, False, is_at()), (1, True, who_has())]) == set()
