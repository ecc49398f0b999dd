"""How far a lab is, and who has it: tags of its instance, so that nobody has to log in to know."""

from __future__ import annotations

import contextlib

from osawslab.aws.facts import tag
from osawslab.errors import StepNotReady
from osawslab.steps.site import Site

STEP = "osawslab:step"  # the last step of the tour that holds, with all before it
LEARNER = "osawslab:learner"


def last(tour: tuple[str, ...], before: str, step: str, ok: bool) -> str:
    """Name the last step that holds, after one was run or undone; "" for none.

    >>> last(("a", "b", "c"), "a", "b", True), last(("a", "b", "c"), "c", "a", True)
    ('b', 'c')
    >>> last(("a", "b", "c"), "c", "b", False), last(("a", "b", "c"), "", "a", False)
    ('a', '')
    """
    held = tour.index(before) + 1 if before in tour else 0
    number = tour.index(step) + 1
    now = max(held, number) if ok else min(held, number - 1)
    return tour[now - 1] if now else ""


def note(site: Site, tour: tuple[str, ...], step: str, ok: bool) -> None:
    """Note it where it is not noted yet. A lab without that right goes on without the note."""
    from botocore.exceptions import BotoCoreError, ClientError

    if step not in tour:
        return
    with contextlib.suppress(StepNotReady, BotoCoreError, ClientError):
        instance = site.instance.ec2.instance or {}
        wanted = {STEP: last(tour, tag(instance, STEP), step, ok)}
        if site.settings.learner:
            wanted[LEARNER] = site.settings.learner
        tags = [{"Key": k, "Value": v} for k, v in wanted.items() if tag(instance, k) != v]
        if tags:
            site.ec2.create_tags(Resources=[instance["InstanceId"]], Tags=tags)
            site.forget()
