"""The stations behind the router: what is published, the tenant network, the VMs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import IPv4Address

from osawslab.clinic.bridges import DEAD
from osawslab.clinic.firewall import Rule, typed
from osawslab.clinic.queues import queue
from osawslab.clinic.seen import Port, Said, network
from osawslab.clinic.station import Station, unseen
from osawslab.clinic.walk import Guest, Walk, received, replug

SHARED = (22, 80, 443)  # ports that a security group may let in for other reasons


def stations(walk: Walk) -> Iterator[Station]:
    """Look at everything behind the router."""
    if walk.router is None:
        return
    yield from published(walk)
    for port in walk.router.inner:
        yield from inner(walk, port)
    for guest in walk.guests:
        yield from plugged(walk, guest)
        yield from inside(walk, guest)
        yield from answers(walk, guest)


def published(walk: Walk) -> Iterator[Station]:
    """Look at what leads in: DNAT rules, each to a VM that there is."""
    said = walk.seen.said(f"{walk.space}|iptables")
    gate, eni = walk.gate, walk.eni
    if said.why_not:
        yield unseen("dnat", "what is published", "DNAT", said.why_not, (said,))
        return
    if gate is None or not gate.own:
        return
    rules = [
        rule for rule in walk.firewall.every("DNAT")
        if rule.table == "nat" and not rule.chain.endswith("OUTPUT")
    ]  # fmt: skip
    ours = [address for address, _ in gate.addresses]
    for rule in rules:
        yield from one(walk, gate, rule, ours, said)
    ports = {int(rule.value("--dport").partition(":")[0] or 0) for rule in rules}
    listens = walk.seen.said("|listening").out
    ports |= {int(port) for port in re.findall(r":(\d+)\s", listens)}  # the host's own servers'

    wild = 0 in ports
    opened = [
        port for port in walk.account.single_ports(eni.id if eni else "")
        if port not in SHARED and port not in ports and not wild
    ]  # fmt: skip
    alive = [guest.address for guest in walk.guests] or [
        row["dst"] for row in walk.seen.said(f"{walk.space}|neighbours").data
        if row.get("lladdr") and row.get("dev") != gate.name
    ]  # fmt: skip
    if opened and alive:
        yield Station(
            "dnat", f"tcp {opened[0]} is published", f"{gate.own}:{opened[0]} leads to a VM",
            f"the security group lets tcp {opened[0]} in, and no rule leads it on", False, (said,),
            f"{walk.enter} iptables -t nat -A PREROUTING -d {gate.own}/32 -p tcp -m tcp"
            f" --dport {opened[0]} -j DNAT --to-destination {alive[0]}:22",
        )  # fmt: skip
    elif not rules:
        yield Station("dnat", "what is published", "DNAT rules, if anything is to be",
                      "nothing is published", True, (said,))  # fmt: skip


def one(walk: Walk, gate: Port, rule: Rule, ours: list[str], said: Said) -> Iterator[Station]:
    """Look at one DNAT rule: its own address, and the VM's."""
    own = rule.value("-d").partition("/")[0]
    target, _, to = rule.value("--to-destination").partition(":")
    known = [*ours, *(walk.eni.addresses if walk.eni else ())]
    wrong, line = "", rule.line
    if own and own not in known:
        wrong = f"{own} is not the router's"
        line = line.replace(f"-d {rule.value('-d')}", f"-d {gate.own}/32")
    guests = {guest.address: guest for guest in walk.guests}
    others = [
        address for address, guest in guests.items() if address != target
        and any(received(each) for parts, each in walk.tried("guest") if parts == (address,))
    ]  # fmt: skip
    answers = any(received(each) for parts, each in walk.tried("guest") if parts == (target,))
    networks = walk.router.inner if walk.router else ()
    reaches = any(port.has(target) for port in networks)
    nobody = target in guests and guests[target].port is None and not answers and not any(
        row.get("dst") == target and row.get("lladdr")
        for row in walk.seen.said(f"{walk.space}|neighbours").data
    )  # fmt: skip
    if networks and (not reaches or (nobody and len(others) == 1)):
        wrong = f"{target} is {'nobody' if reaches else 'in no network of the router'}"
        if others:
            line = line.replace(f"--to-destination {target}", f"--to-destination {others[0]}")
    guest = guests.get(target)
    if not wrong and to and guest and guest.port:
        listens = walk.seen.said(f"{guest.port.space}|listening")
        found = set(re.findall(r":(\d+)\s", listens.out))
        if listens.out.strip() and to not in found and len(found) == 1:
            wrong = f"nobody listens on {target}:{to}, but on port {min(found)}"
            line = line.replace(f"--to-destination {target}:{to}",
                                f"--to-destination {target}:{min(found)}")  # fmt: skip
    words = line.split(" ", 2)[2]
    shadowed = [
        each for each in walk.firewall.rules.get((rule.table, rule.chain), ())[: rule.number - 1]
        if each.words()[:-4] == rule.words()[:-4] and each.value("-j") in ("ACCEPT", "DNAT")
    ]  # fmt: skip
    mend = f"{walk.enter} iptables -t nat -R {rule.chain} {rule.number} {typed(words)}"
    if shadowed and not wrong:
        wrong = f"{shadowed[0].line} comes first"
        mend = f"{walk.enter} iptables -t nat -D{typed(shadowed[0].line)[2:]}"
    if line == rule.line and not shadowed:
        mend = ""
    where = f"{own or 'any'}:{rule.value('--dport') or 'all'}"
    yield Station(
        "dnat", f"{where} is published", "leads to a VM of the router's",
        f"leads to {target}{':' + to if to else ''}" + (f"; {wrong}" if wrong else ""), not wrong,
        (said,), mend if wrong else "",
    )  # fmt: skip


