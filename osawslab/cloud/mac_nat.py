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

from osawslab.cloud.handbuilt import Cloud, Want, datapath
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


def pairs(cloud: Cloud) -> set[tuple[str, str]]:
    """Give the addresses of all gateway ports, each with the MAC that its port should have."""
    at_gateway = cloud.gateway.mac if cloud.gateway else ""
    return {
        (address, cloud.names.gateway_mac if mac == at_gateway else mac)
        for address, mac in addresses(cloud)
    }


def wanted(cloud: Cloud, pairs: Iterable[tuple[str, str]]) -> tuple[Flow, ...]:
    """Give the flows that these addresses should have on this cloud's own bridge."""
    return flows(sorted(pairs), cloud.registered_mac, cloud.require_provider_nic().name)


def text(flows: Iterable[Flow]) -> str:
    """Write flows as a file that `ovs-ofctl add-flows` takes."""
    return "".join(f"{flow.match},actions={flow.actions}\n" for flow in flows)


def have(cloud: Cloud) -> tuple[Flow, ...]:
    """Read the flows of the cloud's own bridge."""
    bridge, nic = cloud.bridge(cloud.names.translator), cloud.require_provider_nic().name
    return read(bridge, {str(NIC_PORT): nic, str(NEAR_PORT): NEAR}) if bridge else ()


def outside(cloud: Cloud) -> bool:
    """Say whether the provider bridge has its end of the patch cable."""
    provider = cloud.bridge(cloud.settings.provider_bridge)
    return provider is not None and FAR in provider.ports


def cabled(cloud: Cloud) -> bool:
    """Say whether the patch cable has both ends."""
    own = cloud.bridge(cloud.names.translator)
    return own is not None and NEAR in own.ports and outside(cloud)


def wants(cloud: Cloud, pairs: Iterable[tuple[str, str]]) -> list[Want]:
    """Want the own bridge with NIC, patch cable and exactly the flows of these addresses."""
    nic, own = cloud.require_provider_nic().name, cloud.names.translator
    bridge, provider = cloud.bridge(own), cloud.settings.provider_bridge
    kind = f" {datapath(cloud)}" if datapath(cloud) else ""
    found = [
        Want(
            bridge is not None,
            "an own bridge, of which Neutron knows nothing: it drops what no rule lets pass",
            f"ovs-vsctl --may-exist add-br {own} -- set bridge {own} fail_mode=secure{kind}",
        ),
        Want(
            bridge is not None and nic in bridge.ports,
            "the NIC moves to it",
            f"ovs-vsctl --if-exists del-port {provider} {nic} -- --may-exist add-port {own} {nic}"
            f" -- set interface {nic} ofport_request={NIC_PORT}",
        ),
        Want(
            cabled(cloud),
            "a patch cable from it to the provider bridge",
            f"ovs-vsctl --may-exist add-port {own} {NEAR} -- set interface {NEAR} type=patch"
            f" options:peer={FAR} ofport_request={NEAR_PORT}"
            f" -- --may-exist add-port {provider} {FAR} -- set interface {FAR} type=patch"
            f" options:peer={NEAR}",
        ),
    ]
    right, there = wanted(cloud, pairs), have(cloud)
    keys, matches = {flow.key for flow in right}, {flow.key[0] for flow in right}
    found += [
        Want(
            False, "a rule of an earlier time", f"ovs-ofctl --strict del-flows {own} '{flow.match}'"
        )
        for flow in there
        if flow.key not in keys and flow.key[0] not in matches
    ]
    present = {flow.key for flow in there}
    found += [
        Want(
            flow.key in present,
            flow.why,
            f"ovs-ofctl add-flow {own} '{flow.match},actions={flow.actions}'",
        )
        for flow in right
    ]
    return found
