"""The VPC on the Linux kernel: from EC2's state to links, neighbours and firewall rules.

Pure functions; nothing here touches the kernel. One network namespace is each VPC's router,
one bridge in it each subnet, one veth each attached ENI. What AWS does to frames is held by
four mechanisms of the kernel:

- the *mapping service*: a bridge floods nothing and answers ARP itself (`proxy_arp`), from
  permanent neighbours that are exactly the registered pairs;
- the *source check*: nftables in the bridge, on every frame that leaves an ENI. The MAC
  always ("The AWS network allows instances to send traffic only from the MAC and IP addresses
  assigned to them", EC2 User Guide, infrastructure security), the ARP sender too, the IP
  unless SourceDestCheck is off;
- the *network ACLs*: rules in the router, for all that passes a subnet's edge, answers too;
- the *internet gateway*: 1:1 NAT for each Elastic IP, security groups by connection tracking.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network

from osawslab.region import firewall, legacy
from osawslab.region.firewall import REASONS as REASONS
from osawslab.region.state import Eni, State

INTERNET = "internet"  # the namespace that is everything outside AWS
USER_ADDRESS = "198.51.100.7"  # a user's machine there (TEST-NET-2, RFC 5737)
PUBLIC_ADDRESS = "8.8.8.8"
METADATA_ADDRESS = "169.254.169.254"  # in each VPC; see `imds`
MIRROR_ADDRESS, MIRROR_PORT = "198.51.100.80", 3142  # where whole instances get packages
VPC_MTU = 9001  # EC2 User Guide, "Network MTU"
IGW_MTU = 1500  # the same page: an internet gateway forwards up to 1500 bytes
EDGE, OUTSIDE = "100.64.0.2", "100.64.0.1"  # both ends of each VPC's leg (RFC 6598)

XEN_FAMILIES = ("t2.", "m3.", "t1.", "m1.", "m2.", "c1.")  # driver vif; later ones are Nitro (ena)


def driver(instance_type: str) -> str:
    """Name the NIC driver of an instance type: "vif" (Xen) or "ena" (Nitro)."""
    return "vif" if instance_type.startswith(XEN_FAMILIES) else "ena"


def nic_name(instance_type: str, device_index: int) -> str:
    """Name a NIC as the instance's kernel does: eth1 with vif, ens6 with ena."""
    return f"eth{device_index}" if driver(instance_type) == "vif" else f"ens{5 + device_index}"


def vpc_netns(vpc: str) -> str:
    """Name the namespace of a VPC's router."""
    return f"vpc-{vpc[-8:]}"


def bridge_name(subnet: str) -> str:
    """Name the bridge that is a subnet."""
    return f"sn-{subnet[-8:]}"


def port_name(eni: str) -> str:
    """Name the VPC's end of an ENI's cable."""
    return f"p-{eni[-8:]}"


def leg(netns: str) -> str:
    """Name the internet's end of a VPC's cable."""
    return f"u-{netns[-8:]}"


def leg_mac(netns: str, end: str) -> str:
    """Give the MAC of an end of that cable: EDGE is the VPC's, OUTSIDE the internet's."""
    return "0a:" + hashlib.sha256(f"{netns} {end}".encode()).digest()[:5].hex(":")


def instance_netns(instance: str, boots: int) -> str:
    """Name an instance's namespace; each boot has one of its own."""
    return f"{instance}.{boots}"


def router_mac(subnet: str) -> str:
    """Give the MAC of the VPC's router in a subnet; follows from the subnet's id."""
    digest = hashlib.sha256(subnet.encode()).hexdigest()
    return "0a:" + ":".join(digest[i : i + 2] for i in range(0, 10, 2))


@dataclass(frozen=True)
class Network:
    """What one VPC's namespace must hold, as input of `ip -batch`, `bridge -batch` and `nft -f`."""

    netns: str
    links: Mapping[str, tuple[str, ...]]  # link -> ip lines that make it
    filters: Mapping[str, tuple[str, ...]]  # port -> tc lines that join the parts of its NIC
    owners: Mapping[str, str]  # port -> instance's namespace, kept as the port's alias
    settings: tuple[str, ...]  # ip lines that are idempotent
    fdb: tuple[str, ...]  # bridge lines
    rules: str  # nft
    router: str  # iptables-legacy-restore, where nft knows bridges only; else ""
    eips: tuple[str, ...]


def networks(state: State, *, legacy_router: bool = False) -> dict[str, Network]:
    """Derive every VPC that has an ENI attached, keyed by its namespace."""
    return {vpc_netns(vpc): _network(state, vpc, legacy_router) for vpc in sorted(vpcs(state))}


def vpcs(state: State) -> set[str]:
    """Name the VPCs that have an ENI of a running instance: those that have a router."""
    return {state.subnets[eni.subnet].vpc for eni in _live(state)}


def _live(state: State) -> list[Eni]:
    return [
        eni
        for _, eni in sorted(state.enis.items())
        if eni.instance in state.instances and state.instances[eni.instance].running
    ]


