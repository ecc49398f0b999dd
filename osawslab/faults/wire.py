"""Faults between the provider NIC and the gateway port."""

from __future__ import annotations

from osawslab.cloud.mac_nat import NIC_PORT
from osawslab.faults.fault import Before, Change, Fault, Run

NOTHING = "nothing on the internet answers the router or the VM, and ssh to the VM times out"
STRANGE = "02:00:00:00:0b:ad"  # a MAC that nobody has registered


def nic_down(b: Before) -> Change:
    """Set the provider NIC down."""
    return Change(
        (Run(f"ip link set {b.nic} down"),),
        (Run(f"ip link set {b.nic} up"),),
        Run(f"! ip link show {b.nic} | grep -q '[<,]UP[,>]'"),
    )


def nic_address(b: Before) -> Change:
    """Give the provider NIC the address that the router has, as a DHCP client does."""
    return Change(
        (Run(f"ip addr add {b.address} dev {b.nic}"),),
        (Run(f"ip addr del {b.address} dev {b.nic}"),),
        Run(f"ip -4 addr show dev {b.nic} | grep -q inet"),
    )


def nic_mtu(b: Before) -> Change:
    """Make the provider NIC's MTU smaller than the router's."""
    nic = b.cloud.require_provider_nic()
    return Change(
        (Run(f"ip link set {nic.name} mtu 1400"),),
        (Run(f"ip link set {nic.name} mtu {nic.mtu}"),),
        Run(f"ip link show {nic.name} | grep -q 'mtu 1400'"),
    )


def second_program(b: Before) -> Change:
    """Have a program put the router's address on the NIC again and again."""
    program = f"sh -c while ip addr replace {b.address} dev {b.nic}; do sleep 1; done"
    words = program.removeprefix("sh -c ")
    return Change(
        (Run(f"setsid -f sh -c '{words}' >/dev/null 2>&1 </dev/null; sleep 0.2"),),
        (Run(f"pkill -f '^{program}'; ip addr del {b.address} dev {b.nic} || true"),),
        Run(f"pgrep -f '^{program}' >/dev/null"),
    )


def gateway_outside(b: Before) -> Change:
    """Take the gateway port out of the router's namespace; its address and routes go with that."""
    return Change(
        (Run(f"ip -n {b.qr} link set {b.qg} netns 1"),),
        (Run(f"ip link set {b.qg} netns {b.qr} && ip -n {b.qr} addr add {b.address} dev {b.qg}"
             f" && ip -n {b.qr} link set {b.qg} up"), Run(b.default)),
        Run(f"ip link show {b.qg} >/dev/null 2>&1"),
    )  # fmt: skip


def nic_unplugged(b: Before) -> Change:
    """Take the provider NIC out of its bridge."""
    there = Run(f"! ls /sys/class/net/{b.nic}/brport >/dev/null 2>&1")
    if b.cloud.uses_openvswitch:
        there = Run(f"! ovs-vsctl port-to-br {b.nic} 2>/dev/null")
        return Change((Run(f"ovs-vsctl del-port {b.nic}"),), (plug(b),), there)
    return Change((Run(f"ip link set {b.nic} nomaster"),), (plug(b),), there)


def plug(b: Before) -> Run:
    """Put the provider NIC back into its bridge, with what the strategy needs of it."""
    host, nic = b.cloud.host, b.cloud.require_provider_nic()
    if b.cloud.uses_openvswitch:
        wish = f" -- set interface {nic.name} ofport_request={NIC_PORT}"
        return Run(
            f"ovs-vsctl --may-exist add-port {b.provider} {nic.name}"
            + (wish if b.cloud.translates else "")
        )
    words = f"ip link set {nic.name} master {b.provider}"
    if nic.mac == b.mac and not host.forwards_locally(b.mac, nic.name):
        words += f"; bridge fdb del {b.mac} dev {nic.name} master 2>/dev/null"
    for each in host.fdb:
        if each.get("state") == "static" and each.get("master") == b.provider:
            words += f"; bridge fdb replace {each['mac']} dev {each['ifname']} master static"
    return Run(words)


def nic_in_another_bridge(b: Before) -> Change:
    """Plug the provider NIC into the bridge of the VMs."""
    inner = b.cloud.names.integration
    return Change(
        (Run(f"ovs-vsctl del-port {b.nic} -- add-port {inner} {b.nic}"),),
        (Run(f"ovs-vsctl del-port {b.nic}"), plug(b)),
        Run(f'[ "$(ovs-vsctl port-to-br {b.nic})" = {inner} ]'),
    )


def nic_in_a_vlan(b: Before) -> Change:
    """Give the provider NIC's port a VLAN tag."""
    return Change(
        (Run(f"ovs-vsctl set port {b.nic} tag=7"),),
        (Run(f"ovs-vsctl clear port {b.nic} tag"),),
        Run(f'[ "$(ovs-vsctl get port {b.nic} tag)" = 7 ]'),
    )


