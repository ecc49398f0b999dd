"""The proof of the drop where nobody but the instance can look: what left, and no answer."""

from __future__ import annotations

import struct
from types import SimpleNamespace
from typing import Any

import pytest

from osawslab.host.ping import Ping
from osawslab.settings import Settings
from osawslab.steps import see_the_drop
from osawslab.steps.trial import Trial

GATEWAY = "fa:16:3e:00:00:01"
REGISTERED = "02:00:00:00:00:02"
HEADER = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1)  # pcap-savefile(5), Ethernet


def capture(*sources: str) -> bytes:
    frames = (b"\xff" * 6 + bytes.fromhex(mac.replace(":", "")) + b"\x08\x06" for mac in sources)
    return HEADER + b"".join(struct.pack("<IIII", 0, 0, 14, 14) + frame for frame in frames)


@pytest.mark.parametrize(
    ("captured", "received", "ok", "seen"),
    [
        (capture(GATEWAY, REGISTERED), 0, True, f"left the NIC with MAC {GATEWAY}, no answer"),
        (capture(GATEWAY), 1, False, f"left the NIC with MAC {GATEWAY}, an answer"),
        (capture(REGISTERED), 0, False, f"none left the NIC with MAC {GATEWAY}, no answer"),
        (capture(), 0, False, f"none left the NIC with MAC {GATEWAY}, no answer"),
        (b"", 0, False, f"none left the NIC with MAC {GATEWAY}, no answer"),
    ],
)
def test_what_left_is_seen_in_the_capture(
    captured: bytes, received: int, ok: bool, seen: str
) -> None:
    site: Any = SimpleNamespace(settings=Settings())
    ground: Any = None
    tried = Trial(Ping(3, received, "", captured, ()), None)
    facts = see_the_drop.Seen(ground, tried, GATEWAY, REGISTERED, "live")
    [check] = [each for each in see_the_drop.checks(site, facts) if "became" in each.what]
    assert (check.ok, check.seen) == (ok, seen)
    assert check.next
