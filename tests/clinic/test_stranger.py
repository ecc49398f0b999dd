"""A host that cannot be looked at: what is said, with an `ssh` that is ours."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from stranger import told

from osawslab import cli
from osawslab.clinic import stranger
from osawslab.clinic.account import Account
from osawslab.errors import BadSetting, LabError, MissingTool, StepFailed


@pytest.fixture
def ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Give what makes the `ssh` that is found: a shell script, or none."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(stranger, "books", lambda *_: Account())
    monkeypatch.setattr(stranger, "connect", lambda *_: "SSH-2.0-x")

    def make(script: str) -> None:
        path = tmp_path / "ssh"
        path.write_text(f'#!/bin/sh\nPATH=/usr/bin:/bin\n[ "${{1}}" = -G ] && exit 0\n{script}\n')
        path.chmod(0o755)

    return make


@pytest.mark.parametrize("destination", ["", "-oProxyCommand=touch x", "-x"])
def test_what_is_no_host(destination: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(BadSetting, match="no host"):
        stranger.run(destination)
    assert cli.main(["diagnose", f"--ssh={destination}"]) == 2
    assert "that is no host" in capsys.readouterr().err


@pytest.mark.parametrize("destination", ["me@192.0.2.1", "me@some.name"])
def test_without_an_ssh_program(ssh: Any, destination: str) -> None:
    with pytest.raises(MissingTool, match="no ssh here"):
        stranger.run(destination)


@pytest.mark.parametrize(
    ("script", "error", "words"),
    [
        ("echo 'sh: 1: exec: python3: not found' >&2; exit 127", MissingTool, "no python3"),
        ("echo 'sudo: python3: command not found' >&2; exit 1", MissingTool, "no python3"),
        ("echo 'SyntaxError: invalid syntax' >&2; exit 1", StepFailed, "did not end"),
        ("echo Welcome to this host", StepFailed, "did not end"),
    ],
)
def test_what_cannot_be_looked_at(ssh: Any, script: str, error: type[LabError], words: str) -> None:
    ssh(script)
    with pytest.raises(error, match=words) as caught:
        stranger.run("me@192.0.2.1")
    assert caught.value.seen
    assert caught.value.next


def test_a_host_that_never_answers_is_named(ssh: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stranger, "SECONDS", 0.2)
    ssh("exec sleep 5")
    found = stranger.run("me@192.0.2.1")
    assert found.cause is not None
    assert (found.cause.key, "no answer within" in found.cause.seen) == ("root", True)


def test_a_nic_that_the_host_has_not(ssh: Any, tmp_path: Path) -> None:
    (tmp_path / "told").write_text(json.dumps(told()))
    ssh(f"cat > {os.devnull}; cat {tmp_path}/told")
    assert stranger.run("me@192.0.2.1", "ens6").ok
    with pytest.raises(BadSetting, match="no interface ens7") as caught:
        stranger.run("me@192.0.2.1", "ens7")
    assert "ens6" in caught.value.seen
