"""Ping through the router and show what became of it: shared by three chapters."""

from __future__ import annotations

import re
from collections.abc import Container
from dataclasses import dataclass
from ipaddress import IPv4Interface

from osawslab.cloud import floating
from osawslab.cloud.handbuilt import Cloud
from osawslab.host.facts import Link
from osawslab.host.ping import Ping, ping
from osawslab.observe import topology
from osawslab.report import Picture, Table
from osawslab.steps.site import Site
from osawslab.steps.work import Ground


@dataclass(frozen=True)
class Trial:
    """A ping through the router, and the VPC's drops meanwhile (None where nobody can tell)."""

    ping: Ping
    drops: dict[str, int] | None


def attempt(site: Site, facts: Ground) -> Trial:
    """Ping from the router while the provider NIC is captured."""
    called = facts.cloud.names
    nic = facts.cloud.require_provider_nic()
    before = site.target.vantage.drops()
    done = ping(
        facts.host, called.router_netns, called.gateway, site.settings.ping_address, nic.name
    )
    after = site.target.vantage.drops()
    drops = None
    if before is not None and after is not None:
        drops = {reason: after[reason] - before[reason] for reason in ("mac", "arp", "ip")}
    return Trial(done, drops)


def owners(facts: Ground, trial: Ping | None = None) -> dict[str, str]:
    """Name the owners of the MACs that may be seen."""
    cloud = facts.cloud
    nic, gateway = cloud.provider_nic, cloud.gateway
    found: dict[str, str] = {}
    for neighbour in trial.neighbours if trial else ():
        if neighbour.get("dst") == cloud.settings.provider_gateway and neighbour.get("lladdr"):
            found[str(neighbour["lladdr"])] = "VPC router"
    if nic is not None:
        found[nic.mac] = "provider NIC"
    if gateway is not None:
        found[gateway.mac] = "router gateway"
    return found


def tables(facts: Ground, done: Ping, known: dict[str, str] | None = None) -> tuple[Table, ...]:
    """Show the capture as a conversation, and the router's neighbours."""
    from osawslab.observe import conversation  # these two load numpy: only who looks needs it
    from osawslab.observe.capture import load_capture

    known = owners(facts, done) if known is None else known
    nic = facts.cloud.require_provider_nic()
    caption = f"Captured on {nic.name}, the provider NIC"
    return (
        load_capture(done.captured, known, caption).conversation
        if done.captured
        else Table(caption, conversation.COLUMNS, ()),
        conversation.neighbours(done.neighbours, known, "Neighbours of the router (ARP table)"),
    )


def picture(site: Site, facts: Ground, passes: bool | None) -> Picture:
    """Draw what is."""
    return topology.picture(drawing(site, facts, passes))


def drawing(site: Site, facts: Ground, passes: bool | None) -> topology.Topology:
    """Give what is, as values to draw; of the settings only what parts are called."""
    cloud, settings, ec2 = facts.cloud, site.settings, site.instance.ec2
    nic, gateway = cloud.provider_nic, cloud.gateway
    bridge = cloud.bridge(settings.provider_bridge)
    assert ec2.instance is not None
    assert ec2.vpc is not None
    first = str(ec2.nics["management"]["MacAddress"])
    links = cloud.host.root.links.values()
    management = next((link for link in links if link.mac == first), None)
    tenant, vm = _port(cloud.router.links.get(cloud.names.inner)), _vm(cloud)
    return topology.Topology(
        vpc_cidr=str(ec2.vpc["CidrBlock"]),
        instance=str(ec2.instance["InstanceId"]),
        instance_type=str(ec2.instance["InstanceType"]),
        management=topology.Nic(
            management.name if management else "?",
            management.mac if management else "?",
            first,
            _addresses(management) if management else (),
            facts.management_eip,
        ),
        provider=topology.Nic(
            nic.name, nic.mac, cloud.registered_mac, facts.registered, facts.provider_eip
        )
        if nic
        else None,
        bridge=settings.provider_bridge if bridge else None,
        bridge_kind="Open vSwitch" if cloud.uses_openvswitch else "Linux bridge",
        plugged=bool(nic and bridge and (cloud.translates or nic.name in bridge.ports)),
        router=cloud.names.router_netns if gateway else None,
        gateway=_port(gateway, facts.registered),
        tenant_port=tenant,
        tenant_cidr=_network(cloud.router.links.get(cloud.names.inner)),
        vm=vm,
        published=_published(facts, vm),
        floating=floating.told(ec2.further, settings.vm_address),
        passes=passes,
        rewritten=cloud.translates,
    )


def _addresses(link: Link, floating: Container[str] = ()) -> tuple[str, ...]:
    """List an interface's own addresses: a floating IP is a further one, of itself alone."""
    parted = [address.partition("/") for address in link.addresses]
    return tuple(
        address for address, _, length in parted if length != "32" or address not in floating
    )


def _port(link: Link | None, floating: Container[str] = ()) -> topology.Port | None:
    return topology.Port(link.name, link.mac, _addresses(link, floating)) if link else None


def _network(link: Link | None) -> str | None:
    """Name the network that a port is in."""
    return str(IPv4Interface(link.addresses[0]).network) if link and link.addresses else None


def _vm(cloud: Cloud) -> topology.Port | None:
    """Give the VM's port: as it is, or, of a VM that is a process, as Neutron has it."""
    name = cloud.settings.vm_name
    if not cloud.has_vm:
        return None
    link = cloud.host.namespace(cloud.names.vm_netns).links.get("eth0")
    if link is None:
        return topology.Port(name, cloud.names.vm_mac, (cloud.settings.vm_address,))
    return topology.Port(name, link.mac, _addresses(link))


def _published(facts: Ground, vm: topology.Port | None) -> tuple[str, int] | None:
    """Find the rule that leads from a port of the provider NIC's Elastic IP to the VM."""
    for line in facts.cloud.router.iptables.splitlines() if vm else ():
        found = re.search(r" --dport (\d+) .*-j DNAT --to-destination ([\d.]+)", line)
        if vm and found and found[2] in vm.addresses:
            return facts.provider_eip, int(found[1])
    return None
