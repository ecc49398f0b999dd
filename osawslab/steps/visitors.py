"""Who may come in: our own address, which may be another than yesterday."""

from __future__ import annotations

import json
from collections.abc import Iterator

from osawslab.aws.facts import Facts
from osawslab.aws.maker import Maker
from osawslab.aws.visitors import AUTO, Rule, granted, here, permissions, wanted
from osawslab.errors import StepNotReady
from osawslab.report import Action, Check
from osawslab.steps.site import Site


def who(site: Site) -> str:
    """Give the network that may come in: `allow_from`, or our own address. Raises OSError."""
    settings = site.settings
    return (
        settings.allow_from if settings.allow_from != AUTO else f"{here(site.target, settings)}/32"
    )


def differences(site: Site, facts: Facts, network: str) -> tuple[list[Rule], list[Rule]]:
    """Give the rules that are lacking, and those of ours that are so no longer."""
    needs, has = wanted(site.settings, network), granted(facts.group)
    return (
        [rule for rule in needs if rule not in has],
        [rule for rule, ours in has.items() if ours and rule not in needs],
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
    lacking, old = differences(site, facts, network)
    if lacking:
        port = site.settings.published_port
        yield Action(
            "aws",
            f"SSH to the instance, port {port} to the VM, and ping; keys only",
            typed("authorize", lacking),
            lambda: maker.authorize(permissions(lacking)),
        )
    if old:
        were = ", ".join(sorted({rule.cidr for rule in old}))
        yield Action(
            "aws",
            f"our own rules for {were} are no longer wanted: we come from {network}",
            typed("revoke", old),
            lambda: maker.revoke(permissions(old)),
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
    lacking, old = differences(site, facts, network)
    if facts.group and (lacking or old):
        seen = ", ".join(sorted({rule.cidr for rule in granted(facts.group)})) or "nobody"
        return (Check(what, network, seen, False, "lab.provision()"),)
    ours = {rule[1:3] for rule in wanted(site.settings, network)}
    wider = sorted({rule.cidr for rule in granted(facts.group) if rule[1:3] in ours} - {network})
    then = "aws ec2 revoke-security-group-ingress, or lab.tear_down() and lab.provision()"
    return (Check(what, network, f"{', '.join(wider)} too", False, then),) if wider else ()
