"""What a lab costs: read from AWS's own list where it answers, from the copy where not."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from osawslab.aws.price import COPY, PRICE_LIST, TYPES, Item, Price, Things, price
from osawslab.errors import NoPrice
from osawslab.target import NoVantage, Target

THINGS = Things("t3.large", 2, 30)


def product(unit: str, *usd: str) -> str:
    """Write what the Price List says of a product."""
    dimensions = {
        f"SKU.{number}": {"unit": unit, "pricePerUnit": {"USD": each}}
        for number, each in enumerate(usd)
    }
    return json.dumps(
        {"product": {}, "terms": {"OnDemand": {"SKU": {"priceDimensions": dimensions}}}}
    )


class PriceList:
    """Stands for the Price List API: what it lists, by a filter's value, and what it was asked."""

    def __init__(self, listed: dict[str, list[str]], error: Exception | None = None) -> None:
        self.listed, self.error = listed, error
        self.asked: list[dict[str, Any]] = []

    def __call__(self, service: str, region_name: str = "") -> PriceList:
        assert (service, region_name) == ("pricing", "us-east-1")
        return self

    def get_paginator(self, operation: str) -> PriceList:
        assert operation == "get_products"
        return self

    def paginate(self, **asked: Any) -> list[dict[str, Any]]:
        self.asked.append(asked)
        if self.error:
            raise self.error
        values = {each["Value"] for each in asked["Filters"]}
        return [{"PriceList": self.listed[value]} for value in self.listed if value in values]


LISTED = {
    "t3.large": [product("Hrs", "0.1000000000"), product("Quantity", "99")],
    "PublicIPv4:InUseAddress": [product("Hrs", "0.0000000000", "0.0060000000")],
    "gp3": [product("GB-Mo", "0.0720000000")],
    "EBS:SnapshotUsage": [product("GB-Mo", "0.0600000000")],
}
GONE = EndpointConnectionError(endpoint_url="https://api.pricing.us-east-1.amazonaws.com")
DENIED = ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "GetProducts")


def place(prices: PriceList, charges: bool = True) -> Target:
    return Target(prices, lambda *_: None, NoVantage(), Path(), "", charges=charges)


def test_the_price_list_is_read() -> None:
    prices = PriceList(LISTED)
    found = price(place(prices), "eu-west-1", replace(THINGS, snapshot=30))
    assert [(item.what, item.per_hour, item.once) for item in found.items] == [
        ("instance t3.large", Decimal("0.1"), 0),
        ("2 public IPv4 addresses", Decimal("0.012"), 0),
        ("30 GB of disk", Decimal("0.003"), 0),
        ("a month of a snapshot of 30 GB, which outlives the lab", 0, Decimal("1.8")),
    ]
    assert {item.source for item in found.items} == {PRICE_LIST}
    assert found.per_hour == Decimal("0.115")
    assert found.total(Decimal("4")) == Decimal("2.26")
    for asked in prices.asked:
        filters = {each["Field"]: each["Value"] for each in asked["Filters"]}
        assert filters["regionCode"] == "eu-west-1"
    assert [asked["ServiceCode"] for asked in prices.asked] == [
        "AmazonEC2", "AmazonVPC", "AmazonEC2", "AmazonEC2",
    ]  # fmt: skip


@pytest.mark.parametrize("error", [GONE, DENIED])
def test_without_the_price_list_the_copy_says_so(error: Exception) -> None:
    prices = PriceList({}, error)
    found = price(place(prices), "us-east-1", THINGS)
    assert len(prices.asked) == 1  # it is not asked again
    assert {item.source for item in found.items} == {COPY}
    # 0.0832 + 2 * 0.005 + 30 * 0.08 / 720
    assert f"{found.per_hour:.5f}" == "0.09653"


@pytest.mark.parametrize(
    ("region", "instance_type", "prices"),
    [
        ("us-east-1", "x9.large", PriceList({}, GONE)),
        ("eu-west-1", "t3.large", PriceList({}, DENIED)),
        ("us-east-1", "x9.large", PriceList({})),
        ("eu-west-1", "t3.large", PriceList({"t3.large": [product("Hrs", "0.0")]})),
    ],
)
def test_nothing_is_guessed(region: str, instance_type: str, prices: PriceList) -> None:
    with pytest.raises(NoPrice, match=f"instance {instance_type}") as caught:
        price(place(prices), region, replace(THINGS, instance_type=instance_type))
    assert "2026-01-19" in caught.value.seen
    assert "us-east-1" in caught.value.seen
    assert "pricing:GetProducts" in caught.value.next


def test_a_place_that_charges_nothing_is_not_asked() -> None:
    prices = PriceList(LISTED)
    found = price(place(prices, charges=False), "nowhere-1", THINGS)
    assert (found, found.per_hour, found.total(Decimal(4))) == (Price(), 0, 0)
    assert prices.asked == []


@pytest.mark.parametrize(
    ("each", "hours", "total"),
    [("0.0025", "4", "0.01"), ("0.0026", "4", "0.02"), ("0.1", "0.5", "0.05"), ("0", "4", "0.00")],
)
def test_a_total_is_rounded_up_to_a_cent(each: str, hours: str, total: str) -> None:
    found = Price((Item("x", Decimal(each), Decimal(0), COPY),))
    assert str(found.total(Decimal(hours))) == total


def test_a_price_is_shown_item_by_item() -> None:
    table = price(place(PriceList({}, GONE)), "us-east-1", THINGS).table("Price")
    assert table.rows[0] == ("instance t3.large", "0.0832", "0.00", COPY)
    assert table.columns == ("what", "USD an hour", "USD once", "by")


def test_the_copy_has_money_in_it() -> None:
    assert all(0 < Decimal(each) < 1 for each in TYPES.values())