def patch_pulled(b: Before) -> Change:
    """Lead one end of the patch cable nowhere."""
    bridge = b.cloud.settings.provider_bridge
    near, far = f"int-{bridge}"[:15], f"phy-{bridge}"[:15]
    return Change(
        (Run(f"ovs-vsctl set interface {near} options:peer=nobody"),),
        (Run(f"ovs-vsctl set interface {near} options:peer={far}"),),
        Run(f'[ "$(ovs-vsctl get interface {near} options:peer)" = nobody ]'),
    )


def bridge_down(b: Before) -> Change:
    """Set the provider bridge down."""
    name = b.cloud.settings.provider_bridge
    return Change(
        (Run(f"ip link set {name} down"),),
        (Run(f"ip link set {name} up"),),
        Run(f"! ip link show {name} | grep -q '[<,]UP[,>]'"),
    )


def flow_drops(b: Before) -> Change:
    """Add a flow that drops what comes from the provider NIC."""
    match = f"priority=99,in_port={b.nic}"
    return Change(
        (Run(f"ovs-ofctl add-flow {b.provider} {match},actions=drop"),),
        (Run(f"ovs-ofctl --strict del-flows {b.provider} {match}"),),
        Run(f"ovs-ofctl dump-flows {b.provider} | grep -q priority=99"),
    )


def flow_missing(b: Before) -> Change:
    """Remove the flow that puts the provider network's local VLAN on."""
    inner, near = b.cloud.names.integration, f"int-{b.cloud.settings.provider_bridge}"[:15]
    match = f"priority=3,in_port={near},vlan_tci=0x0000/0x1fff"
    flows = (b.cloud.host.bridges or {})[inner].flows
    found = [each for each in flows if "mod_vlan_vid" in each]
    actions = found[0].partition("actions=")[2] if found else "normal"
    return Change(
        (Run(f"ovs-ofctl --strict del-flows {inner} '{match}'"),),
        (Run(f"ovs-ofctl add-flow {inner} '{match},actions={actions}'"),),
        Run(f"! ovs-ofctl dump-flows {inner} | grep -q 'vlan_tci=0x0000/0x1fff'"),
    )


def fdb_fixed(b: Before) -> Change:
    """Have the bridge hand the frames for the gateway port's MAC to another port, for ever."""
    mac = b.cloud.require_router().mac
    if b.cloud.uses_openvswitch:
        inner = b.cloud.names.integration
        tag = b.cloud.host.bridges[inner].ports[b.qg] if b.cloud.host.bridges else 0
        return Change(
            (Run(f"ovs-appctl fdb/add {inner} {b.tap} {tag} {mac}"),),
            (Run(f"ovs-appctl fdb/del {inner} {tag} {mac}"),),
            Run(f"ovs-appctl fdb/show {inner} | grep {mac} | grep -q static"),
        )
    return Change(
        (Run(f"bridge fdb replace {mac} dev {b.nic} master permanent"),),
        (Run(f"bridge fdb del {mac} dev {b.nic} master"), plug(b)),
        Run(f"bridge fdb show dev {b.nic} | grep '{mac}.*permanent' | grep -vq self"),
    )


def gateway_down(b: Before) -> Change:
    """Set the gateway port down; its routes go with it."""
    return Change(
        (Run(f"ip -n {b.qr} link set {b.qg} down"),),
        (Run(f"ip -n {b.qr} link set {b.qg} up"), Run(b.default)),
        Run(f"! ip -n {b.qr} link show {b.qg} | grep -q '[<,]UP[,>]'"),
    )


def gateway_no_address(b: Before) -> Change:
    """Take the gateway port's address away; its routes go with it."""
    return Change(
        (Run(f"ip -n {b.qr} addr del {b.address} dev {b.qg}"),),
        (Run(f"ip -n {b.qr} addr add {b.address} dev {b.qg}"), Run(b.default)),
        Run(f"! ip -n {b.qr} -4 addr show dev {b.qg} | grep -q 'inet {b.address} '"),
    )


def gateway_other_address(b: Before) -> Change:
    """Give the gateway port an address that is not registered, in its own's place."""
    own, length = b.address.split("/")
    other = f"{own.rpartition('.')[0]}.78/{length}"
    enter = f"ip -n {b.qr} addr"
    return Change(
        (Run(f"{enter} del {b.address} dev {b.qg}"), Run(f"{enter} add {other} dev {b.qg}"),
         Run(b.default)),
        (Run(f"{enter} del {other} dev {b.qg}"), Run(f"{enter} add {b.address} dev {b.qg}"),
         Run(b.default)),
        Run(f"{enter} show dev {b.qg} | grep -q 'inet {other} '"),
    )  # fmt: skip


