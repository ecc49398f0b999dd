"""What EC2 has with our tags: read by describe calls, whoever made it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

LAB = "osawslab:lab"  # the tag that says whose a resource is
ROLE = "osawslab:role"  # what it is in the lab
HOST_KEY = "osawslab:host-key"  # the SSH host key that an instance has proved, as OpenSSH's line

Resource = Mapping[str, Any]
GONE = ("terminated", "shutting-down")


def tags(lab: str, role: str) -> list[dict[str, str]]:
    """Give the tags that each of the lab's resources has from its creation."""
    return [
        {"Key": LAB, "Value": lab},
        {"Key": ROLE, "Value": role},
        {"Key": "Name", "Value": f"{lab} {role}"},
    ]


def specification(kind: str, lab: str, role: str) -> dict[str, Any]:
    """Give a TagSpecification for a creating call."""
    return {"ResourceType": kind, "Tags": tags(lab, role)}


def role(resource: Resource) -> str:
    """Read what a resource is in the lab, "" when it has no such tag."""
    found = {tag["Key"]: tag["Value"] for tag in resource.get("Tags", resource.get("TagSet", []))}
    return str(found.get(ROLE, ""))


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
    nics: Mapping[str, Resource] = field(default_factory=dict)  # management, provider
    addresses: Mapping[str, Resource] = field(default_factory=dict)  # management, provider
    surplus: tuple[str, ...] = ()  # ids with our tag that have no place above

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
    def running(self) -> bool:
        """True when the instance runs."""
        return self.instance is not None and self.instance["State"]["Name"] == "running"


def read(ec2: Any, lab: str) -> Facts:
    """Read everything with the lab's tag."""
    mine = [{"Name": f"tag:{LAB}", "Values": [lab]}]
    surplus: list[str] = []

    def one(found: list[Resource], key: str) -> Resource | None:
        surplus.extend(str(each[key]) for each in found[1:])
        return found[0] if found else None

    def by_role(found: list[Resource], key: str) -> dict[str, Resource]:
        named: dict[str, Resource] = {}
        for each in found:
            name = role(each).partition("-")[0]
            if name in named or name not in ("management", "provider"):
                surplus.append(str(each[key]))
            else:
                named[name] = each
        return named

    vpc = one(ec2.describe_vpcs(Filters=mine)["Vpcs"], "VpcId")
    table: Resource | None = None
    if vpc:
        tables = ec2.describe_route_tables(
            Filters=[
                {"Name": "vpc-id", "Values": [vpc["VpcId"]]},
                {"Name": "association.main", "Values": ["true"]},
            ]
        )["RouteTables"]
        table = tables[0] if tables else None
    reservations = ec2.describe_instances(Filters=mine)["Reservations"]
    instances = [
        instance
        for reservation in reservations
        for instance in reservation["Instances"]
        if instance["State"]["Name"] not in GONE
    ]
    keys = ec2.describe_key_pairs(Filters=mine)["KeyPairs"]
    return Facts(
        vpc=vpc,
        gateway=one(
            ec2.describe_internet_gateways(Filters=mine)["InternetGateways"], "InternetGatewayId"
        ),
        subnets=by_role(ec2.describe_subnets(Filters=mine)["Subnets"], "SubnetId"),
        routes=tuple(table["Routes"]) if table else (),
        route_table=str(table["RouteTableId"]) if table else "",
        group=one(ec2.describe_security_groups(Filters=mine)["SecurityGroups"], "GroupId"),
        key=one(keys, "KeyPairId"),
        instance=one(instances, "InstanceId"),
        nics=by_role(
            ec2.describe_network_interfaces(Filters=mine)["NetworkInterfaces"],
            "NetworkInterfaceId",
        ),
        addresses=by_role(ec2.describe_addresses(Filters=mine)["Addresses"], "AllocationId"),
        surplus=tuple(surplus),
    )


def _type(ec2: Any, instance_type: str) -> dict[str, Any]:
    [found] = ec2.describe_instance_types(InstanceTypes=[instance_type])["InstanceTypes"]
    return dict(found)


def ena(ec2: Any, instance_type: str) -> bool:
    """Say whether an instance type's NICs need the ena driver, as every Nitro type's do."""
    return bool(_type(ec2, instance_type)["NetworkInfo"]["EnaSupport"] == "required")


MADE_OF = "osawslab:made-of"  # the tag of a prepared image: the hash of what it was made from


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
