"""The environment of a checkout: when it is complete, how it is made, whose it is."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from osawslab import environment
from osawslab.environment import MARK, Environment
from osawslab.errors import MissingTool


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "checkout"
    folder.mkdir()
    (folder / "pyproject.toml").write_text("[project]\n")
    return folder


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was run; `venv` and `pip` do no more than lay their programs down."""
    done: list[str] = []

    def run(command: Sequence[str], lock: int, what: str) -> None:
        done.append(command[2])
        if command[2] == "venv":
            (Path(command[3]) / "bin").mkdir()
            (Path(command[3]) / "bin" / "python").symlink_to(sys.executable)
        else:
            done[-1] += " test" if command[-1].endswith("[test]") else ""
            program = Path(command[0]).parent / "osawslab"
            program.touch()
            program.chmod(0o755)

    monkeypatch.setattr(environment, "_run", run)
    return done


def quiet(text: str) -> None:
    """Say nothing."""


def made(checkout: Path, extras: str = "-") -> Environment:
    place = environment.places(checkout)[0]
    place.make(extras, quiet)
    return place


def test_the_second_start_does_nothing(checkout: Path, commands: list[str]) -> None:
    place = made(checkout)
    assert commands == ["venv", "pip"]
    assert place.current("-")
    place.make("-", quiet)
    assert commands == ["venv", "pip"]


@pytest.mark.parametrize(
    ("change", "then"),
    [
        (lambda place: (place.folder / "stamp").unlink(), ["venv", "pip"]),
        (lambda place: (place.folder / "stamp").write_bytes(b"\xff"), ["venv", "pip"]),
        (lambda place: place.program.unlink(), ["pip"]),
        (lambda place: (place.checkout / "pyproject.toml").write_text("[new]"), ["pip"]),
        (lambda place: repoint(place.folder / "bin" / "python"), ["venv", "pip"]),
    ],
    ids=["half-made", "garbled", "program gone", "other packages", "other interpreter"],
)
def test_what_is_not_as_it_was_is_made_again(
    checkout: Path, commands: list[str], change: Callable[[Environment], object], then: list[str]
) -> None:
    place = made(checkout)
    change(place)
    assert not place.current("-")
    commands.clear()
    place.make("-", quiet)
    assert commands == then
    assert place.current("-")


def repoint(link: Path) -> None:
    link.unlink()
    link.symlink_to("/bin/sh")


def test_a_moved_checkout_gets_another_environment(checkout: Path, commands: list[str]) -> None:
    made(checkout)
    moved = checkout.rename(checkout.parent / "moved")
    assert not environment.places(moved)[0].current("-")


def test_the_tests_need_more_and_are_kept(checkout: Path, commands: list[str]) -> None:
    place = made(checkout)
    assert not place.current("test")
    place.make("test", quiet)
    assert commands == ["venv", "pip", "pip test"]
    assert place.current("test")
    assert place.current("-")
    (checkout / "pyproject.toml").write_text("[new]")
    place.make("-", quiet)
    assert commands[3:] == ["pip test"]


def test_a_killed_run_leaves_no_stamp(
    checkout: Path, commands: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = made(checkout)
    (checkout / "pyproject.toml").write_text("[new]")

    def fail(command: Sequence[str], lock: int, what: str) -> None:
        raise MissingTool(what, seen="killed", next="again")

    with monkeypatch.context() as patch:
        patch.setattr(environment, "_run", fail)
        with pytest.raises(MissingTool, match="killed"):
            place.make("-", quiet)
    assert not place.usable
    (place.folder / "half").touch()
    place.make("-", quiet)
    assert place.current("-")
    assert not (place.folder / "half").exists()


def test_a_foreign_environment_is_left_alone(
    checkout: Path, commands: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (checkout / ".venv").mkdir()
    (checkout / ".venv" / "pyvenv.cfg").write_text("mine")
    both = environment.places(checkout)
    monkeypatch.setattr(environment, "places", lambda: both)
    assert environment.set_up("-", quiet) == both[1]
    assert environment.current("-") == both[1]
    both[0].remove(quiet)
    assert (checkout / ".venv" / "pyvenv.cfg").read_text() == "mine"


def test_two_at_once_make_one(checkout: Path, commands: list[str]) -> None:
    place = environment.places(checkout)[0]
    held = place.lock(quiet)
    said: list[str] = []

    def first_goes_on(text: str) -> None:
        said.append(text)
        if "waiting" in text:  # the first one finishes its work and lets go
            place._make("-", held, quiet)
            os.close(held)

    place.make("-", first_goes_on)
    assert said == ["another ./lab is setting up: waiting for it"]
    assert commands == ["venv", "pip"]


def test_jupyterlab_asks_nothing(checkout: Path, commands: list[str]) -> None:
    path = made(checkout).folder / "share/jupyter/lab/settings/overrides.json"
    settings = json.loads(path.read_text())
    assert settings["@jupyterlab/apputils-extension:notification"]["fetchNews"] == "false"
    kernels = settings["@jupyterlab/apputils-extension:kernels-settings"]
    assert kernels == {"commsOverSubshells": "disabled"}


def test_it_is_removed_with_its_mark(checkout: Path, commands: list[str]) -> None:
    place = made(checkout)
    assert (place.folder / MARK).exists()
    place.remove(quiet)
    assert not place.folder.exists()


def test_a_failing_command_says_its_error_line(tmp_path: Path) -> None:
    code = "import sys; print('ERROR: No space left'); sys.exit('error: around it\\nhint: look')"
    with (tmp_path / "lock").open("w") as lock, pytest.raises(MissingTool) as caught:
        environment._run([sys.executable, "-c", code], lock.fileno(), "not installed")
    what, seen, _ = str(caught.value).splitlines()
    assert what == "not installed"
    assert re.fullmatch(r"  seen: ERROR: No space left \(\d+ MiB free\)", seen)
