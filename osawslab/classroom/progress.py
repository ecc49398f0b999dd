"""How far a learner is: from the record that the steps of the lab write.

The record is a learner's own file: nothing it says is trusted, and no link in it is followed.
"""

from __future__ import annotations

import json
import os
import re
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from osawslab.steps.reached import last
from osawslab.steps.run import TOUR

NAME = re.compile(r"[a-z0-9+-]{1,60}")  # of an exercise
MOST = 1 << 20  # bytes of a record that are read
_WIDTH = 60  # characters of what a check said


@dataclass(frozen=True)
class Progress:
    """What a learner has reached, asked and been told."""

    step: str = ""  # the last that holds, with all before it
    check: str = ""  # the last one, "" for none
    holds: bool = True
    failed: str = ""  # what did not hold
    at: int = 0  # seconds since 1970 of the last thing that was done
    hints: dict[str, int] = field(default_factory=dict)  # step -> how many
    exercise: str = ""  # the last one, and how far it is

    @property
    def told(self) -> str:
        """Say the last check in words."""
        if not self.check:
            return "-"
        return f"{self.check}: {'holds' if self.holds else self.failed or 'does not hold'}"

    @property
    def data(self) -> dict[str, Any]:
        """Give it for programs."""
        check = {"step": self.check, "ok": self.holds, "what": self.failed} if self.check else None
        total = sum(self.hints.values())
        return {"step": self.step, "check": check, "hints": total, "at": self.at or None,
                "exercise": self.exercise or None}  # fmt: skip


def read(home: Path, name: str) -> Progress:
    """Read the record `name` in a learner's home. Another file in its place counts as none."""
    try:
        folder = os.open(home, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return Progress()
    try:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
        file = os.open(name, flags, dir_fd=folder)
    except OSError:
        return Progress()
    finally:
        os.close(folder)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        return Progress()
    with os.fdopen(file, "rb") as opened:
        return summed(_lines(opened.read(MOST)))


def _lines(text: bytes) -> Iterator[tuple[str, str, bool, str, int]]:
    for line in text.splitlines():
        try:
            told = json.loads(line)
            did, step, at = str(told["did"]), str(told["step"]), int(told["at"])
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            continue
        known = step in (*TOUR, "tear_down") or (did == "exercise" and NAME.fullmatch(step))
        if known and 0 < at < time.time() + 86_400:
            said = "".join(c for c in str(told.get("what", "")) if c.isprintable())
            yield did, step, told.get("ok") is True, said[:_WIDTH], at


def summed(lines: Iterator[tuple[str, str, bool, str, int]]) -> Progress:
    """Sum a record up.

    >>> summed(iter([("hint", "provision", True, "", 1), ("run", "provision", True, "", 2)])).step
    'provision'
    """
    step, check, holds, failed, at, exercise = "", "", True, "", 0, ""
    hints: dict[str, int] = {}
    for did, what, ok, said, when in lines:
        at = when
        if did == "exercise":
            exercise = f"{what}: {said}"
        if did == "hint":
            hints[what] = hints.get(what, 0) + 1
            continue
        if did in ("run", "check"):
            check, holds, failed = what, ok, said
        if did in ("run", "reset"):
            if what == "tear_down":
                step = "" if ok else step
            else:
                step = last(TOUR, step, what, ok and did == "run")
    return Progress(step, check, holds, failed, at, hints, exercise)
