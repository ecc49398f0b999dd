"""The network that Neutron's agents make, made by hand: what is there, and what is missing.

Bridges and patch ports as of neutron-openvswitch-agent, the router as of neutron-l3-agent:
`neutron/agent/l3/router_info.py`, `iptables_manager.py`; flows as of `ovs_neutron_agent.py`.
Where there is no Open vSwitch, two Linux bridges as of the former linuxbridge agent.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv4Network

from osawslab.cloud.names import Names, names
from osawslab.errors import StepNotReady
from osawslab.host import facts as host_facts
from osawslab.host import interfaces
from osawslab.host.facts import Bridge, HostFacts, Link, Namespace
from osawslab.host.ssh import SshHost
from osawslab.settings import Settings

# program -> Debian package
PROGRAMS = {
    "ip": "iproute2",
    "ss": "iproute2",
    "ovs-vsctl": "openvswitch-switch",
    "iptables": "iptables",
    "ping": "iputils-ping",
    "tcpdump": "tcpdump",
    "ethtool": "ethtool",
    "dropbear": "dropbear-bin",
    "dropbearkey": "dropbear-bin",
    "macchanger": "macchanger",
    "ifconfig": "net-tools",
}
FOLDER = "/var/lib/osawslab"
NOTE = f"{FOLDER}/registered-mac"  # the tutorial's note of the NIC's MAC
EVIDENCE = f"{FOLDER}/the-drop.json"
VM_FOLDER = f"{FOLDER}/vm"
VM_HOST_KEY = f"{VM_FOLDER}/host_key.pub"
ALIAS = "osawslab provider "  # followed by the registered MAC
MTU = 1500  # an internet gateway forwards no more (EC2 User Guide, "Network MTU")
PROVIDER_VLAN, TENANT_VLAN = 1, 2  # local VLANs on br-int, as the agent numbers them


@dataclass(frozen=True)
class Cloud:
    """The hand-built cloud as it is now."""

    settings: Settings
    names: Names
    registered_mac: str
    host: HostFacts

    @property
    def uses_openvswitch(self) -> bool:
        """Open vSwitch where it is there or can be installed, else Linux bridges."""
        if self.settings.bridge == "auto":
            return bool(self.host.programs.get("ovs-vsctl")) or self.host.dpkg
        return self.settings.bridge == "openvswitch"

    @property
    def router(self) -> Namespace:
        """The router's namespace."""
        return self.host.namespace(self.names.router_netns)

    @property
    def gateway(self) -> Link | None:
        """The gateway port, where it is in the router's namespace."""
        return self.router.links.get(self.names.gateway)

    @property
    def provider_nic(self) -> Link | None:
        """The provider NIC, also when its MAC has moved.

        The interface with the note as its alias, else the one with that permanent address, else
        the one that has the registered MAC and is no bridge and no port of the router.
        """
        links = [link for link in self.host.root.links.values() if link.name != "lo"]
        own = [link for link in links if not link.name.startswith(("qg-", "qr-", "tap", "brq"))]
        for found in (
            [link for link in own if link.alias == ALIAS + self.registered_mac],
            [link for link in own if link.permanent_mac == self.registered_mac],
            [
                link
                for link in own
                if link.mac == self.registered_mac
                and link.kind not in ("bridge", "openvswitch", "tun")
                and link.name != self.settings.provider_bridge
            ],
        ):
            if found:
                return found[0]
        return None

    @property
    def swapped(self) -> bool:
        """True when the gateway port has the registered MAC."""
        return self.gateway is not None and self.gateway.mac == self.registered_mac

    def bridge(self, name: str) -> Bridge | None:
        """Give a bridge with its ports, of either kind; None where there is none."""
        if self.uses_openvswitch:
            return (self.host.bridges or {}).get(name)
        links = self.host.root.links
        if name not in links:
            return None
        return Bridge({link.name: 0 for link in links.values() if link.master == name}, "linux", ())

    def require_provider_nic(self) -> Link:
        """Give the provider NIC or say what is missing."""
        if self.provider_nic is None:
            raise StepNotReady(
                f"no interface of the instance has the registered MAC {self.registered_mac}",
                seen=", ".join(f"{link.name} {link.mac}" for link in self.host.root.links.values()),
                next="lab.provision()",
            )
        return self.provider_nic

    def require_router(self) -> Link:
        """Give the gateway port or say what is missing."""
        if self.gateway is None:
            raise StepNotReady(
                "the router has no gateway port yet",
                seen=f"no {self.names.gateway} in {self.names.router_netns}",
                next="lab.networks()",
            )
        return self.gateway


