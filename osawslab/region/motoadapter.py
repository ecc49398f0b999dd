"""Run moto 5.2.5 as the memory of EC2, and mend what it does unlike EC2.

The only module that knows moto's own names; a test holds each of them. moto's models run in this
process: no Flask, no second server. Its randomness and clock are set before each call, so that the
same calls give the same ids, MACs and times.
"""

from __future__ import annotations

import base64
import os
import pickle
import sys
import threading
from collections.abc import Iterator
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import Any

os.environ.update(  # moto reads these while it is imported
    MOTO_AMIS_PATH=str(Path(__file__).with_name("amis.json")),
    MOTO_ENABLE_AMI_VALIDATION="1",
    MOTO_ENABLE_KEYPAIR_VALIDATION="1",
    MOTO_EC2_ENABLE_INSTANCE_TYPE_VALIDATION="1",
    MOTO_ACCOUNT_ID="123456789012",
)

from moto.core.request import Request  # noqa: E402
from moto.core.responses import ActionResult, EmptyResult  # noqa: E402
from moto.core.types import Base64EncodedString  # noqa: E402
from moto.core.utils import camelcase_to_underscores, get_service_model, utcnow  # noqa: E402
from moto.ec2.exceptions import EC2ClientError  # noqa: E402
from moto.ec2.models import (  # noqa: E402
    EC2Backend,
    elastic_ip_addresses,
    elastic_network_interfaces,
    instances,
)
from moto.ec2.models.instance_types import INSTANCE_TYPES  # noqa: E402
from moto.ec2.models.key_pairs import KeyPair  # noqa: E402
from moto.ec2.responses import EC2Response  # noqa: E402
from moto.ec2.utils import (  # noqa: E402
    convert_tag_spec,
    generate_dns_from_ip,
    random_eip_association_id,
)
from moto.moto_api._internal import mock_random  # noqa: E402

from osawslab.region.inventory import (  # noqa: E402
    ElasticIp,
    Inventory,
    Machine,
    Members,
    Network,
    Nic,
    Permission,
    Table,
)

ACCOUNT = os.environ["MOTO_ACCOUNT_ID"]
LOCK = threading.RLock()  # moto's randomness and clock belong to the process
AUTOMATIC = [f"203.0.113.{last}" for last in range(128, 255)]  # EIPs are below: TEST-NET-3


class Clock:
    """The time that moto's models see."""

    now: datetime | None = None

    @classmethod
    def read(cls) -> datetime:
        return cls.now or utcnow()


class NetworkInterface(elastic_network_interfaces.NetworkInterface):  # type: ignore[misc]
    """An interface whose Elastic IPs lead to any of its addresses, and with its own groups only."""

    @property
    def eips(self) -> dict[str, Any]:
        return {eip.private: eip for eip in self.ec2_backend.addresses if eip.eni is self}

    @property
    def association(self) -> dict[str, Any]:
        return self.associated(self.private_ip_address)

    def associated(self, private: str) -> dict[str, Any]:
        """Describe what a private address is known as outside; empty for nothing."""
        eip = self.eips.get(private)
        public = eip.public_ip if eip else self.public_ip
        if not public or (not eip and private != self.private_ip_address):
            return {}
        told = {
            "publicIp": public,
            "publicDnsName": generate_dns_from_ip(public),
            "ipOwnerId": ACCOUNT if eip else "amazon",
        }
        if eip:
            told.update(allocationId=eip.allocation_id, associationId=eip.association_id)
        return told

    @property
    def instance_private_ip_address_list(self) -> list[dict[str, Any]]:
        return list(self.private_ip_addresses)

    @property
    def group_set(self) -> list[Any]:
        return list(self._group_set)

    def check_auto_public_ip(self) -> None:
        """Draw the lowest free automatic address, where EC2 gives one."""
        if self.public_ip_auto_assign and not self.public_ip:
            used = {eni.public_ip for eni in self.ec2_backend.enis.values()}
            self.public_ip = next(ip for ip in AUTOMATIC if ip not in used)

    def get_filter_value(self, filter_name: str, method_name: str | None = None) -> Any:
        kind, _, name = filter_name.rpartition(".")
        if filter_name in ("addresses.private-ip-address", "private-ip-address"):
            return [each["PrivateIpAddress"] for each in self.private_ip_addresses]
        if kind in ("association", "addresses.association"):
            field = camelcase_to_underscores(name).replace("-", "_")
            known = [
                self.associated(each["PrivateIpAddress"]) for each in self.private_ip_addresses
            ]
            words = {"public_ip": "publicIp", "allocation_id": "allocationId"}
            words.update(association_id="associationId", ip_owner_id="ipOwnerId")
            return [each.get(words.get(field, "publicDnsName"), "") for each in known if each]
        if kind == "attachment" and name in ("device-index", "status", "delete-on-termination"):
            if not self.attachment_id:
                return ""
            values = {"device-index": self.device_index, "status": "attached"}
            return values.get(name, self.delete_on_termination)
        if kind == "attachment" and self.instance is None:
            return ""
        return super().get_filter_value(filter_name, method_name)


