"""What is streamed into Wireshark, into a file, and to a reader that goes: without a lab."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from osawslab import wireshark
from osawslab.errors import BadSetting
from osawslab.observe.capture import load_capture
from osawslab.observe.live import Catch, Spot
from osawslab.observe.ring import IN, OUT, Seen
from osawslab.steps import listening

SPOTS = (
    Spot("router gateway", "qrouter", "qg-1", 3, "out"),
    Spot("VPC", "vpc", "p-1", 6, "in"),
    Spot("VPC drops", "vpc", "nflog:5", 7, "in", hidden=True),
)
FRAME = bytes(12) + b"\x88\xb5" + bytes(46)
LOST = {"VPC": 3, "VPC drops": 1}
LAB: Any = SimpleNamespace(_site=lambda: None)


def frames(tick: int) -> list[Seen]:
    """Give what comes in one tick: at the second point first, though it was there later."""
    return [Seen(10 * tick + point, point, (OUT, IN)[point], 60, FRAME) for point in (1, 0)]


class Session:
    """A capture that runs for some ticks."""

    spots, kinds = SPOTS, dict[int, int]()
    ticks, closed = 3, 0

    def __init__(self, *_: object) -> None:
        self.tick = 0

    @property
    def over(self) -> bool:
        return self.tick >= self.ticks

    def arrived(self) -> list[Seen]:
        self.tick += 1
        return frames(self.tick)

    def finish(self) -> Catch:
        return Catch(SPOTS, {}, frames(self.tick + 1), LOST, ended="3 frames were there")

    def close(self) -> None:
        type(self).closed += 1


@pytest.fixture(autouse=True)
def _session(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "Session", Session)
    monkeypatch.setattr(wireshark, "TICK", 0.001)
    monkeypatch.setattr(Session, "closed", 0)


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], None]:
    """Have a program called wireshark."""

    def make(script: str) -> None:
        path = tmp_path / "wireshark"
        path.write_text(f"#!/bin/sh\ncd {tmp_path}\n{script}\n")
        path.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    return make


def held(path: Path) -> None:
    """Hold a file against what the session gave: all, in order, and what was lost."""
    found = load_capture(path)
    assert found.columns["time"].values.tolist() == [
        10 * t + p for t in (1, 2, 3, 4) for p in (0, 1)
    ]
    assert found.columns["point"].texts()[:2] == ["router gateway", "VPC"]
    assert found.columns["direction"].texts()[:2] == ["out", "in"]
    assert found.lost == {"VPC": 3}  # the hidden point is no interface of the file


def test_wireshark_gets_all_on_its_standard_input(
    shown: Callable[[str], None], tmp_path: Path
) -> None:
    shown('echo "$@" > words; cat > part; mv part seen.pcapng')
    said = wireshark.stream(LAB, None, "", None)
    assert said.startswith("8 frames; captured at router gateway, VPC; ")
    end = time.monotonic() + 20
    while not (tmp_path / "seen.pcapng").exists() and time.monotonic() < end:
        time.sleep(0.01)
    held(tmp_path / "seen.pcapng")
    assert (tmp_path / "words").read_text() == "-k -i -\n"
    assert Session.closed


def test_a_reader_that_goes_ends_it(
    shown: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Session, "ticks", 1 << 30)
    shown("exec head -c 50 > part")
    assert wireshark.stream(LAB, None, "", None).endswith("frames until nobody read them any more")
    assert Session.closed


def test_a_file_gets_all(tmp_path: Path) -> None:
    path = tmp_path / "seen.pcapng"
    assert wireshark.stream(LAB, None, "", str(path)).startswith("8 frames; ")
    held(path)


@pytest.mark.parametrize(
    ("name", "seen"),
    [("none/seen.pcapng", "No such file or directory"), ("/dev/full", "No space left on device")],
)
def test_a_file_that_cannot_be_written_is_said(name: str, seen: str, tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match="cannot be written") as caught:
        wireshark.stream(LAB, None, "", str(tmp_path / name))
    assert caught.value.seen == seen
    assert caught.value.next == "--write FILE"
