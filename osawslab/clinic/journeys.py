"""The packets that must pass a router, and the hooks that each goes by."""

from __future__ import annotations

from collections.abc import Iterator

from osawslab.clinic.firewall import Packet
from osawslab.clinic.seen import Port
from osawslab.clinic.walk import Walk

Hooks = tuple[tuple[str, str], ...]  # (table, chain) of iptables
FAR = "8.8.8.8"  # any address of the internet
PREROUTING = (("raw", "PREROUTING"), ("mangle", "PREROUTING"), ("nat", "PREROUTING"))
FORWARD = (("mangle", "FORWARD"), ("filter", "FORWARD"))
POSTROUTING = (("mangle", "POSTROUTING"), ("nat", "POSTROUTING"))
SENT = (("raw", "OUTPUT"), ("mangle", "OUTPUT"), ("nat", "OUTPUT"), ("filter", "OUTPUT"))
TAKEN = (("mangle", "INPUT"), ("filter", "INPUT"))
LEFT = ("mangle", "POSTROUTING")
KINDS = (("icmp", 0), ("tcp", 443), ("udp", 53))  # what passes, and the ports that it is for
BACK = 45000  # a port that is asked from


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


def journeys(walk: Walk, gate: Port) -> Iterator[tuple[str, Packet, Hooks]]:
    """List the packets that must pass, each with its hooks."""
    for protocol, port in KINDS:
        yield from out(walk, gate, protocol, port)
    for rule in walk.firewall.every("DNAT"):
        target, _, to = rule.value("--to-destination").partition(":")
        if rule.chain.endswith("OUTPUT"):
            continue
        number = int(rule.value("--dport").partition(":")[0] or 0)
        into = Packet(FAR, (rule.value("-d") or gate.own).partition("/")[0], gate.name,
                      protocol=rule.value("-p") or "tcp", port=number or 22,
                      source=BACK)  # fmt: skip
        yield f"from outside for {into.dst}:{number}", into, PREROUTING[:2]
        marked = walk.firewall.passes(into, *PREROUTING).packet
        names = [p.name for p in (walk.router.inner if walk.router else ()) if p.has(target)]
        if names:
            last = int(to or number or 22)
            yield (
                f"from outside to {target}",
                Packet(FAR, target, gate.name, names[0], into.protocol, last, BACK,
                       mark=marked.mark, translated=True),
                (*FORWARD, LEFT),
            )  # fmt: skip
            yield (
                f"the answer of {target}",
                Packet(target, FAR, names[0], gate.name, into.protocol, BACK, last, "ESTABLISHED"),
                (*PREROUTING[:2], *FORWARD, LEFT),
            )  # fmt: skip


def out(walk: Walk, gate: Port, protocol: str, port: int) -> Iterator[tuple[str, Packet, Hooks]]:
    """List what leaves to the internet in a protocol, and its answers."""
    guest, inner = guest_of(walk)
    back = BACK if port else 0
    kind = f", {protocol} {port}" if port else ""
    came = Packet(FAR, gate.own, gate.name, "", protocol, back, port, "ESTABLISHED")
    if guest:
        yield (f"from {guest} out{kind}",
               Packet(guest, FAR, inner, gate.name, protocol, port, back),
               (*PREROUTING, *FORWARD, LEFT))  # fmt: skip
        mark = walk.firewall.passes(came, *PREROUTING[:2]).packet.mark  # its SNAT is undone then
        yield (f"the answer to {guest}{kind}",
               Packet(FAR, guest, gate.name, inner, protocol, back, port, "ESTABLISHED", mark),
               FORWARD)  # fmt: skip
    yield (f"the router's own out{kind}",
           Packet(gate.own, FAR, "", gate.name, protocol, port, back), SENT)  # fmt: skip
    yield f"the answer to the router{kind}", came, (*PREROUTING[:2], *TAKEN)
