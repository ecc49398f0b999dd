"""The places of the path in a learner's words: what may be wrong there, and what shows it.

A place is a station of the diagnosis. What is said here holds for whatever broke it.
"""

from __future__ import annotations

from dataclasses import dataclass

AREAS = {  # area -> the first hint: where to look
    "AWS": "Look at AWS's books, not at the instance: nothing on the instance is wrong.",
    "host": "Look at the instance itself, outside of the router: the provider NIC, the bridges,"
    " and the way between the NIC and the router's gateway port.",
    "router": "Look into the router's namespace: its gateway port, its routes, its rules.",
    "tenant": "Look behind the router: its port on the tenant network, and the VM.",
    "cloud": "Look at OpenStack itself, not at the network: all may still pass.",
}


@dataclass(frozen=True)
class Place:
    """A place that can be a cause: its area, what is wrong there, what shows it."""

    area: str
    what: str
    look: str  # the second hint: what to look at, and what for

    @property
    def clouds(self) -> tuple[str, ...]:
        """Give the clouds that have it."""
        return ("openstack",) if self.area == "cloud" else ("handbuilt", "openstack")


def _places() -> dict[str, Place]:
    found = {}
    every = {"AWS": AWS, "host": HOST, "router": ROUTER, "tenant": TENANT, "cloud": CLOUD}
    for area, lines in every.items():
        for key, (what, look) in lines.items():
            found[key] = Place(area, what, look)
    return found


