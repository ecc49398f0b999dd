"""The control groups of whole instances: one for each boot, in every hierarchy that matters.

A group is named "<lab>/<boot>", below the root of each hierarchy: so whoever cleans up after a
region that died finds it by the lab's name alone.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from pathlib import Path

from osawslab.region.folders import runtime_folder

ROOT = Path("/sys/fs/cgroup")
END_SECONDS = 10.0


def name(lab: str) -> str:
    """Name the folder of a lab's groups; as long as its sockets' folder, and as private."""
    return f"osawslab-{runtime_folder(lab).name}"


def hierarchies() -> tuple[Path, ...]:
    """Give the mount points: cgroup2's, or what systemd-nspawn and we use of version 1."""
    if (ROOT / "cgroup.controllers").exists():
        return (ROOT,)
    return tuple(ROOT / kind for kind in ("unified", "systemd", "memory") if (ROOT / kind).is_dir())


def make(group: str) -> None:
    """Make a group; its memory is counted where the machine lets it."""
    for top in hierarchies():
        folder = top / group
        folder.mkdir(parents=True, exist_ok=True)
        for above in (top, folder.parent):
            with contextlib.suppress(OSError):  # a machine may not have given the controller away
                (above / "cgroup.subtree_control").write_text("+memory")


def enter(group: str) -> None:
    """Put this process into a group."""
    for top in hierarchies():
        (top / group / "cgroup.procs").write_text("0")


def _folders(group: str) -> list[Path]:
    """List the folders of a group and of those below; some may vanish meanwhile."""
    return [Path(each[0]) for top in hierarchies() for each in os.walk(top / group, topdown=False)]


def processes(group: str) -> set[int]:
    """List the processes in a group and below, as this pid namespace numbers them."""
    found = set()
    for folder in _folders(group):
        with contextlib.suppress(OSError):
            found |= set(map(int, (folder / "cgroup.procs").read_text().split()))
    return found - {0}  # 0: outside of this pid namespace


def end(group: str) -> None:
    """Kill what is in a group, wait until it is gone, remove the group. Raises TimeoutError."""
    deadline = time.monotonic() + END_SECONDS
    while True:
        with contextlib.ExitStack() as watches:
            killed = []
            for pid in processes(group):
                with contextlib.suppress(ProcessLookupError):
                    killed.append(os.pidfd_open(pid))
                    watches.callback(os.close, killed[-1])
                    signal.pidfd_send_signal(killed[-1], signal.SIGKILL)
            for watch in killed:
                select.select([watch], [], [], 0.2)
        try:
            return remove(group)
        except OSError as error:  # EBUSY: somebody came in, or is not quite gone
            if time.monotonic() > deadline:
                raise TimeoutError(f"the processes of {group} do not end: {error}") from error
            time.sleep(0.005)


def remove(group: str) -> None:
    """Remove a group that nobody is in, and those below. Raises OSError when somebody is."""
    for folder in _folders(group):
        with contextlib.suppress(FileNotFoundError):
            folder.rmdir()


def used(group: str) -> int | None:
    """Give the memory in bytes that a group could not do without; None where nobody counts.

    Its working set, as kubelet and `docker stats` count it: all, less the page cache that nobody
    has touched again (`inactive_file`), which the kernel gives to whoever needs memory.
    """
    for top in hierarchies():
        for file, prefix in (("memory.current", ""), ("memory.usage_in_bytes", "total_")):
            with contextlib.suppress(OSError):
                every = int((top / group / file).read_text())
                lines = (top / group / "memory.stat").read_text().splitlines()
                stat = dict(line.split() for line in lines)
                return every - int(stat[f"{prefix}inactive_file"])
    return None
