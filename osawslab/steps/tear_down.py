"""The last chapter: everything with the lab's tag is given back, and shown to be gone."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from osawslab.aws.facts import GONE, LAB
from osawslab.report import Action, Check, Table
from osawslab.steps.site import Shown, Site

NAME = "tear_down"
WAITER = {"Delay": 2, "MaxAttempts": 150}  # an instance takes up to minutes to end

Resource = Mapping[str, Any]


@dataclass(frozen=True)
class Kind:
    """A kind of resource: how it is listed, why it goes, how a person and how we delete it."""

    name: str
    describe: str
    listed: str
    key: str
    why: str
    command: str
    delete: Callable[[Any, str], object]


def _terminate(ec2: Any, key: str) -> None:
    ec2.terminate_instances(InstanceIds=[key])
    ec2.get_waiter("instance_terminated").wait(InstanceIds=[key], WaiterConfig=WAITER)


def _release(ec2: Any, key: str) -> None:
    found = ec2.describe_addresses(AllocationIds=[key])["Addresses"][0]
    if found.get("AssociationId"):
        ec2.disassociate_address(AssociationId=found["AssociationId"])
    ec2.release_address(AllocationId=key)


def _delete_nic(ec2: Any, key: str) -> None:
    """Delete a NIC, detached first; one that went with its instance is gone already."""
    only = [{"Name": "network-interface-id", "Values": [key]}]
    found = ec2.describe_network_interfaces(Filters=only)["NetworkInterfaces"]
    if not found:
        return
    attachment = found[0].get("Attachment") or {}
    if attachment.get("AttachmentId"):
        ec2.detach_network_interface(AttachmentId=attachment["AttachmentId"], Force=True)
        ec2.get_waiter("network_interface_available").wait(NetworkInterfaceIds=[key])
    ec2.delete_network_interface(NetworkInterfaceId=key)


def _delete_gateway(ec2: Any, key: str) -> None:
    found = ec2.describe_internet_gateways(InternetGatewayIds=[key])["InternetGateways"][0]
    for attachment in found["Attachments"]:
        ec2.detach_internet_gateway(InternetGatewayId=key, VpcId=attachment["VpcId"])
    ec2.delete_internet_gateway(InternetGatewayId=key)


KINDS = (  # in the order in which AWS lets them go
    Kind(
        "instance", "describe_instances", "Reservations", "InstanceId",
        "the instance, its disk and its NICs", "terminate-instances --instance-ids {id}",
        _terminate,
    ),
    Kind(
        "elastic IP", "describe_addresses", "Addresses", "AllocationId",
        "an Elastic IP: it costs money as long as it is ours",
        "release-address --allocation-id {id}", _release,
    ),
    Kind(
        "network interface", "describe_network_interfaces", "NetworkInterfaces",
        "NetworkInterfaceId", "a NIC, where it did not go with the instance",
        "delete-network-interface --network-interface-id {id}", _delete_nic,
    ),
    Kind(
        "key pair", "describe_key_pairs", "KeyPairs", "KeyName",
        "the key pair", "delete-key-pair --key-name {id}",
        lambda ec2, key: ec2.delete_key_pair(KeyName=key),
    ),
    Kind(
        "subnet", "describe_subnets", "Subnets", "SubnetId",
        "a subnet", "delete-subnet --subnet-id {id}",
        lambda ec2, key: ec2.delete_subnet(SubnetId=key),
    ),
    Kind(
        "security group", "describe_security_groups", "SecurityGroups", "GroupId",
        "the security group", "delete-security-group --group-id {id}",
        lambda ec2, key: ec2.delete_security_group(GroupId=key),
    ),
    Kind(
        "internet gateway", "describe_internet_gateways", "InternetGateways",
        "InternetGatewayId", "the door to the internet, closed first",
        "detach-internet-gateway --internet-gateway-id {id} --vpc-id $VPC"
        " && aws ec2 delete-internet-gateway --internet-gateway-id {id}", _delete_gateway,
    ),
    Kind(
        "VPC", "describe_vpcs", "Vpcs", "VpcId",
        "the VPC", "delete-vpc --vpc-id {id}",
        lambda ec2, key: ec2.delete_vpc(VpcId=key),
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Left:
    """Everything with the lab's tag that still exists: kind -> ids."""

    kinds: Mapping[str, tuple[str, ...]]


def read(site: Site) -> Left:
    """Read everything with the lab's tag, whatever made it."""
    mine = [{"Name": f"tag:{LAB}", "Values": [site.settings.name]}]
    found: dict[str, tuple[str, ...]] = {}
    for kind in KINDS:
        listed: list[Resource] = getattr(site.ec2, kind.describe)(Filters=mine)[kind.listed]
        if kind.name == "instance":
            instances = [each for reservation in listed for each in reservation["Instances"]]
            listed = [each for each in instances if each["State"]["Name"] not in GONE]
        found[kind.name] = tuple(str(each[kind.key]) for each in listed)
    return Left(found)


def plan(site: Site, facts: Left) -> tuple[Action, ...]:
    """List what takes everything away, each in the order AWS allows."""
    return tuple(
        Action(
            "aws",
            kind.why,
            "aws ec2 " + kind.command.format(id=key),
            functools.partial(kind.delete, site.ec2, key),
        )
        for kind in KINDS
        for key in facts.kinds[kind.name]
    )


def checks(site: Site, facts: Left) -> tuple[Check, ...]:
    """Hold each kind against nothing."""
    return tuple(
        Check(
            f"{kind.name} with the lab's tag",
            "none",
            ", ".join(facts.kinds[kind.name]) or "none",
            not facts.kinds[kind.name],
            "lab.tear_down()",
        )
        for kind in KINDS
    )


def show(site: Site, facts: Left) -> Shown:
    """Show what is left, which should be nothing."""
    rows = tuple((kind.name, key) for kind in KINDS for key in facts.kinds[kind.name])
    return Shown(tables=(Table("Left with the lab's tag", ("kind", "id"), rows),))


def undo(site: Site, facts: Left) -> tuple[Action, ...]:
    """There is no way back from an empty account but `provision`."""
    return ()
