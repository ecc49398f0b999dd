"""The last chapter: everything with the lab's tag is given back, and shown to be gone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from osawslab.aws import estate, regions
from osawslab.aws.estate import KINDS, Thing
from osawslab.aws.facts import MADE_BY, every
from osawslab.report import Action, Check, Table
from osawslab.steps import outcome
from osawslab.steps.account import same_account
from osawslab.steps.site import Shown, Site

NAME = "tear_down"


@dataclass(frozen=True)
class Left:
    """What still exists of the lab, in every region it has been in."""

    regions: tuple[str, ...]  # the settings' own first
    things: tuple[Thing, ...]  # with the lab's tag, in the order in which they can go
    held: Mapping[str, tuple[str, ...]]  # id of a thing -> ids of what holds it, not the lab's
    images: tuple[Mapping[str, Any], ...]  # made in this lab on purpose; they outlive it


def clients(site: Site) -> dict[str, Any]:
    """Give EC2's client for each region the lab has been in, the settings' own first."""
    own = site.ec2
    found = {str(own.meta.region_name): own}
    for region in regions.used(site.target.keys):
        if region not in found:
            found[region] = site.target.client("ec2", region)
    return found


def read(site: Site) -> Left:
    """Read everything with the lab's tag, whatever made it. Raises StepNotReady."""
    same_account(site)
    everywhere = clients(site)
    things = tuple(
        thing for ec2 in everywhere.values() for thing in estate.read(ec2, site.settings.name)
    )
    by_us = [{"Name": f"tag:{MADE_BY}", "Values": [site.settings.name]}]
    images = tuple(
        image
        for ec2 in everywhere.values()
        for image in every(ec2, "describe_images", "Images", by_us, Owners=["self"])
    )
    return Left(tuple(everywhere), things, estate.strangers(things), images)


def actions(things: tuple[Thing, ...]) -> tuple[Action, ...]:
    """Say how things are given back, in the order of `things`."""
    return tuple(
        Action(
            "aws",
            thing.kind.why,
            "aws ec2 " + thing.kind.command.format(id=thing.id),
            thing.give_back,
        )
        for thing in things
    )


def plan(site: Site, facts: Left) -> tuple[Action, ...]:
    """List what takes everything away, each in the order AWS allows.

    What a stranger's thing holds is tried once, for that may go with the instance.
    """
    first = any(thing.kind.name == "instance" for thing in facts.things)
    going = actions(tuple(t for t in facts.things if first or t.id not in facts.held))

    def gone() -> bool:
        now = read(site)
        return all(thing.id in now.held for thing in now.things)

    return outcome.shown(going, gone)


def checks(site: Site, facts: Left) -> tuple[Check, ...]:
    """Hold each kind against nothing, in each region."""
    found = []
    for region in facts.regions:
        for kind in KINDS:
            left = [t for t in facts.things if (t.kind, t.region) == (kind, region)]
            holders = [id for t in left for id in facts.held.get(t.id, ())]
            where = f" in {region}" if len(facts.regions) > 1 else ""
            found.append(
                Check(
                    f"{kind.name} with the lab's tag{where}",
                    "none",
                    ", ".join(_seen(t, facts) for t in left) or "none",
                    not left,
                    f"delete {', '.join(dict.fromkeys(holders))} if it is yours; lab.tear_down()"
                    if holders
                    else "lab.tear_down()",
                )
            )
    return tuple(found)


def _seen(thing: Thing, facts: Left) -> str:
    held = facts.held.get(thing.id)
    return f"{thing.id} (held by {', '.join(held)}, not this lab's)" if held else thing.id


def show(site: Site, facts: Left) -> Shown:
    """Show what is left, which should be nothing, and what is kept on purpose."""
    left = tuple((thing.kind.name, thing.id) for thing in facts.things)
    tables = [Table("Left with the lab's tag", ("kind", "id"), left)]
    kept: list[tuple[str, ...]] = []
    for image in facts.images:
        name, key = str(image.get("Name", "")), str(image["ImageId"])
        kept.append(("image", key, name, f"aws ec2 deregister-image --image-id {key}"))
        for device in image.get("BlockDeviceMappings", ()):
            disk = device.get("Ebs", {})
            if snapshot := disk.get("SnapshotId"):
                size = f"{disk.get('VolumeSize', '?')} GB: EC2 bills it by the month"
                end = f"aws ec2 delete-snapshot --snapshot-id {snapshot}"
                kept.append(("snapshot", str(snapshot), size, end))
    if kept:
        columns = ("kind", "id", "what it is", "to end it")
        tables.append(Table("Kept on purpose", columns, tuple(kept), code=("to end it",)))
    return Shown(tables=tuple(tables))


def undo(site: Site, facts: Left) -> tuple[Action, ...]:
    """There is no way back from an empty account but `provision`."""
    return ()
