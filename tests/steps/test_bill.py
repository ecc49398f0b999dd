"""Who has agreed to what, and what has run up since: on facts that are written down here."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from osawslab.aws.facts import Facts
from osawslab.errors import PriceNotConfirmed
from osawslab.report import Action
from osawslab.settings import Settings
from osawslab.steps import bill
from osawslab.steps.run import apply
from osawslab.target import NoVantage, Target

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
CLOCK = {"date": "Sun, 01 Mar 2026 12:00:00 GMT"}


class Account:
    """Stands for EC2: the lab's disks, and the time by its clock."""

    def __init__(self, *disks: tuple[int, float], clock: dict[str, str] = CLOCK) -> None:
        self.disks, self.clock = disks, clock

    def __call__(self, service: str, region_name: str = "") -> Account:
        if service == "pricing":
            raise EndpointConnectionError(endpoint_url="nowhere")
        return self

    def describe_volumes(self, **_: Any) -> dict[str, Any]:
        volumes = [
            {"Size": size, "CreateTime": NOW - timedelta(hours=age)} for size, age in self.disks
        ]
        return {"Volumes": volumes, "ResponseMetadata": {"HTTPHeaders": self.clock}}


def site(account: Account, charges: bool = True, there: str = "", **settings: Any) -> Any:
    """Stand for a lab's place; `there` is the type of an instance that it has."""
    place = Target(account, lambda *_: None, NoVantage(), Path(), "", charges=charges)
    facts = Facts(instance={"InstanceType": there} if there else None)
    return SimpleNamespace(
        settings=Settings(**settings), target=place, ec2=account, progress=None,
        read_ec2=lambda: facts,
    )  # fmt: skip


def action(bills: str, done: list[str]) -> Action:
    return Action("aws", "why", "command", lambda: done.append(bills), bills)


@pytest.mark.parametrize(
    ("bills", "settings", "next"),
    [
        # 0.0832 + 2 * 0.005 + 8 * 0.08 / 720 an hour
        (["instance"], {}, "0.38"),
        (["", "address"], {"hours": "0.5"}, "0.05"),
        (["instance"], {"pay_up_to": "0.37"}, "0.38"),
        # a disk of 30 GB, and a month of its snapshot: 30 * 0.05
        (["instance"], {"cloud": "openstack"}, "0.41"),
        (["", "snapshot"], {"cloud": "openstack"}, "1.91"),
        (["", "snapshot"], {"cloud": "openstack", "pay_up_to": "1.90"}, "1.91"),
    ],
)
def test_nothing_is_done_before_it_is_agreed_to(
    bills: list[str], settings: dict[str, Any], next: str
) -> None:
    done: list[str] = []
    actions = tuple(action(each, done) for each in bills)
    with pytest.raises(PriceNotConfirmed) as caught:
        apply(site(Account(), instance_type="t3.large", **settings), "step", actions)
    assert caught.value.next == f'pay_up_to = "{next}"'
    assert done == []


def test_the_price_of_an_instance_that_is_there_is_its_own() -> None:
    given = {"instance_type": "t3.large", "pay_up_to": "0.38"}
    start = (action("instance", []),)
    bill.confirm(site(Account(), **given), start)
    with pytest.raises(PriceNotConfirmed) as caught:
        bill.confirm(site(Account(), there="m5.xlarge", **given), start)
    assert caught.value.next == 'pay_up_to = "0.82"'  # 0.192 + 2 * 0.005 + the disk, for 4 hours


@pytest.mark.parametrize(
    ("bills", "charges", "settings"),
    [
        (["instance", "address"], True, {"pay_up_to": "0.38"}),
        (["instance", "address"], True, {"pay_up_to": 5}),
        (["snapshot"], True, {"cloud": "openstack", "pay_up_to": "1.91"}),
        (["", ""], True, {}),
        ([], True, {}),
        (["instance", "snapshot"], False, {}),
    ],
)
def test_what_is_agreed_to_or_costs_nothing_is_not_refused(
    bills: list[str], charges: bool, settings: dict[str, Any]
) -> None:
    actions = [action(each, []) for each in bills]
    bill.confirm(site(Account(), charges, instance_type="t3.large", **settings), actions)


INSTANCE = {
    "InstanceType": "t3.large",
    "State": {"Name": "running"},
    "LaunchTime": NOW - timedelta(hours=1),
}
ADDRESSES = {"management": {}, "provider": {}}


@pytest.mark.parametrize(
    ("facts", "account", "words"),
    [
        (Facts(), Account(), "costs nothing"),
        (
            Facts(instance=INSTANCE, addresses=ADDRESSES),
            Account((8, 3)),  # started again an hour ago, made three hours ago
            "up to $0.29 so far, $0.0941 an hour, 1.0 of 4 h left, by EC2's clock",
        ),
        (
            Facts(instance=INSTANCE, addresses=ADDRESSES, surplus=("eipalloc-1", "vpc-1")),
            Account((8, 30)),
            "up to $2.98 so far, $0.0991 an hour, 0.0 of 4 h left, by EC2's clock",
        ),
        (
            Facts(instance={**INSTANCE, "State": {"Name": "stopped"}}, addresses=ADDRESSES),
            Account((8, 2)),
            "up to $0.19 so far, $0.0109 an hour, 2.0 of 4 h left, by EC2's clock",
        ),
        (
            Facts(addresses={"provider": {}}),
            Account(),
            "$0.0050 an hour; since when, EC2 does not tell",
        ),
        (
            Facts(instance={**INSTANCE, "InstanceType": "x9.large"}),
            Account((8, 2)),
            "what this costs in us-east-1 is not known: instance x9.large",
        ),
    ],
)
def test_what_has_run_up(facts: Facts, account: Account, words: str) -> None:
    assert bill.words(site(account), facts) == words
    place = site(account)
    place.read_ec2 = lambda: facts
    told = bill.so_far(place)
    assert words.startswith(f"up to {told} so far") if told else "so far" not in words


def test_without_a_clock_of_ec2s_this_machines_is_named() -> None:
    facts = Facts(instance=INSTANCE)
    assert bill.words(site(Account((8, 1), clock={})), facts).endswith("by this machine's clock")


def test_a_place_that_charges_nothing_says_so() -> None:
    facts = Facts(instance=INSTANCE, addresses=ADDRESSES)
    assert bill.words(site(Account((8, 3)), charges=False), facts) == "costs nothing"
    assert bill.so_far(site(Account((8, 3)), charges=False)) == ""


def test_money_is_exact() -> None:
    assert bill.planned(site(Account(), instance_type="t3.large")).total(Decimal("1")) == Decimal(
        "0.10"
    )


def test_a_floating_ip_is_agreed_to_with_those_that_are_there() -> None:
    further = tuple(
        {"Tags": [{"Key": "osawslab:role", "Value": value}]}
        for value in ("floating-address/172.16.20.102/192.168.20.5/", "lasting-address")
    )
    place = site(Account(), instance_type="t3.large")
    place.read_ec2 = lambda: Facts(instance={"InstanceType": "t3.large"}, further=further)
    with pytest.raises(PriceNotConfirmed) as caught:
        bill.confirm(place, (action(bill.FLOATING, []),))
    # 0.0832 + (2 + 1 + 1) * 0.005 + 8 * 0.08 / 720 an hour
    assert caught.value.next == 'pay_up_to = "0.42"'
