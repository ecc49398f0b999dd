"""What a launch was asked with, kept on disk until its instance is seen.

A new secret in the user data makes every launch another request, and EC2 refuses another request
with the same token. So the same secret is sent when the same launch is asked for again.
"""

from __future__ import annotations

import json
from pathlib import Path

from osawslab.aws.userdata import user_data
from osawslab.keys import keep


def _file(folder: Path) -> Path:
    return folder / "launch.json"


def asked_with(folder: Path, token: str) -> str:
    """Give the user data of the launch with this token: as asked before, or with a new secret."""
    try:
        asked = json.loads(_file(folder).read_text())
    except (FileNotFoundError, ValueError):  # never asked
        asked = {}
    if asked.get("token") == token:
        return str(asked["user data"])
    data = user_data()
    keep(_file(folder), json.dumps({"token": token, "user data": data}))
    return data


def forget(folder: Path) -> None:
    """Forget the launch: its instance is there, and EC2 has its user data."""
    _file(folder).unlink(missing_ok=True)
