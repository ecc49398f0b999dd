"""The learner's own programs: led to the region, by nothing of the caller's own."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from osawslab import access
from osawslab.errors import CannotReach, MissingTool, RegionGone
from osawslab.region import machine
from osawslab.region.local import Region

REGION = Region("a", "http://127.0.0.1:5", "eu-west-1", "LABKEY", "LAB'S SECRET", "userns", 1)
PLANTED = {
    "AWS_ACCESS_KEY_ID": "AKIAREAL",
    "AWS_SECRET_ACCESS_KEY": "real",
    "AWS_SESSION_TOKEN": "real",
    "AWS_PROFILE": "real",
    "AWS_ENDPOINT_URL_EC2": "https://ec2.amazonaws.com",
    "https_proxy": "http://proxy:3128",
    "HTTP_PROXY": "http://proxy:3128",
    "no_proxy": "172.16.10.101",
    "OS_CLOUD": "real",
    "OS_TOKEN": "real",
}


def test_a_shell_reads_the_exports() -> None:
    script = access.exports(access.variables(REGION)) + "\nenv -0"
    done = subprocess.run(
        ["sh", "-euc", script], env={**PLANTED, "PATH": os.environ["PATH"]}, capture_output=True
    )
    found = dict(line.split("=", 1) for line in done.stdout.decode().split("\0") if line)
    assert found["AWS_ENDPOINT_URL"] == "http://127.0.0.1:5"
    assert found["AWS_ACCESS_KEY_ID"] == "LABKEY"
    assert found["AWS_SECRET_ACCESS_KEY"] == "LAB'S SECRET"
    assert found["AWS_DEFAULT_REGION"] == "eu-west-1"
    assert not {"AWS_PROFILE", "AWS_SESSION_TOKEN"} & found.keys()


def test_in_such_a_shell_an_old_aws_cli_goes_to_the_region_too(tmp_path: Path) -> None:
    aws = tmp_path / "aws"
    aws.write_text('#!/bin/sh\necho "$@"\n')
    aws.chmod(0o755)
    script = access.exports(access.variables(REGION)) + "\naws ec2 start --ids \"$(aws 'a b')\""
    done = subprocess.run(
        ["/bin/sh", "-euc", script], env={"PATH": str(tmp_path)}, capture_output=True, text=True
    )
    led = "--endpoint-url http://127.0.0.1:5"
    assert done.stdout == f"{led} ec2 start --ids {led} a b\n"


def test_the_aws_cli_gets_nothing_of_the_callers(tmp_path: Path) -> None:
    aws = tmp_path / "aws"
    aws.write_text('#!/bin/sh\necho "$@"\nenv -0\n')
    aws.chmod(0o755)
    code = "import sys; from tests_access import access, REGION; access.aws(REGION, sys.argv[1:])"
    runner = (
        "import sys, importlib.util as u;"
        f"s = u.spec_from_file_location('tests_access', {__file__!r});"
        "m = u.module_from_spec(s); sys.modules['tests_access'] = m; s.loader.exec_module(m);"
    )
    done = subprocess.run(
        [sys.executable, "-c", runner + code, "ec2", "describe-vpcs"],
        env={**os.environ, **PLANTED, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )
    words, _, rest = done.stdout.partition("\n")
    assert words == "--endpoint-url http://127.0.0.1:5 ec2 describe-vpcs"
    found = dict(line.split("=", 1) for line in rest.split("\0") if line)
    mine = {key: value for key, value in found.items() if key.startswith("AWS_")}
    wanted = access.variables(REGION)
    assert mine == {key: value for key, value in wanted.items() if key != "NO_PROXY"}
    assert not [key for key in found if key.lower() in ("http_proxy", "https_proxy")]


def test_without_the_aws_cli(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingTool, match="AWS CLI") as error:
        access.aws(REGION, [])
    assert "awscli" in error.value.next


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the folder in which an environment has its programs."""
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    for name, value in PLANTED.items():
        monkeypatch.setenv(name, value)
    return tmp_path


