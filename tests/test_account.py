"""Labs in an account that this machine has made: which go on, and which `down` ends."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from place import OSAWSLAB, leads_to

from osawslab import Lab
from osawslab.commands import goes_on
from osawslab.errors import StepNotReady
from osawslab.keys import keep_key, key_file
from osawslab.region import local
from osawslab.steps import provision
from osawslab.steps.account import NOTE

Make = Callable[..., Lab]


@pytest.fixture(scope="module", autouse=True)
def account(home: Path) -> Iterator[None]:
    """Lead to an account with nothing in it."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in leads_to(local.ensure("place")).items():
            patch.setenv(name, value)
        yield


def command(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*OSAWSLAB, *words], capture_output=True, text=True, timeout=120, check=False
    )


def vpcs(lab: Lab) -> list[Any]:
    mine = [{"Name": "tag:osawslab:lab", "Values": [lab.settings.name]}]
    return list(lab.client().describe_vpcs(Filters=mine)["Vpcs"])


def test_down_of_labs_here_says_which_go_on_in_the_account(tmp_path: Path) -> None:
    for name, has in {
        "far": "key, note",
        "begun": "note",
        "given-back": "key",
        "refused": "",
    }.items():
        folder = tmp_path / "osawslab" / f"{name}.aws"
        folder.mkdir(parents=True)
        if "key" in has:
            keep_key(key_file(folder), name)
        if "note" in has:
            (folder / NOTE).write_text("123456789012")
    for words in (["--all"], ["--name", "far"]):
        done = subprocess.run(
            [*OSAWSLAB, "down", "--json", *words],
            env={**os.environ, "XDG_STATE_HOME": str(tmp_path), "OSAWSLAB_TARGET": "local"},
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 1
        assert json.loads(done.stdout) == {"ok": False, "ended": []}
        assert "'far' on AWS goes on, and costs money" in done.stderr
        assert "down --name far --target aws" in done.stderr
        assert ("'begun' on AWS was begun, and costs nothing" in done.stderr) == (
            words == ["--all"]
        )
        assert "refused" not in done.stderr
        assert "given-back" not in done.stderr
        assert (tmp_path / "osawslab" / "far.aws").is_dir()


def test_down_ends_what_this_machine_has_made_and_no_other(
    new_lab: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a name on the command line. What was broken off early has no key yet."""
    monkeypatch.setenv("OSAWSLAB_NAME", "early")
    lab = new_lab("early", pay_up_to="1")
    first, *_ = lab.plan("provision").actions
    first.do()
    assert vpcs(lab)
    assert not key_file(lab.folder).exists()
    keep_key(key_file(lab.folder), "early")  # as from a lab of that name, given back long ago
    (lab.folder / NOTE).rename(lab.folder / "kept")
    done = command("down", "--target", "aws")
    assert done.returncode == 2
    assert "was not made on this machine" in done.stderr
    for words in ("run tear_down", "reset provision"):
        done = command(*words.split())
        assert done.returncode == 2
        assert "down --target aws --name early" in done.stderr
    for end in (lab.tear_down, lambda: lab.reset("provision")):
        with pytest.raises(StepNotReady, match="not made on this machine") as caught:
            end()
        assert vpcs(lab)[0]["VpcId"] in caught.value.seen
        assert "lab.tear_down(mine=True)" in caught.value.next
    assert vpcs(lab)
    (lab.folder / "kept").rename(lab.folder / NOTE)
    key_file(lab.folder).unlink()
    assert command("down", "--target", "aws").returncode == 0
    assert not vpcs(lab)
    assert lab.tear_down().ok  # of nothing there is no owner
    first.do()
    (lab.folder / NOTE).unlink()
    assert lab.tear_down(mine=True).ok
    assert not vpcs(lab)
    assert not (lab.folder / NOTE).exists()


def test_what_is_refused_before_it_is_begun_does_not_go_on(
    new_lab: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = new_lab("none", pay_up_to="1")
    first, *_ = lab.plan("provision").actions

    def refuse(*_: Any) -> None:
        raise StepNotReady("the quota is used up", seen="0 left", next="lab.preflight()")

    monkeypatch.setattr(provision, "require", refuse)
    with pytest.raises(StepNotReady, match="quota"):
        first.do()
    assert not goes_on("none")