AWS = {
    "instance": (
        "the instance does not run",
        "lab.status(): the state of the instance.",
    ),
    "igw": (
        "the VPC has no internet gateway",
        "lab.routes(): where does the VPC's 0.0.0.0/0 lead, and is that gateway the VPC's?",
    ),
    "routes": (
        "the VPC's route table does not lead to the internet gateway",
        "lab.routes(), the rows of the VPC: is there a way to 0.0.0.0/0, and where does it lead?",
    ),
    "nacl": (
        "the subnet's network ACL stops packets",
        "aws ec2 describe-network-acls: the lowest number that fits decides, in each direction;"
        " and an ACL remembers no connection.",
    ),
    "group": (
        "the security group does not let in, or out, what must pass",
        "aws ec2 describe-security-groups: is every published port let in, and all let out?",
    ),
    "eni": (
        "a network interface is not attached to the instance",
        "lab.status(), and aws ec2 describe-network-interfaces: is each one in use?",
    ),
    "source-check": (
        "SourceDestCheck is on, and addresses go through that are not the interface's",
        "aws ec2 describe-network-interfaces: SourceDestCheck, and lab.drops(), reason ip.",
    ),
    "eip": (
        "an Elastic IP does not lead to the address that it should lead to",
        "lab.nat(), the rows of the VPC, and lab.status(): which address has which Elastic IP?",
    ),
}
HOST = {
    "root": (
        "the instance does not let you in, or not as root",
        "ssh -v to the instance: who answers, and what is refused?",
    ),
    "openvswitch": (
        "Open vSwitch does not run",
        'lab.shell("ovs-vsctl show"), and lab.shell("ovs-ofctl show br-int"): do both answer?',
    ),
    "nic": (
        "the provider NIC is gone",
        "lab.links(): is every interface that AWS has registered there?",
    ),
    "client": (
        "something else configures the provider NIC (a DHCP client, a stanza)",
        'lab.shell("ps -ef"), and /etc/network: who gives the provider NIC an address?',
    ),
    "nic-up": (
        "the provider NIC is down",
        "lab.links(): is every interface on the way up?",
    ),
    "nic-address": (
        "the provider NIC has an address, which is the router's",
        'lab.arp(), the rows of the host, and lab.shell("ip -br addr"): whose is which address?',
    ),
    "nic-mtu": (
        "the provider NIC's MTU is too small",
        'lab.shell("ip link"), and compare MTUs along the way: small packets pass, large do not.',
    ),
    "nic-queue": (
        "the provider NIC delays or loses what it is given",
        'lab.shell("tc qdisc"): anything else than noqueue, mq, fq_codel or pfifo_fast?',
    ),
    "bridge": (
        "the provider NIC is not a port of its bridge",
        'lab.topology(), or lab.shell("ovs-vsctl show"): which ports has the provider bridge?',
    ),
    "patch": (
        "the two bridges are not joined",
        'lab.shell("ovs-vsctl show"): a patch cable has two ends, and each names the other.',
    ),
    "gateway-plugged": (
        "the gateway port is not plugged into the bridge, or into another VLAN",
        'lab.shell("ovs-vsctl show"): the tag of the gateway port; on a Linux bridge, its master.',
    ),
    "duplicate": (
        "another interface has the router's MAC too",
        "lab.links(): which MAC is there twice?",
    ),
    "fdb": (
        "a bridge hands the router's frames to the wrong port",
        "lab.fdb(): to which port does each bridge hand the frames for the router's MAC?",
    ),
    "flows": (
        "a bridge's flows or VLANs lose the frames",
        'lab.capture(): at which point are the frames seen last? Then lab.shell("ovs-ofctl'
        ' dump-flows br-example"), and the tags of the ports on the way.',
    ),
    "bridge-filter": (
        "the host's iptables drop what its bridges carry",
        'lab.shell("sysctl net.bridge; iptables-save").',
    ),
}
ROUTER = {
    "namespace": (
        "there is no router",
        'lab.shell("ip netns"): is there a namespace qrouter-…?',
    ),
    "gateway-up": (
        "the gateway port is down",
        "lab.links(), the rows of the router: is every one up?",
    ),
    "gateway-address": (
        "the gateway port has no address, or the wrong mask",
        "lab.arp() and lab.routes(), the rows of the router: its own address, and how large it"
        " thinks the subnet is.",
    ),
    "registered": (
        "the gateway port has an address that AWS has not registered",
        "lab.arp(): compare the router's own address with those of the VPC, and lab.drops().",
    ),
    "gateway-mac": (
        "the gateway port has not the registered MAC",
        "lab.arp(): compare the router's own MAC with the VPC's for that address; lab.drops(),"
        " reason mac.",
    ),
    "gateway-mtu": (
        "the gateway port's MTU is not what it should be",
        'lab.shell("ip -all netns exec ip link"): compare MTUs along the way.',
    ),
    "gateway-queue": (
        "the gateway port delays or loses what it is given",
        'lab.shell("ip -all netns exec tc qdisc").',
    ),
    "fixed-neighbour": (
        "a fixed entry says a wrong MAC for the VPC's router",
        "lab.arp(), what the router has learned: a MAC that was learned is usable; one that was"
        " set is never asked for again.",
    ),
    "default-route": (
        "the router's default route is missing, or leads elsewhere",
        "lab.routes(), the rows of the router: is there a default, and via which address?",
    ),
    "policy": (
        "a rule or a route of the router sends packets elsewhere",
        'lab.routes(), and lab.shell("ip -all netns exec ip rule"): anything but local, main and'
        " default?",
    ),
    "forwarding": (
        "the router does not forward",
        'lab.shell("ip -all netns exec sysctl net.ipv4.ip_forward"): it answers for itself, but'
        " what it should pass on ends in it.",
    ),
    "snat": (
        "what the VM sends leaves with an address that AWS has not registered",
        "lab.nat(), the rows of the router: what makes the VM's address a registered one? And a"
        " capture at the provider NIC: with which source do its packets leave?",
    ),
    "filter": (
        "a rule of the router's iptables drops packets",
        'lab.capture(): where is a packet seen last? Then lab.shell("ip -all netns exec'
        ' iptables-save"), all tables.',
    ),
    "nft": (
        "a rule of nftables drops packets",
        'lab.shell("ip -all netns exec nft list ruleset"): tables that iptables does not show.',
    ),
    "dnat": (
        "what is published leads to no VM, or to the wrong one",
        "lab.nat(), the rows of the router: which address and port lead where?",
    ),
}
TENANT = {
    "inner-up": (
        "the router's port on the tenant network is down",
        "lab.links(), the rows of the router: is every one up?",
    ),
    "inner-address": (
        "the router's port on the tenant network has not the gateway's address",
        "lab.arp(), the rows of the router: its own addresses, and the VM's gateway.",
    ),
    "inner-plugged": (
        "the router's port on the tenant network is in another VLAN, or unplugged",
        'lab.shell("ovs-vsctl show"): compare the tags of the qr-… port and of the VM\'s.',
    ),
    "inner-queue": (
        "the router's port on the tenant network delays or loses what it is given",
        'lab.shell("ip -all netns exec tc qdisc").',
    ),
    "guest-plugged": (
        "the VM is unplugged, or in another VLAN",
        'lab.shell("ovs-vsctl show") and lab.links(): the VM\'s tap: is it up, in br-int, and with'
        " which tag?",
    ),
    "guest-up": (
        "the VM's interface is down",
        "lab.links(), the rows of the VM.",
    ),
    "guest-way": (
        "the VM's default route is missing, or leads elsewhere",
        "lab.routes(), the rows of the VM: a packet reaches it; how does its answer leave?",
    ),
    "guest-neighbour": (
        "a fixed entry says a wrong MAC for the VM",
        "lab.arp(), what the router has learned of the VM: compare it with the VM's own.",
    ),
    "guest-mtu": (
        "the VM's MTU is not that of its network",
        "lab.links(), or a large ping: small packets pass, large do not.",
    ),
    "guest-filter": (
        "a firewall in the VM drops what arrives",
        "lab.capture(): the packet arrives at the VM, and nothing comes back. Then iptables-save"
        " in the VM's namespace.",
    ),
    "guest": (
        "the VM itself drops what arrives",
        "lab.capture(): the packet arrives at the VM, and nothing comes back.",
    ),
    "server": (
        "the VM's SSH server does not answer",
        "lab.capture(): the connection is refused, or taken and never answered, by the VM itself.",
    ),
}
CLOUD = {
    "services": (
        "an agent or a service of OpenStack does not run",
        "lab.shell(\"systemctl list-units --all 'neutron*' 'nova*'\"): is every one active?",
    ),
}
PLACES = _places()
