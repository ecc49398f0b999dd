"""What the journal keeps, and what it says when it was damaged."""

from __future__ import annotations

from pathlib import Path

import pytest

from osawslab.errors import RegionGone
from osawslab.region.journal import Entry, Journal

ENTRIES = [Entry(n, f"2026-09-07T22:30:0{n}", f"Action=A{n}", "") for n in (1, 2, 3)]


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    made = Journal(tmp_path / "journal")
    for entry in ENTRIES:
        made.append(entry)
    return made


def test_nothing_was_written_yet(tmp_path: Path) -> None:
    assert Journal(tmp_path / "journal").read() == []


def test_what_is_appended_is_read(journal: Journal) -> None:
    assert journal.read() == ENTRIES
    assert Journal(journal.path).read() == ENTRIES
    assert journal.path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("cut", range(1, 20))
def test_a_torn_last_line_was_never_answered(journal: Journal, cut: int) -> None:
    content = journal.path.read_bytes()
    journal.path.write_bytes(content[:-cut])
    assert journal.read() == ENTRIES[:2]
    journal.append(ENTRIES[2])  # what was torn does not stand before it
    assert journal.path.read_bytes() == content


@pytest.mark.parametrize(
    "line",
    [
        b"nonsense\n",
        b"\n",
        b"[1]\n",
        b'{"seq": 7, "time": "2026-09-07T22:30:02", "body": "Action=A2"}\n',
        b'{"seq": 2, "time": "yesterday", "body": "Action=A2"}\n',
        b'{"seq": 2, "time": "2026-09-07T22:30:02"}\n',
        b'{"seq": 2, "time": "2026-09-07T22:30:02", "body": "A=1", "more": 1}\n',
    ],
)
def test_a_damaged_line_is_said(journal: Journal, line: bytes) -> None:
    lines = journal.path.read_bytes().splitlines(keepends=True)
    journal.path.write_bytes(lines[0] + line + lines[2])
    with pytest.raises(RegionGone, match="damaged in line 2"):
        journal.read()


def test_a_failed_write_leaves_no_trace(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(descriptor: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="no space"):
        journal.append(Entry(4, "2026-09-07T22:30:04", "Action=A4", ""))
    monkeypatch.undo()
    assert journal.read() == ENTRIES
