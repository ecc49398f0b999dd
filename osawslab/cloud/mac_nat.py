"""MAC translation by OpenFlow: which flows an own bridge needs, and which of them it has.

The bridge lies between the provider NIC and the provider bridge, is no part of Neutron's
`bridge_mappings`, and drops what no flow lets pass. Each registered address has four flows: IP and
ARP leave with the NIC's registered MAC, and what comes in for the address gets its router's MAC.
Actions: ovs-actions(7); `fail_mode`: ovs-vswitchd.conf.db(5).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from osawslab.cloud.handbuilt import Cloud
from osawslab.host.facts import Bridge

NEAR, FAR = "nat-ex", "ex-nat"  # the patch cable: on the own bridge, on the provider bridge
NIC_PORT, NEAR_PORT = 1, 2  # asked for, so that flows outlive a port that comes back
PRIORITY = 20


@dataclass(frozen=True)
class Flow:
    """A flow of OpenFlow as `ovs-ofctl` takes it."""

    match: str
    actions: str
    why: str = ""

    @property
    def key(self) -> tuple[frozenset[str], str]:
        """Give what two texts of one flow have in common: the order of a match tells nothing."""
        return frozenset(self.match.split(",")), self.actions


def addresses(cloud: Cloud) -> tuple[tuple[str, str], ...]:
    """Name the addresses of all routers' gateway ports, each with the port's MAC, in order."""
    return tuple(
        (address.partition("/")[0], link.mac)
        for name, space in sorted(cloud.host.namespaces.items())
        if name.startswith("qrouter-")
        for link in space.links.values()
        if link.name.startswith("qg-")
        for address in link.addresses
    )


def flows(pairs: Iterable[tuple[str, str]], registered_mac: str, nic: str) -> tuple[Flow, ...]:
    """Give the flows of all (address, MAC of its router) pairs: four for each.

    >>> len(flows([("172.16.20.101", "fa:16:3e:00:00:01")], "02:00:00:00:00:01", "eth1"))
    4
    """
    found = []
    for address, mac in pairs:
        out = f"mod_dl_src:{registered_mac}"
        home = f"mod_dl_dst:{mac}"
        for match, actions, why in (
            (
                f"ip,in_port={NEAR},nw_src={address}",
                f"{out},output:{nic}",
                "packets leave with the registered MAC",
            ),
            (
                f"arp,in_port={NEAR},arp_spa={address}",
                f"{out},set_field:{registered_mac}->arp_sha,output:{nic}",
                "ARP leaves with the registered MAC, as its sender too",
            ),
            (
                f"ip,in_port={nic},dl_dst={registered_mac},nw_dst={address}",
                f"{home},output:{NEAR}",
                "packets come in to its router's MAC",
            ),
            (
                f"arp,in_port={nic},arp_tpa={address}",
                f"{home},set_field:{mac}->arp_tha,output:{NEAR}",
                "ARP comes in to its router's MAC, as its target too",
            ),
        ):
            found.append(Flow(f"priority={PRIORITY},{match}", actions, f"{address}: {why}"))
    return tuple(found)


def read(bridge: Bridge, ports: Mapping[str, str]) -> tuple[Flow, ...]:
    """Read a bridge's flows; `ports`: port number -> name, for ports that are not there now."""

    def loaded(found: re.Match[str]) -> str:  # older ovs-ofctl prints set_field so
        mac = f"{int(found[1], 16):012x}"
        mac = ":".join(mac[i : i + 2] for i in range(0, 12, 2))
        return f"set_field:{mac}->arp_{found[2].lower()}"

    def named(text: str) -> str:
        text = re.sub(r"load:(0x[0-9a-f]+)->NXM_NX_ARP_(SHA|THA)\[\]", loaded, text)
        return re.sub(r"\b(in_port=|output:)(\d+)\b", lambda m: m[1] + ports.get(m[2], m[2]), text)

    found = []
    for line in bridge.flows:
        match, _, actions = line.strip().replace('"', "").partition(" actions=")
        tokens = [
            each.strip()
            for each in match.split(",")
            if not each.strip().startswith(("cookie=", "table=0"))
        ]
        found.append(Flow(named(",".join(tokens)), named(actions)))
    return tuple(found)
