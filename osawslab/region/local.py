"""The local region from outside: start it, find it, ask it, end it.

State that lasts lies in `$XDG_STATE_HOME/osawslab/<lab>` (0700): the journal, the disks, the
keys. Whether the region lives is told by a lock that its processes hold: the kernel gives it
back however they end.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from osawslab.errors import LabBusy, LabTimeout, NoPlaceToRun, Refused, writing
from osawslab.region import fork, machine, tier
from osawslab.region.client import Region as Region
from osawslab.region.client import exchange
from osawslab.region.folders import (
    hand_over,
    private_folder,
    runtime_folder,
    state_folder,
    write_whole,
)
from osawslab.region.folders import state_home as state_home

START_SECONDS = 60.0
KERNEL = "linux.uml"  # the program that User-Mode Linux is
END_SECONDS = 10.0


@contextlib.contextmanager
def _starting(name: str) -> Iterator[None]:
    """Let one process at a time start or end a region."""
    path = private_folder(state_folder(name)) / "starting"
    with path.open("w") as file:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise LabBusy(
                        f"another process has been starting lab {name!r} for a minute",
                        seen=str(path),
                        next="osawslab down",
                    ) from None
                time.sleep(0.02)
        yield


def _locked(name: str) -> bool:
    """Say whether a region of this lab lives. Those who look stand in nobody's way: LOCK_SH."""
    try:
        with (state_folder(name) / "alive").open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    return False


