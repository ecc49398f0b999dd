"""The SSH server of an instance, asked by fabric and paramiko."""

from __future__ import annotations

import io
import os
import threading

import pytest
from world import Box

from osawslab.errors import CannotReach
from osawslab.keys import key_file, make_key
from osawslab.region import local

BIG = 3_000_000


def test_exit_codes_and_both_streams_come_back(box: Box) -> None:
    run = box.host.connection().run
    done = run("echo out; echo err >&2; exit 42", hide=True, warn=True, in_stream=False)
    assert (done.exited, done.stdout, done.stderr) == (42, "out\n", "err\n")
    assert run("kill -9 $$", hide=True, warn=True, in_stream=False).exited == 137
    assert run("no-such-program", hide=True, warn=True, in_stream=False).exited == 127


def test_much_output_comes_whole_on_both_streams(box: Box) -> None:
    line = "0123456789abcdef" * 4
    command = f"yes {line} | head -c {BIG} | tee /dev/stderr"
    done = box.host.connection().run(command, hide=True, in_stream=False)
    assert len(done.stdout) == len(done.stderr) == BIG
    assert done.stdout == done.stderr
    assert set(done.stdout.splitlines()[:-1]) == {line}


def test_utf_8_comes_as_it_went(box: Box) -> None:
    assert box.host.plain("printf 'ä€\\360\\237\\220\\247'") == "ä€🐧"


def test_standard_input_arrives(box: Box) -> None:
    assert box.host.run("cat", "given\n" * 1000) == "given\n" * 1000
    done = box.host.connection().run("cat", hide=True, in_stream=io.StringIO("few"))
    assert done.stdout == "few"


def test_a_terminal_is_a_terminal(box: Box) -> None:
    run = box.host.connection().run
    done = run(
        "tty; echo $TERM; [ -t 0 ] && [ -t 1 ] && stty size", pty=True, hide=True, in_stream=False
    )
    name, term, size = done.stdout.split("\r\n")[:3]
    assert name.startswith("/dev/pts/")
    assert term
    assert len(size.split()) == 2
    assert run("exit 5", pty=True, hide=True, warn=True, in_stream=False).exited == 5
    assert run("echo me > /dev/tty", pty=True, hide=True, in_stream=False).stdout == "me\r\n"
    typed = run("read line; echo got $line", pty=True, hide=True, in_stream=io.StringIO("x\n"))
    assert "got x" in typed.stdout


def test_files_go_and_come_back(box: Box) -> None:
    data, back = os.urandom(BIG), io.BytesIO()
    connection = box.host.connection()
    connection.put(io.BytesIO(data), "/home/admin/data")
    assert box.host.plain("stat -c %s data") == f"{BIG}\n"
    connection.get("/home/admin/data", back)
    assert back.getvalue() == data


def test_files_stay_below_its_root(box: Box) -> None:
    connection = box.host.connection()
    with pytest.raises(FileNotFoundError):
        connection.get(
            f"../../../../../..{local.state_folder(box.world.name)}/keys.json", io.BytesIO()
        )
    connection.put(io.BytesIO(b"x"), "/../../etc/below")
    assert box.host.plain("cat /etc/below") == "x"


def test_many_sessions_at_once(box: Box) -> None:
    said: list[str] = []
    threads = [
        threading.Thread(target=lambda n=n: said.append(box.host.plain(f"echo {n}")))
        for n in range(10)
    ]
    box.host.connection()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(said) == [f"{n}\n" for n in range(10)]


def test_its_host_key_is_known_beforehand_and_another_is_refused(box: Box) -> None:
    assert (
        box.host.plain("cat /etc/ssh/ssh_host_ed25519_key.pub").split()[1]
        == (box.world.host_public.split()[1])
    )
    _, another = make_key("another")
    with pytest.raises(CannotReach, match="shows a host key that is not the lab's"):
        box.world.host(box.eip, key=another).connection()


@pytest.mark.parametrize("user", ["root", "ubuntu", "nobody", ""])
def test_only_the_images_user_is_let_in(user: str, box: Box) -> None:
    with pytest.raises(CannotReach, match="does not answer on SSH"):
        box.world.host(box.eip, user or "x" * 100).connection()


def test_only_the_key_pairs_key_is_let_in(box: Box) -> None:
    path = key_file(box.world.target.keys)
    right = path.read_text()
    try:
        path.write_text(make_key("stranger")[0])
        with pytest.raises(CannotReach, match="does not answer on SSH"):
            box.world.host(box.eip).connection()
    finally:
        path.write_text(right)
    box.world.host(box.eip).connection()


def test_a_connection_that_says_nothing_holds_nobody_up(box: Box) -> None:
    with box.world.region.connect(box.eip, 22), box.world.region.connect(box.eip, 22) as noise:
        noise.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert box.world.host(box.eip).plain("echo here") == "here\n"