def read(host: SshHost, settings: Settings, registered_mac: str) -> Cloud:
    """Read the hand-built cloud from the instance, in one round trip."""
    called = names(settings.name, settings.vm_name)
    facts = host_facts.read(
        host,
        netns=(called.router_netns, called.vm_netns),
        programs=(*PROGRAMS, "apt-get"),
        files=(NOTE, EVIDENCE, VM_HOST_KEY, *interfaces.PATHS),
        openvswitch=True,
    )
    return Cloud(settings, called, registered_mac, facts)


@dataclass(frozen=True)
class Want:
    """A fact that should hold: whether it does, why, and the command that makes it so."""

    holds: bool
    why: str
    command: str


def datapath(cloud: Cloud) -> str:
    """Ask for Open vSwitch's datapath in user space where the kernel has none to give."""
    return "" if cloud.host.openvswitch_module else "datapath_type=netdev"


def add_bridge(cloud: Cloud, name: str, why: str) -> Want:
    """Want a bridge of the kind the cloud uses."""
    if not cloud.uses_openvswitch:
        return Want(
            cloud.bridge(name) is not None,
            why,
            f"ip link add {name} type bridge stp_state 0 mcast_snooping 0 && ip link set {name} up",
        )
    kind = f" -- set bridge {name} {datapath(cloud)}" if datapath(cloud) else ""
    return Want(cloud.bridge(name) is not None, why, f"ovs-vsctl --may-exist add-br {name}{kind}")


def provider_bridge(cloud: Cloud) -> Iterator[Want]:
    """Want the provider bridge with the provider NIC in it."""
    nic, name = cloud.require_provider_nic(), cloud.settings.provider_bridge
    yield add_bridge(cloud, name, "the bridge between the provider NIC and the router")
    bridge = cloud.bridge(name)
    inside = bridge is not None and nic.name in bridge.ports
    command = (
        f"ovs-vsctl --may-exist add-port {name} {nic.name}"
        if cloud.uses_openvswitch
        else f"ip link set {nic.name} master {name}"
    )
    yield Want(inside, "the NIC is a port of the bridge, no address of the host's", command)


def patch(cloud: Cloud) -> Iterator[Want]:
    """Want both Open vSwitch bridges joined as the agent joins them."""
    if not cloud.uses_openvswitch:
        return
    provider, inner = cloud.settings.provider_bridge, cloud.names.integration
    near, far = f"int-{provider}"[:15], f"phy-{provider}"[:15]
    left, right = cloud.bridge(inner), cloud.bridge(provider)
    yield Want(
        left is not None and near in left.ports and right is not None and far in right.ports,
        "a patch cable between br-int and the provider bridge",
        f"ovs-vsctl --may-exist add-port {inner} {near}"
        f" -- set interface {near} type=patch options:peer={far}"
        f" -- --may-exist add-port {provider} {far}"
        f" -- set interface {far} type=patch options:peer={near}",
    )
    for bridge, name, found, rule in (
        (
            right,
            provider,
            f"in_port=\"{far}\",dl_vlan={PROVIDER_VLAN} actions=strip_vlan,NORMAL",
            f"priority=4,in_port={far},dl_vlan={PROVIDER_VLAN},actions=strip_vlan,NORMAL",
        ),
        (right, provider, f'in_port="{far}" actions=drop', f"priority=2,in_port={far},actions=drop"),
        (
            left,
            inner,
            f"in_port=\"{near}\",vlan_tci=0x0000/0x1fff actions=mod_vlan_vid:{PROVIDER_VLAN},NORMAL",
            f"priority=3,in_port={near},vlan_tci=0x0000/0x1fff,"
            f"actions=mod_vlan_vid:{PROVIDER_VLAN},NORMAL",
        ),
        (left, inner, f'in_port="{near}" actions=drop', f"priority=2,in_port={near},actions=drop"),
    ):
        held = bridge is not None and any(flow.endswith(found) for flow in bridge.flows)
        yield Want(held, "the local VLAN is put on and taken off", f"ovs-ofctl add-flow {name} '{rule}'")


