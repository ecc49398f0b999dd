"""Floating IPs of the real OpenStack: Neutron's own, at addresses that AWS has registered.

Neutron's L3 agent makes address and rules in the router (`neutron/agent/l3/router_info.py`), on
the gateway port that has the registered MAC. With `mac-nat` the flows come first.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from osawslab.cloud import floating, mac_nat
from osawslab.cloud.floating import Floating
from osawslab.cloud.handbuilt import Cloud, Want
from osawslab.cloud.openstack import api, lasting
from osawslab.cloud.openstack.making import Deed
from osawslab.cloud.openstack.project import EXTERNAL
from osawslab.errors import BadSetting, LabTimeout, StepNotReady
from osawslab.host.facts import Link
from osawslab.report import Action
from osawslab.steps import openstack_networks, work
from osawslab.steps.openstack_networks import Seen
from osawslab.steps.site import Site

AGENT_SECONDS = 60.0  # the L3 agent makes a floating IP within seconds
PAUSE_SECONDS = 0.3


def read(site: Site) -> Seen:
    """Read instance and Neutron. Raises StepNotReady before `networks`."""
    there = openstack_networks.read(site)
    if there.project is None:
        raise StepNotReady(
            "OpenStack is not installed yet", seen="not installed", next="lab.install_cloud()"
        )
    return there


def _ip(there: Seen, address: str) -> Any:
    return next(iter(there.openstack.network.ips(floating_ip_address=address)), None)


def _router(there: Seen, one: Floating) -> Any:
    assert there.project is not None
    if not one.router:
        return there.project.router
    with api.own_errors():
        return there.openstack.network.get_router(one.router)


def _port(there: Seen, router: Any, fixed: str) -> Any:
    """Find the port that has an address in one of a router's networks. Raises BadSetting."""
    network = there.openstack.network
    with api.own_errors():
        inner = {
            port.network_id
            for port in network.ports(device_id=router.id)
            if port.device_owner == "network:router_interface"
        }
        found = [
            port
            for port in network.ports(fixed_ips=f"ip_address={fixed}")
            if port.network_id in inner and not str(port.device_owner).startswith("network:")
        ]
        port = found[0] if found else None
    if port is None:
        raise BadSetting(
            f"Neutron has no port with this VM's address in a network of {router.name}",
            seen=fixed,
            next="./lab openstack port list",
        )
    return port


def _wait(site: Site, there: Seen, one: Floating, made: bool) -> None:
    """Wait until the L3 agent has made it, or taken it away. Raises LabTimeout.

    What is in the router may be an earlier one's, which the agent is about to take away: it has
    made this one when Neutron says so, too.
    """
    deadline = time.monotonic() + AGENT_SECONDS
    while (
        floating.there(cloud := work.read(site).cloud, one) != made
        or (getattr(_ip(there, one.address), "status", "") == "ACTIVE") != made
    ):
        if time.monotonic() > deadline:
            port = floating.gateway(cloud, one)
            raise LabTimeout(
                f"the L3 agent is not done with {one.address} after {AGENT_SECONDS:.0f} s",
                seen=", ".join(port.addresses) if port else "no gateway port",
                next="lab.shell('journalctl -n 20 -u neutron-l3-agent')",
            )
        time.sleep(PAUSE_SECONDS)


def flows(
    there: Seen, make: Callable[[Cloud, Floating, Link], list[Want]], one: Floating, port: Link
) -> tuple[Action, ...]:
    """List what is missing, or too much, of its flows, and of the file that makes flows last."""
    cloud, pair = there.ground.cloud, (one.address, port.mac)
    wants = [want for want in make(cloud, one, port) if not want.holds]
    if wants and cloud.lasts == "mac-nat":
        pairs = mac_nat.pairs(cloud) - {pair} | ({pair} if make is floating.flows else set())
        text = lasting.flows(cloud, pairs)
        wants.append(
            Want(False, "so it is after a boot, too", f"cat > {lasting.FLOWS} <<'END'\n{text}END")
        )
    return work.actions(there.ground.host, wants)


def made(site: Site, there: Seen, one: Floating) -> list[Action]:
    """List what is missing of it in Neutron. Raises BadSetting, StepNotReady for DVR and HA."""
    lasting.require_plain(router := _router(there, one))
    port, network = _port(there, router, one.fixed), there.openstack.network
    with api.own_errors():
        have = _ip(there, one.address)
    same = have is not None and (have.port_id, have.fixed_ip_address) == (port.id, one.fixed)
    if same and have.status == "ACTIVE" and floating.there(there.ground.cloud, one):
        return []

    def create() -> None:
        external = there.project.external.id if there.project else ""
        ip = have or network.create_ip(
            floating_network_id=external, floating_ip_address=one.address
        )
        if not same:
            network.update_ip(ip, port_id=port.id, fixed_ip_address=one.fixed)
        _wait(site, there, one, True)

    words = f"openstack floating ip create --floating-ip-address {one.address} {EXTERNAL}"
    words += f"; openstack floating ip set --port {port.id} {one.address}"
    return list(openstack_networks.actions([Deed("Neutron's floating IP", words, create)]))


def gone(site: Site, there: Seen, one: Floating) -> list[Action]:
    """List what takes it from Neutron."""
    with api.own_errors():
        have = _ip(there, one.address)
    if have is None:
        return []

    def delete() -> None:
        there.openstack.network.delete_ip(have)
        _wait(site, there, one, False)

    words = f"openstack floating ip delete {one.address}"
    return list(openstack_networks.actions([Deed("Neutron's floating IP goes", words, delete)]))
