"""Everything that a lab can have in EC2: how each kind is listed, what it costs, how it goes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from osawslab.aws import once
from osawslab.aws.facts import LAB, MADE, every, tag
from osawslab.errors import LabTimeout

END_SECONDS = 300.0  # an instance takes up to minutes to end
LET_GO_SECONDS = 60.0  # what used a thing has gone; AWS notices within seconds
PAUSE_SECONDS = 2.0
ENDED = ("terminated", "deleting", "deleted")  # shutting-down still holds its NICs
HELD = ("DependencyViolation", "InvalidIPAddress.InUse", "InvalidNetworkInterface.InUse",
        "VolumeInUse")  # fmt: skip

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
    costs: bool = False  # money, by the hour or by the month, for as long as it is ours


@contextlib.contextmanager
def unless_gone(*also: str) -> Iterator[None]:
    """Take it well when a thing is gone already."""
    from botocore.exceptions import ClientError

    try:
        yield
    except ClientError as error:
        code = str(error.response["Error"]["Code"])
        if not code.endswith((".NotFound", *also)):
            raise


def _until(holds: Callable[[], bool], what: str, seconds: float = LET_GO_SECONDS) -> None:
    if not once.until(holds, seconds, PAUSE_SECONDS):
        raise LabTimeout(f"{what} takes longer than {seconds:.0f} s", next="try again")


def _terminate(ec2: Any, key: str) -> None:
    ec2.terminate_instances(InstanceIds=[key])
    only = [{"Name": "instance-id", "Values": [key]}]

    def ended() -> bool:  # botocore's waiter gives up on `pending` and `stopping`, seen too late
        found = every(ec2, "describe_instances", "Reservations", only)
        return all(state(each) == "terminated" for r in found for each in r["Instances"])

    _until(ended, f"the end of {key}", END_SECONDS)


def _release(ec2: Any, key: str) -> None:
    found = ec2.describe_addresses(AllocationIds=[key])["Addresses"][0]
    if found.get("AssociationId"):
        with unless_gone():
            ec2.disassociate_address(AssociationId=found["AssociationId"])
    ec2.release_address(AllocationId=key)


def _delete_nic(ec2: Any, key: str) -> None:
    """Delete a NIC, detached first; one that went with its instance is gone already."""

    def look() -> Resource | None:
        only = [{"Name": "network-interface-id", "Values": [key]}]
        found = every(ec2, "describe_network_interfaces", "NetworkInterfaces", only)
        return found[0] if found else None

    def attachment() -> str:
        return str(((look() or {}).get("Attachment") or {}).get("AttachmentId", ""))

    if attached := attachment():
        with unless_gone():
            ec2.detach_network_interface(AttachmentId=attached, Force=True)
        _until(lambda: not attachment(), f"detaching {key}")
    if look():
        ec2.delete_network_interface(NetworkInterfaceId=key)


def _delete_volume(ec2: Any, key: str) -> None:
    """Delete a volume, detached first; one that went with its instance is gone already."""

    def look() -> Resource | None:
        only = [{"Name": "volume-id", "Values": [key]}]
        found = every(ec2, "describe_volumes", "Volumes", only)
        return found[0] if found and state(found[0]) not in ENDED else None

    def attached() -> str:
        return next((str(a["InstanceId"]) for a in (look() or {}).get("Attachments", ())), "")

    if instance := attached():
        with unless_gone("IncorrectState"):
            ec2.detach_volume(VolumeId=key, InstanceId=instance)
        _until(lambda: not attached(), f"detaching {key}")
    if look():
        ec2.delete_volume(VolumeId=key)


def _delete_gateway(ec2: Any, key: str) -> None:
    found = ec2.describe_internet_gateways(InternetGatewayIds=[key])["InternetGateways"][0]
    for attachment in found["Attachments"]:
        with unless_gone("Gateway.NotAttached"):
            ec2.detach_internet_gateway(InternetGatewayId=key, VpcId=attachment["VpcId"])
    ec2.delete_internet_gateway(InternetGatewayId=key)


KINDS = (  # in the order in which AWS lets them go
    Kind(
        "instance", "describe_instances", "Reservations", "InstanceId",
        "the instance, its disk and its NICs", "terminate-instances --instance-ids {id}",
        _terminate, costs=True,
    ),
    Kind(
        "elastic IP", "describe_addresses", "Addresses", "AllocationId",
        "an Elastic IP: it costs money as long as it is ours",
        "release-address --allocation-id {id}", _release, costs=True,
    ),
    Kind(
        "network interface", "describe_network_interfaces", "NetworkInterfaces",
        "NetworkInterfaceId", "a NIC, where it did not go with the instance",
        "delete-network-interface --network-interface-id {id}", _delete_nic,
    ),
    Kind(
        "volume", "describe_volumes", "Volumes", "VolumeId",
        "a disk, where it did not go with the instance", "delete-volume --volume-id {id}",
        _delete_volume, costs=True,
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
        "route table", "describe_route_tables", "RouteTables", "RouteTableId",
        "a route table besides the VPC's own", "delete-route-table --route-table-id {id}",
        lambda ec2, key: ec2.delete_route_table(RouteTableId=key),
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
class Thing:
    """One resource with a lab's tag."""

    kind: Kind
    id: str
    lab: str
    facts: Resource
    region: str  # its name
    ec2: Any  # the client of that region

    @property
    def made(self) -> str:
        """When this life of its lab began, ISO 8601 in UTC; "" where no tag says."""
        return tag(self.facts, MADE)

    @property
    def since(self) -> str:
        """When it was made, ISO 8601: by EC2, else its lab's beginning; "" where neither says."""
        told = self.facts.get("LaunchTime") or self.facts.get("CreateTime")
        return str(told.isoformat()) if told else self.made

    @property
    def vpc(self) -> str:
        """The VPC it is in, or is; "" where it is in none."""
        for attachment in self.facts.get("Attachments", ()):
            return str(attachment.get("VpcId", ""))
        return str(self.facts.get("VpcId", ""))

    def give_back(self) -> None:
        """Delete it. What is gone already is fine, and what a stranger's thing holds stays.

        What only just stopped using it is given a bounded time to let go.
        """
        from botocore.exceptions import ClientError

        def done() -> bool:
            try:
                with unless_gone():
                    self.kind.delete(self.ec2, self.id)
            except ClientError as error:
                said = error.response["Error"]
                if said["Code"] not in HELD and "currently in use" not in said["Message"]:
                    raise
                return bool(strangers((self,)).get(self.id))
            return True

        once.until(done, LET_GO_SECONDS, PAUSE_SECONDS)


