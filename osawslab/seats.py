"""The seats of a class: labs of one account that are made, looked at and given back together.

Each seat is a lab of its own, with its own VPC: every learner has the tutorial's addresses, and
nobody sees another's frames. A shared VPC would save nothing that a class runs out of first: a
seat needs two Elastic IPs, of which a new account has five, as it has of VPCs.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from osawslab import account, handout
from osawslab.aws import quotas
from osawslab.aws.facts import Facts
from osawslab.aws.inquiry import Inquiry
from osawslab.aws.price import LEFT_OUT
from osawslab.errors import (
    BadSetting,
    LabError,
    PriceNotConfirmed,
    Refused,
    StepFailed,
    StepNotReady,
)
from osawslab.keys import key_file
from osawslab.lab import Lab
from osawslab.report import Table
from osawslab.settings import Settings
from osawslab.steps import bill, census, estates, provision
from osawslab.steps import run as steps
from osawslab.steps.account import NOTE
from osawslab.steps.census import Line, Resident
from osawslab.steps.site import Site
from osawslab.target import aws_folder
from osawslab.together import Say, Stoppable, Went, at_once

MOST = 99  # seats: their names have two digits


@dataclass(frozen=True)
class Row:
    """A seat: what the account has of it, and what went wrong with it just now."""

    line: Line
    trouble: LabError | None = None
    seconds: float | None = None  # that were spent on it just now

    @property
    def data(self) -> dict[str, Any]:
        """The seat for programs."""
        error = self.trouble
        told = {"what": error.what, "seen": error.seen, "next": error.next} if error else None
        seconds = None if self.seconds is None else round(self.seconds, 1)
        return {"seat": self.line.lab, **self.line.data, "trouble": told, "seconds": seconds}


@dataclass(frozen=True)
class Class:
    """The seats of a class as they are now."""

    name: str
    rows: tuple[Row, ...]
    ended: tuple[str, ...] = ()  # seats that were given back
    left: tuple[str, ...] = ()  # ids with their tags, which should be gone

    @property
    def ok(self) -> bool:
        """True where nothing went wrong, and nothing is there that should be gone."""
        return not self.left and all(row.trouble is None for row in self.rows)

    @property
    def data(self) -> dict[str, Any]:
        """The class for programs."""
        seats = [row.data for row in self.rows]
        more = {"ended": list(self.ended), "left": list(self.left)}
        return {"ok": self.ok, "class": self.name, "seats": seats, **more}

    @property
    def text(self) -> str:
        """The table, and below it what went wrong."""
        costs = [row.line.cost for row in self.rows]
        total = "" if None in costs else f", ${sum((c for c in costs if c), Decimal(0))} so far"
        caption = f"Class {self.name}: {len(self.rows)} seats{total}"
        rows = tuple(row.line.row for row in self.rows)
        parts = [repr(Table(caption, ("seat", *census.COLUMNS[1:]), rows))]
        parts += [f"{row.line.lab}: {row.trouble}" for row in self.rows if row.trouble]
        if self.ended:
            left = ", ".join(self.left) or "nothing"
            parts.append(f"left with the tags of {', '.join(self.ended)}: {left}")
        return "\n\n".join(parts)


def names(lab: Lab, count: int) -> list[str]:
    """Name the seats of the class that the lab's name is. Raises BadSetting."""
    settings = lab.settings
    if settings.target != "aws":
        raise BadSetting(
            "the seats of a class are made in an AWS account",
            seen=f"target = {settings.target!r}",
            next='target = "aws"',
        )
    return named(settings.name, count)


def named(name: str, count: int, learners: Sequence[str] = ()) -> list[str]:
    """Name the seats of a class: class-01 to class-99. Raises BadSetting."""
    if not 1 <= count <= MOST:
        raise BadSetting(
            f"a class has 1 to {MOST} seats", seen=str(count), next="osawslab seats 12"
        )
    if len(learners) > count:
        raise BadSetting(
            "there are more learners than seats",
            seen=f"{len(learners)} learners, {count} seats",
            next=f"osawslab seats {len(learners)}",
        )
    found = [f"{name}-{number:02d}" for number in range(1, count + 1)]
    Settings(name=found[-1])
    return found


