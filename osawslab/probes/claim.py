"""A claim about AWS, and what came of trying it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from osawslab.errors import LabError

if TYPE_CHECKING:
    from osawslab.probes.ground import Ground

HOLDS, FAILS, UNTRIED = "holds", "does not hold", "could not be tried"


class CouldNotTry(LabError, RuntimeError):
    """A claim cannot be tried here; says why."""


@dataclass(frozen=True)
class Evidence:
    """One thing that was done: where, what a person could type or send, and what came of it."""

    where: str  # aws | instance | wire
    command: str
    output: str


@dataclass(frozen=True)
class Answer:
    """What an attempt saw, and whether that is what the claim says."""

    holds: bool
    seen: str

    @property
    def verdict(self) -> str:
        """Say it in words."""
        return HOLDS if self.holds else FAILS


@dataclass(frozen=True)
class Claim:
    """A sentence about AWS, what is expected if it is true, who says so, and how to try it.

    `attempt` leaves everything as it found it. It raises CouldNotTry.
    """

    key: str
    words: str
    expected: str
    source: str  # a URL
    attempt: Callable[[Ground], Answer]


@dataclass(frozen=True)
class Finding:
    """What came of a claim."""

    claim: Claim
    verdict: str
    seen: str
    evidence: tuple[Evidence, ...]
