"""The book of a class on this server: its seats, their addresses and what only they may know."""

from __future__ import annotations

import json
import os
import secrets
import socket
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path

from osawslab.errors import BadSetting, LabBusy, Refused, StepNotReady, writing
from osawslab.region.folders import (
    private_folder,
    runtime_folder,
    state_folder,
    state_home,
    write_whole,
)

SUFFIX = ".seats"  # no lab's own name has a dot
FIRST_PORT = 9001  # of JupyterLab of the first seat, unless one is asked for
# systemd's "Users, Groups, UIDs and GIDs": nobody hands these out.
UIDS, UIDS_END = 1_879_048_192, 2_147_483_647
SHARED = 300 << 20  # bytes: what all seats share is in memory once
WORKING = 256 << 20  # bytes of memory a seat needs while its learner works; `bench seats` measures
DISK = 40 << 20  # bytes: notebooks, the instance's disk, Jupyter's own files


@dataclass(frozen=True)
class Seat:
    """A seat: a lab of its own behind a port and a token, and the user that its processes are."""

    name: str
    port: int
    token: str
    uid: int
    learner: str = ""


@dataclass(frozen=True)
class Book:
    """A class: where JupyterLab listens, and the seats."""

    name: str
    listen: str
    seats: tuple[Seat, ...]

    def seat(self, name: str) -> Seat:
        """Find a seat by its name or its number. Raises BadSetting."""
        for seat in self.seats:
            number = seat.name.rpartition("-")[2]
            if name == seat.name or (name.isdecimal() and int(name) == int(number)):
                return seat
        raise BadSetting(
            f"class {self.name!r} has no seat {name!r}",
            seen=f"{self.seats[0].name} to {self.seats[-1].name}",
            next=f"osawslab seats --name {self.name}",
        )

    def url(self, seat: Seat) -> str:
        """Give the address that a learner opens."""
        host = self.listen
        if host == "0.0.0.0":
            host = socket.gethostname()
        return f"http://{host}:{seat.port}/lab?token={seat.token}"


def folder(name: str) -> Path:
    """Name the folder of a class; root's, and nobody's else."""
    return state_folder(name + SUFFIX)


def home(name: str, seat: Seat) -> Path:
    """Name the folder that a seat sees as its home."""
    return folder(name) / seat.name


def control(name: str) -> Path:
    """Name the socket of the class's keeper."""
    return runtime_folder(name + SUFFIX) / "control"


def names() -> list[str]:
    """Name the classes on this server."""
    return sorted(path.parent.stem for path in state_home().glob(f"*{SUFFIX}/class.json"))


def read(name: str) -> Book | None:
    """Read the book; None where there is no such class."""
    try:
        told = json.loads((folder(name) / "class.json").read_text())
    except FileNotFoundError:
        return None
    return Book(told["name"], told["listen"], tuple(Seat(**each) for each in told["seats"]))


def known(name: str) -> Book:
    """Read the book. Raises StepNotReady where there is no such class."""
    found = read(name)
    if found is None:
        raise StepNotReady(
            f"there is no class {name!r} on this server",
            seen=f"classes: {', '.join(names()) or 'none'}",
            next=f"osawslab seats 12 --name {name}",
        )
    return found


def write(book: Book) -> None:
    """Write the book whole or not at all; it has the tokens."""
    with writing(folder(book.name)):
        private_folder(folder(book.name))
        write_whole(folder(book.name) / "class.json", json.dumps(asdict(book)))


