"""What EC2 has with our tags: read by describe calls, whoever made it."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field
from typing import Any

LAB = "osawslab:lab"  # the tag that says whose a resource is
ROLE = "osawslab:role"  # what it is in the lab
MADE = "osawslab:made"  # when this life of the lab began: its VPC's first moment, ISO 8601 in UTC
HOST_KEY = "osawslab:host-key"  # the SSH host key that an instance has proved, as OpenSSH's line

Resource = Mapping[str, Any]
GONE = ("terminated", "shutting-down")
FLOATING = "floating-address/"  # role of an Elastic IP: then address/fixed address/router
FURTHER = ("lasting", "floating")  # what their roles begin with: `make_it_last`'s, floating IPs


def tags(lab: str, role: str) -> list[dict[str, str]]:
    """Give the tags that each of the lab's resources has from its creation."""
    return [
        {"Key": LAB, "Value": lab},
        {"Key": ROLE, "Value": role},
        {"Key": "Name", "Value": f"{lab} {role}"},
    ]


def specification(kind: str, lab: str, role: str, made: str) -> dict[str, Any]:
    """Give a TagSpecification for a creating call."""
    return {"ResourceType": kind, "Tags": [*tags(lab, role), {"Key": MADE, "Value": made}]}


def tag(resource: Resource, key: str) -> str:
    """Read a tag of a resource, "" when it has no such tag."""
    found = resource.get("Tags", resource.get("TagSet", []))
    return next((str(each["Value"]) for each in found if each["Key"] == key), "")


def role(resource: Resource) -> str:
    """Read what a resource is in the lab, "" when it has no such tag."""
    return tag(resource, ROLE)


def every(
    ec2: Any, describe: str, listed: str, filters: list[dict[str, Any]], **more: Any
) -> list[Resource]:
    """List all that a describe call finds, page by page where EC2 gives pages."""
    if ec2.can_paginate(describe):
        pages = ec2.get_paginator(describe).paginate(Filters=filters, **more)
        return [each for page in pages for each in page[listed]]
    return list(getattr(ec2, describe)(Filters=filters, **more)[listed])


@dataclass(frozen=True)
class Facts:
    """The lab's resources by role; boto3's own dicts."""

    vpc: Resource | None = None
    gateway: Resource | None = None  # internet gateway
    subnets: Mapping[str, Resource] = field(default_factory=dict)  # management, provider
    routes: tuple[Resource, ...] = ()  # of the VPC's main route table
    route_table: str = ""
    group: Resource | None = None
    key: Resource | None = None
    instance: Resource | None = None
    gone: Resource | None = None  # the last instance that is terminated, as long as EC2 shows it
    nics: Mapping[str, Resource] = field(default_factory=dict)  # management, provider
    addresses: Mapping[str, Resource] = field(default_factory=dict)  # management, provider
    further: tuple[Resource, ...] = ()  # Elastic IPs that steps after `provision` have made
    surplus: tuple[str, ...] = ()  # ids with our tag that have no place above
    idle: tuple[str, ...] = ()  # ids of volumes, and of the surplus, that lead nowhere

    @property
    def registered_mac(self) -> str:
        """The MAC that AWS has registered for the provider NIC; "" before there is one."""
        nic = self.nics.get("provider")
        return str(nic["MacAddress"]) if nic else ""

    def eip(self, role: str) -> str:
        """The Elastic IP of a NIC, "" when it has none."""
        address = self.addresses.get(role)
        return str(address["PublicIp"]) if address else ""

    @property
    def host_key(self) -> str:
        """The SSH host key that the instance has proved; "" before it has."""
        tags = self.instance.get("Tags", []) if self.instance else []
        return next((str(tag["Value"]) for tag in tags if tag["Key"] == HOST_KEY), "")

    @property
    def whole(self) -> bool:
        """True when the instance runs with all that belongs to it, and has proved its host key."""
        led = [a for a in self.addresses.values() if a.get("AssociationId")]
        plugged = [nic for nic in self.nics.values() if nic.get("Attachment")]
        return self.running and bool(self.host_key) and len(led) == len(plugged) == 2

    @property
    def running(self) -> bool:
        """True when the instance runs."""
        return self.instance is not None and self.instance["State"]["Name"] == "running"


