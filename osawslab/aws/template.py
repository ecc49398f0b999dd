"""Write what `provision` makes as a CloudFormation template.

The resources are drawn from the maker's own calls, made to a client that only notes them: what a
call asks for is what the template has. Nothing is asked of AWS. What CloudFormation cannot do as
the steps do it: the VPC's main route table is not its own, so the subnets get another one; the
management NIC is a resource too, since the address that leads to it wants its id. The user data is
left out: its secret proves a host key to one lab, and a template is for everybody.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from osawslab.aws import visitors
from osawslab.aws.facts import MADE, Facts
from osawslab.aws.maker import Maker
from osawslab.settings import Settings

ROOT = "/dev/xvda"  # of Debian's AMIs: https://wiki.debian.org/Cloud/AmazonEC2Image
ROLES = ("management", "provider")
Json = dict[str, Any]


def ref(name: str) -> Json:
    """Refer to a resource or a parameter."""
    return {"Ref": name}


def attribute(name: str, which: str) -> Json:
    """Refer to an attribute of a resource."""
    return {"Fn::GetAtt": [name, which]}


# What the noting client gives as an id -> what stands for it in the template.
REFERENCES: dict[str, Json] = {
    **{name: ref(name) for name in ("Vpc", "Gateway", "RouteTable", "Instance")},
    **{f"{role.title()}{what}": ref(f"{role.title()}{what}") for role in ROLES
       for what in ("Subnet", "Nic")},
    **{f"{role.title()}Address": attribute(f"{role.title()}Address", "AllocationId")
       for role in ROLES},
    "Group": attribute("Group", "GroupId"),
    "Image": ref("Image"),
}  # fmt: skip


class Noting:
    """An EC2 client that notes the calls that change something, and answers with names."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Json]] = []
        self.name = ""  # of what is made now

    def __getattr__(self, operation: str) -> Callable[..., Json]:
        def call(**asked: Any) -> Json:
            if not operation.startswith("describe_"):
                self.calls.append((operation, asked))
            return self._answers()

        return call

    def can_paginate(self, operation: str) -> bool:
        """Give everything at once."""
        return False

    def get_waiter(self, name: str) -> Noting:
        """Give what waits for nothing: a client whose notes nobody reads."""
        return Noting()

    def _answers(self) -> Json:
        """Answer whatever was asked: each reader takes its own part."""
        name = self.name
        nic = {"NetworkInterfaceId": name, "Attachment": {"AttachmentId": "attachment"}}
        first = {"NetworkInterfaceId": "ManagementNic"}
        machine = {
            "InstanceId": "Instance",
            "NetworkInterfaces": [first],
            "State": {"Name": "running"},
        }
        return {
            "Vpc": {"VpcId": name},
            "Subnet": {"SubnetId": name},
            "InternetGateway": {"InternetGatewayId": name},
            "RouteTables": [{"RouteTableId": "RouteTable"}],
            "GroupId": name,
            "AllocationId": name,
            "NetworkInterface": nic,
            "NetworkInterfaces": [nic],
            "Images": [{"RootDeviceName": ROOT}],
            "InstanceTypes": [{}],
            "Instances": [machine],
            "Reservations": [{"Instances": [machine]}],
        }


