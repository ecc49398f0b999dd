"""The network that Neutron's agents make, made by hand: what is there, and what is missing.

Bridges and patch ports as of neutron-openvswitch-agent, the router as of neutron-l3-agent:
`neutron/agent/l3/router_info.py`, `iptables_manager.py`; flows as of `ovs_neutron_agent.py`.
Where there is no Open vSwitch, two Linux bridges as of the former linuxbridge agent.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from osawslab.cloud.names import Names, names
from osawslab.errors import StepNotReady
from osawslab.host import facts as host_facts
from osawslab.host import interfaces
from osawslab.host.facts import Bridge, HostFacts, Link, Namespace
from osawslab.settings import Settings

if TYPE_CHECKING:
    from osawslab.host.ssh import SshHost

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
REFUSAL = f"{FOLDER}/mac-refusal"  # what the NIC's driver said to another MAC
# What is made to last, with its strategy: the hand-built cloud's, and the real one's.
LASTING = (f"{FOLDER}/last.json", f"{FOLDER}/provider-nic")
NAMES = f"{FOLDER}/names.json"  # what Neutron has called router, ports and VM
SOCKETS = "/proc/net/packet"  # who listens on which interface: packet(7)
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
    def has_vm(self) -> bool:
        """True where the VM is: a namespace of its own, or a process of Nova's on a tap."""
        if self.settings.cloud == "openstack":
            return self.names.tap in self.host.root.links
        return "eth0" in self.host.namespace(self.names.vm_netns).links

    @property
    def no_openvswitch(self) -> str:
        """Say why the instance cannot have Open vSwitch; "" where it can."""
        if not self.host.programs.get("ovs-vsctl") and not self.host.dpkg:
            return "Open vSwitch is not there and cannot be installed"
        if not self.host.openvswitch_module and not self.host.tun:
            return "the kernel has no openvswitch module and /dev/net/tun does not open"
        return ""

    @property
    def uses_openvswitch(self) -> bool:
        """Open vSwitch where the instance can have it, else Linux bridges."""
        if self.settings.bridge == "auto":
            return not self.no_openvswitch
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
        the one that has the registered MAC, or the one that the swap gives the NIC, and is no
        bridge and no port of the router.
        """
        links = [link for link in self.host.root.links.values() if link.name != "lo"]
        own = [link for link in links if not link.name.startswith(("qg-", "qr-", "tap", "brq"))]
        for found in (
            [link for link in own if link.alias == ALIAS + self.registered_mac],
            [link for link in own if link.permanent_mac == self.registered_mac],
            [
                link
                for link in own
                if link.mac in (self.registered_mac, self.names.other_mac)
                and link.kind not in ("bridge", "openvswitch", "tun")
                and link.name != self.settings.provider_bridge
            ],
        ):
            if found:
                return found[0]
        return None

    @property
    def swapped(self) -> bool:
        """True when what leaves the gateway port has the registered MAC, its own or not."""
        gateway = self.gateway
        return gateway is not None and (gateway.mac == self.registered_mac or self.translates)

    @property
    def lasts(self) -> str:
        """The strategy that is made to last, or ""."""
        told = "".join(self.host.files.get(path) or "" for path in LASTING)
        found = re.search(r"\bstrategy\W+([a-z-]+)", told)
        return found[1] if found else ""

    @property
    def translates(self) -> bool:
        """True when the provider NIC is a port of the bridge that translates MACs."""
        own, nic = self.bridge(self.names.translator), self.provider_nic
        return self.uses_openvswitch and bool(own and nic and nic.name in own.ports)

    def bridge(self, name: str) -> Bridge | None:
        """Give a bridge with its ports, of either kind; None where there is none."""
        if self.uses_openvswitch:
            return (self.host.bridges or {}).get(name)
        links = self.host.root.links
        if name not in links or links[name].kind != "bridge":
            return None
        return Bridge({link.name: 0 for link in links.values() if link.master == name}, "linux", ())

    def deaf(self, nic: Link) -> str:
        """Name the bridge in user space that has the NIC and does not hear it, "" for none.

        Open vSwitch listens on the interface that there was when the port was added: one that was
        detached and attached again is another (`netdev_linux` opens its packet socket once).
        """
        rows = [line.split() for line in (self.host.files.get(SOCKETS) or "").splitlines()[1:]]
        heard = not rows or any(row[4:5] == [str(nic.index)] for row in rows)
        found = [
            name for name, each in (self.host.bridges or {}).items()
            if each.datapath == "netdev" and nic.name in each.ports
        ]  # fmt: skip
        return found[0] if found and not heard else ""

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


def read(host: SshHost, settings: Settings, registered_mac: str, *, learned: bool = False) -> Cloud:
    """Read the cloud from the instance, in one round trip: the hand-built or the real one.

    `learned`: its neighbours and forwarding tables too, and the namespaces of the DHCP servers.
    """
    called, real = names(settings.name, settings.vm_name), settings.cloud == "openstack"
    facts = host_facts.read(
        host,
        netns=("qrouter-*", *(("qdhcp-*",) if learned else ()))
        if real
        else ("qrouter-*", called.vm_netns),
        programs=(*PROGRAMS, "apt-get"),
        files=(NOTE, EVIDENCE, REFUSAL, VM_HOST_KEY, NAMES, SOCKETS, *LASTING, *interfaces.PATHS),
        bridges=(called.integration, settings.provider_bridge, called.translator),
        learned=learned,
    )
    if real:
        called = noted(facts.files.get(NAMES), called)
    return Cloud(settings, called, registered_mac, facts)


def noted(text: str | None, otherwise: Names) -> Names:
    """Read the note of the names that Neutron gave; `otherwise` where there is none."""
    try:
        return Names(**json.loads(text)) if text else otherwise
    except (TypeError, ValueError):
        return otherwise


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
    """Want a bridge of the kind the cloud uses. Raises StepNotReady where one of the other is."""
    link = cloud.host.root.links.get(name)
    if link is not None and cloud.bridge(name) is None:
        raise StepNotReady(
            f"{name} is there already, as a bridge of another kind",
            seen=f"{name} is of kind {link.kind or 'unknown'}",
            next='lab.reset("install_cloud"), with the settings it was made with',
        )
    if not cloud.uses_openvswitch:
        make = f"ip link add {name} type bridge stp_state 0 mcast_snooping 0 && "
        return Want(
            link is not None and link.up, why, f"{'' if link else make}ip link set {name} up"
        )
    kind = f" -- set bridge {name} {datapath(cloud)}" if datapath(cloud) else ""
    return Want(cloud.bridge(name) is not None, why, f"ovs-vsctl --may-exist add-br {name}{kind}")


def provider_bridge(cloud: Cloud) -> Iterator[Want]:
    """Want the provider bridge with the provider NIC in it."""
    nic, name = cloud.require_provider_nic(), cloud.settings.provider_bridge
    yield add_bridge(cloud, name, "the bridge between the provider NIC and the router")
    bridge = cloud.bridge(name)
    inside = cloud.translates or (bridge is not None and nic.name in bridge.ports)
    others = [each.ports for each in (cloud.host.bridges or {}).values() if each is not bridge]
    first = (
        f"--if-exists del-port {nic.name} -- " if any(nic.name in each for each in others) else ""
    )
    command = (
        f"ovs-vsctl {first}--may-exist add-port {name} {nic.name}"
        if cloud.uses_openvswitch
        else f"ip link set {nic.name} master {name}"
    )
    yield Want(inside, "the NIC is a port of the bridge, no address of the host's", command)
    yield Want(
        not (cloud.uses_openvswitch and bridge and bridge.ports.get(nic.name)),
        "the NIC is in no VLAN",
        f"ovs-vsctl clear port {nic.name} tag",
    )
    holder = cloud.deaf(nic)
    yield Want(
        not holder,
        "the switch listens on the NIC that was there before",
        f"ovs-vsctl del-port {nic.name} && ovs-vsctl add-port {holder} {nic.name}",
    )


def patch(cloud: Cloud) -> Iterator[Want]:
    """Want both Open vSwitch bridges joined as the agent joins them."""
    if not cloud.uses_openvswitch:
        return
    provider, inner = cloud.settings.provider_bridge, cloud.names.integration
    near, far = f"int-{provider}"[:15], f"phy-{provider}"[:15]
    left, right = cloud.bridge(inner), cloud.bridge(provider)
    yield Want(
        left is not None
        and near in left.ports
        and right is not None
        and far in right.ports
        and (cloud.host.peers.get(near), cloud.host.peers.get(far)) == (far, near),
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
            f'in_port="{far}",dl_vlan={PROVIDER_VLAN} actions=strip_vlan,NORMAL',
            f"priority=4,in_port={far},dl_vlan={PROVIDER_VLAN},actions=strip_vlan,NORMAL",
        ),
        (
            right,
            provider,
            f'in_port="{far}" actions=drop',
            f"priority=2,in_port={far},actions=drop",
        ),
        (
            left,
            inner,
            f'in_port="{near}",vlan_tci=0x0000/0x1fff actions=mod_vlan_vid:{PROVIDER_VLAN},NORMAL',
            f"priority=3,in_port={near},vlan_tci=0x0000/0x1fff,"
            f"actions=mod_vlan_vid:{PROVIDER_VLAN},NORMAL",
        ),
        (left, inner, f'in_port="{near}" actions=drop', f"priority=2,in_port={near},actions=drop"),
    ):
        held = bridge is not None and any(flow.endswith(found) for flow in bridge.flows)
        yield Want(
            held, "the local VLAN is put on and taken off", f"ovs-ofctl add-flow {name} '{rule}'"
        )
