"""The stations of the bridges between provider NIC and gateway port."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

from osawslab.clinic.firewall import Packet, read
from osawslab.clinic.seen import Name, Port, Said, Switch
from osawslab.clinic.station import Station
from osawslab.clinic.traces import dropper, kind, protocols, reaches
from osawslab.clinic.walk import Walk, replug

DEAD = 4095  # the VLAN of a port that Neutron's agent has not wired (ovs_neutron_agent.py)
TO = re.compile(r"(?:mod_vlan_vid:|set_field:)(\d+)")


def stations(walk: Walk) -> Iterator[Station]:
    """Look at the way from the NIC to the gateway port."""
    gate, switch = walk.gate, walk.seen.switch
    if gate is None or (switch is None and walk.cable(gate) is None):
        return
    if walk.on_switch and switch:
        yield from openvswitch(walk, gate, switch)
    else:
        yield from linux(walk, gate)


def holds(walk: Walk, bridge: str, add: str, leave: str, evidence: Said) -> Iterator[Station]:
    """Look whether the NIC is a port of the bridge."""
    if walk.nic is None:
        return
    name, now = walk.nic.name, walk.bridge_of(walk.nic)
    ok = now == bridge or walk.pings or cabled(walk, now, bridge)
    if deaf(walk, walk.nic, now):
        yield Station(
            "bridge", f"{name} is a port of {bridge}", f"{now} hears what comes on {name}",
            f"{now} still listens on an interface {name} that is gone", False,
            (evidence, walk.seen.said("packets")), f"{leave} && {add.replace(bridge, now)}",
        )  # fmt: skip
        return
    yield Station(
        "bridge", f"{name} is a port of {bridge}", bridge, now or "of no bridge", ok,
        (evidence,), (leave + " && " if now and now != bridge else "") + add,
    )  # fmt: skip


def deaf(walk: Walk, nic: Port, bridge: str) -> bool:
    """Say whether a switch in user space has a NIC that was taken away and came back.

    It goes on with the packet socket of the one that is gone (`netdev_linux` opens it once, when
    the port is added), and sends by name.
    """
    switch = walk.seen.switch
    return (
        switch is not None and bridge in switch.in_user_space
        and not walk.pings and nic.up and not walk.seen.heard_by(nic)
    )  # fmt: skip


def cabled(walk: Walk, one: str, other: str) -> bool:
    """Say whether a patch cable leads from a bridge of its own, which rewrites MACs, to another."""
    switch, inner = walk.seen.switch, walk.integration
    return one not in ("", inner) and switch is not None and any(
        switch.types.get(port) == "patch" and switch.of(switch.peers[port]) == other
        for port in switch.bridges.get(one, ())
    )  # fmt: skip


def vlan(walk: Walk, gate: Port, near: str) -> int:
    """Read off the flows which local VLAN the provider network has; 0 where none is put on."""
    for line in walk.seen.said(f"flows|{walk.integration}").out.splitlines():
        found = TO.search(line)
        if found and f'in_port="{near}"' in line.replace(f"in_port={near}", f'in_port="{near}"'):
            return int(found.group(1)) & 0xFFF
    return 0


def openvswitch(walk: Walk, gate: Port, switch: Switch) -> Iterator[Station]:
    """Look at Open vSwitch's bridges, patch cable, tags and flows."""
    inner, outer, nic = walk.integration, walk.outer, walk.nic
    ports = walk.seen.said("ovs|ports")
    name = nic.name if nic else "?"
    yield from holds(
        walk, outer, f"sudo ovs-vsctl --may-exist add-port {outer} {name}",
        f"sudo ovs-vsctl --if-exists del-port {name}", ports,
    )  # fmt: skip
    near: str = Name(("int-" + outer)[:15])
    far: str = Name(("phy-" + outer)[:15])
    if outer != inner:
        ends = [
            (port, switch.peers[port]) for port in switch.bridges.get(inner, ())
            if switch.types.get(port) == "patch" and switch.of(switch.peers[port]) == outer
        ]  # fmt: skip
        joined = [(a, b) for a, b in ends if switch.peers.get(b) == a]
        if joined:
            near, far = joined[0]
        elif ends:
            near, far = ends[0]
        halves = [port for port in (near, far) if switch.of(port)]
        seen = "there" if joined else f"only {halves[0]}" if len(halves) == 1 else "none"
        if not joined and len(halves) == 2:
            seen = f"{near} leads to {switch.peers.get(near) or 'nothing'}, {far} to"
            seen += f" {switch.peers.get(far) or 'nothing'}"
        yield Station(
            "patch", f"a patch cable between {inner} and {outer}", f"{near} and {far}", seen,
            bool(joined), (walk.seen.said("ovs|interfaces"),),
            f"sudo ovs-vsctl --may-exist add-port {inner} {near}"
            f" -- set interface {near} type=patch options:peer={far}"
            f" -- --may-exist add-port {outer} {far}"
            f" -- set interface {far} type=patch options:peer={near}"
            + anew(walk, switch.tags.get(gate.name, 0), near, far, switch),
        )  # fmt: skip
    tag, wanted = switch.tags.get(gate.name, 0), vlan(walk, gate, near)
    wrong = tag == DEAD or (wanted and tag != wanted) or bool(switch.errors.get(gate.name))
    if gate.name in walk.seen.host:  # Open vSwitch in user space has made its ports anew
        yield Station(
            "gateway-plugged", f"{gate.name} is plugged into {inner}", "it is the switch's port",
            "the switch's port of that name is the host's, not the router's", False,
            (walk.seen.said("|links"),), replug(gate, walk.restore),
        )  # fmt: skip
        return
    yield Station(
        "gateway-plugged", f"{gate.name} is plugged into {inner}",
        f"VLAN {wanted}" if wanted else "a VLAN that is alive",
        switch.errors.get(gate.name) or (f"VLAN {tag}" if tag else "no VLAN"), not wrong, (ports,),
        f"sudo ovs-vsctl set port {gate.name} tag={wanted}" if wanted
        else "sudo systemctl restart neutron-openvswitch-agent",
    )  # fmt: skip
    yield from learned(walk, gate, switch)
    yield from flows(walk, gate, wanted or tag, near, far)


