"""A class on this server is drawn up once: its seats keep their addresses."""

from __future__ import annotations

import os
import socket
from collections import namedtuple
from pathlib import Path

import pytest

from osawslab.classroom import book, lesson
from osawslab.errors import BadSetting, NoPlaceToRun, Refused, StepNotReady
from osawslab.seats import named

Disk = namedtuple("Disk", "f_bavail f_frsize")


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("STATE_HOME", "RUNTIME_DIR"):
        monkeypatch.setenv(f"XDG_{name}", str(tmp_path / name))


def test_seats_keep_their_port_and_token_and_new_ones_come_behind() -> None:
    first = book.draw("a", named("a", 2), ["Ada"], "", None)
    book.write(first)
    more = book.draw("a", named("a", 3), ["Ada", "Bob"], "", None)
    assert [s.port for s in more.seats] == list(range(first.seats[0].port, more.seats[2].port + 1))
    assert [s.token for s in more.seats[:2]] == [s.token for s in first.seats]
    assert len({s.token for s in more.seats} | {s.uid for s in more.seats}) == 6
    assert [s.learner for s in more.seats] == ["Ada", "Bob", ""]
    assert (book.folder("a") / "class.json").stat().st_mode & 0o077 == 0
    with pytest.raises(BadSetting, match="has 2 seats already"):
        book.draw("a", named("a", 1), [], "", None)


def test_two_classes_share_no_port_and_no_user() -> None:
    book.write(book.draw("a", named("a", 3), [], "", None))
    other = book.draw("b", named("b", 3), [], "", None)
    ours = book.known("a")
    assert not {s.port for s in ours.seats} & {s.port for s in other.seats}
    assert not {s.uid for s in ours.seats} & {s.uid for s in other.seats}
    assert all(s.uid > 30_000 for s in (*ours.seats, *other.seats))


def test_a_port_that_is_taken_is_left_out() -> None:
    port = book.draw("a", named("a", 1), [], "", None).seats[0].port
    with socket.create_server(("127.0.0.1", port + 1)):
        assert book.draw("a", named("a", 2), [], "", None).seats[0].port == port + 2


@pytest.mark.parametrize("which", ["2", "02", "a-02"])
def test_a_seat_is_found_by_number_or_name(which: str) -> None:
    drawn = book.draw("a", named("a", 2), [], "", None)
    assert drawn.seat(which).name == "a-02"
    with pytest.raises(BadSetting, match="has no seat"):
        drawn.seat("3")


@pytest.mark.parametrize(
    ("memory", "disk", "running", "says"),
    [
        (book.SHARED + 30 * book.WORKING, 30 * book.DISK, 0, ""),
        (book.SHARED + 29 * book.WORKING, 30 * book.DISK, 0, "osawslab seats 29"),
        (book.SHARED + 30 * book.WORKING, 4 * book.DISK, 0, "osawslab seats 4"),
        (book.SHARED + 9 * book.WORKING, 90 * book.DISK, 20, "osawslab seats 29"),
        (0, 0, 0, "a larger server"),
        (0, 0, 30, ""),
    ],
)
def test_a_server_too_small_is_said_before_anything_is_started(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, memory: int, disk: int, running: int, says: str
) -> None:
    monkeypatch.setattr(book, "room", lambda place: (memory, disk))
    if not says:
        assert book.fitting(30, running, tmp_path)
        return
    with pytest.raises(Refused, match="too small for 30 seats; nothing was started") as met:
        book.fitting(30, running, tmp_path)
    assert met.value.next == says


def test_the_room_is_that_of_the_disk_the_class_is_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(os, "statvfs", lambda path: Disk(10, 4096 if path == tmp_path else 1))
    assert book.room(tmp_path / "not/there")[1] == 40_960


@pytest.mark.parametrize(
    ("groups", "files", "left"),
    [
        ("0::/", {}, []),
        ("0::/", {"memory.max": "max", "memory.current": "5"}, []),
        ("0::/", {"memory.max": "1000", "memory.current": "700"}, [350]),
        ("0::/a/b", {"a/memory.max": "900", "a/memory.current": "100"}, [850]),
        ("3:cpu:/\n4:memory:/a", {"memory/a/memory.limit_in_bytes": "10",
                                  "memory/a/memory.usage_in_bytes": "4"}, [56]),
    ],
)  # fmt: skip
def test_a_limit_of_a_control_group_counts(
    groups: str, files: dict[str, str], left: list[int], tmp_path: Path
) -> None:
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
        (path.parent / "memory.stat").write_text("anon 7\ninactive_file 50\n")
    assert book._left(groups, tmp_path) == left


def test_the_room_is_what_the_control_group_leaves(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(book, "_left", lambda groups: [4096])
    assert book.room(tmp_path)[0] == 4096


def test_an_ordinary_user_is_told_what_cannot_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    for do in (lambda: lesson.begin("a", ["a-01"], [], "", None, print),
               lambda: lesson.reset("a", "1"), lambda: lesson.end("a")):  # fmt: skip
        with pytest.raises(NoPlaceToRun, match="need root") as met:
            do()
        assert "read every other's files" in met.value.seen
    assert not book.folder("a").exists()


@pytest.mark.root
@pytest.mark.usefixtures("root")
def test_a_class_that_is_not_there_is_said_to_be_none() -> None:
    for do in (lambda: lesson.look("a"), lambda: lesson.end("a")):
        with pytest.raises(StepNotReady, match=r"no class 'a'"):
            do()
