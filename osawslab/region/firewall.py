"""The firewall of a VPC as input of `nft -f`: the source check, security groups, 1:1 NAT.

Pure: from network interfaces to text. All of it is one atomic change, and counters survive it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from ipaddress import IPv4Network, collapse_addresses
from itertools import pairwise

from osawslab.region.state import Eni, Entry, Group, Rule

LOG_GROUP = 5  # NFLOG group of dropped frames
REASONS = ("mac", "arp", "ip")  # AWS's source rule, in the order in which it is tried


def _elements(kind: str, name: str, elements: Iterable[str]) -> str:
    found = sorted(set(elements))
    text = f"flush {kind} {name}\n"
    return text + (f"add element {name} {{ {', '.join(found)} }}\n" if found else "")


def rules(
    enis: Sequence[Eni],
    ports: Mapping[str, str],
    online: Collection[str],
    groups: Mapping[str, Group],
    acls: Mapping[str, Sequence[Entry]],
    *,
    router: bool = True,
) -> str:
    """Write the whole firewall of one VPC; without `router` its bridges' part only.

    `ports` maps an ENI to its port; `online` are the subnets with a way to the internet; `acls`
    are the rules at each subnet's bridge.
    """
    guard = "bridge guard"
    text = _GUARD
    text += _elements("set", f"{guard} ports", ports.values())
    text += _elements("set", f"{guard} macs", (f"{ports[e.id]} . {e.mac}" for e in enis))
    text += _elements(
        "set",
        f"{guard} arps",
        (f"{ports[e.id]} . {e.mac} . {a}" for e in enis for a in e.addresses),
    )
    text += _elements(
        "set", f"{guard} sources", (f"{ports[e.id]} . {a}" for e in enis for a in e.addresses)
    )
    text += _elements(
        "set", f"{guard} anysource", (ports[e.id] for e in enis if not e.source_dest_check)
    )
    if router:
        text += _ROUTER
        mapped = [(a, eip) for e in enis if e.subnet in online for a, eip in e.eips.items()]
        text += _elements("map", "ip router eip_in", (f"{eip} : {a}" for a, eip in mapped))
        text += _elements("map", "ip router eip_out", (f"{a} : {eip}" for a, eip in mapped))
        text += _elements("set", "ip router has_eip", (a for a, _ in mapped))
        text += "".join(f"add rule ip router {line}\n" for line in _acls(acls))
    for family in (guard, *(("ip router",) if router else ())):
        for way in ("in", "out"):
            text += _security_groups(family, way, enis, groups)
    return text


def _security_groups(
    family: str, way: str, enis: Sequence[Eni], groups: Mapping[str, Group]
) -> str:
    found: dict[str, list[str]] = {"ports": [], "icmp": [], "all": []}
    for own, protocol, ports, peer in granted(way, enis, groups):
        if protocol == "-1":
            found["all"].append(f"{own} . {peer}")
        elif protocol == "icmp":
            found["icmp"].append(f"{own} . {peer}")
        else:
            found["ports"].append(f"{own} . {protocol} . {ports} . {peer}")
    return "".join(
        _elements("set", f"{family} {way}_{kind}", elements) for kind, elements in found.items()
    )


def granted(
    way: str, enis: Sequence[Eni], groups: Mapping[str, Group]
) -> Iterator[tuple[str, str, str, IPv4Network]]:
    """List what security groups let "in" or out: own address, protocol, ports, the peer's network.

    The protocol is "-1" for all of them; ports are "22" or "20-30", and mean nothing but for
    protocols that have some.
    """
    for eni in enis:
        found: dict[str, list[Rule]] = {}
        for group in (groups[key] for key in eni.groups if key in groups):
            for rule in group.ingress if way == "in" else group.egress:
                found.setdefault(rule.protocol, []).append(rule)
        for protocol, rules in found.items():
            for ports, peer in _disjoint(rules):
                for own in eni.addresses:
                    yield own, protocol, ports, peer


def _disjoint(rules: Sequence[Rule]) -> Iterator[tuple[str, IPv4Network]]:
    """Cut the rules of one protocol so that none overlaps: no set of nftables takes overlaps.

    >>> [(ports, str(peer)) for ports, peer in _disjoint([
    ...     Rule("tcp", 20, 30, "10.0.0.0/8"), Rule("tcp", 22, 22, "0.0.0.0/0")])]
    [('20-21', '10.0.0.0/8'), ('22', '0.0.0.0/0'), ('23-30', '10.0.0.0/8')]
    """
    cuts = sorted({rule.from_port for rule in rules} | {rule.to_port + 1 for rule in rules})
    for low, after in pairwise(cuts):
        here = [rule for rule in rules if rule.from_port <= low and after <= rule.to_port + 1]
        for peer in collapse_addresses(IPv4Network(rule.cidr) for rule in here):
            yield _span(low, after - 1), peer


def _span(first: int, last: int) -> str:
    return f"{first}" if first == last else f"{first}-{last}"


def _acls(acls: Mapping[str, Sequence[Entry]]) -> Iterator[str]:
    for bridge, entries in acls.items():
        for each in entries:
            way, own, peer = ("out", "iifname", "d") if each.egress else ("in", "oifname", "s")
            words = [f'acl_{way} {own} "{bridge}" ip {peer}addr {each.cidr}']
            if each.protocol in ("tcp", "udp"):
                words.append(f"ip protocol {each.protocol}")
                if each.from_port >= 0:
                    words.append(f"th dport {_span(each.from_port, each.to_port)}")
            elif each.protocol == "icmp":
                words.append("ip protocol icmp")
                if each.from_port >= 0:
                    words.append(f"icmp type {each.from_port}")
                if each.to_port >= 0:
                    words.append(f"icmp code {each.to_port}")
            elif each.protocol != "-1":
                words.append(f"ip protocol {each.protocol}")
            yield " ".join([*words, "return" if each.allow else _drop("acl")])


def _group_sets(family: str) -> str:
    """Declare the sets of the security groups: own address, [protocol, port,] peer's network."""
    text = ""
    for way in ("in", "out"):
        text += (
            f"add set {family} {way}_ports {{ type ipv4_addr . inet_proto . inet_service"
            " . ipv4_addr; flags interval; }\n"
            f"add set {family} {way}_icmp {{ type ipv4_addr . ipv4_addr; flags interval; }}\n"
            f"add set {family} {way}_all {{ type ipv4_addr . ipv4_addr; flags interval; }}\n"
        )
    return text