def anew(walk: Walk, tag: int, near: str, far: str, switch: Switch) -> str:
    """Give the commands for flows that a new patch port needs, for it gets a new number."""
    inner, outer = walk.integration, walk.outer
    if not tag or "dl_vlan=" not in walk.seen.said(f"flows|{outer}").out:
        return ""
    words = ""
    if not switch.of(far):
        words += f" && {takes_off(outer, far, tag)}"
    if not switch.of(near):
        words += f" && {puts_on(inner, near, tag)}"
    return words


def takes_off(bridge: str, port: str, tag: int) -> str:
    """Write the flow that takes the local VLAN off (ovs_neutron_agent.py)."""
    flow = f"priority=4,in_port={port},dl_vlan={tag},actions=strip_vlan,NORMAL"
    return f"sudo ovs-ofctl add-flow {bridge} {shlex.quote(flow)}"


def puts_on(bridge: str, port: str, tag: int) -> str:
    """Write the flow that puts the local VLAN on."""
    flow = f"priority=3,in_port={port},vlan_tci=0x0000/0x1fff,actions=mod_vlan_vid:{tag},NORMAL"
    return f"sudo ovs-ofctl add-flow {bridge} {shlex.quote(flow)}"


def learned(walk: Walk, gate: Port, switch: Switch) -> Iterator[Station]:
    """Look to which port the integration bridge hands the frames for the gateway's MAC."""
    said = walk.seen.said(f"fdb|{walk.integration}")
    number, tag = switch.numbers.get(gate.name, -1), switch.tags.get(gate.name, 0)
    rows = [line.split() for line in said.out.splitlines()]
    found = [row for row in rows if len(row) == 4 and row[2] == gate.mac and row[1] == str(tag)]
    if not found:
        return
    names = {str(switch.numbers[port]): port for port in switch.bridges[walk.integration]}
    ok = found[0][0] == str(number) or walk.pings
    static = found[0][3] == "static"
    yield Station(
        "fdb", f"{walk.integration} hands frames for {gate.mac} on", f"to {gate.name}",
        f"to {names.get(found[0][0], found[0][0])}{', for ever' if static else ''}", ok, (said,),
        f"sudo ovs-appctl fdb/del {walk.integration} {tag} {gate.mac}" if static
        else f"sudo ovs-appctl fdb/flush {walk.integration}",
    )  # fmt: skip


