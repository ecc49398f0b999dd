"""The stations of what is published: whether a VM lets it in, and whether a server answers."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

from osawslab.clinic import nft
from osawslab.clinic.firewall import Firewall, Packet, read, typed
from osawslab.clinic.journeys import BACK, FAR, KINDS, PREROUTING, SENT, TAKEN, Hooks
from osawslab.clinic.seen import Port
from osawslab.clinic.station import Station
from osawslab.clinic.walk import Guest, Walk


def stations(walk: Walk) -> Iterator[Station]:
    """Look at the VMs' servers."""
    if walk.router is None:
        return
    for guest in walk.guests:
        yield from walls(walk, guest)
    yield from servers(walk)


def walls(walk: Walk, guest: Guest) -> Iterator[Station]:
    """Look whether a VM that is a namespace of this host lets in what is published, and all out."""
    port = guest.port
    if port is None or (said := walk.seen.said(f"{port.space}|iptables")).why_not:
        return
    come: list[tuple[Packet, Hooks]] = []
    go: list[tuple[Packet, Hooks]] = []
    for protocol, number in KINDS:
        ask = Packet(guest.address, FAR, "", port.name, protocol, number, BACK)
        go += [(ask, SENT)]
        come += [(Packet(FAR, guest.address, port.name, "", protocol, BACK, number, "ESTABLISHED"),
                  (*PREROUTING[:2], *TAKEN))]  # fmt: skip
    for (address, wanted), _ in walk.tried("server"):
        if address == guest.address:
            number = int(wanted)
            come.insert(0, (Packet(FAR, address, port.name, "", "tcp", number, BACK),
                            (*PREROUTING[:2], *TAKEN)))  # fmt: skip
            go += [(Packet(address, FAR, "", port.name, "tcp", BACK, number, "ESTABLISHED"), SENT)]
    for what, packets in (("lets in what is published", come), ("lets out what it sends", go)):
        drops = dropped(walk, port, read(said.out), packets)
        yield Station(
            "guest-filter", f"{guest.address} {what}", "nothing is dropped",
            "; ".join(f"dropped by {each}" for each in drops) or "nothing is dropped", not drops,
            (walk.seen.said(f"{port.space}|nft"),) if any(map(is_nft, drops.values())) else (said,),
            " && ".join(drops.values()),
        )  # fmt: skip


def is_nft(command: str) -> bool:
    """Say whether it is nftables that a command is of."""
    return " nft " in command


def dropped(
    walk: Walk, port: Port, wall: Firewall, packets: list[tuple[Packet, Hooks]]
) -> dict[str, str]:
    """Lead packets through a VM's rules: what drops them, and what takes that away."""
    found: dict[str, str] = {}
    others = nft.read(walk.seen.said(f"{port.space}|nft").out)
    enter = f"sudo ip netns exec {port.space}"
    for packet, hooks in packets:
        outcome = wall.passes(packet, *hooks)
        if outcome.dropped and outcome.rule:
            rule = outcome.rule
            mend = f"{enter} iptables -t {rule.table} -D{typed(rule.line)[2:]}"
            found.setdefault(rule.line, mend)
        elif outcome.dropped:
            table, chain = outcome.policy.split()
            mend = f"{enter} iptables -t {table} -P {shlex.quote(chain)} ACCEPT"
            found.setdefault(f"the policy of {chain}", mend)
        fate = others.passes(packet, {chain.lower() for _, chain in hooks})
        if fate.rule and not fate.unsure:
            found.setdefault(fate.rule.words, f"{enter} nft {fate.rule.mend}")
    return found


def servers(walk: Walk) -> Iterator[Station]:
    """Look whether what is published answers in the VM."""
    for (address, port), said in walk.tried("server"):
        ok = said.status == 0
        words = said.err.splitlines()[-1] if said.err else said.out.strip()
        ssh = port == "22"
        seen = said.out.strip()[:60] if ok else words
        if ok and ssh and "SSH-" not in said.out:
            ok, seen = False, f"connected, but no SSH banner: {seen}"
        guest = next((each for each in walk.guests if each.address == address), None)
        mend = "in the VM: sudo systemctl restart ssh" if ssh else "start it in the VM"
        for pid in stopped(walk, guest, port) if not ok else ():
            seen, mend = f"{seen}; its process {pid} is stopped", f"sudo kill -CONT {pid}"
        yield Station(
            "server", f"a server on {address}:{port}", "an SSH server's banner" if ssh
            else "it takes a connection", seen, ok,
            (said, *((walk.seen.said(f"{guest.port.space}|listening"),)
                     if guest and guest.port else ())),
            mend,
        )  # fmt: skip


def stopped(walk: Walk, guest: Guest | None, port: str) -> list[str]:
    """List the stopped processes that listen on a port of a VM that is a namespace."""
    if guest is None or guest.port is None:
        return []
    lines = walk.seen.said(f"{guest.port.space}|listening").out.splitlines()
    pids = [
        pid for line in lines if re.search(rf":{port}\s", line)
        for pid in re.findall(r"pid=(\d+)", line)
    ]  # fmt: skip
    return [pid for pid in pids if pid in walk.seen.told.get("stopped", ())]
