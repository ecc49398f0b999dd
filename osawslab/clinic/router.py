"""The stations in the router: routes, neighbours, forwarding, translation, filters."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Network
from typing import Any

from osawslab.clinic import drops
from osawslab.clinic.drops import command
from osawslab.clinic.evidence import heard
from osawslab.clinic.firewall import Firewall, Outcome, Packet, Rule, typed
from osawslab.clinic.journeys import FAR, KINDS, POSTROUTING, PREROUTING, guest_of
from osawslab.clinic.seen import Name, Port
from osawslab.clinic.station import Station, unseen
from osawslab.clinic.walk import Walk, received

BOTTOM = '-m comment --comment "Perform source NAT on outgoing traffic." '


def stations(walk: Walk) -> Iterator[Station]:
    """Look at the router."""
    gate = walk.gate
    if gate is None:
        return
    yield from routes(walk, gate)
    yield from neighbours(walk, gate)
    yield from settings(walk, gate)
    yield from translation(walk, gate)
    yield from drops.stations(walk, gate)
    yield from pings(walk, gate)


def routes(walk: Walk, gate: Port) -> Iterator[Station]:
    """Look at the default route, and at the way that a VM's packet would take."""
    said = walk.seen.said(f"{walk.space}|routes")
    wanted = walk.eni.router if walk.eni else ""
    ways = walk.seen.defaults(walk.space)
    shown = [f"{each.get('type', '')} via {each.get('gateway', '-')} dev {each.get('dev', '-')}"
             .strip() for each in ways]  # fmt: skip
    if not wanted:
        ok = any(each.get("dev") == gate.name for each in ways)
    else:
        ok = bool(ways) and ways[0].get("gateway") == wanted and ways[0].get("dev") == gate.name
    yield Station(
        "default-route", "the router's default route",
        f"via {wanted or 'the subnet’s router'} dev {gate.name}", "; ".join(shown) or "none", ok,
        (said,), walk.restore,
    )  # fmt: skip
    rules = walk.seen.said(f"{walk.space}|rules")
    odd = [each for each in rules.data if each.get("table") not in ("local", "main", "default")
           or each.get("action")]  # fmt: skip
    closed, others = besides(walk)
    lost = False
    for (inner,), way in walk.tried("way"):
        found = way.data[0] if way.data else {}
        ok = found.get("dev") == gate.name
        mend = ""
        if closed or others:
            each = next(iter([*closed, *others]))
            mend = f"{gate.enter} route del {each.get('type', '')} {each['dst']}".replace("  ", " ")
        elif odd:
            mend = f"{gate.enter} rule del pref {odd[0].get('priority')}"
        if walk.router and next(p for p in walk.router.inner if p.name == inner).up:
            lost = lost or not ok
            yield Station(
                "policy", f"what comes by {inner} goes out", f"by {gate.name}",
                f"by {found['dev']}" if "dev" in found else way.err or "nowhere",
                ok, (way, rules, said), mend,
            )  # fmt: skip
    if closed and not lost:
        yield Station(
            "policy", "no route throws away what is for the internet", "none",
            ", ".join(f"{each['type']} {each['dst']}" for each in closed), False, (said,),
            " && ".join(f"{gate.enter} route del {each['type']} {each['dst']}" for each in closed),
        )  # fmt: skip
    if others:
        yield unseen(
            "policy", "other routes of the router's", "they lead where they should",
            "not tried: " + ", ".join(
                f"{each.get('type', '')} {each['dst']} via {each.get('gateway', '-')}".strip()
                for each in others
            ), (said,),
        )  # fmt: skip


def besides(walk: Walk) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """List the routes that no address brings: those that throw the internet's away, and others."""
    closed: list[dict[str, Any]] = []
    others: list[dict[str, Any]] = []
    for each in walk.seen.routes(walk.space):
        where = str(each.get("dst", "default"))
        if where == "default" or ":" in where or each.get("protocol") == "kernel":
            continue
        net = IPv4Network(where, strict=False)
        away = each.get("type") in ("unreachable", "blackhole", "prohibit")
        public = net.is_global and not net.is_multicast and not net.is_reserved
        (closed if away and public else others).append(each)
    return closed, others


