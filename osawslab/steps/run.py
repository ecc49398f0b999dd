"""Run a step: read facts -> plan -> apply what is missing, in order -> read again -> verify."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from osawslab.errors import CannotReach, LabError, StepFailed
from osawslab.report import Action, Checks, Plan, Report
from osawslab.steps import (
    at_start,
    bill,
    install_cloud,
    make_it_last,
    networks,
    ownership,
    provider_nic,
    provision,
    publish_vm,
    reached,
    record,
    refusals,
    see_the_drop,
    swap_mac,
    tear_down,
    verify,
)
from osawslab.steps.pace import Pace
from osawslab.steps.site import Site

CHAPTERS: dict[str, Any] = {
    chapter.NAME: chapter
    for chapter in (
        provision,
        install_cloud,
        provider_nic,
        networks,
        see_the_drop,
        swap_mac,
        verify,
        publish_vm,
        make_it_last,
        tear_down,
    )
}
TOUR = tuple(name for name in CHAPTERS if name != "tear_down")


def chapter_of(site: Site, step: str) -> Any:
    """Give the module of a step: three of them know the real OpenStack in their own way."""
    if site.settings.cloud == "openstack":
        from osawslab.steps import openstack_install, openstack_last, openstack_networks

        for chapter in (openstack_install, openstack_networks, openstack_last):
            if step == chapter.NAME:
                return chapter
    return CHAPTERS[step]


@contextlib.contextmanager
def own_errors(step: str) -> Iterator[None]:
    """Let only errors of our own type out, with what AWS or the network said."""
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.parsers import ResponseParserError

    try:
        yield
    except LabError:
        raise
    except ClientError as error:
        raise refusals.refused(step, error) from error
    except (BotoCoreError, ResponseParserError) as error:  # none, or half an answer
        raise refusals.failed(step, error) or CannotReach(
            f"{step}: the call to EC2 failed", seen=str(error), next=refusals.AGAIN
        ) from error
    except OSError as error:
        raise StepFailed(
            f"{step}: a file or a socket of the lab failed",
            seen=str(error),
            next="make room if the disk is full; then run the step again",
        ) from error


def plan(site: Site, step: str) -> Plan:
    """Say what a step would do now, without doing it."""
    chapter = chapter_of(site, step)
    with own_errors(step):
        return Plan(step, tuple(chapter.plan(site, chapter.read(site))))


def check(site: Site, step: str) -> Checks:
    """Read a step's facts and hold them against what they should be."""
    chapter = chapter_of(site, step)
    with record.noting("check", step) as noted, own_errors(step):
        found = tuple(chapter.checks(site, chapter.read(site)))
        noted(found)
        return Checks(step, found)


def left_behind(site: Callable[[], Site], but: str = "") -> str:
    """Say what labs have left in the account; "" for nothing. Not knowing it stops nothing."""
    try:
        with own_errors("sweep"):
            return at_start.left_behind(site(), but)
    except LabError as error:
        return f"what labs have left behind in this account is not known: {error.what}"


def run(site: Site, step: str) -> Report:
    """Do what is missing of a step, and report what holds now."""
    chapter = chapter_of(site, step)
    with record.noting("run", step) as noted, own_errors(step):
        facts = chapter.read(site)
        if step == tear_down.NAME:
            ownership.made_here(site, facts.things)
        actions = tuple(chapter.plan(site, facts))
        told = ""
        if step == "provision" and actions:
            told = left_behind(lambda: site, site.settings.name)
        if told:  # before anything is made, and again with all that was
            site.progress.start("sweep", 1)
            site.progress.action(told)
            site.progress.done("looked, changed nothing")
        report = _report(site, step, actions, facts)
        report = replace(report, notes=(*report.notes, told)) if told else report
        reached.note(site, TOUR, step, report.ok)
        noted(report.checks)
        return report


def undo(site: Site, step: str) -> tuple[Action, ...]:
    """Take one step back; what was done for it."""
    chapter = chapter_of(site, step)
    with own_errors(step):
        facts = getattr(chapter, "look", chapter.read)(site)
        actions = tuple(chapter.undo(site, facts))
        apply(site, f"reset {step}", actions)
        reached.note(site, TOUR, step, ok=False)
        record.note("reset", step)
        return actions


def apply(site: Site, step: str, actions: tuple[Action, ...]) -> None:
    """Do actions in order, and tell of each; the first that fails ends it.

    Raises PriceNotConfirmed before the first where together they cost more than was agreed to.
    """
    bill.confirm(site, actions)
    if actions:
        site.target.course.changes(step)
    site.progress.start(step, len(actions))
    pace = Pace(site.target.pace)
    said = "stopped"
    try:
        for number, action in enumerate(actions):
            left = pace.left(step, [each.why for each in actions[number:]])
            site.progress.action(action.why + left, where=action.where, command=action.command)
            with pace.timed(step, action.why):
                action.do()
        said = "done"
    finally:
        pace.keep()
        site.progress.done(said)


def _report(site: Site, step: str, actions: tuple[Action, ...], facts: Any) -> Report:
    chapter = chapter_of(site, step)
    apply(site, step, actions)
    if actions and step != "see_the_drop":  # which has looked already, and only keeps it
        site.forget()
        facts = chapter.read(site)
    shown = chapter.show(site, facts)
    return Report(
        step=step,
        lab=site.settings.name,
        actions=actions,
        checks=tuple(chapter.checks(site, facts)),
        notes=shown.notes,
        tables=shown.tables,
        pictures=shown.pictures,
        data=dict(shown.data),
    )