def _network(state: State, vpc: str, legacy_router: bool) -> Network:
    subnets = {key: net for key, net in sorted(state.subnets.items()) if net.vpc == vpc}
    enis = [eni for eni in _live(state) if eni.subnet in subnets]
    links: dict[str, tuple[str, ...]] = {}
    owners: dict[str, str] = {}
    settings: list[str] = []
    fdb: list[str] = []
    filters: dict[str, tuple[str, ...]] = {}
    for key in sorted({eni.subnet for eni in enis}):
        bridge, cidr = bridge_name(key), IPv4Network(subnets[key].cidr)
        links[bridge] = (
            f"link add {bridge} type bridge stp_state 0 mcast_snooping 0",
            f"link set {bridge} address {router_mac(key)} mtu {VPC_MTU}",
            f"addr add {cidr[1]}/{cidr.prefixlen} dev {bridge}",
            f"link set {bridge} up",
        )
    for eni in enis:
        instance = state.instances[eni.instance]
        port, bridge = port_name(eni.id), bridge_name(eni.subnet)
        netns = instance_netns(instance.id, instance.boots)
        nic = nic_name(instance.type, eni.device_index)
        owners[port] = netns
        cable: tuple[str, ...]
        if driver(instance.type) == "vif":
            cable = (
                f"link add {port} mtu {VPC_MTU} type veth peer name {nic} netns {netns}"
                f" address {eni.mac} mtu {VPC_MTU}",
            )
        else:
            cable, joined = _ena(port, nic, netns, eni.mac)
            filters[port] = joined
        links[port] = (
            *cable,
            f"link set {port} alias {netns}",
            f"link set {port} master {bridge} up",
            f"link set {port} type bridge_slave learning off flood off mcast_flood off"
            " bcast_flood off proxy_arp on",
        )
        fdb.append(f"fdb replace {eni.mac} dev {port} master static")
        settings += [
            f"neigh replace {address} lladdr {eni.mac} dev {bridge} nud permanent"
            for address in eni.addresses
        ]
    eips = tuple(sorted(eip for eni in enis for eip in eni.eips.values()))
    acls = {bridge_name(key): subnets[key].acl for key in sorted({eni.subnet for eni in enis})}
    online = {key for key, net in subnets.items() if net.internet}
    return Network(
        vpc_netns(vpc),
        links,
        filters,
        owners,
        tuple(settings),
        tuple(fdb),
        firewall.rules(
            enis,
            {eni.id: port_name(eni.id) for eni in enis},
            online,
            state.groups,
            acls,
            router=not legacy_router,
        ),
        legacy.router(enis, online, state.groups, acls) if legacy_router else "",
        eips,
    )


def ena_name(port: str) -> str:
    """Name the device that holds the MAC of an `ena` NIC."""
    return "n-" + port[2:]


def _ena(port: str, nic: str, netns: str, mac: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Make a NIC whose MAC cannot be changed: ip lines, and tc lines.

    ENA's driver has no ndo_set_mac_address (amzn-drivers, ena_netdev.c), so the kernel answers
    EOPNOTSUPP. `ifb` has none either, and a macvlan in passthru mode hands the change down to
    the device below it.
    """
    low, leg = ena_name(port), "l-" + port[2:]
    cable = (
        f"link add {low} address {mac} mtu {VPC_MTU} type ifb",
        f"link set {low} up promisc on",
        f"link add {port} mtu {VPC_MTU} type veth peer name {leg} mtu {VPC_MTU}",
        f"link set {leg} up promisc on",
        f"link add link {low} name {nic} netns {netns} mtu {VPC_MTU} type macvlan mode passthru",
    )
    joined = (
        f"qdisc add dev {low} clsact",
        f"qdisc add dev {leg} clsact",
        f"filter add dev {low} egress protocol all prio 1 u32 match u32 0 0"
        f" action mirred egress redirect dev {leg}",
        f"filter add dev {leg} ingress protocol all prio 1 u32 match u32 0 0"
        f" action mirred ingress redirect dev {low}",
    )
    return cable, joined


def birth(netns: str) -> tuple[str, str]:
    """Give the ip lines, for the internet and for a VPC, that join a new VPC to the internet."""
    outside = [
        f"link add {leg(netns)} address {leg_mac(netns, OUTSIDE)} mtu {IGW_MTU} type veth"
        f" peer name igw netns {netns} address {leg_mac(netns, EDGE)} mtu {IGW_MTU}",
        f"addr add {OUTSIDE} peer {EDGE} dev {leg(netns)}",
        f"link set {leg(netns)} up",
    ]
    inside = [
        "link set lo up",
        f"addr add {METADATA_ADDRESS}/32 dev lo scope host",  # nothing is sent from it unasked
        f"addr add {EDGE} peer {OUTSIDE} dev igw",
        "link set igw up",
        f"route add default via {OUTSIDE} dev igw",
    ]
    return "\n".join(outside) + "\n", "\n".join(inside) + "\n"


def internet_birth() -> str:
    """Give the ip lines of the internet: a public server, one of packages, and a user."""
    addresses = (PUBLIC_ADDRESS, MIRROR_ADDRESS, USER_ADDRESS)
    return "link set lo up\n" + "".join(f"addr add {each}/32 dev lo\n" for each in addresses)


def internet_routes(all_networks: Mapping[str, Network]) -> dict[str, str]:
    """Map each Elastic IP in use to the ip line that leads to it."""
    return {
        eip: f"route replace {eip}/32 via {EDGE} dev {leg(netns)} src {USER_ADDRESS} onlink"
        for netns, net in all_networks.items()
        for eip in net.eips
    }
