"""The stations of what is published: whether a VM lets it in, and whether a server answers."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

from osawslab.clinic.firewall import Packet, read, typed
from osawslab.clinic.router import FAR, PREROUTING, TAKEN
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
    """Look whether a VM that is a namespace of this host lets in what is published."""
    port = guest.port
    if port is None:
        return
    said = walk.seen.said(f"{port.space}|iptables")
    wall, drops = read(said.out), {}
    for parts, _ in walk.tried("server"):
        if parts[0] != guest.address:
            continue
        packet = Packet(FAR, guest.address, port.name, protocol="tcp", port=int(parts[1]))
        outcome = wall.passes(packet, *PREROUTING[:2], *TAKEN)
        enter = f"sudo ip netns exec {port.space} iptables -t"
        if outcome.dropped and outcome.rule:
            rule = outcome.rule
            drops[rule.line] = f"{enter} {rule.table} -D{typed(rule.line)[2:]}"
        elif outcome.dropped:
            table, chain = outcome.policy.split()
            drops[f"the policy of {chain}"] = f"{enter} {table} -P {shlex.quote(chain)} ACCEPT"
    if not said.why_not:
        yield Station(
            "guest-filter", f"{guest.address} lets in what is published", "nothing is dropped",
            "; ".join(f"dropped by {each}" for each in drops) or "nothing is dropped", not drops,
            (said,), " && ".join(drops.values()),
        )  # fmt: skip


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
