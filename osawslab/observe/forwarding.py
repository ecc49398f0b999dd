"""Tables of state: the ways that a frame and a packet take, and who translates addresses; pure.

What only the tools' own words tell is read strictly: what cannot be read is an error that says so.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

from osawslab.host.facts import HostFacts
from osawslab.observe import nexthops
from osawslab.observe.difference import State
from osawslab.observe.state import VPC, Sight, table, told, unreadable

# ovs-appctl fdb/show: port, VLAN, MAC, age in seconds, or "static" (ofproto-dpif.c).
LEARNED = re.compile(r"\s*(\d+|LOCAL)\s+(\d+)\s+((?:[0-9a-f]{2}:){5}[0-9a-f]{2})\s+(\d+|static)")
LOCAL_PORT = 65534  # OFPP_LOCAL: the bridge itself
TO = {"--to-source": "from", "--to-destination": "to", "--to-ports": "to port", "--to": "to"}


def fdb(sight: Sight) -> State:
    """Show to which port each bridge hands the frames for a MAC.

    `own`: kept for the host itself; `static`: somebody has said so; `learned`: seen as a source.
    """
    found = [*_linux(sight.host), *_openvswitch(sight.host)]
    for each in found:
        each["mac_owner"] = sight.owners.mac(each["mac"])
        each["port_is"] = next(
            (
                sight.owners.port(name, each["port"])
                for name in sight.spaces
                if (name, each["port"]) in sight.owners.ports
            ),
            "",
        )
    return table(
        "To which port the bridges hand the frames for a MAC (FDB)",
        {"bridge": "bridge", "MAC": "mac", "whose MAC": "mac_owner", "VLAN": "vlan_text",
         "port": "port", "what it is": "port_is", "kind": "kind"},
        ("bridge", "MAC", "VLAN"),
        sorted(found, key=lambda each: (each["bridge"], each["mac"], each["vlan"])),
        ("vlan", "age"),
        vlan="int64",
        age="Int64",
    )  # fmt: skip


def _linux(host: HostFacts) -> Iterable[dict[str, Any]]:
    """Read what `bridge -j fdb show` told of ports of bridges."""
    kinds = {"permanent": "own", "static": "static"}
    for each in host.fdb:
        if each.get("master") and each.get("mac"):
            vlan = int(each.get("vlan", 0))
            yield {
                "bridge": str(each["master"]),
                "mac": str(each["mac"]),
                "vlan": vlan,
                "vlan_text": str(vlan) if vlan else "",
                "port": str(each.get("ifname", "")),
                "kind": kinds.get(str(each.get("state", "")), "learned"),
            }


def _openvswitch(host: HostFacts) -> Iterable[dict[str, Any]]:
    """Read what `ovs-appctl fdb/show` told. Raises StepFailed where it is something else."""
    numbers = host.learned.get("ofports", {}).get("", "")
    ofports = told(numbers, "ovs-vsctl -f json --columns=name,ofport list Interface")
    try:
        numbered = [tuple(each) for each in ofports["data"]] if ofports else []
        # A port that does not work has no number, an empty set instead (ovsdb-server(7)).
        ports = {name: number for name, number in numbered if isinstance(number, int)}
    except (KeyError, TypeError, ValueError):
        raise unreadable(numbers, "ovs-vsctl list Interface") from None
    for bridge, text in host.learned.get("switches", {}).items():
        named = {ports.get(name): name for name in (host.bridges or {})[bridge].ports}
        for line in text.splitlines()[1:]:  # the first one is the head
            match = LEARNED.fullmatch(line.rstrip())
            if match is None:
                raise unreadable(line, f"ovs-appctl fdb/show {bridge}")
            number, vlan, mac, age = match.groups()
            local = number in ("LOCAL", str(LOCAL_PORT))
            yield {
                "bridge": bridge,
                "mac": mac,
                "vlan": int(vlan),
                "vlan_text": vlan if int(vlan) else "",
                "port": bridge if local else named.get(int(number), f"port {number}"),
                "kind": "static" if age == "static" else "learned",
                "age": None if age == "static" else int(age),
            }


def routes(sight: Sight) -> State:
    """Show the way to each network: of the VPC, and of each namespace's main table."""
    found: list[dict[str, Any]] = [
        {"where": VPC, "to": _everything(to), "via": via, "via_owner": nexthops.described(via)}
        for to, via in sight.routes
    ]
    for name in sight.spaces:
        for each in sight.host.namespace(name).routes:
            kind, via, interface = nexthops.way(each)
            owners = ", ".join(sight.owners.address(hop) for hop in via.split(", ") if hop)
            found.append(
                {
                    "where": sight.places[name],
                    "namespace": name,
                    "to": _everything(str(each.get("dst", ""))),
                    "via": kind or via,
                    "via_owner": nexthops.TYPES.get(kind, owners or "the network itself"),
                    "interface": interface,
                    "source": str(each.get("prefsrc", "")),
                    "protocol": str(each.get("protocol", "")),
                    "metric": each.get("metric"),
                }
            )
    for row in found:
        row["to_is"] = "" if row["to"] == "default" else sight.owners.address(row["to"])
    return table(
        "Routes",
        {"where": "where", "to": "to", "what it is": "to_is", "via": "via",
         "whose": "via_owner", "interface": "interface"},
        ("where", "to"),
        found,
        ("namespace", "source", "protocol", "metric"),
        metric="Int64",
    )  # fmt: skip