def inner(walk: Walk, port: Port) -> Iterator[Station]:
    """Look at the router's port in a tenant network."""
    links, switch = walk.seen.said(f"{port.space}|links"), walk.seen.switch
    yield Station("inner-up", f"{port.name} is up", "UP", "UP" if port.up else "DOWN", port.up,
                  (links,), f"{port.enter} link set {port.name} up")  # fmt: skip
    wanted = gateway_of(walk, port)
    own = ", ".join(f"{a}/{n}" for a, n in port.addresses)
    ok = bool(port.addresses) and (not wanted or any(a == wanted[0] for a, _ in port.addresses))
    drop = "".join(f" && {port.enter} addr del {a}/{n} dev {port.name}" for a, n in port.addresses)
    yield Station(
        "inner-address", f"{port.name} is its network's gateway",
        f"{wanted[0]}/{wanted[1]}" if wanted else "an address", own or "none", ok, (links,),
        f"{port.enter} addr add {wanted[0]}/{wanted[1]} dev {port.name}{drop}" if wanted else "",
    )  # fmt: skip
    yield from queue(walk, "inner-queue", port)
    cable = walk.cable(port)
    if cable is not None:
        at = walk.bridge_of(cable)
        near = [walk.bridge_of(walk.seen.host[g.cable]) for g in walk.guests
                if g.cable in walk.seen.host]  # fmt: skip
        wants = next((name for name in near if name), at) or "br-int"
        yield Station(
            "inner-plugged", f"{port.name} is plugged in", f"its cable {cable.name} up, in {wants}",
            f"{'UP' if cable.up else 'DOWN'}, in {at or 'no bridge'}",
            cable.up and at == wants, (walk.seen.said("|links"),),
            f"sudo ip link set {cable.name} master {wants} up",
        )  # fmt: skip
    elif port.name in walk.seen.host:
        yield Station(
            "inner-plugged", f"{port.name} is plugged in", "it is the switch's port",
            "the switch's port of that name is the host's, not the router's", False,
            (walk.seen.said("|links"),), replug(port),
        )  # fmt: skip
    elif switch and walk.gate:
        tag, gate = switch.tags.get(port.name, 0), switch.tags.get(walk.gate.name, 0)
        taps = sorted({switch.tags.get(g.cable, 0) for g in walk.guests if switch.of(g.cable)}
                      - {0, DEAD, gate})  # fmt: skip
        bad = tag == DEAD or not switch.of(port.name) or (tag == gate and gate)
        bad = bad or (tag == 0 and bool(taps))
        right = taps[0] if taps else 0
        free = right or next(each for each in range(1, DEAD) if each not in switch.tags.values())
        agent = "Id=neutron-openvswitch-agent" in walk.seen.said("units").out
        yield Station(
            "inner-plugged", f"{port.name} is plugged in",
            f"the VMs' VLAN {right}" if right else "a VLAN of its own", f"VLAN {tag or 'none'}",
            not bad, (walk.seen.said("ovs|ports"),),
            "sudo systemctl restart neutron-openvswitch-agent" if agent and not right
            else f"sudo ovs-vsctl set port {port.name} tag={free}",
        )  # fmt: skip


