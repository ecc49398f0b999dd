"""NIC and gateway port share the registered MAC, for NICs whose driver can change none (ena).

With Open vSwitch that is enough, since a bridge's port hands every frame over. A Linux bridge must
be told not to keep the frames for that MAC to itself: its permanent entry for it in the forwarding
table (FDB) is removed (`br_handle_frame_finish` in the kernel's net/bridge/br_input.c).
"""

from __future__ import annotations

from osawslab.cloud.handbuilt import FOLDER, REFUSAL, Cloud, Want
from osawslab.report import Check
from osawslab.steps.strategies import gateway
from osawslab.steps.strategies.choice import Seen


def outer(cloud: Cloud) -> str:
    """Name the port of the Linux bridge that leads to the gateway port."""
    return "tap" + cloud.names.gateway[3:]


def wants(facts: Seen) -> list[Want]:
    """Want the driver's answer kept, the bridge told, and the gateway port's MAC registered."""
    cloud = facts.cloud
    return [
        Want(
            not facts.fixed or cloud.host.files.get(REFUSAL) is not None,
            "ask the driver for another MAC, as the tutorial does, and keep its answer",
            f"mkdir -p {FOLDER}; {facts.change} > {REFUSAL} 2>&1 || true",
        ),
        *(_hwaddr(cloud) if cloud.uses_openvswitch else _fdb(cloud)),
        *gateway.registered(cloud),
    ]


def _hwaddr(cloud: Cloud) -> list[Want]:
    bridge = cloud.settings.provider_bridge
    local = cloud.host.root.links.get(bridge)
    return [
        Want(
            local is not None and local.mac == cloud.names.bridge_mac,
            "the bridge's own port never takes that MAC",
            f"ovs-vsctl set bridge {bridge} other-config:hwaddr={cloud.names.bridge_mac}",
        )
    ]


def _fdb(cloud: Cloud) -> list[Want]:
    nic, mac = cloud.require_provider_nic(), cloud.registered_mac
    keeps = nic.mac == mac  # given back a moment ago, it has the permanent entry again
    return [
        Want(
            keeps and not cloud.host.forwards_locally(mac, nic.name),
            "the bridge keeps no frames for that MAC to itself",
            f"bridge fdb del {mac} dev {nic.name} master",
        ),
        Want(
            keeps and cloud.host.forwards_to(mac, outer(cloud)),
            "it hands them to the gateway port",
            f"bridge fdb replace {mac} dev {outer(cloud)} master static",
        ),
    ]


def checks(facts: Seen) -> list[Check]:
    """Hold both MACs, and a Linux bridge's entry, against what sharing needs."""
    cloud = facts.cloud
    found = gateway.checks(cloud, nic_keeps=True)
    if not cloud.uses_openvswitch:
        there = cloud.host.forwards_to(cloud.registered_mac, outer(cloud))
        found.append(
            Check(
                "the bridge's forwarding entry for that MAC",
                f"leads to {outer(cloud)}",
                f"leads to {outer(cloud)}" if there else "does not",
                there,
                gateway.NEXT,
            )
        )
    return found


def leave(cloud: Cloud) -> list[Want]:
    """Want the bridge to be as it was, and the driver's answer forgotten."""
    nic, mac, bridge = cloud.provider_nic, cloud.registered_mac, cloud.settings.provider_bridge
    found = []
    if nic is not None and not cloud.uses_openvswitch:
        found.append(
            Want(
                not cloud.host.forwards_to(mac, outer(cloud))
                and (
                    nic.mac != mac or not nic.master or cloud.host.forwards_locally(mac, nic.name)
                ),
                "the bridge's forwarding entry is the first again, by plugging the NIC in anew",
                f"bridge fdb del {mac} dev {outer(cloud)} master 2>/dev/null;"
                f" ip link set {nic.name} nomaster && ip link set {nic.name} master {bridge}",
            )
        )
    local = cloud.host.root.links.get(bridge)
    found += [
        Want(
            not cloud.uses_openvswitch or local is None or local.mac != cloud.names.bridge_mac,
            "the bridge chooses its own MAC again",
            f"ovs-vsctl remove bridge {bridge} other-config hwaddr",
        ),
        Want(
            cloud.host.files.get(REFUSAL) is None,
            "the driver's answer is forgotten",
            f"rm -f {REFUSAL}",
        ),
    ]
    return found
