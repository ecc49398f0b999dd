"""What AWS charges for a lab, item by item, in USD: by its Price List, else by a dated copy.

Not in it: traffic (the first 100 GB a month that leave AWS are free, "EC2 on-demand pricing"),
taxes, and the CPU credits that a T type uses beyond its share.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import ROUND_UP, Decimal
from typing import Any

from osawslab.errors import NoPrice
from osawslab.report import Table
from osawslab.target import Client, Target

MONTH = 720  # hours: "86,400 seconds/day * 30-day month", the examples of "Amazon EBS pricing"
LEFT_OUT = "not included: traffic, taxes, CPU credits beyond a T type's share"
PRICE_LIST = "AWS's Price List"
PRICE_LIST_REGION = "us-east-1"  # where its API is: AWS General Reference, "Price List endpoints"

# The copy. Linux, on demand, shared tenancy, USD an hour: read from the Price List API for
# us-east-1 on 2026-01-19 by Karpenter's generator (aws/karpenter-provider-aws,
# pkg/providers/pricing/zz_generated.pricing_aws.go). gp3: AmazonEC2 price list of 2026-07-28,
# SKU JG3KUJMBRGHV3N8G. Public IPv4: AWS News Blog, "New: AWS Public IPv4 Address Charge",
# since 2024-02-01, in use or not. Snapshots: AmazonEC2, "$0.05 per GB-Month of snapshot data".
COPY = "the copy of 2026-01-19"
COPY_REGION = "us-east-1"
TYPES = {
    "t2.large": "0.0928", "t2.xlarge": "0.1856", "t2.2xlarge": "0.3712",
    "t3.small": "0.0208", "t3.large": "0.0832", "t3.xlarge": "0.1664", "t3.2xlarge": "0.3328",
    "t3a.large": "0.0752", "t3a.xlarge": "0.1504",
    "m4.large": "0.1", "m4.xlarge": "0.2",
    "m5.large": "0.096", "m5.xlarge": "0.192", "m5.2xlarge": "0.384",
    "m6i.large": "0.096", "m6i.xlarge": "0.192", "m6i.2xlarge": "0.384",
    "m7i.large": "0.1008", "m7i.xlarge": "0.2016",
    "m8i.large": "0.10584", "m8i.xlarge": "0.21168", "m8i.2xlarge": "0.42336",
    "c4.xlarge": "0.199", "c5.xlarge": "0.17", "c5.2xlarge": "0.34", "c8i.xlarge": "0.18742",
    "r5.large": "0.126", "r8i.large": "0.13892", "r8i.xlarge": "0.27784",
}  # fmt: skip


@dataclass(frozen=True)
class Kind:
    """Something that AWS charges for: how the Price List finds it, and the copy's price."""

    service: str
    unit: str  # of the Price List: "Hrs" or "GB-Mo"
    filters: Mapping[str, str]  # by equality; "*…": what contains it
    copy: Decimal | None


def instance(instance_type: str) -> Kind:
    """A running instance: Linux, on demand, on hardware that is shared."""
    filters = {
        "instanceType": instance_type,
        "operatingSystem": "Linux",
        "tenancy": "Shared",
        "preInstalledSw": "NA",
        "capacitystatus": "Used",
        "marketoption": "OnDemand",
    }
    copy = TYPES.get(instance_type)
    return Kind("AmazonEC2", "Hrs", filters, Decimal(copy) if copy else None)


ADDRESS = Kind("AmazonVPC", "Hrs", {"usagetype": "*PublicIPv4:InUseAddress"}, Decimal("0.005"))
VOLUME = Kind(
    "AmazonEC2", "GB-Mo", {"productFamily": "Storage", "volumeApiName": "gp3"}, Decimal("0.08")
)
SNAPSHOT = Kind(
    "AmazonEC2",
    "GB-Mo",
    {"productFamily": "Storage Snapshot", "usagetype": "*EBS:SnapshotUsage"},
    Decimal("0.05"),
)


@dataclass(frozen=True)
class Things:
    """What is to be paid for. `snapshot` is GB at most: AWS stores what is written."""

    instance_type: str = ""  # "" for none that runs
    addresses: int = 0
    gigabytes: int = 0
    snapshot: int = 0

    def __iter__(self) -> Iterator[tuple[str, int, Kind]]:
        """Give each in words, how many units, and its kind."""
        if self.instance_type:
            yield f"instance {self.instance_type}", 1, instance(self.instance_type)
        if self.addresses:
            yield f"{self.addresses} public IPv4 addresses", self.addresses, ADDRESS
        if self.gigabytes:
            yield f"{self.gigabytes} GB of disk", self.gigabytes, VOLUME
        if self.snapshot:
            words = f"a month of a snapshot of {self.snapshot} GB, which outlives the lab"
            yield words, self.snapshot, SNAPSHOT


