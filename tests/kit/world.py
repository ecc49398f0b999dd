"""A region with a VPC, and what a test puts into it."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from typing import Any

from osawslab.host.ssh import SshHost
from osawslab.keys import key_file, make_key
from osawslab.region import local
from osawslab.settings import Settings
from osawslab.target import open_target

ANYBODY = [{"CidrIp": "0.0.0.0/0"}]


@dataclass(frozen=True)
class Machine:
    """An instance of a world, and its first NIC."""

    id: str
    nic: str
    mac: str
    address: str


class World:
    """A region with a VPC of two subnets, and boto3 on it; its parts are what a test makes."""

    def __init__(self, name: str, *, whole: bool = False) -> None:
        self.name = name
        self.region = local.ensure(name, whole=whole)
        self.target = open_target(Settings(name=name))
        self.ec2 = self.target.client("ec2")
        self.vpc = self.ec2.create_vpc(CidrBlock="172.16.0.0/16")["Vpc"]["VpcId"]
        self.a, self.b = (
            self.ec2.create_subnet(VpcId=self.vpc, CidrBlock=cidr, AvailabilityZone="us-east-1a")[
                "Subnet"
            ]["SubnetId"]
            for cidr in ("172.16.10.0/24", "172.16.20.0/24")
        )
        gateway = self.ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
        self.ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=self.vpc)
        tables = self.ec2.describe_route_tables(Filters=[{"Name": "vpc-id", "Values": [self.vpc]}])[
            "RouteTables"
        ]
        self.ec2.create_route(
            RouteTableId=tables[0]["RouteTableId"],
            DestinationCidrBlock="0.0.0.0/0",
            GatewayId=gateway,
        )
        self.group = self.ec2.create_security_group(
            GroupName="open", Description="open", VpcId=self.vpc
        )["GroupId"]
        self.allow("tcp", 22)
        self.allow("icmp", -1)
        private, self.public = make_key("test")
        key_file(self.target.keys).touch(mode=0o600)
        key_file(self.target.keys).write_text(private)
        self.ec2.import_key_pair(KeyName="test", PublicKeyMaterial=self.public.encode())
        self.host_private, self.host_public = make_key("host")
        self.image = self.target.client("ssm").get_parameter(
            Name="/aws/service/debian/release/13/latest/amd64"
        )["Parameter"]["Value"]

    @staticmethod
    def permission(protocol: str, port: int) -> list[dict[str, Any]]:
        """Give one permission for everybody; port -1 for icmp."""
        return [{"IpProtocol": protocol, "FromPort": port, "ToPort": port, "IpRanges": ANYBODY}]

    def allow(self, protocol: str, port: int) -> None:
        """Let everybody in."""
        self.ec2.authorize_security_group_ingress(
            GroupId=self.group, IpPermissions=self.permission(protocol, port)
        )

    def revoke(self, protocol: str, port: int) -> None:
        """Let nobody in any more."""
        self.ec2.revoke_security_group_ingress(
            GroupId=self.group, IpPermissions=self.permission(protocol, port)
        )

    def machine(
        self, address: str, kind: str = "t2.large", user_data: str = "", **more: Any
    ) -> Machine:
        """Run an instance at an address of subnet a or b, without a public address.

        Without other user data it has the world's host key.
        """
        keys = {"ed25519_private": self.host_private, "ed25519_public": self.host_public}
        made = self.ec2.run_instances(
            ImageId=self.image,
            InstanceType=kind,
            KeyName="test",
            MinCount=1,
            MaxCount=1,
            SubnetId=self.a if address.startswith("172.16.10.") else self.b,
            PrivateIpAddress=address,
            SecurityGroupIds=[self.group],
            UserData=user_data or "#cloud-config\n" + json.dumps({"ssh_keys": keys}),
            **more,
        )["Instances"][0]
        nic = made["NetworkInterfaces"][0]
        return Machine(made["InstanceId"], nic["NetworkInterfaceId"], nic["MacAddress"], address)

    def up(self, machine: Machine) -> Machine:
        """Wait until an instance's NIC answers the VPC's router."""
        self.must(self.router, "ping", "-n", "-i", "0.05", "-c", "1", "-w", "10", machine.address)
        return machine

    def plug(self, machine: Machine, subnet: str, address: str) -> Machine:
        """Give an instance a second NIC; the instance with that one."""
        made = self.ec2.create_network_interface(
            SubnetId=subnet, PrivateIpAddress=address, Groups=[self.group]
        )["NetworkInterface"]
        nic = made["NetworkInterfaceId"]
        self.ec2.attach_network_interface(
            NetworkInterfaceId=nic, InstanceId=machine.id, DeviceIndex=1
        )
        return Machine(machine.id, nic, made["MacAddress"], address)

    def eip(self, machine: Machine) -> str:
        """Lead a new Elastic IP to an instance."""
        made = self.ec2.allocate_address(Domain="vpc")
        self.ec2.associate_address(
            AllocationId=made["AllocationId"],
            NetworkInterfaceId=machine.nic,
            PrivateIpAddress=machine.address,
        )
        return str(made["PublicIp"])

    def netns(self, machine: Machine | str) -> str:
        """Name the namespace that an instance lives in now."""
        key = machine if isinstance(machine, str) else machine.id
        (found,) = [place for place in self.region.places() if place.startswith(f"{key}.")]
        return found

    @property
    def router(self) -> str:
        """Name the namespace of the VPC's router."""
        return f"vpc-{self.vpc[-8:]}"

    def run(self, place: str, *argv: str, given: str = "") -> subprocess.CompletedProcess[str]:
        """Run a program in a namespace of the region, whatever it answers."""
        return self.region.execute(place, argv, given)

    def must(self, place: str, *argv: str, given: str = "") -> str:
        """Run a program in a namespace of the region, which must work; its output."""
        done = self.run(place, *argv, given=given)
        assert done.returncode == 0, f"{' '.join(argv)}: {done.stdout}{done.stderr}"
        return done.stdout

    def host(self, eip: str, user: str = "admin", key: str = "") -> SshHost:
        """Give the way in by SSH."""
        return SshHost(self.target, eip, user, key or self.host_public)


@dataclass(frozen=True)
class Box:
    """An instance with two NICs, and the way in."""

    world: World
    machine: Machine
    second: Machine
    eip: str
    host: SshHost

    def reboot(self) -> None:
        """Reboot it by EC2's API, and wait until it answers."""
        self.world.ec2.reboot_instances(InstanceIds=[self.machine.id])
        self.host.wait(20)
