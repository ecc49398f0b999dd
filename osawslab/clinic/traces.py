"""What Open vSwitch says of frames that it was asked about (`ofproto/trace`)."""

from __future__ import annotations

import re

from osawslab.clinic.seen import Port, Said
from osawslab.clinic.walk import Walk


def protocols(walk: Walk, gate: Port, nic: Port) -> list[tuple[Said, str, str]]:
    """List the traces of one protocol that are lost where those of another one pass."""
    found = []
    ways = [(f"trace|{gate.name}", gate.name), (f"back|{nic.name}|{gate.name}", nic.name)]
    ways += [
        (f"trace|{each.name}", each.name) for each in (walk.router.inner if walk.router else ())
    ]
    for key, begin in ways:
        pings = set(reaches(walk.seen.said(f"{key}|icmp")))
        wanted = {"trace|" + gate.name: nic.name, ways[1][0]: gate.name}.get(key)
        for said in (walk.seen.said(f"{key}|tcp"), walk.seen.said(f"{key}|udp")):
            left = sorted(pings - set(reaches(said))) if said.out else []
            if left and (wanted is None or wanted in left):
                found.append((said, wanted or left[0], begin))
        lost = walk.seen.said(f"{key}|icmp")
        if wanted and not walk.pings and wanted not in pings and dropper(lost.out)[1]:
            found.append((lost, wanted, begin))
    return found


def kind(said: Said) -> str:
    """Say what a trace is of."""
    found = re.search(r",(icmp|tcp|udp),", said.command)
    return found[1] if found else "frame"


def reaches(said: Said) -> list[str]:
    """Read off a trace by which ports a frame leaves without a VLAN tag."""
    lines = [line for line in said.out.splitlines() if line.startswith("Datapath actions:")]
    words = lines[-1].partition(":")[2] if lines else ""
    found, tagged = [], False
    for each in re.sub(r"\([^)]*\)", "", words).split(","):
        word = each.strip()
        if word in ("push_vlan", "pop_vlan"):
            tagged = word == "push_vlan"
        elif not tagged:
            found.append(word)
    return found


def dropper(trace: str) -> tuple[str, str]:
    """Read off a trace where it ended: the bridge, and the flow as `ovs-ofctl` writes it."""
    bridge = rule = kept = ""
    for line in trace.splitlines():
        named = re.match(r'bridge\("(.+)"\)', line)
        matched = re.match(r"\s*\d+\. (?:(.*), )?priority (\d+)", line)
        if named:
            bridge = named.group(1)
        elif matched:
            rule = f"priority={matched.group(2)}" + (f",{matched[1]}" if matched[1] else "")
        elif line.strip() == "drop":
            kept = rule
        elif "No match" in line:
            kept = ""
    return bridge, kept.replace('"', "")
