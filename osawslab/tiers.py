"""The tour in every tier of the local region that this machine has, timed."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from osawslab.errors import LabError
from osawslab.lab import Lab
from osawslab.region import local, tier


@contextmanager
def forced(name: str) -> Iterator[None]:
    """Have new regions run in this tier, or nowhere."""
    kept = os.environ.get("OSAWSLAB_TIER")
    os.environ["OSAWSLAB_TIER"] = name
    try:
        yield
    finally:
        if kept is None:
            del os.environ["OSAWSLAB_TIER"]
        else:
            os.environ["OSAWSLAB_TIER"] = kept


def measure() -> list[dict[str, Any]]:
    """Run the tour in each tier, from nothing; seconds are None where one does not work here.

    `ok` says that it works here and every check of every step held.
    """
    return [_measure(name) for name in tier.names()]


def _measure(name: str) -> dict[str, Any]:
    if not tier.attempt(name).works:
        return {"tier": name, "ok": False, "seconds": None}
    ok = False
    with forced(name), Lab("tiers", target="local") as lab:
        started = time.perf_counter()
        try:
            ok = all([lab.run(step).ok for step in lab.steps])
        except LabError:
            pass
        finally:
            seconds = time.perf_counter() - started
            lab.close()
            local.remove(lab.settings.name)
    return {"tier": name, "ok": ok, "seconds": round(seconds, 1)}
