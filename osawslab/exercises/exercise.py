"""An exercise: a lab that was broken for a learner, who looks, names the places, and mends.

It may be mended in any way, also by running the steps again: real packets decide.
"""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from html import escape
from typing import Protocol

from osawslab.clinic.places import AREAS, PLACES
from osawslab.clinic.station import ORDER, Diagnosis, Station
from osawslab.errors import BadSetting, CannotReach, LabError, StepFailed, StepNotReady
from osawslab.exercises import catalogue, score, scores
from osawslab.exercises.catalogue import Exercise
from osawslab.exercises.score import Score
from osawslab.faults.catalogue import FAULTS
from osawslab.report import Check, Checks, Table
from osawslab.steps import breaking, record, symptoms
from osawslab.steps import run as steps
from osawslab.steps.site import Site

LEVELS = 3  # of hints
WHOLE = "make_it_last"  # the step before which a lab is whole
HELP = "exercise.hint()"


class Lab(Protocol):
    """What an exercise needs of a lab."""

    def catch_up(self, step: str) -> None:
        """Run what is missing before a step."""

    def diagnose(self) -> Diagnosis:
        """Say what is wrong."""

    def _site(self) -> Site:
        """Give the lab's place."""

    def _working(self, step: str) -> AbstractContextManager[Site]:
        """Hold the lab's lock."""


