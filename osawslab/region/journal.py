"""Keep every accepted change on disk, one JSON line each, before it is answered."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from osawslab.errors import RegionGone


@dataclass(frozen=True)
class Entry:
    """One accepted call: its number (from 1), its time (UTC, ISO 8601), its form body.

    `asked` is a digest of what the client sent, before anything was chosen for it.
    """

    seq: int
    time: str
    body: str
    asked: str = ""

    @property
    def when(self) -> datetime:
        """Give the time without a zone, as moto's models keep it."""
        return datetime.fromisoformat(self.time)


class Journal:
    """An append-only file of entries. A last line without its newline was never answered."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> list[Entry]:
        """Read every entry, and cut off a torn last line; a bad line elsewhere is RegionGone."""
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return []
        whole = content.rfind(b"\n") + 1
        entries = []
        for number, line in enumerate(content[:whole].splitlines(), 1):
            try:
                entry = Entry(**json.loads(line))
                valid = entry.seq == number and bool(entry.when) and bool(entry.body)
            except (ValueError, TypeError):
                valid = False
            if not valid:
                raise RegionGone(
                    f"the region's journal is damaged in line {number}",
                    seen=f"{self.path}: {line[:80]!r}",
                    next="./lab down --purge, and begin anew",
                )
            entries.append(entry)
        if whole < len(content):
            os.truncate(self.path, whole)
        return entries

    def append(self, entry: Entry) -> None:
        """Write an entry and wait until it is on disk; a failed write leaves no trace."""
        created = not self.path.exists()
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        line = json.dumps(asdict(entry)).encode() + b"\n"
        with open(self.path, "ab", buffering=0, opener=_private) as file:
            end = file.seek(0, os.SEEK_END)
            try:
                if file.write(line) != len(line):
                    raise OSError(f"{self.path}: a line was written in part, so the disk is full")
                os.fsync(file.fileno())
            except OSError:
                file.truncate(end)
                raise
        if created:
            folder = os.open(self.path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)


def _private(path: str, flags: int) -> int:
    """Open a file that only its owner may read: user data is in it."""
    return os.open(path, flags, 0o600)
