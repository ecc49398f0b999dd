"""What a router's iptables do to one packet, read off `iptables-save`.

A rule with a match that cannot be judged from outside (limit, string, set, …) is passed over, and
told of.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network

BUILT_IN = ("ACCEPT", "DROP", "REJECT", "RETURN", "SNAT", "DNAT", "MASQUERADE", "REDIRECT")
DECIDES = (*BUILT_IN, "NFQUEUE")  # and every chain of somebody's own
ICMP = {"8": "NEW", "0": "ESTABLISHED"}  # echo request and reply


@dataclass(frozen=True)
class Packet:
    """A packet on its way."""

    src: str
    dst: str
    into: str = ""  # the interface that it came by
    out: str = ""
    protocol: str = "icmp"
    port: int = 0  # of its destination
    source: int = 0  # the port that it comes from
    state: str = "NEW"
    mark: int = 0
    translated: bool = False  # its destination is no more what it was


def typed(line: str) -> str:
    """Write a line of `iptables-save` so that a shell takes each of its words as it is.

    >>> typed('! -s 10.0.0.0/8 -m comment --comment "$(id)"')
    "! -s 10.0.0.0/8 -m comment --comment '$(id)'"
    """
    try:
        words = shlex.split(line)
    except ValueError:  # a name with a quotation mark of its own
        words = line.split()
    return " ".join(word if word == "!" else shlex.quote(word) for word in words)


@dataclass(frozen=True)
class Rule:
    """A line of `iptables-save`; `number` is its place in the chain, from 1."""

    table: str
    chain: str
    number: int
    line: str  # from "-A" on

    def words(self) -> list[str]:
        """Give what comes after the chain's name."""
        return shlex.split(self.line)[2:]

    def value(self, option: str) -> str:
        """Give what follows an option, "" where it is missing."""
        words = self.words()
        return words[words.index(option) + 1] if option in words[:-1] else ""


@dataclass(frozen=True)
class Outcome:
    """What became of a packet, and the rule that decided; none for a chain's policy."""

    packet: Packet
    dropped: bool = False
    rule: Rule | None = None
    policy: str = ""  # "table CHAIN" whose policy dropped it
    snat: Rule | None = None
    dnat: Rule | None = None
    unsure: tuple[Rule, ...] = ()  # rules that would decide, and cannot be judged


@dataclass(frozen=True)
class Firewall:
    """Rules by table and chain, and the policies."""

    rules: Mapping[tuple[str, str], tuple[Rule, ...]]
    policies: Mapping[tuple[str, str], str]

    def passes(self, packet: Packet, *hooks: tuple[str, str]) -> Outcome:
        """Lead a packet through built-in chains, (table, chain) one after the other."""
        outcome = Outcome(packet)
        for table, chain in hooks:
            outcome, verdict = self._chain(table, chain, outcome, 0)
            if outcome.dropped:
                return outcome
            if not verdict and self.policies.get((table, chain)) == "DROP":
                return replace(outcome, dropped=True, policy=f"{table} {chain}")
        return outcome

    def _chain(self, table: str, chain: str, outcome: Outcome, depth: int) -> tuple[Outcome, bool]:
        if depth > 16:
            return outcome, False
        for rule in self.rules.get((table, chain), ()):
            target = rule.value("-j") or rule.value("-g")
            met = matches(rule, outcome.packet)
            if met is None and (target in DECIDES or (table, target) in self.policies):
                outcome = replace(outcome, unsure=(*outcome.unsure, rule))
            if not target or not met:
                continue
            if target in ("DROP", "REJECT"):
                return replace(outcome, dropped=True, rule=rule), True
            if target == "RETURN":
                return outcome, False
            packet = outcome.packet
            if target in ("SNAT", "MASQUERADE"):
                source = rule.value("--to-source").partition(":")[0] or "its own"
                return replace(outcome, packet=replace(packet, src=source), snat=rule), True
            if target == "DNAT":
                address, _, port = rule.value("--to-destination").partition(":")
                number = int(port) if port.isdigit() else packet.port
                packet = replace(packet, dst=address, port=number, translated=True)
                return replace(outcome, packet=packet, dnat=rule), True
            if target in ("ACCEPT", "REDIRECT"):
                return outcome, True
            if target == "MARK":
                value, _, mask = (rule.value("--set-xmark") or "0/0").partition("/")
                kept = packet.mark & ~int(mask or "0xffffffff", 16)
                outcome = replace(outcome, packet=replace(packet, mark=kept ^ int(value, 16)))
            elif (table, target) in self.policies:
                outcome, verdict = self._chain(table, target, outcome, depth + 1)
                if verdict:
                    return outcome, True
        return outcome, False

    def every(self, target: str) -> list[Rule]:
        """List the rules with a target."""
        return [
            each for rules in self.rules.values() for each in rules if each.value("-j") == target
        ]

    def with_rule(self, rule: Rule) -> Firewall:
        """Give the firewall with one more rule at its number, or at the end where that is 0."""
        key = (rule.table, rule.chain)
        have = list(self.rules.get(key, ()))
        have.insert(rule.number - 1 if rule.number else len(have), rule)
        return Firewall({**self.rules, key: tuple(have)}, self.policies)

    def without(self, rule: Rule) -> Firewall:
        """Give the firewall with one rule less."""
        key = (rule.table, rule.chain)
        left = tuple(each for each in self.rules.get(key, ()) if each is not rule)
        return Firewall({**self.rules, key: left}, self.policies)


