"""The offline folder: what a set-up downloads, brought along.

`./lab fetch --offline` makes a copy of the checkout with a folder `offline` in it; where there is
one, the set-up takes everything from it and asks no network. Standard library only, so that
`lab` can use it before anything is installed.

`wheels/`: Python packages. `debs/`: Debian packages with all that they need, as an apt archive.
`images/`: whole operating systems as tar files. `about.json` is written last.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from osawslab.errors import StepFailed

CHECKOUT = Path(__file__).resolve().parents[2]
NAME = "offline"
# Overlay's whiteouts, opaque folders, owners and setuid bits are a part of an image.
TAR = ("tar", "--numeric-owner", "--xattrs", "--xattrs-include=*", "--sparse")


def folder() -> Path | None:
    """Find the offline folder of this checkout; None where there is none, or half of one."""
    found = CHECKOUT / NAME
    return found if (found / "about.json").is_file() else None


def about() -> dict[str, Any]:
    """Say what the offline folder was made for; {} where there is none."""
    found = folder()
    return dict(json.loads((found / "about.json").read_text())) if found else {}


def pip() -> Mapping[str, str]:
    """Give the environment with which pip takes wheels from the folder and asks no index."""
    found = folder()
    return {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(found / "wheels")} if found else {}


def advice() -> str:
    """Say what the folder was made for, and what to do; "" where there is none."""
    told = about()
    if not told:
        return ""
    return (
        f"this folder is for Python {told['python']} on {told['system']}: elsewhere make another"
        " with ./lab fetch --offline, or remove its folder `offline` to use the network"
    )


def archive(work: Path, debs: Path) -> tuple[str, ...]:
    """Write apt's list of sources for a folder of packages, and give the options that use it.

    apt then knows no others, and keeps what it reads in `work`: the machine's lists are as before.
    """
    (work / "lists" / "partial").mkdir(parents=True, exist_ok=True)
    # Whoever brought the folder brought the code too: a signature would prove nothing more.
    (work / "sources.list").write_text(f"deb [trusted=yes] file:{debs} ./\n")
    return (
        *("-o", f"Dir::Etc::SourceList={work / 'sources.list'}"),
        *("-o", "Dir::Etc::SourceParts=-"),
        *("-o", f"Dir::State::Lists={work / 'lists'}"),
        *("-o", "APT::Sandbox::User=root"),
    )


def images(wanted: str = "*") -> list[Path]:
    """List the tar files of images' folders, by name."""
    found = folder()
    return sorted((found / "images").glob(f"{wanted}.tar")) if found else []


def pack(tree: Path, target: Path) -> None:
    """Pack an image's folder, whole or not at all. Needs root. Raises StepFailed."""
    part = target.with_name(target.name + ".part")
    _tar(["--create", "--file", str(part), "--exclude=./users", "--directory", str(tree), "."])
    part.replace(target)


def unpack(packed: Path, tree: Path) -> None:
    """Unpack an image's folder into a new one. Needs root. Raises StepFailed."""
    tree.mkdir(mode=0o700)
    _tar(["--extract", "--preserve-permissions", "--file", str(packed), "--directory", str(tree)])


def _tar(words: list[str]) -> None:
    environ = {**os.environ, "LC_ALL": "C"}
    done = subprocess.run(
        [*TAR, *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, env=environ,
        check=False,
    )  # fmt: skip
    if done.returncode:
        raise StepFailed(
            "an image could not be packed or unpacked",
            seen=(done.stderr.strip().splitlines() or [f"tar ended with {done.returncode}"])[-1],
            next="make room, or let XDG_CACHE_HOME name a folder with room, then the same again",
        )
