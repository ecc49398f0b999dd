"""What a lab with whole instances stands on outside of its region: images, mirror, groups.

That a lab's instances are whole is told by the file `whole` in its state.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from osawslab.errors import LabTimeout, NoPlaceToRun
from osawslab.region import baked, cgroup, rootfs, tier
from osawslab.region.folders import private_folder, state_folder

END_SECONDS = 10.0
_TRY = 'mkdir "$1/l" "$1/u" "$1/w" "$1/m" && mount -t overlay -o lowerdir="$1/l",upperdir="$1/u",\
workdir="$1/w" none "$1/m"'


def wanted(name: str) -> bool:
    """Say whether new instances of a lab are whole."""
    return (state_folder(name) / "whole").exists()


def lay(name: str, releases: Sequence[str]) -> None:
    """Make what whole instances of these Debian releases need; the lab has them from now on.

    Raises NoPlaceToRun, MissingTool or StepFailed; then the lab is as before.
    """
    place()
    for release in releases:
        rootfs.make(release)
    baked.bring()
    folder = private_folder(state_folder(name))
    _overlay(folder)
    _groups(name)
    (folder / "whole").touch(mode=0o600)


def place() -> str:
    """Give the tier in which whole instances run; NoPlaceToRun where this machine refuses it."""
    if os.geteuid():
        raise NoPlaceToRun(
            "an instance that is a whole operating system needs root",
            seen=f"uid {os.geteuid()}",
            next="sudo ./lab start",
        )
    return tier.choose([("OSAWSLAB_TIER", "root")])[0]


def _groups(name: str) -> None:
    """Try whether control groups can be made."""
    try:
        cgroup.make(cgroup.name(name))
    except OSError as error:
        raise NoPlaceToRun(
            "this machine lets no control groups be made for whole instances",
            seen=str(error),
            next="use a virtual machine, or a container with a writable /sys/fs/cgroup",
        ) from None


def _overlay(folder: Path) -> None:
    """Try whether the lab's state can be the upper part of an overlay."""
    with tempfile.TemporaryDirectory(dir=folder, prefix=".try-") as work:
        words = ["unshare", "--mount", "sh", "-c", _TRY, "sh", work]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode:
            raise NoPlaceToRun(
                f"the file system of {folder} carries no disks of whole instances",
                seen=done.stderr.strip(),
                next="export XDG_STATE_HOME=/some/folder/on/ext4/or/xfs",
            )


@contextlib.contextmanager
def _mirror_lock(name: str) -> Iterator[IO[str] | None]:
    """Take the lock that the lab's mirror holds while it runs; None where it runs."""
    with (state_folder(name) / "mirror").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
        else:
            yield file


def open_mirror(name: str) -> None:
    """Start the mirror of a lab whose region runs, unless it runs; nobody but root can."""
    if os.geteuid():
        return
    with _mirror_lock(name) as lock, (state_folder(name) / "mirror.log").open("ab") as log:
        if lock is not None:  # the mirror inherits it, and with it the lock
            words = [sys.executable, "-P", "-m", "osawslab.region.mirror", name]
            subprocess.run(
                ["setsid", "--fork", *words], pass_fds=(lock.fileno(),),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", check=True,
            )  # fmt: skip


def _mirror_runs(name: str) -> bool:
    with _mirror_lock(name) as lock:
        return lock is None


def clear(name: str) -> None:
    """Take away what a region that has ended left: its mirror ends by itself, its groups do not."""
    if os.geteuid():  # nothing of this is an ordinary user's
        return
    deadline = time.monotonic() + END_SECONDS
    while _mirror_runs(name):
        if time.monotonic() > deadline:
            raise LabTimeout(f"the mirror of lab {name!r} does not end", next="osawslab doctor")
        time.sleep(0.01)
    with contextlib.suppress(FileNotFoundError):
        cgroup.end(cgroup.name(name))