def learners(file: Path | None) -> list[str]:
    """Read names, one a line; [] without a file. Raises BadSetting."""
    if file is None:
        return []
    try:
        found = [line.strip() for line in file.read_text().splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise BadSetting(
            "the file of learners cannot be read", seen=str(error), next="one name a line, UTF-8"
        ) from None
    for name in found:
        Settings(learner=name)
    return [name for name in found if name]


def seat(lab: Lab, name: str, **more: Any) -> Lab:
    """Give a seat's lab: the class's settings, its own name."""
    return Lab(**{**asdict(lab.settings), "name": name, **more})


def of_class(site: Site) -> dict[str, Resident]:
    """Read which seats of the class the account has, in the settings' region."""
    pattern = re.compile(re.escape(site.settings.name) + r"-\d\d")
    return {each.lab: each for each in census.residents(site.ec2) if pattern.fullmatch(each.lab)}


def look(lab: Lab) -> Class:
    """Say how the class's seats are. Changes nothing."""
    names(lab, 1)
    with steps.own_errors("seats"):
        return _seen(lab._site(), {})


def _seen(site: Site, went: Mapping[str, Went]) -> Class:
    """Read the seats again, with how it went; one that went wrong is shown without a thing too."""
    found = of_class(site)
    nothing = {name: Resident(name, site.settings.region, ()) for name, (e, _) in went.items() if e}
    seats = sorted({**nothing, **found}.items())
    rows = census.lines(site, [each for _, each in seats])
    return Class(
        site.settings.name, tuple(Row(each, *went.get(each.lab, (None, None))) for each in rows)
    )


def make(lab: Lab, count: int, learners: list[str], upto: str, say: Say) -> Class:
    """Make what is missing of the class's seats, up to a step, several at once.

    `lab` is the class: its name, and `pay_up_to` for all seats together. One seat's failure does
    not end the others; run again, it goes on. Raises BadSetting, Refused where not all fit,
    PriceNotConfirmed, LabBusy, StepNotReady where a name is taken.
    """
    names(lab, count)
    wanted = dict.fromkeys(named(lab.settings.name, count, learners), "")
    wanted.update(zip(wanted, learners, strict=False))
    with lab._working("seats") as site:
        with steps.own_errors("seats"):
            have = of_class(site)
            taken(have, wanted)
            say(fitting(site, have, list(wanted)))
            share = agreed(site, have, list(wanted))
            warm(site)

        def work(name: str, progress: Stoppable) -> None:
            with seat(lab, name, pay_up_to=share, learner=wanted[name]) as mine:
                mine.progress = progress
                tour = (*steps.TOUR, "tear_down")
                mine.catch_up(tour[tour.index(upto) + 1])
                handout.write(mine)

        went = at_once(list(wanted), work, say)
        with steps.own_errors("seats"):
            return _seen(site, went)


def taken(have: Mapping[str, Resident], wanted: Mapping[str, str]) -> None:
    """Refuse names of labs that were made elsewhere. Raises StepNotReady.

    Where one was made, its account is noted before anything else.
    """
    foreign = [name for name in wanted if name in have and not (aws_folder(name) / NOTE).exists()]
    if foreign:
        raise StepNotReady(
            "there are seats of these names already, and they were made on another machine",
            seen=", ".join(foreign),
            next="take another name for the class, such as --name class2",
        )


def fitting(site: Site, have: Mapping[str, Resident], wanted: list[str]) -> str:
    """Hold what is missing against the account's quotas, and say it. Raises Refused."""
    inquiry = Inquiry(site.target, site.settings, Facts())
    there = [have.get(name, Resident(name, "", ())) for name in wanted]
    each_has = quotas.elastic_ips(site.settings)
    lacking = {
        quotas.vpcs: sum(not each.vpcs for each in there),
        quotas.addresses: sum(max(0, each_has - each.addresses) for each in there),
        quotas.vcpus: sum(not each.instance for each in there),
    }
    rows = [ask(inquiry, needed) for ask, needed in lacking.items() if needed]
    missing = sum(not each.whole for each in there)
    fit, short = missing, []
    for row in rows:
        if isinstance(row, quotas.Room) and row.fatal and not row:
            fit = min(fit, row.left * missing // row.needed)
            short.append(row)
    if short:
        fits = len(wanted) - missing + fit
        more = "; ".join(row.next.partition("; or ")[2] for row in short)
        raise Refused(
            f"{len(wanted)} seats do not fit in this account's quotas in {site.settings.region}:"
            f" {fits} do; nothing was made",
            seen="; ".join(f"{row.what}: {row.needed} needed, {row.seen}" for row in short),
            next=f"{more} (AWS may take days)" + (f"; or osawslab seats {fits}" if fits else ""),
        )
    told = [f"{row.what}: {row.expected}, {row.seen}" for row in rows]
    image = provision.image_of(site, Facts())
    if site.settings.cloud == "openstack" and missing:
        told.append(
            f"image: {image}" if image else "no image: each seat installs OpenStack by itself;"
            " osawslab image --target aws makes one"
        )  # fmt: skip
    return "\n".join([f"{missing} of {len(wanted)} seats are to be made", *told])


def agreed(site: Site, have: Mapping[str, Resident], wanted: list[str]) -> Decimal:
    """Give each seat's share of what was agreed to. Raises PriceNotConfirmed, NoPrice."""
    settings = site.settings
    found = bill.planned(site)
    share, count = found.total(settings.hours), len(wanted)
    makes = any(name not in have or not have[name].whole for name in wanted)
    if makes and share * count > settings.pay_up_to:
        raise PriceNotConfirmed(
            f"{count} seats cost ${found.per_hour * count:.4f} an hour, ${share * count} for"
            f" {settings.hours:f} planned hours; you have agreed to ${settings.pay_up_to:f},"
            " and nothing was made",
            seen=f"each seat ${share}: {'; '.join(map(str, found.items))}; {LEFT_OUT}",
            next=f'pay_up_to = "{share * count}"',
        )
    return share


def warm(site: Site) -> None:
    """Make the clients that all seats share: a session makes one at a time."""
    for service in ("ec2", "ssm", "sts"):
        site.target.client(service)


def give_back(lab: Lab, named: bool, say: Say) -> Class:
    """Give everything of all seats back, several at once, and show that nothing is left.

    Raises StepNotReady where seats were made on another machine, unless the class was `named`.
    """
    names(lab, 1)
    with lab._working("seats") as site:
        with steps.own_errors("seats"):
            here = {
                path.stem: None
                for path in site.target.keys.parent.glob(f"{lab.settings.name}-[0-9][0-9].aws")
                if (path / NOTE).exists()
            }
            found = sorted({**of_class(site), **here})
            if not named:
                taken({name: Resident(name, "", ()) for name in found}, dict.fromkeys(found, ""))
            warm(site)

        def work(name: str, progress: Stoppable) -> None:
            with seat(lab, name) as mine:
                mine.progress = progress
                if failed := account.give_back(mine).failed:
                    raise StepFailed(f"left: {failed.what}", seen=failed.seen, next=failed.next)
            handout.remove(lab.settings.name, name)

        went = at_once(found, work, say)
        with steps.own_errors("seats"):
            left = [
                thing.id
                for ec2 in estates.everywhere(site).values()
                for each in census.residents(ec2)
                if each.lab in found
                for thing in each.things
            ]
            shown = _seen(site, went)
            keys = site.target.keys  # a lab's own, where one has the class's name
            if not left and not shown.rows and not (keys / NOTE).exists() | key_file(keys).exists():
                shutil.rmtree(keys)
        return Class(shown.name, shown.rows, tuple(found), tuple(left))
