"""The one rule or table entry that decided what became of a frame, or where it goes next; pure.

From facts alone: AWS's books, the host's tables, its rules, and what its connection tracking has
translated. Where no fact tells, nothing is said.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Any, NamedTuple

from osawslab.host.facts import HostFacts
from osawslab.observe import acls, forwarding, nexthops, state
from osawslab.observe.natrules import Meeting, fits
from osawslab.observe.owners import Nic
from osawslab.observe.seen import Seen
from osawslab.observe.state import VPC, Sight
from osawslab.observe.tracked import Flow, Translation
from osawslab.report import Table

PROVIDER, MANAGEMENT, INTERNET = "provider NIC", "management NIC", "internet"
POINTS = {"VPC": PROVIDER, "VPC drops": PROVIDER, "VPC management": MANAGEMENT}
PAIRS, ELASTIC, GROUP, ACL = "registered pairs", "Elastic IPs", "security group", "network ACL"
ON_LINK = "its network is here"
DROPPED, UNTOLD = "dropped", "AWS drops it, and tells nobody"


class Entry(NamedTuple):
    """A rule or an entry: where it is, of which table, itself, and what follows from it."""

    where: str
    table: str
    entry: str
    so: str

    def __str__(self) -> str:
        return f"{self.where}, {self.table}: {self.entry}"


@dataclass(frozen=True)
class Facts:
    """What decides: the tables of a lab, and what its routers have translated."""

    sight: Sight
    tracked: tuple[Translation, ...] = ()
    acls: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)  # by NIC's role

    def known(self, protocol: str, flow: Flow) -> Iterator[Flow]:
        """Say what tracking and Elastic IPs make of a flow, or made it of."""
        for entry in self.tracked:
            if entry.protocol == protocol and (other := entry.other(flow)) not in (None, flow):
                assert other is not None
                yield other
        for nic in self.sight.nics:
            if nic.eip:
                inner = nic.inner or nic.addresses[0]
                for one, two in ((inner, nic.eip), (nic.eip, inner)):
                    if flow.src == one:
                        yield flow._replace(src=two)
                    if flow.dst == one:
                        yield flow._replace(dst=two)

    def interface(self, point: str) -> tuple[str, str] | None:
        """Find the interface that a point's name means: namespace and name; None for none."""
        ports = self.sight.owners.ports
        for (space, device), words in ports.items():
            if point in (words, device, f"{self.sight.places.get(space, space)}'s {device}"):
                return space, device
        return None

    def nic(self, role: str) -> Nic | None:
        """Give a network interface of the instance, as AWS has it."""
        return next((nic for nic in self.sight.nics if nic.role == role), None)


class Why(Table):
    """The one rule or entry, as a table of one row; without rows where no fact tells."""


def why(facts: Facts, seen: Seen, became: Flow | None = None) -> Why:
    """Show what decided about a frame."""
    entry = decide(facts, seen, became)
    rows = (tuple(entry),) if entry else ()
    caption = (
        f"What decided about the {seen.protocol or 'other'} frame at {seen.point or 'a point'}"
    )
    return Why(caption, ("where", "table", "entry", "so"), rows, code=("entry",))


def decide(facts: Facts, seen: Seen, became: Flow | None = None) -> Entry | None:
    """Find it; `became` is the flow that the frame had one hop later, where that was seen."""
    found = facts.interface(seen.point)
    role = POINTS.get(seen.point) or (facts.sight.owners.port(*found) if found else "")
    nic = facts.nic(role)
    if seen.point == "VPC drops":
        same = (each for each in facts.sight.nics if each.mac.lower() == seen.src_mac.lower())
        nic = next(same, nic)
    if seen.point == INTERNET:
        return _elastic(facts, seen, arriving=True) if seen.direction == "out" else None
    if nic is not None:
        inside = POINTS.get(seen.point) is not None
        outward = seen.direction == ("in" if inside else "out") or seen.point == "VPC drops"
        if outward or seen.verdict.startswith(DROPPED):
            return _leaving(facts, seen, nic, inside)
        if inside:
            return _handed(nic, seen)
    if found is None:
        return None
    return _on_host(facts, seen, *found, became)


