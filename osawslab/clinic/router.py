"""The stations in the router: routes, neighbours, forwarding, translation, filters."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

from osawslab.clinic.firewall import Firewall, Outcome, Packet, Rule, typed
from osawslab.clinic.seen import Name, Port, Said
from osawslab.clinic.station import Station, unseen
from osawslab.clinic.walk import Walk, received

FAR = "8.8.8.8"  # any address of the internet
PREROUTING = (("raw", "PREROUTING"), ("mangle", "PREROUTING"), ("nat", "PREROUTING"))
FORWARD = (("mangle", "FORWARD"), ("filter", "FORWARD"))
POSTROUTING = (("mangle", "POSTROUTING"), ("nat", "POSTROUTING"))
SENT = (("raw", "OUTPUT"), ("mangle", "OUTPUT"), ("nat", "OUTPUT"), ("filter", "OUTPUT"))
BOTTOM = '-m comment --comment "Perform source NAT on outgoing traffic." '
HOOKS = ("prerouting", "forward", "postrouting")  # of nftables: what is passed on goes by them
TAKEN = (("mangle", "INPUT"), ("filter", "INPUT"))
IPTABLES = ("filter", "nat", "mangle", "raw", "security")  # the tables that iptables-nft makes


def stations(walk: Walk) -> Iterator[Station]:
    """Look at the router."""
    gate = walk.gate
    if gate is None:
        return
    yield from routes(walk, gate)
    yield from neighbours(walk, gate)
    yield from settings(walk, gate)
    yield from translation(walk, gate)
    yield from filters(walk, gate)
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
    for (inner,), way in walk.tried("way"):
        found = way.data[0] if way.data else {}
        ok = found.get("dev") == gate.name
        first = odd[0] if odd else {}
        closed = [
            each for each in walk.seen.routes(walk.space)
            if each.get("type") in ("unreachable", "blackhole", "prohibit")
        ]  # fmt: skip
        mend = ""
        if closed:
            each = closed[0]
            mend = f"{gate.enter} route del {each['type']} {each['dst']}"
        elif first:
            mend = f"{gate.enter} rule del pref {first.get('priority')}"
        if walk.router and next(p for p in walk.router.inner if p.name == inner).up:
            yield Station(
                "policy", f"what comes by {inner} goes out", f"by {gate.name}",
                f"by {found['dev']}" if "dev" in found else way.err or "nowhere",
                ok, (way, rules, said), mend,
            )  # fmt: skip


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


def guest_of(walk: Walk) -> tuple[str, str]:
    """Give a VM's address and the router's port towards it; made up where none is known."""
    inner = [port for port in (walk.router.inner if walk.router else ()) if port.addresses]
    for guest in walk.guests:
        for port in inner:
            if port.has(guest.address):
                return guest.address, port.name
    if not inner:
        return "", ""
    host = inner[0].own.rpartition(".")
    return f"{host[0]}.{(int(host[2]) + 3) % 254}", inner[0].name


def command(walk: Walk, rule: Rule, verb: str = "-D") -> str:
    """Write the command that takes a rule away."""
    return f"{walk.enter} iptables -t {rule.table} {verb}{typed(rule.line)[2:]}"


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

    def end(firewall: Firewall) -> Outcome:
        started = firewall.passes(Packet(guest, FAR, inner), *PREROUTING)
        packet = Packet(**{**vars(started.packet), "out": gate.name})
        return firewall.passes(packet, *POSTROUTING)

    outcome = end(wall)
    ok = outcome.snat is not None and outcome.packet.src in (*own, "its own")
    mend = ""
    if outcome.snat:
        rule = outcome.snat
        line = rule.line.replace(
            f"--to-source {rule.value('--to-source')}", f"--to-source {own[0]}"
        )
        words = line.split(" ", 2)[2]
        mend = f"{walk.enter} iptables -t nat -R {rule.chain} {rule.number} {typed(words)}"
        if end(wall.without(rule)).packet.src in (*own, "its own"):
            mend = command(walk, rule)
    elif not ok:
        mend = added(walk, gate, end)
    seen = "none" if not outcome.snat else f"SNAT to {outcome.packet.src}"
    if outcome.dropped:
        seen = f"dropped by {outcome.rule.line if outcome.rule else outcome.policy}"
        mend = command(walk, outcome.rule) if outcome.rule else ""
    yield Station(
        "snat", f"what leaves by {gate.name} gets its address", f"SNAT to {', '.join(own)}",
        seen, ok, (said,), mend,
    )  # fmt: skip


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


def journeys(walk: Walk, gate: Port) -> Iterator[tuple[str, Packet, tuple[tuple[str, str], ...]]]:
    """List the packets that must pass, each with its hooks."""
    guest, inner = guest_of(walk)
    if guest:
        yield (f"from {guest} out", Packet(guest, FAR, inner, gate.name),
               (*PREROUTING, *FORWARD, ("mangle", "POSTROUTING")))  # fmt: skip
        back = Packet(FAR, gate.own, gate.name, state="ESTABLISHED")  # its SNAT is undone then
        mark = walk.firewall.passes(back, *PREROUTING[:2]).packet.mark
        yield (f"the answer to {guest}",
               Packet(FAR, guest, gate.name, inner, state="ESTABLISHED", mark=mark),
               FORWARD)  # fmt: skip
    yield "the router's own out", Packet(gate.own, FAR, "", gate.name), SENT
    yield ("the answer to the router", Packet(FAR, gate.own, gate.name, state="ESTABLISHED"),
           (*PREROUTING[:2], *TAKEN))  # fmt: skip
    for rule in walk.firewall.every("DNAT"):
        target, _, port = rule.value("--to-destination").partition(":")
        if rule.chain.endswith("OUTPUT"):
            continue
        number = int(rule.value("--dport").partition(":")[0] or 0)
        into = Packet(FAR, (rule.value("-d") or gate.own).partition("/")[0], gate.name,
                      protocol=rule.value("-p") or "tcp", port=number or 22)  # fmt: skip
        yield f"from outside for {into.dst}:{number}", into, PREROUTING[:2]
        marked = walk.firewall.passes(into, *PREROUTING).packet
        names = [p.name for p in (walk.router.inner if walk.router else ()) if p.has(target)]
        if names:
            yield (
                f"from outside to {target}",
                Packet(FAR, target, gate.name, names[0], into.protocol, int(port or number or 22),
                       mark=marked.mark, translated=True),
                (*FORWARD, ("mangle", "POSTROUTING")),
            )  # fmt: skip


def filters(walk: Walk, gate: Port) -> Iterator[Station]:
    """Look for what drops: iptables, and nftables besides."""
    said = walk.seen.said(f"{walk.space}|iptables")
    if said.why_not:
        yield unseen("filter", "no rule drops what must pass", "none", said.why_not, (said,))
        return
    drops: dict[str, tuple[str, str]] = {}
    for name, packet, hooks in journeys(walk, gate):
        outcome = walk.firewall.passes(packet, *hooks)
        if outcome.dropped and outcome.rule:
            rule = f"{outcome.rule.table}: {outcome.rule.line}"
            drops.setdefault(rule, (name, command(walk, outcome.rule)))
        elif outcome.dropped:
            table, chain = outcome.policy.split()
            mend = f"{walk.enter} iptables -t {table} -P {shlex.quote(chain)} ACCEPT"
            drops.setdefault(f"the policy of {outcome.policy}", (name, mend))
    yield Station(
        "filter", "the router's iptables let through what must pass", "nothing is dropped",
        "; ".join(f"{name}: dropped by {rule}" for rule, (name, _) in drops.items())
        or "nothing is dropped", not drops, (said,),
        " && ".join(mend for _, mend in drops.values()),
    )  # fmt: skip
    yield from nftables(walk, walk.space)
    if walk.nic:
        yield from nftables(walk, "")


def nftables(walk: Walk, space: str) -> Iterator[Station]:
    """Look for drops in tables that are not iptables' own; they count where something is lost."""
    import json

    said = walk.seen.said(f"{space}|nft")
    try:
        rows = json.loads(said.out or "{}").get("nftables", [])
    except ValueError:
        return
    lost = not walk.pings or any(
        not received(each) for kind in ("guest", "back", "whole") for _, each in walk.tried(kind)
    )
    enter = f"sudo ip netns exec {space}" if space else "sudo"
    hooked = {
        (c["family"], c["table"], c["name"])
        for c in (row["chain"] for row in rows if "chain" in row) if c.get("hook") in HOOKS
    }  # fmt: skip
    mends, seen = [], []
    for row in rows:
        each = row.get("rule") or row.get("chain") or {}
        where = f"{each.get('family')} {Name(each.get('table', ''))}"
        if each.get("table") in IPTABLES and each.get("family") == "ip":
            continue
        if not space and each.get("family") not in ("netdev", "bridge"):
            continue
        if "rule" in row and any("drop" in part or "reject" in part for part in each["expr"]):
            place = f"{where} {Name(each['chain'])} handle {each['handle']}"
            seen.append(f"a rule that drops: {place}")
            all_of_it = not any(set(part) - {"counter", "log", "drop", "reject"}
                                for part in each["expr"])  # fmt: skip
            lost = lost or (all_of_it and (each["family"], each["table"], each["chain"]) in hooked)
            mends.append(f"{enter} nft delete rule {place}")
        elif "chain" in row and each.get("policy") == "drop" and each.get("hook"):
            seen.append(f"policy drop: {where} {each['name']}")
            accept = f"chain {where} {each['name']} {{ policy accept; }}"
            mends.append(f"{enter} nft {shlex.quote(accept)}")
    if seen and lost:
        yield Station(
            "nft", f"nftables of {space or 'the host'} drop nothing", "no drop in the way",
            "; ".join(seen), False, (said,), " && ".join(mends),
        )  # fmt: skip


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
        heard = Said(f"sudo tcpdump -n -e -i {name} 'arp or icmp'", 0,
                     "\n".join(" ".join(row) for row in rows), "")  # fmt: skip
        yield Station("ping", f"the internet answers the router ({FAR})", "answered", seen,
                      walk.pings, (said, heard), "")  # fmt: skip
