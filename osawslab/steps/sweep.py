"""Find what labs have left behind in an account, and give it back: of any lab, by its tag.

An instance that ends, by itself or by hand, frees neither its Elastic IPs nor the VPC around it.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from osawslab.aws import estate
from osawslab.aws.estate import KINDS, Thing
from osawslab.aws.facts import LAB, every
from osawslab.errors import BadSetting
from osawslab.report import Action, Check, Report, Table, actions_table
from osawslab.steps import tear_down
from osawslab.steps.run import apply, own_errors
from osawslab.steps.site import Site

IN_THE_MAKING = timedelta(minutes=15)  # another's lab this young may have no instance yet
UNITS = {"m": "minutes", "h": "hours", "d": "days"}


@dataclass(frozen=True)
class Estate:
    """What one lab has in one region."""

    lab: str
    things: tuple[Thing, ...]
    verdict: str  # in use | begun just now | orphan | older than …
    goes: bool


def age_of(text: str) -> timedelta:
    """Read an age such as 30m, 8h or 2d. Raises BadSetting.

    >>> age_of("8h")
    datetime.timedelta(seconds=28800)
    """
    found = re.fullmatch(r"(\d{1,6})([mhd])", text)
    if not found:
        raise BadSetting(
            "an age is a number with m, h or d: minutes, hours or days", seen=text, next="8h"
        )
    return timedelta(**{UNITS[found[2]]: int(found[1])})


def age(text: str, now: datetime) -> timedelta | None:
    """Say how long ago that was, ISO 8601; None where it is not known."""
    try:
        since = datetime.fromisoformat(text)
    except ValueError:
        return None
    return now - (since if since.tzinfo else since.replace(tzinfo=UTC))


def shown(old: timedelta | None) -> str:
    """Say an age in its largest unit.

    >>> shown(timedelta(hours=30)), shown(timedelta(minutes=3)), shown(None)
    ('1 d', '3 min', 'unknown')
    """
    if old is None:
        return "unknown"
    minutes = max(0, int(old.total_seconds() // 60))
    if minutes < 60:
        return f"{minutes} min"
    return f"{minutes // 60} h" if minutes < 24 * 60 else f"{minutes // (24 * 60)} d"


def estates(site: Site, older_than: str, now: datetime) -> Iterator[Estate]:
    """Read what each lab has in each region, and judge it."""
    limit = age_of(older_than) if older_than else None
    for ec2 in tear_down.clients(site).values():
        found = estate.read(ec2, None)
        for lab in sorted({thing.lab for thing in found}):
            things = tuple(thing for thing in found if thing.lab == lab)
            yield Estate(lab, things, *_judge(site, lab, things, limit, older_than, now))


def _judge(
    site: Site,
    lab: str,
    things: tuple[Thing, ...],
    limit: timedelta | None,
    older_than: str,
    now: datetime,
) -> tuple[str, bool]:
    """Say what becomes of a lab: by its youngest instance, or by when this life of it began."""
    instances = [thing for thing in things if thing.kind.name == "instance"]
    times = [thing.since if instances else thing.made for thing in instances or things]
    youngest = min((old for each in times if (old := age(each, now)) is not None), default=None)
    if instances:
        if limit is not None and youngest is not None and youngest > limit:
            return f"older than {older_than}", True
        return "in use", False
    if lab != site.settings.name and youngest is not None and youngest < IN_THE_MAKING:
        return "begun just now", False
    return "orphan", True


def sweep(site: Site, yes: bool, older_than: str) -> Report:
    """Show what all labs have, and with `yes` give back what orphans have, and old labs."""
    now = datetime.now(UTC)
    with own_errors("sweep"):
        found = tuple(estates(site, older_than, now))
        actions = plan(found)
        table = _table(found, now)
        if yes:
            apply(site, "sweep", actions)
            found = tuple(estates(site, older_than, now)) if actions else found
        left = tuple(thing for each in found if each.goes for thing in each.things)
        held = estate.strangers(left)
    again = 'yes=True, older_than="' + older_than + '"' if older_than else "yes=True"
    seen = [f"{t.id} held by {', '.join(held[t.id])}" if t.id in held else t.id for t in left]
    tables = [table]
    if actions and not yes:
        tables.append(actions_table("What would be done", actions))
    return Report(
        step="sweep",
        lab=site.settings.name,
        actions=actions if yes else (),
        checks=(
            Check(
                "left behind by labs without an instance" + (" or too old" if older_than else ""),
                "none",
                ", ".join(seen) or "none",
                not left,
                f"lab.sweep({again})",
            ),
        ),
        tables=tuple(tables),
        data={"things": [dict(zip(table.columns, row, strict=True)) for row in table.rows]},
    )


def plan(found: tuple[Estate, ...]) -> tuple[Action, ...]:
    """List what gives the orphans back, all of one kind before the next.

    A lab whose owner has made it an instance since is left alone.
    """
    goes = [(each, thing) for each in found if each.goes for thing in each.things]
    goes.sort(key=lambda pair: KINDS.index(pair[1].kind))
    todo = tear_down.actions(tuple(thing for _, thing in goes))

    def unless_used(lab: Estate, do: Callable[[], object]) -> None:
        known = {thing.id for thing in lab.things}
        if not any(each["InstanceId"] not in known for each in _instances(lab)):
            do()

    return tuple(
        replace(action, do=functools.partial(unless_used, lab, action.do))
        for (lab, _), action in zip(goes, todo, strict=True)
    )


def _instances(lab: Estate) -> list[dict[str, Any]]:
    only = [
        {"Name": f"tag:{LAB}", "Values": [lab.lab]},
        {"Name": "instance-state-name", "Values": ["pending", "running", "stopping", "stopped"]},
    ]
    found = every(lab.things[0].ec2, "describe_instances", "Reservations", only)
    return [each for reservation in found for each in reservation["Instances"]]


def _table(found: tuple[Estate, ...], now: datetime) -> Table:
    return Table(
        "What labs have in this account",
        ("lab", "region", "kind", "id", "age", "costs money", "verdict"),
        tuple(
            (
                each.lab,
                thing.region,
                thing.kind.name,
                thing.id,
                shown(age(thing.since, now)),
                "yes" if thing.kind.costs else "no",
                each.verdict,
            )
            for each in found
            for thing in each.things
        ),
    )