@dataclass(frozen=True)
class Item:
    """One line of the bill, in USD; `once` is what does not depend on the hours."""

    what: str
    per_hour: Decimal
    once: Decimal
    source: str

    def __str__(self) -> str:
        return f"{self.what} ${self.per_hour:.4f}/h" if self.per_hour else f"{self.what} {self.usd}"

    @property
    def usd(self) -> str:
        """What is paid once."""
        return f"${self.once:.2f}"


@dataclass(frozen=True)
class Price:
    """What a lab costs; nothing where the place charges nothing."""

    items: tuple[Item, ...] = ()

    @property
    def per_hour(self) -> Decimal:
        """USD an hour."""
        return sum((item.per_hour for item in self.items), Decimal(0))

    def total(self, hours: Decimal) -> Decimal:
        """USD for so many hours, rounded up to a cent.

        >>> Price((Item("instance", Decimal("0.0832"), Decimal(0), COPY),)).total(Decimal(4))
        Decimal('0.34')
        """
        once = sum((item.once for item in self.items), Decimal(0))
        return (self.per_hour * hours + once).quantize(Decimal("0.01"), ROUND_UP)

    def table(self, caption: str) -> Table:
        """Show it item by item."""
        rows = [
            (item.what, f"{item.per_hour:.4f}", f"{item.once:.2f}", item.source)
            for item in self.items
        ]
        return Table(caption, ("what", "USD an hour", "USD once", "by"), tuple(rows))


def price(target: Target, region: str, things: Things) -> Price:
    """Say what things cost at a place. Raises NoPrice where neither list has one of them."""
    if not target.charges:
        return Price()
    book = Book(target.client, region)
    return Price(tuple(_item(book, *thing) for thing in things))


def _item(book: Book, what: str, count: int, kind: Kind) -> Item:
    each, source = book.find(what, kind)
    nothing = Decimal(0)
    if kind is SNAPSHOT:
        return Item(what, nothing, count * each, source)
    return Item(what, count * each / (1 if kind.unit == "Hrs" else MONTH), nothing, source)


@dataclass
class Book:
    """The two lists. The Price List that has failed once is not asked again."""

    client: Client
    region: str
    failed: str = field(default="", init=False)

    def find(self, what: str, kind: Kind) -> tuple[Decimal, str]:
        """Give USD for a unit, and the list that says so. Raises NoPrice."""
        listed = self._listed(kind)
        if listed is not None:
            return listed, PRICE_LIST
        if kind.copy is not None and self.region == COPY_REGION:
            return kind.copy, COPY
        raise NoPrice(
            f"what this costs in {self.region} is not known: {what}",
            seen=f"{self.failed or 'not in ' + PRICE_LIST}; nor is it in {COPY},"
            f" which is of {COPY_REGION}",
            next="ask for the IAM permission pricing:GetProducts;"
            f" or take {COPY_REGION} and one of {', '.join(TYPES)}",
        )

    def _listed(self, kind: Kind) -> Decimal | None:
        from botocore.exceptions import BotoCoreError, ClientError
        from botocore.parsers import ResponseParserError

        if self.failed:
            return None
        try:
            client = self.client("pricing", PRICE_LIST_REGION)
            pages = client.get_paginator("get_products").paginate(
                ServiceCode=kind.service, Filters=self._filters(kind), FormatVersion="aws_v1"
            )
            found = [usd for page in pages for usd in prices(page["PriceList"], kind.unit)]
        except (BotoCoreError, ClientError, ResponseParserError) as error:
            self.failed = f"{PRICE_LIST} did not answer ({error})"
            return None
        # Free tiers and units that are free for some are in it too, with 0.
        return max(found, default=Decimal(0)) or None

    def _filters(self, kind: Kind) -> list[dict[str, str]]:
        wanted = {"regionCode": self.region, **kind.filters}
        return [
            {
                "Type": "CONTAINS" if value[0] == "*" else "TERM_MATCH",
                "Field": name,
                "Value": value.removeprefix("*"),
            }
            for name, value in wanted.items()
        ]


def prices(products: list[str], unit: str) -> Iterator[Decimal]:
    """Read the on-demand prices for a unit (Price List, "Reading a service price list file")."""
    for text in products:
        product: dict[str, Any] = json.loads(text)
        for term in product["terms"].get("OnDemand", {}).values():
            for dimension in term["priceDimensions"].values():
                if dimension["unit"] == unit and "USD" in dimension["pricePerUnit"]:
                    yield Decimal(dimension["pricePerUnit"]["USD"])
