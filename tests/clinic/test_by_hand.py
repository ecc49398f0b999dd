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
    words = {"QR": called.router_netns, "QG": called.gateway, "VM": called.vm_netns}
    for word, value in words.items():
        command, back = command.replace(f"{{{word}}}", value), back.replace(f"{{{word}}}", value)
    lab.host().run(command)
    found = lab.diagnose()
    lab.host().run(back)
    assert found.cause is not None
    assert found.cause.key == key, found.text
    assert found.cause.seen
    assert found.cause.evidence
    assert lab.diagnose().ok
