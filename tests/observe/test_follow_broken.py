"""Whatever is in a capture, following it gives hops or an error of ours."""

from __future__ import annotations

import random
import struct

import pytest
from wayfarer import back, login, there, welcome, who_has

from osawslab.errors import LabError
from osawslab.observe.capture import Capture, load_capture


def broken(number: int) -> Capture:
    """Make a capture of the lab's frames in which bytes are others, or missing."""
    chance = random.Random(number)
    frames = [*there(), *back(), *login(), *welcome(), *who_has(["router gateway"])]
    chance.shuffle(frames)
    link = chance.choice([1, 1, 1, 101, 113, 276, 147, 0])
    data = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, link)
    for each in frames:
        frame = bytearray(each.data[14:] if link in (0, 101) else each.data)
        for _ in range(chance.choice([0, 0, 1, 3])):
            frame[chance.randrange(len(frame))] = chance.randrange(256)
        cut = chance.choice([len(frame), len(frame), chance.randrange(len(frame) + 1)])
        data += struct.pack("<IIII", chance.randrange(9), 0, cut, len(frame)) + frame[:cut]
    return load_capture(data)


@pytest.mark.parametrize("number", range(40))
def test_broken_frames(number: int) -> None:
    made, followed = broken(number), 0
    for what in (None, "icmp", "tcp", "arp", *range(len(made))):
        try:
            found = made.follow(what)
        except LabError:
            continue
        followed += 1
        assert len(found.rows) == len(found.hops) > 0
        assert found.outcome in found.picture.alt
        assert len(found.frame) == len(found.hops)
    assert followed or made.points[0].link in (0, 147, 113, 276)
