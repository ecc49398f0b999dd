"""The virtual environment of a checkout: where it is, whether it is complete, how it is made.

Standard library only: `lab` makes the environment with this before anything is installed.
An environment is complete when its stamp says so; the stamp is written last. A lock on its
mark lets one process work on it at a time, and holds as long as a child of that process runs.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from osawslab.errors import MissingTool
from osawslab.region import offline
from osawslab.region.machine import cache

Say = Callable[[str], None]
CHECKOUT = Path(__file__).resolve().parent.parent
MARK = ".osawslab"  # only an environment that bears it is ever changed or removed
_APPUTILS = "@jupyterlab/apputils-extension:"
# JupyterLab starts without a question, and callbacks never run beside a cell (jupyterlab#19719).
JUPYTER = {
    _APPUTILS + "notification": {"fetchNews": "false", "checkForUpdates": False},
    _APPUTILS + "kernels-settings": {"commsOverSubshells": "disabled"},
}


@dataclass(frozen=True)
class Environment:
    """One folder that is, or may become, the environment of a checkout."""

    folder: Path
    checkout: Path = CHECKOUT

    @property
    def program(self) -> Path:
        """The `osawslab` command in it."""
        return self.folder / "bin" / "osawslab"

    @property
    def stamp(self) -> list[str]:
        """What a complete environment was made of; [] where it is not complete."""
        try:
            return (self.folder / "stamp").read_text().split()
        except (OSError, UnicodeDecodeError):
            return []

    def wanted(self, extras: str) -> list[str]:
        """Say what the stamp must be. `extras` is "test" or "-"."""
        # A moved checkout or another interpreter makes the paths in an environment wrong.
        python = (self.folder / "bin" / "python").resolve()
        made_of = f"{self.checkout}\0{python}".encode()
        packages = (self.checkout / "pyproject.toml").read_bytes()
        return [hashlib.sha256(data).hexdigest() for data in (made_of, packages)] + [extras]

    @property
    def usable(self) -> bool:
        """True when it was complete once and can be run, even if it is out of date now."""
        return bool(self.stamp) and os.access(self.program, os.X_OK)

    def current(self, extras: str) -> bool:
        """True when nothing is to be done before it runs."""
        return self.usable and self.stamp in (self.wanted(extras), self.wanted("test"))

    @property
    def ours(self) -> bool:
        """True when it may be made here: nothing is there, or what `lab` made."""
        names = os.listdir(self.folder) if self.folder.is_dir() else []
        return not names or MARK in names

    def lock(self, say: Say) -> int:
        """Wait until no other process works on it; return the open lock."""
        mark = self.folder / MARK
        while True:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = os.open(mark, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                say("another ./lab is setting up: waiting for it")
                fcntl.flock(lock, fcntl.LOCK_EX)
            if mark.exists() and os.path.samestat(mark.stat(), os.fstat(lock)):
                return lock
            os.close(lock)  # it was removed while we waited

    def make(self, extras: str, say: Say) -> None:
        """Make or renew it; what a killed run left is made anew."""
        lock = self.lock(say)
        try:
            if not self.current(extras):  # else made by the one we waited for
                self._make(extras, lock, say)
        finally:
            os.close(lock)

    def _make(self, extras: str, lock: int, say: Say) -> None:
        old = self.stamp
        (self.folder / "stamp").unlink(missing_ok=True)
        extras = "test" if "test" in old else extras
        if old[:1] != self.wanted(extras)[:1]:
            say(f"making the Python environment in {self.folder}")
            self._empty()
            python = os.path.realpath(sys.executable)
            _run(
                [python, "-m", "venv", str(self.folder)], lock, "a virtual environment was not made"
            )
        say("installing Python packages (about a minute)")
        what = f"{self.checkout}[test]" if extras == "test" else str(self.checkout)
        python = str(self.folder / "bin" / "python")
        _run(
            [python, "-m", "pip", "install", "-q", "-e", what],
            lock,
            "Python packages were not installed",
        )
        settings = self.folder / "share" / "jupyter" / "lab" / "settings"
        settings.mkdir(parents=True, exist_ok=True)
        (settings / "overrides.json").write_text(json.dumps(JUPYTER, indent=2))
        new = self.folder / "stamp.new"
        new.write_text(" ".join(self.wanted(extras)))
        new.rename(self.folder / "stamp")
        say("ready")

    def _empty(self) -> None:
        for entry in self.folder.iterdir():
            if entry.name == MARK:
                continue
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()

    def remove(self, say: Say) -> None:
        """Remove it, if `lab` made it."""
        if (self.folder / MARK).exists():
            lock = self.lock(say)
            try:
                shutil.rmtree(self.folder)
            finally:
                os.close(lock)


def places(checkout: Path = CHECKOUT) -> tuple[Environment, Environment]:
    """Give the two places of an environment: in the checkout, else (not ours) the cache."""
    name = "venv-" + hashlib.sha256(str(checkout).encode()).hexdigest()[:12]
    return Environment(checkout / ".venv", checkout), Environment(cache() / name, checkout)


def current(extras: str) -> Environment | None:
    """Find the environment that needs no work."""
    return next((place for place in places() if place.current(extras)), None)


def usable() -> Environment | None:
    """Find an environment that can run, even one that is out of date."""
    return next((place for place in places() if place.usable), None)


def set_up(extras: str, say: Say) -> Environment:
    """Make or renew the environment in the best place, and return it."""
    first, second = places()
    writable = os.access(first.checkout, os.W_OK) and (
        not first.folder.exists() or os.access(first.folder, os.W_OK)
    )
    place = first if writable and first.ours else second
    place.make(extras, say)
    return place


def _run(command: Sequence[str], lock: int, what: str) -> None:
    environ = dict(os.environ, PIP_USER="0", PIP_DISABLE_PIP_VERSION_CHECK="1", NO_COLOR="1")
    environ |= offline.pip()
    for name in ("PYTHONPATH", "PYTHONHOME", "PIP_TARGET", "PIP_PREFIX"):
        environ.pop(name, None)
    result = subprocess.run(
        command,
        env=environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        pass_fds=[lock],
    )
    if result.returncode:
        lines = [line.strip() for line in (result.stdout + result.stderr).splitlines()]
        # pip says what it met as "ERROR: …"; a build inside it says "error: …" around that.
        errors = [line for line in lines if line.startswith("ERROR:")]
        errors = errors or [line for line in lines if line.lower().startswith("error")]
        disk = os.fstatvfs(lock)
        raise MissingTool(
            what,
            seen=f"{(errors or lines or ['nothing'])[-1]}"
            f" ({disk.f_bavail * disk.f_frsize // 2**20} MiB free)",
            next=offline.advice()
            or "look at the network and the free space, then ./lab again: it goes on from here",
        )
