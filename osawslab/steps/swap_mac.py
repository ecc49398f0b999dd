"""Chapter 6: the MAC swap. The gateway port takes over the provider NIC's registered MAC.

AWS lets a frame out only with the registered pair of MAC and IP. The router has the IP already;
now it gets the MAC.

`swap`, the tutorial's way: the NIC gets another MAC first. `share`, for NICs whose driver can
change none (ena, every Nitro type): the NIC keeps its MAC. With Open vSwitch that is enough,
since a bridge's port hands every frame over; a Linux bridge must be told not to keep the frames
for that MAC to itself (its permanent entry in the forwarding table, FDB).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from osawslab.aws.facts import ena
from osawslab.cloud.handbuilt import ALIAS, FOLDER, NOTE, REFUSAL, Cloud, Want
from osawslab.errors import Refused, StepFailed, StepNotReady
from osawslab.report import Action, Check, Table
from osawslab.steps import trial, work
from osawslab.steps.site import Shown, Site
from osawslab.steps.work import Ground

NAME = "swap_mac"


@dataclass(frozen=True)
class Seen:
    """The ground, and whether EC2 says that the instance type's NICs are ENA."""

    ground: Ground
    ena: bool

    @property
    def cloud(self) -> Cloud:
        """The cloud on the instance."""
        return self.ground.cloud

    @property
    def strategy(self) -> str:
        """How the registered MAC gets to the gateway port."""
        if self.cloud.settings.strategy != "auto":
            return self.cloud.settings.strategy
        return "share" if self.ena else "swap"

    @property
    def reason(self) -> str:
        """Why this strategy."""
        if self.cloud.settings.strategy != "auto":
            return "as the settings say"
        if self.ena:
            return (
                "this instance type's NIC driver, ena, can change no MAC, so the NIC keeps its own"
            )
        return "this instance type's NIC driver, vif, can change its MAC, as in the tutorial"


def read(site: Site) -> Seen:
    """Read the instance, and what EC2 says of its type. Raises StepNotReady."""
    instance = site.instance.ec2.instance
    assert instance is not None
    return Seen(work.read(site), ena(site.ec2, str(instance["InstanceType"])))


def plan(site: Site, facts: Seen) -> tuple[Action, ...]:
    """Say what is missing of the sub-steps."""
    cloud = facts.cloud
    gateway, nic = cloud.require_router(), cloud.require_provider_nic()
    called, mac = cloud.names, cloud.registered_mac
    noted = (cloud.host.files.get(NOTE) or "").strip()
    if noted != mac or nic.alias != ALIAS + mac:
        raise StepNotReady(
            "the NIC's registered MAC is not noted, and it must be before anything changes",
            seen=noted or "no note",
            next="lab.provider_nic()",
        )
    tool = bool(cloud.host.programs.get("macchanger"))
    change = (
        f"macchanger --mac={called.other_mac} {nic.name}"
        if tool or cloud.host.dpkg
        else f"ip link set {nic.name} address {called.other_mac}"
    )
    wants = [
        Want(
            tool or not cloud.host.dpkg,
            "the tool the tutorial changes MACs with",
            "DEBIAN_FRONTEND=noninteractive apt-get install -q -y"
            " --no-install-recommends macchanger",
        )
    ]
    wants += _swap(cloud, change) if facts.strategy == "swap" else _share(facts, change)
    wants += [
        Want(
            gateway.mac == mac,
            "the gateway port gets the registered MAC, and forgets what it learned with the other",
            f"ip -n {called.router_netns} link set {called.gateway} address {mac}"
            f" && ip -n {called.router_netns} neigh flush dev {called.gateway}",
        ),
        Want(
            cloud.router.has_default(site.settings.provider_gateway, called.gateway),
            "the default route is still there",
            f"ip -n {called.router_netns} route replace default"
            f" via {site.settings.provider_gateway} dev {called.gateway}",
        ),
    ]
    actions = work.actions(facts.ground.host, wants)
    return tuple(_explained(action) if facts.ena else action for action in actions)


def _explained(action: Action) -> Action:
    """Have an action say what to do instead where the driver refuses a MAC."""

    def do() -> None:
        try:
            action.do()
        except StepFailed as error:
            if "Operation not supported" not in error.seen:
                raise
            raise Refused(
                "the NIC's driver can change no MAC, as with every Nitro instance type",
                seen=error.seen,
                next='strategy = "share" (or "auto"), then lab.swap_mac()',
            ) from None

    return replace(action, do=do)


def _swap(cloud: Cloud, change: str) -> list[Want]:
    nic = cloud.require_provider_nic()
    return [
        Want(
            nic.mac != cloud.registered_mac,
            "the NIC gets another MAC",
            # In parentheses: who pastes it keeps the shell.
            f"(ip link set {nic.name} down; {change}; done=$?; ip link set {nic.name} up;"
            " exit $done)",
        ),
        Want(nic.up, "the NIC is up", f"ip link set {nic.name} up"),
    ]


