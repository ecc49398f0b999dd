"""Every lab of an account, by its tags: whose it is, how far, what it costs, when it ends."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from osawslab.aws import ending, estate
from osawslab.aws.estate import Thing, state
from osawslab.aws.facts import role, tag
from osawslab.aws.price import Price, Things, price
from osawslab.errors import NoPrice
from osawslab.report import Table
from osawslab.steps.estates import everywhere, shown
from osawslab.steps.reached import LEARNER, STEP
from osawslab.steps.site import Site

HOUR = timedelta(hours=1)
COLUMNS = (
    "lab", "learner", "region", "instance", "address", "step reached", "age", "cost so far",
    "time left",
)  # fmt: skip
Prices = Callable[[str, Things], Price]


@dataclass(frozen=True)
class Resident:
    """What one lab has in one region."""

    lab: str
    region: str
    things: tuple[Thing, ...]

    def _all(self, kind: str) -> list[Any]:
        return [thing.facts for thing in self.things if thing.kind.name == kind]

    @property
    def instance(self) -> Any:
        """The instance as EC2 tells of it, the running one first; {} for none."""
        found = sorted(self._all("instance"), key=lambda each: state(each) != "running")
        return found[0] if found else {}

    @property
    def address(self) -> str:
        """The Elastic IP of the instance's first NIC, "" for none."""
        for each in self._all("elastic IP"):
            if role(each) == "management-address":
                return str(each["PublicIp"])
        return ""

    @property
    def whole(self) -> bool:
        """True where nothing is lacking that AWS charges for."""
        return state(self.instance) in ("pending", "running") and self.addresses >= 2

    @property
    def addresses(self) -> int:
        """The number of its Elastic IPs."""
        return len(self._all("elastic IP"))

    @property
    def vpcs(self) -> int:
        """The number of its VPCs."""
        return len(self._all("VPC"))

    @property
    def began(self) -> datetime | None:
        """When its disk or its instance was made, else its network; None where nothing tells."""
        told = [each["CreateTime"] for each in self._all("volume")]
        told += [each["LaunchTime"] for each in self._all("instance")]
        return min(told) if told else ending.read(next((t.made for t in self.things if t.made), ""))

    def things_to_pay(self, running: bool = True) -> Things:
        """List what is paid for; without `running`, what a stopped instance still costs."""
        return Things(
            str(self.instance["InstanceType"]) if self.instance and running else "",
            self.addresses,
            sum(each["Size"] for each in self._all("volume")),
        )


def residents(ec2: Any) -> Iterator[Resident]:
    """Read every lab in a client's region."""
    found = estate.read(ec2, None)
    for lab in sorted({thing.lab for thing in found}):
        yield Resident(lab, ec2.meta.region_name, tuple(t for t in found if t.lab == lab))


@dataclass(frozen=True)
class Line:
    """One lab in the table, and for programs."""

    lab: str
    learner: str
    region: str
    instance: str  # its state, "none" without one
    address: str
    step: str
    age: timedelta | None
    cost: Decimal | None  # USD so far, at most; None where it is not known
    per_hour: Decimal | None
    left: timedelta | None
    planned: bool  # `left` is by the settings' hours, not by a timer of the instance

    @property
    def row(self) -> tuple[str, ...]:
        """Say it in words, as COLUMNS has them."""
        left = "unknown"
        if self.left is not None:
            left = f"{self.left / HOUR:.1f} h{' (planned)' if self.planned else ''}"
        return (
            self.lab, self.learner or "-", self.region, self.instance, self.address or "-",
            self.step or "-", shown(self.age), "unknown" if self.cost is None else f"${self.cost}",
            left if self.instance != "none" else "-",
        )  # fmt: skip

    @property
    def data(self) -> dict[str, Any]:
        """Give it for programs; seconds and USD are numbers, null where they are not known."""
        return {
            "lab": self.lab, "learner": self.learner, "region": self.region,
            "instance": self.instance, "address": self.address, "step": self.step,
            "age_seconds": None if self.age is None else int(self.age.total_seconds()),
            "usd_so_far": None if self.cost is None else float(self.cost),
            "usd_per_hour": None if self.per_hour is None else float(self.per_hour),
            "seconds_left": None if self.left is None else int(self.left.total_seconds()),
            "left_by": "plan" if self.planned else "timer",
        }  # fmt: skip


def line(resident: Resident, prices: Prices, hours: Decimal, now: datetime) -> Line:
    """Put together what is known of a lab at a moment."""
    instance, began = resident.instance, resident.began
    running = state(instance) in ("pending", "running") if instance else False
    age = None if began is None else max(timedelta(0), now - began)
    cost = per_hour = None
    try:
        per_hour = prices(resident.region, resident.things_to_pay(running)).per_hour
        if age is not None:
            ran = prices(resident.region, resident.things_to_pay())
            cost = ran.total(Decimal(age.total_seconds()) / 3600)
    except NoPrice:
        pass  # the table says that it is not known
    timer = ending.of(instance)
    ends = timer or (began and began + ending.span(hours))
    return Line(
        lab=resident.lab,
        learner=tag(instance, LEARNER),
        region=resident.region,
        instance=state(instance) or "none",
        address=resident.address,
        step=tag(instance, STEP),
        age=age,
        cost=cost,
        per_hour=per_hour,
        left=max(timedelta(0), ends - now) if ends else None,
        planned=timer is None,
    )


def lines(site: Site, found: list[Resident]) -> tuple[Line, ...]:
    """Put together what is known of these labs now, by this machine's clock."""
    prices = functools.cache(functools.partial(price, site.target))
    now = datetime.now(UTC)
    return tuple(line(each, prices, site.settings.hours, now) for each in found)


def take(site: Site) -> tuple[Line, ...]:
    """Read every lab of the account, in every region known here, in the order of their names."""
    found = [each for ec2 in everywhere(site).values() for each in residents(ec2)]
    return lines(site, sorted(found, key=lambda each: (each.lab, each.region)))


def table(caption: str, found: tuple[Line, ...]) -> Table:
    """Show labs, one a row."""
    return Table(caption, COLUMNS, tuple(each.row for each in found))
