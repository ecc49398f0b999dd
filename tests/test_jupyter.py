"""JupyterLab: on loopback only, with a token that is no argument, and gone with its caller."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from osawslab import jupyter
from osawslab.errors import BadSetting, LabBusy, MissingTool

BOUND = 20.0  # seconds


@pytest.fixture
def busy() -> Iterator[int]:
    with socket.create_server((jupyter.LOOPBACK, 0)) as taken:
        yield taken.getsockname()[1]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "my notebooks").mkdir()
    return tmp_path / "my notebooks"


def test_a_port_that_is_asked_for_is_had_or_refused(busy: int, folder: Path) -> None:
    with pytest.raises(LabBusy, match="taken") as error:
        jupyter.server(folder, busy, False)
    assert str(busy) in error.value.seen
    assert jupyter.server(folder, 0, False).port > 0
    with pytest.raises(BadSetting, match="65535"):
        jupyter.server(folder, 65536, False)


def test_else_the_next_free_one_is_taken(
    busy: int, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jupyter, "PORTS", (busy, 0))
    assert jupyter.server(folder, None, False).port not in (0, busy)
    monkeypatch.setattr(jupyter, "PORTS", (busy, busy))
    with pytest.raises(LabBusy):
        jupyter.server(folder, None, False)


def test_the_token_is_new_each_time_and_no_argument(folder: Path) -> None:
    one, other = (jupyter.server(folder, 0, False) for _ in range(2))
    assert one.token != other.token
    assert len(one.token) >= 32
    assert one.token not in " ".join(one.command("00-start.ipynb"))
    assert one.environment({})["JUPYTER_TOKEN"] == one.token
    assert one.environment({"OSAWSLAB_NAME": "a"})["OSAWSLAB_NAME"] == "a"
    wanted = f"http://127.0.0.1:{one.port}/lab/tree/00-start.ipynb?token={one.token}"
    assert one.url("00-start.ipynb") == wanted


def test_where_jupyter_may_not_write(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/nothing")
    with pytest.raises(BadSetting, match="own folder") as error:
        jupyter.server(folder, 0, False)
    assert error.value.next.startswith("export XDG_CACHE_HOME=")


def status(url: str, token: str = "") -> int:
    request = urllib.request.Request(url, headers={"Authorization": f"token {token}"})
    try:
        with urllib.request.urlopen(request, timeout=BOUND) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_it_serves_to_those_with_the_token_and_ends_with_its_kernels(folder: Path) -> None:
    made = jupyter.server(folder, 0, False)
    api = f"http://127.0.0.1:{made.port}/api/kernels"
    seen: dict[str, Any] = {}

    def ready() -> None:
        seen["without"], seen["with"] = status(api), status(api, made.token)
        start = urllib.request.Request(
            api, b"{}", {"Authorization": f"token {made.token}"}, method="POST"
        )
        with urllib.request.urlopen(start, timeout=BOUND) as answer:
            seen["kernel"] = json.load(answer)["id"]
        seen["processes"] = processes(seen["kernel"])
        listening = subprocess.run(["ss", "-Hltn"], capture_output=True, text=True).stdout
        seen["listens"] = [word for word in listening.split() if word.endswith(f":{made.port}")]
        raise KeyboardInterrupt

    jupyter.serve(made, "00-start.ipynb", {}, ready)
    assert (seen["without"], seen["with"]) == (403, 200)
    assert seen["listens"] == [f"127.0.0.1:{made.port}"]
    assert seen["processes"]
    until = time.monotonic() + BOUND
    while processes(seen["kernel"]) and time.monotonic() < until:
        time.sleep(0.05)
    assert not processes(seen["kernel"])
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((jupyter.LOOPBACK, made.port), 1)


def processes(kernel: str) -> list[str]:
    found = []
    for pid in filter(str.isdecimal, os.listdir("/proc")):
        try:
            if kernel.encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
        except OSError:
            continue
    return found


def test_one_that_does_not_start_is_said(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jupyter.Server, "command", lambda *_: ["sh", "-c", "echo words; exit 3"])
    made = jupyter.server(folder, 0, False)
    with pytest.raises(MissingTool, match="did not start") as error:
        jupyter.serve(made, "00-start.ipynb", {}, lambda: pytest.fail("it is not ready"))
    assert error.value.seen == "words"
    assert made.log.stat().st_mode & 0o077 == 0
