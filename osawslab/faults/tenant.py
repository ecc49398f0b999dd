"""Faults behind the router: its port in the tenant network, the VM and its SSH server."""

from __future__ import annotations

from osawslab.faults.fault import Before, Change, Fault, Run
from osawslab.faults.router import NO_SSH, NO_VM, added
from osawslab.faults.wire import HAND, OVS, STRANGE


def inner_down(b: Before) -> Change:
    """Set the router's port in the tenant network down."""
    return Change(
        (Run(f"ip -n {b.qr} link set {b.inner} down"),),
        (Run(f"ip -n {b.qr} link set {b.inner} up"),),
        Run(f"! ip -n {b.qr} link show {b.inner} | grep -q '[<,]UP[,>]'"),
    )


def inner_no_address(b: Before) -> Change:
    """Take the tenant network's gateway address away."""
    return Change(
        (Run(f"ip -n {b.qr} addr del {b.tenant} dev {b.inner}"),),
        (Run(f"ip -n {b.qr} addr add {b.tenant} dev {b.inner}"),),
        Run(f"! ip -n {b.qr} -4 addr show dev {b.inner} | grep -q 'inet {b.tenant} '"),
    )


def port_tag(b: Before, port: str, tag: int) -> Change:
    """Put a port of Open vSwitch into another VLAN."""
    bridges = b.cloud.host.bridges or {}
    was = bridges[b.cloud.names.integration].ports[port]
    return Change(
        (Run(f"ovs-vsctl set port {port} tag={tag}"),),
        (Run(f"ovs-vsctl set port {port} tag={was}"),),
        Run(f'[ "$(ovs-vsctl get port {port} tag)" = {tag} ]'),
    )


def inner_in_another_vlan(b: Before) -> Change:
    """Put the router's port into the provider network's VLAN."""
    bridges = b.cloud.host.bridges or {}
    return port_tag(b, b.inner, bridges[b.cloud.names.integration].ports[b.qg])


def gateway_dead(b: Before) -> Change:
    """Put the gateway port into the VLAN of ports that no agent has wired."""
    return port_tag(b, b.qg, 4095)


def vm_in_another_vlan(b: Before) -> Change:
    """Put the VM's port into a VLAN of its own."""
    return port_tag(b, b.tap, 9)


def cable_unplugged(b: Before, cable: str) -> Change:
    """Take a cable out of its Linux bridge."""
    bridge = b.cloud.host.root.links[cable].master
    return Change(
        (Run(f"ip link set {cable} nomaster"),),
        (Run(f"ip link set {cable} master {bridge}"),),
        Run(f"! ls /sys/class/net/{cable}/brport >/dev/null 2>&1"),
    )


def inner_unplugged(b: Before) -> Change:
    """Take the router's cable out of the tenant network's bridge."""
    return cable_unplugged(b, f"tap{b.inner[3:]}")


def vm_unplugged(b: Before) -> Change:
    """Take the VM's cable out of its bridge."""
    if not b.cloud.uses_openvswitch:
        return cable_unplugged(b, b.tap)
    inner = b.cloud.names.integration
    tag = (b.cloud.host.bridges or {})[inner].ports[b.tap]
    return Change(
        (Run(f"ovs-vsctl del-port {b.tap}"),),
        (Run(f"ovs-vsctl --may-exist add-port {inner} {b.tap} -- set port {b.tap} tag={tag}"),),
        Run(f"! ovs-vsctl port-to-br {b.tap} 2>/dev/null"),
    )


def vm_cable_down(b: Before) -> Change:
    """Set the VM's port on the bridge down."""
    return Change(
        (Run(f"ip link set {b.tap} down"),),
        (Run(f"ip link set {b.tap} up"),),
        Run(f"! ip link show {b.tap} | grep -q '[<,]UP[,>]'"),
    )


def vm_down(b: Before) -> Change:
    """Set the VM's own NIC down; its route goes with it."""
    via = b.tenant.split("/")[0]
    return Change(
        (Run(f"ip -n {b.vm} link set eth0 down"),),
        (Run(f"ip -n {b.vm} link set eth0 up"),
         Run(f"ip -n {b.vm} route replace default via {via} dev eth0")),
        Run(f"! ip -n {b.vm} link show eth0 | grep -q '[<,]UP[,>]'"),
    )  # fmt: skip


