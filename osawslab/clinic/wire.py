"""The stations between the VPC and the router: provider NIC, bridges, and the gateway port."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

from osawslab.clinic.evidence import heard, registered
from osawslab.clinic.meddlers import meddlers, others
from osawslab.clinic.queues import queue
from osawslab.clinic.seen import Port, Said
from osawslab.clinic.station import Station, unseen
from osawslab.clinic.walk import Walk


def stations(walk: Walk) -> Iterator[Station]:
    """Look at everything on the wire, outside in."""
    yield from host(walk)
    yield from switch(walk)
    yield from nic(walk)
    yield from meddlers(walk)
    if walk.router is not None:
        yield from gateway(walk)
        yield from plugged(walk)


def host(walk: Walk) -> Iterator[Station]:
    """Look at how much can be seen at all."""
    told = walk.seen.told
    yield Station(
        "root", "the look itself", "as root: namespaces and switches can be read",
        f"as {'root' if told['root'] else told['user'] + ', and `sudo -n` is refused'}"
        f" on {told['system']}",
        True if told["root"] else None,
        mend="" if told["root"] else "let this user run sudo without a password, or log in as root",
    )  # fmt: skip
    said = walk.seen.said("|links")
    if not walk.seen.host:
        yield unseen("nic", "the provider NIC", "one", f"`ip -j` said: {said.why_not}", (said,))


def switch(walk: Walk) -> Iterator[Station]:
    """Look at Open vSwitch's daemons."""
    expected = "its database and its switch answer"
    db, daemon = walk.seen.said("ovs|bridges"), walk.seen.said("ovs|version")
    if db.status == 127:
        return
    if not walk.seen.told["root"]:
        yield unseen("openvswitch", "Open vSwitch", expected, "not root", (db,))
        return
    uses = any(port.kind == "openvswitch" for port in walk.seen.host.values())
    uses = uses or any(p.kind == "tun" for r in walk.seen.routers for p in (*r.gateways, *r.inner))
    cabled = any(p.kind == "veth" for r in walk.seen.routers for p in (*r.gateways, *r.inner))
    if db.status and daemon.status and not uses and cabled:
        return  # installed, and nothing is plugged into it
    ok = not db.status and not daemon.status
    systemd = walk.seen.told["systemd"]
    start = "sudo systemctl restart openvswitch-switch"
    yield Station(
        "openvswitch", "Open vSwitch", expected,
        "both answer" if ok else " / ".join(x for x in (db.why_not, daemon.why_not) if x)[:200],
        ok, (db, daemon), start if systemd else "sudo service openvswitch-switch start",
    )  # fmt: skip


def nic(walk: Walk) -> Iterator[Station]:
    """Look at the provider NIC: there, up, without an address, nobody else's."""
    links = walk.seen.said("|links")
    port, eni = walk.nic, walk.eni
    about = f", registered as {eni.mac} {', '.join(eni.addresses)} ({eni.id})" if eni else ""
    if port is None:
        macs = ", ".join(f"{each.name} {each.mac}" for each in walk.seen.host.values())
        wanted = f"the interface {walk.named}" if walk.named else "an interface for the ENI"
        yield Station(
            "nic", "the provider NIC", wanted + about, f"none of: {macs}" if macs else "none",
            False if macs else None, (links,),
            "aws ec2 describe-network-interfaces --filters Name=attachment.instance-id,Values="
            + shlex.quote(str(walk.seen.told["metadata"].get("instance", ""))),
        )  # fmt: skip
        return
    name = port.name
    yield Station("nic", f"the provider NIC {name}", f"an interface{about}", f"{name} {port.mac}",
                  True, (links,))  # fmt: skip
    yield Station("nic-up", f"{name} is up", "UP", "UP" if port.up else "DOWN", port.up, (links,),
                  f"sudo ip link set {name} up")  # fmt: skip
    alone = name == walk.seen.main_nic
    seen = ", ".join(f"{a}/{n}" for a, n in port.addresses)
    yield Station(
        "nic-address", f"{name} has no address of its own", "none: the router has it",
        seen or "none", not seen or alone, (links,),
        " && ".join(f"sudo ip addr del {a}/{n} dev {name}" for a, n in port.addresses),
    )  # fmt: skip
    yield from others(walk, port)
    need = walk.gate.mtu if walk.gate else 1500
    yield Station(
        "nic-mtu", f"{name} carries the router's packets", f"MTU at least {need}",
        f"MTU {port.mtu}", port.mtu >= need, (links,),
        f"sudo ip link set {name} mtu {max(need, 1500)}",
    )  # fmt: skip
    yield from queue(walk, "nic-queue", port)