class ElasticAddress(elastic_ip_addresses.ElasticAddress):  # type: ignore[misc]
    """An Elastic IP that leads to one private address of an interface."""

    private: str | None = None

    @property
    def private_ip_address(self) -> str | None:
        return self.private if self.eni else None

    @property
    def instance_id(self) -> str:
        return self.eni.instance.id if self.eni and self.eni.instance else ""

    def lead(self, eni: NetworkInterface | None, private: str | None) -> None:
        """Lead to an interface's address, or to nothing."""
        old, self.eni, self.private = self.eni, eni, private
        self.association_id = random_eip_association_id() if eni else None
        if eni and private == eni.private_ip_address:
            eni.public_ip = None
        if old and not eni and old.instance and old.instance.is_running() and not old.eips:
            if len(old.instance.nics) == 1:  # VPC guide, "Public IPv4 addresses": one NIC only
                old.check_auto_public_ip()

    def get_filter_value(self, filter_name: str, method_name: str | None = None) -> Any:
        values = {
            "instance-id": self.instance_id,
            "private-ip-address": self.private_ip_address or "",
            "network-interface-id": self.network_interface_id,
            "association-id": self.association_id or "",
            "network-interface-owner-id": ACCOUNT if self.eni else "",
        }
        if filter_name in values:
            return values[filter_name]
        return super().get_filter_value(filter_name, method_name)


class Instance(instances.Instance):  # type: ignore[misc]
    """An instance that counts its boots and has no interface once it is terminated."""

    boots = 1
    authorized = ""  # its key pair's public key, as it was at the launch

    def primary(self, name: str) -> Any:
        return getattr(self.nics[0], name) if 0 in getattr(self, "nics", {}) else None

    private_ip = private_ip_address = property(lambda self: self.primary("private_ip_address"))

    @property
    def public_ip(self) -> str | None:
        return (self.primary("association") or {}).get("publicIp")

    public_ip_address = public_ip
    subnet_id = property(lambda self: self.primary("subnet_id") or self._subnet_id)

    @property
    def private_dns_name(self) -> str:
        return super().private_dns_name if 0 in self.nics else ""

    def start(self) -> Any:
        self.boots += 1
        return super().start()

    def reboot(self) -> None:
        self.boots += 1
        super().reboot()


elastic_network_interfaces.NetworkInterface = NetworkInterface
elastic_ip_addresses.ElasticAddress = ElasticAddress
instances.Instance = Instance
for _name, _module in list(sys.modules.items()):
    if _name.startswith("moto.ec2.models.") and hasattr(_module, "utcnow"):
        _module.utcnow = Clock.read