def flows(walk: Walk, gate: Port, tag: int, near: str, far: str) -> Iterator[Station]:
    """Have the switch say where frames go, out and in."""
    nic, seen = walk.nic, walk.seen
    out, back = (
        seen.said(f"trace|{gate.name}"),
        seen.said(f"back|{nic.name if nic else ''}|{gate.name}"),
    )
    if not nic or not out.out or not back.out:
        return
    ways = ((out, nic.name, gate.name), (back, gate.name, nic.name))
    lost = [
        (said, to, begin) for said, to, begin in ways
        if to not in reaches(said) and not walk.pings  # rules may rewrite what was not traced
    ]  # fmt: skip
    inner, outer = walk.integration, walk.outer
    if not lost:
        lost = protocols(walk, gate, nic)
    mend = ""
    if lost:
        bridge, rule = dropper(lost[0][0].out)
        texts = {name: seen.said(f"flows|{name}").out for name in (inner, outer)}
        takes = f'in_port="{far}",dl_vlan={tag} ', f"in_port={far},dl_vlan={tag} "
        joined = inner != outer and bool(tag)
        if joined and lost[0][0] is out and not any(each in texts[outer] for each in takes):
            mend = takes_off(outer, far, tag)
        elif (
            joined
            and lost[0][0] is back
            and not any(near in line and TO.search(line) for line in texts[inner].splitlines())
        ):
            mend = puts_on(inner, near, tag)
        elif rule:
            mend = f"sudo ovs-ofctl --strict del-flows {Name(bridge)} {shlex.quote(rule)}"
        elif "actions=NORMAL" not in texts.get(bridge or outer, "NORMAL"):
            mend = f"sudo ovs-ofctl add-flow {Name(bridge or outer)} 'priority=0,actions=NORMAL'"
    told = [f"from {begin} no {kind(said)} comes to {to}" for said, to, begin in lost]
    bridge, rule = dropper(lost[0][0].out) if lost else ("", "")
    if rule:
        told.append(f"dropped at {bridge}: {rule}")
    if not lost and (answer := unheard(walk, gate, nic)):
        told = [f"{nic.name} got {answer}, and the switch did not hand it on"]
        mend = (f"sudo ovs-vsctl del-port {nic.name}"
                f" && sudo ovs-vsctl add-port {walk.bridge_of(nic)} {nic.name}")  # fmt: skip
    tag_of_nic = seen.switch.tags.get(nic.name, 0) if seen.switch else 0
    if lost and tag_of_nic:
        told.append(f"{nic.name} is in VLAN {tag_of_nic}")
        mend = f"sudo ovs-vsctl clear port {nic.name} tag"
    yield Station(
        "flows", "the switches' flows lead frames on", f"from {gate.name} to {nic.name}, and back",
        "; ".join(told) or "both ways", not told,
        tuple(said for said, _, _ in lost) or (out, back), mend,
    )  # fmt: skip


