"""A kernel has a module also when nobody has loaded it yet: its service will."""

from __future__ import annotations

import os
from pathlib import Path
from types import ModuleType

import pytest

from osawslab.cloud.openstack import look
from osawslab.host import probe

SYSTEMD = "/run/systemd/system"


@pytest.fixture
def folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> set[str]:
    """Give the folders that there are, to be added to, and a modprobe that knows one module."""
    known = {SYSTEMD}
    stub = tmp_path / "modprobe"
    stub.write_text('#!/bin/sh\n[ "$*" = "-n -q openvswitch" ]\n')
    stub.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(os.path, "isdir", lambda path: path in known)
    return known


@pytest.mark.parametrize("program", [look, probe])
def test_it_is_loaded_or_can_be(program: ModuleType, folders: set[str]) -> None:
    assert program.module("openvswitch")
    assert not program.module("vport_nothing")
    folders.add("/sys/module/vport_nothing")
    assert program.module("vport_nothing")


@pytest.mark.parametrize("program", [look, probe])
def test_without_modprobe_only_what_is_loaded_counts(
    program: ModuleType, folders: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert not program.module("openvswitch")
    folders.add("/sys/module/openvswitch")
    assert program.module("openvswitch")


def test_without_systemd_no_service_loads_it(folders: set[str]) -> None:
    folders.remove(SYSTEMD)
    assert not probe.module("openvswitch")
