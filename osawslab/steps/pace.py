"""How long the rest of a step will take, by what its actions took the last time here."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

KEPT_SECONDS = 1.0  # and what takes less is many and small
WORTH_SECONDS = 10.0  # nobody waits for less with a watch in the hand


class Pace:
    """The seconds that each action took, kept in a file; without one nothing is known."""

    def __init__(self, file: Path | None) -> None:
        self.file = file
        self.known = self._read()
        self._taken: dict[str, float] = {}

    def _read(self) -> dict[str, float]:
        with contextlib.suppress(OSError, ValueError, TypeError, AttributeError):
            found = json.loads(self.file.read_text()) if self.file else {}
            return {str(key): float(value) for key, value in found.items()}
        return {}

    def left(self, step: str, whys: Sequence[str]) -> str:
        """Say how long these actions will take; "" where that is short, or where they never
        went through here to the last one. What took no time is not kept, and counts as none.

        >>> pace = Pace(None)
        >>> pace.known = {"networks: a VM": 95.0}
        >>> pace.left("networks", ["a name", "a VM"])
        ' (about 2 min left, by the last run)'
        >>> pace.left("networks", ["a VM", "another"])
        ''
        """
        seconds = [self.known.get(f"{step}: {why}", 0.0) for why in whys]
        total = sum(seconds)
        if total < WORTH_SECONDS or not seconds[-1]:
            return ""
        span = f"{total / 60:.0f} min" if total >= 90 else f"{total:.0f} s"
        return f" (about {span} left, by the last run)"

    @contextlib.contextmanager
    def timed(self, step: str, why: str) -> Iterator[None]:
        """Time an action; one that fails is not counted."""
        started = time.monotonic()
        yield
        seconds = time.monotonic() - started
        if seconds >= KEPT_SECONDS:
            self._taken[f"{step}: {why}"] = round(seconds, 1)

    def keep(self) -> None:
        """Add to the file, whole or not at all; where it cannot be written, nothing is lost."""
        known = {**self._read(), **self._taken}  # other labs have written meanwhile
        if self.file is None or not self._taken or max(known.values()) < WORTH_SECONDS:
            return
        with contextlib.suppress(OSError):
            self.file.parent.mkdir(parents=True, exist_ok=True)
            descriptor, part = tempfile.mkstemp(dir=self.file.parent, prefix=".pace-")
            with os.fdopen(descriptor, "w") as file:
                json.dump(known, file)
            Path(part).replace(self.file)
