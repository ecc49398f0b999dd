"""Who may come in: our own address, which may be another than yesterday, on each of our machines.

A machine takes back what it let in itself. What another of the lab's machines let in stays.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from osawslab.aws.facts import Facts
from osawslab.aws.maker import Maker
from osawslab.aws.visitors import (
    AUTO,
    OTHERS,
    Mark,
    Rule,
    granted,
    here,
    others,
    permissions,
    wanted,
)
from osawslab.errors import StepNotReady, writing
from osawslab.keys import keep
from osawslab.report import Action, Check
from osawslab.steps.site import Site

MACHINE = "machine"  # the file in the lab's folder that this machine is known by
MACHINE_ID = Path("/etc/machine-id")  # a folder may be copied, or be shared by machines


def machine(folder: Path) -> str:
    """Name this machine in the rules of the lab; "" before it has made any. Tells nothing of it."""
    path = folder / MACHINE
    if not path.exists():
        return ""
    number = MACHINE_ID.read_text() if MACHINE_ID.exists() else ""
    return hashlib.sha256((path.read_text() + number).encode()).hexdigest()[:8]


def sign(folder: Path) -> Mark:
    """Give the mark of a rule that this machine makes now."""
    path = folder / MACHINE
    if not path.exists():
        with writing(path):
            keep(path, secrets.token_hex(16))
    return Mark(machine(folder), datetime.now(UTC).strftime("%Y-%m-%dT%H:%MZ"))


def who(site: Site) -> str:
    """Give the network that may come in: `allow_from`, or our own address. Raises OSError."""
    settings = site.settings
    return (
        settings.allow_from if settings.allow_from != AUTO else f"{here(site.target, settings)}/32"
    )


def differences(
    site: Site, facts: Facts, network: str
) -> tuple[list[Rule], list[Rule], dict[Rule, bool]]:
    """Give the rules that are lacking, those of ours that are so no longer, and other machines'.

    Where `allow_from` says who, there are none of other machines.
    """
    needs, has = wanted(site.settings, network), granted(facts.group)
    auto = site.settings.allow_from == AUTO
    theirs = others(has, machine(site.target.keys)) if auto else {}
    return (
        [rule for rule in needs if rule not in has],
        [
            rule
            for rule, mark in has.items()
            if mark is not None and rule not in needs and rule not in theirs
        ],
        {rule: stays for rule, stays in theirs.items() if rule not in needs},
    )


def actions(site: Site, facts: Facts, maker: Maker) -> Iterator[Action]:
    """Say what lets us in, and takes back our own rules for where we came from before.

    Where our address is not known, rules of ours that are there stay. Raises StepNotReady.
    """
    try:
        network = who(site)
    except OSError as error:
        if any(granted(facts.group).values()):
            return
        raise StepNotReady(
            "our own public address is not known, so that nobody would be let in",
            seen=str(error),
            next='allow_from = "ADDRESS/32", the address that you come from',
        ) from error
    lacking, old, theirs = differences(site, facts, network)
    if lacking:
        port = site.settings.published_port
        yield Action(
            "aws",
            f"SSH to the instance, port {port} to the VM, and ping; keys only",
            typed("authorize", lacking),
            lambda: maker.authorize(permissions(lacking, sign(site.target.keys))),
        )
    if old:
        were = ", ".join(sorted({rule.cidr for rule in old}))
        yield Action(
            "aws",
            f"our own rules for {were} are no longer wanted: we come from {network}",
            typed("revoke", old),
            lambda: maker.revoke(permissions(old)),
        )
    if many := [rule for rule, stays in theirs.items() if not stays]:
        were = ", ".join(sorted({rule.cidr for rule in many}))
        yield Action(
            "aws",
            f"{were}: let in by other machines of this lab, before {OTHERS} more",
            typed("revoke", many),
            lambda: maker.revoke(permissions(many)),
        )


def typed(verb: str, rules: list[Rule]) -> str:
    """Give what a person would type."""
    return (
        f"aws ec2 {verb}-security-group-ingress --group-id $GROUP --ip-permissions"
        f" '{json.dumps(permissions(rules))}'"
    )


def checks(site: Site, facts: Facts) -> tuple[Check, ...]:
    """Tell where the security group lets in others than it should, or not us; else ().

    Only what `provision` opens is looked at: more ports are the owner's own.
    """
    what = "who may come in"
    try:
        network = who(site)
    except OSError:
        return ()
    lacking, old, theirs = differences(site, facts, network)
    if facts.group and (lacking or old or not all(theirs.values())):
        seen = ", ".join(sorted({rule.cidr for rule in granted(facts.group)})) or "nobody"
        return (Check(what, network, seen, False, "lab.provision()"),)
    ours = {rule[1:3] for rule in wanted(site.settings, network)}
    has = (rule for rule in granted(facts.group) if rule not in theirs)
    wider = sorted({rule.cidr for rule in has if rule[1:3] in ours} - {network})
    then = "aws ec2 revoke-security-group-ingress, or lab.tear_down() and lab.provision()"
    if wider:
        return (Check(what, network, f"{', '.join(wider)} too", False, then),)
    let_in = sorted({rule.cidr for rule in theirs})
    seen = f"{network}, and from other machines of this lab {', '.join(let_in)}"
    return (Check(what, network, seen, True, ""),) if let_in else ()