def _leaving(facts: Facts, seen: Seen, nic: Nic, inside: bool) -> Entry | None:
    """Say what AWS has against or for a frame that comes out of the instance."""
    if seen.verdict.startswith(DROPPED) and "security group" in seen.verdict:
        return Entry(VPC, GROUP, "no rule lets it through", seen.verdict)
    if seen.verdict.startswith(DROPPED) and ACL in seen.verdict:
        named = acls.rule(facts.acls.get(nic.role, ()), seen, seen.src in nic.addresses)
        return Entry(VPC, ACL, named or "a rule of the subnet's denies it", seen.verdict)
    pairs = f"{nic.role}: {nic.mac} with {', '.join(nic.addresses)}"
    dropped = DROPPED if seen.verdict else UNTOLD
    if seen.src_mac.lower() != nic.mac.lower():
        return Entry(VPC, PAIRS, pairs, f"MAC {seen.src_mac} is not registered: {dropped}")
    strange = seen.src not in (*nic.addresses, "0.0.0.0", "")
    if seen.protocol == "ARP" and strange:
        return Entry(VPC, PAIRS, pairs, f"ARP speaks for {seen.src}: {dropped}")
    if strange and seen.verdict.startswith(DROPPED):
        return Entry(VPC, PAIRS, pairs, f"address {seen.src} is not registered: {dropped}")
    if (inside or seen.verdict.startswith(DROPPED)) and seen.protocol != "ARP":
        return _elastic(facts, seen, arriving=False) or _route(VPC, facts.sight.routes, seen.dst)
    return Entry(VPC, PAIRS, pairs, "MAC and address are registered: let through")


def _elastic(facts: Facts, seen: Seen, arriving: bool) -> Entry | None:
    """Find the Elastic IP that leads in or out; None for a way that stays in the VPC."""
    gone = None if arriving else _route(VPC, facts.sight.routes, seen.dst)
    if gone and gone.so == nexthops.TYPES["blackhole"]:
        return gone
    for nic in facts.sight.nics:
        inner = nic.inner or nic.addresses[0]
        words = f"{nic.eip} is {inner} of the {nic.role}"
        if nic.eip and arriving and seen.dst == nic.eip:
            return Entry(VPC, ELASTIC, words, f"{nic.eip} becomes {inner}")
        if nic.eip and not arriving and seen.src == inner and _outside(facts, seen.dst):
            return Entry(VPC, ELASTIC, words, f"{inner} becomes {nic.eip}")
    if not arriving and _outside(facts, seen.dst):
        return Entry(VPC, ELASTIC, f"none for {seen.src}", "no way to the internet: dropped")
    return None


def _outside(facts: Facts, address: str) -> bool:
    return not any(_in(address, to) for to, via in facts.sight.routes if via == "local")


def _in(address: str, network: str) -> bool:
    try:
        return ip_address(address) in ip_network(network, strict=False)
    except ValueError:
        return False


def _handed(nic: Nic, seen: Seen) -> Entry | None:
    if seen.dst_mac.lower() != nic.mac.lower():
        return None
    pairs = f"{nic.role}: {nic.mac} with {', '.join(nic.addresses)}"
    return Entry(VPC, PAIRS, pairs, f"handed to the {nic.role}")


def _on_host(
    facts: Facts, seen: Seen, space: str, device: str, became: Flow | None
) -> Entry | None:
    """Say what the instance does with it: its bridges, its router, its VM."""
    link = facts.sight.host.namespace(space).links.get(device)
    inward = seen.direction == "in"
    if space == "" and (link is None or not link.addresses):
        return _bridged(facts, seen, device) if inward else None
    if not inward:
        own = facts.sight.host.namespace(space).forwards
        return (_neighbour(facts, seen, space) if own or seen.protocol == "ARP" else None) or (
            _routed(facts, space, seen.dst)
        )
    if seen.protocol == "ARP":
        return _answers(facts, seen, space, device)
    return _translated(facts, seen, space, device, became) or _routed(facts, space, seen.dst)


