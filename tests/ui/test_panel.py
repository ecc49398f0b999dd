"""Click a panel's buttons without a browser; the lab behind it is a stand-in."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from ipywidgets import HTML, Button, HBox, Output, Widget

from osawslab.errors import LabError, StepNotReady
from osawslab.report import Check, Checks, Plan
from osawslab.ui.panel import AT_WORK, BUTTONS, panel
from osawslab.ui.progress import NoProgress, Progress

BOUND = 10.0  # seconds


class FakeLab:
    """Answers as a Lab does; `then` is called in the middle of every call."""

    def __init__(self) -> None:
        self.progress: Progress = NoProgress()
        self.calls: list[tuple[object, ...]] = []
        self.then: Callable[[], object] = lambda: None
        self.daemon = False
        self.left = self.cost = ""

    def _called(self, *call: object) -> None:
        self.daemon = threading.current_thread().daemon
        self.calls.append(call)
        self.then()

    def plan(self, step: str) -> Plan:
        self._called("plan", step)
        return Plan(step, ())

    def run(self, step: str) -> object:
        self._called("run", step)
        return ["<no html>"]

    def check(self, step: str) -> Checks:
        self._called("check", step)
        return Checks(step, (Check("MAC", "02:aa", "02:bb", False),))

    def hint(self, step: str, level: int) -> str:
        self._called("hint", step, level)
        return f"look at <{level}>"

    def reset(self, step: str) -> None:
        self._called("reset", step)

    def time_left(self) -> str:
        return self.left

    def cost_so_far(self) -> str:
        return self.cost


class Card:
    """A panel's parts and what a person can do with them."""

    def __init__(self, lab: FakeLab) -> None:
        self.card = panel(lab, "swap_mac")
        (self.html,) = (each for each in self.card.children if isinstance(each, HTML))
        (row,) = (each for each in self.card.children if isinstance(each, HBox))
        self.buttons: dict[str, Button] = {each.description: each for each in row.children}
        self.said: list[str] = []
        self.html.observe(lambda change: self.said.append(change["new"]), "value")

    def click(self, name: str) -> str:
        """Click and wait for the answer."""
        self.buttons[name].click()
        self.wait()
        return str(self.html.value)

    def wait(self) -> None:
        assert AT_WORK.acquire(timeout=BOUND), "the panel did not end"
        AT_WORK.release()


@pytest.fixture
def lab() -> FakeLab:
    return FakeLab()


@pytest.fixture
def card(lab: FakeLab) -> Card:
    return Card(lab)


@pytest.fixture
def held(lab: FakeLab) -> Iterator[tuple[threading.Event, threading.Event]]:
    """Make every call wait; gives what is set when it began and what lets it end."""
    began, go = threading.Event(), threading.Event()

    def wait() -> None:
        began.set()
        assert go.wait(BOUND)

    lab.then = wait
    yield began, go
    go.set()


@pytest.mark.parametrize(
    ("name", "call", "words"),
    [
        ("Plan", ("plan", "swap_mac"), ">Plan of swap_mac</caption>"),
        ("Run", ("run", "swap_mac"), "[&#x27;&lt;no html&gt;&#x27;]"),
        ("Check", ("check", "swap_mac"), ">NOT OK</td>"),
        ("Hint", ("hint", "swap_mac", 1), "look at &lt;1&gt;"),
        ("Reset", ("reset", "swap_mac"), "done"),
    ],
)
def test_a_button_calls_the_lab_and_shows_its_answer(
    lab: FakeLab, card: Card, name: str, call: tuple[object, ...], words: str
) -> None:
    assert words in card.click(name)
    assert lab.calls == [call]
    assert lab.daemon
    assert not any(button.disabled for button in card.buttons.values())


def test_hints_grow_to_the_third(lab: FakeLab, card: Card) -> None:
    for _ in range(4):
        card.click("Hint")
    assert [call[2] for call in lab.calls] == [1, 2, 3, 3]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            StepNotReady("no <gateway> port", seen="no qg- & co", next='lab.run("networks")'),
            ["no &lt;gateway&gt; port", "seen: no qg- &amp; co", "lab.run(&quot;networks&quot;)"],
        ),
        (LabError("only what"), ["only what"]),
    ],
)
def test_an_error_of_the_lab_is_what_seen_and_next(
    lab: FakeLab, card: Card, error: LabError, words: list[str]
) -> None:
    lab.then = raiser(error)
    shown = card.click("Run")
    assert [each for each in words if each not in shown] == []
    assert shown.count("seen:") == bool(error.seen)
    assert shown.count("next:") == bool(error.next)
    assert "Traceback" not in shown
    lab.then = lambda: None
    assert "Plan of swap_mac" in card.click("Plan")