def template(settings: Settings, gigabytes: int) -> Json:
    """Give the template of a lab; `gigabytes` is the size of the instance's disk."""
    ec2 = Noting()
    with tempfile.TemporaryDirectory() as folder:
        maker = Maker(ec2, None, settings, Facts(), Path(folder))

        def draw(name: str, *acts: Callable[[], object]) -> list[Json]:
            ec2.name, ec2.calls = name, []
            for act in acts:
                act()
            return [asked for _, asked in ec2.calls]

        found = Drawing(settings)
        found.network(draw("Vpc", maker.vpc), draw("Gateway", maker.gateway))
        found.route(draw("RouteTable", maker.route))
        for role in ROLES:
            cidr = getattr(settings, f"{role}_cidr")
            name = f"{role.title()}Subnet"
            found.subnet(name, draw(name, lambda r=role, c=cidr: maker.subnet(r, c)))  # type: ignore[misc]
        rules = visitors.permissions(visitors.wanted(settings, settings.allow_from))
        found.group(draw("Group", maker.group, lambda: maker.authorize(rules)))
        found.instance(draw("Instance", lambda: maker.instance("Image", gigabytes, None)))
        found.nic(draw("ProviderNic", maker.nic, maker.attach, maker.delete_on_termination))
        for role in ROLES:
            private = getattr(settings, f"{role}_address")
            name = f"{role.title()}Address"
            found.address(name, draw(
                name,
                lambda r=role: maker.allocate(r),  # type: ignore[misc]
                lambda r=role, p=private: maker.associate(r, p),  # type: ignore[misc]
            ))  # fmt: skip
        return found.whole(maker.image_parameter())