def draw(
    name: str, wanted: Sequence[str], learners: Sequence[str], listen: str, port: int | None
) -> Book:
    """Draw the class up: seats that it has keep their port and token; new ones come behind.

    Raises LabBusy where no ports are free, BadSetting where the class is smaller.
    """
    had = read(name)
    if had and len(had.seats) > len(wanted):
        raise BadSetting(
            f"class {name!r} has {len(had.seats)} seats already",
            seen=f"{len(wanted)} are asked for",
            next=f"osawslab seats {len(had.seats)}, or --down first",
        )
    old = had.seats if had else ()
    listen = listen or (had.listen if had else "127.0.0.1")
    first = old[0].port if old else (port or _first(listen, len(wanted)))
    seats = list(old) + [
        Seat(each, first + number, secrets.token_urlsafe(24), _uid(name) + number)
        for number, each in enumerate(wanted)
        if number >= len(old)
    ]
    for number, learner in enumerate(learners):
        seats[number] = replace(seats[number], learner=learner)
    return Book(name, listen, tuple(seats))


def _uid(name: str) -> int:
    """Give the first of a hundred users, the same for a class at any time.

    In a container that has few of them, below the 65536 that it has at least.
    """
    block = int(sha256(str(folder(name)).encode()).hexdigest()[:8], 16)
    spans = [line.split() for line in Path("/proc/self/uid_map").read_text().splitlines()]
    if any(int(first) + int(count) > UIDS_END for first, _, count in spans):
        return UIDS + block % ((UIDS_END - UIDS) // 100) * 100
    return 30_000 + block % 300 * 100


def _first(listen: str, count: int) -> int:
    """Find so many free ports in a row, that no other class has."""
    taken = {seat.port for name in names() for seat in known(name).seats}
    first = FIRST_PORT
    while first + count < 32_768:  # above, the kernel hands ports out
        busy = [p for p in range(first, first + count) if p in taken or not _free(listen, p)]
        if not busy:
            return first
        first = busy[-1] + 1
    raise LabBusy(f"there are no {count} free ports in a row", seen=listen, next="--port 20001")


def _free(listen: str, port: int) -> bool:
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind((listen, port))
        except OSError:
            return False
        return True


def room(place: Path) -> tuple[int, int]:
    """Read how many bytes of memory and of disk are to be had. Raises OSError."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    memory = next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable"))
    memory = min(memory, *_left(Path("/proc/self/cgroup").read_text()), memory)
    there = next(each for each in (place, *place.parents) if each.is_dir())
    about = os.statvfs(there)
    return memory, about.f_bavail * about.f_frsize


def _left(groups: str, top: Path = Path("/sys/fs/cgroup")) -> list[int]:
    """Read what memory the control groups above us leave (cgroups(7)), where one limits it.

    What can be had back at once, files read but not in use, counts as free.
    """
    found = []
    for line in groups.splitlines():
        _, kinds, path = line.split(":", 2)
        if kinds not in ("", "memory"):
            continue
        mount = top / kinds
        most, used = "memory.max", "memory.current"
        if kinds:
            most, used = "memory.limit_in_bytes", "memory.usage_in_bytes"
        folder = mount / path.lstrip("/")
        for group in (folder, *folder.parents):
            if not group.is_relative_to(mount):
                break
            with suppress(OSError, ValueError):  # the root has no limit, and "max" is none
                limit, taken = (int((group / name).read_text()) for name in (most, used))
                about = dict(map(str.split, (group / "memory.stat").read_text().splitlines()))
                found.append(limit - taken + int(about.get("inactive_file", 0)))
    return found


def fitting(count: int, running: int, place: Path) -> str:
    """Hold what so many seats need against what this server has, and say it. Raises Refused.

    Seats that run have their memory already.
    """
    memory, disk = room(place)
    more = count - running
    fit = running + min((memory - SHARED) // WORKING, disk // DISK)
    if more > 0 and fit < count:
        raise Refused(
            f"this server is too small for {count} seats; nothing was started",
            seen=f"{more} seats need {_mib(SHARED + more * WORKING)} of memory and"
            f" {_mib(more * DISK)} of disk; there are {_mib(memory)} and {_mib(disk)}",
            next=f"osawslab seats {fit}" if fit > 0 else "a larger server",
        )
    return f"{more} of {count} seats are to be started; {_mib(memory)} of memory are free"


def _mib(size: int) -> str:
    return f"{max(size, 0) >> 20} MiB"