def gateway_of(walk: Walk, port: Port) -> tuple[str, int] | None:
    """Say which address its VMs take for their gateway, where that can be seen."""
    guests = [*(guest.port for guest in walk.guests if guest.port), *beside(walk, port)]
    nets = [(each.space, network(a, n)) for each in guests for a, n in each.addresses]
    for space, net in nets:
        for way in walk.seen.defaults(space):
            if way.get("gateway") and IPv4Address(way["gateway"]) in net:
                return str(way["gateway"]), net.prefixlen
    told = offered(walk, port)
    if told is None and not port.addresses:  # Neutron gives a subnet's first, if nobody says else
        told = next(((str(net[1]), net.prefixlen) for _, net in nets), None)
    return told


def beside(walk: Walk, port: Port) -> Iterator[Port]:
    """List what other namespaces have in a port's network: its bridge and VLAN."""
    tags = walk.seen.switch.tags if walk.seen.switch else {}

    def place(each: Port) -> tuple[str, int]:
        plug = walk.cable(each) or each
        return walk.bridge_of(plug), tags.get(plug.name, 0)

    here = place(port)
    for space, ports in walk.seen.ports.items():
        if here[0] and space not in ("", port.space) and not space.startswith("q"):
            yield from (each for each in ports.values() if place(each) == here)


def offered(walk: Walk, port: Port) -> tuple[str, int] | None:
    """Say which gateway Neutron's DHCP server in the same VLAN tells the VMs (its file `opts`)."""
    tags = walk.seen.switch.tags if walk.seen.switch else {}
    for space, ports in walk.seen.ports.items():
        told = walk.seen.told["files"].get(f"/var/lib/neutron/dhcp/{space[6:]}/opts", "")
        for near in ports.values() if space.startswith("qdhcp-") and port.name in tags else ():
            for each in re.findall(r"option:router,([0-9.]+)", told):
                lengths = [n for a, n in near.addresses if IPv4Address(each) in network(a, n)]
                if lengths and tags.get(near.name) == tags[port.name]:
                    return each, lengths[0]
    return None


def plugged(walk: Walk, guest: Guest) -> Iterator[Station]:
    """Look at a VM's port on the bridge."""
    port, switch = walk.seen.host.get(guest.cable), walk.seen.switch
    if port is None:
        return
    assert walk.router is not None
    inner = next((each for each in walk.router.inner if each.has(guest.address)), None)
    at = walk.bridge_of(port)
    tag = wants = 0
    home = walk.integration
    if inner and switch and walk.cable(inner) is None:
        tag, wants, home = switch.tags.get(port.name, 0), switch.tags.get(inner.name, 0), switch.of(
            inner.name)  # fmt: skip
        gate = switch.tags.get(walk.gate.name, 0) if walk.gate else 0
        if wants in (0, DEAD, gate):
            wants = tag  # it is the router's port that is wrong
        mend = (f"sudo ovs-vsctl --may-exist add-port {home} {port.name}"
                f" -- set port {port.name} tag={wants}")  # fmt: skip
        if not port.up:
            mend += f" && sudo ip link set {port.name} up"
    else:
        cable = walk.cable(inner) if inner else None
        home = (walk.bridge_of(cable) if cable else "") or at or "br-int"
        mend = f"sudo ip link set {port.name} master {home} up"
    if at and at not in (home,) and switch and at in switch.bridges:
        mend = f"sudo ovs-vsctl del-port {port.name} && {mend}"
    ok = at == home and tag == wants and port.up
    vlan = f", VLAN {tag or 'none'}" if wants or tag else ""
    yield Station(
        "guest-plugged", f"the VM {guest.address} is plugged into {home}",
        f"{port.name} is up, in {home}{f', VLAN {wants}' if wants else ''}",
        f"{'UP' if port.up else 'DOWN'}, in {at or 'no bridge'}{vlan}", ok,
        (walk.seen.said("ovs|ports") if switch else walk.seen.said("|links"),), mend,
    )  # fmt: skip
    yield from queue(walk, "inner-queue", port)


