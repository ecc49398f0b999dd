"""Faults on demand: what goes wrong on AWS now and then, at the calls that are named.

They are ordered over the region's control socket, for EC2's API has no words for them:

    local.find("lab").faults(Fault("refuse", code="RequestLimitExceeded"))
    local.find("lab").faults()  # and all is well again

or by a trainer: `./lab region faults refuse=RequestLimitExceeded`, `./lab region faults`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from osawslab.region.wire import Ec2Error

# HTTP status and words: EC2 API, "Error codes" and "Common errors"; what is a server error there
# is one here, and botocore tries it again.
CODES = {
    "AddressLimitExceeded": (400, "The maximum number of addresses has been reached."),
    "ExpiredToken": (400, "The provided token has expired."),
    "InsufficientInstanceCapacity": (
        500,
        "We currently do not have sufficient capacity in the Availability Zone you requested.",
    ),
    "InvalidAMIID.Unavailable": (400, "The image is no longer available."),
    "InternalError": (500, "An internal error has occurred."),
    "RequestExpired": (400, "Request has expired."),
    "RequestLimitExceeded": (503, "Request limit exceeded."),
    "UnauthorizedOperation": (403, "You are not authorized to perform this operation."),
    "Unavailable": (503, "The server is overloaded and can't handle the request."),
    "VcpuLimitExceeded": (400, "You have requested more vCPU capacity than your current limit."),
    "VpcLimitExceeded": (400, "The maximum number of VPCs has been reached."),
}
MOST_SECONDS = 3600.0
KINDS = ("refuse", "reset", "slow", "stale")


@dataclass(frozen=True)
class Fault:
    """What goes wrong, where, and how often.

    "refuse" answers with `code`; "reset" drops the connection; "slow" keeps the caller waiting
    for `seconds`; "stale" shows and knows what was there `seconds` ago, whatever the call. With
    `after` a call is carried out before it goes wrong: its answer is lost, or late. Raises
    ValueError.
    """

    kind: str
    code: str = ""
    calls: str = ""  # a pattern of EC2's actions, such as "Create*"; "": all that change something
    after: bool = False
    seconds: float = 0.0
    times: int = 1  # of such calls of one action so many go wrong, then one goes well; 0: all

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"no such fault: {self.kind!r}; there are {', '.join(KINDS)}")
        if self.kind == "refuse" and self.code not in CODES:
            raise ValueError(f"no such code: {self.code!r}; there are {', '.join(CODES)}")
        if self.kind in ("slow", "stale") and not 0 < self.seconds < MOST_SECONDS:
            raise ValueError(f"{self.kind} needs seconds, less than {MOST_SECONDS:.0f}")
        if self.times < 0:
            raise ValueError(f"a fault cannot happen {self.times} times")

    def meant(self, action: str, changes: bool) -> bool:
        """Say whether it is for such a call."""
        if self.kind == "stale":
            return False
        return fnmatchcase(action, self.calls) if self.calls else changes

    def strike(self) -> None:
        """Go wrong. Raises Ec2Error, Cut."""
        match self.kind:
            case "slow":
                time.sleep(self.seconds)
            case "reset":
                raise Cut
            case "refuse":
                status, message = CODES[self.code]
                raise Ec2Error(self.code, message, status)


def read(word: str) -> Fault:
    """Read a fault as one types it: KIND, KIND=CODE or KIND=SECONDS, and @CALLS behind it.

    "lost" is a connection that is dropped after the call. What refuses or cuts does so at every
    other such call; what is slow, always. Raises ValueError.

    >>> read("refuse=Unavailable@CreateVpc") == Fault("refuse", "Unavailable", "CreateVpc")
    True
    >>> read("slow=2@Describe*") == Fault("slow", calls="Describe*", seconds=2.0, times=0)
    True
    """
    told, _, calls = word.partition("@")
    kind, _, value = told.partition("=")
    if kind in ("slow", "stale"):
        return Fault(kind, calls=calls, seconds=float(value or 0), times=0)
    if kind == "lost":
        return Fault("reset", calls=calls, after=True)
    return Fault(kind, value, calls)


class Cut(ConnectionResetError):
    """The connection is to end without an answer."""


class Faults:
    """The faults that are ordered, and which calls have met them; for several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ordered: tuple[Fault, ...] = ()
        self._met: dict[tuple[Fault, str], int] = {}
        self.struck: dict[str, int] = {}  # action -> how often it has gone wrong

    def order(self, faults: Iterable[Mapping[str, Any]]) -> None:
        """Have these faults, given by their fields, from now on, and no others."""
        ordered = tuple(Fault(**each) for each in faults)
        with self._lock:
            self._ordered, self._met, self.struck = ordered, {}, {}

    @property
    def age(self) -> float:
        """How old what EC2 shows is, in seconds."""
        return max((each.seconds for each in self._ordered if each.kind == "stale"), default=0.0)

    @contextmanager
    def at(self, action: str, changes: bool) -> Iterator[None]:
        """Let a call go wrong as ordered; the block carries it out. Raises Ec2Error, Cut."""
        due = [each for each in self._ordered if self._due(each, action, changes)]
        self._strike(action, [each for each in due if not each.after])
        yield
        self._strike(action, [each for each in due if each.after])

    def _strike(self, action: str, due: list[Fault]) -> None:
        for each in due:
            with self._lock:
                self.struck[action] = self.struck.get(action, 0) + 1
            each.strike()

    def _due(self, fault: Fault, action: str, changes: bool) -> bool:
        if not fault.meant(action, changes):
            return False
        with self._lock:
            met = self._met.get((fault, action), 0)
            self._met[fault, action] = met + 1
        return not fault.times or met % (fault.times + 1) < fault.times
