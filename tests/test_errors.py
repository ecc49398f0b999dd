"""What goes wrong around a lab: one message of our own each, and a later run goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from osawslab import Lab, errors
from osawslab.errors import LabError, NoPlaceToRun
from osawslab.region import local, uml

KINDS = [
    kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, LabError)
]
PRELUDE = """
import json, subprocess, sys
from osawslab import Lab, LabError
from osawslab.region import local

lab = Lab("around", bridge="linux")
told = []

def run(step):
    try:
        report = lab.run(step)
        told.append({"ok": report.ok, "changed": report.changed})
    except LabError as error:
        kind = type(error).__name__
        told.append({"kind": kind, "what": error.what, "seen": error.seen, "next": error.next})

def shell(command):
    subprocess.run(command, shell=True, check=True)
"""


def with_mounts(home: Path, source: str) -> list[dict[str, Any]]:
    """Run Python where mounts are its own, on an empty state home; what its runs told."""
    program = PRELUDE + textwrap.dedent(source) + "\nprint(json.dumps(told))\n"
    state = home / "mounted"
    state.mkdir(exist_ok=True)
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", sys.executable, "-c", program],
        env={**os.environ, "XDG_STATE_HOME": str(state), "STATE": str(state)},
        cwd=home, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout))


@pytest.mark.parametrize("kind", KINDS)
def test_a_message_says_what_was_seen_and_what_to_type(kind: type[LabError]) -> None:
    error = kind("what happened", seen="what was seen", next="what to type")
    assert str(error) == "what happened\n  seen: what was seen\n  next: what to type"
    assert str(kind("what happened")) == "what happened"
    assert kind is LabError or len(kind.__mro__) > len(LabError.__mro__) + 1  # a builtin, too


def test_only_oserrors_become_errors_of_writing() -> None:
    with (
        pytest.raises(NoPlaceToRun, match="cannot be written") as caught,
        errors.writing(Path("/x")),
    ):
        raise OSError(28, "No space left on device")
    assert "No space left" in caught.value.seen
    with pytest.raises(errors.LabTimeout), errors.writing(Path("/x")):
        raise errors.LabTimeout("a LabError that is an OSError")
    with pytest.raises(ZeroDivisionError), errors.writing(Path("/x")):
        raise ZeroDivisionError


def test_a_read_only_home_is_said_and_a_later_run_goes_on(home: Path) -> None:
    told = with_mounts(
        home,
        """
        shell('mount -t tmpfs -o ro none "$STATE"')
        run("provision")
        shell('mount -o remount,rw "$STATE"')
        run("provision")
        local.stop("around")
        shell('mount -o remount,ro "$STATE"')
        run("provision")
        shell('mount -o remount,rw "$STATE"')
        run("provision")
        local.remove("around")
        """,
    )
    for refused in (told[0], told[2]):
        assert refused["kind"] == "NoPlaceToRun"
        assert "Read-only file system" in refused["seen"]
        assert "export XDG_STATE_HOME=/some/folder/of/yours" in refused["next"]
    assert told[1] == {"ok": True, "changed": True}
    assert told[3] == {"ok": True, "changed": False}


@pytest.mark.parametrize("size", [0, 4, 8, 12, 16, 20, 128])
def test_a_full_disk_is_said_and_a_later_run_goes_on(size: int, home: Path) -> None:
    """Full at the region's first file, in keys, in the journal, in the instance's disk."""
    told = with_mounts(
        home,
        f"""
        shell('mount -t tmpfs -o size={size or 4}k none "$STATE"')
        shell('head -c {0 if size else 4}k /dev/zero > "$STATE/fill"')
        run("provision")
        shell('rm "$STATE/fill"; mount -o remount,size=100m "$STATE"')
        run("provision")
        run("provision")
        local.remove("around")
        """,
    )
    assert told[0]["kind"] in ("NoPlaceToRun", "Refused", "StepFailed")
    assert "No space left on device" in told[0]["seen"] or "disk is full" in told[0]["seen"]
    assert "make room" in told[0]["next"]
    assert told[1:] == [{"ok": True, "changed": True}, {"ok": True, "changed": False}]


def test_a_state_folder_of_somebody_elses_is_refused(root: None, home: Path) -> None:
    folder = local.state_folder("theirs")
    folder.mkdir(parents=True)
    os.chown(folder, 12345, 12345)
    with Lab("theirs") as lab:
        with pytest.raises(NoPlaceToRun, match="belongs to somebody else") as caught:
            lab.provision()
        assert "12345" in caught.value.seen
        assert caught.value.next
        os.chown(folder, 0, 0)
        assert lab.plan("provision").actions
    local.remove("theirs")


INTERRUPTED = """
import os, signal, sys
from osawslab import Lab
class Progress:
    count = 0
    def start(self, step, total): pass
    def done(self, text): pass
    def action(self, text, **_):
        self.count += 1
        if self.count == int(sys.argv[2]):
            os.killpg(0, signal.SIGINT)  # as a terminal does, to all of its processes
lab = Lab("ctrl-c", bridge="linux")
lab.progress = Progress()
for step in sys.argv[1].split(","):
    lab.run(step)
"""


def test_ctrl_c_in_the_middle_leaves_the_region_and_a_later_run_goes_on(home: Path) -> None:
    for steps, number in (("provision", 9), ("install_cloud,provider_nic", 3), ("networks", 8)):
        done = subprocess.run(
            [sys.executable, "-c", INTERRUPTED, steps, str(number)],
            cwd=home, capture_output=True, text=True, timeout=120, start_new_session=True,
        )  # fmt: skip
        assert done.returncode == -signal.SIGINT, done.stderr
        assert "KeyboardInterrupt" in done.stderr
        assert local.find("ctrl-c") is not None
        with Lab("ctrl-c", bridge="linux") as lab:
            for step in steps.split(","):
                report = lab.run(step)
                assert report.ok, report.text
                assert not lab.run(step).changed
    local.remove("ctrl-c")


def test_a_tool_of_the_region_that_is_missing_is_named(
    home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(uml, "program", lambda: None)  # it is found without PATH
    with Lab("toolless") as lab, pytest.raises(NoPlaceToRun) as caught:
        lab.provision()
    assert "unshare is not installed (package util-linux)" in caught.value.seen
    assert caught.value.next
