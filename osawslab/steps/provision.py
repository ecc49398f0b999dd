"""Chapter 1: the VPC, the instance with its two NICs, and the Elastic IPs.

The Elastic IPs come first here, where the tutorial has them last: without a public address no
packet leaves a VPC ("your instance must have a public IPv4 address": VPC User Guide, internet
gateways), so its `ping 8.8.8.8` could not have worked before.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from osawslab.aws.facts import Facts, specification, tags, user_data
from osawslab.errors import StepFailed
from osawslab.host.ssh import key_file, make_key
from osawslab.report import Action, Check, Table
from osawslab.steps.site import Shown, Site

NAME = "provision"
WAIT_SECONDS = 300.0  # a Debian AMI answers on SSH within about a minute
DEBIAN = "136693071363"  # the account of Debian's official AMIs (wiki.debian.org)


@dataclass(frozen=True)
class Seen:
    """What EC2 has, and whether the instance answers on SSH (None: not asked)."""

    ec2: Facts
    answers: bool | None = None


def read(site: Site) -> Seen:
    """Read what EC2 has with our tag."""
    facts = site.read_ec2()
    return Seen(facts, bool(facts.instance) or None)


def plan(site: Site, facts: Seen) -> tuple[Action, ...]:
    """Say what is missing; ids of what is made on the way are handed on by role."""
    return tuple(_Maker(site, facts.ec2).missing())


class _Maker:
    """The creating calls. `ids` starts with what exists and grows with what is made."""

    def __init__(self, site: Site, facts: Facts) -> None:
        self.site = site
        self.settings = site.settings
        self.facts = facts
        self.ids: dict[str, str] = {
            name: str(resource[key])
            for name, resource, key in (
                ("vpc", facts.vpc, "VpcId"),
                ("gateway", facts.gateway, "InternetGatewayId"),
                ("group", facts.group, "GroupId"),
                ("instance", facts.instance, "InstanceId"),
                *((f"{r} subnet", s, "SubnetId") for r, s in facts.subnets.items()),
                *((f"{r} nic", n, "NetworkInterfaceId") for r, n in facts.nics.items()),
                *((f"{r} address", a, "AllocationId") for r, a in facts.addresses.items()),
            )
            if resource
        }

    def _tags(self, kind: str, role: str) -> list[dict[str, Any]]:
        return [specification(kind, self.settings.name, role)]

    def _typed(self, kind: str, role: str) -> str:
        pairs = ",".join(
            f"{{Key={t['Key']},Value={t['Value']}}}" for t in tags(self.settings.name, role)
        )
        return f"--tag-specifications 'ResourceType={kind},Tags=[{pairs}]'"

    def missing(self) -> list[Action]:
        """List the actions whose result does not exist yet."""
        facts, settings = self.facts, self.settings
        todo: list[Action] = []

        def want(holds: bool, why: str, command: str, do: Callable[[], object]) -> None:
            if not holds:
                todo.append(Action("aws", why, command, do))

        want(
            facts.vpc is not None,
            "a network of our own",
            f"VPC=$(aws ec2 create-vpc --cidr-block {settings.vpc_cidr}"
            f" {self._typed('vpc', 'vpc')} --query Vpc.VpcId --output text)",
            self._vpc,
        )
        want(
            facts.gateway is not None,
            "the VPC's door to the internet",
            f"IGW=$(aws ec2 create-internet-gateway {self._typed('internet-gateway', 'gateway')}"
            " --query InternetGateway.InternetGatewayId --output text)",
            self._gateway,
        )
        attached = facts.gateway is not None and bool(facts.gateway["Attachments"])
        want(
            attached,
            "open the door",
            "aws ec2 attach-internet-gateway --internet-gateway-id $IGW --vpc-id $VPC",
            lambda: self.site.ec2.attach_internet_gateway(
                InternetGatewayId=self.ids["gateway"], VpcId=self.ids["vpc"]
            ),
        )
        want(
            any(r.get("DestinationCidrBlock") == "0.0.0.0/0" for r in facts.routes),
            "the way to that door, for both subnets",
            "aws ec2 create-route --route-table-id $TABLE --destination-cidr-block 0.0.0.0/0"
            " --gateway-id $IGW",
            self._route,
        )
        for role, cidr in (
            ("management", settings.management_cidr),
            ("provider", settings.provider_cidr),
        ):
            want(
                role in facts.subnets,
                f"the {role} NIC's subnet, in the same zone as the other",
                f"{role.upper()}=$(aws ec2 create-subnet --vpc-id $VPC --cidr-block {cidr}"
                f" --availability-zone {self._zone()} {self._typed('subnet', role + '-subnet')}"
                " --query Subnet.SubnetId --output text)",
                lambda role=role, cidr=cidr: self._subnet(role, cidr),  # type: ignore[misc]
            )
        want(
            facts.group is not None,
            "who may come in",
            "GROUP=$(aws ec2 create-security-group --group-name"
            f" osawslab-{settings.name} --description 'osawslab' --vpc-id $VPC"
            f" {self._typed('security-group', 'group')} --query GroupId --output text)",
            self._group,
        )
        want(
            self._open(),
            f"SSH to the instance, port {settings.published_port} to the VM, and ping; keys only",
            f"aws ec2 authorize-security-group-ingress --group-id $GROUP --ip-permissions"
            f" '{json.dumps(self._wanted_permissions())}'",
            self._authorize,
        )
        want(
            facts.key is not None,
            "the key that opens the instance",
            f"aws ec2 import-key-pair --key-name osawslab-{settings.name}"
            " --public-key-material fileb://id_ed25519.pub"
            f" {self._typed('key-pair', 'key')}",
            self._key,
        )
        want(
            facts.instance is not None,
            "the computer that will carry OpenStack, with one NIC",
            f"INSTANCE=$(aws ec2 run-instances --image-id resolve:ssm:{self._image_parameter()}"
            f" --instance-type {settings.instance_type} --key-name osawslab-{settings.name}"
            f" --subnet-id $MANAGEMENT --private-ip-address {settings.management_address}"
            " --security-group-ids $GROUP --user-data file://host-key.yaml"
            f" {self._typed('instance', 'instance')} --query 'Instances[0].InstanceId'"
            " --output text)",
            self._instance,
        )
        stopped = facts.instance is not None and facts.instance["State"]["Name"] in (
            "stopped",
            "stopping",
        )
        want(
            not stopped,
            "the instance is stopped",
            "aws ec2 start-instances --instance-ids $INSTANCE",
            self._start,
        )
        want(
            "provider" in facts.nics,
            "the provider NIC, with the address that the router will take over",
            "NIC=$(aws ec2 create-network-interface --subnet-id $PROVIDER"
            f" --private-ip-address {settings.provider_address} --groups $GROUP"
            f" {self._typed('network-interface', 'provider-nic')}"
            " --query NetworkInterface.NetworkInterfaceId --output text)",
            self._nic,
        )
        attachment = facts.nics.get("provider", {}).get("Attachment") or {}
        want(
            bool(attachment.get("InstanceId")),
            "plug it in as the second NIC",
            "ATTACHMENT=$(aws ec2 attach-network-interface --network-interface-id $NIC"
            " --instance-id $INSTANCE --device-index 1 --query AttachmentId --output text)",
            self._attach,
        )
        want(
            bool(attachment.get("DeleteOnTermination")),
            "leave no NIC behind when the instance ends",
            "aws ec2 modify-network-interface-attribute --network-interface-id $NIC"
            " --attachment AttachmentId=$ATTACHMENT,DeleteOnTermination=true",
            self._delete_on_termination,
        )
        for role, private in (
            ("management", settings.management_address),
            ("provider", settings.provider_address),
        ):
            address = facts.addresses.get(role)
            want(
                address is not None,
                f"a public address for the {role} NIC",
                f"{role.upper()}_EIP=$(aws ec2 allocate-address --domain vpc"
                f" {self._typed('elastic-ip', role + '-address')}"
                " --query AllocationId --output text)",
                lambda role=role: self._allocate(role),  # type: ignore[misc]
            )
            want(
                bool(address and address.get("AssociationId")),
                f"traffic to it goes to {private}",
                f"aws ec2 associate-address --allocation-id ${role.upper()}_EIP"
                f" --network-interface-id ${role.upper()}_NIC --private-ip-address {private}",
                lambda role=role, private=private: self._associate(  # type: ignore[misc]
                    role, private
                ),
            )
        return todo

    def _zone(self) -> str:
        for subnet in self.facts.subnets.values():
            return str(subnet["AvailabilityZone"])
        return self.settings.region + "a"

    def _image_parameter(self) -> str:
        return f"/aws/service/debian/release/{self.settings.debian}/latest/amd64"

    def _vpc(self) -> None:
        made = self.site.ec2.create_vpc(
            CidrBlock=self.settings.vpc_cidr, TagSpecifications=self._tags("vpc", "vpc")
        )
        self.ids["vpc"] = made["Vpc"]["VpcId"]

    def _gateway(self) -> None:
        made = self.site.ec2.create_internet_gateway(
            TagSpecifications=self._tags("internet-gateway", "gateway")
        )
        self.ids["gateway"] = made["InternetGateway"]["InternetGatewayId"]

    def _route(self) -> None:
        table = self.site.ec2.describe_route_tables(
            Filters=[
                {"Name": "vpc-id", "Values": [self.ids["vpc"]]},
                {"Name": "association.main", "Values": ["true"]},
            ]
        )["RouteTables"][0]
        self.site.ec2.create_route(
            RouteTableId=table["RouteTableId"],
            DestinationCidrBlock="0.0.0.0/0",
            GatewayId=self.ids["gateway"],
        )

    def _subnet(self, role: str, cidr: str) -> None:
        made = self.site.ec2.create_subnet(
            VpcId=self.ids["vpc"],
            CidrBlock=cidr,
            AvailabilityZone=self._zone(),
            TagSpecifications=self._tags("subnet", f"{role}-subnet"),
        )
        self.ids[f"{role} subnet"] = made["Subnet"]["SubnetId"]

    def _group(self) -> None:
        made = self.site.ec2.create_security_group(
            GroupName=f"osawslab-{self.settings.name}",
            Description="osawslab",
            VpcId=self.ids["vpc"],
            TagSpecifications=self._tags("security-group", "group"),
        )
        self.ids["group"] = made["GroupId"]

    def _wanted_permissions(self) -> list[dict[str, Any]]:
        who = [{"CidrIp": self.settings.allow_from}]
        ports = (22, self.settings.published_port)
        return [
            *({"IpProtocol": "tcp", "FromPort": p, "ToPort": p, "IpRanges": who} for p in ports),
            {"IpProtocol": "icmp", "FromPort": -1, "ToPort": -1, "IpRanges": who},
        ]

    def _lacking(self) -> list[dict[str, Any]]:
        granted = self.facts.group["IpPermissions"] if self.facts.group else []
        have = {
            (p["IpProtocol"], p.get("FromPort"), p.get("ToPort"), r["CidrIp"])
            for p in granted
            for r in p["IpRanges"]
        }
        return [
            p
            for p in self._wanted_permissions()
            if (p["IpProtocol"], p["FromPort"], p["ToPort"], p["IpRanges"][0]["CidrIp"])
            not in have
        ]

    def _open(self) -> bool:
        return not self._lacking()

    def _authorize(self) -> None:
        self.site.ec2.authorize_security_group_ingress(
            GroupId=self.ids["group"], IpPermissions=self._lacking()
        )

    def _key(self) -> None:
        path = key_file(self.site.target.keys)
        if not path.exists():
            private, public = make_key(f"osawslab-{self.settings.name}")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.with_suffix(".pub").write_text(public + "\n")
            path.touch(mode=0o600)
            path.write_text(private)
        self.site.ec2.import_key_pair(
            KeyName=f"osawslab-{self.settings.name}",
            PublicKeyMaterial=path.with_suffix(".pub").read_bytes(),
            TagSpecifications=self._tags("key-pair", "key"),
        )

    def _instance(self) -> None:
        image = self.site.target.client("ssm").get_parameter(Name=self._image_parameter())
        settings = self.settings
        private, public = make_key("host key")
        made = self.site.ec2.run_instances(
            ImageId=image["Parameter"]["Value"],
            InstanceType=settings.instance_type,
            KeyName=f"osawslab-{settings.name}",
            MinCount=1,
            MaxCount=1,
            SubnetId=self.ids["management subnet"],
            PrivateIpAddress=settings.management_address,
            SecurityGroupIds=[self.ids["group"]],
            UserData=user_data(private, public),
            MetadataOptions={"HttpTokens": "required", "HttpPutResponseHopLimit": 1},
            TagSpecifications=[
                *self._tags("instance", "instance"),
                *self._tags("network-interface", "management-nic"),
                *self._tags("volume", "volume"),
            ],
        )["Instances"][0]
        self.ids["instance"] = made["InstanceId"]
        self.ids["management nic"] = made["NetworkInterfaces"][0]["NetworkInterfaceId"]
        self._wait("instance_running")

    def _wait(self, waiter: str) -> None:
        self.site.ec2.get_waiter(waiter).wait(
            InstanceIds=[self.ids["instance"]], WaiterConfig={"Delay": 2, "MaxAttempts": 150}
        )

    def _start(self) -> None:
        self._wait_stopped()
        self.site.ec2.start_instances(InstanceIds=[self.ids["instance"]])
        self._wait("instance_running")

    def _wait_stopped(self) -> None:
        self._wait("instance_stopped")

    def _nic(self) -> None:
        made = self.site.ec2.create_network_interface(
            SubnetId=self.ids["provider subnet"],
            PrivateIpAddress=self.settings.provider_address,
            Groups=[self.ids["group"]],
            Description="osawslab provider NIC",
            TagSpecifications=self._tags("network-interface", "provider-nic"),
        )
        self.ids["provider nic"] = made["NetworkInterface"]["NetworkInterfaceId"]

    def _attach(self) -> None:
        self.site.ec2.attach_network_interface(
            NetworkInterfaceId=self.ids["provider nic"],
            InstanceId=self.ids["instance"],
            DeviceIndex=1,
        )

    def _delete_on_termination(self) -> None:
        nic = self.ids["provider nic"]
        found = self.site.ec2.describe_network_interfaces(NetworkInterfaceIds=[nic])
        attachment = found["NetworkInterfaces"][0].get("Attachment")
        if not attachment:
            raise StepFailed("the provider NIC is not attached", seen=nic, next="lab.provision()")
        self.site.ec2.modify_network_interface_attribute(
            NetworkInterfaceId=nic,
            Attachment={"AttachmentId": attachment["AttachmentId"], "DeleteOnTermination": True},
        )

    def _allocate(self, role: str) -> None:
        made = self.site.ec2.allocate_address(
            Domain="vpc", TagSpecifications=self._tags("elastic-ip", f"{role}-address")
        )
        self.ids[f"{role} address"] = made["AllocationId"]

    def _associate(self, role: str, private: str) -> None:
        self.site.ec2.associate_address(
            AllocationId=self.ids[f"{role} address"],
            NetworkInterfaceId=self.ids[f"{role} nic"],
            PrivateIpAddress=private,
            AllowReassociation=False,
        )


def checks(site: Site, facts: Seen) -> tuple[Check, ...]:
    """Hold the instance, its two NICs and their addresses against the settings."""
    ec2, settings = facts.ec2, site.settings
    state = str(ec2.instance["State"]["Name"]) if ec2.instance else "none"
    found = [Check("instance", "running", state, state == "running", "lab.provision()")]
    for role, private in (
        ("management", settings.management_address),
        ("provider", settings.provider_address),
    ):
        nic, address = ec2.nics.get(role), ec2.addresses.get(role)
        seen = str(nic["PrivateIpAddress"]) if nic else "none"
        found.append(Check(f"{role} NIC", private, seen, seen == private, "lab.provision()"))
        leads = str((address or {}).get("PrivateIpAddress", "none"))
        found.append(
            Check(
                f"Elastic IP of the {role} NIC",
                f"leads to {private}",
                f"{ec2.eip(role) or 'none'} leads to {leads}",
                leads == private,
                "lab.provision()",
            )
        )
    answers, seen = _answers(site, ec2)
    found.append(
        Check("SSH to the instance", "answers with its host key", seen, answers, "lab.provision()")
    )
    return tuple(found)


def _answers(site: Site, ec2: Facts) -> tuple[bool, str]:
    if not ec2.running or not ec2.eip("management") or not ec2.registered_mac:
        return False, "not asked: the instance is not complete"
    site.instance_of(ec2).host.wait(WAIT_SECONDS)
    return True, "answers with its host key"


def show(site: Site, facts: Seen) -> Shown:
    """Show the two NICs as EC2 has them registered."""
    rows = tuple(
        (
            role,
            str(nic["NetworkInterfaceId"]),
            str(nic["MacAddress"]),
            str(nic["PrivateIpAddress"]),
            facts.ec2.eip(role),
        )
        for role, nic in sorted(facts.ec2.nics.items())
    )
    table = Table("NICs as EC2 has registered them", ("NIC", "ENI", "MAC", "IP", "Elastic IP"), rows)
    return Shown(tables=(table,))


def undo(site: Site, facts: Seen) -> tuple[Action, ...]:
    """Take everything with the lab's tag away; the same as tear_down."""
    from osawslab.steps import tear_down

    return tear_down.plan(site, tear_down.read(site))
