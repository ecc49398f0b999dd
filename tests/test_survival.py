"""What is measured of a published VM: that it is the internet that looks, and the table of it."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from osawslab import survival
from osawslab.region import local

SCRIPT = runpy.run_path(str(Path(__file__).with_name("regenerate_survival.py")))
LINE = {
    "cloud": "handbuilt", "strategy": "swap", "event": survival.REBOOT, "made_to_last": True,
    "answers_again": True, "seconds": 1.2, "agents_up": None,
}  # fmt: skip
LOST = {**LINE, "made_to_last": False, "answers_again": False, "seconds": None}


@pytest.mark.kernel
def test_what_is_not_made_to_last_is_lost_and_what_is_answers_again(home: Path) -> None:
    quick = survival.Kind({"cloud": "handbuilt", "bridge": "linux"}, {survival.REBOOT: ""}, 60, 3)
    found = [line.data for line in survival.measure([quick])]
    assert [tuple(line) for line in found] == [survival.COLUMNS] * 2
    assert [(line["made_to_last"], line["answers_again"]) for line in found] == [
        (False, False),
        (True, True),
    ]
    assert found[0]["seconds"] is None
    assert found[1]["seconds"] < 60
    assert local.find("survival") is None


def test_the_table_says_after_how_long_or_no() -> None:
    late = {**LINE, "event": "x", "agents_up": 0.7}
    rows = SCRIPT["markdown"]([LINE, LOST, late]).splitlines()[2:]
    assert rows == [
        "| handbuilt | swap | reboot of the instance | yes | after 1 s |",
        "| handbuilt | swap | reboot of the instance | no | no |",
        "| handbuilt | swap | x | yes | after 1 s; the agents were up after 1 s |",
    ]


def test_the_readmes_table_has_an_answer_for_all_that_was_made_to_last() -> None:
    text = SCRIPT["README"].read_text()
    table = text.partition(SCRIPT["BEGIN"])[2].partition(SCRIPT["END"])[0]
    lasting = [line for line in table.splitlines() if "| yes |" in line]
    assert lasting
    assert all("| after " in line for line in lasting)
