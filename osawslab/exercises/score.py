"""What a learner has found: kept as one tag of the instance, so that a trainer can read it.

A tag's value has 256 characters at most, and no commas; see
https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Tags.html.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from dataclasses import dataclass

LONGEST = 256
ENTRY = re.compile(r"([a-z0-9+-]+)\.(\d+)\.([01]+)\.([0-3]+)\.(\d+)\.(\d+)(m?)")


@dataclass(frozen=True)
class Score:
    """How far one exercise is. `found` and `hints` have a number for each cause."""

    exercise: str
    seed: int
    found: tuple[bool, ...]
    hints: tuple[int, ...]  # the highest level that was read
    wrong: int = 0  # answers
    began: int = 0  # seconds since 1970
    minutes: int | None = None  # from its beginning until the lab worked again; None before

    @property
    def mended(self) -> bool:
        """True where the lab works again."""
        return self.minutes is not None

    @property
    def done(self) -> bool:
        """True where every cause was named, and the lab works again."""
        return self.mended and all(self.found)

    @property
    def state(self) -> str:
        """Say in words how far it is."""
        if self.done:
            return "done"
        return "mended, not all named" if self.mended else "broken"

    @property
    def words(self) -> str:
        """Say it in a line: "1 of 2, 3 hints, 1 wrong, broken"."""
        wrong = f", {self.wrong} wrong" if self.wrong else ""
        return (
            f"{sum(self.found)} of {len(self.found)}, {sum(self.hints)} hints{wrong}, {self.state}"
        )

    @property
    def row(self) -> tuple[str, ...]:
        """Give it as COLUMNS have it."""
        return (
            self.exercise, str(self.seed), f"{sum(self.found)} of {len(self.found)}",
            str(sum(self.hints)), str(self.wrong), self.state,
            "" if self.minutes is None else f"{self.minutes} min",
        )  # fmt: skip

    @property
    def data(self) -> dict[str, object]:
        """Give it for programs."""
        return {
            "exercise": self.exercise, "seed": self.seed, "causes": len(self.found),
            "found": sum(self.found), "hints": sum(self.hints), "wrong": self.wrong,
            "state": self.state, "minutes": self.minutes,
        }  # fmt: skip

    def __str__(self) -> str:
        found = "".join(str(int(each)) for each in self.found)
        hints = "".join(map(str, self.hints))
        when = self.began if self.minutes is None else f"{self.minutes}m"
        return f"{self.exercise}.{self.seed}.{found}.{hints}.{self.wrong}.{when}"


COLUMNS = ("exercise", "seed", "causes named", "hints read", "wrong answers", "state", "time taken")


def begin(exercise: str, seed: int, causes: int) -> Score:
    """Begin now, with nothing found."""
    return Score(exercise, seed, (False,) * causes, (0,) * causes, began=int(time.time()))


def read(tag: str) -> tuple[Score, ...]:
    """Read the tag: the exercises of a lab, the last begun last. What is no entry is left out.

    >>> str(read("router.1.0.2.0.9m two.4.10.30.1.1700000000 nonsense")[1])
    'two.4.10.30.1.1700000000'
    """
    found = []
    for word in tag.split():
        if told := ENTRY.fullmatch(word):
            exercise, seed, causes, hints, wrong, when, ended = told.groups()
            if len(causes) == len(hints):
                found.append(
                    Score(
                        exercise, int(seed), tuple(each == "1" for each in causes),
                        tuple(map(int, hints)), int(wrong), 0 if ended else int(when),
                        int(when) if ended else None,
                    )
                )  # fmt: skip
    return tuple(found)


def write(scores: Iterable[Score]) -> str:
    """Write the tag; where not all fit, the oldest are left out."""
    words = [str(each) for each in scores]
    while len(" ".join(words)) > LONGEST:
        del words[0]
    return " ".join(words)


def noted(scores: Iterable[Score], new: Score) -> tuple[Score, ...]:
    """Put a score in the place of the older one of the same exercise, else at the end."""
    found = tuple(scores)
    if any(each.exercise == new.exercise for each in found):
        return tuple(new if each.exercise == new.exercise else each for each in found)
    return (*found, new)