def read(ec2: Any, lab: str | None) -> tuple[Thing, ...]:
    """List what has the lab's tag, or any lab's for None, in the order in which it can go."""
    which = {"Name": "tag-key", "Values": [LAB]}
    if lab is not None:
        which = {"Name": f"tag:{LAB}", "Values": [lab]}
    things = []
    for kind in KINDS:
        found = every(ec2, kind.describe, kind.listed, [which])
        if kind.name == "instance":
            found = [each for reservation in found for each in reservation["Instances"]]
        things += [
            Thing(kind, str(each[kind.key]), tag(each, LAB), each, ec2.meta.region_name, ec2)
            for each in found
            if state(each) not in ENDED
        ]
    return tuple(things)


def state(resource: Resource) -> str:
    """Read the state of a resource, "" where its kind has none."""
    told = resource.get("State", resource.get("Status", ""))
    return str(told["Name"] if isinstance(told, Mapping) else told)


def strangers(things: tuple[Thing, ...]) -> dict[str, tuple[str, ...]]:
    """Find what holds these things and has not their lab's tag: id -> ids of its holders.

    Holders are looked for in the VPCs of the things.
    """
    held: dict[str, tuple[str, ...]] = {}
    inside: dict[str, tuple[tuple[str, Resource], ...]] = {}
    for thing in things:
        if thing.kind.name not in ("subnet", "security group", "internet gateway", "VPC"):
            continue
        if thing.vpc and thing.vpc not in inside:
            inside[thing.vpc] = tuple(_inside(thing.ec2, thing.vpc))
        found = tuple(
            str(each[key])
            for key, each in inside.get(thing.vpc, ())
            if tag(each, LAB) != thing.lab and _holds(key, each, thing)
        )
        if found:
            held[thing.id] = found
    return held


def _inside(ec2: Any, vpc: str) -> Iterator[tuple[str, Resource]]:
    """List what is in a VPC, each with the key of its id, without what goes with the VPC."""
    for describe, listed, key, by in (
        ("describe_network_interfaces", "NetworkInterfaces", "NetworkInterfaceId", "vpc-id"),
        ("describe_subnets", "Subnets", "SubnetId", "vpc-id"),
        ("describe_security_groups", "SecurityGroups", "GroupId", "vpc-id"),
        ("describe_route_tables", "RouteTables", "RouteTableId", "vpc-id"),
        ("describe_internet_gateways", "InternetGateways", "InternetGatewayId",
         "attachment.vpc-id"),
    ):  # fmt: skip
        for each in every(ec2, describe, listed, [{"Name": by, "Values": [vpc]}]):
            main = any(a.get("Main") for a in each.get("Associations", ()))
            if not main and each.get("GroupName") != "default":
                yield key, each


def _holds(key: str, each: Resource, thing: Thing) -> bool:
    """Say whether EC2 keeps the thing because of this resource of its VPC."""
    nic = key == "NetworkInterfaceId"
    match thing.kind.name:
        case "VPC":
            return True
        case "subnet":
            return nic and bool(each["SubnetId"] == thing.id)
        case "internet gateway":
            return nic and bool(each.get("Association"))
    named = each["Groups"] if nic else []
    if key == "GroupId":
        rules = (*each["IpPermissions"], *each["IpPermissionsEgress"])
        named = [pair for rule in rules for pair in rule.get("UserIdGroupPairs", ())]
    return any(group.get("GroupId") == thing.id for group in named)
