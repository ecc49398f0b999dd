"""Everything that the region's EC2 holds, as values: what refusals and the State follow from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from osawslab.region.state import About, Eni, Entry, Group, Image, Instance, Rule, State, Subnet


@dataclass(frozen=True)
class Network:
    """A subnet; `table` is the id of its route table (its own or the VPC's main one)."""

    id: str
    vpc: str
    cidr: str
    zone: str
    default: bool  # of its zone, in the default VPC
    table: str
    vpc_cidr: str
    acl: tuple[Entry, ...]


@dataclass(frozen=True)
class Nic:
    """A network interface, attached or not."""

    id: str
    mac: str
    vpc: str
    subnet: str
    zone: str
    addresses: tuple[str, ...]  # primary first
    automatic: str | None  # the automatic public address, not an Elastic IP
    groups: tuple[str, ...]
    source_dest_check: bool
    attachment: str | None
    instance: str | None
    index: int | None


@dataclass(frozen=True)
class Machine:
    """An instance; `state` "running", "stopped" or "terminated"."""

    id: str
    state: str
    type: str
    zone: str
    image: str  # the AMI's id
    image_name: str
    public_key: str
    user_data: bytes
    boots: int
    about: About


@dataclass(frozen=True)
class ElasticIp:
    """An Elastic IP address and where it leads."""

    allocation: str
    public: str
    association: str | None
    nic: str | None
    private: str | None


@dataclass(frozen=True)
class Table:
    """A route table; `gateway` is the Internet gateway its 0.0.0.0/0 leads to."""

    id: str
    vpc: str
    gateway: str | None


@dataclass(frozen=True)
class Permission:
    """One security group rule: to or from `cidr`, or the members of group `peer`."""

    protocol: str
    from_port: int
    to_port: int
    cidr: str | None
    peer: str | None


@dataclass(frozen=True)
class Members:
    """A security group."""

    id: str
    vpc: str
    name: str
    ingress: tuple[Permission, ...]
    egress: tuple[Permission, ...]


@dataclass(frozen=True)
class Inventory:
    """What exists, by id; terminated instances are in it."""

    vpcs: Mapping[str, bool]  # id -> is the default VPC
    subnets: Mapping[str, Network]
    nics: Mapping[str, Nic]
    machines: Mapping[str, Machine]
    eips: Mapping[str, ElasticIp]
    tables: Mapping[str, Table]
    gateways: Mapping[str, str | None]  # id -> the VPC it is attached to
    groups: Mapping[str, Members]
    images: Mapping[str, str]  # AMI id -> its root device
    keys: frozenset[str]  # names of key pairs
    made: Mapping[str, Image]  # those of `images` that are the account's own

    def on(self, machine: str) -> list[Nic]:
        """List an instance's interfaces, by device index."""
        nics = (nic for nic in self.nics.values() if nic.instance == machine)
        return sorted(nics, key=lambda nic: nic.index or 0)

    def eip_of(self, nic: str, private: str) -> ElasticIp | None:
        """Find the Elastic IP that leads to a private address."""
        for eip in self.eips.values():
            if (eip.nic, eip.private) == (nic, private):
                return eip
        return None


def state(inventory: Inventory) -> State:
    """Give what the network and the instances follow from."""
    machines = {
        machine.id: machine
        for machine in inventory.machines.values()
        if machine.state != "terminated"
    }
    nics = [nic for nic in inventory.nics.values() if nic.instance in machines]
    used = {group for nic in nics for group in nic.groups}
    return State(
        subnets={
            subnet.id: Subnet(
                subnet.id,
                subnet.vpc,
                subnet.cidr,
                internet=_internet(inventory, subnet),
                vpc_cidr=subnet.vpc_cidr,
                acl=subnet.acl,
            )
            for subnet in inventory.subnets.values()
        },
        enis={
            nic.id: Eni(
                id=nic.id,
                mac=nic.mac,
                addresses=nic.addresses,
                subnet=nic.subnet,
                instance=nic.instance or "",
                device_index=nic.index or 0,
                source_dest_check=nic.source_dest_check,
                groups=nic.groups,
                eips=_public(inventory, nic),
            )
            for nic in nics
        },
        groups={
            group.id: Group(
                group.id,
                _rules(group.ingress, nics),
                _rules(group.egress, nics),
                group.name,
            )
            for group in inventory.groups.values()
            if group.id in used
        },
        instances={
            machine.id: Instance(
                id=machine.id,
                running=machine.state == "running",
                boots=machine.boots,
                type=machine.type,
                image=machine.image_name,
                public_key=machine.public_key,
                user_data=machine.user_data,
                about=machine.about,
            )
            for machine in machines.values()
        },
        images={each.name: each for each in inventory.made.values() if each.source in machines},
    )


def _internet(inventory: Inventory, subnet: Network) -> bool:
    gateway = inventory.tables[subnet.table].gateway if subnet.table else None
    return gateway is not None and inventory.gateways.get(gateway) == subnet.vpc


def _public(inventory: Inventory, nic: Nic) -> dict[str, str]:
    found = {nic.addresses[0]: nic.automatic} if nic.automatic else {}
    for eip in inventory.eips.values():
        if eip.nic == nic.id and eip.private:
            found[eip.private] = eip.public
    return found


def _rules(permissions: tuple[Permission, ...], nics: list[Nic]) -> tuple[Rule, ...]:
    """Write permissions as State's rules: a peer group becomes its members' addresses."""
    rules = []
    for each in permissions:
        ports = (-1, -1)
        if each.protocol in ("tcp", "udp"):
            ports = (each.from_port, each.to_port)
            if ports == (-1, -1):
                ports = (0, 65535)
        if each.cidr is not None:
            rules.append(Rule(each.protocol, *ports, each.cidr))
        for nic in nics:
            if each.peer in nic.groups:
                rules += [Rule(each.protocol, *ports, f"{ip}/32") for ip in nic.addresses]
    return tuple(rules)
