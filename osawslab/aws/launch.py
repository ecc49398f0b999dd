"""What a launch was asked with, kept on disk until its instance is seen; then when that ends.

A new secret in the user data makes every launch another request, and EC2 refuses another request
with the same token. So the same secret is sent when the same launch is asked for again.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from osawslab.aws import ending
from osawslab.aws.userdata import user_data
from osawslab.keys import keep


@dataclass(frozen=True)
class Asked:
    """What makes a launch this one: its user data, and when its instance ends itself."""

    user_data: str
    end: datetime | None


SAME = timedelta(minutes=5)  # ends of one launch, asked for again and again


def _file(folder: Path) -> Path:
    return folder / "launch.json"


def _end_file(folder: Path) -> Path:
    return folder / "end.json"


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):  # never written, or not whole
        return {}
    return found if isinstance(found, dict) else {}


def asked_with(folder: Path, token: str, end: datetime | None) -> Asked:
    """Give what the launch with this token was asked with; anew, where another end is meant now.

    Should that launch have been carried out after all, EC2 says that the token was used with other
    parameters, and shows the instance by its token.
    """
    asked = _read(_file(folder))
    if asked.get("token") == token:
        before = ending.read(str(asked.get("end", "")))
        if before is end or (before and end and abs(before - end) < SAME):
            return Asked(str(asked["user data"]), before)
    data = user_data(end)
    kept = {"token": token, "user data": data, "end": ending.text(end)}
    keep(_file(folder), json.dumps(kept))
    return Asked(data, ending.read(ending.text(end)))


def forget(folder: Path) -> None:
    """Forget the launch: its instance is there, and EC2 has its user data."""
    _file(folder).unlink(missing_ok=True)


def note_end(folder: Path, instance: str, end: datetime | None) -> None:
    """Keep when an instance ends itself: EC2 forgets it an hour after that."""
    keep(_end_file(folder), json.dumps({"instance": instance, "end": ending.text(end)}))


def noted_end(folder: Path) -> dict[str, Any]:
    """Read what was kept of the end: `instance`, and `end` in ISO 8601; {} for nothing."""
    return _read(_end_file(folder))
