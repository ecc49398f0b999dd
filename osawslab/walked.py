"""Have a lab ask AWS for all that it ever asks, on the local region: for the policy to be exact."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from osawslab.aws import estate, policy, quotas
from osawslab.aws.facts import MADE_OF, Facts, specification
from osawslab.aws.inquiry import HOME, Inquiry, attempt
from osawslab.aws.maker import METADATA
from osawslab.aws.price import Things, price
from osawslab.aws.simulation import simulated
from osawslab.errors import LabError
from osawslab.lab import Lab
from osawslab.region import local
from osawslab.steps import bake
from osawslab.steps.site import Site

NAME = "walked"
FAULTS = (  # each asks for something that no step does
    "elastic-ip-elsewhere", "no-vpc-route", "other-vpc-route", "acl-denies-port",
    "group-lets-nothing-out",
)  # fmt: skip
MOVED = "198.51.100.0/24"  # who may come in: the one rule goes, another comes
LEARNER = "arn:aws:iam::123456789012:user/learner"


def calls() -> set[str]:
    """Give every action of IAM's that steps, faults, probes and their repairs have asked for."""
    with policy.recording() as found:
        try:
            with Lab(NAME, target="local", bridge="linux") as lab:
                _course(lab, found)
                _repairs(lab, found)
                _leftovers(lab, found)
                if not lab.tear_down().ok or not lab.sweep().ok:
                    raise LabError("the lab of the walk was not given back", next="lab.sweep()")
                lab.probe()
        finally:
            local.remove(NAME)
            local.remove("probe")
    return found


@contextlib.contextmanager
def somebody(found: set[str]) -> Iterator[None]:
    """Do what a lab itself does not: what is asked for meanwhile is not its own."""
    before = set(found)
    try:
        yield
    finally:
        found &= before


def _course(lab: Lab, found: set[str]) -> None:
    for step in lab.steps:
        if failed := lab.run(step).failed:
            raise LabError(f"{step} does not hold: {failed.what}", seen=failed.seen)
    lab.add_floating_ip()
    lab.remove_floating_ip(str(lab.floating_ips().rows[-1][0]))
    lab.status()
    lab.preflight()
    for name in FAULTS:
        lab.break_it(name)
        lab.mend()
    site = lab._site()
    price(replace(site.target, charges=True), HOME, Things(lab.settings.instance_type))
    simulated(Inquiry(site.target, site.settings, Facts()), LEARNER, ["ec2:CreateVpc"])
    quotas.addresses(Inquiry(replace(site.target, client=_no_quotas(site)), site.settings, Facts()))


def _no_quotas(site: Site) -> Any:
    """Give the clients of an account whose Service Quotas may not be asked."""

    def client(service: str, region_name: str = "") -> Any:
        if service == "service-quotas":
            raise LabError("not allowed to ask for quotas")
        return site.target.client(service, region_name)

    return client


def _repairs(lab: Lab, found: set[str]) -> None:
    site = lab._site()
    have, ec2 = site.read_ec2(), site.ec2
    name = str((have.instance or {})["InstanceId"])
    with somebody(found):
        ec2.modify_instance_metadata_options(
            InstanceId=name, **{**METADATA, "HttpPutResponseHopLimit": 2}
        )
        ec2.replace_route(
            RouteTableId=have.route_table,
            DestinationCidrBlock="0.0.0.0/0",
            NetworkInterfaceId=have.nics["management"]["NetworkInterfaceId"],
        )
        ec2.stop_instances(InstanceIds=[name])
    with Lab(NAME, target="local", bridge="linux", allow_from=MOVED) as moved:
        moved.provision()
    told = [{"Key": MADE_OF, "Value": "walked"}]
    attempt(lambda: bake.image(ec2, name, "walked", told))  # refused: it is no whole machine here
    bake.untag(ec2, name)


def _leftovers(lab: Lab, found: set[str]) -> None:
    site = lab._site()
    have, ec2, now = site.read_ec2(), site.ec2, "2026-01-01T00:00:00+00:00"
    instance, vpc = have.instance or {}, have.vpc or {}
    with somebody(found):
        ec2.create_route_table(
            VpcId=vpc["VpcId"], TagSpecifications=[specification("route-table", NAME, "table", now)]
        )
        disk = ec2.create_volume(
            AvailabilityZone=instance["Placement"]["AvailabilityZone"],
            Size=1,
            TagSpecifications=[specification("volume", NAME, "disk", now)],
        )["VolumeId"]
        ec2.attach_volume(VolumeId=disk, InstanceId=instance["InstanceId"], Device="/dev/sdf")
    first = "network interface", "volume"
    for thing in estate.read(ec2, NAME):
        mine = thing.id == have.nics["provider"]["NetworkInterfaceId"]
        if thing.kind.name in first and (mine or thing.id == disk):
            thing.give_back()
