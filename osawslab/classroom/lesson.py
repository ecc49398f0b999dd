"""A class on this server, for the trainer: begin it, look at it, look into a seat, end it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from osawslab.classroom import book, keeper, table
from osawslab.classroom.book import Seat
from osawslab.classroom.table import Class
from osawslab.errors import (
    BadSetting,
    LabBusy,
    LabError,
    LabTimeout,
    NoPlaceToRun,
    StepFailed,
    writing,
)
from osawslab.region import tier
from osawslab.region.folders import private_folder

START_SECONDS = 120.0  # everything is imported once, cold
LEAN = {"MALLOC_ARENA_MAX": "1"}  # mallopt(3): else each thread of each seat begins a heap
Say = Callable[[str], None]
ISOLATED = (
    "On this server as an ordinary user nothing keeps seats apart: all their processes are yours,"
    " so each learner could read every other's files and end every other's processes"
)


def begin(
    name: str, wanted: list[str], learners: list[str], listen: str, port: int | None, say: Say
) -> Class:
    """Start what is missing of a class's seats; run again, it goes on, with the same addresses.

    Raises NoPlaceToRun for an ordinary user, Refused where the server is too small, LabBusy.
    """
    _root()
    place = book.folder(name)
    with _working(name), writing(place):
        say(book.fitting(len(wanted), _running(name), place))
        kept = book.draw(name, wanted, learners, listen, port)
        _try(kept.seats[0])
        book.write(kept)
        if keeper.lives(name):
            _told(name, {"do": "book"}, "the keeper of the class met an error")
        else:
            _start(name)
        went: dict[str, tuple[LabError | None, float]] = {}
        for seat in kept.seats:
            went[seat.name] = _begin(name, seat)
            if error := went[seat.name][0]:
                say(f"{seat.name}: {error.what}")
    return table.take(kept, went)


def _try(seat: Seat) -> None:
    """Try whether a learner's region can run here: each is in a user namespace of its own.

    Raises NoPlaceToRun, rather than have each learner meet it at the first step.
    """
    tried = tier.attempt("userns", seat.uid)
    if not tried.works:
        raise NoPlaceToRun(
            "this machine lets a seat's user make no user namespace; nothing was started",
            seen=f"uid {seat.uid}: {tried.refused}",
            next=tier.advice() + tier.allow(),
        )


def _begin(name: str, seat: Seat) -> tuple[LabError | None, float]:
    started = time.monotonic()
    error: LabError | None = None
    try:
        keeper.ask(name, {"do": "start", "seat": seat.name})
    except OSError as met:
        error = StepFailed(
            "the seat did not start",
            seen=str(met),
            next=f"read {keeper.log(name)}; osawslab doctor",
        )
    return error, time.monotonic() - started


def _running(name: str) -> int:
    if not keeper.lives(name):
        return 0
    with contextlib.suppress(OSError):
        return len(keeper.ask(name, {"do": "look"})["seats"])
    return 0


def _root() -> None:
    if os.geteuid():
        raise NoPlaceToRun(
            "seats on one server need root, which gives each a user and namespaces of its own",
            seen=f"uid {os.geteuid()}. {ISOLATED}",
            next="sudo ./lab seats 12; without root, one lab for yourself: ./lab start",
        )


@contextlib.contextmanager
def _working(name: str) -> Iterator[None]:
    """Let one trainer at a time change a class; any number may look."""
    with writing(book.folder(name)):
        file = (private_folder(book.folder(name)) / "working").open("a+")
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LabBusy(
                f"another trainer changes class {name!r} right now",
                seen=str(book.folder(name) / "working"),
                next=f"osawslab seats --name {name} looks at it meanwhile",
            ) from None
        try:
            yield
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)  # also where a program just being started has a copy


def _start(name: str) -> None:
    """Start the keeper, which waits for nobody. Raises LabTimeout, NoPlaceToRun, LabBusy."""
    place = book.folder(name)
    private_folder(book.control(name).parent.parent)
    private_folder(book.control(name).parent)
    reader, writer = os.pipe()
    with (place / "alive").open("w") as alive, keeper.log(name).open("ab") as log:
        fcntl.flock(alive, fcntl.LOCK_EX)
        words = [sys.executable, "-P", "-m", "osawslab.classroom.keeper", name]
        subprocess.run(
            ["setsid", "--fork", *words, str(alive.fileno()), str(writer)],
            pass_fds=(alive.fileno(), writer), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            cwd="/", check=True, env=_environment(),
        )  # fmt: skip
    os.close(writer)
    with os.fdopen(reader) as told:
        if not select.select([told], [], [], START_SECONDS)[0]:
            raise LabTimeout(
                f"the class is not up after {START_SECONDS:.0f} s", seen=str(keeper.log(name))
            )
        said = told.read().strip()
    if said != "ready":
        raise NoPlaceToRun(
            "the class did not start",
            seen=said or _last_words(keeper.log(name)),
            next=f"read {keeper.log(name)}; osawslab doctor",
        )


def _environment() -> dict[str, str]:
    """Give only what the keeper needs: its memory is every seat's, and the trainer's keys not."""
    kept = ("HOME", "LANG", "TZ", "XDG_CACHE_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR",
            "PYTHONPATH", "PATH")  # fmt: skip
    return {key: os.environ[key] for key in kept if key in os.environ} | LEAN


def _last_words(log: Path) -> str:
    return " / ".join(log.read_text(errors="replace").strip().splitlines()[-2:])


def _told(name: str, asked: dict[str, object], what: str) -> None:
    try:
        keeper.ask(name, asked)
    except OSError as error:
        raise StepFailed(
            what, seen=str(error), next=f"osawslab seats --name {name}, or read {keeper.log(name)}"
        ) from None


def look(name: str) -> Class:
    """Say how the seats are. Raises StepNotReady where there is no such class."""
    return table.take(book.known(name))


def reset(name: str, which: str) -> Class:
    """Throw a seat's lab away and start it anew: same address; its notebooks stay."""
    _root()
    kept = book.known(name)
    seat = kept.seat(which)
    with _working(name):
        if not keeper.lives(name):
            _start(name)
        _told(name, {"do": "stop", "seat": seat.name}, "the seat did not end")
        home = book.home(name, seat) / "home"
        with writing(home):
            _forget(home)
            went = {seat.name: _begin(name, seat)}
    return table.take(kept, went)


