"""What each lab has in an account, and which of it nobody uses any more."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from osawslab.aws import estate, regions
from osawslab.aws.estate import Thing
from osawslab.errors import BadSetting
from osawslab.steps import tear_down
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


def everywhere(site: Site) -> dict[str, Any]:
    """Give EC2's client for each region that a lab made on this machine has been in."""
    found = tear_down.clients(site)
    if site.target.charges:
        for folder in sorted(site.target.keys.parent.glob("*.aws")):
            for region in regions.used(folder):
                if region not in found:
                    found[region] = site.target.client("ec2", region)
    return found


def estates(site: Site, older_than: str, now: datetime) -> Iterator[Estate]:
    """Read what each lab has in each region, and judge it."""
    limit = age_of(older_than) if older_than else None
    for ec2 in everywhere(site).values():
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