@pytest.mark.parametrize(
    "error", [KeyError("<mac>"), OSError("<mac>"), ZeroDivisionError("<mac>"), SystemExit("<mac>")]
)
def test_any_other_error_is_shown_with_its_type(
    lab: FakeLab, card: Card, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    left: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", left.append)
    lab.then = raiser(error)
    shown = card.click("Run")
    assert f"{type(error).__name__}: " in shown
    assert "&lt;mac&gt;" in shown
    assert "<mac>" not in shown
    assert "Traceback" in shown
    assert not any(button.disabled for button in card.buttons.values())
    assert isinstance(lab.progress, NoProgress)


def test_a_lab_without_progress_is_an_error_that_ends(
    lab: FakeLab, card: Card, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    del lab.progress
    assert "AttributeError" in card.click("Plan")


def test_progress_is_live_and_given_back(lab: FakeLab, card: Card) -> None:
    before = lab.progress

    def step() -> None:
        lab.progress.start("swap_mac", 2)
        lab.progress.action("ip link set <qg>")
        lab.progress.done("done")

    lab.then = step
    card.click("Run")
    assert any("1 of 2: ip link set &lt;qg&gt;" in html for html in card.said)
    assert "no html" in card.said[-1]
    assert lab.progress is before


def test_buttons_rest_while_a_step_runs(
    lab: FakeLab, card: Card, held: tuple[threading.Event, threading.Event]
) -> None:
    began, go = held
    card.buttons["Run"].click()
    assert began.wait(BOUND)
    assert all(button.disabled for button in card.buttons.values())
    during = card.html.value
    card.buttons["Reset"].click()  # a click that was under way
    assert card.html.value == during
    go.set()
    card.wait()
    assert lab.calls == [("run", "swap_mac")]
    assert not any(button.disabled for button in card.buttons.values())


def test_one_panel_works_at_a_time(
    lab: FakeLab, card: Card, held: tuple[threading.Event, threading.Event]
) -> None:
    began, go = held
    other = Card(lab)
    card.buttons["Run"].click()
    assert began.wait(BOUND)
    other.buttons["Plan"].click()
    assert "Another panel is at work" in other.html.value
    assert not other.buttons["Plan"].disabled
    go.set()
    card.wait()
    assert lab.calls == [("run", "swap_mac")]


def test_a_thread_that_cannot_start_is_said(card: Card, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading.Thread, "start", raiser(RuntimeError("can't start new thread")))
    assert "RuntimeError" in card.click("Run")
    assert not any(button.disabled for button in card.buttons.values())


def test_the_card_can_be_used_by_keyboard_and_heard(card: Card) -> None:
    assert list(card.buttons) == list(BUTTONS)
    for name, button in card.buttons.items():
        assert button.tabbable
        assert button.tooltip == f"swap_mac: {BUTTONS[name]}"
    assert 'role="status" aria-live="polite"' in card.html.value
    parts: list[Widget] = [card.card, *card.card.children]
    assert not any(isinstance(each, Output) for each in parts)


def raiser(error: BaseException) -> Callable[..., object]:
    def do(*_: object) -> object:
        raise error

    return do


def test_the_title_tells_the_time_that_is_left_and_the_cost_so_far() -> None:
    lab = FakeLab()
    card = Card(lab)
    title = card.card.children[0]
    for left, cost, told in (
        ("", "", "Step swap_mac"),
        ("", "$0.11", "Step swap_mac (up to $0.11 so far)"),  # the instance has ended
        ("2 h 54 min", "$0.11", "Step swap_mac (time left 2 h 54 min, up to $0.11 so far)"),
    ):
        lab.left, lab.cost = left, cost
        card.click("Check")
        assert title.value == told
    lab.left = "1 h 00 min"
    card.click("Hint")  # asks nobody
    assert title.value == "Step swap_mac (time left 2 h 54 min, up to $0.11 so far)"
