"""Every step has a hint of each level, and what the last one says to type exists."""

from __future__ import annotations

import re

import pytest

from osawslab.lab import Lab
from osawslab.steps.hints import HINTS, LEVELS, hint
from osawslab.steps.run import CHAPTERS


def test_every_step_has_hints_of_three_levels() -> None:
    assert set(HINTS) == set(CHAPTERS)
    for step, levels in HINTS.items():
        assert len(set(levels)) == LEVELS, step


@pytest.mark.parametrize(
    ("level", "nearest"), [(-1, 1), (0, 1), (1, 1), (2, 2), (3, 3), (4, 3), (99, 3)]
)
def test_a_level_is_the_nearest_of_three(level: int, nearest: int) -> None:
    assert hint("swap_mac", level) == HINTS["swap_mac"][nearest - 1]


@pytest.mark.parametrize("step", HINTS)
def test_levels_go_from_looking_to_typing(step: str) -> None:
    assert hint(step, 1).startswith("Look at") or hint(step, 1).startswith("Look into")
    assert hint(step, 3).startswith(f"Type lab.{step}()")


@pytest.mark.parametrize("step", HINTS)
def test_what_a_hint_says_to_type_exists(step: str) -> None:
    for name, argument in re.findall(r'lab\.(\w+)\("?(\w*)', " ".join(HINTS[step])):
        assert callable(getattr(Lab, name))
        if name in ("plan", "check", "reset"):
            assert argument in CHAPTERS


def test_the_lab_gives_them() -> None:
    assert Lab().hint("networks", 2) == HINTS["networks"][1]
