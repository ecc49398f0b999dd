"""All faults, in the order of the path from outside in."""

from __future__ import annotations

import random
from collections.abc import Mapping

from osawslab.faults import agents, router, tenant, vpc, wire
from osawslab.faults.fault import Before, Fault

FAULTS: Mapping[str, Fault] = {
    each.name: each
    for each in (*vpc.FAULTS, *wire.FAULTS, *router.FAULTS, *tenant.FAULTS, *agents.FAULTS)
}


def for_lab(before: Before) -> list[Fault]:
    """List the faults that a lab can have."""
    return [each for each in FAULTS.values() if not each.why_not(before)]


def chosen(before: Before, seed: int) -> Fault:
    """Choose one that the lab can have: the same for a seed on labs of one kind."""
    return random.Random(seed).choice(sorted(for_lab(before), key=lambda each: each.name))
