"""The regions that a lab has been in: a note on disk, for EC2 cannot be asked for all at once.

It is only a help: the settings' region is looked at without it.
"""

from __future__ import annotations

from pathlib import Path

from osawslab.keys import keep


def _file(folder: Path) -> Path:
    return folder / "regions"


def used(folder: Path) -> tuple[str, ...]:
    """List the regions noted in the lab's folder, the oldest first."""
    try:
        return tuple(_file(folder).read_text().split())
    except FileNotFoundError:
        return ()


def note(folder: Path, region: str) -> None:
    """Note a region before anything is made in it."""
    known = used(folder)
    if region not in known:
        keep(_file(folder), "\n".join((*known, region)) + "\n")
