"""The trainer's table: each seat, how far its learner is, the last check, the hints."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from osawslab.classroom import book, keeper, progress
from osawslab.classroom.book import Book, Seat
from osawslab.classroom.progress import Progress
from osawslab.errors import LabError
from osawslab.report import Table

COLUMNS = ("seat", "learner", "is", "step reached", "last check", "hints", "exercise", "last seen",
           "URL")  # fmt: skip
RECORD = ".osawslab-record"


@dataclass(frozen=True)
class Row:
    """A seat: whether it runs, and what its learner has reached."""

    seat: Seat
    url: str
    state: str  # open (its JupyterLab runs) | ready | died at … | ended
    reached: Progress
    trouble: LabError | None = None
    seconds: float | None = None  # that were spent on it just now

    def row(self, now: float) -> tuple[str, ...]:
        """Say it in words, as COLUMNS has them."""
        ago = "-" if not self.reached.at else f"{max(0, now - self.reached.at) / 60:.0f} min ago"
        return (
            self.seat.name, self.seat.learner or "-", self.state, self.reached.step or "-",
            self.reached.told, str(sum(self.reached.hints.values())),
            self.reached.exercise or "-", ago, self.url,
        )  # fmt: skip

    @property
    def data(self) -> dict[str, Any]:
        """Give it for programs."""
        error = self.trouble
        told = {"what": error.what, "seen": error.seen, "next": error.next} if error else None
        return {
            "seat": self.seat.name, "learner": self.seat.learner, "state": self.state,
            **self.reached.data, "url": self.url, "port": self.seat.port, "trouble": told,
            "seconds": None if self.seconds is None else round(self.seconds, 2),
        }  # fmt: skip


@dataclass(frozen=True)
class Class:
    """The seats of a class as they are now."""

    name: str
    rows: tuple[Row, ...]
    ended: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """True where nothing went wrong with any seat."""
        return all(row.trouble is None for row in self.rows)

    @property
    def data(self) -> dict[str, Any]:
        """The class for programs."""
        seats = [row.data for row in self.rows]
        return {"ok": self.ok, "class": self.name, "seats": seats, "ended": list(self.ended)}

    @property
    def text(self) -> str:
        """The table, and below it what went wrong."""
        if self.ended:
            return f"class {self.name}: {len(self.ended)} seats ended, and their files removed"
        now = time.time()
        run = sum(row.state in ("open", "ready") for row in self.rows)
        caption = f"Class {self.name}: {len(self.rows)} seats on this server, {run} run"
        parts = [repr(Table(caption, COLUMNS, tuple(row.row(now) for row in self.rows)))]
        parts += [f"{row.seat.name}: {row.trouble}" for row in self.rows if row.trouble]
        if run < len(self.rows):
            parts.append(
                "A seat that has died starts again on its learner's next visit; all of them, with"
                f" what they had: osawslab seats {len(self.rows)} --name {self.name}"
            )
        return "\n\n".join(parts)


def take(kept: Book, went: dict[str, tuple[LabError | None, float]] | None = None) -> Class:
    """Look at every seat. Changes nothing."""
    try:
        seen = keeper.ask(kept.name, {"do": "look"})
    except OSError:  # a server that has rebooted, or a class that is not started yet
        seen = {"seats": {}, "died": {}}
    rows = []
    for seat in kept.seats:
        state = "ended"
        if seat.name in seen["seats"]:
            state = "open" if seen["seats"][seat.name][1] else "ready"
        elif seat.name in seen["died"]:
            state = f"died at {seen['died'][seat.name]}"
        reached = progress.read(book.home(kept.name, seat) / "home", RECORD)
        rows.append(Row(seat, kept.url(seat), state, reached, *(went or {}).get(seat.name, ())))
    return Class(kept.name, tuple(rows))