def unheard(walk: Walk, gate: Port, nic: Port) -> str:
    """Say which answer to the router's question the NIC got, where the router has none of it."""
    known = [
        row for row in walk.seen.said(f"{walk.space}|neighbours").data
        if row.get("dev") == gate.name and row.get("lladdr")
    ]  # fmt: skip
    for row in walk.seen.told["heard"] if not (known or walk.pings) else ():
        if row[:2] == [nic.name, "in"] and row[4] == "arp is-at" and row[6] == gate.own:
            return f"{row[4]} from {row[5]} for {row[3]}"
    return ""


def linux(walk: Walk, gate: Port) -> Iterator[Station]:
    """Look at a Linux bridge: the NIC, the gateway's cable, its forwarding table."""
    cable, nic, seen = walk.cable(gate), walk.nic, walk.seen
    links, fdb = seen.said("|links"), seen.said("fdb")
    bridge = walk.outer
    if nic and walk.bridge_of(nic):
        bridge = walk.bridge_of(nic)
    elif not bridge:
        names = [port.name for port in seen.host.values() if port.kind == "bridge"]
        used = {walk.bridge_of(c) for p in (walk.router.inner if walk.router else ())
                if (c := walk.cable(p))}  # fmt: skip
        bridge = next((name for name in names if name not in used), "br-ex")
    name = nic.name if nic else "?"
    lead = ""
    if nic and cable and gate.mac == nic.mac:  # else the bridge keeps its frames to itself
        lead = (f"; sudo bridge fdb del {gate.mac} dev {name} master 2>/dev/null"
                f"; sudo bridge fdb replace {gate.mac} dev {cable.name} master static")  # fmt: skip
    put = f"sudo ip link set {name} master {bridge}{lead}"
    yield from holds(walk, bridge, put, "true", links)
    own = seen.host.get(bridge)
    if own is not None:
        yield Station("patch", f"{bridge} is up", "UP", "UP" if own.up else "DOWN", own.up,
                      (links,), f"sudo ip link set {bridge} up")  # fmt: skip
    if cable is not None:
        at = walk.bridge_of(cable)
        yield Station(
            "gateway-plugged", f"{gate.name} is plugged into {bridge}",
            f"its cable {cable.name} is up, in {bridge}",
            f"{'UP' if cable.up else 'DOWN'}, in {at or 'no bridge'}", at == bridge and cable.up,
            (links,), f"sudo ip link set {cable.name} master {bridge} up{lead}",
        )  # fmt: skip
        rows = [row for row in fdb.data if row.get("mac") == gate.mac and row.get("master")]
        bad = [
            row for row in rows if row.get("ifname") != cable.name
            and (row.get("state") in ("permanent", "static") or not walk.pings)
        ]  # fmt: skip
        mends = [f"sudo bridge fdb del {gate.mac} dev {Name(row['ifname'])} master" for row in bad]
        if nic and gate.mac == nic.mac and not any(r.get("ifname") == cable.name for r in rows):
            mends.append(f"sudo bridge fdb replace {gate.mac} dev {cable.name} master static")
        yield Station(
            "fdb", f"{bridge} hands frames for {gate.mac} on", f"to {cable.name}",
            "; ".join(f"{row.get('state', 'learned')} entry: to {row['ifname']}" for row in bad)
            or f"to {cable.name}", not bad, (fdb,), " && ".join(mends),
        )  # fmt: skip
    filters = read(seen.said("|iptables").out)
    if seen.told["bridge_filter"] == "1" and nic and gate.own:
        packet = Packet(gate.own, "8.8.8.8", bridge, bridge)
        outcome = filters.passes(packet, ("filter", "FORWARD"))
        yield Station(
            "bridge-filter", f"the host's iptables leave {bridge}'s frames alone",
            "bridged frames are not dropped",
            f"dropped by {outcome.rule.line if outcome.rule else outcome.policy}"
            if outcome.dropped else "not dropped", not outcome.dropped,
            (seen.said("|iptables"),), "sudo sysctl -w net.bridge.bridge-nf-call-iptables=0",
        )  # fmt: skip