def neighbours(walk: Walk, gate: Port) -> Iterator[Station]:
    """Look at what the router has learned of its neighbours."""
    said = walk.seen.said(f"{walk.space}|neighbours")
    wanted = walk.eni.router if walk.eni else ""
    if not wanted:
        wanted = str(next((each.get("gateway") for each in walk.seen.defaults(walk.space)), ""))
    for row in said.data:
        fixed = [each for each in row.get("state", []) if each in ("PERMANENT", "NOARP")]
        if fixed and "lladdr" in row:
            answers = walk.pings if row["dev"] == gate.name else answered(walk, row["dst"])
            key = "fixed-neighbour" if row["dev"] == gate.name else "guest-neighbour"
            yield Station(
                key, f"{row['dst']} is asked for its MAC", "an entry that was learned",
                f"{row['lladdr']}, {fixed[0]}", answers, (said,),
                f"{gate.enter} neigh del {row['dst']} dev {Name(row['dev'])}",
            )  # fmt: skip
    for row in said.data:
        if row.get("dst") == wanted and row.get("dev") == gate.name:
            known = bool(row.get("lladdr")) and "FAILED" not in row.get("state", [])
            yield Station(
                "neighbour", f"the VPC's router {wanted} has told its MAC", "a MAC",
                f"{row.get('lladdr', 'none')}, {' '.join(row.get('state', []))}",
                known or walk.pings, (said,),
                f"{gate.enter} neigh flush dev {gate.name}",
            )  # fmt: skip


def answered(walk: Walk, address: str) -> bool:
    """Say whether a VM answered."""
    return any(received(said) for parts, said in walk.tried("guest") if parts == (address,))


def settings(walk: Walk, gate: Port) -> Iterator[Station]:
    """Look at the kernel's settings in the router."""
    said = walk.seen.said(f"{walk.space}|sysctl")
    values = dict(re.findall(r"^(\S+) = (\S+)$", said.out, re.M))
    name = "net.ipv4.ip_forward"
    if name in values:
        yield Station("forwarding", "the router forwards", f"{name} = 1",
                      f"{name} = {values[name]}", values[name] == "1", (said,),
                      f"{walk.enter} sysctl -w {name}=1")  # fmt: skip
    else:
        yield unseen("forwarding", "the router forwards", f"{name} = 1", said.why_not, (said,))


def translation(walk: Walk, gate: Port) -> Iterator[Station]:
    """Look at SNAT, by leading a VM's packet through the rules."""
    said = walk.seen.said(f"{walk.space}|iptables")
    if said.why_not:
        yield unseen("snat", "what leaves gets a registered address", "SNAT", said.why_not, (said,))
        return
    guest, inner = guest_of(walk)
    if not guest or not gate.own:
        return
    wall = walk.firewall
    own = sorted((each for each, _ in gate.addresses), key=lambda each: each != gate.own)

    def end(firewall: Firewall, protocol: str = "icmp", port: int = 0) -> Outcome:
        started = firewall.passes(Packet(guest, FAR, inner, "", protocol, port), *PREROUTING)
        packet = replace(started.packet, out=gate.name)
        return firewall.passes(packet, *POSTROUTING)

    def good(outcome: Outcome) -> bool:
        return outcome.snat is not None and outcome.packet.src in (*own, "its own")

    ends = [(kind, end(wall, *kind)) for kind in KINDS]  # what is dropped is another station's
    kind, outcome = next(
        (each for each in ends if not good(each[1]) and not each[1].dropped), ends[0]
    )
    ok: bool | None = good(outcome)
    if outcome.dropped or (not outcome.snat and any(map(translates, outcome.unsure))):
        ok = None
    mend = ""
    if outcome.snat:
        rule = outcome.snat
        line = rule.line.replace(
            f"--to-source {rule.value('--to-source')}", f"--to-source {own[0]}"
        )
        words = line.split(" ", 2)[2]
        mend = f"{walk.enter} iptables -t nat -R {rule.chain} {rule.number} {typed(words)}"
        if good(end(wall.without(rule), *kind)):
            mend = command(walk, rule)
    elif not ok:
        mend = added(walk, gate, end)
    seen = "none" if not outcome.snat else f"SNAT to {outcome.packet.src}"
    if kind != KINDS[0]:
        seen = f"{kind[0]} {kind[1]}: {seen}"
    if outcome.dropped:
        seen = f"dropped before by {outcome.rule.line if outcome.rule else outcome.policy}"
    elif ok is None:
        seen = f"cannot be judged: {outcome.unsure[0].line}"
    yield Station(
        "snat", f"what leaves by {gate.name} gets its address", f"SNAT to {', '.join(own)}",
        seen, ok, (said,), mend,
    )  # fmt: skip


