"""What the tables of state are made of: EC2's books, and the host in one round trip."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from ipaddress import IPv4Network
from typing import Any

from osawslab.aws import facts as ec2_facts
from osawslab.cloud import handbuilt
from osawslab.cloud.handbuilt import Cloud
from osawslab.errors import LabError, StepFailed
from osawslab.observe import nexthops, owners, state
from osawslab.observe.difference import State
from osawslab.observe.owners import DHCP, Nic, Port
from osawslab.observe.state import Sight
from osawslab.settings import Settings
from osawslab.steps.site import Site


def read(site: Site) -> Sight:
    """Read EC2 and the instance. Raises StepNotReady before `provision`, CannotReach."""
    instance = site.instance
    return of(
        handbuilt.read(instance.host, site.settings, instance.ec2.registered_mac, learned=True),
        instance.ec2,
    )


def show(site: Site, make: Callable[[Sight], State]) -> State:
    """Make a table of what is now. Raises StepFailed where a tool says what cannot be read."""
    try:
        return make(read(site))
    except LabError:
        raise
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise StepFailed(
            "the instance's tools said what cannot be read",
            seen=f"{type(error).__name__}: {error}",
            next='look at lab.shell("ip -j addr; ip -j route; bridge -j fdb")',
        ) from error


def of(cloud: Cloud, ec2: ec2_facts.Facts) -> Sight:
    """Name places, interfaces and owners by the facts."""
    settings, called, host = cloud.settings, cloud.names, cloud.host
    spaces = {"": "host", called.router_netns: "router"}
    if called.vm_netns:
        spaces[called.vm_netns] = settings.vm_name
    for name in host.namespaces:
        spaces.setdefault(name, "DHCP" if name.startswith(DHCP) else name)
    nics = tuple(
        Nic(
            f"{role} NIC",
            str(nic["MacAddress"]),
            tuple(str(each["PrivateIpAddress"]) for each in nic["PrivateIpAddresses"]),
            *_leads(ec2.addresses.get(role)),
        )
        for role, nic in sorted(ec2.nics.items())
    ) + tuple(
        Nic("provider NIC", ec2.registered_mac, (), *_leads(each))  # of a floating IP: one more
        for each in ec2.further
        if each.get("AssociationId")
    )
    routers = tuple(
        str(IPv4Network(cidr)[1]) for cidr in (settings.management_cidr, settings.provider_cidr)
    )
    known = {
        settings.vpc_cidr: "VPC",
        settings.management_cidr: "management subnet",
        settings.provider_cidr: "provider subnet",
        settings.tenant_cidr: "tenant network",
    }
    if settings.cloud == "openstack" and cloud.has_vm:  # a process of Nova's: no namespace tells
        known |= {called.vm_mac: settings.vm_name, settings.vm_address: settings.vm_name}
    return Sight(
        host,
        owners.read(
            host,
            places=spaces,
            parts=_parts(cloud, settings, nics),
            nics=nics,
            gateways=routers,
            known=known,
            neighbours=[(each["address"], each["mac"]) for each in state.neighbours(host)],
        ),
        spaces,
        nics,
        tuple(
            (str(each["DestinationCidrBlock"]), nexthops.target(each))
            for each in ec2.routes
            if "DestinationCidrBlock" in each
        ),
    )


def _leads(address: Mapping[str, Any] | None) -> tuple[str, str]:
    """Give an Elastic IP that is associated, and the address that it leads to."""
    if not address or not address.get("AssociationId"):
        return "", ""
    return str(address["PublicIp"]), str(address.get("PrivateIpAddress", ""))


def _parts(cloud: Cloud, settings: Settings, nics: tuple[Nic, ...]) -> dict[Port, str]:
    """Name the interfaces that have a part in the lab, by the facts that tell of them."""
    called, nic = cloud.names, cloud.provider_nic
    parts = {
        (called.router_netns, called.gateway): "router gateway",
        (called.router_netns, called.inner): "router tenant port",
        ("", called.tap): f"cable to {settings.vm_name}",
        # Linux bridges: each port of the router is a cable whose other end is the host's.
        ("", f"tap{called.gateway[3:]}"): "cable to the router gateway",
        ("", f"tap{called.inner[3:]}"): "cable to the router tenant port",
    }
    if called.vm_netns:
        parts[called.vm_netns, "eth0"] = settings.vm_name
    if nic is not None:
        parts["", nic.name] = "provider NIC"
    management = next((each.mac for each in nics if each.role == "management NIC"), "")
    for link in cloud.host.root.links.values():
        if management in (link.permanent_mac or link.mac, link.mac) and link.kind != "bridge":
            parts.setdefault(("", link.name), "management NIC")
    return parts
