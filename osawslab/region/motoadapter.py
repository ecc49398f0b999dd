"""Run moto 5.2.5 as the memory of EC2.

With `motomodels`, `motoimages` and `motoanswers`, the only modules that know moto's own names; a
test holds each of them. moto's randomness and clock are set before each call, so that the same
calls give the same ids, MACs and times.
"""

from __future__ import annotations

import base64
import pickle
import threading
from collections.abc import Iterable, Iterator
from datetime import datetime
from importlib import import_module
from io import BytesIO
from typing import Any

from osawslab.region import motoimages
from osawslab.region.inventory import (
    ElasticIp,
    Inventory,
    Machine,
    Members,
    Network,
    Nic,
    Permission,
    Table,
)
from osawslab.region.motoanswers import Answers
from osawslab.region.motomodels import ACCOUNT, Clock, models, offer, types, words
from osawslab.region.state import About, Entry, Image

Request = import_module("moto.core.request").Request
mock_random = import_module("moto.moto_api._internal").mock_random
LOCK = threading.RLock()  # moto's randomness and clock belong to the process


class Moto:
    """One account in one region; every call is made under `LOCK`."""

    def __init__(self, name: str, region: str) -> None:
        self.name = name
        self.region = region
        self.host = f"ec2.{region}.amazonaws.com"
        with LOCK:
            self._set(0, None)
            offer(region)
            self.backend = models.EC2Backend(region, ACCOUNT)
            self._default_gateway()

    def _default_gateway(self) -> None:
        """Give the default VPC its Internet gateway: VPC guide, "Default VPC components"."""
        vpc = self.backend.default_vpc
        gateway = self.backend.create_internet_gateway()
        self.backend.attach_internet_gateway(gateway.id, vpc.id)
        main = next(t for t in self.backend.route_tables.values() if t.vpc_id == vpc.id)
        self.backend.create_route(main.id, "0.0.0.0/0", gateway_id=gateway.id)

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
        answers: Any = type(
            "Answers",
            (Answers,),
            {"backend": self.backend, "key_material": key_material, "lab": self.name},
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
                if known := nic.associated(each["PrivateIpAddress"]):
                    each["Association"] = known
        for machine in self._machines():
            if 0 in machine.nics:
                machine.security_groups = machine.nics[0].group_set
                machine._placement.zone = machine.nics[0].availability_zone

    def snapshot(self) -> bytes:
        """Freeze everything; `restore` brings it back."""
        return pickle.dumps(self.backend)

    def restore(self, snapshot: bytes) -> None:
        """Go back to a snapshot."""
        self.backend = pickle.loads(snapshot)

    def show(self, images: Iterable[Image]) -> None:
        """Show images that labs have made as the account's own; others of its own are no more."""
        with LOCK:
            motoimages.show(self.backend, {image.id: image for image in images})

    def at_shutdown(self, instance: str) -> str:
        """Say what becomes of an instance that powers itself off: "stop" or "terminate"."""
        return str(self.backend.get_instance(instance).instance_initiated_shutdown_behavior)

    def reboot_all(self) -> None:
        """Count a boot for each running instance."""
        for machine in self._machines():
            machine.boots += machine.is_running()

    def _machines(self) -> Iterator[Any]:
        for reservation in self.backend.reservations.values():
            yield from reservation.instances

    def _subnets(self) -> Iterator[Any]:
        for zone in self.backend.subnets.values():
            yield from zone.values()

    @staticmethod
    def model() -> Any:
        """Give EC2's own model, a botocore ServiceModel."""
        return words.get_service_model("ec2")

    @staticmethod
    def actions() -> frozenset[str]:
        """List the calls that are in EC2's model and that moto answers."""
        names = words.get_service_model("ec2").operation_names
        python = words.camelcase_to_underscores
        return frozenset(each for each in names if hasattr(Answers, python(each)))

    @staticmethod
    def limits(kind: str) -> tuple[int, int] | None:
        """Give an instance type's most interfaces, and addresses on each; None: no such type."""
        facts = types.INSTANCE_TYPES.get(kind)
        if facts is None:
            return None
        net = facts["NetworkInfo"]
        return net["MaximumNetworkInterfaces"], net["Ipv4AddressesPerInterface"]

    @staticmethod
    def vcpus(kind: str) -> int:
        """Give an instance type's vCPUs; 0 where there is no such type."""
        facts = types.INSTANCE_TYPES.get(kind)
        return int(facts["VCpuInfo"]["DefaultVCpus"]) if facts else 0

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
        acls = {
            link.subnet_id: _acl(acl)
            for acl in held.network_acls.values()
            for link in acl.associations
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
                    held.vpcs[each.vpc_id].cidr_block,
                    acls.get(each.id, ()),
                )
                for each in self._subnets()
            },
            nics={nic.id: _nic(nic) for nic in held.enis.values()},
            machines={
                each.id: _machine(each, images.get(each.image_id), reservation.id)
                for reservation in held.reservations.values()
                for each in reservation.instances
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
            images={
                each.id: each.root_device_name
                for each in images.values()
                if each.state == "available"
            },
            keys=frozenset(held.key_pairs),
            made=motoimages.made(held),
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


def _acl(acl: Any) -> tuple[Entry, ...]:
    """Read an ACL's rules for IPv4, lowest number first; what none names, the last one denies."""
    found = [each for each in acl.entries if each.cidr_block]
    found.sort(key=lambda each: int(each.rule_number))
    last = [Entry(egress, False, "-1", -1, -1, "0.0.0.0/0") for egress in (False, True)]
    return (*map(_entry, found), *last)


def _entry(entry: Any) -> Entry:
    protocol = {"6": "tcp", "17": "udp", "1": "icmp"}.get(str(entry.protocol), str(entry.protocol))
    first, last = entry.port_range_from, entry.port_range_to
    if protocol == "icmp":
        first, last = entry.icmp_type, entry.icmp_code
    return Entry(
        egress=str(entry.egress).lower() == "true",
        allow=entry.rule_action == "allow",
        protocol=protocol,
        from_port=-1 if first is None else int(first),
        to_port=-1 if last is None else int(last),
        cidr=entry.cidr_block,
    )


def _nic(nic: Any) -> Nic:
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


def _machine(machine: Any, image: Any, reservation: str) -> Machine:
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
        about=_about(machine, reservation),
    )


def _about(machine: Any, reservation: str) -> About:
    options = machine.metadata_options
    return About(
        ami=machine.image_id,
        zone=machine.availability_zone or "",
        key_name=machine.key_name or "",
        reservation=reservation,
        launched=machine.launch_time.strftime("%Y-%m-%dT%H:%M:%SZ"),
        tokens=options.http_tokens == "required",
        hops=int(options.http_put_response_hop_limit),
        endpoint=options.http_endpoint == "enabled",
    )


def _permission(rule: Any) -> Permission:
    return Permission(
        protocol=rule.ip_protocol,
        from_port=-1 if rule.from_port is None else rule.from_port,
        to_port=-1 if rule.to_port is None else rule.to_port,
        cidr=rule.cidr_ipv4,
        peer=rule.source_group.get("GroupId"),
    )
