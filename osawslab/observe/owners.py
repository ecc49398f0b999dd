"""Whose a MAC or an address is, in words: from what EC2 and the host say just now.

Nothing here is remembered: who gives a port another MAC by hand gives that MAC another owner.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from osawslab.host.facts import HostFacts, Link

EVERYBODY = ("ff:ff:ff:ff:ff:ff", "255.255.255.255")
UNKNOWN = "unknown"
ROUTER = "VPC router"
DHCP = "qdhcp-"  # how Neutron begins the names of its DHCP servers' namespaces

Port = tuple[str, str]  # namespace ("" is the host's) and interface


@dataclass(frozen=True)
class Nic:
    """What AWS has in its books about a network interface of the instance."""

    role: str  # "provider NIC"
    mac: str
    addresses: tuple[str, ...]
    eip: str = ""  # that leads to it
    inner: str = ""  # the address of those that it leads to; "" for the first


@dataclass(frozen=True)
class Owners:
    """Owners by MAC (lower case), by IPv4 address or network, and the names of interfaces.

    >>> owners = Owners({"02:aa:00:00:00:01": "provider NIC"}, {"172.16.20.1": "VPC router"})
    >>> owners.mac("02:AA:00:00:00:01"), owners.address("172.16.20.1/24")
    ('provider NIC', 'VPC router')
    >>> owners.mac("0a:00:00:00:00:01"), owners.mac("33:33:00:00:00:01"), owners.mac("")
    ('unknown', 'a group', '')
    """

    macs: Mapping[str, str]
    addresses: Mapping[str, str]
    ports: Mapping[Port, str] = field(default_factory=dict)

    def mac(self, mac: str) -> str:
        """Say whose a MAC is: "unknown" where no fact tells, "" for none."""
        mac = mac.lower()
        if not mac or mac in self.macs:
            return self.macs.get(mac, "")
        if mac == EVERYBODY[0]:
            return "everybody"
        # IEEE 802: the group bit is the last one of the first byte.
        return "a group" if mac[1:2] in tuple("13579bdf") and mac[2:3] == ":" else UNKNOWN

    def address(self, address: str) -> str:
        """Say whose an IPv4 address, with or without its prefix length, or a network is."""
        if not address or address in self.addresses:
            return self.addresses.get(address, "")
        bare = address.partition("/")[0]
        if bare in EVERYBODY:
            return "everybody"
        return self.addresses.get(bare, UNKNOWN)

    def names(self) -> dict[str, str]:
        """Give all of them by MAC and by address, as captures want them."""
        return {**self.addresses, **self.macs}

    def port(self, namespace: str, interface: str) -> str:
        """Say what an interface is."""
        return self.ports.get((namespace, interface), UNKNOWN)


def read(
    host: HostFacts,
    *,
    places: Mapping[str, str],
    parts: Mapping[Port, str],
    nics: Iterable[Nic],
    gateways: Iterable[str],
    known: Mapping[str, str],
    neighbours: Iterable[tuple[str, str]] = (),
) -> Owners:
    """Name the owners.

    `places` names the namespaces, `parts` the interfaces that have a name in the lab, `gateways`
    are the addresses of the VPC's router, `known` has names that no interface of the host tells
    (networks, a VM that is a process), `neighbours` the pairs of address and MAC that were learned.
    Where two have one MAC, both are named.
    """
    macs: dict[str, list[str]] = {}
    addresses: dict[str, list[str]] = {}
    ports: dict[Port, str] = {}
    named = [
        (name, link, parts.get((name, link.name)) or _described(host, places, name, link))
        for name in host.namespaces
        for link in host.namespace(name).links.values()
        if link.name != "lo"
    ]
    # What has a name in the lab goes before what only has an interface's.
    for name, link, what in sorted(named, key=lambda each: (each[0], each[1].name) not in parts):
        ports[name, link.name] = what
        _add(macs, link.mac.lower(), what, (name, link.name) in parts)
        for address in link.addresses:
            _add(addresses, address.partition("/")[0], what, (name, link.name) in parts)
    routers = list(gateways)
    others: dict[str, str] = dict.fromkeys(routers, ROUTER)
    for nic in nics:
        others.update(dict.fromkeys(nic.addresses, nic.role))
        if nic.eip:
            others[nic.eip] = f"{nic.role}'s Elastic IP"
    others.update({key.lower(): name for key, name in known.items()})
    found = {key: ", ".join(names) for key, names in addresses.items()}
    learned = {mac.lower(): ROUTER for address, mac in neighbours if address in routers and mac}
    return Owners(
        {**learned, **_macs(others), **{mac: ", ".join(names) for mac, names in macs.items()}},
        {**{key: name for key, name in others.items() if key not in _macs(others)}, **found},
        ports,
    )


def _add(found: dict[str, list[str]], key: str, what: str, part: bool) -> None:
    """Note an owner; an interface without a name in the lab only where nobody else is."""
    if key and key != "00:00:00:00:00:00" and (part or key not in found):
        names = found.setdefault(key, [])
        names += [what] if what not in names else []


def _macs(named: Mapping[str, str]) -> dict[str, str]:
    return {key: name for key, name in named.items() if ":" in key}


def _described(host: HostFacts, places: Mapping[str, str], namespace: str, link: Link) -> str:
    """Describe an interface that has no name in the lab."""
    if namespace.startswith(DHCP):
        return "DHCP server"
    if link.kind == "bridge" or link.name in (host.bridges or {}):
        return f"bridge {link.name}"
    return f"{places.get(namespace, namespace)}'s {link.name}"
