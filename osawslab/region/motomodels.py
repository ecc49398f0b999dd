"""Mend moto's models of EC2: moto 5.2.5, `moto.ec2.models`.

moto's models run in this process: no Flask, no second server. Importing them takes long because of
what a single region never needs (the regions and instance types of the whole world); that is left
out while they are imported.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import Any

import boto3

ACCOUNT = "123456789012"
AUTOMATIC = [f"203.0.113.{last}" for last in range(128, 255)]  # TEST-NET-3; EIPs are below
OFFERINGS = "ec2/resources/instance_type_offerings"

os.environ.update(  # moto reads these while it is imported
    MOTO_AMIS_PATH=str(Path(__file__).with_name("amis.json")),
    MOTO_ENABLE_AMI_VALIDATION="1",
    MOTO_ENABLE_KEYPAIR_VALIDATION="1",
    MOTO_EC2_ENABLE_INSTANCE_TYPE_VALIDATION="1",
    MOTO_ACCOUNT_ID=ACCOUNT,
)
resources: Any = import_module("moto.utilities.utils")


@contextmanager
def _lean() -> Iterator[None]:
    """Let moto's import read no instance type offerings, and name the regions without botocore."""
    load, known = resources.load_resource, boto3.Session.get_available_regions
    folder = Path(resources.__file__).parent.parent / OFFERINGS / "region"
    names = sorted(path.name.split(".")[0] for path in folder.iterdir())

    def some(resource: str) -> Any:
        return [] if resource.startswith(OFFERINGS) else load(resource)

    def regions(session: Any, service: str, partition_name: str = "aws", **_: Any) -> list[str]:
        return names if partition_name == "aws" else []

    resources.load_resource = some
    boto3.Session.get_available_regions = regions
    try:
        yield
    finally:
        resources.load_resource = load
        boto3.Session.get_available_regions = known


with _lean():
    models: Any = import_module("moto.ec2.models")
addresses: Any = import_module("moto.ec2.models.elastic_ip_addresses")
instances: Any = import_module("moto.ec2.models.instances")
interfaces: Any = import_module("moto.ec2.models.elastic_network_interfaces")
subnets: Any = import_module("moto.ec2.models.subnets")
types: Any = import_module("moto.ec2.models.instance_types")
storage: Any = import_module("moto.ec2.models.elastic_block_store")
tools: Any = import_module("moto.ec2.utils")
chance: Any = import_module("moto.moto_api._internal").mock_random
words: Any = import_module("moto.core.utils")
MotoElasticAddress: Any = addresses.ElasticAddress
MotoInstance: Any = instances.Instance
MotoNetworkInterface: Any = interfaces.NetworkInterface
MotoSubnet: Any = subnets.Subnet


def offer(region: str) -> None:
    """Read the instance types that a region offers, and enable the region."""
    for each in models.EC2Backend.regions:
        if each.name == region and each.opt_in_status == "not-opted-in":
            each.opt_in_status = "opted-in"
    for place in ("region", "availability-zone"):
        offered = types.INSTANCE_TYPE_OFFERINGS[place]
        if not offered.get(region):
            offered[region] = resources.load_resource(f"{OFFERINGS}/{place}/{region}.json")
            for each in offered[region]:
                each["LocationType"] = place


class Clock:
    """The time that moto's models see; the real one while `now` is None."""

    now: datetime | None = None
    real = staticmethod(words.utcnow)

    @classmethod
    def read(cls) -> datetime:
        """Give the time without a zone, in UTC."""
        return cls.now or cls.real()


class Subnet(MotoSubnet):  # type: ignore[misc]
    """A subnet that gives out its lowest free address; what is taken, the interfaces tell."""

    def get_available_subnet_ip(self, instance: Any) -> str:
        taken = {
            each["PrivateIpAddress"]
            for nic in self.ec2_backend.enis.values()
            if nic.subnet is self
            for each in nic.private_ip_addresses
        }
        hosts = (str(self.cidr[number]) for number in range(4, self.cidr.num_addresses - 1))
        return next(address for address in hosts if address not in taken)

    def request_ip(self, ip: str, instance: Any) -> None:
        """Say nothing: the strict layer has checked the address."""


