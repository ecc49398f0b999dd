"""The bill: what the settings would cost, that somebody agreed to it, and what has run up."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import ROUND_CEILING, Decimal

from osawslab.aws import ending, quotas, regions
from osawslab.aws.facts import FLOATING as ROLE
from osawslab.aws.facts import LAB, Facts, role
from osawslab.aws.price import LEFT_OUT, Price, Things, price
from osawslab.errors import NoPrice, PriceNotConfirmed
from osawslab.report import Action, Table
from osawslab.settings import Settings
from osawslab.steps.site import Site

DISK = 30  # GB: OpenStack needs 5, and a learner has plans
AMI_DISK = 8  # GB, of Debian's AMI alone
FLOATING = "floating IP"
SNAPSHOT = "snapshot"  # both in `Action.bills`: what is paid for beyond the lab itself
HOUR = 3600


def planned(
    site: Site, snapshot: bool = False, instance_type: str = "", floating: int = 0
) -> Price:
    """Say what the lab of these settings, or with another instance, costs. Raises NoPrice."""
    settings = site.settings
    disk = gigabytes(settings)
    kind = instance_type or settings.instance_type
    wanted = Things(
        kind,
        quotas.elastic_ips(settings) + floating,
        disk,
        disk if snapshot else 0,
    )
    return price(site.target, settings.region, wanted)


def table(site: Site) -> Table:
    """Show what the lab of these settings costs, item by item. Raises NoPrice."""
    found, name, hours = planned(site), site.settings.name, site.settings.hours
    if not found.items:
        return found.table(f"Lab {name} costs nothing")
    return found.table(
        f"Lab {name}: ${found.per_hour:.4f} an hour, ${found.total(hours)} for {hours:f} planned"
        f" hours; {LEFT_OUT}"
    )


def gigabytes(settings: Settings) -> int:
    """Give the size of the instance's disk."""
    return DISK if settings.cloud == "openstack" else AMI_DISK


def confirm(site: Site, actions: Iterable[Action]) -> None:
    """Let only actions through whose price somebody has agreed to; see `agree`."""
    bills = [action.bills for action in actions if action.bills]
    if bills:
        agree(site, SNAPSHOT in bills, floating=bills.count(FLOATING))


def agree(site: Site, snapshot: bool, hours: Decimal | None = None, floating: int = 0) -> None:
    """Raise PriceNotConfirmed where the lab costs more than somebody has agreed to, or NoPrice.

    `hours` are all it is to have; None: those of the settings. `floating` IPs are yet to be made.
    """
    settings = site.settings
    hours = settings.hours if hours is None else hours
    have = site.read_ec2() if site.target.charges else Facts()
    there = have.instance
    floating += sum(role(each).startswith(ROLE) for each in have.further)
    found = planned(site, snapshot, str(there["InstanceType"]) if there else "", floating)
    total = found.total(hours)
    if total <= settings.pay_up_to:
        return
    sources = ", ".join(dict.fromkeys(item.source for item in found.items))
    raise PriceNotConfirmed(
        f"this costs ${found.per_hour:.4f} an hour, ${total} for {shown(hours)} planned hours;"
        f" you have agreed to ${settings.pay_up_to:f}, and nothing was made",
        seen=f"{'; '.join(map(str, found.items))}; {LEFT_OUT}; by {sources}",
        next=f'pay_up_to = "{total}"',
    )


@dataclass(frozen=True)
class Meter:
    """What exists, what it costs, and since when."""

    now: Price
    ran: Price  # with the instance, also where it is stopped now
    hours: Decimal | None  # since it began; None where EC2 does not tell
    clock: str  # whose time it is
    at: datetime  # that time
    end: datetime | None = None  # when the instance ends itself; None where it does not

    def words(self, planned: Decimal) -> str:
        """Say it in a line."""
        if not self.ran.items:
            return "costs nothing"
        now = f"${self.now.per_hour:.4f} an hour"
        if self.hours is None:
            return f"{now}; since when, EC2 does not tell"
        so_far = f"up to ${self.ran.total(self.hours)} so far, {now}"
        if self.end:
            left, until = ending.left(self.end, self.at), ending.text(self.end)
            return f"{so_far}, time left {left}, until {until}, by {self.clock}"
        spare = max(Decimal(0), planned - self.hours)
        return f"{so_far}, {spare:.1f} of {planned:f} h left, by {self.clock}"


def shown(hours: Decimal) -> str:
    """Write hours with two places at most.

    >>> shown(Decimal(4)), shown(Decimal("5.0013888"))
    ('4', '5.01')
    """
    cents = hours.quantize(Decimal("0.01"), ROUND_CEILING)
    return f"{hours:f}" if cents == hours else f"{cents:f}"


def words(site: Site, facts: Facts) -> str:
    """Say what the lab costs, as it is now."""
    if not site.target.charges:
        return "costs nothing"
    others = [name for name in regions.used(site.target.keys) if name != site.settings.region]
    more = f'; not counted: {", ".join(others)}, see lab.check("tear_down")' if others else ""
    try:
        return meter(site, facts).words(site.settings.hours) + more
    except NoPrice as error:
        return error.what


def so_far(site: Site) -> str:
    """Say what the lab has cost at most until now; "" where that is nothing, or not known."""
    if not site.target.charges:
        return ""
    with contextlib.suppress(NoPrice):
        found = meter(site, site.read_ec2())
        if found.ran.items and found.hours is not None:
            return f"${found.ran.total(found.hours)}"
    return ""


def meter(site: Site, facts: Facts) -> Meter:
    """Read what runs up. Raises NoPrice.

    The instance counts as if it had never been stopped since its disk was made, and an address
    as if it were as old as that: EC2 tells neither.
    """
    mine = [{"Name": f"tag:{LAB}", "Values": [site.settings.name]}]
    told = site.ec2.describe_volumes(Filters=mine)
    volumes = told["Volumes"]
    spare = sum(key.startswith("eipalloc-") for key in facts.surplus)
    ran = Things(
        str(facts.instance["InstanceType"]) if facts.instance else "",
        len(facts.addresses) + len(facts.further) + spare,
        sum(volume["Size"] for volume in volumes),
    )
    now = ran if facts.running else replace(ran, instance_type="")
    began = [volume["CreateTime"] for volume in volumes]
    began += [facts.instance["LaunchTime"]] if facts.instance else []
    theirs = ending.clock(told)
    clock = theirs or datetime.now(UTC)
    age = Decimal((clock - min(began)).total_seconds()) / HOUR if began else None
    found = price(site.target, site.settings.region, ran)
    return Meter(
        found if now == ran else price(site.target, site.settings.region, now),
        found,
        None if age is None else max(Decimal(0), age),
        "EC2's clock" if theirs else "this machine's clock",
        clock,
        ending.of(facts.instance) if facts.running else None,
    )
