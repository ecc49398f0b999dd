"""What a step has done in EC2, waited for until EC2 shows it: its lists may come late."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from osawslab.aws import once
from osawslab.report import Action


def shown(actions: tuple[Action, ...], holds: Callable[[], bool]) -> tuple[Action, ...]:
    """Have the last action wait until EC2 shows what all of them have done, a bounded time.

    What is not seen by then is the checks' to tell.
    """
    if not actions:
        return ()
    last = actions[-1]

    def end() -> None:
        last.do()
        once.until(holds, once.SEEN_SECONDS, once.PAUSE_SECONDS)

    return (*actions[:-1], replace(last, do=end))
