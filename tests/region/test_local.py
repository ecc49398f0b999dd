"""A region from outside: started once, found, asked, ended; private, and nothing is left."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from osawslab.errors import LabBusy, LabTimeout, NoPlaceToRun, RegionGone
from osawslab.region import local
from osawslab.region.local import Region

World = Any  # conftest's


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def holders(name: str) -> list[int]:
    """Name the processes that hold a lab's lock file open."""
    about = (local.state_folder(name) / "alive").stat()
    found = []
    for entry in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            held = entry.stat()
        except OSError:
            continue
        if (held.st_dev, held.st_ino) == (about.st_dev, about.st_ino):
            found.append(int(entry.parts[2]))
    return sorted(set(found))


def runs(pid: int) -> bool:
    """Say whether a process runs; one that only waits to be collected does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def test_state_is_where_xdg_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/some/state")
    assert local.state_folder("lab") == Path("/some/state/osawslab/lab")
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", "/home/me")
    assert local.state_folder("lab") == Path("/home/me/.local/state/osawslab/lab")


@pytest.mark.parametrize("state", ["/s", "/" + "long/" * 40])
@pytest.mark.parametrize("name", ["a", "z" * 32])
def test_a_sockets_path_is_short(state: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", state)
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/1234567890")
    assert len(str(local.runtime_folder(name) / "control")) <= 107
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert str(local.runtime_folder(name)).startswith(f"/tmp/osawslab-{os.getuid()}/")


def test_labs_of_one_name_in_two_homes_have_sockets_of_their_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folders = set()
    for state in ("/one", "/two"):
        monkeypatch.setenv("XDG_STATE_HOME", state)
        folders.add(local.runtime_folder("lab"))
    assert len(folders) == 2


def test_a_folder_is_made_private_and_one_that_is_open_is_closed(tmp_path: Path) -> None:
    assert mode(local.private_folder(tmp_path / "new/sub")) == 0o700
    (tmp_path / "open").mkdir(mode=0o755)
    assert mode(local.private_folder(tmp_path / "open")) == 0o700


def test_a_folder_of_somebody_elses_is_refused(tmp_path: Path, root: None) -> None:
    os.chown(tmp_path, 12345, 12345)
    with pytest.raises(NoPlaceToRun, match="belongs to somebody else") as caught:
        local.private_folder(tmp_path)
    assert caught.value.seen == "uid 12345"


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NoPlaceToRun, match="cannot be made") as caught:
        local.private_folder(tmp_path / "file/sub")
    assert "Not a directory" in caught.value.seen


def test_a_private_file_is_whole_or_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "file"
    local.write_whole(path, "one")
    assert (path.read_text(), mode(path)) == ("one", 0o600)
    with pytest.raises(UnicodeEncodeError):
        local.write_whole(path, "two\udcff")
    assert path.read_text() == "one"


@pytest.fixture
def region(home: Path) -> Region:
    return local.ensure("here")


def test_a_region_is_started_once_and_found(region: Region) -> None:
    assert local.ensure("here") == local.find("here") == region
    assert Path(f"/proc/{region.pid}").exists()
    assert local.find("elsewhere") is None


def test_each_lab_has_a_region_of_its_own(region: Region) -> None:
    other = local.ensure("other")
    assert other.endpoint != region.endpoint
    assert other.secret_key != region.secret_key
    assert local.remove("other")
    assert local.find("here") == region
    assert region.places() == ["internet"]


def test_what_a_region_keeps_is_private(world: World) -> None:
    folder, runtime = local.state_folder(world.name), local.runtime_folder(world.name)
    assert mode(folder) == mode(runtime) == 0o700
    for path in (folder / "keys.json", folder / "journal", runtime / "region.json"):
        assert mode(path) == 0o600, path
    assert mode(runtime / "control") == 0o600


def test_the_api_listens_on_loopback_alone(region: Region) -> None:
    port = int(region.endpoint.rpartition(":")[2])
    listening = [
        line.split()[1]
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]
        if line.split()[3] == "0A" and line.split()[1].endswith(f":{port:04X}")
    ]
    assert listening == [f"0100007F:{port:04X}"]
    assert f":{port:04X} " not in Path("/proc/net/tcp6").read_text()


def test_a_region_is_in_no_session_of_its_starter(region: Region) -> None:
    """Ctrl-C in the terminal, or its end, does not reach it."""
    for pid in holders("here"):
        assert os.getsid(pid) != os.getsid(0)


def test_a_region_gets_nothing_of_the_callers_aws(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted = {
        "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
        "AWS_PROFILE": "production",
        "HTTPS_PROXY": "http://proxy.example:3128",
        "http_proxy": "http://proxy.example:3128",
        "LD_PRELOAD": "",
    }
    for name, value in planted.items():
        monkeypatch.setenv(name, value)
    local.ensure("bare")
    for pid in holders("bare"):
        environ = Path(f"/proc/{pid}/environ").read_text()
        assert not [name for name in planted if f"{name}=" in environ]
    local.remove("bare")


def test_a_program_runs_inside_and_its_words_come_out(region: Region) -> None:
    done = region.execute("internet", ["sh", "-c", "cat; echo no >&2; exit 7"], "given")
    assert (done.returncode, done.stdout, done.stderr) == (7, "given", "no\n")
    gone = region.execute("nowhere", ["true"])
    assert gone.returncode
    assert "nowhere" in gone.stderr


def test_a_connection_that_is_refused_is_an_oserror_with_its_words(region: Region) -> None:
    with pytest.raises(OSError, match="refused"):
        region.connect("8.8.8.8", 1)
    with pytest.raises(OSError, match="unreachable"):
        region.connect("192.0.2.1", 22)


def test_a_connection_comes_from_the_regions_internet(region: Region) -> None:
    server = "import socket,os;s=socket.create_server(('8.8.8.8',7));os.fork() and os._exit(0);"
    server += "os.setsid();[os.close(n) for n in (0,1,2)];c,w=s.accept();c.sendall(w[0].encode())"
    assert region.execute("internet", ["python3", "-c", server]).returncode == 0
    with region.connect("8.8.8.8", 7) as made:
        assert made.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert made.recv(100) == b"198.51.100.7"


def test_an_unknown_question_is_answered_with_words(region: Region) -> None:
    with pytest.raises(OSError, match="unknown request 'dance'"):
        region.ask("dance")


@pytest.mark.parametrize("line", [b"no json\n", b"[]\n", b'{"do": 1}\n', b"{}\n", b"", b"\xff\n"])
def test_noise_on_the_control_socket_breaks_nothing(line: bytes, region: Region) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(local.runtime_folder("here") / "control"))
        client.sendall(line)
        client.shutdown(socket.SHUT_WR)
        said = client.makefile().read()
    assert said == "" or "error" in json.loads(said)
    assert region.places() == ["internet"]


def test_many_may_ask_at_once(region: Region) -> None:
    answers: list[object] = []
    threads = [threading.Thread(target=lambda: answers.append(region.places())) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [["internet"]] * 20


def test_processes_that_come_at_once_find_one_region(home: Path) -> None:
    source = (
        "from osawslab.region import local\n"
        "for _ in range(20): local.find('race')\n"
        "print(local.ensure('race').endpoint)\n"
    )
    started = [
        subprocess.Popen(
            [sys.executable, "-c", source],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(6)
    ]
    told = [each.communicate(timeout=60) for each in started]
    assert [error for _, error in told if error] == []
    assert len({endpoint for endpoint, _ in told}) == 1
    local.remove("race")


def test_one_that_looks_does_not_stand_in_the_way_of_one_that_starts(home: Path) -> None:
    ended = threading.Event()

    def look() -> None:
        while not ended.is_set():
            local.find("looked-at")

    threads = [threading.Thread(target=look) for _ in range(2)]
    local.private_folder(local.state_folder("looked-at"))
    for thread in threads:
        thread.start()
    try:
        for _ in range(3):
            assert local.ensure("looked-at") == local.find("looked-at")
            local.stop("looked-at")
            assert local.find("looked-at") is None
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    local.remove("looked-at")


@pytest.mark.parametrize(("kind", "holds"), [(fcntl.LOCK_SH, False), (fcntl.LOCK_EX, True)])
def test_one_that_looks_is_not_taken_for_a_region(kind: int, holds: bool, tmp_path: Path) -> None:
    with (tmp_path / "alive").open("w") as file:
        assert not local._holds(Path("/proc/self"), os.fstat(file.fileno()))
        fcntl.flock(file, kind)
        assert local._holds(Path("/proc/self"), os.fstat(file.fileno())) is holds


def test_a_stopped_region_leaves_its_state_and_nothing_else(home: Path) -> None:
    region = local.ensure("stopped")
    pids, keys = holders("stopped"), (local.state_folder("stopped") / "keys.json").read_text()
    mounts = Path("/proc/self/mounts").read_text()
    assert local.stop("stopped")
    assert not holders("stopped")
    assert not [pid for pid in pids if runs(pid)]
    assert not local.runtime_folder("stopped").exists()
    assert Path("/proc/self/mounts").read_text() == mounts
    assert (local.state_folder("stopped") / "keys.json").read_text() == keys
    with pytest.raises(RegionGone, match="the local region of lab 'stopped' does not answer"):
        region.places()
    assert not local.stop("stopped")
    again = local.ensure("stopped")
    assert again.access_key == region.access_key
    assert local.remove("stopped")


def test_a_removed_region_leaves_nothing(home: Path) -> None:
    local.ensure("removed")
    assert local.remove("removed")
    assert not local.state_folder("removed").exists()
    assert not local.runtime_folder("removed").exists()
    assert not local.remove("removed")
    assert not local.stop("removed")


def test_a_region_whose_address_is_lost_is_replaced(home: Path) -> None:
    first = local.ensure("lost")
    (local.runtime_folder("lost") / "region.json").write_text("{")
    assert local.find("lost") is None
    second = local.ensure("lost")
    assert second.pid != first.pid
    assert not runs(first.pid)
    local.remove("lost")


def test_one_that_starts_for_too_long_is_told(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "START_SECONDS", 0.1)
    folder = local.private_folder(local.state_folder("held"))
    with (folder / "starting").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(LabBusy, match="another process has been starting lab 'held'"):
            local.ensure("held")
    with pytest.raises(LabTimeout, match="not up after 0 s"):
        local.ensure("held")
    monkeypatch.undo()
    assert local.ensure("held").places() == ["internet"]
    local.remove("held")


def test_a_region_that_cannot_start_says_why_and_starts_later(home: Path) -> None:
    folder = local.private_folder(local.state_folder("damaged"))
    (folder / "journal").write_text("no journal\n")
    with pytest.raises(NoPlaceToRun, match="the local region did not start") as caught:
        local.ensure("damaged")
    assert "journal is damaged in line 1" in caught.value.seen
    assert not holders("damaged")
    (folder / "journal").unlink()
    assert local.ensure("damaged").places() == ["internet"]
    local.remove("damaged")
