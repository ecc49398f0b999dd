"""What a namespace's nftables do to one packet, read off `nft -j list ruleset`.

Only what decides of IPv4 packets of the hooks of routing is judged; of the rest it is said that it
cannot be (libnftables-json(5) has the words). What iptables has made is left to `firewall`.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from osawslab.clinic.firewall import Packet
from osawslab.clinic.seen import Name

IPTABLES = ("filter", "nat", "mangle", "raw", "security")  # the tables that iptables-nft makes
FAMILIES = ("ip", "inet")  # of routed IPv4
DROPS = ("drop", "reject")
ENDS = ("accept", "snat", "dnat", "masquerade", "redirect")
VERDICTS = (*DROPS, *ENDS, "return", "jump", "goto", "queue", "vmap")
PLAIN = ("counter", "log", "mangle", "notrack", "flow", "match", *VERDICTS)
ICMP = {"NEW": "echo-request", "ESTABLISHED": "echo-reply"}
Place = tuple[str, str, str]  # family, table, chain


@dataclass(frozen=True)
class Rule:
    """A rule, or with handle 0 a chain's policy."""

    family: str
    table: str
    chain: str
    handle: int
    expr: Sequence[Mapping[str, Any]] = field(default=(), compare=False, repr=False)

    @property
    def drops(self) -> bool:
        """True where it throws packets away."""
        return not self.handle or any(word in part for part in self.expr for word in DROPS)

    @property
    def words(self) -> str:
        """Say which it is."""
        where = f"{self.family} {Name(self.table)} {Name(self.chain)}"
        return f"a rule that drops: {where} handle {self.handle}" if self.handle else (
            f"policy drop: {where}")  # fmt: skip

    @property
    def mend(self) -> str:
        """Give nft's words that take it away."""
        where = f"{self.family} {Name(self.table)}"
        if self.handle:
            return f"delete rule {where} {Name(self.chain)} handle {self.handle}"
        import shlex

        return shlex.quote(f"chain {where} {Name(self.chain)} {{ policy accept; }}")


@dataclass(frozen=True)
class Fate:
    """What drops a packet, None for nothing; and what was passed over and cannot be judged."""

    rule: Rule | None = None
    unsure: tuple[Rule, ...] = ()


@dataclass(frozen=True)
class Ruleset:
    """Chains and rules that are not iptables'."""

    chains: Mapping[Place, Mapping[str, Any]]
    rules: Mapping[Place, tuple[Rule, ...]]

    @property
    def drops(self) -> list[Rule]:
        """List all that drops, the policies of hooks too."""
        found = [rule for rules in self.rules.values() for rule in rules if rule.drops]
        return found + [
            Rule(*place, 0) for place, chain in self.chains.items()
            if chain.get("policy") == "drop" and chain.get("hook")
        ]  # fmt: skip

    def passes(self, packet: Packet, hooks: Collection[str]) -> Fate:
        """Lead a packet through the chains of hooks, by name, in the order of their priority."""
        unsure: list[Rule] = []
        based = [
            (place, chain) for place, chain in self.chains.items()
            if place[0] in FAMILIES and chain.get("hook") in hooks
        ]  # fmt: skip
        for place, chain in sorted(based, key=lambda each: int(each[1].get("prio", 0))):
            end = self._chain(place, packet, unsure, 0)
            if not end and chain.get("policy") == "drop":
                end = Rule(*place, 0)
            if isinstance(end, Rule):
                return Fate(end, tuple(unsure))
        return Fate(None, tuple(unsure))

    def _chain(self, place: Place, packet: Packet, unsure: list[Rule], depth: int) -> Rule | str:
        """Give the rule that drops, "accept", or "" where the chain ends."""
        for rule in self.rules.get(place, ()) if depth < 16 else ():
            met = meets(rule, packet)
            word, about = verdict(rule)
            if met is None and word:
                unsure.append(rule)
            if not met or not word:
                continue
            if word in DROPS:
                return rule
            if word in ENDS:
                return "accept"
            if word == "return":
                return ""
            if word in ("jump", "goto"):
                inner = self._chain((*place[:2], about["target"]), packet, unsure, depth + 1)
                if inner or word == "goto":
                    return inner
            else:
                unsure.append(rule)
        return ""