class Answers(EC2Response):  # type: ignore[misc]
    """moto's answers to EC2 calls, with those replaced that differ from EC2's."""

    backend: EC2Backend  # set by each Moto's own subclass
    key_material = b""

    @property
    def ec2_backend(self) -> EC2Backend:
        return self.backend

    def nic(self) -> NetworkInterface:
        return self.backend.get_network_interface(self._get_param("NetworkInterfaceId"))

    def eip(self) -> ElasticAddress:
        for eip in self.backend.addresses:
            for name, own in (
                ("AllocationId", eip.allocation_id),
                ("AssociationId", eip.association_id),
                ("PublicIp", eip.public_ip),
            ):
                if own and self._get_param(name) == own:
                    return eip
        raise EC2ClientError("InvalidAddress.NotFound", "Address not found.")

    def associate_address(self) -> ActionResult:
        eip, nic = self.eip(), self.nic()
        private = self._get_param("PrivateIpAddress")
        if (eip.eni, eip.private) != (nic, private):
            before = nic.eips.get(private)
            if before:
                before.lead(None, None)
            eip.lead(nic, private)
        return ActionResult({"AssociationId": eip.association_id})

    def disassociate_address(self) -> ActionResult:
        self.eip().lead(None, None)
        return EmptyResult()

    def release_address(self) -> ActionResult:
        self.backend.addresses.remove(self.eip())
        return EmptyResult()

    def assign_private_ip_addresses(self) -> ActionResult:
        nic, wanted = self.nic(), self._get_param("PrivateIpAddresses", [])
        for each in wanted:
            nic.private_ip_addresses.append({"Primary": False, "PrivateIpAddress": each})
        answer = [{"PrivateIpAddress": each} for each in wanted]
        return ActionResult({"NetworkInterfaceId": nic.id, "AssignedPrivateIpAddresses": answer})

    def modify_network_interface_attribute(self) -> ActionResult:
        keep = self._get_param("Attachment.DeleteOnTermination")
        if keep is None:
            return super().modify_network_interface_attribute()
        self.nic().delete_on_termination = keep
        return EmptyResult()

    def _security_grp_instance_attribute_handler(self) -> bool:
        machine = self.backend.get_instance(self._get_param("InstanceId"))
        wanted = self._get_param("Groups", [])
        machine.nics[0]._group_set = [
            self.backend.get_security_group_from_id(each) for each in wanted
        ]
        return True

    def run_instances(self) -> ActionResult:
        result = super().run_instances()
        tags = convert_tag_spec(self._get_param("TagSpecifications", []))
        asked = {
            int(each["DeviceIndex"]): each for each in self._get_param("NetworkInterfaces", [])
        }
        for machine in result.result.instances:
            key = self.backend.key_pairs.get(machine.key_name)
            machine.authorized = key.public_key.strip() if key else ""
            for index, nic in machine.nics.items():
                spec = asked.get(index, {})
                if "NetworkInterfaceId" in spec:
                    nic.delete_on_termination = False
                    continue
                nic.delete_on_termination = spec.get("DeleteOnTermination", True)
                nic.add_tags(tags.get("network-interface", {}))
        return result

    def terminate_instances(self) -> ActionResult:
        changes = []
        for each in self._get_param("InstanceIds", []):
            machine = self.backend.get_instance(each)
            before = {"Code": machine.state_code, "Name": machine.state}
            if machine.state != "terminated":
                attached = list(machine.nics.values())
                doomed = [nic for nic in attached if nic.delete_on_termination]
                for eip in self.backend.addresses:
                    if eip.eni in doomed:
                        eip.eni, eip.private, eip.association_id = None, None, None
                for nic in attached:
                    machine.detach_eni(nic)
                    nic.public_ip = None
                for nic in doomed:
                    self.backend.delete_network_interface(nic.id)
                self.backend.terminate_instances([each])
            now = {"Code": 32, "Name": "shutting-down"} if before["Code"] != 48 else before
            changes.append({"InstanceId": each, "CurrentState": now, "PreviousState": before})
        return ActionResult({"TerminatingInstances": changes})

    def create_key_pair(self) -> ActionResult:
        name, kind = self._get_param("KeyName"), self._get_param("KeyType", "rsa")
        tags = self._parse_tag_specification("key-pair").get("key-pair", {})
        given = {name: self.querystring[name][0] for name in ("Fingerprint", "PublicKey")}
        self.backend.key_pairs[name] = KeyPair(
            name,
            kind,
            given["Fingerprint"],
            self.key_material,
            given["PublicKey"].encode(),
            tags,
            self.backend,
        )
        return ActionResult(self.backend.key_pairs[name])

    def get_console_output(self) -> ActionResult:
        machine = self.backend.get_instance(self._get_param("InstanceId"))
        told = {"InstanceId": machine.id, "Timestamp": machine.launch_time}
        if machine.state != "terminated":
            address = machine.private_ip.replace(".", "-")
            text = f"[    0.000000] boot {machine.boots} of {machine.id}\nip-{address} login: "
            told["Output"] = Base64EncodedString.from_raw_string(text)
        return ActionResult(told)


