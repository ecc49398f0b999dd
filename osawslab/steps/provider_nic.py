"""Chapter 3: the provider NIC: noted, up, without an address, a port of the provider bridge."""

from __future__ import annotations

from dataclasses import replace

from osawslab.cloud import handbuilt
from osawslab.cloud.handbuilt import ALIAS, NOTE, Cloud, Want
from osawslab.host import interfaces
from osawslab.report import Action, Check
from osawslab.steps import clearing, work
from osawslab.steps.site import Shown, Site
from osawslab.steps.work import Ground

NAME = "provider_nic"


def read(site: Site) -> Ground:
    """Read the instance, and what stands in the way. Raises StepNotReady before `provision`."""
    ground = work.read(site)
    return replace(ground, obstacles=clearing.look(ground.host, ground.cloud, clearing.NIC))


def _files(cloud: Cloud, nic: str) -> list[interfaces.Wanted]:
    host = cloud.host
    return interfaces.wanted(
        nic,
        cloud.registered_mac,
        has_ifupdown=host.ifupdown,
        has_networkd=host.systemd,
        has_netplan=host.netplan,
        has_cloud_init=host.cloud_init,
    )


def plan(site: Site, facts: Ground) -> tuple[Action, ...]:
    """Say what is missing; the note comes before any change."""
    cloud = facts.cloud
    nic = cloud.require_provider_nic()
    mac = cloud.registered_mac
    wants = [
        *facts.obstacles,
        Want(
            (cloud.host.files.get(NOTE) or "").strip() == mac,
            "note the NIC's registered MAC before anything changes",
            f"mkdir -p {handbuilt.FOLDER} && echo {mac} > {NOTE}",
        ),
        Want(
            nic.alias == ALIAS + mac,
            "the note goes with the interface, so that it is found when its MAC has moved",
            f"ip link set {nic.name} alias '{ALIAS}{mac}'",
        ),
    ]
    wants += [
        Want(False, file.why, f"cat > {file.path} <<'END'\n{file.text}END")
        for file in interfaces.lacking(_files(cloud, nic.name), cloud.host.files)
    ]
    wants += [
        Want(not nic.addresses, "no address of the host's", f"ip addr flush dev {nic.name}"),
        Want(
            nic.up,
            "up, as the stanza says",
            f"ifup --force {nic.name}" if cloud.host.ifupdown else f"ip link set {nic.name} up",
        ),
    ]
    wants.append(
        Want(
            nic.mtu >= handbuilt.MTU,
            "whole packets pass",
            f"ip link set {nic.name} mtu {handbuilt.MTU}",
        )
    )
    wants += handbuilt.provider_bridge(cloud)
    return work.actions(facts.host, wants)


def checks(site: Site, facts: Ground) -> tuple[Check, ...]:
    """Hold the NIC and its bridge against what the router needs."""
    cloud, next = facts.cloud, "lab.provider_nic()"
    nic, name = cloud.provider_nic, site.settings.provider_bridge
    noted = (cloud.host.files.get(NOTE) or "none").strip()
    bridge = cloud.bridge(name)
    ports = sorted(bridge.ports) if bridge else []
    if cloud.translates and nic is not None:  # one bridge further
        ports.append(nic.name)
    return (
        Check(
            "the note of the registered MAC",
            cloud.registered_mac,
            noted,
            noted == cloud.registered_mac,
            next,
        ),
        Check(
            "the provider NIC",
            "up",
            f"{nic.name} {'up' if nic.up else 'down'}" if nic else "not found",
            nic is not None and nic.up,
            next,
        ),
        Check(
            "addresses of the host on it",
            "none",
            ", ".join(nic.addresses) or "none" if nic else "not found",
            nic is not None and not nic.addresses,
            next,
        ),
        Check(
            f"ports of {name}",
            "the provider NIC among them",
            ", ".join(ports) or "none",
            nic is not None and nic.name in ports,
            next,
        ),
        *clearing.checks(facts.obstacles, next),
    )


def show(site: Site, facts: Ground) -> Shown:
    """Nothing besides the checks."""
    return Shown()


def undo(site: Site, facts: Ground) -> tuple[Action, ...]:
    """Give the NIC back: out of the bridge, down, without note and stanza."""
    cloud, name = facts.cloud, site.settings.provider_bridge
    nic = cloud.provider_nic
    remove = (
        f"ovs-vsctl --if-exists del-br {name}" if cloud.uses_openvswitch else f"ip link del {name}"
    )
    wants = [Want(cloud.bridge(name) is None, f"no {name}", remove)]
    if nic is not None:
        down = f"ip link set {nic.name} down"
        if cloud.host.ifupdown:
            down = f"ifdown --force {nic.name}; {down}"
        wants.append(Want(not nic.up, f"{nic.name} is down", down))
        wants.append(Want(not nic.alias, "its alias is gone", f"ip link set {nic.name} alias ''"))
    paths = (*interfaces.PATHS, NOTE)
    gone = [path for path in paths if cloud.host.files.get(path) is not None]
    wants.append(Want(not gone, "note and stanza are gone", f"rm -f {' '.join(gone)}"))
    return work.actions(facts.host, wants)
