"""Chapter 7: the proof: the same ping as before, answered."""

from __future__ import annotations

from dataclasses import dataclass

from osawslab.report import Action, Check
from osawslab.steps import trial, work
from osawslab.steps.site import Shown, Site
from osawslab.steps.trial import Trial
from osawslab.steps.work import Ground

NAME = "verify"
look = work.read  # what undo needs: no ping


@dataclass(frozen=True)
class Seen:
    """The ping of just now."""

    ground: Ground
    trial: Trial


def read(site: Site) -> Seen:
    """Ping from the router. Raises StepNotReady where there is none."""
    ground = work.read(site)
    ground.cloud.require_router()
    return Seen(ground, trial.attempt(site, ground))


def plan(site: Site, facts: Seen) -> tuple[Action, ...]:
    """Change nothing: this step only looks."""
    return ()


def checks(site: Site, facts: Seen) -> tuple[Check, ...]:
    """Hold the ping, the MAC and the drops against a working router."""
    done, cloud = facts.trial.ping, facts.ground.cloud
    gateway = cloud.require_router()
    found = [
        Check(
            f"ping {site.settings.ping_address} from the router",
            "3 of 3 answered",
            f"{done.received} of {done.sent} answered",
            done.passed,
            "lab.swap_mac()",
        ),
        Check(
            "the gateway port's MAC",
            f"{cloud.names.gateway_mac}, which {cloud.names.translator} translates"
            if cloud.translates
            else f"{cloud.registered_mac}, the registered one",
            gateway.mac,
            gateway.mac == (cloud.names.gateway_mac if cloud.translates else cloud.registered_mac),
            "lab.swap_mac()",
        ),
    ]
    drops = facts.trial.drops
    if drops is not None:
        total = sum(drops.values())
        seen = "none" if not total else ", ".join(f"{n} for {r}" for r, n in drops.items() if n)
        found.append(
            Check("frames the VPC dropped meanwhile", "none", seen, not total, "lab.swap_mac()")
        )
    return tuple(found)


def show(site: Site, facts: Seen) -> Shown:
    """Show capture, neighbours and the picture."""
    done = facts.trial.ping
    gateway = facts.ground.cloud.require_router()
    return Shown(
        tables=trial.tables(facts.ground, done),
        pictures=(trial.picture(site, facts.ground, done.passed),),
        data={
            "gateway_mac_after": gateway.mac,
            "ping_after": done.counts,
            "drops_after": facts.trial.drops,
        },
    )


def undo(site: Site, facts: Ground) -> tuple[Action, ...]:
    """Nothing was changed."""
    return ()