@pytest.mark.parametrize(("end", "status"), [("exit 0", 0), ("exit 7", 7), ("kill -2 $$", 130)])
def test_openstacks_client_gets_what_is_the_labs_alone(
    end: str, status: int, environment: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    program = environment / "openstack"
    program.write_text(f'#!/bin/sh\necho "$@"\nenv -0\n{end}\n')
    program.chmod(0o755)
    given = {"OS_PASSWORD": "secret", "http_proxy": "http://127.0.0.1:5"}
    assert access.openstack(["port", "list"], given) == status
    words, _, rest = capfd.readouterr().out.partition("\n")
    assert words == "port list"
    found = dict(line.split("=", 1) for line in rest.split("\0") if line)
    leads = ("OS_", "AWS_")
    assert {
        key: value
        for key, value in found.items()
        if key.startswith(leads) or key.lower().endswith("_proxy")
    } == given


def test_without_openstacks_client(environment: Path) -> None:
    with pytest.raises(MissingTool, match="python-openstackclient") as error:
        access.openstack([], {})
    assert "pip install python-openstackclient" in error.value.next


def host(port: int) -> Any:
    return SimpleNamespace(
        address="203.0.113.11", port=port, user="root", host_key="ssh-ed25519 AAAA a comment"
    )


@pytest.mark.parametrize(
    ("port", "known"),
    [(22, "203.0.113.11 ssh-ed25519 AAAA\n"), (522, "[203.0.113.11]:522 ssh-ed25519 AAAA\n")],
)
def test_openssh_knows_the_host_beforehand(
    port: int, known: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "a home, 100% mine"
    monkeypatch.setenv("XDG_STATE_HOME", str(home))
    folder = home / "osawslab" / "a"
    folder.mkdir(parents=True)
    proxy = "'py thon' -m osawslab.cli region connect %h %p --name a"
    words = access.ssh_command(host(port), folder, ["uname", "-a"], proxy)
    file = folder / f"known_hosts.{port}"
    assert file.read_text() == known
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    # ssh itself says what it has understood
    shown = subprocess.run([words[0], "-G", *words[1:]], capture_output=True, text=True, check=True)
    lines = dict(line.split(" ", 1) for line in shown.stdout.splitlines() if " " in line)
    assert (lines["hostname"], lines["port"], lines["user"]) == ("203.0.113.11", str(port), "root")
    assert lines["stricthostkeychecking"] in ("yes", "true")
    assert lines["userknownhostsfile"] == str(file)
    assert lines["proxycommand"] == proxy
    assert lines["identityagent"] == "none"
    assert words[-2:] == ["uname", "-a"]


def test_without_openssh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    (tmp_path / "osawslab" / "a").mkdir(parents=True)
    monkeypatch.setattr(machine, "find", lambda _: None)
    with pytest.raises(MissingTool, match="OpenSSH"):
        access.ssh_command(host(22), tmp_path, [], "")


class Answering:
    """A region in which one address answers when it has heard all, and then closes."""

    name = "a"

    def __init__(self, error: OSError | None = None) -> None:
        self.error = error

    def connect(self, address: str, port: int) -> socket.socket:
        if self.error:
            raise self.error
        ours, theirs = socket.socketpair()

        def answer() -> None:
            with theirs:
                theirs.settimeout(5)
                heard = b""
                while data := theirs.recv(100):
                    heard += data
                theirs.sendall(heard.upper())

        threading.Thread(target=answer, daemon=True).start()
        return ours


def test_standard_input_and_output_are_joined(
    monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    reader, writer = os.pipe()
    os.write(writer, b"hello")
    os.close(writer)
    kept = os.dup(0)
    os.dup2(reader, 0)
    try:
        access.join(Answering(), "203.0.113.10", 22)  # type: ignore[arg-type]
    finally:
        os.dup2(kept, 0)
        os.close(kept)
        os.close(reader)
    assert capfdbinary.readouterr().out == b"HELLO"


SILENT = """
import socket, sys
from osawslab import access

class Silent:
    name = "a"
    def connect(self, address, port):
        ours, self.theirs = socket.socketpair()
        print("joined", file=sys.stderr, flush=True)
        return ours

access.join(Silent(), "203.0.113.10", 22)
"""


def a_pipe() -> tuple[int, int]:
    reader, writer = os.pipe()
    return reader, writer


def a_socket() -> tuple[int, int]:
    ours, theirs = socket.socketpair()
    return ours.detach(), theirs.detach()


@pytest.mark.parametrize("ends", [a_pipe, a_socket, os.openpty])
def test_it_ends_with_its_caller_though_the_instance_is_silent(
    ends: Callable[[], tuple[int, int]],
) -> None:
    ours, theirs = ends()
    waiting, kept = os.pipe()  # its standard input stays open: somebody else has it too
    with subprocess.Popen(
        [sys.executable, "-c", SILENT], stdin=waiting, stdout=theirs, stderr=subprocess.PIPE
    ) as program:
        os.close(theirs)
        assert program.stderr is not None
        assert program.stderr.readline() == b"joined\n"
        with pytest.raises(subprocess.TimeoutExpired):
            program.wait(0.3)
        os.close(ours)
        try:
            assert program.wait(10) == 0
        finally:
            program.kill()
    os.close(waiting)
    os.close(kept)


@pytest.mark.parametrize(
    ("met", "raised"),
    [(OSError("no route"), CannotReach), (RegionGone("gone"), RegionGone)],
)
def test_nobody_there(met: OSError, raised: type[Exception]) -> None:
    with pytest.raises(raised):
        access.join(Answering(met), "203.0.113.10", 22)  # type: ignore[arg-type]


def test_a_secret_is_not_in_what_a_region_shows() -> None:
    assert "SECRET" not in repr(REGION)
    assert "SECRET" in json.dumps(vars(REGION))
