"""Whose exercises are how far: tags of the instances, so that nobody has to log in to know."""

from __future__ import annotations

from osawslab.aws.facts import tag
from osawslab.errors import StepNotReady
from osawslab.exercises import score
from osawslab.exercises.score import Score
from osawslab.report import Table
from osawslab.steps import census, estates
from osawslab.steps.census import Resident
from osawslab.steps.reached import LEARNER
from osawslab.steps.site import Site

EXERCISE = "osawslab:exercise"
NOTHING = ("-",) * len(score.COLUMNS)
Told = tuple[str, str, Score | None]  # lab, learner, an exercise of it; None: it has none


def read(site: Site) -> tuple[Score, ...]:
    """Read the lab's own, the last begun last; () where there is no instance."""
    instance = site.read_ec2().instance
    return score.read(tag(instance, EXERCISE)) if instance else ()


def keep(site: Site, found: tuple[Score, ...]) -> None:
    """Write the lab's own. Raises StepNotReady where there is no instance."""
    facts = site.read_ec2()
    if facts.instance is None:
        raise StepNotReady(
            "there is no instance to keep it at", seen=site.why_none(facts), next="lab.provision()"
        )
    value = score.write(found)
    if value != tag(facts.instance, EXERCISE):
        site.ec2.create_tags(
            Resources=[facts.instance["InstanceId"]], Tags=[{"Key": EXERCISE, "Value": value}]
        )
        site.forget()


def lines(found: list[Resident]) -> list[Told]:
    """Give each lab with an instance: its name, its learner, each of its exercises; or None."""
    told: list[Told] = []
    for each in found:
        if each.instance:
            learner = tag(each.instance, LEARNER)
            scores = score.read(tag(each.instance, EXERCISE))
            told += [(each.lab, learner, one) for one in scores] or [(each.lab, learner, None)]
    return told


def take(site: Site) -> list[Told]:
    """Read those of every lab of the account, in every region known here."""
    found = [each for ec2 in estates.everywhere(site).values() for each in census.residents(ec2)]
    return lines(sorted(found, key=lambda each: (each.lab, each.region)))


def table(caption: str, told: list[Told]) -> Table:
    """Show who has found what."""
    rows = tuple(
        (lab, learner or "-", *(one.row if one else NOTHING)) for lab, learner, one in told
    )
    return Table(caption, ("lab", "learner", *score.COLUMNS), rows)