def vm_no_route(b: Before) -> Change:
    """Take the VM's default route away."""
    via = b.tenant.split("/")[0]
    return Change(
        (Run(f"ip -n {b.vm} route del default"),),
        (Run(f"ip -n {b.vm} route replace default via {via} dev eth0"),),
        Run(f'[ -z "$(ip -n {b.vm} route show default)" ]'),
    )


def vm_mtu(b: Before) -> Change:
    """Make the VM's MTU smaller than its network's."""
    mtu = b.cloud.host.namespace(b.vm).links["eth0"].mtu
    return Change(
        (Run(f"ip -n {b.vm} link set eth0 mtu 1200"),),
        (Run(f"ip -n {b.vm} link set eth0 mtu {mtu}"),),
        Run(f"ip -n {b.vm} link show eth0 | grep -q 'mtu 1200'"),
    )


def vm_neighbour_fixed(b: Before) -> Change:
    """Enter a MAC for the VM in the router that it does not have, for ever."""
    vm, enter = b.cloud.settings.vm_address, f"ip -n {b.qr} neigh"
    return Change(
        (Run(f"{enter} replace {vm} lladdr {STRANGE} nud permanent dev {b.inner}"),),
        (Run(f"{enter} del {vm} dev {b.inner}"),),
        Run(f"{enter} show {vm} dev {b.inner} | grep -q PERMANENT"),
    )


def vm_firewall(b: Before) -> Change:
    """Have the VM's own firewall drop what comes for its SSH server."""
    return added(b, "filter", "INPUT", "-p tcp -m tcp --dport 22 -j DROP", b.vm)


def ssh_server_hangs(b: Before) -> Change:
    """Stop the VM's SSH server as Ctrl-Z does: it listens, and says nothing."""
    each = f"for p in $(ip netns pids {b.vm}); do [ $(cat /proc/$p/comm) != dropbear ] ||"
    state = "grep -q '^State:.T' /proc/$p/status && found=1"
    return Change(
        (Run(f"{each} kill -STOP $p; done"),),
        (Run(f"{each} kill -CONT $p; done"),),
        Run(f"found=; {each} {{ {state}; }}; done; [ $found ]"),
    )


INNER, VM = frozenset({"inner"}), frozenset({"vm"})
TAP = frozenset({"tap"})
VLAN = frozenset({"tenant VLAN"})  # with both ends in other ones, nobody can say which was right
FAULTS = (
    Fault("inner-down", "inner-up", NO_VM, "easy", inner_down, touches=INNER),
    Fault("inner-no-address", "inner-address", NO_VM, "easy", inner_no_address, touches=INNER),
    Fault("inner-in-another-vlan", "inner-plugged", NO_VM, "hard", inner_in_another_vlan,
          bridge=OVS, touches=INNER | VLAN),
    Fault("inner-unplugged", "inner-plugged", NO_VM, "medium", inner_unplugged, HAND, "linux",
          INNER),
    Fault("gateway-dead", "gateway-plugged", "nothing that the router sends reaches the NIC",
          "medium", gateway_dead, bridge=OVS, touches=frozenset({"way"})),
    Fault("vm-unplugged", "guest-plugged", NO_VM, "medium", vm_unplugged, HAND, touches=VM | TAP),
    Fault("vm-in-another-vlan", "guest-plugged", NO_VM, "hard", vm_in_another_vlan, HAND,
          OVS, VM | VLAN),
    Fault("vm-cable-down", "guest-plugged", NO_VM, "medium", vm_cable_down, HAND, touches=VM),
    Fault("vm-down", "guest-up", NO_VM, "easy", vm_down, HAND, touches=VM),
    Fault("vm-no-route", "guest-way", NO_SSH, "medium", vm_no_route, HAND, touches=VM),
    Fault("vm-mtu", "guest-mtu", "small packets reach the VM, and whole ones do not", "hard",
          vm_mtu, HAND, touches=VM),
    Fault("vm-firewall", "guest-filter", "the VM answers a ping, and no ssh", "medium",
          vm_firewall, HAND, touches=VM | frozenset({"ssh"})),
    Fault("ssh-server-hangs", "server", "ssh to the VM connects, and then waits for ever", "hard",
          ssh_server_hangs, HAND, touches=frozenset({"ssh"})),
    Fault("vm-neighbour-fixed", "guest-neighbour", NO_VM, "hard", vm_neighbour_fixed, HAND,
          touches=VM),
)  # fmt: skip
