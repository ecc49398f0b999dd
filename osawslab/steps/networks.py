"""Chapter 4: the tenant network, the router with the registered IP, and a VM."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from osawslab.cloud import handbuilt, router, vm
from osawslab.cloud.handbuilt import Cloud, Want
from osawslab.cloud.openstack.lasting import second_address
from osawslab.errors import StepNotReady
from osawslab.report import Action, Check, Table
from osawslab.settings import Settings
from osawslab.steps import clearing, work
from osawslab.steps.site import Shown, Site
from osawslab.steps.work import Ground

NAME = "networks"


def read(site: Site) -> Ground:
    """Read the instance, and what stands in the way. Raises StepNotReady before `provision`."""
    ground = work.read(site)
    return replace(ground, obstacles=clearing.look(ground.host, ground.cloud, clearing.ROUTER))


def plan(site: Site, facts: Ground) -> tuple[Action, ...]:
    """Say what is missing of router and VM."""
    cloud = facts.cloud
    for name, step in (
        (cloud.names.integration, "install_cloud"),
        (site.settings.provider_bridge, "provider_nic"),
    ):
        if cloud.bridge(name) is None:
            raise StepNotReady(f"there is no bridge {name} yet", seen="none", next=f"lab.{step}()")
    return work.actions(
        facts.host,
        (*facts.obstacles, *handbuilt.patch(cloud), *router.wants(cloud), *vm.wants(cloud)),
    )


def unregistered(cloud: Cloud, registered: Collection[str]) -> list[str]:
    """List the gateway port's addresses, besides the router's own, that AWS has not registered."""
    gateway = cloud.gateway
    own = [cloud.settings.provider_address, *registered]
    if cloud.settings.cloud == "openstack":
        own.append(second_address(cloud.settings))  # registered too, by `make_it_last`
    return [a for a in (gateway.addresses if gateway else ()) if a.partition("/")[0] not in own]


def checks(site: Site, facts: Ground) -> tuple[Check, ...]:
    """Hold router and VM against the settings."""
    cloud, settings, next = facts.cloud, site.settings, "lab.networks()"
    vm_netns = cloud.host.namespace(cloud.names.vm_netns)
    nic = vm_netns.links.get("eth0")
    own = [a.partition("/")[0] for a in nic.addresses] if nic else []
    return (
        *router_checks(cloud, facts.registered),
        vm_address(settings, own),
        Check(
            f"{settings.vm_name}'s SSH server",
            "listens",
            "listens" if vm_netns.listens else "does not listen",
            vm_netns.listens,
            next,
        ),
        *clearing.checks(facts.obstacles, next),
    )


def vm_address(settings: Settings, own: list[str]) -> Check:
    """Hold the VM's addresses against the settings, whoever made it."""
    return Check(
        f"{settings.vm_name}'s address",
        settings.vm_address,
        ", ".join(own) or "none",
        settings.vm_address in own,
        "lab.networks()",
    )


def router_checks(cloud: Cloud, registered: Collection[str] = ()) -> tuple[Check, ...]:
    """Hold the router's namespace against the settings, whoever made it."""
    settings, next = cloud.settings, "lab.networks()"
    gateway, called = cloud.gateway, cloud.names
    addresses = [a.partition("/")[0] for a in gateway.addresses] if gateway else []
    strange = unregistered(cloud, registered)
    well = "no floating IP on the router"
    if unregistered(cloud, ()) != strange:
        well = "registered ones only"
    default = cloud.router.has_default(settings.provider_gateway, called.gateway)
    snat = any("-j SNAT" in line for line in cloud.router.iptables.splitlines())
    return (
        Check(
            "the router's gateway address",
            f"{settings.provider_address}, registered for the provider NIC",
            ", ".join(addresses) or "none",
            settings.provider_address in addresses,
            next,
        ),
        Check(
            "its default route",
            f"via {settings.provider_gateway}",
            f"via {settings.provider_gateway}" if default else "none",
            default,
            next,
        ),
        Check("source NAT", "on", "on" if snat else "off", snat, next),
        Check(
            "floating IPs on the router",
            well,
            ", ".join(strange) or well,
            not strange,
            "each needs a registered address of its own: take it off the gateway port",
        ),
    )


def show(site: Site, facts: Ground) -> Shown:
    """Show the ports of the router."""
    return Shown(tables=(ports(facts.cloud),))


def ports(cloud: Cloud) -> Table:
    """Tell of the router's ports as they are on the instance."""
    rows = tuple(
        (link.name, link.mac, ", ".join(link.addresses), str(link.mtu))
        for name in (cloud.names.gateway, cloud.names.inner)
        if (link := cloud.router.links.get(name))
    )
    return Table("Ports of the router", ("port", "MAC", "addresses", "MTU"), rows)


def undo(site: Site, facts: Ground) -> tuple[Action, ...]:
    """Remove VM and router, and unplug the bridges from one another."""
    cloud, called = facts.cloud, facts.cloud.names
    host = cloud.host
    provider, inner = site.settings.provider_bridge, called.integration
    near, far = f"int-{provider}"[:15], f"phy-{provider}"[:15]
    kill = "ip netns pids {0} | xargs -r kill -9; ip netns del {0}"
    wants = [
        Want(name not in host.netns, why, kill.format(name))
        for name, why in ((called.vm_netns, "the VM ends"), (called.router_netns, "no router"))
    ]
    if cloud.uses_openvswitch:
        left, right = cloud.bridge(inner), cloud.bridge(provider)
        ports = [
            p for p in (called.tap, called.inner, called.gateway, near) if left and p in left.ports
        ]
        wants.append(
            Want(
                not ports,
                "their ports leave br-int",
                " && ".join(f"ovs-vsctl --if-exists del-port {inner} {p}" for p in ports)
                + f" && ovs-ofctl del-flows {inner}"
                + f" && ovs-ofctl add-flow {inner} priority=0,actions=NORMAL",
            )
        )
        wants.append(
            Want(
                right is None or far not in right.ports,
                "the patch cable is pulled",
                f"ovs-vsctl --if-exists del-port {provider} {far} && ovs-ofctl del-flows {provider}"
                f" && ovs-ofctl add-flow {provider} priority=0,actions=NORMAL",
            )
        )
    outer = [
        name
        for name in (called.tap, "tap" + called.inner[3:], "tap" + called.gateway[3:])
        if name in host.root.links
    ]
    wants += [
        Want(False, f"{name} is gone", f"ip link del {name} 2>/dev/null || true") for name in outer
    ]
    key = host.files.get(handbuilt.VM_HOST_KEY)
    wants.append(Want(key is None, "the VM's keys are gone", f"rm -rf {handbuilt.VM_FOLDER}"))
    return work.actions(facts.host, wants)