def _share(facts: Seen, change: str) -> list[Want]:
    cloud = facts.cloud
    nic, mac = cloud.require_provider_nic(), cloud.registered_mac
    wants = [
        Want(
            not facts.ena or cloud.host.files.get(REFUSAL) is not None,
            "ask the driver for another MAC, as the tutorial does, and keep its answer",
            f"mkdir -p {FOLDER}; {change} > {REFUSAL} 2>&1 || true",
        ),
        Want(
            nic.mac == mac,
            "the NIC keeps its own MAC",
            f"ip link set {nic.name} down && ip link set {nic.name} address {mac};"
            f" ip link set {nic.name} up",
        ),
    ]
    bridge = cloud.settings.provider_bridge
    if cloud.uses_openvswitch:
        local = cloud.host.root.links.get(bridge)
        wants.append(
            Want(
                local is not None and local.mac == cloud.names.bridge_mac,
                "the bridge's own port never takes that MAC",
                f"ovs-vsctl set bridge {bridge} other-config:hwaddr={cloud.names.bridge_mac}",
            )
        )
        return wants
    outer = "tap" + cloud.names.gateway[3:]
    wants.append(
        Want(
            not cloud.host.forwards_locally(mac, nic.name),
            "the bridge keeps no frames for that MAC to itself",
            f"bridge fdb del {mac} dev {nic.name} master",
        )
    )
    wants.append(
        Want(
            cloud.host.forwards_to(mac, outer),
            "it hands them to the gateway port",
            f"bridge fdb replace {mac} dev {outer} master static",
        )
    )
    return wants


def checks(site: Site, facts: Seen) -> tuple[Check, ...]:
    """Hold both MACs against AWS's registered one."""
    cloud, next = facts.cloud, "lab.swap_mac()"
    nic, gateway, mac = cloud.provider_nic, cloud.gateway, cloud.registered_mac
    swaps = facts.strategy == "swap"
    right = nic is not None and (nic.mac != mac) == swaps
    found = [
        Check(
            "the gateway port's MAC",
            f"{mac}, the registered one",
            gateway.mac if gateway else "no gateway port",
            gateway is not None and gateway.mac == mac,
            next,
        ),
        Check(
            "the provider NIC's own MAC",
            "another one" if swaps else f"{mac}, shared with the gateway port",
            nic.mac if nic else "not found",
            right,
            next,
        ),
    ]
    if not swaps and not cloud.uses_openvswitch:
        outer = "tap" + cloud.names.gateway[3:]
        there = cloud.host.forwards_to(mac, outer)
        found.append(
            Check(
                "the bridge's forwarding entry for that MAC",
                f"leads to {outer}",
                f"leads to {outer}" if there else "does not",
                there,
                next,
            )
        )
    return tuple(found)


def show(site: Site, facts: Seen) -> Shown:
    """Show who has which MAC now; whether the frames pass, nobody has looked yet."""
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
    notes = [f"strategy {facts.strategy}: {facts.reason}"]
    refusal = cloud.host.files.get(REFUSAL)
    if facts.strategy == "share" and refusal:
        notes.append("What the driver said to another MAC: " + refusal.strip().splitlines()[0])
    if not cloud.host.programs.get("macchanger"):
        notes.append("macchanger is not to be had here: `ip link set address` did its part.")
    return Shown(
        notes=tuple(notes),
        tables=(Table("Who has which MAC", ("who", "interface", "MAC", "for AWS"), rows),),
        pictures=(trial.picture(site, facts.ground, None),),
    )


def undo(site: Site, facts: Seen) -> tuple[Action, ...]:
    """Give everything its first MAC back, the gateway port first."""
    cloud, called = facts.cloud, facts.cloud.names
    nic, gateway, mac = cloud.provider_nic, cloud.gateway, cloud.registered_mac
    outer, bridge = "tap" + called.gateway[3:], cloud.settings.provider_bridge
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
        wants.append(
            Want(
                cloud.uses_openvswitch or not cloud.host.forwards_to(mac, outer),
                "the bridge's forwarding entry is the first again",
                f"bridge fdb del {mac} dev {outer} master;"
                f" bridge fdb replace {mac} dev {nic.name} master permanent",
            )
        )
    local = cloud.host.root.links.get(bridge)
    wants.append(
        Want(
            not cloud.uses_openvswitch or local is None or local.mac != called.bridge_mac,
            "the bridge chooses its own MAC again",
            f"ovs-vsctl remove bridge {bridge} other-config hwaddr",
        )
    )
    wants.append(
        Want(
            cloud.host.files.get(REFUSAL) is None,
            "the driver's answer is forgotten",
            f"rm -f {REFUSAL}",
        )
    )
    return work.actions(facts.ground.host, wants)
