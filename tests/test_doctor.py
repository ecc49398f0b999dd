"""The doctor: what is missing, and whether the lab can run all the same."""

from __future__ import annotations

import pytest

from osawslab import doctor
from osawslab.doctor import NEEDED_MIB, Examination, examine
from osawslab.region import machine
from osawslab.region.machine import Row
from osawslab.region.tier import Tier

THERE = Row("nft", "/usr/sbin/nft", "", "")
MISSING = Row("nft", "missing", "no local region", "sudo apt-get install nftables")
LUXURY = Row("ssh", "missing", "no `lab ssh`", "sudo apt-get install openssh-client")
WORKS, REFUSED = Tier("root", ""), Tier("userns", "Operation not permitted")


@pytest.mark.parametrize(
    ("programs", "tiers", "free", "wrong"),
    [
        ([THERE], [REFUSED, WORKS], NEEDED_MIB, []),
        ([THERE, LUXURY], [WORKS], NEEDED_MIB, []),
        ([MISSING], [WORKS], NEEDED_MIB, ["nft is missing: sudo apt-get install nftables"]),
        ([THERE], [REFUSED], NEEDED_MIB, ["no way to run the local region: "]),
        ([THERE], [WORKS], NEEDED_MIB - 1, [f"{NEEDED_MIB - 1} MiB free in /home/me: "]),
        ([MISSING], [REFUSED], 0, ["nft", "no way", "0 MiB"]),
    ],
)
def test_what_keeps_the_lab_from_running(
    programs: list[Row], tiers: list[Tier], free: int, wrong: list[str]
) -> None:
    found = Examination(tuple(programs), frozenset({"nft"}), tuple(tiers), "/home/me", free)
    assert found.ok == (not wrong)
    assert len(found.wrong) == len(wrong)
    for told, wanted in zip(found.wrong, wrong, strict=True):
        assert told.startswith(wanted)
        assert f"NOT OK {told}" in found.text
    assert found.data["ok"] is found.ok
    assert ("The lab can run here." in found.text) is found.ok
    for each in (*programs, *tiers):
        assert (each.program if isinstance(each, Row) else each.name) in found.text


def test_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.tier, "attempt", lambda name: Tier(name, "not tried"))
    found = examine()
    assert [row.program for row in found.programs] == [need.program for need in machine.NEEDS]
    assert [tier.refused for tier in found.tiers] == ["not tried"] * len(found.tiers)
    assert found.free_mib > 0
