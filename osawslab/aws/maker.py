"""Make what a lab needs in EC2: one method a call, each tagged from its creation.

A process may end right after EC2 has accepted a call, and EC2 may not show yet what it has made:
RunInstances and CreateNetworkInterface have a token against that (`once`). EC2 itself refuses a
second subnet, security group or key pair; then the first one is what was wanted. A second VPC,
gateway or address is `Facts.surplus` of the next run.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from osawslab.aws import ending, estate, facts, launch, once
from osawslab.aws.facts import GONE, LAB, MADE, ROLE, Facts, specification
from osawslab.errors import StepFailed
from osawslab.keys import keep_key, key_file
from osawslab.settings import Settings

# Only IMDSv2, one hop: what the instance only passes on does not read its metadata. Enabled, for
# an account may have another default; cloud-init reads the user data there.
METADATA = {"HttpEndpoint": "enabled", "HttpTokens": "required", "HttpPutResponseHopLimit": 1}


class Maker:
    """The creating calls. `ids` starts with what exists and grows with what is made."""

    def __init__(self, ec2: Any, ssm: Any, settings: Settings, have: Facts, keys: Path) -> None:
        self.ec2 = ec2
        self.ssm = ssm
        self.settings = settings
        self.facts = have
        self.keys = keys
        self.made = facts.tag(have.vpc or {}, MADE) or datetime.now(UTC).isoformat("T", "seconds")
        self.ids: dict[str, str] = {
            name: str(resource[key])
            for name, resource, key in (
                ("vpc", have.vpc, "VpcId"),
                ("gateway", have.gateway, "InternetGatewayId"),
                ("group", have.group, "GroupId"),
                ("instance", have.instance, "InstanceId"),
                *((f"{r} subnet", s, "SubnetId") for r, s in have.subnets.items()),
                *((f"{r} nic", n, "NetworkInterfaceId") for r, n in have.nics.items()),
                *((f"{r} address", a, "AllocationId") for r, a in have.addresses.items()),
            )
            if resource
        }

    def _tags(self, kind: str, role: str) -> list[dict[str, Any]]:
        return [specification(kind, self.settings.name, role, self.made)]

    def _mine(self, role: str) -> list[dict[str, Any]]:
        wanted = {LAB: self.settings.name, ROLE: role}
        return [{"Name": f"tag:{key}", "Values": [value]} for key, value in wanted.items()]

    def _or_adopt(self, call: Callable[[], str], refusal: str, *how: str) -> str:
        """Make something; where EC2 refuses a second one of it, give the id of the lab's own.

        `how` is its describe call, what that lists, the key of the id, and its role.
        """
        from botocore.exceptions import ClientError

        try:
            return call()
        except ClientError as error:
            if error.response["Error"]["Code"] != refusal:
                raise
            describe, listed, key, role = how
            found = once.until_seen(
                lambda: facts.every(self.ec2, describe, listed, self._mine(role))
            )
            if not found:  # a stranger's
                raise
            return str(found[0][key])

    def zone(self) -> str:
        """Name the zone that both subnets are in."""
        for subnet in self.facts.subnets.values():
            return str(subnet["AvailabilityZone"])
        return self.settings.region + self.settings.zone

    def image_parameter(self) -> str:
        """Name the SSM parameter that holds Debian's current AMI."""
        return f"/aws/service/debian/release/{self.settings.debian}/latest/amd64"

    def vpc(self) -> None:
        """Make the VPC."""
        made = self.ec2.create_vpc(
            CidrBlock=self.settings.vpc_cidr, TagSpecifications=self._tags("vpc", "vpc")
        )
        self.ids["vpc"] = made["Vpc"]["VpcId"]

    def gateway(self) -> None:
        """Make the internet gateway."""
        made = self.ec2.create_internet_gateway(
            TagSpecifications=self._tags("internet-gateway", "gateway")
        )
        self.ids["gateway"] = made["InternetGateway"]["InternetGatewayId"]

    def route(self, instead: bool = False) -> None:
        """Lead 0.0.0.0/0 of the VPC's main route table to the gateway, `instead` of elsewhere."""
        main = [
            {"Name": "vpc-id", "Values": [self.ids["vpc"]]},
            {"Name": "association.main", "Values": ["true"]},
        ]
        found = once.until_seen(
            lambda: facts.every(self.ec2, "describe_route_tables", "RouteTables", main)
        )
        if not found:
            raise StepFailed("EC2 does not show the VPC's route table yet", next="lab.provision()")
        call = self.ec2.replace_route if instead else self.ec2.create_route
        call(
            RouteTableId=found[0]["RouteTableId"],
            DestinationCidrBlock="0.0.0.0/0",
            GatewayId=self.ids["gateway"],
        )

    def subnet(self, role: str, cidr: str) -> None:
        """Make a subnet."""

        def call() -> str:
            made = self.ec2.create_subnet(
                VpcId=self.ids["vpc"],
                CidrBlock=cidr,
                AvailabilityZone=self.zone(),
                TagSpecifications=self._tags("subnet", f"{role}-subnet"),
            )
            return str(made["Subnet"]["SubnetId"])

        self.ids[f"{role} subnet"] = self._or_adopt(
            call, "InvalidSubnet.Conflict",
            "describe_subnets", "Subnets", "SubnetId", f"{role}-subnet",
        )  # fmt: skip

    def group(self) -> None:
        """Make the security group."""

        def call() -> str:
            made = self.ec2.create_security_group(
                GroupName=f"osawslab-{self.settings.name}",
                Description="osawslab",
                VpcId=self.ids["vpc"],
                TagSpecifications=self._tags("security-group", "group"),
            )
            return str(made["GroupId"])

        self.ids["group"] = self._or_adopt(
            call, "InvalidGroup.Duplicate",
            "describe_security_groups", "SecurityGroups", "GroupId", "group",
        )  # fmt: skip

    def authorize(self, permissions: list[dict[str, Any]]) -> None:
        """Let in."""
        self.ec2.authorize_security_group_ingress(
            GroupId=self.ids["group"], IpPermissions=permissions
        )

    def revoke(self, permissions: list[dict[str, Any]]) -> None:
        """Let in no longer. One that is gone already is fine."""
        with estate.unless_gone():  # InvalidPermission.NotFound
            self.ec2.revoke_security_group_ingress(
                GroupId=self.ids["group"], IpPermissions=permissions
            )

    def key(self) -> None:
        """Make the lab's key where there is none, and import it."""
        path = key_file(self.keys)
        if not path.exists():
            keep_key(path, f"osawslab-{self.settings.name}")

        def call() -> str:
            made = self.ec2.import_key_pair(
                KeyName=f"osawslab-{self.settings.name}",
                PublicKeyMaterial=path.with_suffix(".pub").read_bytes(),
                TagSpecifications=self._tags("key-pair", "key"),
            )
            return str(made["KeyPairId"])

        self._or_adopt(
            call, "InvalidKeyPair.Duplicate", "describe_key_pairs", "KeyPairs", "KeyPairId", "key"
        )

    def image(self) -> str:
        """Name the AMI: Debian's current one."""
        return str(self.ssm.get_parameter(Name=self.image_parameter())["Parameter"]["Value"])

    def instance(self, image: str, gigabytes: int, hours: Decimal | None) -> None:
        """Run the instance, with one NIC and a script that proves its host key.

        It ends itself after so many `hours`; None: never. `gigabytes` is the size of its disk,
        which is encrypted. Where the type can carry virtual machines of its own, that is asked for.
        One that earns CPU credits is throttled without any: T3's default is to go on and to charge
        for it ("Burstable performance instances").
        """
        settings = self.settings
        answer = self.ec2.describe_images(ImageIds=[image])
        end = ending.after(hours, answer)
        [about] = answer["Images"]
        root = about["RootDeviceName"]
        disk = {
            "VolumeSize": gigabytes,
            "VolumeType": "gp3",
            "Encrypted": True,
            "DeleteOnTermination": True,
        }
        more: dict[str, Any] = {"BlockDeviceMappings": [{"DeviceName": root, "Ebs": disk}]}
        if settings.instance_type.startswith("t"):
            more["CreditSpecification"] = {"CpuCredits": "standard"}
        if facts.nests(self.ec2, settings.instance_type):
            more["CpuOptions"] = {"NestedVirtualization": "enabled"}

        def call(token: str) -> Any:
            asked = launch.asked_with(self.keys, token, end)
            [own] = self._tags("instance", "instance")
            own["Tags"] += ending.tags(asked.end)
            return self.ec2.run_instances(
                **more,
                ClientToken=token,
                ImageId=image,
                InstanceType=settings.instance_type,
                KeyName=f"osawslab-{settings.name}",
                MinCount=1,
                MaxCount=1,
                SubnetId=self.ids["management subnet"],
                PrivateIpAddress=settings.management_address,
                SecurityGroupIds=[self.ids["group"]],
                UserData=asked.user_data,
                InstanceInitiatedShutdownBehavior=ending.BEHAVIOR,
                MetadataOptions=METADATA,
                TagSpecifications=[
                    own,
                    *self._tags("network-interface", "management-nic"),
                    *self._tags("volume", "volume"),
                ],
            )

        def look(token: str, _: object) -> list[Any]:
            only = [{"Name": "client-token", "Values": [token]}]
            found = facts.every(self.ec2, "describe_instances", "Reservations", only)
            return [each for reservation in found for each in reservation["Instances"]]

        made = once.make(
            f"{settings.name}/{self.ids['vpc']}/instance",
            call,
            look,
            lambda each: each["State"]["Name"] not in GONE,
        )
        launch.note_end(self.keys, made["InstanceId"], ending.of(made))
        launch.forget(self.keys)
        self.ids["instance"] = made["InstanceId"]
        self.ids["management nic"] = made["NetworkInterfaces"][0]["NetworkInterfaceId"]
        self._wait("instance_running")

    def guard(self) -> None:
        """Keep its metadata from what lies behind the instance."""
        self.ec2.modify_instance_metadata_options(InstanceId=self.ids["instance"], **METADATA)

    def _wait(self, waiter: str) -> None:
        self.ec2.get_waiter(waiter).wait(
            InstanceIds=[self.ids["instance"]], WaiterConfig={"Delay": 2, "MaxAttempts": 150}
        )

    def start(self) -> None:
        """Start the stopped instance."""
        self._wait_stopped()
        self.ec2.start_instances(InstanceIds=[self.ids["instance"]])
        self._wait("instance_running")

    def _wait_stopped(self) -> None:
        self._wait("instance_stopped")

    def nic(self) -> None:
        """Make the provider NIC."""

        def call(token: str) -> Any:
            return self.ec2.create_network_interface(
                ClientToken=token,
                SubnetId=self.ids["provider subnet"],
                PrivateIpAddress=self.settings.provider_address,
                Groups=[self.ids["group"]],
                Description="osawslab provider NIC",
                TagSpecifications=self._tags("network-interface", "provider-nic"),
            )["NetworkInterface"]

        def look(_: str, answer: Any) -> list[Any]:
            which = self._mine("provider-nic")
            if answer:
                ids = [answer["NetworkInterfaceId"]]
                which = [{"Name": "network-interface-id", "Values": ids}]
            return facts.every(self.ec2, "describe_network_interfaces", "NetworkInterfaces", which)

        made = once.make(f"{self.settings.name}/{self.ids['instance']}/provider-nic", call, look)
        self.ids["provider nic"] = made["NetworkInterfaceId"]

    def attach(self) -> None:
        """Plug the provider NIC in."""
        self.ec2.attach_network_interface(
            NetworkInterfaceId=self.ids["provider nic"],
            InstanceId=self.ids["instance"],
            DeviceIndex=1,
        )

    def delete_on_termination(self) -> None:
        """Have the provider NIC end with its instance."""
        nic = self.ids["provider nic"]
        only = [{"Name": "network-interface-id", "Values": [nic]}]

        def look() -> list[Any]:
            found = facts.every(self.ec2, "describe_network_interfaces", "NetworkInterfaces", only)
            return [each["Attachment"] for each in found if each.get("Attachment")]

        seen = once.until_seen(look)
        if not seen:
            raise StepFailed("the provider NIC is not attached", seen=nic, next="lab.provision()")
        self.ec2.modify_network_interface_attribute(
            NetworkInterfaceId=nic,
            Attachment={"AttachmentId": seen[0]["AttachmentId"], "DeleteOnTermination": True},
        )

    def allocate(self, role: str) -> None:
        """Allocate an Elastic IP."""
        made = self.ec2.allocate_address(
            Domain="vpc", TagSpecifications=self._tags("elastic-ip", f"{role}-address")
        )
        self.ids[f"{role} address"] = made["AllocationId"]

    def associate(self, role: str, private: str) -> None:
        """Lead an Elastic IP to a NIC's private address."""
        self.ec2.associate_address(
            AllocationId=self.ids[f"{role} address"],
            NetworkInterfaceId=self.ids[f"{role} nic"],
            PrivateIpAddress=private,
            AllowReassociation=True,  # it is this lab's own, wherever it leads now
        )
