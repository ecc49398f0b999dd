"""Work on many labs at once, in threads; Ctrl-C stops each before its next action."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from osawslab.errors import LabError, StepFailed
from osawslab.reach import Quiet

AT_ONCE = 8  # below the 10 connections of a client of botocore's, and EC2's request buckets
Say = Callable[[str], None]
Went = tuple[LabError | None, float]  # what went wrong, and the seconds it took


class Stoppable(Quiet):
    """Show nothing, and stop a seat before its next action when that is wanted."""

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop

    def action(self, text: str, *, where: str = "", command: str = "") -> None:
        """Go on, or raise StepFailed."""
        if self._stop.is_set():
            raise StepFailed("stopped by Ctrl-C", seen=f"before: {text}", next="lab.seats()")


def at_once(found: list[str], work: Callable[[str, Stoppable], None], say: Say) -> dict[str, Went]:
    """Work on seats in threads, AT_ONCE of them; how each went, and the seconds it took.

    Ctrl-C lets each end the action that it is at, and begins no other.
    """
    stop, slots = threading.Event(), threading.Semaphore(AT_ONCE)
    progress = Stoppable(stop)
    broke = StepFailed("an error of the program stopped it", next="lab.seats()")
    went: dict[str, Went] = dict.fromkeys(found, (broke, 0.0))  # an error that is none of ours

    def one(name: str) -> None:
        error: LabError | None = None
        with slots:
            started = time.monotonic()
            try:
                progress.action("it began")
                work(name, progress)
            except LabError as met:
                error = met
            went[name] = (error, time.monotonic() - started)
        say(f"{name}: {error.what if error else 'done'} ({went[name][1]:.0f} s)")

    threads = [threading.Thread(target=one, args=(name,), daemon=True) for name in found]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    except KeyboardInterrupt:
        stop.set()
        say("stopping after the calls under way; Ctrl-C again does not wait for them")
        for thread in threads:
            if thread.ident:
                thread.join()
        raise
    return went
