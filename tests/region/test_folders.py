"""Whose a lab's files are: the caller's, also where root works for one."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from osawslab.errors import NoPlaceToRun
from osawslab.region import folders, tier

CALLER = 54321


@pytest.fixture
def sudo(monkeypatch: pytest.MonkeyPatch, root: None) -> None:
    monkeypatch.setenv("OSAWSLAB_OWNER", f"{CALLER}:{CALLER}")


@pytest.mark.parametrize(
    ("text", "euid", "wanted"),
    [
        ("1000:100", 0, (1000, 100)),
        ("1000:100", 1000, None),  # only root can work for somebody else
        ("", 0, None),
        ("0:0", 0, None),
        ("me:100", 0, None),
        ("1000", 0, None),
    ],
)
def test_whom_root_works_for(
    text: str, euid: int, wanted: tuple[int, int] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OSAWSLAB_OWNER", text)
    monkeypatch.setattr(os, "geteuid", lambda: euid)
    assert folders.owner() == wanted


def test_a_folder_is_for_this_user_alone(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir(mode=0o755)
    for name in ("open", "new"):
        folder = folders.private_folder(tmp_path / name)
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_what_cannot_be_a_folder_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NoPlaceToRun, match="cannot be made"):
        folders.private_folder(tmp_path / "file" / "below")


@pytest.mark.root
def test_a_folder_of_somebody_else_is_refused(tmp_path: Path, root: None) -> None:
    (tmp_path / "theirs").mkdir()
    os.chown(tmp_path / "theirs", CALLER, CALLER)
    with pytest.raises(NoPlaceToRun, match="belongs to somebody else"):
        folders.private_folder(tmp_path / "theirs")


@pytest.mark.root
def test_under_sudo_every_folder_made_is_the_callers(tmp_path: Path, sudo: None) -> None:
    made = folders.private_folder(tmp_path / "state" / "osawslab" / "lab")
    assert {path.stat().st_uid for path in (made, made.parent, made.parent.parent)} == {CALLER}
    assert tmp_path.stat().st_uid == os.getuid()
    folders.private_folder(made)  # and is no stranger's when root comes again


@pytest.mark.root
def test_under_sudo_the_disks_stay_roots(
    tmp_path: Path, sudo: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    state, run = (
        folders.private_folder(folders.state_folder("lab")),
        folders.private_folder(folders.runtime_folder("lab")),
    )
    (state / "disks" / "i-1").mkdir(parents=True)
    (state / "keys.json").touch()
    (run / "control").touch()
    folders.hand_over("lab")
    theirs = (state, state / "keys.json", run, run / "control")
    assert {path.stat().st_uid for path in theirs} == {CALLER}
    assert (state / "disks" / "i-1").stat().st_uid == 0


@pytest.mark.root
def test_under_sudo_only_roots_own_tier_is_tried(
    sudo: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[str] = []
    monkeypatch.setattr(tier, "attempt", lambda name: tried.append(name) or tier.Tier(name, ""))
    assert tier.choose([])[0] == "root"
    assert tried == ["root"]