def router_port(cloud: Cloud, name: str, mac: str, address: str, tag: int, why: str) -> Iterator[Want]:
    """Want a port of the router: made, in its namespace, with MAC, address and MTU, up."""
    netns, host = cloud.names.router_netns, cloud.host
    inside = cloud.router.links.get(name)
    enter = f"ip -n {netns}"
    if cloud.uses_openvswitch:
        bridge = cloud.bridge(cloud.names.integration)
        yield Want(
            bridge is not None and bridge.ports.get(name) == tag and host.port_types.get(name) == "internal",
            why,
            f"ovs-vsctl --may-exist add-port {cloud.names.integration} {name}"
            f" -- set port {name} tag={tag} -- set interface {name} type=internal",
        )
        yield Want(
            inside is not None, f"{name} belongs to the router", f"ip link set {name} netns {netns}"
        )
    else:
        outer = "tap" + name[3:]
        bridge_name = cloud.settings.provider_bridge if tag == PROVIDER_VLAN else cloud.names.integration
        link = host.root.links.get(outer)
        yield Want(
            inside is not None and link is not None,
            why,
            f"ip link add {outer} type veth peer name {name} netns {netns}",
        )
        yield Want(
            link is not None and link.master == bridge_name and link.up,
            f"{name} is plugged into {bridge_name}",
            f"ip link set {outer} master {bridge_name} up",
        )
    has = inside or Link(name, "", False, "", (), 0, "", "", "")
    yield Want(
        has.mac in (mac, cloud.registered_mac) if name == cloud.names.gateway else has.mac == mac,
        f"the MAC that Neutron gives {name}",
        f"{enter} link set {name} address {mac}",
    )
    yield Want(has.mtu == MTU, f"no larger than the gateway forwards", f"{enter} link set {name} mtu {MTU}")
    yield Want(address in has.addresses, f"{name}'s address", f"{enter} addr replace {address} dev {name}")
    yield Want(has.up, f"{name} is up", f"{enter} link set {name} up")


def router(cloud: Cloud) -> Iterator[Want]:
    """Want the router: namespace, two ports, default route, forwarding, SNAT."""
    called, settings = cloud.names, cloud.settings
    netns = called.router_netns
    yield Want(netns in cloud.host.netns, "the router is a network namespace", f"ip netns add {netns}")
    lo = cloud.router.links.get("lo")
    yield Want(lo is not None and lo.up, "its loopback", f"ip -n {netns} link set lo up")
    yield Want(
        cloud.router.forwards,
        "it routes",
        f"ip netns exec {netns} sh -c 'echo 1 > /proc/sys/net/ipv4/ip_forward'",
    )
    provider = IPv4Network(settings.provider_cidr).prefixlen
    tenant = IPv4Network(settings.tenant_cidr).prefixlen
    yield from router_port(
        cloud, called.gateway, called.gateway_mac, f"{settings.provider_address}/{provider}",
        PROVIDER_VLAN, "the gateway port: it takes the registered IP that the NIC does not use",
    )  # fmt: skip
    yield from router_port(
        cloud, called.inner, called.inner_mac, f"{settings.tenant_gateway}/{tenant}",
        TENANT_VLAN, "the router's port in the tenant network",
    )  # fmt: skip
    yield Want(
        cloud.router.has_default(settings.provider_gateway, called.gateway),
        "everything else goes to the VPC's router",
        f"ip -n {netns} route replace default via {settings.provider_gateway} dev {called.gateway}",
    )
    yield Want(
        all(line in cloud.router.iptables.splitlines() for line in chains(cloud)),
        "the chains of neutron-l3-agent: what leaves has the gateway's address",
        f"ip netns exec {netns} iptables-restore <<'END'\n{restore(cloud)}END",
    )


