"""The VM of the hand-built cloud: a namespace with NIC, host name, processes and SSH server."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from ipaddress import IPv4Network

from osawslab.cloud.handbuilt import MTU, TENANT_VLAN, VM_FOLDER, VM_HOST_KEY, Cloud, Want
from osawslab.host.facts import Link


def wants(cloud: Cloud) -> Iterator[Want]:
    """Want the VM: a namespace with its own NIC, host name, processes and SSH server."""
    called, settings = cloud.names, cloud.settings
    netns, tap = called.vm_netns, called.tap
    inside = cloud.host.namespace(netns).links.get("eth0")
    outer = cloud.host.root.links.get(tap)
    tenant = IPv4Network(settings.tenant_cidr).prefixlen
    address = f"{settings.vm_address}/{tenant}"
    yield Want(
        netns in cloud.host.netns, f"{settings.vm_name} is a namespace", f"ip netns add {netns}"
    )
    yield Want(
        inside is not None and outer is not None,
        "its NIC, without offloads: what it sends has complete checksums",
        f"ip link add {tap} mtu {MTU} type veth peer name eth0 netns {netns}"
        f" address {called.vm_mac} mtu {MTU}"
        f" && ip netns exec {netns} ethtool -K eth0 tx off tso off gso off gro off >/dev/null",
    )
    bridge = cloud.bridge(called.integration)
    yield Want(outer is not None and outer.up, "its cable is up", f"ip link set {tap} up")
    yield Want(
        bridge is not None
        and tap in bridge.ports
        and (not cloud.uses_openvswitch or bridge.ports[tap] == TENANT_VLAN),
        "its cable ends in br-int",
        f"ovs-vsctl --may-exist add-port {called.integration} {tap}"
        f" -- set port {tap} tag={TENANT_VLAN}"
        if cloud.uses_openvswitch
        else f"ip link set {tap} master {called.integration}",
    )
    has = inside or Link("eth0", "", False, "", (), 0, "", "", "")
    lo = cloud.host.namespace(netns).links.get("lo")
    yield Want(lo is not None and lo.up, "its loopback", f"ip -n {netns} link set lo up")
    yield Want(
        address in has.addresses, "its address", f"ip -n {netns} addr replace {address} dev eth0"
    )
    yield Want(
        inside is None or has.mtu == MTU,
        "whole packets pass",
        f"ip -n {netns} link set eth0 mtu {MTU}",
    )
    yield Want(has.up, "its NIC is up", f"ip -n {netns} link set eth0 up")
    yield Want(
        cloud.host.namespace(netns).has_default(settings.tenant_gateway, "eth0"),
        "its way out is the router",
        f"ip -n {netns} route replace default via {settings.tenant_gateway} dev eth0",
    )
    yield Want(
        bool(cloud.host.files.get(VM_HOST_KEY)),
        "its SSH host key",
        f"mkdir -p {VM_FOLDER} && rm -f {VM_FOLDER}/host_key"
        f" && dropbearkey -t ed25519 -f {VM_FOLDER}/host_key >/dev/null 2>&1"
        f" && dropbearkey -y -f {VM_FOLDER}/host_key | grep '^ssh-' > {VM_HOST_KEY}",
    )
    name = shlex.quote(settings.vm_name)
    yield Want(
        cloud.host.namespace(netns).listens,
        "it boots: its own host name and processes, and an SSH server as in CirrOS (dropbear)",
        "mkdir -p -m 700 /root/.ssh"
        " && cat ~admin/.ssh/authorized_keys > /root/.ssh/authorized_keys"
        f" && chmod 600 /root/.ssh/authorized_keys"
        f" && ip netns exec {netns} setsid -f unshare --uts --pid --fork --mount-proc --kill-child"
        f" sh -c 'hostname {name} && exec dropbear -F -s -j -k -r {VM_FOLDER}/host_key"
        f" -P /run/{netns}.pid -p 22' </dev/null >/run/{netns}.log 2>&1"
        f' && for i in $(seq 100); do [ -n "$(ip netns exec {netns} ss -H -l -t -n sport = :22)" ]'
        f" && exit 0; sleep 0.02; done; cat /run/{netns}.log >&2; exit 1",
    )