def _bridge(host: HostFacts, port: str) -> str:
    """Name the bridge that an interface is a port of; "" for none."""
    link = host.root.links.get(port)
    of_switch = (name for name, each in (host.bridges or {}).items() if port in each.ports)
    return (link.master if link else "") or next(of_switch, "")


def _bridged(facts: Facts, seen: Seen, device: str) -> Entry | None:
    """Find the entry of a bridge's table; a frame to everybody goes to all ports."""
    entries = forwarding.fdb(facts.sight).whole
    bridge = _bridge(facts.sight.host, device)
    for each in entries:
        if each["bridge"] == bridge and each["mac"].lower() == seen.dst_mac.lower():
            goes = each["port_is"] or each["port"]
            own = each["kind"] == "own"
            so = "kept for the host itself" if own else f"handed to {goes}"
            entry = f"{each['mac']} at {each['port']} ({each['kind']})"
            return Entry("host", f"FDB of {each['bridge']}", entry, so)
    if not bridge:
        return None
    entry = "a frame to a group" if _grouped(seen.dst_mac) else f"none for {seen.dst_mac}"
    return Entry("host", f"FDB of {bridge}", entry, "handed to all ports")


def _grouped(mac: str) -> bool:
    return mac[1:2] in tuple("13579bdf")  # IEEE 802: the group bit is the last of the first byte


def _neighbour(facts: Facts, seen: Seen, space: str) -> Entry | None:
    """Find the neighbour that a frame is sent to."""
    where = facts.sight.places.get(space, space)
    for each in state.neighbours(facts.sight.host):
        if each["namespace"] != space:
            continue
        if seen.protocol == "ARP" and each["address"] == seen.dst and not each["mac"]:
            entry = f"{each['address']} has no MAC yet"
            return Entry(where, "neighbours (ARP)", entry, "everybody is asked for it")
        if seen.protocol != "ARP" and each["mac"].lower() == seen.dst_mac.lower():
            entry = f"{each['address']} is at {each['mac']}"
            whose = facts.sight.owners.address(each["address"])
            return Entry(where, "neighbours (ARP)", entry, f"sent to {whose}")
    return None


def _answers(facts: Facts, seen: Seen, space: str, device: str) -> Entry | None:
    where = facts.sight.places.get(space, space)
    link = facts.sight.host.namespace(space).links.get(device)
    for address in link.addresses if link else ():
        if address.partition("/")[0] == seen.dst:
            return Entry(where, "addresses", f"{address} on {device}", "it is for this interface")
    return None


def _routed(facts: Facts, space: str, dst: str) -> Entry | None:
    namespace, where = facts.sight.host.namespace(space), facts.sight.places.get(space, space)
    for link in namespace.links.values():
        for address in link.addresses:
            if address.partition("/")[0] == dst:
                return Entry(where, "addresses", f"{address} on {link.name}", "it has arrived")
    ways = [(str(each.get("dst", "")), str(nexthops.way(each))) for each in namespace.routes]
    return _route(where, ways, dst)


def next_hop(facts: Facts, point: str, dst: str) -> str:
    """Say to which address the place of a point sends what is for another one; "" if unknown."""
    found = facts.interface(point)
    entry = _routed(facts, found[0], dst) if found else None
    if entry and entry.so == ON_LINK:
        return dst
    return entry.so.removeprefix("goes to ") if entry and entry.so.startswith("goes to ") else ""


