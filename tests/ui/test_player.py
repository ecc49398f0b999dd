"""Move a player's parts without a browser; the capture behind it is a stand-in."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import IPython.display
import pytest

from osawslab.errors import BadCapture
from osawslab.ui.player import BUTTONS, Player, player, show


class FakeStill:
    def __init__(self, number: int) -> None:
        self.number = number

    def __repr__(self) -> str:
        return f"frame {self.number}"

    def _repr_html_(self) -> str:
        return f"<b>frame {self.number}</b>"


class FakeStills(Sequence[FakeStill]):
    def __init__(self, count: int) -> None:
        self.count = count
        self.made: list[int] = []

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, at: Any) -> Any:
        if not 0 <= at < self.count or at == 99:
            raise BadCapture(f"there is no frame <{at}>", seen="", next="")
        self.made.append(at)
        return FakeStill(at)


class FakeCapture:
    def __init__(self, count: int = 1000) -> None:
        self.stills = FakeStills(count)


@pytest.fixture
def capture() -> FakeCapture:
    return FakeCapture()


@pytest.fixture
def made(capture: FakeCapture) -> Player:
    return player(capture, 7)


def frame(made: Player) -> int:
    """Read which frame is shown."""
    [found] = re.findall(r"<b>frame (\d+)</b>", made.shown.value)
    return int(found)


def test_it_begins_at_its_frame_and_makes_no_other(made: Player, capture: FakeCapture) -> None:
    assert frame(made) == made.slider.value == made.number.value == made.play.value == 7
    assert set(capture.stills.made) == {7}
    assert (made.slider.min, made.slider.max) == (made.play.min, made.play.max) == (0, 999)


def test_slider_and_number_are_one(made: Player, capture: FakeCapture) -> None:
    made.slider.value = 500
    assert (frame(made), made.number.value) == (500, 500)
    made.number.value = 3
    assert (frame(made), made.slider.value) == (3, 3)
    made.number.value = 5000  # beyond
    assert (frame(made), made.slider.value) == (999, 999)
    assert len(capture.stills.made) <= 5


@pytest.mark.parametrize(
    ("begin", "name", "end"),
    [
        (7, "First", 0), (7, "Back", 6), (7, "Next", 8), (7, "Last", 999),
        (0, "Back", 0), (0, "First", 0), (999, "Next", 999), (999, "Last", 999),
    ],
)  # fmt: skip
def test_buttons_go_one_by_one_and_to_the_ends(
    capture: FakeCapture, begin: int, name: str, end: int
) -> None:
    made = player(capture, begin)
    made.buttons[name].click()
    assert frame(made) == made.slider.value == end


def test_play_moves_the_slider_in_the_browser(made: Player) -> None:
    assert made.link.source == (made.play, "value")
    assert made.link.target == (made.slider, "value")


def test_what_changes_is_told_and_every_part_has_a_name(made: Player) -> None:
    assert 'role="status" aria-live="polite"' in made.shown.value
    assert made.number.description == "Frame"
    assert {name: button.tooltip for name, button in made.buttons.items()} == BUTTONS
    for part in (made.slider, made.number, *made.buttons.values()):
        assert part.tabbable


def test_an_error_is_shown_and_the_player_goes_on(made: Player) -> None:
    made.slider.value = 99
    assert "there is no frame &lt;99&gt;" in made.shown.value
    made.slider.value = 98
    assert frame(made) == 98


def test_a_capture_of_one_frame_has_nothing_to_move() -> None:
    made = player(FakeCapture(1))
    assert made.card.children == (made.shown,)
    assert len(player(FakeCapture(2)).card.children) == 2


def test_a_capture_of_nothing_has_no_player() -> None:
    with pytest.raises(BadCapture):
        player(FakeCapture(0))


VIEW = "application/vnd.jupyter.widget-view+json"


@pytest.fixture
def displayed(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    monkeypatch.setattr(IPython.display, "display", lambda data, raw: found.append(data))
    return found


def test_a_still_is_beside_the_widget_and_hidden_while_that_lives(
    made: Player, displayed: list[dict[str, Any]]
) -> None:
    show(made, {})
    still, live = displayed
    assert VIEW not in still
    assert "<b>frame 7</b>" in still["text/html"]
    [name] = re.findall(r'class="([\w-]+)"', still["text/html"])
    assert f"<style>.{name} {{ display: none }}</style>" in made.shown.value
    assert live.keys() == {VIEW, "text/plain"}
    assert live[VIEW]["model_id"] == made.card.model_id
    assert f".{name} " not in player(FakeCapture()).shown.value  # another player's


def test_where_nobody_listens_it_is_the_still_and_the_same_each_time(
    capture: FakeCapture, displayed: list[dict[str, Any]]
) -> None:
    for _ in range(2):
        show(player(capture, 7), {"OSAWSLAB_PROGRESS": "0"})
    first, second = displayed
    assert first == second == {"text/html": "<b>frame 7</b>", "text/plain": "frame 7"}


def test_outside_of_a_notebook_it_is_the_still(made: Player) -> None:
    made.slider.value = 9
    assert repr(made) == "frame 7"
    assert made._repr_html_() == "<b>frame 7</b>"
