"""Chapter 2: the software that carries the cloud: Open vSwitch, iptables, the VM's SSH server."""

from __future__ import annotations

from osawslab.cloud import handbuilt
from osawslab.cloud.handbuilt import PROGRAMS, Want
from osawslab.errors import MissingTool
from osawslab.report import Action, Check
from osawslab.steps import work
from osawslab.steps.site import Shown, Site
from osawslab.steps.work import Ground

NAME = "install_cloud"
LATER = ("macchanger",)  # swap_mac gets it, as the tutorial does
OPTIONAL = ("ifconfig", "tcpdump")

read = work.read


def _missing(facts: Ground) -> list[str]:
    skipped = (*LATER, *(() if facts.cloud.uses_openvswitch else ("ovs-vsctl",)))
    return [
        name for name in PROGRAMS if name not in skipped and not facts.cloud.host.programs.get(name)
    ]


def plan(site: Site, facts: Ground) -> tuple[Action, ...]:
    """Say what is missing. Raises MissingTool where it cannot be had."""
    cloud, missing = facts.cloud, _missing(facts)
    if cloud.uses_openvswitch and cloud.no_openvswitch:
        raise MissingTool(
            "the settings ask for Open vSwitch, and the instance cannot have it",
            seen=cloud.no_openvswitch,
            next='bridge = "auto"',
        )
    if not cloud.host.dpkg:
        needed = [name for name in missing if name not in OPTIONAL]
        if needed:
            raise MissingTool(
                f"the instance has no {needed[0]} and no package manager to get it",
                seen=f"missing: {', '.join(needed)}",
                next="osawslab doctor",
            )
        missing = []
    packages = sorted({PROGRAMS[name] for name in missing})
    wants = [
        Want(
            not packages,
            "the programs that the cloud is made of",
            "apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y"
            f" --no-install-recommends {' '.join(packages)}",
        )
    ]
    if cloud.uses_openvswitch:
        wants.append(
            Want(
                cloud.host.bridges is not None,
                "Open vSwitch, the cloud's switch",
                "service openvswitch-switch start",
            )
        )
    wants.append(
        handbuilt.add_bridge(
            cloud, cloud.names.integration, "the bridge that VMs and routers plug into"
        )
    )
    return work.actions(facts.host, wants)


def checks(site: Site, facts: Ground) -> tuple[Check, ...]:
    """Hold programs and switch against what the cloud needs."""
    cloud = facts.cloud
    missing = [name for name in _missing(facts) if name not in OPTIONAL]
    found = [
        Check(
            "programs",
            "all there",
            f"missing: {', '.join(missing)}" if missing else "all there",
            not missing,
            "lab.install_cloud()",
        )
    ]
    bridge = cloud.bridge(cloud.names.integration)
    kind = "Open vSwitch" if cloud.uses_openvswitch else "Linux bridge"
    seen = "none" if bridge is None else f"{kind}, datapath {bridge.datapath or 'system'}"
    found.append(
        Check("br-int", f"a bridge of {kind}", seen, bridge is not None, "lab.install_cloud()")
    )
    return tuple(found)


def show(site: Site, facts: Ground) -> Shown:
    """Say which switch the cloud uses and why."""
    if facts.cloud.uses_openvswitch:
        return Shown()
    why = facts.cloud.no_openvswitch or "the settings say so"
    return Shown(
        notes=(
            f"The cloud uses Linux bridges: {why}. What changes: no patch cable and no flows,"
            " and the provider NIC must give its MAC away, since a Linux bridge keeps frames to a"
            " port's own MAC.",
        )
    )


def undo(site: Site, facts: Ground) -> tuple[Action, ...]:
    """Remove the bridge and stop the switch; packages stay."""
    cloud, name = facts.cloud, facts.cloud.names.integration
    if not cloud.uses_openvswitch:
        return work.actions(
            facts.host, [Want(cloud.bridge(name) is None, "no br-int", f"ip link del {name}")]
        )
    running = cloud.host.bridges is not None
    return work.actions(
        facts.host,
        [
            Want(cloud.bridge(name) is None, "no br-int", f"ovs-vsctl --if-exists del-br {name}"),
            Want(not running, "Open vSwitch stops", "service openvswitch-switch stop"),
        ],
    )
