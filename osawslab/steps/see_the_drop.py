"""Chapter 5: the router pings the internet, and AWS throws its frames away.

The evidence is kept on the instance, so that it can be shown after the swap too.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any

from osawslab.cloud.handbuilt import EVIDENCE, FOLDER
from osawslab.host.ping import Ping
from osawslab.report import Action, Check
from osawslab.steps import trial, work
from osawslab.steps.site import Shown, Site
from osawslab.steps.trial import Trial
from osawslab.steps.work import Ground

NAME = "see_the_drop"
look = work.read  # what undo needs: no ping


@dataclass(frozen=True)
class Seen:
    """The ping before the swap: seen just now ("live") or kept from earlier."""

    ground: Ground
    trial: Trial | None
    gateway_mac: str
    registered_mac: str
    when: str  # "live" | "earlier"


def read(site: Site) -> Seen:
    """Ping, or, on a lab past the swap, read what was kept. Raises StepNotReady."""
    ground = work.read(site)
    gateway = ground.cloud.require_router()
    if not ground.cloud.swapped:
        tried = trial.attempt(site, ground)
        return Seen(ground, tried, gateway.mac, ground.cloud.registered_mac, "live")
    kept = evidence(ground)
    if kept is None:
        return Seen(ground, None, "", ground.cloud.registered_mac, "earlier")
    return Seen(ground, _trial(kept), kept["gateway_mac"], kept["registered_mac"], "earlier")


def evidence(ground: Ground) -> dict[str, Any] | None:
    """Read the evidence that lies on the instance."""
    text = ground.cloud.host.files.get(EVIDENCE)
    try:
        return dict(json.loads(text)) if text else None
    except ValueError:
        return None


def _trial(kept: dict[str, Any]) -> Trial:
    ping = Ping(
        kept["ping"]["sent"],
        kept["ping"]["received"],
        "",
        base64.b64decode(kept["captured"]),
        tuple(kept["neighbours"]),
    )
    return Trial(ping, kept["drops"])


def plan(site: Site, facts: Seen) -> tuple[Action, ...]:
    """Keep the evidence, where none is kept of these MACs."""
    kept = evidence(facts.ground)
    known = kept is not None and (kept["gateway_mac"], kept["registered_mac"]) == (
        facts.gateway_mac,
        facts.registered_mac,
    )
    if facts.when == "earlier" or known or facts.trial is None:
        return ()
    called, done = facts.ground.cloud.names, facts.trial.ping
    text = json.dumps(
        {
            "gateway_mac": facts.gateway_mac,
            "registered_mac": facts.registered_mac,
            "ping": done.counts,
            "drops": facts.trial.drops,
            "captured": base64.b64encode(done.captured).decode(),
            "neighbours": list(done.neighbours),
        }
    )
    write = f"mkdir -p {FOLDER} && cat > {EVIDENCE}.part && mv {EVIDENCE}.part {EVIDENCE}"
    host = facts.ground.host
    return (
        Action(
            "instance",
            "ping from the router and keep what was seen: after the swap it cannot be seen again",
            f"ip netns exec {called.router_netns} ping -n -c 3 {site.settings.ping_address}",
            lambda: host.run(write, text),
        ),
    )


def checks(site: Site, facts: Seen) -> tuple[Check, ...]:
    """Hold the drop against what AWS's rule says: no answer, and the MAC is the reason."""
    if facts.trial is None:
        return (
            Check(
                "evidence of the drop",
                "kept on the instance",
                "none: the MAC was swapped before anybody looked",
                False,
                'lab.reset("swap_mac"), then lab.see_the_drop()',
            ),
        )
    done, drops = facts.trial.ping, facts.trial.drops
    seen = f"{done.received} of {done.sent} answered"
    found = [
        Check(
            f"ping {site.settings.ping_address} from the router",
            "0 of 3 answered",
            seen,
            done.sent == 3 and done.received == 0,
            'lab.check("networks")',
        ),
        Check(
            "the gateway port's MAC",
            "not the registered one",
            "not the registered one" if facts.gateway_mac != facts.registered_mac else "registered",
            facts.gateway_mac != facts.registered_mac,
            'lab.reset("swap_mac")',
        ),
    ]
    if drops is None:
        from osawslab.observe.capture import load_capture  # and numpy

        left = bool(done.captured) and load_capture(done.captured).sent(facts.gateway_mac)
        found.append(
            Check(
                "what became of the frames",
                f"left the NIC with MAC {facts.gateway_mac}, no answer",
                f"{'left' if left else 'none left'} the NIC with MAC {facts.gateway_mac},"
                f" {'an' if done.received else 'no'} answer",
                left and not done.received,
                'lab.check("networks")',
            )
        )
    else:
        found.append(
            Check(
                "frames the VPC dropped because of their MAC",
                "at least 1",
                "at least 1" if drops["mac"] >= 1 else "0",
                drops["mac"] >= 1,
                "osawslab region rules",
            )
        )
    return tuple(found)


def show(site: Site, facts: Seen) -> Shown:
    """Show capture, neighbours and the picture."""
    if facts.trial is None:
        return Shown()
    note = (
        "seen: live"
        if facts.when == "live"
        else "seen: earlier (the MAC is swapped now; what was seen before lies on the instance)"
    )
    known = trial.owners(facts.ground, facts.trial.ping)
    if facts.when == "earlier":
        known = {**known, facts.gateway_mac: "router gateway"}
    return Shown(
        notes=(note,),
        tables=trial.tables(facts.ground, facts.trial.ping, known),
        pictures=()
        if facts.when == "earlier"
        else (trial.picture(site, facts.ground, facts.trial.ping.passed),),
        data={
            "evidence": facts.when,
            "registered_mac": facts.registered_mac,
            "gateway_mac_before": facts.gateway_mac,
            "ping_before": facts.trial.ping.counts,
            "drops_before": facts.trial.drops,
        },
    )


def undo(site: Site, facts: Ground) -> tuple[Action, ...]:
    """Forget the evidence, where there is any."""
    if facts.cloud.host.files.get(EVIDENCE) is None:
        return ()
    return (work.action(facts.host, "the evidence is gone", f"rm -f {EVIDENCE}"),)
