"""What the published VM needs after a reboot, and after a restart of Open vSwitch.

The hand-built cloud has no agents that make it anew. A strategy of the MAC swap says here what it
needs besides (`STRATEGIES`); all else is what the steps want, in their order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from osawslab.cloud import handbuilt, router, vm
from osawslab.cloud.handbuilt import ALIAS, Cloud, Want

Persistent = Callable[[Cloud], Iterator[Want]]


def swap(cloud: Cloud) -> Iterator[Want]:
    """Want the NIC to have its other MAC."""
    nic, other = cloud.require_provider_nic(), cloud.names.other_mac
    yield Want(
        nic.mac != cloud.registered_mac,
        "the NIC gets its other MAC again",
        f"ip link set {nic.name} down; ip link set {nic.name} address {other};"
        f" done=$?; ip link set {nic.name} up; exit $done",
    )


def share(cloud: Cloud) -> Iterator[Want]:
    """Want the bridge to hand frames for the shared MAC over; Open vSwitch keeps that itself."""
    if cloud.uses_openvswitch:
        return
    nic, mac = cloud.require_provider_nic(), cloud.registered_mac
    outer = "tap" + cloud.names.gateway[3:]
    yield Want(
        not cloud.host.forwards_locally(mac, nic.name),
        "the bridge keeps no frames for that MAC to itself",
        f"bridge fdb del {mac} dev {nic.name} master",
    )
    yield Want(
        cloud.host.forwards_to(mac, outer),
        "it hands them to the gateway port",
        f"bridge fdb replace {mac} dev {outer} master static",
    )


STRATEGIES: Mapping[str, Persistent] = {"swap": swap, "share": share}


def dead(cloud: Cloud) -> Iterator[Want]:
    """Want no port that Open vSwitch has left: in user space it makes new ones when it starts."""
    for name in (cloud.names.gateway, cloud.names.inner):
        yield Want(
            not (name in cloud.router.links and name in cloud.host.root.links),
            f"{name} is dead: Open vSwitch has made another one",
            f"ip -n {cloud.names.router_netns} link del {name}",
        )


def wants(cloud: Cloud, strategy: str) -> Iterator[Want]:
    """Want all of it, but for dead ports; the gateway port is made with the registered MAC."""
    made = replace(cloud, names=replace(cloud.names, gateway_mac=cloud.registered_mac))
    nic = cloud.require_provider_nic()
    yield from handbuilt.provider_bridge(cloud)
    yield handbuilt.add_bridge(cloud, cloud.names.integration, "the bridge of VMs and routers")
    yield from handbuilt.patch(cloud)
    neutrons = f"the MAC that Neutron gives {made.names.gateway}"
    for want in router.wants(made):
        yield replace(want, why="the registered MAC") if want.why == neutrons else want
    yield from vm.wants(cloud)
    yield from STRATEGIES[strategy](cloud)
    note = ALIAS + cloud.registered_mac
    yield Want(nic.alias == note, "the note on the NIC", f"ip link set {nic.name} alias '{note}'")
    yield Want(nic.up, "the NIC is up", f"ip link set {nic.name} up")
    rule = router.published(cloud)
    yield Want(
        rule in cloud.router.iptables.splitlines(),
        "the rule that publishes the VM",
        f"ip netns exec {cloud.names.router_netns} iptables -t nat {rule}",
    )


def missing(cloud: Cloud, strategy: str) -> list[Want]:
    """List what does not hold: dead ports first, alone, since they hide what is missing."""
    buried = [want for want in dead(cloud) if cloud.uses_openvswitch and not want.holds]
    return buried or [want for want in wants(cloud, strategy) if not want.holds]