def _everything(to: str) -> str:
    return "default" if to == "0.0.0.0/0" else to


def nat(sight: Sight) -> State:
    """Show who translates which address: the VPC its Elastic IPs, each namespace by its rules."""
    found: list[dict[str, Any]] = []
    for nic in sight.nics:
        if nic.eip:
            inner = nic.inner or nic.addresses[0]
            for kind, matches, becomes in (
                ("DNAT", f"to {nic.eip}", f"to {inner}"),
                ("SNAT", f"from {inner}", f"from {nic.eip}"),
            ):
                found.append(
                    {"where": VPC, "kind": kind, "matches": matches, "becomes": becomes,
                     "chain": "Elastic IP"}
                )  # fmt: skip
    for name in sight.spaces:
        for rule in _translations(sight.host.namespace(name).iptables):
            found.append({"where": sight.places[name], "namespace": name, **rule})
    for each in found:
        address = each["becomes"].rpartition(" ")[2].partition(":")[0].partition("-")[0]
        each["owner"] = sight.owners.address(address) if "." in address else ""
    return table(
        "Who translates addresses (NAT)",
        {"where": "where", "kind": "kind", "what matches": "matches", "becomes": "becomes",
         "whose": "owner"},
        ("where", "kind", "what matches"),
        found,
        ("namespace", "chain", "rule"),
        code=("what matches",),
    )  # fmt: skip


def _translations(text: str) -> Iterable[dict[str, str]]:
    """Read the rules that translate out of what `iptables-save` printed. Raises StepFailed."""
    part = ""
    for line in text.splitlines():
        part = line[1:] if line.startswith("*") else part
        if part != "nat" or not line.startswith("-A "):
            continue
        try:
            words = shlex.split(line)
            chain, at = words[1], words.index("-j") if "-j" in words else -1
            kind = words[at + 1] if at > 0 else ""
        except (ValueError, IndexError):
            raise unreadable(line, "iptables-save") from None
        if kind not in ("SNAT", "DNAT", "MASQUERADE", "REDIRECT", "NETMAP"):
            continue
        rest = words[at + 2 :]
        becomes = " ".join(f"{TO[word]} {value}" for word, value in pairwise(rest) if word in TO)
        yield {
            "chain": chain,
            "kind": kind,
            "matches": " ".join(words[2:at]) or "everything",
            "becomes": becomes or "from the interface's own address",
            "rule": line,
        }
