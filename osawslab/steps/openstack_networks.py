"""Chapter 4 with `cloud = "openstack"`: networks, router and VM, made by Neutron and Nova."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any

from osawslab.cloud import handbuilt
from osawslab.cloud.handbuilt import FOLDER, NAMES, VM_FOLDER, VM_HOST_KEY
from osawslab.cloud.names import Names
from osawslab.cloud.openstack import api, lasting, project, unmaking
from osawslab.cloud.openstack import facts as installed
from osawslab.cloud.openstack.making import Deed, Maker
from osawslab.cloud.openstack.project import Project
from osawslab.errors import LabTimeout, StepNotReady
from osawslab.keys import key_file
from osawslab.report import Action, Check, Table
from osawslab.steps import clearing, networks, openstack_install, work
from osawslab.steps.site import Shown, Site
from osawslab.steps.work import Ground

NAME = "networks"
ROUTER_SECONDS = 60.0  # the L3 agent makes a router within seconds
PAUSE_SECONDS = 0.3


@dataclass(frozen=True)
class Seen:
    """The instance, and what Neutron and Nova have; None where they cannot be asked."""

    ground: Ground
    openstack: Any  # openstack.connection.Connection
    project: Project | None

    @property
    def names(self) -> Names | None:
        """What Neutron has called everything; None before it has.

        Its own MAC for the gateway port stays noted, also where it was told the registered one.
        """
        cloud = self.ground.cloud
        found = self.project.names(cloud.settings) if self.project else None
        if found and found.gateway_mac == cloud.registered_mac:
            return replace(found, gateway_mac=cloud.names.gateway_mac)
        return found


def read(site: Site) -> Seen:
    """Read instance and OpenStack. Raises StepNotReady before `install_cloud`."""
    ground = networks.read(site)
    there = installed.read(ground.host, site.settings)
    if not there.secrets or "guest" not in there.stamps:
        return Seen(ground, None, None)
    told = openstack_install.cloud(site, ground.host)
    with api.own_errors():
        return Seen(ground, told, project.read(told, site.settings))


def plan(site: Site, facts: Seen) -> tuple[Action, ...]:
    """Say what is missing in OpenStack, and of the note of its names on the instance.

    Raises StepNotReady, also for a router with DVR or HA.
    """
    ground, found = facts.ground, facts.project
    if found is None:
        raise StepNotReady(
            "OpenStack is not installed yet", seen="not installed", next="lab.install_cloud()"
        )
    if found.router is not None:
        lasting.require_plain(found.router)
    bridge, nic = ground.cloud.bridge(site.settings.provider_bridge), ground.cloud.provider_nic
    plugged = ground.cloud.translates or bool(bridge and nic and nic.name in bridge.ports)
    if bridge is None or nic is None or not plugged:
        raise StepNotReady(
            f"the provider NIC is no port of {site.settings.provider_bridge} yet",
            seen="none" if bridge is None else ", ".join(sorted(bridge.ports)) or "no ports",
            next="lab.provider_nic()",
        )
    public = key_file(site.target.keys).with_suffix(".pub").read_text()
    maker = Maker(facts.openstack, site.settings, found, public)
    todo = [*work.actions(ground.host, ground.obstacles), *actions(maker.deeds())]
    if todo or not _noted(facts):
        todo.append(
            Action(
                "instance",
                "note what Neutron has called the router and its ports",
                f"ip netns list; cat {NAMES} {VM_HOST_KEY}",
                lambda: _note(site, facts),
            )
        )
    return tuple(todo)


def actions(deeds: Iterable[Deed]) -> Iterable[Action]:
    """Turn deeds into actions whose errors are our own."""
    for deed in deeds:

        def do(deed: Deed = deed) -> None:
            with api.own_errors():
                deed.do()

        yield Action("openstack", deed.why, deed.command, do)


def _noted(facts: Seen) -> bool:
    files, names = facts.ground.cloud.host.files, facts.names
    key = (files.get(VM_HOST_KEY) or "").strip()
    return (
        names is not None
        and facts.project is not None
        and files.get(NAMES) == _text(names)
        and key == facts.project.host_key
        and facts.ground.cloud.gateway is not None
    )


def _text(names: Names) -> str:
    return json.dumps(asdict(names)) + "\n"


def _note(site: Site, facts: Seen) -> None:
    """Write the names down, and wait until the L3 agent has made the router."""
    with api.own_errors():
        found = project.read(facts.openstack, site.settings)
    names = replace(facts, project=found).names
    if names is None or not found.host_key:
        raise StepNotReady("Neutron has no router or no VM", seen="none", next="lab.networks()")
    host = facts.ground.host
    host.run(f"mkdir -p {FOLDER} && cat > {NAMES}", _text(names))
    host.run(f"mkdir -p {VM_FOLDER} && cat > {VM_HOST_KEY}", found.host_key + "\n")
    deadline = time.monotonic() + ROUTER_SECONDS
    while True:
        cloud = handbuilt.read(host, site.settings, facts.ground.cloud.registered_mac)
        failed = [
            check for check in networks.router_checks(cloud, facts.ground.registered) if not check
        ]
        if not failed:
            return
        if time.monotonic() > deadline:
            raise LabTimeout(
                f"the L3 agent has not made the router after {ROUTER_SECONDS:.0f} s",
                seen="; ".join(f"{check.what}: {check.seen}" for check in failed),
                next="lab.shell('journalctl -n 20 -u neutron-l3-agent')",
            )
        time.sleep(PAUSE_SECONDS)


def checks(site: Site, facts: Seen) -> tuple[Check, ...]:
    """Hold the router on the instance, and the VM in Nova, against the settings."""
    settings, next = site.settings, "lab.networks()"
    found = facts.project
    server = found.server if found else None
    own = [
        str(each["addr"])
        for each in (server.addresses or {}).get(project.TENANT, ())
    ] if server else []  # fmt: skip
    status = str(server.status) if server else "none"
    says = bool(found and found.host_key)
    return (
        *networks.router_checks(facts.ground.cloud, facts.ground.registered),
        networks.vm_address(settings, own),
        Check(f"{settings.vm_name} in Nova", "ACTIVE", status, status == "ACTIVE", next),
        Check(
            f"{settings.vm_name}'s SSH server",
            "its console says that it is ready",
            "its console says that it is ready" if says else "its console does not say so",
            says,
            next,
        ),
        *clearing.checks(facts.ground.obstacles, next),
    )


def _router(router: Any) -> Table:
    leads = router.external_gateway_info or {}
    addresses = [str(each["ip_address"]) for each in leads.get("external_fixed_ips", ())]
    routes = [f"{each['destination']} via {each['nexthop']}" for each in router.routes or ()]
    row = (
        str(router.name),
        str(router.status),
        ", ".join(addresses) or "none",
        "on" if leads.get("enable_snat") else "off",
        ", ".join(routes) or "its networks' alone",
    )
    columns = ("router", "state", "external address", "SNAT", "routes")
    return Table("Router as Neutron has it", columns, (row,))


def show(site: Site, facts: Seen) -> Shown:
    """Show the router and its ports, on the instance and as Neutron has them, and the VM."""
    found, cloud = facts.project, facts.ground.cloud
    tables = [networks.ports(cloud)]
    if found is not None and found.router:
        tables.append(_router(found.router))
    if found is not None:
        known = (
            (found.gateway, "router gateway"),
            (found.inner, "router, tenant side"),
            (found.port, "VM"),
        )
        rows = tuple(
            (
                what,
                str(port.mac_address),
                ", ".join(str(each["ip_address"]) for each in port.fixed_ips),
                str(port.device_owner),
                str(port.status),
            )
            for port, what in known
            if port
        )
        tables.append(
            Table("Ports as Neutron has them", ("whose", "MAC", "address", "owner", "state"), rows)
        )
        last = [line for line in found.console.splitlines() if line.startswith("guest: ready")]
        if found.server is not None:
            vms = (
                (
                    str(found.server.name),
                    str(found.server.status),
                    str(getattr(found.server, "instance_name", "") or ""),
                    (last or [""])[-1],
                ),
            )
            columns = ("VM", "state", "hypervisor's name for it", "last words on its console")
            tables.append(Table("VMs as Nova has them", columns, vms))
    return Shown(tables=tuple(tables))


def undo(site: Site, facts: Seen) -> tuple[Action, ...]:
    """Remove VM, router and networks from OpenStack, and the note of their names."""
    todo: list[Action] = []
    if facts.project is not None:
        todo += actions(unmaking.unmake(facts.openstack, facts.project))
    files = facts.ground.cloud.host.files
    if files.get(NAMES) is not None or files.get(VM_HOST_KEY) is not None:
        todo.append(
            work.action(facts.ground.host, "the note is gone", f"rm -rf {NAMES} {VM_FOLDER}")
        )
    return tuple(todo)
