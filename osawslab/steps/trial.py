"""Ping through the router and show what became of it: shared by three chapters."""

from __future__ import annotations

from dataclasses import dataclass

from osawslab.cloud import floating
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
    """Give what is, as values to draw."""
    cloud, settings = facts.cloud, site.settings
    nic, gateway = cloud.provider_nic, cloud.gateway
    inner = cloud.router.links.get(cloud.names.inner)
    ec2 = site.instance.ec2
    assert ec2.instance is not None
    first = ec2.nics["management"]
    management = next(
        (link for link in cloud.host.root.links.values() if link.mac == first["MacAddress"]), None
    )
    published = any(
        "--dport" in line and "-j DNAT" in line for line in cloud.router.iptables.splitlines()
    )
    return topology.Topology(
        vpc_cidr=settings.vpc_cidr,
        instance=str(ec2.instance["InstanceId"]),
        instance_type=settings.instance_type,
        management=topology.Nic(
            management.name if management else "?",
            str(first["MacAddress"]),
            str(first["MacAddress"]),
            (settings.management_address,),
            facts.management_eip,
        ),
        provider=topology.Nic(
            nic.name,
            nic.mac,
            cloud.registered_mac,
            facts.registered or (settings.provider_address,),
            facts.provider_eip,
        )
        if nic
        else None,
        bridge=settings.provider_bridge if cloud.bridge(settings.provider_bridge) else None,
        bridge_kind="Open vSwitch" if cloud.uses_openvswitch else "Linux bridge",
        router=cloud.names.router_netns if gateway else None,
        gateway=topology.Port(gateway.name, gateway.mac, settings.provider_address)
        if gateway
        else None,
        tenant_port=topology.Port(inner.name, inner.mac, settings.tenant_gateway)
        if inner
        else None,
        tenant_cidr=settings.tenant_cidr,
        vm=(settings.vm_name, settings.vm_address) if cloud.has_vm else None,
        published=(facts.provider_eip, settings.published_port) if published else None,
        floating=floating.told(ec2.further, settings.vm_address),
        passes=passes,
        rewritten=cloud.translates,
    )