class NetworkInterface(MotoNetworkInterface):  # type: ignore[misc]
    """An interface whose Elastic IPs lead to any of its addresses, and with its own groups only.

    `public_ip` is only its automatic public address.
    """

    public_ip: str | None

    @property
    def eips(self) -> dict[str, Any]:
        """Map private addresses to the Elastic IPs that lead to them."""
        return {eip.private: eip for eip in self.ec2_backend.addresses if eip.eni is self}

    @property
    def association(self) -> dict[str, Any]:
        return self.associated(self.private_ip_address)

    def associated(self, private: str) -> dict[str, Any]:
        """Describe what a private address is known as outside; empty for nothing."""
        eip = self.eips.get(private)
        if eip is None and (private != self.private_ip_address or not self.public_ip):
            return {}
        public = str(eip.public_ip if eip else self.public_ip)
        told = {"PublicIp": public, "PublicDnsName": public_name(public, self.ec2_backend)}
        if eip is None:
            return {**told, "IpOwnerId": "amazon"}
        ids = {"AllocationId": eip.allocation_id, "AssociationId": eip.association_id}
        return {**told, **ids, "IpOwnerId": ACCOUNT}

    @property
    def instance_private_ip_address_list(self) -> list[dict[str, Any]]:
        return list(self.private_ip_addresses)

    @property
    def group_set(self) -> list[Any]:
        return list(self._group_set)

    def check_auto_public_ip(self) -> None:
        """Draw the lowest free automatic address, where EC2 gives one."""
        if self.public_ip_auto_assign and not self.public_ip:
            used = {nic.public_ip for nic in self.ec2_backend.enis.values()}
            self.public_ip = next(ip for ip in AUTOMATIC if ip not in used)

    def start(self) -> None:
        """Draw an address at the start of the instance, but not for one of several interfaces."""
        attached = getattr(self, "instance", None)
        if not getattr(self, "eips", None) and (attached is None or len(attached.nics) == 1):
            self.check_auto_public_ip()

    def get_filter_value(self, filter_name: str, method_name: str | None = None) -> Any:
        kind, _, name = filter_name.rpartition(".")
        held = [each["PrivateIpAddress"] for each in self.private_ip_addresses]
        if filter_name in ("addresses.private-ip-address", "private-ip-address"):
            return held
        if kind in ("association", "addresses.association"):
            word = "".join(part.title() for part in name.split("-"))
            word = "IpOwnerId" if word == "OwnerId" else word
            return [known[word] for each in held if word in (known := self.associated(each))]
        if kind == "attachment":
            if self.instance is None:
                return ""
            own = {"device-index": self.device_index, "status": "attached"}
            own.update({"delete-on-termination": self.delete_on_termination})
            if name in own:
                return own[name]
        return super().get_filter_value(filter_name, method_name)


class ElasticAddress(MotoElasticAddress):  # type: ignore[misc]
    """An Elastic IP that leads to one private address of an interface."""

    private: str | None = None
    eni: NetworkInterface | None

    @property
    def private_ip_address(self) -> str | None:
        return self.private if self.eni else None

    @property
    def instance_id(self) -> str | None:
        return str(self.eni.instance.id) if self.eni and self.eni.instance else None

    @property
    def network_interface_id(self) -> str | None:
        return str(self.eni.id) if self.eni else None

    def lead(self, nic: NetworkInterface | None, private: str | None) -> None:
        """Lead to an interface's address, or to nothing.

        An automatic address goes when an Elastic IP comes, and comes back when it goes, for an
        instance's only interface: EC2 guide, "Public IPv4 addresses".
        """
        old: NetworkInterface | None = self.eni
        self.eni, self.private = nic, private
        self.association_id = tools.random_eip_association_id() if nic else None
        if nic is not None and private == nic.private_ip_address:
            nic.public_ip = None
        if old is not None and old.instance is not None and old.instance.is_running():
            old.start()

    def get_filter_value(self, filter_name: str, method_name: str | None = None) -> Any:
        own = {
            "instance-id": self.instance_id or "",
            "private-ip-address": self.private_ip_address or "",
            "network-interface-id": self.network_interface_id or "",
            "association-id": self.association_id or "",
            "network-interface-owner-id": ACCOUNT if self.eni else "",
        }
        if filter_name in own:
            return own[filter_name]
        return super().get_filter_value(filter_name, method_name)


