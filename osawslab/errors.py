"""The errors a learner can meet, each named after what can be done about it.

A message says what happened, what was seen and, in `next`, what to type.

>>> error = StepNotReady("no gateway port", seen="no qg- in qrouter-…", next="lab.networks()")
>>> print(error)
no gateway port
  seen: no qg- in qrouter-…
  next: lab.networks()
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path


class LabError(Exception):
    """Something a learner can act on: what happened, what was seen, what to type next."""

    def __init__(self, what: str, *, seen: str = "", next: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.seen = seen
        self.next = next

    def __str__(self) -> str:
        lines = [self.what]
        if self.seen:
            lines.append(f"  seen: {self.seen}")
        if self.next:
            lines.append(f"  next: {self.next}")
        return "\n".join(lines)


class BadSetting(LabError, ValueError):
    """A setting has a wrong type or value; nothing was done."""


class NoPlaceToRun(LabError, RuntimeError):
    """This machine lets no tier of the local region run; says which and why."""


class RegionGone(LabError, ConnectionError):
    """The region's API does not answer (any more)."""


class MissingTool(LabError, RuntimeError):
    """A program that is needed is not on this machine or on the instance."""


class LabBusy(LabError, RuntimeError):
    """Another process works on this lab right now."""


class StepNotReady(LabError, RuntimeError):
    """A step was called before those it stands on."""


class StepFailed(LabError, RuntimeError):
    """An action of a step did not work; what was done before it stays and is adopted."""


class CheckFailed(LabError, AssertionError):
    """A step ran, but its proof does not hold."""


class LabTimeout(LabError, TimeoutError):
    """Something that was waited for did not happen within its bound."""


class CannotReach(LabError, ConnectionError):
    """An address does not answer on SSH, or not with the key that is known."""


class WrongHostKey(CannotReach):
    """An address shows another SSH host key than the one that is known; nobody logged in."""


class Refused(LabError, PermissionError):
    """EC2 or the host refused; the message carries their own words."""


class NoCredentials(Refused):
    """AWS does not know who asks: no key, a wrong one, or one that has expired."""


class NoPrice(LabError, LookupError):
    """What something costs is not known, and not guessed."""


class PriceNotConfirmed(LabError, RuntimeError):
    """Something would cost money that nobody has agreed to; nothing was made."""


class BadCapture(LabError, ValueError):
    """The bytes are no capture that can be read."""


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Say what to do where the lab's own files cannot be written. Raises NoPlaceToRun."""
    try:
        yield
    except LabError:
        raise
    except OSError as error:
        raise NoPlaceToRun(
            f"the lab's files in {path} cannot be written",
            seen=str(error),
            next="make room there, or export XDG_STATE_HOME=/some/folder/of/yours",
        ) from error
