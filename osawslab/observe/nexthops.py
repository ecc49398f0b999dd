"""Where a route leads, in words: to a next hop or several, to nobody, out of the VPC."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

# ip-route(8), TYPE: what becomes of a packet that meets such a route.
TYPES = {
    "blackhole": "dropped, and nobody is told",
    "unreachable": "refused: host unreachable",
    "prohibit": "refused: prohibited",
    "throw": "goes on in the next table",
}
# What a route of a VPC may lead to: keys of EC2's DescribeRouteTables.
# The interface goes before its instance: it is what the route was made for.
TARGETS = (
    "GatewayId", "NatGatewayId", "NetworkInterfaceId", "InstanceId", "TransitGatewayId",
    "VpcPeeringConnectionId", "EgressOnlyInternetGatewayId", "LocalGatewayId",
    "CarrierGatewayId", "CoreNetworkArn",
)  # fmt: skip
PREFIXES = {
    "igw-": "internet gateway",
    "nat-": "NAT gateway",
    "vgw-": "virtual private gateway",
    "vpce-": "VPC endpoint",
    "eni-": "network interface",
    "i-": "instance",
    "tgw-": "transit gateway",
    "pcx-": "VPC peering",
    "eigw-": "egress-only internet gateway",
}
BLACKHOLE = "blackhole "  # before a target that is gone


class Way(NamedTuple):
    """Where a route of a Linux host leads; of several next hops, all, with commas between."""

    type: str  # "" for the usual one
    via: str
    interface: str

    def __str__(self) -> str:
        if not self.via and not self.interface:
            return self.type
        hops = zip(self.via.split(", "), self.interface.split(", "), strict=False)
        return " nexthop ".join(f"{f'via {via} ' if via else ''}dev {dev}" for via, dev in hops)


def way(route: Mapping[str, Any]) -> Way:
    """Read what `ip -j route` gives.

    >>> way({"type": "blackhole", "dst": "10.9.0.0/16"})
    Way(type='blackhole', via='', interface='')
    >>> hops = [{"gateway": "10.1.0.2", "dev": "a"}, {"gateway": "10.1.0.3", "dev": "b"}]
    >>> way({"dst": "10.5.0.0/16", "nexthops": hops})
    Way(type='', via='10.1.0.2, 10.1.0.3', interface='a, b')
    >>> str(way({"dst": "10.5.0.0/16", "nexthops": hops}))
    'via 10.1.0.2 dev a nexthop via 10.1.0.3 dev b'
    """
    hops = route.get("nexthops") or [route]
    via = [str(hop.get("gateway", "") or hop.get("via", {}).get("host", "")) for hop in hops]
    devices = [str(hop.get("dev", "")) for hop in hops]
    kind = str(route.get("type", ""))
    return Way("" if kind == "unicast" else kind, ", ".join(via), ", ".join(devices))


def target(route: Mapping[str, Any]) -> str:
    """Name what a route of a VPC leads to; one that is gone is a blackhole.

    >>> target({"NatGatewayId": "nat-1", "State": "blackhole"})
    'blackhole nat-1'
    """
    name = next((str(route[key]) for key in TARGETS if route.get(key)), "")
    return f"{BLACKHOLE if route.get('State') == 'blackhole' else ''}{name}".strip()


def described(target: str) -> str:
    """Say what a target is.

    >>> described("blackhole nat-1"), described("local"), described("igw-1")
    ('blackhole: the NAT gateway is gone', 'inside the VPC', 'internet gateway')
    """
    name = target.removeprefix(BLACKHOLE)
    kind = next((words for start, words in PREFIXES.items() if name.startswith(start)), "")
    if name != target or target == BLACKHOLE.strip():
        return f"blackhole: the {kind or 'target'} is gone"
    return "inside the VPC" if target == "local" else kind or target or "something else"