@dataclass(frozen=True, repr=False)
class Practice:
    """One exercise in one lab: `places`, `hint()`, `answer("…")`, `check()`."""

    lab: Lab
    exercise: Exercise

    @property
    def score(self) -> Score:
        """Give how far it is. Raises StepNotReady where it was not begun in this lab."""
        for each in told(self.lab):
            if each.exercise == self.exercise.name:
                return each
        raise StepNotReady(
            f"the exercise {self.exercise.called!r} is not of this lab (any more)",
            seen="the instance has no note of it",
            next="lab.exercise()" if self.exercise.own else f'lab.exercise("{self.exercise.name}")',
        )

    @property
    def stations(self) -> tuple[str, ...]:
        """Give the places that are right answers, outside in."""
        found = [FAULTS[name].station for name in self.exercise.faults(self.score.seed)]
        return tuple(sorted(found, key=ORDER.index))

    @property
    def places(self) -> Table:
        """List the places that may be the answer, outside in, with what would be wrong there."""
        cloud = self.lab._site().settings.cloud
        rows = [(key, PLACES[key].area, PLACES[key].what) for key in ORDER
                if key in PLACES and cloud in PLACES[key].clouds]  # fmt: skip
        return Table("Places on the path, outside in", ("answer", "where", "what is wrong"),
                     tuple(rows), code=("answer",))  # fmt: skip

    def hint(self, level: int = 0) -> str:
        """Give the next hint for the outermost cause that was not named; or that of a level.

        1 says where to look, 2 what to look for, 3 what it is and what to type. Read ones are
        counted, each once. When all are named, it is about what is not mended.
        """
        now, stations = self.score, self.stations
        if all(now.found):
            broken = self._failed()
            at = next((at for at, key in enumerate(stations) if key in broken), None)
            if at is None:
                return "Every cause is named, and none is seen any more: exercise.check()"
        else:
            at = now.found.index(False)
        level = max(1, min(level or now.hints[at] + 1, LEVELS))
        if level > now.hints[at]:
            hints = (*now.hints[:at], level, *now.hints[at + 1 :])
            self._keep(replace(now, hints=hints))
        place, many = PLACES[stations[at]], len(stations) > 1
        which = f" for cause {at + 1} of {len(stations)}, outside in" if many else ""
        words = {1: AREAS[place.area], 2: place.look}.get(level) or self._solution(stations[at])
        return f"Hint {level} of {LEVELS}{which}: {words}"

    def _failed(self) -> dict[str, Station]:
        """Have the diagnosis look: what fails, by its key."""
        return {each.key: each for each in self.lab.diagnose().stations if each.failed}

    def _solution(self, key: str) -> str:
        found, what = self._failed().get(key), PLACES[key].what
        words = f"{what[0].upper()}{what[1:]} (answer: {key})."
        if found is None:
            return f"{words} It is mended already."
        return f"{words} Seen: {found.seen}." + (f" Type: {found.mend}" if found.mend else "")

    def answer(self, *places: str) -> Checks:
        """Say where something was broken; a wrong answer is counted, the same one once a call.

        Raises BadSetting for a word that is no place.
        """
        unknown = [each for each in places if each not in PLACES]
        if unknown:
            raise BadSetting(
                f"there is no place {unknown[0]!r}",
                seen=unknown[0],
                next="one of those in exercise.places",
            )
        now, right = self.score, self.stations
        found, wrong, rows = list(now.found), now.wrong, []
        for place in dict.fromkeys(places):
            ok = place in right
            seen = f"right: {PLACES[place].what}" if ok else "nothing was broken there"
            if ok:
                found[right.index(place)] = True
            wrong += not ok
            rows.append(Check(f"your answer {place}", "something was broken there", seen, ok, HELP))
        now = replace(now, found=tuple(found), wrong=wrong)
        self._keep(now)
        return Checks(self.exercise.called, (*rows, named(now)))

    def check(self) -> Checks:
        """Hold the lab against a whole one, by real packets, and say what is not named yet."""
        now = self.score
        site = self.lab._site()
        with steps.own_errors("exercise"):
            tried = (*symptoms.checks(site, HELP), left(site, len(now.found)))
        if all(tried) and not now.mended:
            now = replace(now, minutes=max(0, int(time.time()) - now.began) // 60)
            self._keep(now)
        return Checks(self.exercise.called, (named(now), *tried))

    def _keep(self, new: Score) -> None:
        with self.lab._working("exercise") as site, steps.own_errors("exercise"):
            scores.keep(site, score.noted(scores.read(site), new))
        record.note("exercise", new.exercise, new.done, new.words)

    @property
    def _words(self) -> list[str]:
        now, what = self.score, self.exercise
        many = "One cause." if len(now.found) == 1 else f"{len(now.found)} causes."
        lines = [what.heading, what.told, many]
        more = f' Another one of this kind: lab.exercise("{what.name}", seed={now.seed + 1})'
        if now.mended:
            lines.append(f"It is {now.state}.{'' if what.own else more}")
        return lines

    def __repr__(self) -> str:
        return "\n".join(self._words)

    def _repr_html_(self) -> str:
        title, *rest = self._words
        return f"<p><strong>{escape(title)}</strong></p>" + "".join(
            f"<p>{escape(each)}</p>" for each in rest
        )


def named(now: Score) -> Check:
    """Say how many of the causes were named."""
    count = len(now.found)
    return Check(
        "causes named", f"{count} of {count}", f"{sum(now.found)} of {count}", all(now.found),
        'exercise.answer("…"), with a word of exercise.places',
    )  # fmt: skip


def left(site: Site, count: int) -> Check:
    """Say how much of what was broken is still there, and not what."""
    what, expected = "what was broken", "nothing of it is left"
    try:
        there = len(breaking.now(site))
    except (CannotReach, StepNotReady):
        return Check(what, expected, "not looked at: the instance does not answer", False, HELP)
    return Check(what, expected, f"{there} of {count} is left" if there else expected,
                 not there, HELP)  # fmt: skip


def told(lab: Lab) -> tuple[Score, ...]:
    """Read the lab's exercises, the last begun last."""
    with steps.own_errors("exercise"):
        return scores.read(lab._site())


def table(lab: Lab) -> Table:
    """List the exercises, and how far each is in this lab."""
    have = {each.exercise: each for each in told(lab)}
    none = ("", "", "", "", "not begun", "")
    rows = [
        (name, each.title, *(have[name].row[1:] if name in have else none))
        for name, each in catalogue.EXERCISES.items()
    ]
    rows += [("-", catalogue.OWN, *each.row[1:]) for name, each in have.items()
             if name not in catalogue.EXERCISES]  # fmt: skip
    return Table("Exercises", ("exercise", "about", *score.COLUMNS[1:]), tuple(rows))


def open(lab: Lab, name: str = "", seed: int | None = None) -> Practice:
    """Begin an exercise, or go on with it; without a name, with the one that was begun last.

    Raises StepNotReady where none was, or where another one is still broken; BadSetting.
    """
    have = told(lab)
    if not name:
        if not have:
            raise StepNotReady(
                "no exercise was begun in this lab", seen="no note of one",
                next=f'lab.exercise("{next(iter(catalogue.EXERCISES))}")',
            )  # fmt: skip
        return Practice(lab, catalogue.named(have[-1].exercise))
    wanted = catalogue.named(name)
    if seed is not None and seed < 0:
        raise BadSetting("a seed is 0 or more", seen=str(seed), next=f'lab.exercise("{name}")')
    same = next((each for each in have if each.exercise == name), None)
    if same and seed in (None, same.seed):
        return Practice(lab, wanted)
    if have and not have[-1].mended:
        raise StepNotReady(
            f"the exercise {catalogue.named(have[-1].exercise).called!r} is still broken",
            seen=f"{have[-1].state}, {sum(have[-1].found)} of {len(have[-1].found)} causes named",
            next="mend it, and exercise.check(); or lab.mend() and exercise.check()",
        )
    begin(lab, wanted, 1 if seed is None else seed)
    return Practice(lab, wanted)


def begin(lab: Lab, wanted: Exercise, seed: int) -> None:
    """Make the lab whole, break it, and note that. Raises StepFailed where it is not whole."""
    whole(lab)
    faults = [FAULTS[name] for name in wanted.faults(seed)]
    with lab._working("exercise") as site, steps.own_errors("exercise"):
        sound = breaking.before(site)
        for each in faults:
            if why := each.why_not(sound):
                raise BadSetting(f"this lab cannot have the fault {each.name!r}", seen=why,
                                 next="lab.faults()")  # fmt: skip
        try:
            # Inside out: what is broken first must not cut the way to what is broken next.
            for each in sorted(faults, key=lambda fault: ORDER.index(fault.station), reverse=True):
                breaking.break_it(site, each.name, untold=seed)
        except LabError:  # nobody is left with half an exercise
            breaking.mend(site)
            raise
        others = tuple(each for each in scores.read(site) if each.exercise != wanted.name)
        new = score.begin(wanted.name, seed, wanted.causes)
        scores.keep(site, (*others, new))
    record.note("exercise", new.exercise, new.done, new.words)


def whole(lab: Lab) -> None:
    """Run what is missing, and try the lab: what is broken already would be another exercise."""
    with steps.own_errors("exercise"):
        broken = len(breaking.read(lab._site()))
    if broken:
        raise StepNotReady(
            "the lab is broken on purpose already, and not by an exercise",
            seen=f"{broken} faults", next="lab.mend()",
        )  # fmt: skip
    lab.catch_up(WHOLE)
    with steps.own_errors("exercise"):
        failed = next((each for each in symptoms.checks(lab._site()) if not each), None)
    if failed:
        raise StepFailed(
            f"the lab does not work, and nothing was broken on purpose: {failed.what}",
            seen=failed.seen, next="lab.diagnose()",
        )  # fmt: skip
