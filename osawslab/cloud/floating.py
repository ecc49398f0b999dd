"""A floating IP in a router, as Neutron's L3 agent makes it: a /32 on the gateway port, 1:1 NAT.

Chains and rules: `floating_forward_rules` in neutron/agent/l3/router_info.py; the address:
`add_floating_ip` there. With `mac-nat` the own bridge has four flows for it besides.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Interface
from typing import Any

from osawslab.aws.facts import FLOATING, role
from osawslab.cloud import mac_nat
from osawslab.cloud.handbuilt import Cloud, Want
from osawslab.host.facts import Link

AGENT = "neutron-l3-agent"


@dataclass(frozen=True)
class Floating:
    """A registered address that stands for a VM's; `router` "" is the lab's own."""

    address: str
    fixed: str
    router: str = ""


def found(eips: Iterable[Any]) -> list[tuple[Floating, dict[str, Any]]]:
    """Read the floating IPs from the tags of their Elastic IPs."""
    return [
        (Floating(*role(each).removeprefix(FLOATING).split("/")), dict(each))
        for each in eips
        if role(each).startswith(FLOATING)
    ]


def elastic_ip(eip: Any) -> tuple[str, str]:
    """Say what an Elastic IP of a later step is, and whose.

    >>> role = {"Key": "osawslab:role", "Value": "floating-address/1.2.3.4/5.6.7.8/"}
    >>> elastic_ip({"Tags": [role]})
    ('floating IP', '1.2.3.4 for 5.6.7.8')
    """
    for one, _ in found([eip]):
        return "floating IP", f"{one.address} for {one.fixed}"
    return f"{role(eip).partition('-')[0]} Elastic IP", ""


def told(eips: Iterable[Any], fixed: str) -> tuple[str, ...]:
    """Tell of a VM's, of the lab's own router: registered address and Elastic IP."""
    mine = [(one, eip) for one, eip in found(eips) if (one.fixed, one.router) == (fixed, "")]
    return tuple(f"{one.address}, {eip['PublicIp']}" for one, eip in mine)


def netns(cloud: Cloud, floating: Floating) -> str:
    """Name the namespace of its router."""
    return f"qrouter-{floating.router}" if floating.router else cloud.names.router_netns


def routers(cloud: Cloud) -> tuple[str, ...]:
    """Name the ids of all routers on the instance."""
    return tuple(
        name.removeprefix("qrouter-")
        for name in sorted(cloud.host.namespaces)
        if name.startswith("qrouter-")
    )


def networks(cloud: Cloud, floating: Floating) -> tuple[IPv4Interface, ...]:
    """List the tenant networks of its router, each as the router's own address there."""
    return tuple(
        IPv4Interface(address)
        for link in cloud.host.namespace(netns(cloud, floating)).links.values()
        if link.name.startswith("qr-")
        for address in link.addresses
        if ":" not in address
    )


def gateway(cloud: Cloud, floating: Floating) -> Link | None:
    """Give its router's gateway port; None where there is none."""
    links = cloud.host.namespace(netns(cloud, floating)).links
    if not floating.router:
        return links.get(cloud.names.gateway)
    return next((link for name, link in links.items() if name.startswith("qg-")), None)


def rules(floating: Floating) -> tuple[str, ...]:
    """Give its rules as `iptables-save` prints them.

    >>> rules(Floating("172.16.20.102", "192.168.20.5"))[0]
    '-A neutron-l3-agent-PREROUTING -d 172.16.20.102/32 -j DNAT --to-destination 192.168.20.5'
    """
    address, fixed = floating.address, floating.fixed
    return (
        f"-A {AGENT}-PREROUTING -d {address}/32 -j DNAT --to-destination {fixed}",
        f"-A {AGENT}-OUTPUT -d {address}/32 -j DNAT --to-destination {fixed}",
        f"-A {AGENT}-float-snat -s {fixed}/32 -j SNAT --to-source {address} --random-fully",
    )


def there(cloud: Cloud, floating: Floating) -> bool:
    """Say whether the router has all of it."""
    port = gateway(cloud, floating)
    have = cloud.host.namespace(netns(cloud, floating)).iptables.splitlines()
    return (
        port is not None
        and f"{floating.address}/32" in port.addresses
        and all(rule in have for rule in rules(floating))
    )


def _flows(cloud: Cloud, floating: Floating, port: Link) -> tuple[mac_nat.Flow, ...]:
    pairs = [(floating.address, port.mac)]
    return mac_nat.wanted(cloud, pairs) if cloud.translates else ()


def _have(cloud: Cloud) -> set[tuple[frozenset[str], str]]:
    return {flow.key for flow in mac_nat.have(cloud)}


def flows(cloud: Cloud, floating: Floating, port: Link) -> list[Want]:
    """Want its flows, where MACs are translated."""
    present = _have(cloud)
    return [
        Want(
            flow.key in present,
            flow.why,
            f"ovs-ofctl add-flow {cloud.names.translator} '{flow.match},actions={flow.actions}'",
        )
        for flow in _flows(cloud, floating, port)
    ]


def no_flows(cloud: Cloud, floating: Floating, port: Link) -> list[Want]:
    """Want none of its flows."""
    present = _have(cloud)
    return [
        Want(
            flow.key not in present,
            "a flow of the floating IP goes",
            f"ovs-ofctl --strict del-flows {cloud.names.translator} '{flow.match}'",
        )
        for flow in _flows(cloud, floating, port)
    ]


def wants(cloud: Cloud, floating: Floating, port: Link) -> list[Want]:
    """Want address, rules and flows."""
    space = netns(cloud, floating)
    have = cloud.host.namespace(space).iptables.splitlines()
    return [
        *flows(cloud, floating, port),
        Want(
            f"{floating.address}/32" in port.addresses,
            f"{floating.address} is an address of the gateway port",
            f"ip -n {space} addr replace {floating.address}/32 dev {port.name}",
        ),
        *(
            Want(rule in have, why, f"ip netns exec {space} iptables -t nat {rule}")
            for rule, why in zip(
                rules(floating),
                (
                    f"what comes for {floating.address} goes to {floating.fixed}",
                    "what the router itself sends there, too",
                    f"what {floating.fixed} sends has that address",
                ),
                strict=True,
            )
        ),
    ]


def gone(cloud: Cloud, floating: Floating, port: Link) -> list[Want]:
    """Want nothing of it."""
    space = netns(cloud, floating)
    have = cloud.host.namespace(space).iptables.splitlines()
    return [
        *(
            Want(
                rule not in have,
                "a rule of the floating IP goes",
                f"ip netns exec {space} iptables -t nat {rule.replace('-A', '-D', 1)}",
            )
            for rule in rules(floating)
        ),
        Want(
            f"{floating.address}/32" not in port.addresses,
            f"{floating.address} leaves the gateway port",
            f"ip -n {space} addr del {floating.address}/32 dev {port.name}",
        ),
        *no_flows(cloud, floating, port),
    ]