def translates(rule: Rule) -> bool:
    """Say whether a rule would give packets another source."""
    return rule.value("-j") in ("SNAT", "MASQUERADE")


def added(walk: Walk, gate: Port, end: object) -> str:
    """Write the command that puts a missing SNAT rule where it works."""
    assert callable(end)
    chain, wall = "neutron-l3-agent-snat", walk.firewall
    called = {rule.value("-j") for rules in wall.rules.values() for rule in rules}
    for table, lone in wall.rules:
        if table == "nat" and lone not in called and wall.policies.get((table, lone)) == "-":
            bottoms = [name for at, name in wall.policies if (at, name[-7:]) == ("nat", "-bottom")]
            for name in (*bottoms, "POSTROUTING"):  # Neutron jumps at the bottom, and says why
                words = f"-A {name} " + (BOTTOM if name in bottoms else "")
                jump = wall.with_rule(Rule("nat", name, 0, f"{words}-j {lone}"))
                if end(jump).packet.src == gate.own:
                    return f"{walk.enter} iptables -t nat {words}-j {shlex.quote(lone)}"
    words = f"-o {gate.name} -j SNAT --to-source {gate.own}"
    for name, number in ((chain, 0), ("POSTROUTING", 0), ("POSTROUTING", 1)):
        if ("nat", name) not in walk.firewall.policies:
            continue
        first = {"POSTROUTING": words}.get(name, f"{words} --random-fully")
        if number:
            first = f"! -s {gate.own} {first}"
        tried = walk.firewall.with_rule(Rule("nat", name, number, f"-A {name} {first}"))
        if end(tried).snat is not None:
            verb = f"-I {name} 1" if number else f"-A {name}"
            return f"{walk.enter} iptables -t nat {verb} {first}"
    return f"{walk.enter} iptables -t nat -A POSTROUTING {words}"


def pings(walk: Walk, gate: Port) -> Iterator[Station]:
    """Look how far a ping from the router comes; what was heard on the NIC tells where it ends."""
    for _, said in walk.tried("out"):
        name = walk.nic.name if walk.nic else ""
        rows = [row for row in walk.seen.told["heard"] if row[0] == name]
        sent = [row for row in rows if row[1] == "out" and gate.own in row[5:6]]
        came = [row for row in rows if row[1] == "in" and gate.own in row[6:7]]
        seen = "answered"
        if not walk.pings:
            seen = "no answer: "
            if came:
                seen += f"{name} got {came[0][4]} from {came[0][5]}, and the router did not"
            elif sent:
                row = sent[0]
                seen += f"{row[4]} left {name} with MAC {row[2]} and address {row[5]}, nothing came"
            else:
                seen += f"nothing of it left {name or 'the host'}"
        yield Station("ping", f"the internet answers the router ({FAR})", "answered", seen,
                      walk.pings, (said, heard(walk, walk.nic)))  # fmt: skip
