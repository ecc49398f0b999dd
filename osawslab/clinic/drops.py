"""The stations of what drops packets: iptables, and nftables besides."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from osawslab.clinic import nft
from osawslab.clinic.firewall import Firewall, Rule, typed
from osawslab.clinic.journeys import journeys
from osawslab.clinic.seen import Port
from osawslab.clinic.station import Station, unseen
from osawslab.clinic.walk import Walk, received

LINK = ("netdev", "bridge")  # the families of nftables that see a host's frames
NOTHING = "nothing is dropped"


def command(walk: Walk, rule: Rule, verb: str = "-D") -> str:
    """Write the command that takes a rule away."""
    return f"{walk.enter} iptables -t {rule.table} {verb}{typed(rule.line)[2:]}"


def stations(walk: Walk, gate: Port) -> Iterator[Station]:
    """Look at the router's rules, and at what the host's do to frames."""
    yield from filters(walk, gate)
    yield from nftables(walk, gate)
    if walk.nic:
        yield from frames(walk)


def lost(walk: Walk) -> bool:
    """Say whether anything that was tried had no answer."""
    return not walk.pings or any(
        not received(each) for kind in ("guest", "back", "whole") for _, each in walk.tried(kind)
    )


def filters(walk: Walk, gate: Port) -> Iterator[Station]:
    """Lead what must pass through the router's iptables."""
    said = walk.seen.said(f"{walk.space}|iptables")
    if said.why_not:
        yield unseen("filter", "no rule drops what must pass", "none", said.why_not, (said,))
        return
    drops: dict[str, tuple[str, str]] = {}
    unsure: dict[str, str] = {}
    for name, packet, hooks in journeys(walk, gate):
        outcome = walk.firewall.passes(packet, *hooks)
        for rule in outcome.unsure:
            if outcome.dropped or ends_in_a_drop(walk.firewall, rule):
                unsure.setdefault(f"{rule.table}: {rule.line}", name)
        if outcome.dropped and outcome.unsure and not lost(walk):
            continue
        if outcome.dropped and outcome.rule:
            rule = outcome.rule
            drops.setdefault(f"{rule.table}: {rule.line}", (name, command(walk, rule)))
        elif outcome.dropped:
            table, chain = outcome.policy.split()
            mend = f"{walk.enter} iptables -t {table} -P {shlex.quote(chain)} ACCEPT"
            drops.setdefault(f"the policy of {outcome.policy}", (name, mend))
    yield Station(
        "filter", "the router's iptables let through what must pass", NOTHING,
        "; ".join(f"{name}: dropped by {rule}" for rule, (name, _) in drops.items()) or NOTHING,
        not drops, (said,), " && ".join(mend for _, mend in drops.values()),
    )  # fmt: skip
    if unsure:
        yield unseen(
            "filter", "rules of the router that only real packets can judge", NOTHING,
            "; ".join(f"{name}: {rule}" for rule, name in unsure.items()), (said,),
        )  # fmt: skip


def ends_in_a_drop(firewall: Firewall, rule: Rule) -> bool:
    """Say whether a rule drops, or leads to a chain that does."""
    target = rule.value("-j") or rule.value("-g")
    inner = firewall.rules.get((rule.table, target), ())
    return target in ("DROP", "REJECT") or any(
        each.value("-j") in ("DROP", "REJECT") for each in inner
    )


def nftables(walk: Walk, gate: Port) -> Iterator[Station]:
    """Lead what must pass through tables that are not iptables' own."""
    said = walk.seen.said(f"{walk.space}|nft")
    rules = nft.read(said.out)
    drops: dict[nft.Rule, str] = {}
    unsure: dict[nft.Rule, str] = {}
    for name, packet, hooks in journeys(walk, gate):
        fate = rules.passes(packet, {chain.lower() for _, chain in hooks})
        sure = fate.rule is not None and not fate.unsure
        for rule in (*fate.unsure, *((fate.rule,) if fate.rule else ())):
            (drops if sure else unsure).setdefault(rule, name)
    left = [each for each in unsure if each.drops and each not in drops]
    if lost(walk) and not drops:  # then whatever drops is the likeliest
        drops, left = dict.fromkeys(rules.drops, ""), []
    yield from told(walk, walk.space, drops, left)


def frames(walk: Walk) -> Iterator[Station]:
    """Look for drops on the host's wire; they count where something is lost."""
    found = [each for each in nft.read(walk.seen.said("|nft").out).drops if each.family in LINK]
    drops, left = (found, []) if lost(walk) else ([], found)
    yield from told(walk, "", dict.fromkeys(drops, ""), left)


def told(
    walk: Walk, space: str, drops: dict[nft.Rule, str], left: list[nft.Rule]
) -> Iterator[Station]:
    """Tell what drops, and what cannot be judged."""
    said = walk.seen.said(f"{space}|nft")
    what = f"nftables of {space or 'the host'} drop nothing"
    enter = f"sudo ip netns exec {space}" if space else "sudo"
    if drops:
        yield Station(
            "nft", what, "no drop in the way",
            "; ".join(each.words + (f" ({name})" if name else "") for each, name in drops.items()),
            False, (said,), " && ".join(f"{enter} nft {each.mend}" for each in drops),
        )  # fmt: skip
    if left:
        words = "; ".join(each.words for each in left)
        yield unseen("nft", what, "no drop in the way", f"cannot be judged: {words}", (said,))
