"""What labs have left behind, told at every start: who made it may have forgotten it."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal

from osawslab.aws.price import price
from osawslab.errors import NoPrice
from osawslab.steps.census import Resident
from osawslab.steps.estates import Estate, estates
from osawslab.steps.site import Site

HOW = "./lab sweep --target aws shows it, with --yes it is given back"


def left_behind(site: Site, but: str = "") -> str:
    """Say what labs without an instance have left, and what that costs; "" for nothing.

    `but` is a lab that needs what it has. Changes nothing.
    """
    if not site.target.charges:
        return ""
    found = [each for each in estates(site, "", datetime.now(UTC)) if each.goes and each.lab != but]
    if not found:
        return ""
    names = ", ".join(sorted({repr(each.lab) for each in found}))
    kinds = Counter(thing.kind.name for each in found for thing in each.things if thing.kind.costs)
    what = ", ".join(f"{name} ({count})" for name, count in sorted(kinds.items()))
    if not what:
        return f"left behind in this account by lab {names}: nothing that costs money; {HOW}"
    return f"left behind in this account by lab {names}: {what}, {_cost(site, found)}; {HOW}"


def _cost(site: Site, found: list[Estate]) -> str:
    total = Decimal(0)
    try:
        for each in found:
            region = each.things[0].region
            had = Resident(each.lab, region, each.things).things_to_pay(running=False)
            total += price(site.target, region, had).per_hour
    except NoPrice as error:
        return error.what
    return f"${total:.4f} an hour"
