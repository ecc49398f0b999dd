"""Faults that nobody has foreseen: the station that fails is named, and what it saw there."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from osawslab import Lab, confusion
from osawslab.cloud import handbuilt

sys.path.insert(0, str(Path(__file__).parent))

from by_hand import BY_HAND

pytestmark = pytest.mark.kernel
ROUNDS = 2


@pytest.fixture(scope="module")
def lab(home: Path) -> Iterator[Lab]:
    with confusion.made("byhand", confusion.SWITCHED) as made:
        yield made


@pytest.mark.parametrize(
    ("key", "command", "back"), [pytest.param(k, c, b, id=what) for k, what, c, b in BY_HAND]
)
def test_what_nobody_foresaw_is_not_called_healthy(
    lab: Lab, key: str, command: str, back: str
) -> None:
    called = handbuilt.names(lab.settings.name, lab.settings.vm_name)
    words = {
        "QR": called.router_netns, "QG": called.gateway, "QINNER": called.inner,
        "VM": called.vm_netns, "NIC": "eth1", "MAC": lab._site().read_ec2().registered_mac,
    }  # fmt: skip
    for word, value in words.items():
        command, back = command.replace(f"{{{word}}}", value), back.replace(f"{{{word}}}", value)
    lab.host().run(command)
    found = now = lab.diagnose()
    for _ in range(ROUNDS):  # what is printed, where it is a command
        if now.cause and now.cause.mend.startswith("sudo "):
            confusion.typed(lab, now.cause.mend)
            now = lab.diagnose()
    printed = now is not found
    mended = now.ok
    lab.host().run(f"{{ {back}; }} 2>/dev/null || true")  # also what a command has left behind
    assert found.cause is not None
    assert found.cause.key == key, found.text
    assert found.cause.seen
    assert found.cause.evidence
    assert mended or not printed, now.text
    assert lab.diagnose().ok