def matches(rule: Rule, packet: Packet) -> bool | None:
    """Say whether a packet meets all of a rule's conditions; None where that cannot be said."""
    words, no, module, unsure = rule.words(), False, "", False
    for at, (word, value) in enumerate(zip(words, [*words[1:], ""], strict=True)):
        if word in ("-j", "-g"):
            break
        if word == "!":
            no = True
        if not word.startswith("-") or words[at - 1] == "--comment":
            continue
        if word == "-m":
            module = value
        elif word != "--comment":
            held = None if module == "connmark" else _holds(word, value, packet)
            unsure = unsure or held is None
            if held is no:
                return False
        no = False
    return None if unsure else True


def _holds(option: str, value: str, packet: Packet) -> bool | None:
    if option in ("-s", "-d"):
        address = packet.src if option == "-s" else packet.dst
        return address != "its own" and IPv4Address(address) in IPv4Network(value, strict=False)
    if option in ("-i", "-o"):
        name = packet.into if option == "-i" else packet.out
        return name.startswith(value[:-1]) if value.endswith("+") else name == value
    if option == "-p":
        return value in ("all", packet.protocol)
    if option in ("--dport", "--dports", "--sport", "--sports"):
        spans = [each.partition(":") for each in value.split(",")]
        port = packet.port if option.startswith("--d") else packet.source
        return any(int(a or 0) <= port <= int(b or (65535 if colon else a))
                   for a, colon, b in spans)  # fmt: skip
    if option in ("--ctstate", "--state"):
        return packet.state in value.split(",") or ("DNAT" in value and packet.translated)
    if option == "--mark":
        wanted, _, mask = value.partition("/")
        return packet.mark & int(mask or "0xffffffff", 16) == int(wanted, 16)
    if option == "--icmp-type":
        return value == "any" or ICMP.get(value.partition("/")[0]) == packet.state
    return None


def read(saved: str) -> Firewall:
    """Read what `iptables-save` printed."""
    rules: dict[tuple[str, str], list[Rule]] = {}
    policies: dict[tuple[str, str], str] = {}
    table = ""
    for line in saved.splitlines():
        if line.startswith("*"):
            table = line[1:].strip()
        elif line.startswith(":"):
            name, policy, *_ = line[1:].split()
            policies[table, name] = policy
        elif line.startswith("-A "):
            chain = line.split()[1]
            have = rules.setdefault((table, chain), [])
            have.append(Rule(table, chain, len(have) + 1, line))
    return Firewall({key: tuple(each) for key, each in rules.items()}, policies)
