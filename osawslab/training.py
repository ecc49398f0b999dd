"""The command `exercise`, and exercises for the seats of a class."""

from __future__ import annotations

import re
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from osawslab import seats
from osawslab.arguments import given, lab_of, settings_of
from osawslab.console import answer
from osawslab.errors import BadSetting, LabError
from osawslab.exercises import catalogue, scores
from osawslab.exercises.exercise import Practice
from osawslab.exercises.scores import Told
from osawslab.lab import Lab
from osawslab.region import folders, local
from osawslab.report import Table
from osawslab.steps import run as steps
from osawslab.together import Say, Stoppable, Went, at_once
from osawslab.tour import data

SEAT = re.compile(r"(\d{1,2})=(.+)")


def exercise(options: Namespace) -> int:
    """List exercises, begin one, hint, answer, check; with --all, who has found what."""
    if options.everyone:
        found = everyone(options)
        table = scores.table("Who has found what", found)
        return answer(options, repr(table), {"labs": [told(*each) for each in found]})
    with lab_of(options) as lab:
        if options.what == "list":
            table = lab.exercises()
            rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
            return answer(options, repr(table), {"exercises": rows})
        if options.what == "begin":
            name = "".join(options.word[:1])
            if not name:
                raise BadSetting(
                    "begin wants the exercise's name", seen="none",
                    next=f"one of: {', '.join(catalogue.EXERCISES)}",
                )  # fmt: skip
            begun = lab.exercise(name, options.seed)
            return answer(options, repr(begun), _learners(begun))
        return _go_on(options, lab.exercise())


def _go_on(options: Namespace, begun: Practice) -> int:
    if options.what == "places":
        places = begun.places
        rows = [dict(zip(places.columns, row, strict=True)) for row in places.rows]
        return answer(options, repr(places), {"places": rows})
    if options.what == "hint":
        level = "".join(options.word[:1])
        if level and level not in "123":
            raise BadSetting("a hint's level is 1, 2 or 3", seen=level, next="exercise.hint()")
        text = begun.hint(int(level or 0))
        return answer(options, text, {"hint": text, **_learners(begun)})
    found = begun.check() if options.what == "check" else begun.answer(*options.word)
    return answer(options, repr(found), {**data(found), **_learners(begun)}, bool(found))


def _learners(begun: Practice) -> dict[str, object]:
    """Give the score; what a trainer has chosen stays untold."""
    return {**begun.score.data, "exercise": begun.exercise.called}


def everyone(options: Namespace) -> list[Told]:
    """Read the exercises of every lab: in the account, or in the regions that run here."""
    settings = settings_of(options)
    names = [settings.name]
    if settings.target == "local":
        names = sorted(p.name for p in folders.state_home().glob("*") if local.find(p.name))
    found: list[Told] = []
    for name in names:
        with Lab(**{**given(options), "name": name}) as lab, steps.own_errors("exercise"):
            found += scores.take(lab._site())
    return found


def told(lab: str, learner: str, score: Any) -> dict[str, Any]:
    """Say it for programs."""
    return {"lab": lab, "learner": learner, **(score.data if score else {"exercise": None})}


@dataclass(frozen=True)
class Given:
    """The exercises of a class, and what went wrong with giving them."""

    name: str
    lines: tuple[Told, ...]
    trouble: dict[str, LabError]

    @property
    def ok(self) -> bool:
        """True where each seat has got its own."""
        return not self.trouble

    @property
    def data(self) -> dict[str, Any]:
        """Say it for programs."""
        wrong = {seat: {"what": error.what, "seen": error.seen, "next": error.next}
                 for seat, error in self.trouble.items()}  # fmt: skip
        lines = [told(*each) for each in self.lines]
        return {"ok": self.ok, "class": self.name, "labs": lines, "trouble": wrong}

    @property
    def text(self) -> str:
        """The table, and below it what went wrong."""
        parts = [repr(self.table)]
        return "\n\n".join([*parts, *(f"{seat}: {e}" for seat, e in self.trouble.items())])

    @property
    def table(self) -> Table:
        """Show who has found what."""
        return scores.table(f"Class {self.name}: who has found what", list(self.lines))


def wanted(name_of_class: str, have: Sequence[str], words: Sequence[str]) -> dict[str, str]:
    """Say which seat gets which exercise: "router" for all, "03=nic-down+dnat-missing" for one.

    The last that names a seat counts. Raises BadSetting.
    """
    found: dict[str, str] = {}
    for word in words:
        if one := SEAT.fullmatch(word):
            seat, name = f"{name_of_class}-{int(one.group(1)):02d}", one.group(2)
            if seat not in have:
                raise BadSetting(
                    f"the class has no seat {seat}", seen=", ".join(have) or "none",
                    next=f"osawslab seats --name {name_of_class}",
                )  # fmt: skip
            found[seat] = name
        else:
            found.update(dict.fromkeys(have, word))
    for name in found.values():
        catalogue.named(name)
    return found


def give(lab: Lab, words: list[str], say: Say) -> Given:
    """Have the seats of a class begin exercises, several at once; the seed is the seat's number.

    So neighbours have different faults. Raises BadSetting, LabBusy.
    """
    seats.names(lab, 1)
    with lab._working("seats") as site:
        with steps.own_errors("seats"):
            have = sorted(seats.of_class(site))
            which = wanted(lab.settings.name, have, words)
            seats.warm(site)

        def work(name: str, progress: Stoppable) -> None:
            with seats.seat(lab, name) as mine:
                mine.progress = progress
                mine.exercise(which[name], int(name.rpartition("-")[2]))

        went: dict[str, Went] = at_once(sorted(which), work, say)
        with steps.own_errors("seats"):
            found = scores.lines([each for _, each in sorted(seats.of_class(site).items())])
    wrong = {seat: error for seat, (error, _) in went.items() if error}
    return Given(lab.settings.name, tuple(found), wrong)