def read(ec2: Any, lab: str) -> Facts:
    """Read everything with the lab's tag. Of two for one place, the one that is in use has it."""
    mine = [{"Name": f"tag:{LAB}", "Values": [lab]}]
    surplus: list[Resource] = []

    def all_of(kind: str, listed: str) -> list[Resource]:
        return every(ec2, f"describe_{kind}", listed, mine)

    def one(found: list[Resource], used: Callable[[Resource], bool]) -> Resource | None:
        ranked = sorted(found, key=lambda each: not used(each))
        surplus.extend(ranked[1:])
        return ranked[0] if ranked else None

    def by_role(found: list[Resource], used: Callable[[Resource], bool]) -> dict[str, Resource]:
        named: dict[str, Resource] = {}
        for each in sorted(found, key=lambda each: not used(each)):
            name = role(each).partition("-")[0]
            if name in named or name not in ("management", "provider"):
                surplus.append(each)
            else:
                named[name] = each
        return named

    reservations = all_of("instances", "Reservations")
    instances = [each for reservation in reservations for each in reservation["Instances"]]
    gone = [each for each in instances if each["State"]["Name"] in GONE]
    instance = one(
        [each for each in instances if each["State"]["Name"] not in GONE],
        lambda each: each["State"]["Name"] == "running",
    )
    subnets = all_of("subnets", "Subnets")
    gateways, groups = (
        all_of("internet_gateways", "InternetGateways"),
        all_of("security_groups", "SecurityGroups"),
    )
    attached = [each for gateway in gateways for each in gateway["Attachments"]]
    inhabited = {str(each["VpcId"]) for each in (*subnets, *groups, *attached)}
    vpc = one(all_of("vpcs", "Vpcs"), lambda each: each["VpcId"] in inhabited)
    table: Resource | None = None
    if vpc:
        tables = ec2.describe_route_tables(
            Filters=[
                {"Name": "vpc-id", "Values": [vpc["VpcId"]]},
                {"Name": "association.main", "Values": ["true"]},
            ]
        )["RouteTables"]
        table = tables[0] if tables else None

    def inside(each: Resource) -> bool:
        return bool(vpc and each["VpcId"] == vpc["VpcId"])

    volumes, addresses = all_of("volumes", "Volumes"), all_of("addresses", "Addresses")
    further = tuple(each for each in addresses if role(each).partition("-")[0] in FURTHER)
    return Facts(
        vpc=vpc,
        gateway=one(gateways, lambda each: bool(each["Attachments"])),
        subnets=by_role(subnets, inside),
        routes=tuple(table["Routes"]) if table else (),
        route_table=str(table["RouteTableId"]) if table else "",
        group=one(groups, inside),
        key=one(all_of("key_pairs", "KeyPairs"), lambda each: True),
        instance=instance,
        gone=max(gone, key=lambda each: each["LaunchTime"], default=None),
        nics=by_role(
            all_of("network_interfaces", "NetworkInterfaces"),
            lambda each: bool(each.get("Attachment")),
        ),
        addresses=by_role(
            [each for each in addresses if each not in further],
            lambda each: bool(each.get("AssociationId")),
        ),
        further=further,
        surplus=tuple(map(identity, surplus)),
        idle=tuple(identity(each) for each in (*surplus, *volumes) if _idle(each, inhabited)),
    )


IDENTITIES = (  # in this order: what a resource names besides itself comes later
    "AllocationId", "KeyPairId", "InstanceId", "NetworkInterfaceId", "VolumeId", "GroupId",
    "SubnetId", "InternetGatewayId", "VpcId",
)  # fmt: skip


def identity(resource: Resource) -> str:
    """Give a resource's own id."""
    return str(next(resource[key] for key in IDENTITIES if key in resource))


def _idle(resource: Resource, inhabited: Container[str]) -> bool:
    """Say whether a resource leads nowhere, of the kinds that EC2 makes a second time.

    `inhabited` are the VPCs with something of the lab's inside.
    """
    if "AllocationId" in resource:
        return not resource.get("AssociationId")
    if "VolumeId" in resource:
        return bool(resource["State"] == "available")
    if "InternetGatewayId" in resource:
        return not resource["Attachments"]
    if "IsDefault" in resource:
        return resource["VpcId"] not in inhabited
    return bool(resource.get("Status") == "available")  # which only a network interface has


def _type(ec2: Any, instance_type: str) -> dict[str, Any]:
    [found] = ec2.describe_instance_types(InstanceTypes=[instance_type])["InstanceTypes"]
    return dict(found)


def ena(ec2: Any, instance_type: str) -> bool:
    """Say whether an instance type's NICs need the ena driver, as every Nitro type's do."""
    return bool(_type(ec2, instance_type)["NetworkInfo"]["EnaSupport"] == "required")


MADE_OF = "osawslab:made-of"  # the tag of a prepared image: the hash of what it was made from
MADE_BY = "osawslab:made-by"  # and the lab it was made in, which it outlives


def nests(ec2: Any, instance_type: str) -> bool:
    """Say whether an instance type can carry virtual machines (ProcessorInfo, EC2 API)."""
    processor = _type(ec2, instance_type).get("ProcessorInfo", {})
    features = processor.get("SupportedFeatures", [])
    return "nested-virtualization" in features


def prepared(ec2: Any, made_of: str) -> str:
    """Find the account's newest image that was made from just this; "" where there is none."""
    found = ec2.describe_images(
        Owners=["self"],
        Filters=[
            {"Name": f"tag:{MADE_OF}", "Values": [made_of]},
            {"Name": "state", "Values": ["available"]},
        ],
    )["Images"]
    newest = sorted(found, key=lambda each: str(each.get("CreationDate", "")))
    return str(newest[-1]["ImageId"]) if newest else ""
