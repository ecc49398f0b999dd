"""The tour in every tier, measured; here in those that take no minute."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from osawslab import bench, tiers
from osawslab.region import local, tier
from osawslab.region.tier import Tier


def test_each_tier_is_forced_timed_and_ended(
    root: None, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    find = local.ensure

    def ensure(name: str, *more: object, **how: object) -> local.Region:
        region = find(name, *more, **how)  # type: ignore[arg-type]
        seen.append(region.tier)
        return region

    monkeypatch.setattr(local, "ensure", ensure)
    monkeypatch.setenv("OSAWSLAB_TIER", "root")
    works = tier.attempt
    monkeypatch.setattr(
        tier, "attempt", lambda name: Tier(name, "too slow") if name == "uml" else works(name)
    )
    first, second, third = bench.run(["tiers"])["tiers"]
    assert {(each["tier"], each["ok"]) for each in (first, second)} == {
        ("userns", True),
        ("root", True),
    }
    assert all(each["seconds"] > 0 for each in (first, second))
    assert third == {"tier": "uml", "ok": False, "seconds": None}
    assert set(seen) == {"userns", "root"}
    assert os.environ["OSAWSLAB_TIER"] == "root"
    assert local.find("tiers") is None


def test_a_tour_that_fails_is_not_ok(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tier, "names", lambda: ("userns",))
    monkeypatch.setattr(
        tiers.Lab, "run", lambda self, step: (_ for _ in ()).throw(tiers.LabError("no"))
    )
    [found] = tiers.measure()
    assert (found["tier"], found["ok"]) == ("userns", False)