def find(name: str) -> Region | None:
    """Find the running region of a lab, or None."""
    if not _locked(name):
        return None
    try:
        return Region(**json.loads((runtime_folder(name) / "region.json").read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def ensure(
    name: str, region: str = "us-east-1", *, whole: bool = False, releases: Sequence[str] = ("13",)
) -> Region:
    """Find the region of a lab or start it: the same EC2 state as before, instances rebooted.

    With `whole` the lab's new instances are whole operating systems from now on. That needs
    root, and an image of each of the Debian `releases`, which is made if need be.
    """
    with writing(state_folder(name)):
        found = _fit(name, whole)
        if found:
            return found
        if whole:
            from osawslab.region import ground

            ground.lay(name, releases)
        with _starting(name):
            found = _fit(name, whole)
            if found:
                return found
            _end_processes(name)
            return _start(name, region)


def _fit(name: str, whole: bool) -> Region | None:
    found = find(name)
    if found and found.whole:
        from osawslab.region import ground

        ground.open_mirror(name)
    return found if found and (found.whole or not whole) else None


def _keys(folder: Path) -> dict[str, str]:
    path = folder / "keys.json"
    if path.exists():
        return dict(json.loads(path.read_text()))
    made = {
        "access_key": "LAB" + secrets.token_hex(8).upper() + "0",
        "secret_key": secrets.token_urlsafe(30),
    }
    write_whole(path, json.dumps(made))
    return made


def _start(name: str, region: str) -> Region:
    folder, runtime = state_folder(name), runtime_folder(name)
    private_folder(runtime.parent)
    private_folder(runtime)
    whole = (folder / "whole").exists()
    if whole:
        from osawslab.region import cgroup, ground

        chosen = ground.place()
    else:
        chosen, _ = tier.choose()
    keys = _keys(folder)
    with contextlib.ExitStack() as ours:
        alive = (folder / "alive").open("w")
        ours.enter_context(alive)
        fcntl.flock(alive, fcntl.LOCK_EX)  # at most somebody looks just now
        log = ours.enter_context((folder / "region.log").open("ab"))
        api = ours.enter_context(socket.socket())
        api.bind(("127.0.0.1", 0))
        api.listen(64)
        control = ours.enter_context(socket.socket(socket.AF_UNIX))
        (runtime / "control").unlink(missing_ok=True)
        control.bind(str(runtime / "control"))
        (runtime / "control").chmod(0o600)
        control.listen(64)
        reader, writer = os.pipe()
        told = ours.enter_context(os.fdopen(reader))
        order = {
            "name": name,
            "region": region,
            "journal": str(folder / "journal"),
            "disks": str(folder / "disks"),
            "unpacked": str(machine.unpacked()) if machine.unpacked().is_dir() else "",
            "whole": cgroup.name(name) if whole else "",
            "api_fd": api.fileno(),
            "control_fd": control.fileno(),
            "ready_fd": writer,
            **keys,
        }
        given = ours.enter_context(tempfile.TemporaryFile("w+"))  # keys are no arguments
        given.write(json.dumps(order))
        given.seek(0)
        _launch(chosen, given, log, (api.fileno(), control.fileno(), writer, alive.fileno()))
        os.close(writer)
        port = api.getsockname()[1]
        pid = _ready(told, folder / "region.log", START_SECONDS * tier.SLOWNESS.get(chosen, 1))
    made = Region(
        name, f"http://127.0.0.1:{port}", region, tier=chosen, pid=pid, whole=whole, **keys
    )
    write_whole(runtime / "region.json", json.dumps(vars(made)))
    if whole:
        ground.open_mirror(name)
    hand_over(name)
    return made


def _launch(chosen: str, given: IO[str], log: IO[bytes], descriptors: tuple[int, ...]) -> None:
    """Start the region's process; the third descriptor is told its pid."""
    path = os.environ.get(fork.SOCKET)
    if path and chosen == "userns":  # in a seat of a class, who has it all imported
        order = {"do": "region", "env": _environment(), "numbers": (0, 1, 2, *descriptors)}
        fork.ask(path, order, (given.fileno(), log.fileno(), log.fileno(), *descriptors))
        return
    # setsid forks: nobody's child, so Ctrl-C and the end of the caller do not reach it.
    subprocess.run(
        ["setsid", "--fork", "sh", "-c", f'echo $$ > /proc/self/fd/{descriptors[2]}; exec "$@"',
         "sh", *tier.arguments(chosen), sys.executable, "-P", "-m", "osawslab.region.process"],
        pass_fds=descriptors, stdin=given, stdout=log, stderr=log, cwd="/", env=_environment(),
        check=True,
    )  # fmt: skip


def _environment() -> dict[str, str]:
    """Give the region only what it needs: no AWS keys, no proxies of the caller's."""
    kept = ("HOME", "LANG", "TZ", "TMPDIR", "XDG_CACHE_HOME", "XDG_STATE_HOME", "PYTHONPATH")
    given = {key: os.environ[key] for key in kept if key in os.environ}
    return {**given, "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}


def _ready(told: Any, log: Path, seconds: float) -> int:
    """Wait until the region says that it is ready; the pid of its first process."""
    deadline = time.monotonic() + seconds
    said = ""
    while "ready\n" not in said:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([told], [], [], left)[0]:
            raise LabTimeout(f"the local region is not up after {seconds:.0f} s", seen=str(log))
        part = os.read(told.fileno(), 4096).decode()
        said += part
        if not part:
            last = log.read_text(errors="replace").strip().splitlines()[-3:]
            words = [line for line in said.splitlines() if line.startswith("error: ")] or last
            raise NoPlaceToRun(
                "the local region did not start",
                seen=" / ".join(words) or "it ended without a word",
                next=f"read {log}; osawslab doctor",
            )
    return int(said.split()[0])


def stop(name: str) -> bool:
    """End the region's processes; its state stays. True when there was one."""
    if not state_folder(name).is_dir():
        return False
    with _starting(name):
        return _end_processes(name)


def _end_processes(name: str) -> bool:
    path = runtime_folder(name) / "region.json"
    lived = _locked(name)
    if lived:
        _settle(name)
    deadline = time.monotonic() + END_SECONDS
    while _locked(name):
        if _somebody_elses(path):
            raise Refused(
                f"the region of lab {name!r} is not yours to end",
                seen="its processes belong to another user, most likely to root",
                next="sudo ./lab down",
            )
        # One that dies already shows no open files any more, and still closes them.
        if not _kill(name) and time.monotonic() > deadline:
            raise LabTimeout(f"the region of lab {name!r} does not end", next="osawslab doctor")
        time.sleep(0.002)
    if (state_folder(name) / "whole").exists():
        from osawslab.region import ground

        ground.clear(name)
    path.unlink(missing_ok=True)
    (path.parent / "control").unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        path.parent.rmdir()
        path.parent.parent.rmdir()
    return lived


def _settle(name: str) -> None:
    """Have a kernel of the region's own write its disks, before it is killed."""
    found = find(name)
    if found and found.tier == "uml":
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as client:
            client.settimeout(END_SECONDS)
            order = {"do": "execute", "place": "internet", "argv": ["sync"]}
            exchange(client, name, order)


def _somebody_elses(path: Path) -> bool:
    """Say whether a running region, by what it wrote of itself, is another user's."""
    with contextlib.suppress(OSError, ValueError, KeyError):
        pid = int(json.loads(path.read_text())["pid"])
        return os.geteuid() not in (0, Path(f"/proc/{pid}").stat().st_uid)
    return False


def _kill(name: str) -> int:
    """Kill those that hold the lab's lock, and wait until they are gone. How many there were.

    They are read from the kernel (proc_pid_fdinfo(5), `lock`), so a half-started region ends too,
    and a process that only looks whether one lives (a lock to READ) is left alone. A kernel's
    helpers, which may hold nothing, are of its group; who they are is known before one is killed.
    """
    about = (state_folder(name) / "alive").stat()
    with contextlib.ExitStack() as watches:
        killed, kernels = [], set()
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError, PermissionError):
                if entry.name.isdecimal() and _holds(entry, about):
                    killed.append(os.pidfd_open(int(entry.name)))
                    watches.callback(os.close, killed[-1])
                    if (entry / "exe").readlink().name == KERNEL:
                        kernels.add(os.getpgid(int(entry.name)))
        for each in killed:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                signal.pidfd_send_signal(each, signal.SIGKILL)
        for group in kernels - {os.getpgrp()}:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(group, signal.SIGKILL)
        deadline = time.monotonic() + END_SECONDS
        for watch in killed:
            if not select.select([watch], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise LabTimeout(f"the region of lab {name!r} does not end", next="osawslab doctor")
        return len(killed)


def _holds(process: Path, about: os.stat_result) -> bool:
    for descriptor in (process / "fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            held = descriptor.stat()
            if (held.st_dev, held.st_ino) == (about.st_dev, about.st_ino):
                lock = (process / "fdinfo" / descriptor.name).read_text()
                if "FLOCK" in lock and "WRITE" in lock:
                    return True
    return False


def remove(name: str) -> bool:
    """End a region and forget everything it was. True when there was anything."""
    folder = state_folder(name)
    if not folder.is_dir():
        return False
    stop(name)
    try:
        shutil.rmtree(folder)
    except PermissionError as error:
        raise Refused(
            f"the state of lab {name!r} is not yours to remove",
            seen=str(error),
            next="sudo ./lab down",
        ) from None
    with contextlib.suppress(OSError):
        folder.parent.rmdir()
    return True