def _drop(reason: str) -> str:
    return f'log group {LOG_GROUP} prefix "{reason}" counter name drop_{reason} drop'


_GUARD = (
    "add table bridge guard\n"
    + "".join(
        f"add counter bridge guard drop_{reason}\n" for reason in (*REASONS, "other", "group")
    )
    + "add set bridge guard ports { type ifname; }\n"
    "add set bridge guard macs { type ifname . ether_addr; }\n"
    "add set bridge guard arps { type ifname . ether_addr . ipv4_addr; }\n"
    "add set bridge guard sources { type ifname . ipv4_addr; }\n"
    "add set bridge guard anysource { type ifname; }\n"
    + _group_sets("bridge guard")
    + "add chain bridge guard sent"
    " { type filter hook prerouting priority -300; policy accept; }\n"
    "add chain bridge guard within { type filter hook forward priority 0; policy accept; }\n"
    "flush chain bridge guard sent\n"
    "flush chain bridge guard within\n"
    "add rule bridge guard sent iifname != @ports accept\n"
    # A VPC without IPv6 and multicast drops both; no count, they say nothing about the lab.
    "add rule bridge guard sent ether type ip6 drop\n"
    "add rule bridge guard sent ip protocol igmp drop\n"
    f"add rule bridge guard sent iifname . ether saddr != @macs {_drop('mac')}\n"
    "add rule bridge guard sent"
    f" ether type arp iifname . arp saddr ether . arp saddr ip != @arps {_drop('arp')}\n"
    # Nobody is told of himself: an answer to Neutron's gratuitous ARP would have the router's own
    # MAC as its sender, and a switch that learns from it sends that MAC's frames to the NIC.
    "add rule bridge guard sent ether type arp iifname . arp daddr ip @sources drop\n"
    "add rule bridge guard sent ether type arp accept\n"
    # Who has no address yet asks DHCP; it goes to the router, as a bridge floods nothing.
    "add rule bridge guard sent ether daddr ff:ff:ff:ff:ff:ff"
    " ip saddr 0.0.0.0 ip daddr 255.255.255.255 udp sport 68 udp dport 67 accept\n"
    "add rule bridge guard sent ether type ip iifname @anysource accept\n"
    "add rule bridge guard sent ether type ip iifname . ip saddr @sources accept\n"
    f"add rule bridge guard sent ether type ip {_drop('ip')}\n"
    f"add rule bridge guard sent {_drop('other')}\n"
    # Inside a subnet there is no connection tracking: first packets only.
    + "".join(
        f"add rule bridge guard within {first} ip {own} . ip {peer} != @{way}_all"
        f" ip {own} . {service}ip {peer} != @{way}_{kind} {_drop('group')}\n"
        for own, peer, way in (("saddr", "daddr", "out"), ("daddr", "saddr", "in"))
        for first, service, kind in (
            ("tcp flags & (syn | ack) == syn", "ip protocol . th dport . ", "ports"),
            ("icmp type echo-request", "", "icmp"),
        )
    )
)