def unlearned(facts: Facts, point: str, dst: str, teller: str) -> str:
    """Name the next hop of a point's place, one of whose addresses is `teller`, if without MAC."""
    space = (facts.interface(point) or ("", ""))[0]
    links = facts.sight.host.namespace(space).links.values()
    own = {address.partition("/")[0] for link in links for address in link.addresses}
    neighbours = (n for n in state.neighbours(facts.sight.host) if n["namespace"] == space)
    learned = {each["address"] for each in neighbours if each["mac"]}
    hop = next_hop(facts, point, dst)
    return hop if teller in own and hop not in learned else ""


def _route(where: str, ways: Iterable[tuple[str, str]], dst: str) -> Entry | None:
    """Find the longest prefix that an address is in; None for what is no address."""
    best, length = ("", ""), -1
    for to, way in ways:
        network = "0.0.0.0/0" if to == "default" else to
        if _in(dst, network) and ip_network(network, strict=False).prefixlen > length:
            best, length = (to, way), ip_network(network, strict=False).prefixlen
    if length < 0:
        return Entry(where, "routes", f"none for {dst}", "it goes nowhere") if "." in dst else None
    words = best[1].split()
    if words and words[0] in nexthops.TYPES:
        return Entry(where, "routes", " ".join(best), nexthops.TYPES[words[0]])
    if "nexthop" in words:
        return Entry(where, "routes", " ".join(best), "one of these takes it")
    so = f"goes to {words[words.index('via') + 1]}" if "via" in words else ON_LINK
    return Entry(where, "routes", " ".join(best), so)


def _translated(
    facts: Facts, seen: Seen, space: str, device: str, became: Flow | None
) -> Entry | None:
    """Find the rule that translates it, or whose translation is undone for an answer.

    Whether a packet is an answer, connection tracking knows; without it, what it became tells.
    """
    entry = next(
        (each for each in facts.tracked if each.namespace == space and each.other(seen.flow)), None
    )
    if entry is not None:
        became = entry.other(seen.flow)
        passes: tuple[bool, ...] = (seen.flow == entry.after.back and entry.before != entry.after,)
    else:
        passes = (not seen.opens,)
        if became is None and not seen.opens:
            return None
    if became == seen.flow:
        return None
    rules = [each for each in forwarding.nat(facts.sight).whole if each.get("namespace") == space]
    where = facts.sight.places.get(space, space)
    for undone in passes:
        before, after = (became.back, seen.flow.back) if undone and became else (seen.flow, became)
        inside = "" if undone else device
        for each in rules:
            if _meets(facts, each, space, seen.protocol, before, after, inside):
                to = each["becomes"].rpartition(" ")[2]
                end = "destination" if each["kind"] == "DNAT" else "source"
                so = "undone for the answer" if undone else f"{end} becomes {to}"
                rule = f"{each['matches']} {each['kind']} {each['becomes']}"
                return Entry(where, "NAT rules", rule, so)
    return None


def _meets(
    facts: Facts, rule: Mapping[str, Any], space: str, protocol: str,
    before: Flow, after: Flow | None, inside: str,
) -> bool:  # fmt: skip
    """Say whether a rule is the one that makes `after` of `before`; None: whether it would."""
    out = _leaves_by(facts, space, after.dst if after else before.dst)
    met = Meeting(
        before.src, before.dst, protocol.lower(), str(before.sport), str(before.dport),
        inside=inside, outside=out,
    )  # fmt: skip
    destination = rule["kind"] in ("DNAT", "REDIRECT")
    if not fits(rule["matches"], met):
        return False
    address, _, port = rule["becomes"].rpartition(" ")[2].partition(":")
    if after is None:
        return destination or (out not in ("", inside) and before.src != address)
    now, at = (after.dst, after.dport) if destination else (after.src, after.sport)
    changed = (before.dst, before.dport) != (after.dst, after.dport) if destination else (
        before.src != after.src
    )  # fmt: skip
    return changed and ("." not in address or address == now) and port in ("", str(at))


def _leaves_by(facts: Facts, space: str, dst: str) -> str:
    entry = _routed(facts, space, dst)
    words = entry.entry.split() if entry and entry.table == "routes" else []
    return words[words.index("dev") + 1] if "dev" in words else ""