class Drawing:
    """Turns the calls into resources."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.resources: Json = {}

    def _add(self, name: str, kind: str, properties: Json, *after: str) -> None:
        made: Json = {"Type": f"AWS::EC2::{kind}", "Properties": self._linked(properties)}
        if after:
            made["DependsOn"] = list(after)
        self.resources[name] = made

    def _linked(self, value: Any) -> Any:
        """Put references where the noted calls have names."""
        if isinstance(value, dict):
            return {key: self._linked(each) for key, each in value.items()}
        if isinstance(value, (list, tuple)):
            return [self._linked(each) for each in value]
        return REFERENCES.get(value, value) if isinstance(value, str) else value

    def _tags(self, asked: Json, kind: str) -> Json:
        """Give the tags of a call, but for the moment at which it was noted."""
        told = asked.get("TagSpecifications", [])
        [own] = [each["Tags"] for each in told if each["ResourceType"] == kind]
        return {"Tags": [each for each in own if each["Key"] != MADE]}

    def network(self, vpc: list[Json], gateway: list[Json]) -> None:
        """Add the VPC and its door."""
        [made], [door] = vpc, gateway
        tags = self._tags(made, "vpc")
        self._add("Vpc", "VPC", {"CidrBlock": made["CidrBlock"], **tags})
        self._add("Gateway", "InternetGateway", self._tags(door, "internet-gateway"))
        pair = {"VpcId": "Vpc", "InternetGatewayId": "Gateway"}
        self._add("Door", "VPCGatewayAttachment", pair)

    def route(self, calls: list[Json]) -> None:
        """Add a route table of the template's own, with the way to the door."""
        [asked] = calls
        self._add(
            "RouteTable", "RouteTable", {"VpcId": "Vpc", **self.resources["Vpc"]["Properties"]}
        )
        del self.resources["RouteTable"]["Properties"]["CidrBlock"]
        self._add("Route", "Route", asked, "Door")

    def subnet(self, name: str, calls: list[Json]) -> None:
        """Add a subnet, in the zone of that letter wherever the stack is made."""
        [asked] = calls
        zone = {
            "Fn::Sub": asked["AvailabilityZone"].replace(self.settings.region, "${AWS::Region}")
        }
        asked = {**asked, "AvailabilityZone": zone, **self._tags(asked, "subnet")}
        del asked["TagSpecifications"]
        self._add(name, "Subnet", asked)
        pair = {"SubnetId": name, "RouteTableId": "RouteTable"}
        self._add(f"{name}Route", "SubnetRouteTableAssociation", pair)

    def group(self, calls: list[Json]) -> None:
        """Add the security group with what it lets in."""
        made, opened = calls
        rules = [
            {
                **{key: each[key] for key in ("IpProtocol", "FromPort", "ToPort")},
                "CidrIp": ref("AllowFrom") if at == self.settings.allow_from else at,
            }
            for each in opened["IpPermissions"]
            for at in (r["CidrIp"] for r in each["IpRanges"])
        ]
        properties = {
            "GroupName": made["GroupName"],
            "GroupDescription": made["Description"],
            "VpcId": made["VpcId"],
            "SecurityGroupIngress": rules,
            **self._tags(made, "security-group"),
        }
        self._add("Group", "SecurityGroup", properties)

    def instance(self, calls: list[Json]) -> None:
        """Add the instance and its first NIC; what has the same name here goes over as it is."""
        [asked] = calls
        nic = {
            "SubnetId": asked["SubnetId"],
            "PrivateIpAddress": asked["PrivateIpAddress"],
            "GroupSet": asked["SecurityGroupIds"],
            **self._tags(asked, "network-interface"),
        }
        self._add("ManagementNic", "NetworkInterface", nic)
        other = {
            "ClientToken", "MinCount", "MaxCount", "UserData", "TagSpecifications", "SubnetId",
            "PrivateIpAddress", "SecurityGroupIds", "CreditSpecification",
        }  # fmt: skip
        properties = {key: value for key, value in asked.items() if key not in other}
        properties |= {
            "KeyName": ref("KeyName"),
            "NetworkInterfaces": [{"DeviceIndex": "0", "NetworkInterfaceId": "ManagementNic"}],
            "PropagateTagsToVolumeOnCreation": True,
            **self._tags(asked, "instance"),
        }
        if "CreditSpecification" in asked:
            credits = asked["CreditSpecification"]["CpuCredits"]
            properties["CreditSpecification"] = {"CPUCredits": credits}
        self._add("Instance", "Instance", properties, "Route", "ManagementSubnetRoute")

    def nic(self, calls: list[Json]) -> None:
        """Add the provider NIC, plugged in after the launch."""
        made, attached, kept = calls
        properties = {
            "SubnetId": made["SubnetId"],
            "PrivateIpAddress": made["PrivateIpAddress"],
            "GroupSet": made["Groups"],
            "Description": made["Description"],
            **self._tags(made, "network-interface"),
        }
        self._add("ProviderNic", "NetworkInterface", properties)
        plug = {
            **attached,
            "DeviceIndex": str(attached["DeviceIndex"]),
            "DeleteOnTermination": kept["Attachment"]["DeleteOnTermination"],
        }
        self._add("Plug", "NetworkInterfaceAttachment", plug)

    def address(self, name: str, calls: list[Json]) -> None:
        """Add an Elastic IP that leads to a NIC."""
        made, leads = calls
        tags = self._tags(made, "elastic-ip")
        self._add(name, "EIP", {"Domain": made["Domain"], **tags}, "Door")
        leads = {key: value for key, value in leads.items() if key != "AllowReassociation"}
        self._add(f"{name}Leads", "EIPAssociation", leads, "Plug")

    def whole(self, image: str) -> Json:
        """Give the template."""
        allowed = self.settings.allow_from
        name = self.settings.name
        return {
            "AWSTemplateFormatVersion": "2010-09-09",
            "Description": (
                f"The lab {name} of osawslab as its step provision makes it: an instance with two"
                " NICs and an Elastic IP on each. It costs money until the stack is deleted."
            ),
            "Parameters": {
                "Image": {
                    "Type": "AWS::SSM::Parameter::Value<AWS::EC2::Image::Id>",
                    "Default": image,
                    "Description": "The SSM parameter that holds the AMI",
                },
                "KeyName": {
                    "Type": "AWS::EC2::KeyPair::KeyName",
                    "Description": "The key pair that opens the instance",
                },
                "AllowFrom": {
                    "Type": "String",
                    **({} if allowed == visitors.AUTO else {"Default": allowed}),
                    "AllowedPattern": r"(\d{1,3}\.){3}\d{1,3}/\d{1,2}",
                    "Description": "Who may reach the instance and the VM, as a CIDR",
                },
            },
            "Resources": self.resources,
            "Outputs": {
                "Instance": {"Value": ref("Instance")},
                **{f"{role.title()}Ip": {"Value": ref(f"{role.title()}Address")} for role in ROLES},
                "ProviderNic": {
                    "Description": "Its MAC is the one that AWS has registered",
                    "Value": ref("ProviderNic"),
                },
            },
        }