def inside(walk: Walk, guest: Guest) -> Iterator[Station]:
    """Look into a VM that is a namespace of this host."""
    port, router = guest.port, walk.router
    if port is None or router is None:
        return
    inner = next((each for each in router.inner if each.has(guest.address)), None)
    links = walk.seen.said(f"{port.space}|links")
    way = f" && {port.enter} route replace default via {inner.own} dev {port.name}" if inner else ""
    yield Station("guest-up", f"{guest.address}'s {port.name} is up", "UP",
                  "UP" if port.up else "DOWN", port.up, (links,),
                  f"{port.enter} link set {port.name} up{way}")  # fmt: skip
    yield from queue(walk, "inner-queue", port)
    routes = walk.seen.said(f"{port.space}|routes")
    if inner:
        ways = walk.seen.defaults(port.space)
        ok = bool(ways) and any(ways[0].get("gateway") == a for a, _ in inner.addresses)
        yield Station(
            "guest-way", f"{guest.address}'s default route", f"via {inner.own}",
            "; ".join(f"via {each.get('gateway', '-')}" for each in ways) or "none", ok,
            (routes,), way[4:],
        )  # fmt: skip
        cable = walk.seen.host.get(guest.cable)
        least = min([inner.mtu, *([cable.mtu] if cable else [])])
        mends = [f"{each.enter} link set {each.name} mtu {inner.mtu}"
                 for each in (port, *([cable] if cable else []))
                 if each.mtu != inner.mtu]  # fmt: skip
        if inner.mtu < 1280:
            mends = [f"{inner.enter} link set {inner.name} mtu {port.mtu}"]
        yield Station(
            "guest-mtu", f"{guest.address}'s packets fit", f"MTU {inner.mtu}, as {inner.name}",
            f"MTU {port.mtu}, its cable {cable.mtu if cable else '?'}",
            port.mtu <= least and inner.mtu >= 1280 and least <= max(port.mtu, 0) <= least
            and inner.mtu == port.mtu,
            (links,), " && ".join(mends),
        )  # fmt: skip


def answers(walk: Walk, guest: Guest) -> Iterator[Station]:
    """Look whether a VM answers: itself, by its default route, and a whole packet."""
    for key, kind, what, mend in (
        ("guest", "guest", "answers the router", ""),
        ("guest-back", "back", "finds its way back out of its network",
         "in the VM: sudo ip route replace default via the router's address"),
        ("guest-whole", "whole", "takes a packet of the network's whole size", ""),
    ):  # fmt: skip
        for parts, said in walk.tried(kind):
            if parts != (guest.address,):
                continue
            ok = received(said)
            row = next((row for row in walk.seen.said(f"{walk.space}|neighbours").data
                        if row.get("dst") == guest.address), {})  # fmt: skip
            seen = "answered"
            if not ok:
                mac = row.get("lladdr", "")
                told = f"its MAC is {mac}" if mac else "nor does it tell its MAC"
                seen = f"no answer; {told}"
                for pid, macs in walk.seen.told.get("stopped", {}).items():
                    if key == "guest" and macs and mac in (*macs, ""):
                        seen = f"{seen}; its hypervisor, process {pid}, is stopped"
                        mend = f"sudo kill -CONT {pid}"
            yield Station(key, f"the VM {guest.address} {what}", "answered", seen, ok,
                          (said, walk.seen.said(f"{walk.space}|neighbours")), mend)  # fmt: skip
