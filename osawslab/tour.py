"""The whole tutorial in one go: what is done, what holds, and the proof."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from osawslab.errors import LabError
from osawslab.report import Action, Check, Checks, Plan, Report

if TYPE_CHECKING:
    from osawslab.lab import Lab

Say = Callable[[str], None]


@dataclass(frozen=True)
class Step:
    """How a step went. Without a report it stopped with an error."""

    name: str
    seconds: float
    report: Report | None = None

    @property
    def ok(self) -> bool:
        """True when it ran and every check holds."""
        return self.report is not None and self.report.ok

    @property
    def data(self) -> dict[str, Any]:
        """The step for programs; `changed` is null where it stopped in the middle."""
        return {
            "name": self.name,
            "changed": self.report.changed if self.report else None,
            "ok": self.ok,
            "seconds": round(self.seconds, 3),
        }


@dataclass(frozen=True)
class Tour:
    """How the tour went; `error` is what stopped it."""

    steps: tuple[Step, ...]
    proof: dict[str, Any]
    error: LabError | None = None

    @property
    def ok(self) -> bool:
        """True when every step ran and every proof held."""
        return all(step.ok for step in self.steps)

    @property
    def data(self) -> dict[str, Any]:
        """The tour for programs."""
        data = {
            "ok": self.ok,
            "proof": self.proof,
            "steps": [step.data for step in self.steps],
        }
        if self.error:
            data["error"] = error_data(self.error)
        return data

    @property
    def text(self) -> str:
        """The proof in words."""
        proof, lines = self.proof, []
        registered = proof["registered_mac"] or "not known"
        lines.append(f"registered MAC of the provider NIC: {registered}")
        for when in ("before", "after"):
            ping = proof[f"ping_{when}"]
            if ping:
                lines.append(
                    f"{when} the swap: gateway MAC {proof[f'gateway_mac_{when}']},"
                    f" ping {ping['received']} of {ping['sent']} answered"
                )
        if proof["drops_before"]:
            count = proof["drops_before"]["mac"]
            lines.insert(2, f"frames the VPC dropped then, because of their MAC: {count}")
        if proof["published"]:
            way = "ssh -p {port} root@{address} logs in to {hostname}".format(**proof["published"])
            lines.append(way)
        seconds = sum(step.seconds for step in self.steps)
        end = "Every proof held." if self.ok else "NOT every proof held."
        return "\n".join(["Proof", *(f"  {each}" for each in lines), f"{end} ({seconds:.1f} s)"])


def tour(lab: Lab, say: Say) -> Tour:
    """Run every step; a check that does not hold stops nothing, an error stops all."""
    steps: list[Step] = []
    reports: dict[str, Report] = {}
    error: LabError | None = None
    for number, name in enumerate(lab.steps, 1):
        say(f"== {number}/{len(lab.steps)} {name}: {getattr(type(lab), name).__doc__}")
        start = time.monotonic()
        try:
            reports[name] = lab.run(name)
        except LabError as met:
            error = met
        steps.append(Step(name, time.monotonic() - start, reports.get(name)))
        if error:
            break
        say(shown(reports[name]) + f" ({steps[-1].seconds:.1f} s)\n")
    return Tour(tuple(steps), lab.proof(reports), error)


def shown(report: Report) -> str:
    """Show what holds after a step; what was done has been shown while it was."""
    parts = [*report.notes, *map(repr, report.tables)]
    return "\n".join([*parts, *map(line, report.checks), repr(report)])


def line(check: Check) -> str:
    """Show a check on one line.

    >>> line(Check("ping", "3 of 3", "0 of 3", False, "lab.swap_mac()"))
    'NOT OK ping: 0 of 3, not 3 of 3; next: lab.swap_mac()'
    """
    if check:
        return f"ok {check.what}: {check.seen}"
    return f"NOT OK {check.what}: {check.seen}, not {check.expected}; next: {check.next}"


def error_data(error: LabError) -> dict[str, str]:
    """Give an error for programs."""
    return {
        "type": type(error).__name__,
        "what": error.what,
        "seen": error.seen,
        "next": error.next,
    }


def actions_data(actions: tuple[Action, ...]) -> list[dict[str, str]]:
    """Give actions for programs."""
    return [{"where": a.where, "why": a.why, "command": a.command} for a in actions]


def data(result: Plan | Checks | Report) -> dict[str, Any]:
    """Give what a step answered for programs."""
    found: dict[str, Any] = {"step": result.step}
    if isinstance(result, Report):
        found |= {"ok": result.ok, "changed": result.changed, "notes": list(result.notes)}
    if isinstance(result, Plan | Report):
        found["actions"] = actions_data(result.actions)
    if isinstance(result, Checks | Report):
        found["checks"] = [vars(check) for check in result.checks]
    if isinstance(result, Checks):
        found["ok"] = bool(result)
    return found
