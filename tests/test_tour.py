"""A tour on a lab that is a stand-in: what it answers, whatever happens on the way."""

from __future__ import annotations

from typing import Any

import pytest

from osawslab.errors import LabError, StepFailed
from osawslab.report import Action, Check, Checks, Plan, Report
from osawslab.tour import data, line, tour

ACTION = Action("instance", "why", "ip link", lambda: None)
PROOF = {
    "registered_mac": "02:00:00:00:00:01",
    "gateway_mac_before": "fa:16:3e:00:00:01",
    "gateway_mac_after": "02:00:00:00:00:01",
    "ping_before": {"sent": 3, "received": 0},
    "ping_after": {"sent": 3, "received": 3},
    "drops_before": {"mac": 2, "arp": 0, "ip": 0},
    "published": {"address": "203.0.113.11", "port": 522, "hostname": "vm1"},
    "evidence": "live",
}


class FakeLab:
    """A lab of two steps; `wrong` is what the first of them meets."""

    steps = ("provision", "verify")

    def __init__(self, wrong: LabError | None = None, holds: bool = True) -> None:
        self.wrong, self.holds = wrong, holds
        self.ran: list[str] = []

    def provision(self) -> None:
        """Make it."""

    def verify(self) -> None:
        """Look at it."""

    def run(self, step: str) -> Report:
        self.ran.append(step)
        if self.wrong:
            raise self.wrong
        actions = (ACTION,) if step == "provision" else ()
        holds = self.holds or step != "provision"
        return Report(step, "lab", actions, (Check("it", "yes", "so", holds, "lab.provision()"),))

    def proof(self, reports: dict[str, Report]) -> dict[str, Any]:
        return dict(PROOF) if len(reports) == 2 else dict.fromkeys(PROOF)


def play(lab: FakeLab) -> tuple[Any, list[str]]:
    said: list[str] = []
    return tour(lab, said.append), said  # type: ignore[arg-type]


def steps(result: Any) -> list[dict[str, Any]]:
    return [{k: v for k, v in step.items() if k != "seconds"} for step in result.data["steps"]]


def test_all_is_well() -> None:
    result, said = play(FakeLab())
    assert result.ok
    assert set(result.data) == {"ok", "proof", "steps"}
    assert result.data["proof"] == PROOF
    assert steps(result) == [
        {"name": "provision", "changed": True, "ok": True},
        {"name": "verify", "changed": False, "ok": True},
    ]
    assert all(isinstance(step["seconds"], float) for step in result.data["steps"])
    assert said[0] == "== 1/2 provision: Make it."
    assert said[1].startswith("ok it: so\nprovision: 1 done, 1 of 1 checks hold (")
    assert result.text.splitlines()[:-1] == [
        "Proof",
        "  registered MAC of the provider NIC: 02:00:00:00:00:01",
        "  before the swap: gateway MAC fa:16:3e:00:00:01, ping 0 of 3 answered",
        "  frames the VPC dropped then, because of their MAC: 2",
        "  after the swap: gateway MAC 02:00:00:00:00:01, ping 3 of 3 answered",
        "  ssh -p 522 root@203.0.113.11 logs in to vm1",
    ]
    assert "\nEvery proof held. (" in result.text


def test_what_does_not_hold_stops_nothing_and_is_told() -> None:
    lab = FakeLab(holds=False)
    result, said = play(lab)
    assert lab.ran == ["provision", "verify"]
    assert not result.ok
    assert result.error is None
    assert [step["ok"] for step in steps(result)] == [False, True]
    assert "NOT OK it: so, not yes; next: lab.provision()" in said[1]
    assert "\nNOT every proof held. (" in result.text


def test_an_error_stops_the_tour_and_its_answer_still_comes() -> None:
    lab = FakeLab(StepFailed("no", seen="that", next="lab.provision()"))
    result, _ = play(lab)
    assert lab.ran == ["provision"]
    assert not result.ok
    assert steps(result) == [{"name": "provision", "changed": None, "ok": False}]
    error = {"type": "StepFailed", "what": "no", "seen": "that", "next": "lab.provision()"}
    assert result.data["error"] == error
    assert set(result.data["proof"]) == set(PROOF)
    assert "registered MAC of the provider NIC: not known" in result.text


CHECK = Check("it", "yes", "no", False, "type this")
ROW = {"what": "it", "expected": "yes", "seen": "no", "ok": False, "next": "type this"}
COMMAND = {"where": "instance", "why": "why", "command": "ip link"}


@pytest.mark.parametrize(
    ("result", "wanted"),
    [
        (Plan("verify", (ACTION,)), {"step": "verify", "actions": [COMMAND]}),
        (Checks("verify", (CHECK,)), {"step": "verify", "ok": False, "checks": [ROW]}),
        (
            Report("verify", "lab", (ACTION,), (CHECK,), ("note",)),
            {
                "step": "verify",
                "ok": False,
                "changed": True,
                "notes": ["note"],
                "actions": [COMMAND],
                "checks": [ROW],
            },
        ),
    ],
)
def test_answers_for_programs(result: Plan | Checks | Report, wanted: dict[str, Any]) -> None:
    assert data(result) == wanted


def test_a_check_that_holds_is_short() -> None:
    assert line(Check("ping", "3 of 3", "3 of 3", True, "nothing")) == "ok ping: 3 of 3"
