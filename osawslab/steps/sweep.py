"""Find what labs have left behind in an account, and give it back: of any lab, by its tag.

An instance that ends, by itself or by hand, frees neither its Elastic IPs nor the VPC around it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from osawslab.aws import estate
from osawslab.aws.estate import KINDS
from osawslab.aws.facts import LAB, every
from osawslab.report import Action, Check, Report, Table, actions_table
from osawslab.steps import tear_down
from osawslab.steps.estates import Estate, age, estates, shown
from osawslab.steps.run import apply, own_errors
from osawslab.steps.site import Site


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