class Moto:
    """One account in one region; every call is made under `LOCK`."""

    def __init__(self, name: str, region: str) -> None:
        self.name = name
        self.region = region
        self.host = f"ec2.{region}.amazonaws.com"
        with LOCK:
            self._set(0, None)
            self.backend = EC2Backend(region, ACCOUNT)

    def _set(self, sequence: int, now: datetime | None) -> None:
        mock_random.seed(f"{self.name}/{sequence}")
        Clock.now = now

    def call(
        self,
        body: str,
        *,
        sequence: int = 0,
        now: datetime | None = None,
        key_material: bytes = b"",
    ) -> tuple[int, bytes]:
        """Make one EC2 call, given as a form body; give HTTP status and XML."""
        answers = type(
            "Answers", (Answers,), {"backend": self.backend, "key_material": key_material}
        )
        content = body.encode()
        environ = {
            "REQUEST_METHOD": "POST",
            "wsgi.url_scheme": "http",
            "SERVER_NAME": self.host,
            "SERVER_PORT": "80",
            "HTTP_HOST": self.host,
            "PATH_INFO": "/",
            "CONTENT_TYPE": "application/x-www-form-urlencoded; charset=utf-8",
            "CONTENT_LENGTH": str(len(content)),
            "wsgi.input": BytesIO(content),
        }
        with LOCK:
            self._set(sequence, now)
            status, _, answer = answers.dispatch(Request(environ))
            self._settle()
        return int(status), answer.encode() if isinstance(answer, str) else answer

    def _settle(self) -> None:
        """Bring what moto keeps twice into step with the interfaces."""
        for nic in self.backend.enis.values():
            nic.private_ip_addresses.sort(key=lambda each: not each.get("Primary"))
            for each in nic.private_ip_addresses:
                each.pop("Association", None)
                known = nic.associated(each["PrivateIpAddress"])
                if known:
                    each["Association"] = known
        for machine in self._machines():
            if 0 in machine.nics:
                machine.security_groups = machine.nics[0].group_set
                machine._placement.zone = machine.nics[0].availability_zone
        for subnet in self._subnets():
            subnet._subnet_ips.clear()  # the strict layer knows which addresses are taken

    def snapshot(self) -> bytes:
        """Freeze everything; `restore` brings it back."""
        return pickle.dumps(self.backend)

    def restore(self, snapshot: bytes) -> None:
        """Go back to a snapshot."""
        self.backend = pickle.loads(snapshot)

    def reboot_all(self) -> None:
        """Count a boot for each running instance."""
        for machine in self._machines():
            machine.boots += machine.is_running()

    def _machines(self) -> Iterator[Instance]:
        for reservation in self.backend.reservations.values():
            yield from reservation.instances

    def _subnets(self) -> Iterator[Any]:
        for zone in self.backend.subnets.values():
            yield from zone.values()

    @staticmethod
    def model() -> Any:
        """Give EC2's own model, a botocore ServiceModel."""
        return get_service_model("ec2")

    @staticmethod
    def actions() -> frozenset[str]:
        """List the calls that are in EC2's model and that moto answers."""
        names = get_service_model("ec2").operation_names
        return frozenset(n for n in names if hasattr(EC2Response, camelcase_to_underscores(n)))

    @staticmethod
    def limits(kind: str) -> tuple[int, int] | None:
        """Give an instance type's most interfaces, and addresses on each; None: no such type."""
        facts = INSTANCE_TYPES.get(kind)
        if facts is None:
            return None
        net = facts["NetworkInfo"]
        return net["MaximumNetworkInterfaces"], net["Ipv4AddressesPerInterface"]

    def inventory(self) -> Inventory:
        """Read everything into values."""
        held = self.backend
        images = held.amis
        tables = {table.id: _table(table) for table in held.route_tables.values()}
        leads = {
            target: table.id
            for table in held.route_tables.values()
            for target in table._associations.values()
        }
        main = {t.vpc_id: t.id for t in held.route_tables.values() if t.main_association_id}
        return Inventory(
            vpcs={vpc.id: vpc.is_default == "true" for vpc in held.vpcs.values()},
            subnets={
                each.id: Network(
                    each.id,
                    each.vpc_id,
                    each.cidr_block,
                    each.availability_zone,
                    bool(each.default_for_az) and each.vpc_id == held.default_vpc.id,
                    leads.get(each.id) or main.get(each.vpc_id, ""),
                )
                for each in self._subnets()
            },
            nics={nic.id: _nic(nic) for nic in held.enis.values()},
            machines={
                each.id: _machine(each, images.get(each.image_id)) for each in self._machines()
            },
            eips={
                each.allocation_id: ElasticIp(
                    each.allocation_id,
                    each.public_ip,
                    each.association_id,
                    each.eni.id if each.eni else None,
                    each.private_ip_address,
                )
                for each in held.addresses
            },
            tables=tables,
            gateways={
                each.id: each.vpc.id if each.vpc else None
                for each in held.internet_gateways.values()
            },
            groups={
                each.id: Members(
                    each.id,
                    each.vpc_id,
                    each.name,
                    tuple(_permission(rule) for rule in each.ingress_rules),
                    tuple(_permission(rule) for rule in each.egress_rules),
                )
                for own in held.groups.values()
                for each in own.values()
            },
        )


