"""The last chapter: everything with the lab's tag is given back, and shown to be gone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from osawslab.aws.facts import GONE, LAB, role
from osawslab.report import Action, Check, Table
from osawslab.steps.site import Shown, Site

NAME = "tear_down"


@dataclass(frozen=True)
class Left:
    """Everything with the lab's tag that still exists: kind -> boto3 dicts."""

    kinds: Mapping[str, tuple[Mapping[str, Any], ...]]

    def __bool__(self) -> bool:
        return any(self.kinds.values())


# kind, describe call, key of the list, key of the id; in the order in which they can go
KINDS = (
    ("instance", "describe_instances", "Reservations", "InstanceId"),
    ("elastic IP", "describe_addresses", "Addresses", "AllocationId"),
    ("network interface", "describe_network_interfaces", "NetworkInterfaces", "NetworkInterfaceId"),
    ("key pair", "describe_key_pairs", "KeyPairs", "KeyPairId"),
    ("subnet", "describe_subnets", "Subnets", "SubnetId"),
    ("security group", "describe_security_groups", "SecurityGroups", "GroupId"),
    ("internet gateway", "describe_internet_gateways", "InternetGateways", "InternetGatewayId"),
    ("VPC", "describe_vpcs", "Vpcs", "VpcId"),
)


def read(site: Site) -> Left:
    """Read everything with the lab's tag, whatever made it."""
    mine = [{"Name": f"tag:{LAB}", "Values": [site.settings.name]}]
    found: dict[str, tuple[Mapping[str, Any], ...]] = {}
    for kind, call, key, _ in KINDS:
        listed = getattr(site.ec2, call)(Filters=mine)[key]
        if kind == "instance":
            listed = [
                instance
                for reservation in listed
                for instance in reservation["Instances"]
                if instance["State"]["Name"] not in GONE
            ]
        found[kind] = tuple(listed)
    return Left(found)


def plan(site: Site, facts: Left) -> tuple[Action, ...]:
    """List what takes everything away, each in the order AWS allows."""
    ec2 = site.ec2
    todo: list[Action] = []

    def want(why: str, command: str, do: Callable[[], object]) -> None:
        todo.append(Action("aws", why, command, do))

    instances = [str(each["InstanceId"]) for each in facts.kinds["instance"]]
    if instances:

        def terminate() -> None:
            ec2.terminate_instances(InstanceIds=instances)
            ec2.get_waiter("instance_terminated").wait(
                InstanceIds=instances, WaiterConfig={"Delay": 2, "MaxAttempts": 150}
            )

        want(
            "the instance, its disk and its first NIC",
            f"aws ec2 terminate-instances --instance-ids {' '.join(instances)}",
            terminate,
        )
    for address in facts.kinds["elastic IP"]:
        key = str(address["AllocationId"])
        want(
            f"the Elastic IP {address['PublicIp']}: it costs money as long as it is ours",
            f"aws ec2 release-address --allocation-id {key}",
            lambda key=key: _release(ec2, key),  # type: ignore[misc]
        )
    for nic in facts.kinds["network interface"]:
        key = str(nic["NetworkInterfaceId"])
        want(
            f"the {role(nic) or 'NIC'}, where it did not go with the instance",
            f"aws ec2 delete-network-interface --network-interface-id {key}",
            lambda key=key: _delete_nic(ec2, key),  # type: ignore[misc]
        )
    for pair in facts.kinds["key pair"]:
        key = str(pair["KeyName"])
        want(
            "the key pair",
            f"aws ec2 delete-key-pair --key-name {key}",
            lambda key=key: ec2.delete_key_pair(KeyName=key),  # type: ignore[misc]
        )
    for subnet in facts.kinds["subnet"]:
        key = str(subnet["SubnetId"])
        want(
            f"the subnet {subnet['CidrBlock']}",
            f"aws ec2 delete-subnet --subnet-id {key}",
            lambda key=key: ec2.delete_subnet(SubnetId=key),  # type: ignore[misc]
        )
    for group in facts.kinds["security group"]:
        key = str(group["GroupId"])
        want(
            "the security group",
            f"aws ec2 delete-security-group --group-id {key}",
            lambda key=key: ec2.delete_security_group(GroupId=key),  # type: ignore[misc]
        )
    for gateway in facts.kinds["internet gateway"]:
        key = str(gateway["InternetGatewayId"])
        for attachment in gateway["Attachments"]:
            vpc = str(attachment["VpcId"])
            want(
                "close the door to the internet",
                f"aws ec2 detach-internet-gateway --internet-gateway-id {key} --vpc-id {vpc}",
                lambda key=key, vpc=vpc: ec2.detach_internet_gateway(  # type: ignore[misc]
                    InternetGatewayId=key, VpcId=vpc
                ),
            )
        want(
            "the internet gateway",
            f"aws ec2 delete-internet-gateway --internet-gateway-id {key}",
            lambda key=key: ec2.delete_internet_gateway(  # type: ignore[misc]
                InternetGatewayId=key
            ),
        )
    for vpc_ in facts.kinds["VPC"]:
        key = str(vpc_["VpcId"])
        want(
            "the VPC",
            f"aws ec2 delete-vpc --vpc-id {key}",
            lambda key=key: ec2.delete_vpc(VpcId=key),  # type: ignore[misc]
        )
    return tuple(todo)


def _release(ec2: Any, key: str) -> None:
    found = ec2.describe_addresses(AllocationIds=[key])["Addresses"][0]
    if found.get("AssociationId"):
        ec2.disassociate_address(AssociationId=found["AssociationId"])
    ec2.release_address(AllocationId=key)


def _delete_nic(ec2: Any, key: str) -> None:
    """Delete a NIC, detached first; one that went with its instance is gone already."""
    found = ec2.describe_network_interfaces(
        Filters=[{"Name": "network-interface-id", "Values": [key]}]
    )["NetworkInterfaces"]
    if not found:
        return
    attachment = found[0].get("Attachment") or {}
    if attachment.get("AttachmentId"):
        ec2.detach_network_interface(AttachmentId=attachment["AttachmentId"], Force=True)
        ec2.get_waiter("network_interface_available").wait(NetworkInterfaceIds=[key])
    ec2.delete_network_interface(NetworkInterfaceId=key)


def checks(site: Site, facts: Left) -> tuple[Check, ...]:
    """Hold each kind against nothing."""
    return tuple(
        Check(
            f"{kind} with the lab's tag",
            "none",
            ", ".join(str(each[key]) for each in facts.kinds[kind]) or "none",
            not facts.kinds[kind],
            "lab.tear_down()",
        )
        for kind, _, _, key in KINDS
    )


def show(site: Site, facts: Left) -> Shown:
    """Show what is left, which should be nothing."""
    rows = tuple((kind, str(each[key])) for kind, _, _, key in KINDS for each in facts.kinds[kind])
    return Shown(tables=(Table("Left with the lab's tag", ("kind", "id"), rows),))


def undo(site: Site, facts: Left) -> tuple[Action, ...]:
    """There is no way back from an empty account but `provision`."""
    return ()