def gateway(walk: Walk) -> Iterator[Station]:
    """Look at the gateway port: there, up, with a registered pair of MAC and address."""
    assert walk.router is not None
    gate, eni, space = walk.gate, walk.eni, walk.space
    links = walk.seen.said(f"{space}|links")
    if gate is None:
        rules = re.findall(r"-o (qg-[\w-]+)", walk.seen.said(f"{space}|iptables").out)
        name = rules[0] if rules else "a port qg-…"
        if rules or walk.router.inner:
            again = "sudo systemctl restart neutron-l3-agent"
            lost = walk.seen.host.get(name)
            back = again if walk.seen.told["systemd"] else ""
            yield Station(
                "gateway-up", f"the gateway port of {space}", name,
                f"{name} is in the host's namespace" if lost else "none", False,
                (walk.seen.said("|links") if lost else links,),
                home(walk, lost) if lost else back,
            )  # fmt: skip
        return
    name, default = gate.name, walk.restore
    put_back = f" && {default}" if default else ""
    yield Station("gateway-up", f"the gateway port {name} is up", "UP",
                  "UP" if gate.up else "DOWN", gate.up, (links,),
                  f"{gate.enter} link set {name} up{put_back}")  # fmt: skip
    yield Station(
        "gateway-mtu", f"{name} sends no larger than the internet gateway forwards",
        "MTU 1280 to 1500", f"MTU {gate.mtu}", 1280 <= gate.mtu <= 1500, (links,),
        f"{gate.enter} link set {name} mtu 1500",
    )  # fmt: skip
    yield from queue(walk, "gateway-queue", gate)
    own = "" if walk.floats_only else gate.own
    length = eni.cidr.partition("/")[2] if eni else "24"
    wanted = walk.to_be
    if not own:
        others = ", ".join(f"{a}/{n}" for a, n in gate.addresses)
        yield Station(
            "gateway-address", f"{name} has its address", wanted or "one that is registered",
            f"only {others}" if others else "none", False, (links,),
            f"{gate.enter} addr add {wanted}/{length} dev {name}{put_back}" if wanted else "",
        )  # fmt: skip
    elif eni and eni.cidr:
        bits = dict(gate.addresses)[own]
        ok = bits == int(length) or bits == 32
        yield Station(
            "gateway-address", f"{name} has its address", f"{own}/{length}, as the subnet",
            f"{own}/{bits}", ok, (links,),
            f"{gate.enter} addr add {own}/{length} dev {name}"
            f" && {gate.enter} addr del {own}/{bits} dev {name}{put_back}",
        )  # fmt: skip
    if eni is None:
        why = walk.seen.told["metadata"].get("error") or "the metadata service names no second NIC"
        yield unseen("registered", f"{name}'s address is registered",
                     "an address of an ENI", why)  # fmt: skip
    elif own:
        ok = own in eni.addresses
        if wanted and wanted != own:
            mend = (
                f"{gate.enter} addr del {own}/{dict(gate.addresses)[own]} dev {name}"
                f" && {gate.enter} addr add {wanted}/{length} dev {name}{put_back}"
            )
        else:
            mend = (f"aws ec2 assign-private-ip-addresses --network-interface-id {eni.id}"
                    f" --private-ip-addresses {own}")  # fmt: skip
        yield Station("registered", f"{name}'s address is registered",
                      f"one of {', '.join(eni.addresses)} ({eni.id})", own, ok,
                      (links, registered(walk)), mend)  # fmt: skip
    yield from pair(walk, gate, links)