_ROUTER = (
    "add table ip router\n"
    "add counter ip router drop_acl\n"
    "add counter ip router drop_group\n"
    "add counter ip router drop_no_eip\n"
    "add map ip router eip_in { type ipv4_addr : ipv4_addr; }\n"
    "add map ip router eip_out { type ipv4_addr : ipv4_addr; }\n"
    "add set ip router has_eip { type ipv4_addr; }\n"
    + _group_sets("ip router")
    + "add chain ip router enter { type nat hook prerouting priority -100; policy accept; }\n"
    "add chain ip router leave { type nat hook postrouting priority 100; policy accept; }\n"
    "add chain ip router local { type filter hook input priority 0; policy accept; }\n"
    "add chain ip router inbound\n"
    "add chain ip router outbound\n"
    "add chain ip router acl_in\n"
    "add chain ip router acl_out\n"
    "add chain ip router forward { type filter hook forward priority 0; policy drop; }\n"
    "flush chain ip router forward\n"
    "flush chain ip router enter\n"
    "flush chain ip router local\n"
    "flush chain ip router leave\n"
    "flush chain ip router inbound\n"
    "flush chain ip router outbound\n"
    "flush chain ip router acl_in\n"
    "flush chain ip router acl_out\n"
    "add rule ip router local udp dport 67 drop\n"  # see `dhcp`, which has it by then
    'add rule ip router enter iifname "igw" dnat to ip daddr map @eip_in\n'
    'add rule ip router leave oifname "igw" snat to ip saddr map @eip_out\n'
    "add rule ip router inbound ip daddr . ip saddr @in_all accept\n"
    "add rule ip router inbound ip protocol icmp ip daddr . ip saddr @in_icmp accept\n"
    "add rule ip router inbound ip daddr . ip protocol . th dport . ip saddr @in_ports accept\n"
    f"add rule ip router inbound {_drop('group')}\n"
    "add rule ip router outbound ip saddr . ip daddr @out_all return\n"
    "add rule ip router outbound ip protocol icmp ip saddr . ip daddr @out_icmp return\n"
    "add rule ip router outbound ip saddr . ip protocol . th dport . ip daddr @out_ports return\n"
    f"add rule ip router outbound {_drop('group')}\n"
    # A network ACL remembers no connection: it holds for answers too.
    "add rule ip router forward jump acl_out\n"
    "add rule ip router forward jump acl_in\n"
    "add rule ip router forward ct state established,related accept\n"
    'add rule ip router forward iifname "igw" jump inbound\n'
    f'add rule ip router forward oifname "igw" ip saddr != @has_eip {_drop("no_eip")}\n'
    "add rule ip router forward jump outbound\n"
    'add rule ip router forward oifname "igw" accept\n'
    "add rule ip router forward jump inbound\n"
)
