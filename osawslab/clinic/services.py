"""The station of OpenStack's services, where systemd runs them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping

from osawslab.clinic.station import Station
from osawslab.clinic.walk import Walk

# What a router or a VM cannot do without, where it is installed.
NEEDED = re.compile(r"(neutron-(openvswitch|l3|dhcp|metadata)-agent|nova-compute)\.service")
REST = re.compile(r"(neutron|nova)-.*\.service")


def stations(walk: Walk) -> Iterator[Station]:
    """Look whether what is enabled runs, and whether an agent was switched off beside others."""
    said = walk.seen.said("units")
    found = [each for each in units(walk).values() if each.get("LoadState") in ("loaded", "masked")]
    beside = any(REST.fullmatch(each["Id"]) and each.get("ActiveState") == "active"
                 for each in found)  # fmt: skip
    bad = [each for each in found if wrong(each, beside)]
    found = [each for each in found if each in bad or each["LoadState"] == "loaded"]
    if not found:
        return
    names = shlex.join(each["Id"] for each in bad)
    masked = shlex.join(each["Id"] for each in bad if each["LoadState"] == "masked")
    off = shlex.join(each["Id"] for each in bad
                     if each.get("UnitFileState") in ("disabled", "masked"))  # fmt: skip
    mends = [f"sudo systemctl unmask {masked}"] if masked else []
    mends += [f"sudo systemctl enable {off}"] if off else []
    yield Station(
        "services", "OpenStack's agents and services", "every one that is enabled is active",
        ", ".join(f"{each['Id']} is {state(each)}" for each in bad)
        or f"{len(found)} are as they should be", not bad, (said,),
        " && ".join([*mends, f"sudo systemctl restart {names}"]),
    )  # fmt: skip


def units(walk: Walk) -> dict[str, Mapping[str, str]]:
    """Read what systemd says of the units that were asked for, by name."""
    blocks = [
        dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        for block in walk.seen.said("units").out.split("\n\n")
    ]
    return {each["Id"]: each for each in blocks if "Id" in each}


def loaded(walk: Walk, name: str) -> bool:
    """Say whether a unit is installed."""
    return units(walk).get(f"{name}.service", {}).get("LoadState") == "loaded"


def wrong(unit: Mapping[str, str], beside: bool) -> bool:
    """Say whether a unit should run and does not; `beside`: others of its kind do."""
    if unit.get("ActiveState") == "failed":
        return True
    if unit.get("ActiveState") != "inactive" or unit.get("Type") == "oneshot":
        return False
    return unit.get("UnitFileState") == "enabled" or (beside and bool(NEEDED.fullmatch(unit["Id"])))


def state(unit: Mapping[str, str]) -> str:
    """Say how a unit is."""
    off = unit.get("UnitFileState", "")
    return unit["ActiveState"] + (f", {off}" if off in ("disabled", "masked") else "")
