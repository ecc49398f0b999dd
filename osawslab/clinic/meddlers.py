"""The stations of who else configures the interfaces of the way, and what that changes."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from osawslab.clinic.seen import Name, Port, Said
from osawslab.clinic.station import Station
from osawslab.clinic.walk import Walk

CONFIGURES = re.compile(
    r"\b(addr(ess)?\b.*\b(add|replace|del|flush)|link set|ifconfig|macchanger)\b"
)


def others(walk: Walk, port: Port) -> Iterator[Station]:
    """Look for a program that configures the NIC besides."""
    told, name, mends, seen = walk.seen.told, port.name, [], []
    evidence: list[Said] = []
    for each in programs(walk, port):
        seen.append(f"process {each['pid']}: {each['words']}")
        mends.append(f"sudo kill {ended(each)}")
        evidence.append(args(each))
    lease = told["files"].get(f"/run/systemd/netif/leases/{port.index}", "")
    if lease:
        seen.append("systemd-networkd has a DHCP lease for it")
        evidence.append(Said(f"cat /run/systemd/netif/leases/{port.index}", 0, lease, ""))
        match = f"[Match]\\nName={name!s}\\n[Network]\\nDHCP=no\\nLinkLocalAddressing=no\\n"
        file = Name("/etc/systemd/network/05-" + name + ".network")
        mends.append(f"printf {shlex.quote(match)} | sudo tee {file} && sudo networkctl reload")
    for line in walk.seen.said("nmcli").out.splitlines():
        if line.startswith(f"{name}:connected"):
            seen.append(f"NetworkManager: {line}")
            evidence.append(walk.seen.said("nmcli"))
            mends.append(f"sudo nmcli device set {name} managed no")
    for path, text in told["files"].items():
        found = re.search(rf"^\s*iface {re.escape(name)} inet (dhcp|static)", text, re.M)
        if found and "interfaces" in path:
            seen.append(f"{path}: iface {name} inet {found.group(1)}")
            evidence.append(Said(f"sudo cat {path}", 0, text, ""))
            edit = rf"s/^(\s*iface {re.escape(name)} inet) (dhcp|static)/\1 manual/"
            mends.append(f"sudo sed -i -E {shlex.quote(edit)} {Name(path)}")
    addresses = "".join(f" && sudo ip addr del {a}/{n} dev {name}" for a, n in port.addresses)
    yield Station(
        "client", f"nobody else configures {name}", "no DHCP client, no stanza with an address",
        "; ".join(seen) or "nobody", not seen, tuple(evidence),
        " && ".join(mends) + (addresses if mends else ""),
    )  # fmt: skip
    now = walk.seen.again("").get(name)
    changed = now is not None and (now.mac, now.up, now.mtu, now.addresses) != (
        port.mac, port.up, port.mtu, port.addresses)  # fmt: skip
    who = [each for each in told["processes"] if not each["client"] and name in each["names"]]
    if now is not None:
        yield Station(
            "changing", f"{name} stays as it is", "the same before and after the look",
            f"now {now.mac}, {'UP' if now.up else 'DOWN'}, {now.addresses or 'no address'}"
            if changed else "the same", not changed,
            tuple(map(args, who)),
            f"sudo kill {ended(who[0])}" if who else "",
        )  # fmt: skip


def programs(walk: Walk, port: Port) -> list[Mapping[str, Any]]:
    """List the running programs that configure an interface: DHCP clients, and what says so."""
    found = []
    for each in walk.seen.told["processes"]:
        words = each["words"].split()
        bare = each["client"] and not any(word in walk.seen.host for word in words[1:])
        alone = bare and port.addresses and not port.space
        client = each["client"] and (port.name in words or alone)
        if client or (port.name in each["names"] and CONFIGURES.search(each["words"])):
            found.append(each)
    return found


def args(process: Mapping[str, Any]) -> Said:
    """Give a program's words as evidence."""
    return Said(f"ps -o args= -p {process['pid']}", 0, process["words"], "")


def meddlers(walk: Walk) -> Iterator[Station]:
    """Look for programs that configure the router's own ports besides its agent."""
    for port in (*((walk.gate,) if walk.gate else ()), *(walk.router.inner if walk.router else ())):
        if found := programs(walk, port):
            yield Station(
                "client", f"nobody else configures {port.name}", "no program that does",
                "; ".join(f"process {each['pid']}: {each['words']}" for each in found), False,
                tuple(map(args, found)),
                " && ".join(f"sudo kill {ended(each)}" for each in found),
            )  # fmt: skip


def ended(process: Mapping[str, Any]) -> str:
    """Say whom to kill: with a leader its group, or what it has just begun comes after all."""
    return f"-- -{process['pid']}" if process.get("leads") else str(process["pid"])