def read(said: str) -> Ruleset:
    """Read what nft printed; nothing where it is no JSON."""
    try:
        rows = json.loads(said or "{}").get("nftables", [])
    except ValueError:
        rows = []
    chains: dict[Place, Mapping[str, Any]] = {}
    rules: dict[Place, list[Rule]] = {}
    for row in rows:
        each = row.get("rule") or row.get("chain") or {}
        if not each or (each["table"] in IPTABLES and each["family"] == "ip"):
            continue
        if "chain" in row:
            chains[each["family"], each["table"], each["name"]] = each
        else:
            place = each["family"], each["table"], each["chain"]
            rules.setdefault(place, []).append(Rule(*place, each["handle"], each["expr"]))
    return Ruleset(chains, {place: tuple(each) for place, each in rules.items()})


def verdict(rule: Rule) -> tuple[str, Any]:
    """Give a rule's word that decides, and what belongs to it; "" where it has none."""
    words = ((word, part[word]) for part in rule.expr for word in VERDICTS if word in part)
    return next(words, ("", None))


def meets(rule: Rule, packet: Packet) -> bool | None:
    """Say whether a packet meets all conditions of a rule; None where that cannot be said."""
    found: list[bool | None] = []
    for part in rule.expr:
        if "match" in part:
            found.append(_holds(part["match"], packet))
        elif not any(word in part for word in PLAIN):
            found.append(None)  # a limit, a set that is counted, a match of iptables'
    if False in found:
        return False
    return None if None in found else True


def _holds(match: Mapping[str, Any], packet: Packet) -> bool | None:
    value = _value(match["left"], packet)
    if value is None or match["op"] not in ("==", "in", "!="):
        return None
    if value is False:  # of another protocol: the rule is not about it
        return False
    equal = _among(match["right"], str(value))
    return None if equal is None else equal != (match["op"] == "!=")


def _value(left: Any, packet: Packet) -> Any:
    """Give what of a packet a match speaks of; False where it has none, None for the unknown."""
    if not isinstance(left, Mapping):
        return None
    meta = left.get("meta", {}).get("key")
    if meta:
        return {
            "iifname": packet.into, "iif": packet.into, "oifname": packet.out, "oif": packet.out,
            "l4proto": packet.protocol, "nfproto": "ipv4", "mark": packet.mark,
        }.get(meta)  # fmt: skip
    if "ct" in left:
        return packet.state.lower() if left["ct"].get("key") == "state" else None
    payload = left.get("payload", {})
    protocol, name = payload.get("protocol"), payload.get("field")
    if protocol == "ip":
        return {"saddr": packet.src, "daddr": packet.dst, "protocol": packet.protocol}.get(name)
    if protocol == "icmp" and name == "type":
        return ICMP.get(packet.state) if packet.protocol == "icmp" else False
    if protocol in ("tcp", "udp", "th"):
        if packet.protocol not in (("tcp", "udp") if protocol == "th" else (protocol,)):
            return False
        return {"dport": packet.port, "sport": packet.source}.get(name)
    return None


def _among(right: Any, value: str) -> bool | None:
    """Say whether a value is what a match names: one, a range, a prefix, or several of these."""
    if isinstance(right, Mapping):
        if "prefix" in right and "/" not in value and value.count(".") == 3:
            told = right["prefix"]
            return IPv4Address(value) in IPv4Network(f"{told['addr']}/{told['len']}", strict=False)
        if "range" in right and value.isdigit():
            low, high = right["range"]
            return int(low) <= int(value) <= int(high) if isinstance(low, int) else None
        right = right.get("set")
    if isinstance(right, list):
        found = [_among(each, value) for each in right]
        return True if True in found else None if None in found else False
    if right is None or str(right).startswith("@"):
        return None
    return str(right) == value or (str(right).endswith("*") and value.startswith(str(right)[:-1]))
