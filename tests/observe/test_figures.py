"""Hold the figure of drops against its numbers, its words and its independence of colour."""

from __future__ import annotations

import subprocess
import sys

import pytest
from matplotlib.figure import Figure

from osawslab.observe.figures import (
    REASONS,
    drops_chart,
    drops_figure,
    drops_picture,
    drops_text,
)

BEFORE, AFTER = {"mac": 3, "arp": 1, "ip": 0}, {"mac": 0, "arp": 0, "ip": 2}


def bars(figure: Figure) -> dict[str, list[float]]:
    (axes,) = figure.axes
    return {
        str(each.get_label()): [bar.get_width() for bar in each.patches]  # type: ignore[attr-defined]
        for each in axes.containers
    }


@pytest.mark.parametrize(
    ("before", "after", "wanted"),
    [
        (BEFORE, AFTER, ([3, 1, 0], [0, 0, 2])),
        ({"mac": 4}, {}, ([4, 0, 0], [0, 0, 0])),
        ({}, {}, ([0, 0, 0], [0, 0, 0])),
    ],
)
def test_bars_are_the_numbers_in_the_order_of_the_reasons(
    before: dict[str, int], after: dict[str, int], wanted: tuple[list[int], list[int]]
) -> None:
    figure = drops_figure(before, after)
    assert bars(figure) == dict(
        zip(("ping before the swap", "ping after the swap"), wanted, strict=True)
    )
    (axes,) = figure.axes
    numbers = [text.get_text() for text in axes.texts]
    assert numbers == [f"{n} before" for n in wanted[0]] + [f"{n} after" for n in wanted[1]]
    assert [text.get_text() for text in axes.get_yticklabels()] == list(REASONS.values())
    assert axes.get_xlim()[1] > max([1, *before.values(), *after.values()])


def test_hatches_tell_before_from_after_without_colour() -> None:
    (axes,) = drops_figure(BEFORE, AFTER).axes
    hatches = [{bar.get_hatch() for bar in each.patches} for each in axes.containers]  # type: ignore[attr-defined]
    assert hatches == [{"/"}, {None}]


def test_words_are_with_the_figure_and_the_picture() -> None:
    words = drops_text(BEFORE, AFTER)
    assert "before the swap: 3 source MAC not registered, 1 ARP sender" in words
    assert "after the swap: 0 source MAC not registered" in words
    assert drops_figure(BEFORE, AFTER).get_label() == words
    assert drops_picture(BEFORE, AFTER).alt == words


def test_equal_numbers_give_equal_bytes() -> None:
    assert drops_picture(BEFORE, AFTER) == drops_picture(BEFORE, AFTER)
    assert drops_picture(BEFORE, AFTER).svg != drops_picture(AFTER, BEFORE).svg


def test_a_notebook_gets_a_picture_with_its_words_and_a_name_without_numbers() -> None:
    chart = drops_chart(BEFORE, AFTER)
    png, about = chart._repr_png_()
    assert png.startswith(b"\x89PNG")
    assert about == {"alt": drops_text(BEFORE, AFTER)}
    assert drops_chart(BEFORE, AFTER)._repr_png_() == (png, about)
    assert repr(chart) == repr(drops_chart(AFTER, BEFORE))


def test_pyplot_stays_out() -> None:
    code = "import sys; from osawslab.observe.figures import drops_picture as d; d({}, {})"
    code += "; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
