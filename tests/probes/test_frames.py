"""Frames made by hand: what they say, and which answer is theirs."""

from __future__ import annotations

import pytest

from osawslab.host import wire
from osawslab.probes import frames

ONE, TWO = ("02:00:00:00:00:01", "172.16.20.101"), ("02:00:00:00:00:02", "172.16.20.102")


def test_a_ping_is_one() -> None:
    ping = frames.echo(ONE, TWO, 7)
    assert ping[:14].hex() == "020000000002" + "020000000001" + "0800"
    assert frames.checksum(ping[14:34]) == 0  # RFC 1071: over what is summed, the sum is 0
    assert frames.checksum(ping[34:58]) == 0
    assert ping[34] == 8
    assert (ping[26:30], ping[30:34]) == (frames.ip(ONE[1]), frames.ip(TWO[1]))


def test_arp_says_its_pair() -> None:
    asked = frames.arp(ONE[0], ONE, TWO[1])
    assert asked[:6].hex(":") == frames.BROADCAST
    assert frames.says(asked) == ONE[0]
    assert asked[38:42] == frames.ip(TWO[1])
    assert len(asked) == 60


def _answer(number: int, peer: str) -> bytes:
    ping = frames.echo((TWO[0], peer), ONE, number)
    return ping[:34] + b"\0" + ping[35:]


def _offer(number: int) -> bytes:
    asked = bytearray(frames.discover(ONE[0], number))
    asked[34:38] = b"\0\x43\0\x44"
    asked[58:62] = frames.ip(ONE[1])
    return bytes(asked)


@pytest.mark.parametrize(
    ("match", "frame", "fits"),
    [
        (frames.echo_answer("8.8.8.8", 7), _answer(7, "8.8.8.8"), True),
        (frames.echo_answer("8.8.8.8", 7), _answer(8, "8.8.8.8"), False),
        (frames.echo_answer("8.8.8.8", 7), _answer(7, "8.8.4.4"), False),
        (frames.echo_answer("8.8.8.8", 7), frames.echo(("02:00:00:00:00:02", "8.8.8.8"), ONE, 7),
         False),
        (frames.that_datagram(7), frames.datagram(ONE, TWO, 7), True),
        (frames.that_datagram(7), frames.datagram(ONE, TWO, 8), False),
        (frames.arp_answer(TWO[1]), frames.arp(TWO[0], TWO, ONE[1], 2, ONE[0]), True),
        (frames.arp_answer(TWO[1]), frames.arp(TWO[0], TWO, ONE[1]), False),
        (frames.arp_question(TWO[1]), frames.arp(ONE[0], ONE, TWO[1]), True),
        (frames.arp_question(TWO[1]), frames.arp(TWO[0], TWO, TWO[1], 2), False),
        (frames.offer(7), _offer(7), True),
        (frames.offer(7), _offer(8), False),
        (frames.offer(7), frames.discover(ONE[0], 7), False),
    ],
)  # fmt: skip
def test_an_answer_is_told_from_all_else(match: frames.Match, frame: bytes, fits: bool) -> None:
    assert frames.matches(frame, match) is fits


def test_an_offer_tells_its_address() -> None:
    assert frames.offered(_offer(7)) == ONE[1]


def test_a_wanted_address_is_asked_for() -> None:
    assert bytes([50, 4]) + frames.ip(TWO[1]) in frames.discover(ONE[0], 7, TWO[1])


def test_a_nic_that_never_comes_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "PLUGGED_SECONDS", 0.0)
    nobody = frames.FOREIGN
    told = wire.main({"nic": nobody, "listen": nobody, "match": [], "frame": "", "seconds": 1})
    assert told == {"names": {nobody: ""}, "sent": 0, "found": ""}