def home(walk: Walk, port: Port) -> str:
    """Write the command that puts a gateway port back into its router, as the rules have it."""
    assert walk.router is not None
    have = walk.eni.addresses if walk.eni else ()
    said = [rule.value("--to-source") for rule in walk.firewall.every("SNAT")
            if rule.value("-o") == port.name]  # fmt: skip
    said += [rule.value("-d").partition("/")[0] for rule in walk.firewall.every("DNAT")]
    own = next((each for each in said if each in have), next(iter(have), ""))
    enter, words = f"sudo ip -n {walk.space}", [f"sudo ip link set {port.name} netns {walk.space}"]
    if own and walk.eni:
        length = walk.eni.cidr.partition("/")[2] or "24"
        words.append(f"{enter} addr add {own}/{length} dev {port.name}")
    words.append(f"{enter} link set {port.name} up")
    if walk.eni and walk.eni.router:
        words.append(f"{enter} route replace default via {walk.eni.router} dev {port.name}")
    return " && ".join(words)


def pair(walk: Walk, gate: Port, links: Said) -> Iterator[Station]:
    """Look at the gateway port's MAC against the registered one, and at who else has it."""
    mac, name, port = walk.registered, gate.name, walk.nic
    expected = "the MAC that AWS has registered for its address"
    if not mac:
        yield unseen("gateway-mac", f"{name}'s MAC", expected, "nobody tells which that is")
        return
    traced = walk.seen.said(f"trace|{name}").out
    rewritten = f"set(eth(src={mac}" in traced
    ok = gate.mac == mac or rewritten or walk.pings
    left = [
        f"{row[0]} sent {row[4]} to {row[6]} with MAC {row[2]}, and no answer came"
        for row in walk.seen.told["heard"]
        if port and row[0] == port.name and row[1] == "out" and row[2] == gate.mac
    ][:1]  # fmt: skip
    mend = f"{gate.enter} link set {name} address {mac}"
    cable = walk.cable(gate)
    if cable and port and port.mac == mac:  # a Linux bridge keeps frames to a port's own MAC
        mend += (f" && sudo bridge fdb del {mac} dev {port.name} master"
                 f" && sudo bridge fdb replace {mac} dev {cable.name} master static")  # fmt: skip
    mend += f" && {gate.enter} neigh flush dev {name}"
    seen = f"{gate.mac}, rewritten by the switch" if rewritten else gate.mac
    if left and not ok:
        seen += f"; {left[0]}"
    yield Station(
        "gateway-mac", f"{name}'s MAC", f"{mac}, {expected}", seen, ok,
        (links, registered(walk), heard(walk, port)), mend,
    )  # fmt: skip
    if gate.mac != mac:
        return
    twins = [
        each for ports in walk.seen.ports.values() for each in ports.values()
        if each.mac == mac and each.up and each.kind != "openvswitch" and each.name != "ovs-system"
        and (each.space, each.name) != (gate.space, gate.name)
        and not (port and (each.space, each.name) == ("", port.name))
    ]  # fmt: skip
    bridged = walk.outer
    twins = [each for each in twins if not (each.kind == "bridge" and each.name == bridged)]
    fixed = [f"sudo ovs-vsctl set bridge {each.name} other-config:hwaddr=02:0b:1d:{mac[9:]}"
             if walk.seen.switch and each.name in walk.seen.switch.bridges
             else f"{each.enter} link set {each.name} address {spare(each)}"
             for each in twins]  # fmt: skip
    yield Station(
        "duplicate", f"nobody else has {name}'s MAC", f"{mac} once, or shared with the NIC",
        "; ".join(f"{each.name} in {each.space or 'the host'} has it too" for each in twins)
        or "nobody", not twins,
        tuple(walk.seen.said(f"{each.space}|links") for each in twins), " && ".join(fixed),
    )  # fmt: skip


def spare(port: Port) -> str:
    """Give another MAC, locally administered, that follows from the interface's own."""
    return "06:" + port.mac[3:9] + f"{(port.index * 37) % 256:02x}" + port.mac[11:]


def plugged(walk: Walk) -> Iterator[Station]:
    """Look at bridge and ports; told further where they are."""
    from osawslab.clinic import bridges

    yield from bridges.stations(walk)
