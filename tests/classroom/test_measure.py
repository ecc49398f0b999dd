"""A class is measured, and one that does not begin or goes wrong is a row that says so."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from osawslab.classroom import book, keeper, lesson, measure, visit
from osawslab.errors import CannotReach, Refused

KEYS = {"seats", "ok", "bytes_per_seat", "bytes_at_rest", "seconds", "why"}


def test_a_server_that_is_too_small_for_one_class_is_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    def begin(*_: object) -> None:
        raise Refused("this server is too small", seen="1 MiB")

    monkeypatch.setattr(lesson, "begin", begin)
    monkeypatch.setattr(book, "read", lambda name: None)
    rows = measure.seats((1, 50))
    assert [(row["seats"], row["ok"]) for row in rows] == [(1, False), (50, False)]
    assert rows[0]["why"] == "this server is too small: 1 MiB"
    assert rows[0]["bytes_per_seat"] is None
    assert rows[0].keys() == KEYS


def answer(seat: Any, error: Exception | None) -> dict[str, str]:
    """Open a kernel; in the second seat an error is met."""
    if error and seat.name.endswith("02"):
        raise error
    return {"id": "kernel"}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize(
    ("error", "why"),
    [
        (None, ""),
        (CannotReach("no answer"), "bench-02: no answer"),
        (KeyError("id"), "bench-02: its learner met an error"),
    ],
)
def test_one_seat_that_goes_wrong_is_told(
    error: Exception | None, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("bench-01", "bench-02")
    kept = book.Book("bench", "", tuple(book.Seat(name, 1, "", 7) for name in names))
    reached = SimpleNamespace(step="swap_mac", holds=True)
    shown = SimpleNamespace(ok=True, rows=[SimpleNamespace(state="open", reached=reached)] * 2)
    monkeypatch.setattr(lesson, "begin", lambda *_: shown)
    monkeypatch.setattr(lesson, "look", lambda name: shown)
    monkeypatch.setattr(book, "known", lambda name: kept)
    monkeypatch.setattr(book, "read", lambda name: None)
    monkeypatch.setattr(keeper, "ask", lambda *_: {})
    monkeypatch.setattr(measure, "used", lambda kept: 0)
    monkeypatch.setattr(visit, "api", lambda seat, *_: answer(seat, error))
    monkeypatch.setattr(visit, "cell", lambda *_: (True, ""))
    row = measure.measure(2)
    assert (row["ok"], row["why"]) == (not error, why)


@pytest.mark.kernel
@pytest.mark.root
@pytest.mark.usefixtures("root", "home")
def test_two_seats_are_measured() -> None:
    [row] = measure.seats((2,))
    assert row["why"] == ""
    assert row["ok"]
    assert 0 < row["bytes_at_rest"] < row["bytes_per_seat"] < book.WORKING
    assert book.read(measure.NAME) is None
