"""What a learner's record says is summed up, and a record that is none harms nobody."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from osawslab.classroom import progress
from osawslab.classroom.progress import Progress
from osawslab.errors import StepFailed
from osawslab.report import Check
from osawslab.steps import record

NAME = "record"


def write(home: Path, *lines: object) -> Progress:
    """Write a record and read it."""
    (home / NAME).write_text("".join(f"{json.dumps(each)}\n" for each in lines))
    return progress.read(home, NAME)


def done(did: str, step: str, ok: bool = True, what: str = "") -> dict[str, object]:
    return {"at": int(time.time()), "did": did, "step": step, "ok": ok, "what": what}


@pytest.mark.parametrize(
    ("lines", "step", "told", "hints"),
    [
        ([], "", "-", 0),
        ([done("run", "provision")], "provision", "provision: holds", 0),
        ([done("run", "provision"), done("hint", "networks"), done("hint", "networks")],
         "provision", "provision: holds", 2),
        ([done("run", "swap_mac"), done("check", "verify", False, "ping")],
         "swap_mac", "verify: ping", 0),
        ([done("run", "swap_mac"), done("reset", "networks")], "provider_nic", "swap_mac: holds",
         0),
        ([done("run", "verify"), done("run", "tear_down")], "", "tear_down: holds", 0),
    ],
)  # fmt: skip
def test_a_record_is_summed_up(
    tmp_path: Path, lines: list[object], step: str, told: str, hints: int
) -> None:
    found = write(tmp_path, *lines)
    assert (found.step, found.told, sum(found.hints.values())) == (step, told, hints)


def test_the_last_word_of_an_exercise_counts(tmp_path: Path) -> None:
    found = write(
        tmp_path,
        done("exercise", "router", False, "0 of 1, 0 hints, broken"),
        done("exercise", "router", True, "1 of 1, 2 hints, done"),
        done("exercise", "../etc", True, "nothing"),
    )
    assert found.exercise == "router: 1 of 1, 2 hints, done"
    assert found.step == ""


@pytest.mark.parametrize(
    "line",
    [7, [], {"did": "run"}, {**done("run", "provision"), "at": 1e300}, done("run", "../../etc"),
     {**done("run", "provision"), "at": "soon"}, "[" * 100_000],
)  # fmt: skip
def test_what_is_no_line_of_a_record_is_left_out(tmp_path: Path, line: object) -> None:
    assert write(tmp_path, line) == Progress()


def test_what_a_learner_writes_is_no_command_to_the_trainers_terminal(tmp_path: Path) -> None:
    found = write(tmp_path, done("check", "verify", False, "\x1b[2J" + "x" * 500))
    assert "\x1b" not in found.told
    assert len(found.told) < 80


def test_a_link_a_pipe_or_a_folder_in_the_place_of_a_record_counts_as_none(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text(json.dumps(done("check", "verify", False, "secret")))
    homes = [tmp_path / name for name in ("link", "pipe", "folder", "linked")]
    for home in homes[:3]:
        home.mkdir()
    (homes[0] / NAME).symlink_to(secret)
    os.mkfifo(homes[1] / NAME)
    (homes[2] / NAME).mkdir()
    homes[3].symlink_to(homes[0])
    assert [progress.read(home, NAME) for home in homes] == [Progress()] * 4


def test_steps_write_the_record_only_where_one_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(record.FILE, raising=False)
    record.note("hint", "provision")
    monkeypatch.setenv(record.FILE, str(tmp_path / NAME))
    with record.noting("run", "provision") as noted:
        noted([Check("SSH", "answers", "silent", False, "")])
    with pytest.raises(StepFailed), record.noting("check", "networks"):
        raise StepFailed("no router")
    found = progress.read(tmp_path, NAME)
    assert (found.step, found.told) == ("", "networks: no router")
    assert (tmp_path / NAME).stat().st_mode & 0o077 == 0


def test_a_full_disk_does_not_stop_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(record.FILE, "/dev/full")
    record.note("hint", "provision")
