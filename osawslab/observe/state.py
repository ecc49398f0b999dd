"""Tables of state: who has which MAC, the interfaces, and what the VPC dropped; pure.

From what the host's own tools print as data, and from what AWS has in its books, with the owner's
name beside each MAC and address. IPv4 only, as the lab is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from osawslab.errors import StepFailed
from osawslab.host.facts import HostFacts
from osawslab.observe.difference import State
from osawslab.observe.owners import Nic, Owners

VPC = "VPC"
USABLE = {"REACHABLE", "STALE", "DELAY", "PROBE", "PERMANENT", "NOARP"}  # ip-neighbour(8)
REASONS = {  # in the order in which the VPC tries them, at the NIC and then at its router
    "mac": "a source MAC that is not registered for the NIC",
    "arp": "ARP that tells another pair of MAC and address than the registered one",
    "ip": "a source address that is not registered, with SourceDestCheck on",
    "acl": "a rule of the subnet's network ACL denies it",
    "group": "no rule of a security group lets it through",
    "no_eip": "an address without an Elastic IP, which has no way to the internet",
}
UNSEEN = "here nobody can count them, AWS shows them to no one"


@dataclass(frozen=True)
class Sight:
    """What the tables are made of: the host's facts, AWS's books, and the names of all of it."""

    host: HostFacts
    owners: Owners
    places: Mapping[str, str]  # namespace -> what it is called, in the order of the tables
    nics: tuple[Nic, ...]
    routes: tuple[tuple[str, str], ...] = ()  # of the VPC: destination and target

    @property
    def spaces(self) -> list[str]:
        """The namespaces that exist, in the order of the tables."""
        return [name for name in self.places if name in self.host.namespaces]


def told(text: str, command: str) -> Any:
    """Read the JSON that a tool printed. Raises StepFailed where it is none."""
    try:
        return json.loads(text or "[]")
    except ValueError:
        raise unreadable(text, command) from None


def unreadable(text: str, command: str) -> StepFailed:
    return StepFailed(
        f"`{command}` on the instance printed what cannot be read",
        seen=repr(text[:200]),
        next=f'lab.shell("{command}")',
    )


def neighbours(host: HostFacts) -> list[dict[str, Any]]:
    """List what each namespace has learned: namespace, address, interface, mac, state.

    Raises StepFailed where the tool printed something else.
    """
    found = []
    for name, text in host.learned.get("neighbours", {}).items():
        command = f"ip {f'-n {name} ' if name else ''}-4 -j neigh show"
        answer = told(text, command)
        if not isinstance(answer, list) or not all(isinstance(each, dict) for each in answer):
            raise unreadable(text, command)
        found += [
            {
                "namespace": name,
                "interface": str(each.get("dev", "")),
                "address": str(each["dst"]),
                "mac": str(each.get("lladdr", "")),
                "kernel_state": " ".join(map(str, each.get("state", []))),
            }
            for each in answer
            if each.get("dst")  # `ip -j` prints {} for an entry that its filter left out
        ]
    return found


def arp(sight: Sight) -> State:
    """Show which MAC each address has: in AWS's books, of each place's own, and as it learned.

    A neighbour is `usable` or `missing`: how fresh the kernel thinks it is, is in `frame`.
    """
    found = [
        {"where": VPC, "address": address, "mac": nic.mac, "state": "registered"}
        for nic in sight.nics
        for address in nic.addresses
    ]
    learned = neighbours(sight.host)
    for name in sight.spaces:
        here = {"where": sight.places[name], "namespace": name}
        found += [
            {
                **here,
                "address": address.partition("/")[0],
                "mac": link.mac,
                "state": "own",
                "interface": link.name,
            }
            for link in sight.host.namespace(name).links.values()
            if link.name != "lo"
            for address in link.addresses
        ]
        found += [
            {
                **each,
                **here,
                "state": "usable"
                if each["mac"] and USABLE.intersection(each["kernel_state"].split())
                else "missing",
            }
            for each in learned
            if each["namespace"] == name
        ]
    for each in found:
        each["address_owner"] = sight.owners.address(each["address"])
        each["mac_owner"] = sight.owners.mac(each["mac"])
    return table(
        "Which MAC each address has (ARP)",
        {"where": "where", "address": "address", "whose address": "address_owner",
         "MAC": "mac", "whose MAC": "mac_owner", "state": "state"},
        ("where", "address"),
        sorted(found, key=lambda each: _order(sight, each, each["address"])),
        ("namespace", "interface", "kernel_state"),
    )  # fmt: skip


def links(sight: Sight) -> State:
    """Show every interface: what it is, its MAC, the NIC that AWS has it registered for."""
    registered = {nic.mac.lower(): nic.role for nic in sight.nics}
    found = [
        {
            **vars(link),
            "where": sight.places[name],
            "namespace": name,
            "what": sight.owners.port(name, link.name),
            "registered": registered.get(link.mac.lower(), ""),
            "addresses": ", ".join(link.addresses),
            "state": "up" if link.up else "down",
            "bridge": link.master or _bridge(sight.host, link.name),
        }
        for name in sight.spaces
        for link in sorted(sight.host.namespace(name).links.values(), key=lambda each: each.name)
        if link.name != "lo"
    ]
    return table(
        "Interfaces",
        {"where": "where", "interface": "name", "what it is": "what", "MAC": "mac",
         "registered for": "registered", "addresses": "addresses", "state": "state",
         "bridge": "bridge"},
        ("where", "interface"),
        found,
        ("namespace", "kind", "mtu", "alias", "permanent_mac"),
        mtu="int64",
    )  # fmt: skip


def _bridge(host: HostFacts, port: str) -> str:
    return next((name for name, each in (host.bridges or {}).items() if port in each.ports), "")


def drops(counted: Mapping[str, int] | None) -> State:
    """Show what the VPC dropped, by reason: `none` or `some`; how many is in `frame`.

    None is a place that shows nothing; then the caption says so.
    """
    found: list[dict[str, Any]] = [
        {"reason": reason, "means": means, "frames": counted.get(reason, 0)}
        for reason, means in REASONS.items()
        if counted is not None
    ]
    for each in found:
        each["seen"] = "some" if each["frames"] else "none"
    made = table(
        f"Frames the VPC dropped{f': {UNSEEN}' if counted is None else ''}",
        {"reason": "reason", "what it means": "means", "frames": "seen"},
        ("reason",),
        found,
        ("frames",),
        frames="int64",
    )
    return State(
        **{**vars(made), "counts": tuple(each["frames"] for each in found)},
    )


def _order(sight: Sight, row: Mapping[str, Any], address: str) -> tuple[Any, ...]:
    try:
        number = int(ip_address(address))
    except ValueError:
        number = 0
    places = [VPC, *sight.places.values()]
    return places.index(row["where"]), row["state"] in ("usable", "missing"), number, address


def table(
    caption: str,
    shown: Mapping[str, str],
    key: tuple[str, ...],
    found: Sequence[Mapping[str, Any]],
    more: Sequence[str],
    code: tuple[str, ...] = (),
    **kinds: str,
) -> State:
    """Make a table: `shown` maps its columns to keys of what was found, `more` is in `frame`."""
    names = (*shown.values(), *more)
    whole = tuple(
        {name: each.get(name, None if name in kinds else "") for name in names} for each in found
    )
    rows = tuple(tuple(str(each[name]) for name in shown.values()) for each in whole)
    wide = {name: kinds.get(name, "str") for name in names}
    return State(caption, tuple(shown), rows, code, key, whole, wide)
