"""When a lab ends itself, what says so, and the script that does it: without an instance."""

from __future__ import annotations

import subprocess
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from osawslab.aws import ending, launch
from osawslab.aws.facts import Facts
from osawslab.aws.userdata import user_data

END = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
LATER = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
VPC = {"VpcId": "vpc-1"}


def instance(code: str, end: datetime | None = END) -> dict[str, Any]:
    return {"InstanceId": "i-1", "StateReason": {"Code": code}, "Tags": ending.tags(end)}


NOTED = {"instance": "i-1", "end": ending.text(END)}


@pytest.mark.parametrize(
    ("facts", "noted", "words"),
    [
        (Facts(), NOTED, ""),  # torn down
        (Facts(vpc=VPC), {}, ""),
        (Facts(vpc=VPC, instance=instance("")), NOTED, ""),
        (
            Facts(vpc=VPC, gone=instance(ending.ITSELF)),
            {},
            "i-1 ended itself: the planned hours were over at 2026-03-01T12:00:00+00:00",
        ),
        (
            Facts(vpc=VPC, gone=instance(ending.ITSELF, LATER)),
            {},
            "i-1 was shut down from inside (Client.InstanceInitiatedShutdown)",
        ),
        (
            Facts(vpc=VPC, gone=instance(ending.ITSELF, None)),
            {},
            "i-1 was shut down from inside (Client.InstanceInitiatedShutdown)",
        ),
        (Facts(vpc=VPC, gone=instance("Client.UserInitiatedShutdown")), NOTED, ""),
        (
            Facts(vpc=VPC),
            NOTED,
            "i-1 is gone: its planned hours were over at 2026-03-01T12:00:00+00:00",
        ),
        (Facts(vpc=VPC), {**NOTED, "end": ending.text(LATER)}, ""),
        (Facts(vpc=VPC), {**NOTED, "end": ""}, ""),
    ],
)
def test_what_is_told_of_an_instance_that_is_not_there(
    facts: Facts, noted: dict[str, Any], words: str
) -> None:
    assert ending.told(facts, noted) == words


@pytest.mark.parametrize("text", ["", "soon", "2026-13-01T00:00:00+00:00"])
def test_what_is_no_time_is_no_end(text: str) -> None:
    assert ending.read(text) is None


def test_an_end_is_read_as_it_is_written() -> None:
    assert ending.read(ending.text(END)) == END
    assert ending.read("2026-03-01T12:00:00") == END
    assert ending.of({"Tags": ending.tags(END)}) == END
    assert ending.tags(None) == []
    assert ending.of({"Tags": []}) is ending.of(None) is None


def test_the_end_is_by_ec2s_clock() -> None:
    answer = {"ResponseMetadata": {"HTTPHeaders": {"date": "Sun, 01 Mar 2026 10:30:00 GMT"}}}
    assert ending.after(Decimal("1.5"), answer) == END
    assert ending.after(None, answer) is None
    here = ending.after(Decimal(1), {"ResponseMetadata": {"HTTPHeaders": {}}})
    assert here is not None
    assert abs(here - datetime.now(UTC) - timedelta(hours=1)) < timedelta(minutes=1)


def test_the_user_data_has_the_end_and_is_what_ec2_takes() -> None:
    assert "END = 0  #" in user_data()
    text = user_data(END)
    assert f"END = {int(END.timestamp())}  #" in text
    assert len(text.encode()) < 16384  # EC2 guide, "User data": 16 KB before base64
    compile(text, "user data", "exec")


def test_the_same_launch_has_the_same_end_and_a_later_one_its_own(tmp_path: Path) -> None:
    first = launch.asked_with(tmp_path, "token", LATER)
    assert first.end == LATER
    assert launch.asked_with(tmp_path, "token", LATER + timedelta(minutes=1)) == first
    much = launch.asked_with(tmp_path, "token", LATER + timedelta(hours=1))  # refused till then
    assert much.end == LATER + timedelta(hours=1)
    assert launch.asked_with(tmp_path, "token", None).end is None
    assert launch.asked_with(tmp_path, "other", None).end is None
    over = launch.asked_with(tmp_path, "token", END)
    again = launch.asked_with(tmp_path, "token", LATER)
    assert (over.end, again.end) == (END, LATER)
    assert over.user_data != again.user_data


def test_the_end_of_an_instance_is_kept(tmp_path: Path) -> None:
    assert launch.noted_end(tmp_path) == {}
    launch.note_end(tmp_path, "i-1", END)
    assert launch.noted_end(tmp_path) == NOTED
    (tmp_path / "end.json").write_text('{"inst')
    assert launch.noted_end(tmp_path) == {}


class Watch:
    """The script on this machine, its files below a folder, `poweroff` and `sleep` noted."""

    def __init__(self, folder: Path) -> None:
        self.file, self.log = folder / "end", folder / "log"
        self.log.touch()
        text = ending.SCRIPT.replace(ending.FILE, str(self.file))
        path = next(line for line in text.splitlines() if line.startswith("PATH="))
        self.script = folder / "watch"
        self.script.write_text(text.replace(path, f"PATH={folder}:$PATH"))
        for name, does in (("poweroff", "exit 0"), ("sleep", "exec /bin/sleep 0.05")):
            (folder / name).write_text(f'#!/bin/sh\necho {name} "$@" >> {self.log}\n{does}\n')
            (folder / name).chmod(0o755)

    def run(self) -> list[str]:
        """Watch until it has ended; what it has called."""
        done = subprocess.run(["sh", self.script, "watch"], timeout=20, capture_output=True)
        assert done.returncode == 0
        return self.log.read_text().splitlines()


@pytest.fixture
def watch(tmp_path: Path) -> Watch:
    return Watch(tmp_path)


def test_the_watch_powers_off_when_the_time_is_over(watch: Watch) -> None:
    end = int(time.time()) + 2
    watch.file.write_text(f"{end}\n")
    *slept, off, bound, forced = watch.run()
    assert time.time() >= end
    assert set(slept) <= {"sleep 2", "sleep 1"}
    assert (off, bound, forced) == ("poweroff", "sleep 300", "poweroff -f")


def test_an_end_that_is_put_off_is_waited_for(watch: Watch) -> None:
    """It never sleeps longer than it may take to notice."""
    watch.file.write_text(f"{int(time.time()) + 3600}\n")
    child = subprocess.Popen(["sh", watch.script, "watch"])
    deadline = time.monotonic() + 10
    while watch.log.read_text().count("sleep 20\n") < 2:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    watch.file.write_text("1\n")
    assert child.wait(10) == 0
    assert "poweroff" in watch.log.read_text()


def test_an_end_whose_file_is_lost_stays(watch: Watch) -> None:
    """An image of the instance is made without what belongs to it alone."""
    end = int(time.time()) + 2
    watch.file.write_text(f"{end}\n")
    child = subprocess.Popen(["sh", watch.script, "watch"])
    deadline = time.monotonic() + 10
    while not watch.log.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    watch.file.unlink()
    assert child.wait(10) == 0
    assert time.time() >= end
    assert "sleep 600" not in watch.log.read_text()


@pytest.mark.parametrize("end", ["1\n", "", "never\n", "-5\n", "1 2\n"])
def test_one_that_was_off_meanwhile_has_some_minutes(end: str, watch: Watch) -> None:
    watch.file.write_text(end)
    assert watch.run()[:2] == [f"sleep {ending.GRACE}", "poweroff"]


def test_without_an_end_nothing_is_watched(watch: Watch) -> None:
    done = subprocess.run(["sh", watch.script], timeout=20, capture_output=True)
    assert (done.returncode, watch.log.read_text()) == (0, "")
