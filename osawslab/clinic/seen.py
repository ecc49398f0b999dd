"""What a look at a host has told: links, switches, routers, and who AWS says the NICs are.

Values in, values out. Nothing is known by name but the prefixes that Neutron gives its ports
(`qg-`, `qr-`, `qrouter-`: neutron_lib/constants.py, neutron/agent/l3/namespaces.py).
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from ipaddress import IPv4Address, IPv4Network
from typing import Any

GATEWAY, INNER = "qg-", "qr-"
TUNNELS = ("vxlan", "gre", "geneve")
OF_TUNNELS = "patch-int"  # a port of the bridge that gets tunnels: Neutron's tun_peer_patch_port


class Name(str):
    """A name that a host gave: written into a text, it is quoted as a shell needs it.

    >>> f"ip link set {Name('a;b')} up", f"ip link set {Name('ens5')} up"
    ("ip link set 'a;b' up", 'ip link set ens5 up')
    """

    def __format__(self, spec: str) -> str:
        return format(shlex.quote(str(self)) if self else "", spec)


@dataclass(frozen=True)
class Said:
    """A command, and what it answered."""

    command: str
    status: int
    out: str
    err: str

    @property
    def data(self) -> list[dict[str, Any]]:
        """Read the answer as a JSON list; [] where it is none."""
        try:
            found = json.loads(self.out or "[]")
        except ValueError:
            return []
        return [each for each in found if each] if isinstance(found, list) else []

    @property
    def why_not(self) -> str:
        """Say why there is no answer; "" where there is one."""
        return "" if self.status == 0 else (self.err or f"exit status {self.status}")


@dataclass(frozen=True)
class Port:
    """A network interface in a namespace ("" is the host's)."""

    space: str
    name: str
    mac: str
    up: bool
    mtu: int
    addresses: tuple[tuple[str, int], ...]  # IPv4 and prefix length
    kind: str
    master: str
    permanent: str
    alias: str
    index: int
    other: int  # the index of its other end, 0 for none
    other_space: int  # that end's namespace by number; -1 for the same, or none

    @property
    def enter(self) -> str:
        """Begin an `ip` command that speaks of it."""
        return f"sudo ip -n {self.space}" if self.space else "sudo ip"

    @property
    def own(self) -> str:
        """Give its first address that is of a network; a floating IP is /32. "" for none."""
        rest = self.addresses[0][0] if self.addresses else ""
        return next((address for address, length in self.addresses if length < 32), rest)

    def has(self, address: str) -> bool:
        """Say whether an address is in one of its networks."""
        return any(IPv4Address(address) in network(*each) for each in self.addresses)


def network(address: str, length: int) -> IPv4Network:
    """Give the network of an interface's address."""
    return IPv4Network(f"{address}/{length}", strict=False)


@dataclass(frozen=True)
class Nic:
    """An ENI as AWS has registered it."""

    mac: str
    addresses: tuple[str, ...]
    id: str
    subnet: str
    cidr: str
    vpc: str
    index: int
    leads: Mapping[str, str]  # Elastic IP -> the address that it leads to

    @property
    def router(self) -> str:
        """Give the address of the VPC's router in its subnet (VPC guide, "Subnet sizing")."""
        return str(IPv4Network(self.cidr)[1]) if self.cidr else ""


@dataclass(frozen=True)
class Switch:
    """Open vSwitch's database."""

    bridges: Mapping[str, tuple[str, ...]]  # its ports, without its own
    tags: Mapping[str, int]
    types: Mapping[str, str]
    peers: Mapping[str, str]
    numbers: Mapping[str, int]
    errors: Mapping[str, str]
    in_user_space: frozenset[str]  # bridges

    def of(self, port: str) -> str:
        """Give the bridge of a port, "" for none."""
        return next((name for name, ports in self.bridges.items() if port in ports), "")


@dataclass(frozen=True)
class Router:
    """A router's namespace."""

    space: str
    gateways: tuple[Port, ...]
    inner: tuple[Port, ...]

    @property
    def enter(self) -> str:
        """Begin a command inside."""
        return f"sudo ip netns exec {self.space}"


@dataclass(frozen=True)
class Seen:
    """All that was told; `told` is what `look` has printed."""

    told: Mapping[str, Any]

    def said(self, key: str) -> Said:
        """Give what a command answered; a refusal where it was not run."""
        found = self.told["said"].get(key) or self.told["said"].get(self.quoted.get(key))
        return Said(**found) if found else Said("", 127, "", "not run")

    def keys(self, start: str) -> Iterator[tuple[str, ...]]:
        """List the keys that begin so, in parts."""
        for quoted, key in self.quoted.items():
            if quoted.startswith(start):
                yield tuple(key.split("|"))

    @cached_property
    def quoted(self) -> Mapping[str, str]:
        """The keys as they are written with names that are quoted -> as they are."""
        return {"|".join(f"{Name(part)}" for part in key.split("|")): key
                for key in self.told["said"]}  # fmt: skip

    @cached_property
    def ports(self) -> Mapping[str, Mapping[str, Port]]:
        """Every interface by namespace and name."""
        return {
            name: {port.name: port for port in self._links(name, "links")}
            for name in self.told["spaces"]
        }

    def again(self, space: str) -> Mapping[str, Port]:
        """The interfaces of a namespace at the end of the look."""
        return {port.name: port for port in self._links(space, "again")}

    def _links(self, space: str, key: str) -> Iterator[Port]:
        for link in self.said(f"{space}|{key}").data:
            yield Port(
                Name(space),
                Name(link.get("ifname", "")),
                link.get("address", ""),
                "UP" in link.get("flags", []),
                int(link.get("mtu", 0)),
                tuple(
                    (each["local"], int(each["prefixlen"]))
                    for each in link.get("addr_info", [])
                    if each.get("family") == "inet"
                ),
                link.get("linkinfo", {}).get("info_kind", ""),
                Name(link.get("master", "")),
                link.get("permaddr", ""),
                link.get("ifalias", ""),
                int(link.get("ifindex", 0)),
                int(link.get("link_index", 0) or 0),
                int(link.get("link_netnsid", -1)),
            )

    @cached_property
    def host(self) -> Mapping[str, Port]:
        """The host's own interfaces."""
        return self.ports.get("", {})

    @cached_property
    def numbers(self) -> Mapping[int, str]:
        """Namespaces by the number that the host gives them."""
        return {int(each.get("id", -1)): each["name"] for each in self.said("netns").data}

    @cached_property
    def routers(self) -> tuple[Router, ...]:
        """Every namespace with a router's name or ports, those with a gateway port first."""
        found = []
        for space, ports in self.ports.items():
            gates = tuple(port for name, port in ports.items() if name.startswith(GATEWAY))
            inner = tuple(port for name, port in ports.items() if name.startswith(INNER))
            if space and (gates or inner or space.startswith("qrouter-")):
                found.append(Router(Name(space), gates, inner))
        return tuple(sorted(found, key=lambda each: not each.gateways))

    @cached_property
    def nics(self) -> tuple[Nic, ...]:
        """The ENIs that the metadata service tells of, by device index."""

        def first(values: list[str]) -> str:
            return Name(values[0]) if values else ""

        return tuple(
            sorted(
                (
                    Nic(
                        Name(mac),
                        tuple(map(Name, about["local-ipv4s"])),
                        first(about["interface-id"]),
                        first(about["subnet-id"]),
                        first(about["subnet-ipv4-cidr-block"]),
                        first(about["vpc-id"]),
                        int(first(about["device-number"]) or 0),
                        about["leads"],
                    )
                    for mac, about in self.told["metadata"].get("macs", {}).items()
                ),
                key=lambda nic: nic.index,
            )
        )

    @cached_property
    def switch(self) -> Switch | None:
        """Open vSwitch's database; None where nobody answers."""
        tables = {}
        for name in ("bridges", "ports", "interfaces"):
            try:
                tables[name] = json.loads(self.said(f"ovs|{name}").out)["data"]
            except (ValueError, LookupError):
                return None
        for row in (row for rows in tables.values() for row in rows):
            row[:] = [Name(each) if isinstance(each, str) else each for each in row]
        ids = {row[0][1]: row[1] for row in tables["ports"]}
        return Switch(
            {
                row[0]: tuple(ids[each] for each in _set(row[1]) if ids.get(each, row[0]) != row[0])
                for row in tables["bridges"]
            },
            {row[1]: row[2] if isinstance(row[2], int) else 0 for row in tables["ports"]},
            {row[0]: row[1] for row in tables["interfaces"]},
            {row[0]: Name(dict(row[2][1]).get("peer", "")) for row in tables["interfaces"]},
            {row[0]: row[3] if isinstance(row[3], int) else -1 for row in tables["interfaces"]},
            {row[0]: row[4] if isinstance(row[4], str) else "" for row in tables["interfaces"]},
            frozenset(row[0] for row in tables["bridges"] if row[2] == "netdev"),
        )

    def heard_by(self, port: Port) -> bool:
        """Say whether anybody has a packet socket (packet(7)) on a port of the host."""
        rows = [line.split() for line in self.said("packets").out.splitlines()[1:]]
        return not rows or any(row[4] == str(port.index) for row in rows if len(row) > 4)

    def routes(self, space: str) -> list[dict[str, Any]]:
        """The routes of the main table."""
        found = self.said(f"{space}|routes").data
        return [each for each in found if each.get("table", "main") in ("main", 254)]

    def defaults(self, space: str) -> list[dict[str, Any]]:
        """The default routes."""
        return [each for each in self.routes(space) if each.get("dst") == "default"]

    @cached_property
    def main_nic(self) -> str:
        """Name the interface of the host's own default route."""
        ways = sorted(self.defaults(""), key=lambda each: int(each.get("metric", 0)))
        return str(ways[0].get("dev", "")) if ways else ""

    def real(self, port: Port) -> bool:
        """Say whether an interface may be a NIC: nobody's cable, no switch, no tunnel."""
        if port.name == "lo" or port.name.startswith((GATEWAY, INNER, "tap", "qv", "brq", "ovs-")):
            return False
        if port.kind == "veth":  # its other end is nowhere on this host
            ours = port.other_space in self.numbers or port.other_space < 0
            return not ours and not port.name.startswith(("veth", "docker"))
        made = port.kind in ("bridge", "openvswitch", "dummy", *TUNNELS)
        return not made and not (self.switch and self.switch.types.get(port.name))


def _set(value: Any) -> list[str]:
    """Read a set of ids, as Open vSwitch's JSON has it (RFC 7047, 5.1)."""
    found = value[1] if value[0] == "set" else [value]
    return [each[1] for each in found]
