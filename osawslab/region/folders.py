"""Where a lab's files are, whose they are, and how they are written.

Under sudo the region is root's, and what it leaves is the caller's: `OSAWSLAB_OWNER=uid:gid`,
set by the script `lab`, says who that is.
"""

from __future__ import annotations

import os
import stat
from hashlib import sha256
from pathlib import Path

from osawslab.errors import NoPlaceToRun


def owner() -> tuple[int, int] | None:
    """Give uid and gid of the caller that root works for; None where we work for ourselves."""
    uid, _, gid = os.environ.get("OSAWSLAB_OWNER", "").partition(":")
    if os.geteuid() != 0 or not (uid.isdecimal() and gid.isdecimal()) or int(uid) == 0:
        return None
    return int(uid), int(gid)


def user() -> int:
    """Give the uid whose lab this is."""
    caller = owner()
    return caller[0] if caller else os.getuid()


def state_home() -> Path:
    """Give the folder that holds every lab's state."""
    home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state"
    return Path(home) / "osawslab"


def state_folder(name: str) -> Path:
    """Give a lab's state folder."""
    return state_home() / name


def runtime_folder(name: str) -> Path:
    """Give a lab's folder for sockets: short, since a socket's path has 107 bytes at most."""
    base = os.environ.get("XDG_RUNTIME_DIR")
    parent = Path(base) / "osawslab" if base else Path(f"/tmp/osawslab-{user()}")
    return parent / sha256(str(state_folder(name)).encode()).hexdigest()[:12]


def private_folder(path: Path) -> Path:
    """Make a folder that only this user can read; refuse one that somebody else made."""
    missing = [each for each in (path, *path.parents) if not each.exists()]
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        about = path.stat()
    except OSError as error:
        raise NoPlaceToRun(
            f"the folder {path} cannot be made",
            seen=str(error),
            next="export XDG_STATE_HOME=/some/folder/of/yours",
        ) from None
    if about.st_uid not in (os.getuid(), user()):
        raise NoPlaceToRun(
            f"the folder {path} belongs to somebody else",
            seen=f"uid {about.st_uid}",
            next="export XDG_RUNTIME_DIR=/some/folder/of/yours",
        )
    if stat.S_IMODE(about.st_mode) & 0o077:
        path.chmod(0o700)
    for made in missing:
        give(made)
    return path


def shared_folder(path: Path) -> Path:
    """Make a folder outside of the state; what has to be made of it is the caller's."""
    missing = [each for each in (path, *path.parents) if not each.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for made in missing:
        give(made)
    return path


def write_whole(path: Path, text: str, mode: int = 0o600) -> None:
    """Write a file whole or not at all; nobody else can read it unless `mode` says so."""
    part = path.with_name(path.name + ".part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    part.replace(path)


def give(path: Path) -> None:
    """Make a file the caller's, where root works for one."""
    caller = owner()
    if caller:
        os.chown(path, *caller, follow_symlinks=False)


def hand_over(name: str) -> None:
    """Make a lab's files the caller's, so that it goes on without root.

    What is inside a folder of the state stays root's: the disks are as the instances see them.
    """
    for folder in (state_folder(name), runtime_folder(name)):
        if owner() and folder.is_dir():
            for path in (folder.parent, folder, *folder.iterdir()):
                give(path)
