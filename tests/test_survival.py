"""What is measured of a published VM: that it is the internet that looks, and the table of it."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from osawslab import bench_text, survival
from osawslab.region import local

SCRIPT = runpy.run_path(str(Path(__file__).with_name("regenerate_survival.py")))
LINE = {
    "cloud": "handbuilt", "strategy": "swap", "event": survival.REBOOT, "made_to_last": True,
    "answers_again": True, "seconds": 1.2, "agents_up": None,
}  # fmt: skip
REFUSAL = ("openstack", survival.GATEWAY, survival.REFUSED)
LOST = {**LINE, "made_to_last": False, "answers_again": False, "seconds": None}


def cell(line: dict[str, Any]) -> tuple[str, str, str, bool]:
    return line["cloud"], line["strategy"], line["event"], line["made_to_last"]


@pytest.mark.kernel
def test_what_is_not_made_to_last_is_lost_and_what_is_answers_again(home: Path) -> None:
    settings = {"cloud": "handbuilt", "bridge": "linux", "strategy": "swap"}
    quick = survival.Kind(settings, survival.LINUX, 60, 3)
    found = [line.data for line in survival.measure([quick])]
    assert {cell(line) for line in found} == quick.cells
    assert [tuple(line) for line in found] == [survival.COLUMNS] * 2
    assert [(line["made_to_last"], line["answers_again"]) for line in found] == [
        (False, False),
        (True, True),
    ]
    assert found[0]["seconds"] is None
    assert found[1]["seconds"] < 60
    assert local.find("survival") is None


def test_what_neutron_refuses_has_no_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    said = iter([survival.REFUSED, ""])
    lab: Any = SimpleNamespace(shell=lambda _: SimpleNamespace(output=next(said)), close=int)
    monkeypatch.setattr(survival, "published", lambda *_: ("address", 522))
    monkeypatch.setattr(survival, "answered", lambda *_: 0.0)
    kind = survival.Kind({"cloud": "openstack", "strategy": "swap"}, {"a": "x", "b": "y"}, 1, 1)
    lines = list(survival.come_through(lab, kind, True))
    assert [(line.answers_again, line.seconds) for line in lines] == [(True, None), (True, 0.0)]


def test_without_root_it_is_said_that_the_real_openstack_needs_it() -> None:
    needs = "survival of the real OpenStack: needs root"
    assert needs in bench_text.text({"survival": [LINE]})
    assert needs not in bench_text.text({"survival": [LINE, {**LINE, "cloud": "openstack"}]})


def test_the_table_says_after_how_long_or_no() -> None:
    late = {**LINE, "event": "x", "agents_up": 0.7}
    refused = {**LINE, "seconds": None}
    rows = SCRIPT["markdown"]([LINE, LOST, late, refused]).splitlines()[2:]
    assert rows == [
        "| handbuilt | swap | reboot of the instance | yes | after 1 s |",
        "| handbuilt | swap | reboot of the instance | no | no |",
        "| handbuilt | swap | x | yes | after 1 s; the agents were up after 1 s |",
        f"| handbuilt | swap | reboot of the instance | yes | {survival.REFUSED} |",
    ]


def test_what_is_not_measured_is_a_row_that_says_so() -> None:
    lines = [
        dict(zip(("cloud", "strategy", "event", "made_to_last"), each, strict=True))
        for kind in survival.KINDS[1:]
        for each in kind.cells
    ]
    rows = SCRIPT["unmeasured"](lines).splitlines()
    assert len(rows) == len(survival.KINDS[0].cells)
    assert all(row.endswith("| not measured yet |") for row in rows)
    kinds = [each for kind in survival.KINDS for each in kind.cells]
    assert len(set(kinds)) == len(kinds)


def test_the_readmes_table_is_whole_and_what_was_made_to_last_answers_within_a_minute() -> None:
    text = SCRIPT["README"].read_text()
    table = text.partition(SCRIPT["BEGIN"])[2].partition(SCRIPT["END"])[0]
    rows = [line.strip("| ").split(" | ") for line in table.splitlines()[2:]]
    cells = {(cloud, way, event, lasting == "yes") for cloud, way, event, lasting, _ in rows}
    assert cells == set().union(*(kind.cells for kind in survival.KINDS))
    assert len(cells) == len(rows)
    for cloud, _, event, lasting, told in rows:
        if lasting == "yes" and (cloud, event, told) != REFUSAL and told != SCRIPT["UNMEASURED"]:
            found = re.fullmatch(r"after (\d+) s(?:; the agents were up after (\d+) s)?", told)
            assert found, (event, told)
            assert int(found[1]) - int(found[2] or 0) <= 60, (event, told)
