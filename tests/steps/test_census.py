"""The table of all labs: what is read of each, on facts that are written down here."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from osawslab.aws.estate import KINDS, Thing
from osawslab.aws.price import COPY, Item, Price, Things
from osawslab.errors import NoPrice
from osawslab.steps.census import Resident, line

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
HOURS = Decimal(4)


def thing(kind: str, **facts: Any) -> Thing:
    [found] = [each for each in KINDS if each.name == kind]
    return Thing(found, "id", "class-01", facts, "us-east-1", None)


def tags(**pairs: str) -> list[dict[str, str]]:
    return [{"Key": f"osawslab:{key}", "Value": value} for key, value in pairs.items()]


def ago(hours: float) -> datetime:
    return NOW - timedelta(hours=hours)


def instance(state: str = "running", **pairs: str) -> Thing:
    return thing(
        "instance", State={"Name": state}, InstanceType="t3.large", LaunchTime=ago(1),
        Tags=tags(**pairs),
    )  # fmt: skip


ADDRESSES = (
    thing("elastic IP", PublicIp="203.0.113.9", Tags=tags(role="provider-address")),
    thing("elastic IP", PublicIp="203.0.113.10", Tags=tags(role="management-address")),
)


def prices(region: str, wanted: Things) -> Price:
    """A dollar an hour for an instance, ten cents for an address, one for a GB."""
    if wanted.instance_type == "x9.large":
        raise NoPrice("unknown")
    usd = Decimal(bool(wanted.instance_type)) + Decimal("0.1") * wanted.addresses
    return Price((Item("all", usd + Decimal("0.01") * wanted.gigabytes, Decimal(0), COPY),))


@pytest.mark.parametrize(
    ("things", "row"),
    [
        (
            (instance(step="verify", learner="ann"), *ADDRESSES,
             thing("volume", Size=8, CreateTime=ago(2))),
            ("ann", "running", "203.0.113.10", "verify", "2 h", "$2.56", "2.0 h (planned)"),
        ),
        (
            (instance(end="2026-03-01T12:30:00+00:00"),),
            ("-", "running", "-", "-", "1 h", "$1.00", "0.5 h"),
        ),
        (
            (instance(end="2026-03-01T11:00:00"),),  # past, and without a zone
            ("-", "running", "-", "-", "1 h", "$1.00", "0.0 h"),
        ),
        (
            (instance(end="tomorrow"),),
            ("-", "running", "-", "-", "1 h", "$1.00", "3.0 h (planned)"),
        ),
        (
            (instance("stopped"), *ADDRESSES),
            ("-", "stopped", "203.0.113.10", "-", "1 h", "$1.20", "3.0 h (planned)"),
        ),
        (
            (*ADDRESSES, thing("VPC", Tags=tags(made="2026-03-01T02:00:00+00:00"))),
            ("-", "none", "203.0.113.10", "-", "10 h", "$2.00", "-"),
        ),
        (
            (thing("VPC"),),
            ("-", "none", "-", "-", "unknown", "unknown", "-"),
        ),
        (
            (thing("instance", State={"Name": "running"}, InstanceType="x9.large",
                   LaunchTime=ago(1)),),
            ("-", "running", "-", "-", "1 h", "unknown", "3.0 h (planned)"),
        ),
    ],
)  # fmt: skip
def test_a_lab_in_the_table(things: tuple[Thing, ...], row: tuple[str, ...]) -> None:
    found = line(Resident("class-01", "us-east-1", things), prices, HOURS, NOW).row
    assert (found[0], found[2]) == ("class-01", "us-east-1")
    assert (found[1], *found[3:]) == row


def test_for_programs_numbers_are_numbers() -> None:
    data = line(Resident("a", "us-east-1", (instance(step="verify"),)), prices, HOURS, NOW).data
    assert data["seconds_left"] == 3 * 3600
    assert data["age_seconds"] == 3600
    assert (data["usd_so_far"], data["usd_per_hour"]) == (1.0, 1.0)
    assert data["left_by"] == "plan"
    stopped = line(Resident("a", "us-east-1", (instance("stopped"),)), prices, HOURS, NOW).data
    assert stopped["usd_per_hour"] == 0


def test_whole_is_what_lacks_nothing_that_costs() -> None:
    assert Resident("a", "r", (instance(), *ADDRESSES)).whole
    assert not Resident("a", "r", (instance("stopped"), *ADDRESSES)).whole
    assert not Resident("a", "r", (instance(), ADDRESSES[0])).whole
    assert not Resident("a", "r", ADDRESSES).whole
