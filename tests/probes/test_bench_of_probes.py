"""The figure of the probes: each claim once, by the run that could try it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from osawslab import Lab, bench, bench_text
from osawslab.probes.claim import HOLDS, UNTRIED

ROW = {"expected": "e", "verified_on_aws": "not yet", "key": "k", "evidence": [], "source": ""}


def test_a_claim_is_told_by_the_run_that_could_try_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def probe(self: Lab, name: str = "probe", instance_type: str = "t3.small") -> Any:
        nitro = instance_type == "t3.small"
        rows = [
            {**ROW, "claim": "ena", "verdict": HOLDS if nitro else UNTRIED, "seen": "refused"},
            {**ROW, "claim": "vif", "verdict": UNTRIED if nitro else HOLDS, "seen": "taken"},
            {**ROW, "claim": "kvm", "verdict": UNTRIED, "seen": f"no {instance_type}"},
        ]
        return SimpleNamespace(data={"probes": rows})

    monkeypatch.setattr(Lab, "probe", probe)
    found = bench.run(["probes"])
    told = [(each["claim"], each["verdict"], each["seen"]) for each in found["probes"]]
    assert told == [
        ("ena", HOLDS, "refused"), ("vif", HOLDS, "taken"), ("kvm", UNTRIED, "no t3.small"),
    ]  # fmt: skip
    assert {"claim", "expected", "seen", "verified_on_aws"} <= set(found["probes"][0])
    assert "kvm" in bench_text.text(found)
