"""Who may come in: the ingress rules of the lab's security group. Values in, values out.

A rule that we made says so in its description, and which machine of the lab's made it, when. Only
such a rule is ever taken back: by its own machine, or when there are too many.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from ipaddress import AddressValueError, IPv4Address, IPv4Network
from typing import Any, NamedTuple

from osawslab.aws.facts import LAB, every
from osawslab.errors import CannotReach
from osawslab.settings import Settings
from osawslab.target import Target

OURS = "osawslab"
AUTO = "auto"  # the setting that stands for our own address
OTHERS = 8  # machines besides this one that are let in; a group has 60 rules, a machine three
DESCRIPTION = re.compile(rf"{OURS}(?: ([0-9a-f]{{8}}) (\S+))?")


class Rule(NamedTuple):
    """Who may come in where; -1 for icmp's ports."""

    protocol: str
    low: int
    high: int
    cidr: str


class Mark(NamedTuple):
    """Which machine made a rule of ours, and when (UTC); both "" where nobody has signed it."""

    machine: str
    when: str


NOBODY = Mark("", "")


def here(target: Target, settings: Settings) -> str:
    """Give the address that a connection of ours comes from. Raises OSError where none is known.

    Behind `ssh_proxy` that is not this machine's.
    """
    if settings.ssh_proxy:
        raise OSError("behind ssh_proxy, the address is that of another machine")
    told = target.caller_address()
    try:
        return str(IPv4Address(told))
    except AddressValueError as error:
        raise OSError(f"{told!r} is no IPv4 address") from error


def wanted(settings: Settings, who: str) -> tuple[Rule, ...]:
    """List what the network `who` needs."""
    ports = (22, settings.published_port)
    return (*(Rule("tcp", port, port, who) for port in ports), Rule("icmp", -1, -1, who))


def granted(group: Mapping[str, Any] | None) -> dict[Rule, Mark | None]:
    """List what a security group lets in by address; None for a rule that is not ours."""
    return {
        Rule(
            str(each["IpProtocol"]),
            int(each.get("FromPort", -1)),
            int(each.get("ToPort", -1)),
            str(who["CidrIp"]),
        ): _mark(str(who.get("Description", "")))
        for each in (group or {}).get("IpPermissions", ())
        for who in each["IpRanges"]
    }


def _mark(description: str) -> Mark | None:
    found = DESCRIPTION.fullmatch(description)
    return Mark(*found.groups("")) if found else None


def others(has: Mapping[Rule, Mark | None], machine: str) -> dict[Rule, bool]:
    """List the rules of other machines; false for those of a machine that is one too many.

    Of the machines, those stay that have let themselves in last.
    """
    theirs = {
        rule: mark for rule, mark in has.items() if mark and mark.machine not in ("", machine)
    }
    last: dict[str, str] = {}
    for mark in theirs.values():
        last[mark.machine] = max(mark.when, last.get(mark.machine, ""))
    stay = sorted(last, key=lambda each: (last[each], each))[-OTHERS:]
    return {rule: mark.machine in stay for rule, mark in theirs.items()}


def permissions(rules: Iterable[Rule], mark: Mark = NOBODY) -> list[dict[str, Any]]:
    """Write rules of ours as EC2 wants them."""
    return [
        {
            "IpProtocol": each.protocol,
            "FromPort": each.low,
            "ToPort": each.high,
            "IpRanges": [{"CidrIp": each.cidr, "Description": " ".join((OURS, *mark)).strip()}],
        }
        for each in rules
    ]


def shut_out(group: Mapping[str, Any], address: str, port: int) -> bool:
    """Say whether a security group surely does not let an address in at a TCP port."""
    if any(each.get("PrefixListIds") for each in group["IpPermissions"]):
        return False  # whose addresses are not told here
    return not any(
        (each.protocol == "-1" or (each.protocol == "tcp" and each.low <= port <= each.high))
        and IPv4Address(address) in IPv4Network(each.cidr)
        for each in granted(group)
    )


def shut(
    target: Target, settings: Settings, group: Mapping[str, Any] | None, port: int = 22
) -> CannotReach | None:
    """Say why nothing answers where the security group does not let us in; None where it may."""
    try:
        address = here(target, settings)
    except OSError:
        return None
    if group is None or not shut_out(group, address, port):
        return None
    let_in = ", ".join(sorted({rule.cidr for rule in granted(group)})) or "nobody"
    change = "" if settings.allow_from == AUTO else f'allow_from = "{address}/32"; then '
    return CannotReach(
        "the lab's security group does not let us in: has our own address changed?",
        seen=f"we come from {address}, it lets in {let_in}",
        next=f"{change}lab.provision()",
    )


def explain(target: Target, settings: Settings, port: int) -> CannotReach | None:
    """Look whether what does not answer does not let us in; None where it may, or unknown."""
    from botocore.exceptions import BotoCoreError, ClientError

    mine = [{"Name": f"tag:{LAB}", "Values": [settings.name]}]
    try:
        found = every(target.client("ec2"), "describe_security_groups", "SecurityGroups", mine)
    except (BotoCoreError, ClientError):
        return None
    return shut(target, settings, found[0] if found else None, port)