class Instance(MotoInstance):  # type: ignore[misc]
    """An instance that counts its boots; its addresses are those of its first interface."""

    boots = 1
    authorized = ""  # its key pair's public key, as it was at the launch
    nics: dict[int, Any]

    def first(self, name: str) -> Any:
        """Read from the first interface; a terminated instance has none."""
        nics = getattr(self, "nics", {})
        return getattr(nics[0], name) if 0 in nics else None

    @property
    def private_ip(self) -> str | None:
        found: str | None = self.first("private_ip_address")
        return found

    private_ip_address = private_ip

    @property
    def public_ip(self) -> str | None:
        found: str | None = (self.first("association") or {}).get("PublicIp")
        return found

    public_ip_address = public_ip

    @property
    def public_dns_name(self) -> str:
        return str((self.first("association") or {}).get("PublicDnsName", ""))

    @property
    def private_dns_name(self) -> str:
        return str(super().private_dns_name) if self.first("id") else ""

    @property
    def subnet_id(self) -> str | None:
        found: str | None = self.first("subnet_id")
        return found or (None if self.state == "terminated" else self._subnet_id)

    @property
    def held(self) -> list[str]:
        """List the private addresses of all interfaces."""
        nics = self.nics.values()
        return [each["PrivateIpAddress"] for nic in nics for each in nic.private_ip_addresses]

    @property
    def source_dest_check(self) -> Any:
        return self.first("source_dest_check")

    @source_dest_check.setter
    def source_dest_check(self, value: Any) -> None:
        if self.first("id"):
            self.nics[0].source_dest_check = value

    def start(self) -> Any:
        self.boots += not self.is_running()
        return super().start()

    def reboot(self) -> None:
        self.boots += 1
        super().reboot()


def default_key(backend: Any) -> str:
    """Name the key of an account's encrypted volumes: nothing here asks KMS, so there is no key."""
    name = f"arn:aws:kms:{backend.region_name}:{ACCOUNT}:key/{chance.uuid4()}"
    backend.default_kms_key_id = name
    return name


def public_name(address: str, backend: Any) -> str:
    """Give the public DNS name of an address: VPC guide, "DNS attributes for your VPC"."""
    region = backend.region_name
    place = "compute-1" if region == "us-east-1" else f"{region}.compute"
    return f"ec2-{address.replace('.', '-')}.{place}.amazonaws.com"


tools.filter_dict_attribute_mapping.update(  # DescribeInstances, "Filters"
    {
        "client-token": "client_token",
        "network-interface.addresses.private-ip-address": "held",
        "network-interface.mac-address": "network_interfaces.mac_address",
        "network-interface.network-interface-id": "network_interfaces.id",
        "network-interface.subnet-id": "network_interfaces.subnet_id",
        "root-device-name": "root_device_name",
    }
)
tools.EC2_PREFIX_TO_RESOURCE["eipalloc"] = "elastic-ip"  # EC2's ResourceType; of DescribeTags
addresses.ElasticAddress = ElasticAddress
storage.EBSBackend._create_default_encryption_key = default_key
instances.Instance = Instance
interfaces.NetworkInterface = NetworkInterface
subnets.Subnet = Subnet
for _name, _module in list(sys.modules.items()):
    if _name.startswith("moto.ec2.models.") and hasattr(_module, "utcnow"):
        vars(_module)["utcnow"] = Clock.read