def give(name: str, words: list[str]) -> Class:
    """Have seats begin exercises; the seed is the seat's number. Raises BadSetting, LabBusy."""
    from osawslab.training import wanted

    _root()
    kept = book.known(name)
    which = wanted(name, [seat.name for seat in kept.seats], words)
    went: dict[str, tuple[LabError | None, float]] = {}
    with _working(name):
        for seat, exercise in sorted(which.items()):
            started = time.monotonic()
            went[seat] = (_exercise(name, seat, exercise), time.monotonic() - started)
    return table.take(kept, went)


def _exercise(name: str, seat: str, exercise: str) -> LabError | None:
    from osawslab.classroom import terminal

    begin = ["osawslab", "exercise", "begin", exercise, "--seed", seat.rpartition("-")[2], "--json"]
    with tempfile.TemporaryFile() as out:
        status = terminal.quietly(name, seat, begin, out.fileno())
        out.seek(0)
        said = out.read().decode(errors="replace").strip()
    if status == 0:
        return None
    what = "the exercise did not begin"
    try:
        told = json.loads(said)["error"]
        return StepFailed(f"{what}: {told['what']}", seen=told["seen"], next=told["next"])
    except (ValueError, KeyError, TypeError):
        enter = f"sudo ./lab seats --name {name} --enter {seat}"
        return StepFailed(what, seen=" / ".join(said.splitlines()[-2:]), next=enter)


def _forget(home: Path) -> None:
    """Remove a seat's labs and its record, and follow no link that a learner has laid."""
    if not home.is_dir() or home.is_symlink():
        return
    (home / table.RECORD).unlink(missing_ok=True)
    folder = os.open(home, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        for name in (".local", ".cache"):
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                shutil.rmtree(name, dir_fd=folder)
    except OSError as error:
        if "symbolic link" not in str(error):
            raise
    finally:
        os.close(folder)


def end(name: str) -> Class:
    """End every seat and remove its files. Raises StepNotReady where there is no such class."""
    _root()
    kept = book.known(name)
    with _working(name):
        if keeper.lives(name):
            _end_keeper(name)
        with writing(book.folder(name)):
            shutil.rmtree(book.folder(name))
        book.control(name).unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            book.control(name).parent.rmdir()
    return Class(name, (), tuple(seat.name for seat in kept.seats))


def _end_keeper(name: str) -> None:
    with contextlib.suppress(OSError):
        for seat in book.known(name).seats:
            keeper.ask(name, {"do": "stop", "seat": seat.name})
        keeper.ask(name, {"do": "end"})
    deadline = time.monotonic() + 20
    while keeper.lives(name):
        if time.monotonic() > deadline:
            raise LabTimeout(f"the keeper of class {name!r} does not end", next="osawslab doctor")
        time.sleep(0.01)


def enter(name: str, which: str, words: list[str]) -> int:
    """Be in a seat: a shell there, or the program that `words` are; how it ended."""
    _root()
    seat = book.known(name).seat(which)
    if not keeper.lives(name):
        raise BadSetting(
            f"class {name!r} does not run",
            seen=f"{seat.name} has ended",
            next=f"osawslab seats {len(book.known(name).seats)} --name {name}",
        )
    from osawslab.classroom import terminal

    return terminal.run(name, seat.name, words or ["bash", "-l"])