def _table(table: Any) -> Table:
    gateway = next(
        (
            route.gateway_id
            for route in table.routes
            if route.destination_cidr_block == "0.0.0.0/0" and route.gateway_id
        ),
        None,
    )
    return Table(table.id, table.vpc_id, gateway)


def _nic(nic: NetworkInterface) -> Nic:
    return Nic(
        id=nic.id,
        mac=nic.mac_address,
        vpc=nic.vpc_id,
        subnet=nic.subnet_id,
        zone=nic.availability_zone,
        addresses=tuple(each["PrivateIpAddress"] for each in nic.private_ip_addresses),
        automatic=nic.public_ip,
        groups=tuple(group.id for group in nic.group_set),
        source_dest_check=nic.source_dest_check is True,
        attachment=nic.attachment_id,
        instance=nic.instance.id if nic.instance else None,
        index=nic.device_index if nic.instance else None,
    )


def _machine(machine: Instance, image: Any) -> Machine:
    return Machine(
        id=machine.id,
        state=machine.state,
        type=machine.instance_type,
        zone=machine.availability_zone or "",
        image=machine.image_id,
        image_name=image.name if image else "",
        public_key=machine.authorized,
        user_data=base64.b64decode(str(machine.user_data or "")),
        boots=machine.boots,
    )


def _permission(rule: Any) -> Permission:
    return Permission(
        protocol=rule.ip_protocol,
        from_port=-1 if rule.from_port is None else rule.from_port,
        to_port=-1 if rule.to_port is None else rule.to_port,
        cidr=rule.cidr_ipv4,
        peer=rule.source_group.get("GroupId"),
    )
