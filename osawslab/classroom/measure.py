"""What a seat costs: memory beyond what all share, and time, while all learners work at once."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from osawslab.classroom import book, keeper, lesson, visit
from osawslab.classroom.book import Book, Seat
from osawslab.errors import LabError

NAME = "bench"
COUNTS = (1, 10, 50)
CELL_SECONDS = 900.0
SWAP = (
    "from osawslab import Lab\nlab = Lab()\nlab.catch_up('verify')\nassert lab.check('swap_mac')\n"
)


def seats(counts: tuple[int, ...] = COUNTS) -> list[dict[str, Any]]:
    """Measure classes of several sizes."""
    return [measure(count) for count in counts]


def measure(count: int) -> dict[str, Any]:
    """Begin a class; have all learners open JupyterLab, and swap the MAC in a kernel, at once.

    `bytes_per_seat` is what all processes of the class have in memory (PSS) with every lab,
    JupyterLab and kernel running, less what is there once for all, over the seats;
    `bytes_at_rest` the same before any learner has come. `seconds` is all of it, over the seats.
    `ok`: every swap holds, and the trainer's table says so of every seat. A class that does not
    begin, as on a server that is too small for it, is a row too, and `why` says what was met.
    """
    try:
        return _measure(count)
    except (LabError, OSError) as met:
        said = f"{met.what}: {met.seen}" if isinstance(met, LabError) else str(met)
        return _row(count, why=said)


def _row(
    count: int, *, ok: bool = False, each: int | None = None, rest: int | None = None,
    seconds: float | None = None, why: str = "",
) -> dict[str, Any]:  # fmt: skip
    return {
        "seats": count,
        "ok": ok,
        "bytes_per_seat": each,
        "bytes_at_rest": rest,
        "seconds": seconds,
        "why": why,
    }


def _measure(count: int) -> dict[str, Any]:
    started = time.monotonic()
    names = [f"{NAME}-{number:02d}" for number in range(1, count + 1)]
    try:
        begun = lesson.begin(NAME, names, [], "", None, lambda text: None)
        kept = book.known(NAME)
        rest = used(kept)
        went = dict.fromkeys(names, "its learner met an error")  # "": well

        def work(seat: Seat) -> None:
            try:
                kernel = visit.api(seat, "kernels", "POST")["id"]
                ok, said = visit.cell(seat, kernel, SWAP, CELL_SECONDS)
                went[seat.name] = "" if ok else said.strip().rpartition("\n")[2]
            except LabError as met:
                went[seat.name] = met.what

        threads = [threading.Thread(target=work, args=(seat,)) for seat in kept.seats]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seconds = time.monotonic() - started
        rows = lesson.look(NAME).rows
        right = len(rows) == count and all(
            row.state == "open" and row.reached.step == "swap_mac" and row.reached.holds
            for row in rows
        )
        wrong = [f"{name}: {why}" for name, why in went.items() if why]
        busy = used(kept)
        for seat in kept.seats:
            keeper.ask(NAME, {"do": "stop", "seat": seat.name})
        shared = used(kept)
        return _row(
            count,
            ok=begun.ok and right and not wrong,
            each=(busy - shared) // count,
            rest=(rest - shared) // count,
            seconds=round(seconds / count, 2),
            why=wrong[0] if wrong else "" if right else "the trainer's table says otherwise",
        )
    finally:
        if book.read(NAME):
            lesson.end(NAME)


@dataclass
class Role:
    """What the processes of one role have in memory: their share of all (PSS), and their own."""

    processes: int = 0
    share: int = 0
    private: int = 0


def used(kept: Book) -> int:
    """Sum the memory (PSS) of all processes of a class, in bytes."""
    return sum(role.share for role in roles(kept).values())


def roles(kept: Book) -> dict[str, Role]:
    """Sum the memory of a class by what its processes do, as `ps -o comm` names them; in bytes."""
    users = {seat.uid for seat in kept.seats}
    found: dict[str, Role] = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
            uid = process.stat().st_uid
            ours = b"osawslab.classroom.keeper" in words and kept.name.encode() in words
            if uid in users or (ours and not uid):
                _add(found, process)
        except OSError:  # it has ended meanwhile
            continue
    return found


def _add(found: dict[str, Role], process: Path) -> None:
    name = (process / "comm").read_text().strip()
    lines = [line.split() for line in (process / "smaps_rollup").read_text().splitlines()[1:]]
    size = {words[0]: int(words[1]) << 10 for words in lines}
    if "Pss:" not in size:  # it ends
        return
    role = found.setdefault(name, Role())
    role.processes += 1
    role.share += size["Pss:"]
    role.private += size["Private_Clean:"] + size["Private_Dirty:"]
