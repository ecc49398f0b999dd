"""The matrix: one call, real packets, each cell as its source says, and nothing left of it."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

import osawslab
from osawslab import bench, bench_text
from osawslab.expectations import BRIDGES, DRIVERS, STRATEGIES, expected
from osawslab.experiment import Cell, Matrix
from osawslab.region import local

CELLS = [(d, b, s) for d in DRIVERS for b in BRIDGES for s in STRATEGIES]
LIMIT = 60  # seconds


@pytest.fixture(scope="module")
def seen(home: Path) -> tuple[Matrix, float]:
    """Run the experiment once for the module."""
    started = time.perf_counter()
    found = osawslab.matrix()
    return found, time.perf_counter() - started


@pytest.mark.kernel
@pytest.mark.parametrize("cell", CELLS, ids=" ".join)
def test_a_cell_shows_what_its_source_says(
    seen: tuple[Matrix, float], cell: tuple[str, str, str]
) -> None:
    [found] = [c for c in seen[0].cells if (c.driver, c.bridge, c.strategy) == cell]
    wanted = expected(*cell)
    assert (found.expected, found.seen, found.dropped_at) == (
        wanted.outcome, wanted.outcome, wanted.dropped_at,
    )  # fmt: skip
    assert found.as_expected
    assert bool(found.said) == (found.seen == "refused")


@pytest.mark.kernel
def test_it_takes_less_than_a_minute_and_leaves_no_lab(seen: tuple[Matrix, float]) -> None:
    assert seen[1] < LIMIT
    assert not [lab for lab in local.state_home().glob("*") if lab.name.startswith("matrix")]


def made(**changes: str) -> Matrix:
    """Give a matrix without packets, where one cell may differ."""
    cells = [
        Cell(*each, expected(*each).outcome, expected(*each).outcome, expected(*each).dropped_at)
        for each in CELLS
    ]
    return Matrix((replace(cells[0], **changes), *cells[1:]))


def test_each_expectation_has_its_source() -> None:
    page = re.compile(r"https://|[a-z-]+\([1-8]\)")  # on the web, or of the manual
    assert all(page.match(expected(*each).source) for each in CELLS)
    assert list(made().table.frame["source"]) == [expected(*each).source for each in CELLS]


def test_the_table_says_what_is_not_as_expected() -> None:
    assert "NOT as expected" not in repr(made())
    wrong = made(seen="passes", dropped_at="")
    assert repr(wrong.table).count("NOT as expected") == 1
    assert wrong.picture.alt.count("(!)") == 1
    assert made(dropped_at="bridge").picture.alt.count("(!)") == 1


def test_the_picture_is_svg_and_says_every_cell() -> None:
    picture = made().picture
    texts = {each.text for each in ElementTree.fromstring(picture.svg).iter() if each.text}
    assert {*STRATEGIES, "passes", "refused", "dropped at the VPC"} <= texts
    assert len(picture.alt.splitlines()) == len(CELLS)


def test_bench_gives_the_cells_as_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("osawslab.experiment.matrix", made)
    found = bench.run(["matrix"])
    keys = ["driver", "bridge", "strategy", "expected", "seen", "dropped_at"]
    assert [list(row) for row in found["matrix"]] == [keys] * len(CELLS)
    assert "mac-nat" in bench_text.text(found)
