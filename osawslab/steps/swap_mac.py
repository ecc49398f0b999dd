"""Chapter 6: the MAC swap. The gateway port takes over the provider NIC's registered MAC.

AWS lets a frame out only with the registered pair of MAC and IP. The router has the IP already;
now it gets the MAC, and the NIC another one, since no two interfaces on a bridge may share one.
"""

from __future__ import annotations

from osawslab.cloud.handbuilt import ALIAS, NOTE, Cloud, Want
from osawslab.errors import StepNotReady
from osawslab.report import Action, Check, Table
from osawslab.steps import trial, work
from osawslab.steps.site import Shown, Site
from osawslab.steps.work import Ground

NAME = "swap_mac"
read = work.read


def strategy(cloud: Cloud) -> tuple[str, str]:
    """Choose how the registered MAC gets to the gateway port, and say why."""
    if cloud.settings.strategy != "auto":
        return cloud.settings.strategy, "as the settings say"
    return "swap", "the driver of this NIC can change its MAC (vif, Xen)"


def plan(site: Site, facts: Ground) -> tuple[Action, ...]:
    """Say what is missing of the tutorial's sub-steps."""
    cloud = facts.cloud
    gateway, nic = cloud.require_router(), cloud.require_provider_nic()
    called, mac = cloud.names, cloud.registered_mac
    if (cloud.host.files.get(NOTE) or "").strip() != mac or nic.alias != ALIAS + mac:
        raise StepNotReady(
            "the NIC's registered MAC is not noted, and it must be before anything changes",
            seen=(cloud.host.files.get(NOTE) or "no note").strip(),
            next="lab.provider_nic()",
        )
    tool = bool(cloud.host.programs.get("macchanger"))
    wants = [
        Want(
            tool or not cloud.host.dpkg,
            "the tool the tutorial changes MACs with",
            "DEBIAN_FRONTEND=noninteractive apt-get install -q -y"
            " --no-install-recommends macchanger",
        )
    ]
    if strategy(cloud)[0] == "swap":
        change = (
            f"macchanger --mac={called.other_mac} {nic.name}"
            if tool or cloud.host.dpkg
            else f"ip link set {nic.name} address {called.other_mac}"
        )
        wants.append(
            Want(
                nic.mac != mac,
                "the NIC gets another MAC",
                f"ip link set {nic.name} down && {change}; ip link set {nic.name} up",
            )
        )
        wants.append(Want(nic.up, "the NIC is up", f"ip link set {nic.name} up"))
    wants.append(
        Want(
            gateway.mac == mac,
            "the gateway port gets the registered one, and forgets what it learned with the other",
            f"ip -n {called.router_netns} link set {called.gateway} address {mac}"
            f" && ip -n {called.router_netns} neigh flush dev {called.gateway}",
        )
    )
    wants.append(
        Want(
            cloud.router.has_default(site.settings.provider_gateway, called.gateway),
            "the default route is still there",
            f"ip -n {called.router_netns} route replace default"
            f" via {site.settings.provider_gateway} dev {called.gateway}",
        )
    )
    return work.actions(facts.host, wants)


def checks(site: Site, facts: Ground) -> tuple[Check, ...]:
    """Hold both MACs against AWS's registered one."""
    cloud, next = facts.cloud, "lab.swap_mac()"
    nic, gateway, mac = cloud.provider_nic, cloud.gateway, cloud.registered_mac
    found = [
        Check(
            "the gateway port's MAC",
            f"{mac}, the registered one",
            gateway.mac if gateway else "no gateway port",
            gateway is not None and gateway.mac == mac,
            next,
        )
    ]
    if strategy(cloud)[0] == "swap":
        found.append(
            Check(
                "the provider NIC's own MAC",
                "another one",
                nic.mac if nic else "not found",
                nic is not None and nic.mac != mac,
                next,
            )
        )
    return tuple(found)


def show(site: Site, facts: Ground) -> Shown:
    """Show who has which MAC now."""
    cloud = facts.cloud
    nic, gateway = cloud.provider_nic, cloud.gateway
    rows = tuple(
        (
            name,
            link.name,
            link.mac,
            "registered" if link.mac == cloud.registered_mac else "not registered",
        )
        for name, link in (("provider NIC", nic), ("router gateway", gateway))
        if link is not None
    )
    notes = [f"strategy {strategy(cloud)[0]}: {strategy(cloud)[1]}"]
    if not cloud.host.programs.get("macchanger"):
        notes.append("macchanger is not to be had here: `ip link set address` did its part.")
    passes = True if cloud.swapped else None
    return Shown(
        notes=tuple(notes),
        tables=(Table("Who has which MAC", ("who", "interface", "MAC", "for AWS"), rows),),
        pictures=(trial.picture(site, facts, passes),),
    )


def undo(site: Site, facts: Ground) -> tuple[Action, ...]:
    """Give both their first MACs back, the gateway port first."""
    cloud, called = facts.cloud, facts.cloud.names
    nic, gateway, mac = cloud.provider_nic, cloud.gateway, cloud.registered_mac
    wants = []
    if gateway is not None:
        wants.append(
            Want(
                gateway.mac == called.gateway_mac,
                "the gateway port gets Neutron's MAC back",
                f"ip -n {called.router_netns} link set {called.gateway}"
                f" address {called.gateway_mac}"
                f" && ip -n {called.router_netns} neigh flush dev {called.gateway}",
            )
        )
    if nic is not None:
        wants.append(
            Want(
                nic.mac == mac,
                "the NIC gets its registered MAC back",
                f"ip link set {nic.name} down && ip link set {nic.name} address {mac};"
                f" ip link set {nic.name} up",
            )
        )
    return work.actions(facts.host, wants)