def gateway_prefix(b: Before) -> Change:
    """Give the gateway port's address a prefix length that is not the subnet's."""
    other = f"{b.address.split('/')[0]}/16"
    enter = f"ip -n {b.qr} addr"
    return Change(
        (Run(f"{enter} add {other} dev {b.qg} && {enter} del {b.address} dev {b.qg}"),
         Run(b.default)),
        (Run(f"{enter} replace {b.address} dev {b.qg} && {enter} del {other} dev {b.qg}"),
         Run(b.default)),
        Run(f"{enter} show dev {b.qg} | grep -q 'inet {other} '"),
    )  # fmt: skip


def gateway_mac(b: Before) -> Change:
    """Give the gateway port a MAC that is not registered."""
    mac, enter = b.cloud.require_router().mac, f"ip -n {b.qr}"
    flush = f"{enter} neigh flush dev {b.qg}"
    return Change(
        (Run(f"{enter} link set {b.qg} address {STRANGE} && {flush}"),),
        (Run(f"{enter} link set {b.qg} address {mac} && {flush}"),),
        Run(f"{enter} link show {b.qg} | grep -q {STRANGE}"),
    )


def gateway_mtu(b: Before) -> Change:
    """Make the gateway port's MTU smaller than any IPv6 or most TCP can do with."""
    mtu, enter = b.cloud.require_router().mtu, f"ip -n {b.qr} link"
    return Change(
        (Run(f"{enter} set {b.qg} mtu 600"),),
        (Run(f"{enter} set {b.qg} mtu {mtu}"),),
        Run(f"{enter} show {b.qg} | grep -q 'mtu 600'"),
    )


def duplicate(b: Before) -> Change:
    """Make another interface with the registered MAC."""
    return Change(
        (Run("ip link del twin 2>/dev/null; ip link add twin type veth peer name twin2"),
         Run(f"ip link set twin address {b.mac} up")),
        (Run("ip link del twin"),),
        Run(f"ip link show twin 2>/dev/null | grep -q {b.mac}"),
        (Run("ip link del twin 2>/dev/null || true"),),
    )  # fmt: skip


SWITCH = frozenset({"tenant VLAN", "tap"})  # when those change, Open vSwitch forgets its FDB
NIC, WAY, PORT, MAC = (frozenset({each}) for each in ("nic", "way", "gateway", "mac"))
OVS = "openvswitch"
HAND = ("handbuilt",)
FAULTS = (
    Fault("nic-down", "nic-up", NOTHING, "easy", nic_down, touches=NIC),
    Fault("nic-address", "nic-address", NOTHING, "medium", nic_address, touches=NIC),
    Fault("second-program", "client", NOTHING + ", and the NIC's address comes back when it is"
          " removed", "hard", second_program, touches=NIC),
    Fault("nic-mtu", "nic-mtu", "small pings pass, and whole packets do not", "hard", nic_mtu,
          touches=NIC),
    Fault("nic-unplugged", "bridge", NOTHING, "easy", nic_unplugged, touches=NIC | WAY),
    Fault("nic-in-another-bridge", "bridge", NOTHING, "medium", nic_in_another_bridge,
          bridge=OVS, touches=NIC | WAY),
    Fault("nic-in-a-vlan", "flows", NOTHING, "hard", nic_in_a_vlan, bridge=OVS,
          touches=NIC | WAY),
    Fault("patch-pulled", "patch", NOTHING, "medium", patch_pulled, bridge=OVS, touches=WAY),
    Fault("bridge-down", "patch", NOTHING, "easy", bridge_down, bridge="linux", touches=WAY),
    Fault("flow-drops", "flows", NOTHING, "hard", flow_drops, bridge=OVS, touches=WAY | NIC),
    Fault("fdb-fixed", "fdb", "requests leave, and no answer comes back to the router", "hard",
          fdb_fixed, HAND, touches=WAY | MAC | NIC | SWITCH),
    Fault("gateway-down", "gateway-up", NOTHING, "easy", gateway_down, touches=PORT),
    Fault("gateway-outside", "gateway-up", NOTHING, "hard", gateway_outside, HAND,
          touches=PORT | WAY | MAC),
    Fault("gateway-no-address", "gateway-address", NOTHING, "easy", gateway_no_address,
          touches=PORT),
    Fault("gateway-other-address", "registered", NOTHING, "medium", gateway_other_address,
          touches=PORT),
    Fault("gateway-prefix", "gateway-address", "the router misses half of the VPC", "hard",
          gateway_prefix, touches=PORT),
    Fault("gateway-mac", "gateway-mac", NOTHING, "medium", gateway_mac, touches=PORT | MAC),
    Fault("gateway-mtu", "gateway-mtu", "a login stalls as soon as there is much to send", "hard",
          gateway_mtu, touches=PORT),
    Fault("duplicate-mac", "duplicate", "all is well, until the bridge learns the other one",
          "hard", duplicate, touches=MAC),
)  # fmt: skip
