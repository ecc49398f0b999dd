"""What the published VM needs after a reboot, and after a restart of Open vSwitch.

The hand-built cloud has no agents that make it anew. A strategy of the MAC swap says here what it
needs besides (`STRATEGIES`); all else is what the steps want, in their order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace

from osawslab.cloud import floating, handbuilt, mac_nat, router, vm
from osawslab.cloud.floating import Floating
from osawslab.cloud.handbuilt import ALIAS, Cloud, Want
from osawslab.host.facts import Link

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


def translate(cloud: Cloud) -> Iterator[Want]:
    """Want the own bridge and its flows, which Open vSwitch does not keep."""
    own = (cloud.settings.provider_address, cloud.names.gateway_mac)
    yield from mac_nat.wants(cloud, mac_nat.pairs(cloud) | {own})


STRATEGIES: Mapping[str, Persistent] = {"swap": swap, "share": share, "mac-nat": translate}


def gateway_mac(cloud: Cloud, strategy: str) -> str:
    """Give the MAC that the gateway port has with a strategy."""
    return cloud.names.gateway_mac if strategy == "mac-nat" else cloud.registered_mac


def floats(cloud: Cloud, ones: Iterable[Floating]) -> Iterator[Want]:
    """Want the router's floating IPs; it may have been made just now."""
    port = cloud.gateway or Link(cloud.names.gateway, "", False, "", (), 0, "", "", "")
    for one in ones:
        yield from floating.wants(cloud, one, replace(port, mac=cloud.names.gateway_mac))


def dead(cloud: Cloud) -> Iterator[Want]:
    """Want no port that Open vSwitch has left: in user space it makes new ones when it starts."""
    for name in (cloud.names.gateway, cloud.names.inner):
        yield Want(
            not (name in cloud.router.links and name in cloud.host.root.links),
            f"{name} is dead: Open vSwitch has made another one",
            f"ip -n {cloud.names.router_netns} link del {name}",
        )


def wants(cloud: Cloud, strategy: str, ones: Iterable[Floating] = ()) -> Iterator[Want]:
    """Want all of it, but for dead ports; the gateway port is made with the MAC it is to have."""
    mac = gateway_mac(cloud, strategy)
    made = replace(cloud, names=replace(cloud.names, gateway_mac=mac))
    nic = cloud.require_provider_nic()
    yield from handbuilt.provider_bridge(cloud)
    yield handbuilt.add_bridge(cloud, cloud.names.integration, "the bridge of VMs and routers")
    yield from handbuilt.patch(cloud)
    neutrons = f"the MAC that Neutron gives {made.names.gateway}"
    for want in router.wants(made):
        renamed = want.why == neutrons and mac == cloud.registered_mac
        yield replace(want, why="the registered MAC") if renamed else want
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
    yield from floats(cloud, ones)


def missing(cloud: Cloud, strategy: str, ones: Iterable[Floating] = ()) -> list[Want]:
    """List what does not hold: dead ports first, alone, since they hide what is missing."""
    buried = [want for want in dead(cloud) if cloud.uses_openvswitch and not want.holds]
    return buried or [want for want in wants(cloud, strategy, ones) if not want.holds]