def chains(cloud: Cloud) -> list[str]:
    """List the rules of the router as `iptables-save` prints them, in its order."""
    gateway, address = cloud.names.gateway, cloud.settings.provider_address
    agent = "neutron-l3-agent"
    return [
        f"-A PREROUTING -j {agent}-PREROUTING",
        f"-A OUTPUT -j {agent}-OUTPUT",
        f"-A POSTROUTING -j {agent}-POSTROUTING",
        "-A POSTROUTING -j neutron-postrouting-bottom",
        f"-A {agent}-POSTROUTING ! -o {gateway} -m conntrack ! --ctstate DNAT -j ACCEPT",
        f"-A {agent}-snat -j {agent}-float-snat",
        f"-A {agent}-snat -o {gateway} -j SNAT --to-source {address} --random-fully",
        f"-A {agent}-snat -m mark ! --mark 0x2/0xffff -m conntrack --ctstate DNAT -j SNAT"
        f" --to-source {address} --random-fully",
        '-A neutron-postrouting-bottom -m comment --comment "Perform source NAT on outgoing traffic."'
        f" -j {agent}-snat",
        f"-A PREROUTING -j {agent}-mark",
        f"-A {agent}-mark -i {gateway} -j MARK --set-xmark 0x2/0xffff",
    ]


def restore(cloud: Cloud) -> str:
    """Write the input of `iptables-restore`: both tables anew; a DNAT that is there stays."""
    rules = chains(cloud)
    agent = "neutron-l3-agent"
    nat = "".join(
        f":{agent}-{name} - [0:0]\n"
        for name in ("OUTPUT", "POSTROUTING", "PREROUTING", "float-snat", "snat")
    )
    kept = [line for line in cloud.router.iptables.splitlines() if "-j DNAT" in line]
    return (
        "*nat\n"
        + nat
        + ":neutron-postrouting-bottom - [0:0]\n"
        + "\n".join([*rules[:9], *kept])
        + "\nCOMMIT\n*mangle\n"
        + f":{agent}-mark - [0:0]\n"
        + "\n".join(rules[9:])
        + "\nCOMMIT\n"
    )


def vm(cloud: Cloud) -> Iterator[Want]:
    """Want the VM: a namespace with its own NIC, host name, processes and SSH server."""
    called, settings = cloud.names, cloud.settings
    netns, tap = called.vm_netns, called.tap
    inside = cloud.host.namespace(netns).links.get("eth0")
    outer = cloud.host.root.links.get(tap)
    tenant = IPv4Network(settings.tenant_cidr).prefixlen
    address = str(IPv4Interface(f"{settings.vm_address}/{tenant}"))
    yield Want(netns in cloud.host.netns, f"{settings.vm_name} is a namespace", f"ip netns add {netns}")
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
        f"ovs-vsctl --may-exist add-port {called.integration} {tap} -- set port {tap} tag={TENANT_VLAN}"
        if cloud.uses_openvswitch
        else f"ip link set {tap} master {called.integration}",
    )
    has = inside or Link("eth0", "", False, "", (), 0, "", "", "")
    lo = cloud.host.namespace(netns).links.get("lo")
    yield Want(lo is not None and lo.up, "its loopback", f"ip -n {netns} link set lo up")
    yield Want(address in has.addresses, "its address", f"ip -n {netns} addr replace {address} dev eth0")
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
        cloud.host.listening.get(netns, False),
        "it boots: its own host name and processes, and an SSH server as in CirrOS (dropbear)",
        f"mkdir -p -m 700 /root/.ssh && cat ~admin/.ssh/authorized_keys > /root/.ssh/authorized_keys"
        f" && chmod 600 /root/.ssh/authorized_keys"
        f" && ip netns exec {netns} setsid -f unshare --uts --pid --fork --mount-proc --kill-child"
        f" sh -c 'hostname {name} && exec dropbear -F -s -j -k -r {VM_FOLDER}/host_key"
        f" -P /run/{netns}.pid -p 22' </dev/null >/run/{netns}.log 2>&1"
        f" && for i in $(seq 100); do [ -n \"$(ip netns exec {netns} ss -H -l -t -n sport = :22)\" ]"
        f" && exit 0; sleep 0.02; done; cat /run/{netns}.log >&2; exit 1",
    )
