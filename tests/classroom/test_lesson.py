"""A class on this server: seats that cannot reach one another, and what befalls them."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import docker_filter
import pytest

from osawslab import cli
from osawslab.classroom import book, keeper, lesson, measure, table, visit
from osawslab.classroom.book import Book, Seat
from osawslab.errors import BadSetting, LabBusy, NoPlaceToRun, Refused

pytestmark = [pytest.mark.kernel, pytest.mark.root, pytest.mark.usefixtures("root")]
NAME = "room"
SECRET = "an-aws-key-of-the-trainers"
SECONDS = 120.0
UNSHARE = 272  # the system call's number on x86_64
REACH = """
import socket
try:
    socket.create_connection(("127.0.0.1", {}), 3)
except OSError as error:
    print(type(error).__name__)
"""


def quiet(text: str) -> None:
    """Say nothing."""


def begin(count: int = 3) -> table.Class:
    names = [f"{NAME}-{number:02d}" for number in range(1, count + 1)]
    return lesson.begin(NAME, names, ["Ada", "Bob"], "", None, quiet)


@pytest.fixture(scope="module")
def room(home: Path) -> Iterator[Book]:
    """Begin a class of three, from a shell that has a secret in its environment."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        assert begin().ok
    yield book.known(NAME)
    lesson.end(NAME)


def inside(seat: Seat, script: str) -> str:
    """Run a shell script as a learner in a seat, and give all that it wrote."""
    reader, writer = os.pipe()
    status, told = os.pipe()
    null = os.open(os.devnull, os.O_RDONLY)
    asked = {"do": "program", "seat": seat.name, "words": ["bash", "-c", script], "tty": False}
    keeper.ask(NAME, asked, (null, writer, writer, told))
    for each in (writer, told, null):
        os.close(each)
    with os.fdopen(reader) as said, os.fdopen(status) as ended:
        text = said.read()
        ended.read()
    return text.strip()


def python(seat: Seat, code: str) -> str:
    """Run Python as a learner in a seat."""
    return inside(seat, f"{sys.executable} - <<'END'\n{code}\nEND")


def state(seat: Seat) -> table.Row:
    """Find a seat in the trainer's table."""
    return next(row for row in lesson.look(NAME).rows if row.seat.name == seat.name)


def until(holds: Callable[[], object]) -> None:
    """Wait until something holds, or fail."""
    tick = threading.Event()
    for _ in range(int(SECONDS * 20)):
        if holds():
            return
        tick.wait(0.05)
    pytest.fail("it did not come to hold")


def test_a_learner_is_nobody_elses_user_and_sees_only_a_home(room: Book) -> None:
    one, two, _ = room.seats
    assert [inside(seat, "id -u") for seat in (one, two)] == [str(one.uid), str(two.uid)]
    inside(one, "echo mine > ~/note; echo mine > /tmp/note; echo mine > /dev/shm/note")
    assert inside(one, "cat ~/note /tmp/note /dev/shm/note") == "mine\nmine\nmine"
    assert "mine" not in inside(two, "cat /home/*/note /tmp/note /dev/shm/note 2>&1")
    note = book.home(NAME, one) / "home/note"
    assert note.read_text() == "mine\n"
    assert "No such file" in inside(two, f"cat {note} 2>&1")
    assert inside(two, "find / -xdev -writable -type f 2>/dev/null") == ""
    assert "Read-only" in inside(two, "touch /usr/x 2>&1")


def test_of_the_servers_files_only_usr_and_etc_are_there(room: Book, tmp_path: Path) -> None:
    two = room.seats[1]
    servers = tmp_path / "of-the-server"
    servers.write_text("secret")
    servers.chmod(0o644)
    shown = inside(two, f"cat {servers} 2>&1; ls -A /root /home /srv /opt /boot /var /mnt 2>&1")
    assert "secret" not in shown
    assert shown.count("No such file") >= 4
    assert inside(two, "ls -A /home") == "learner"
    assert inside(two, "ls -A /var") == "tmp"
    assert "denied" in inside(two, "cat /etc/shadow 2>&1")
    assert inside(two, "test -r /etc/os-release && echo read") == "read"
    assert "Read-only" in inside(two, "touch /etc/x 2>&1")


def test_a_learner_sees_and_ends_no_process_of_another(room: Book) -> None:
    one, two, _ = room.seats
    visit.api(one, "status")
    pids = [life for life, _ in keeper.ask(NAME, {"do": "look"})["seats"].values()]
    users = inside(two, "ps -eo uid= | sort -u")
    assert users.split() == [str(two.uid)]
    for pid in pids:
        assert "No such process" in inside(two, f"kill -9 {pid} 2>&1") or pid < 1000
    assert {row.state for row in lesson.look(NAME).rows} <= {"open", "ready"}


def test_the_user_of_a_seat_may_end_nobody_elses_process_outside_either(room: Book) -> None:
    one, two, _ = room.seats
    pid = keeper.ask(NAME, {"do": "start", "seat": one.name})["pid"]
    with pytest.raises(subprocess.CalledProcessError):
        subprocess.run(["kill", "-9", str(pid)], user=two.uid, check=True, capture_output=True)
    home = book.home(NAME, one) / "home"
    with pytest.raises(subprocess.CalledProcessError):
        subprocess.run(["ls", str(home)], user=two.uid, check=True, capture_output=True)


def test_a_learner_reaches_no_port_of_another_nor_of_the_server(room: Book) -> None:
    one, two, _ = room.seats
    inside(one, "osawslab env > ~/env")
    there = inside(one, "grep -o '127.0.0.1:[0-9]*' ~/env | head -1")
    port = int(there.rpartition(":")[2])
    with socket.create_server(("127.0.0.1", 0)) as server:
        for number in (one.port, two.port, port, server.getsockname()[1]):
            said = python(two, REACH.format(number))
            assert said == "ConnectionRefusedError", number
    assert inside(two, "ip -o link | wc -l") == "1"
    assert "api ok" in inside(one, f"exec 3<>/dev/tcp/127.0.0.1/{port} && echo api ok")


def test_the_api_of_a_region_refuses_the_keys_of_another(room: Book) -> None:
    one, two, _ = room.seats
    keys = inside(one, "osawslab env"), inside(two, "osawslab env")
    assert keys[0] != keys[1]
    theirs = [line for line in keys[1].splitlines() if "ACCESS_KEY" in line]
    assert theirs
    asked = "osawslab env > ~/mine; . ~/mine; {}\n" + (
        f"{sys.executable} -c 'import boto3, os\n"
        'print(len(boto3.client("ec2", endpoint_url=os.environ["AWS_ENDPOINT_URL"])'
        '.describe_vpcs()["Vpcs"]))\' 2>&1 | tail -1'
    )
    assert inside(one, asked.format("true")) == "1"
    assert "AuthFailure" in inside(one, asked.format("; ".join(theirs)))


def test_jupyterlab_lets_only_the_seats_own_token_in(room: Book) -> None:
    one, two, _ = room.seats
    assert visit.api(one, "status")["kernels"] == 0
    for token in (two.token, "", "x" * 32):
        asked = f"http://127.0.0.1:{one.port}/api/contents?token={token}"
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(asked, timeout=SECONDS)


def test_nothing_of_others_nor_of_the_trainer_is_in_a_seats_memory(room: Book) -> None:
    one, two, three = room.seats
    visit.api(two, "status")
    code = """
import re
found = b""
for pid in {pids}:
    for line in open(f"/proc/{{pid}}/maps"):
        first, last, mode = re.match(r"(\\w+)-(\\w+) (\\S+)", line).groups()
        if mode.startswith("rw"):
            with open(f"/proc/{{pid}}/mem", "rb", 0) as memory:
                memory.seek(int(first, 16))
                try: text = memory.read(int(last, 16) - int(first, 16))
                except OSError: continue
            for secret in {secrets}:
                if secret[::-1].encode() in text: found += secret[::-1].encode()
    found += open(f"/proc/{{pid}}/environ", "rb").read()
print(found.decode(errors='replace'))
"""
    inside(two, "osawslab env")
    pids = [int(pid) for pid in inside(two, "pgrep -f '[c]lassroom.keeper'").split()]
    assert len(pids) > 3  # pid 1, JupyterLab, a region
    secrets = [each.token[::-1] for each in room.seats] + [SECRET[::-1]]  # not as such in the code
    said = python(two, code.format(pids=pids[:-1], secrets=secrets))
    assert two.token in said  # the search finds what is there
    for secret in (one.token, three.token, SECRET):
        assert secret not in said


def test_a_new_user_namespace_leads_out_of_no_seat(room: Book) -> None:
    two = room.seats[1]
    said = inside(two, "unshare -Urmpf --mount-proc bash -c 'id -u; ls /work /tmp/* ; ps ax' 2>&1")
    assert said.startswith("0\n")
    assert inside(two, "unshare -Ur nsenter -t 1 -n ip -o link 2>&1 | grep -c eth") == "0"
    assert "0" in inside(two, "grep NoNewPrivs /proc/self/status; su -c id 2>&1 | grep -c uid=0")


def test_the_table_says_who_is_where(room: Book) -> None:
    one = room.seats[0]
    inside(one, "osawslab run provision; osawslab hint swap_mac; osawslab check swap_mac")
    row = state(one)
    assert (row.seat.learner, row.reached.step, sum(row.reached.hints.values())) == (
        "Ada", "provision", 1,
    )  # fmt: skip
    assert row.reached.check == "swap_mac"
    assert not row.reached.holds
    assert "Ada" in lesson.look(NAME).text


def test_the_trainer_breaks_a_seat_and_sees_what_is_found(room: Book) -> None:
    three = room.seats[2]
    for wrong in ("09=router", "routr"):
        with pytest.raises(BadSetting):
            lesson.give(NAME, [wrong])
    found = lesson.give(NAME, ["03=no-default-route"])
    assert found.ok, found.text
    assert state(three).reached.exercise == "no-default-route: 0 of 1, 0 hints, broken"
    assert state(room.seats[1]).reached.exercise == ""
    inside(three, "osawslab exercise hint; osawslab exercise answer default-route")
    assert "1 of 1, 1 hints, broken" in lesson.look(NAME).text


def test_a_link_in_the_place_of_a_record_shows_the_trainer_nothing(room: Book) -> None:
    two = room.seats[1]
    theirs = book.home(NAME, room.seats[0]) / "home" / table.RECORD
    inside(two, f"ln -sf {theirs} ~/{table.RECORD}")
    assert state(two).reached.step == ""
    inside(two, f"rm ~/{table.RECORD}")


def test_a_seat_that_dies_harms_no_other_and_comes_back_on_a_visit(room: Book) -> None:
    one, two, three = room.seats
    others = {one.name: state(one).state, three.name: state(three).state}
    os.kill(keeper.ask(NAME, {"do": "start", "seat": two.name})["pid"], signal.SIGKILL)
    until(lambda: state(two).state.startswith("died at"))
    assert {each.name: state(each).state for each in (one, three)} == others
    assert visit.api(two, "status")
    assert state(two).state == "open"


def test_a_learner_who_closes_the_browser_finds_the_kernel_again(room: Book) -> None:
    three = room.seats[2]
    kernel = visit.api(three, "kernels", "POST")["id"]
    assert visit.cell(three, kernel, "x = 41", SECONDS)[0]
    assert [each["id"] for each in visit.api(three, "kernels")] == [kernel]
    assert visit.cell(three, kernel, "print(x + 1)", SECONDS) == (True, "42\n")
    visit.api(three, f"kernels/{kernel}", "DELETE")


def test_memory_is_told_by_what_a_process_does(room: Book) -> None:
    one = room.seats[0]
    kernel = visit.api(one, "kernels", "POST")["id"]
    walked = "assert not get_ipython().kernel._kernel_modules"  # it would copy what is shared
    assert visit.cell(one, kernel, walked, SECONDS) == (True, "")
    found = measure.roles(room)
    assert {"class-keeper", "class-warm", "seat", "seat-jupyter", "seat-kernel"} <= found.keys()
    assert found["seat-kernel"].processes == 1
    assert all(0 < role.private <= role.share for role in found.values())
    visit.api(one, f"kernels/{kernel}", "DELETE")


def test_two_trainers_look_at_once_and_only_one_changes(room: Book) -> None:
    with lesson._working(NAME):
        assert len(lesson.look(NAME).rows) == 3
        for change in (begin, lambda: lesson.reset(NAME, "1"), lambda: lesson.end(NAME)):
            with pytest.raises(LabBusy, match="another trainer"):
                change()


def test_reset_begins_a_lab_anew_and_keeps_the_notebooks(room: Book) -> None:
    one = room.seats[0]
    visit.api(one, "status")
    inside(one, "osawslab run provision; echo mine > ~/osawslab-notebooks/mine.txt")
    assert state(one).reached.step == "provision"
    shown = lesson.reset(NAME, "1")
    assert shown.ok
    assert state(one).reached.step == ""
    assert "does not run" in inside(one, "osawslab status")
    assert inside(one, "cat ~/osawslab-notebooks/mine.txt") == "mine"
    assert book.known(NAME) == room


def test_after_a_reboot_the_class_goes_on_where_it_was(room: Book) -> None:
    one = room.seats[0]
    inside(one, "osawslab run provision")
    with (book.folder(NAME) / "alive").open() as held:
        about = os.fstat(held.fileno())
    for entry in Path("/proc").glob("[0-9]*"):  # who holds the class's lock: all at once
        if _holds(entry, about):
            os.kill(int(entry.name), signal.SIGKILL)
    until(lambda: not keeper.lives(NAME))
    until(lambda: {row.state for row in lesson.look(NAME).rows} == {"ended"})
    assert state(one).reached.step == "provision"
    assert begin().ok
    assert book.known(NAME) == room
    assert '"running"' in inside(one, "osawslab run provision >/dev/null; osawslab status --json")


def _holds(process: Path, about: os.stat_result) -> bool:
    try:
        return any(os.path.samestat(each.stat(), about) for each in (process / "fd").iterdir())
    except OSError:
        return False


def test_more_seats_join_a_class_that_runs(room: Book) -> None:
    shown = begin(4)
    assert shown.ok
    assert [row.seat.token for row in shown.rows[:3]] == [seat.token for seat in room.seats]
    assert visit.api(book.known(NAME).seats[3], "status")


def test_the_command_answers_as_json(
    room: Book, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cli.main(["seats", "--name", NAME, "--json"]) == 0
    told = json.loads(capfd.readouterr().out)
    assert [each["seat"] for each in told["seats"]][:2] == ["room-01", "room-02"]
    assert {"seat", "learner", "state", "step", "check", "hints", "url"} <= told["seats"][0].keys()
    for cloud in (["--cloud", "openstack"], ["--set", "cloud=openstack"]):
        assert cli.main(["seats", "3", "--name", NAME, "--json", *cloud]) == 2
        told = json.loads(capfd.readouterr().out)["error"]
        assert "made by hand" in told["what"]
        assert "--target aws --cloud openstack" in told["next"]
    assert cli.main(["seats", "--name", NAME, "--enter", "2", "--", "sh", "-c", "exit 7"]) == 7


def test_where_seats_could_make_no_namespace_no_seat_is_started(home: Path) -> None:
    code = (
        "import docker_filter\nfrom osawslab.classroom import lesson\n"
        "from osawslab.errors import NoPlaceToRun\n"
        f"docker_filter.install(({UNSHARE},))\n"
        "try: lesson.begin('none', ['none-01'], [], '', None, lambda text: None)\n"
        "except NoPlaceToRun as met: print(met)\n"
    )
    kit = str(Path(docker_filter.__file__).parent)
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": kit},
                          capture_output=True, text=True, check=True)  # fmt: skip
    assert "no user namespace; nothing was started" in done.stdout
    assert "Operation not permitted" in done.stdout
    assert book.read("none") is None
    assert not keeper.lives("none")


def test_a_full_disk_is_said(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = home / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(small)], check=True)
    try:
        monkeypatch.setenv("XDG_STATE_HOME", str(small))
        with pytest.raises(Refused, match="too small") as met:
            lesson.begin("full", ["full-01"], [], "", None, quiet)
        assert "of disk" in met.value.seen
        monkeypatch.setattr(book, "fitting", lambda *_: "")
        (small / "all").write_bytes(b"\0" * 56_000)
        with pytest.raises(NoPlaceToRun, match="cannot be written"):
            lesson.begin("full", [f"full-{n:02d}" for n in range(1, 100)], [], "", None, quiet)
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)


def test_the_end_leaves_no_process_port_or_file(home: Path) -> None:
    names = ["brief-01"]
    assert lesson.begin("brief", names, [], "", None, quiet).ok
    kept = book.known("brief")
    pid = keeper.ask("brief", {"do": "look"})["seats"]["brief-01"][0]
    watch = os.pidfd_open(pid)
    assert lesson.end("brief").ended == ("brief-01",)
    assert select.select([watch], [], [], SECONDS)[0]
    os.close(watch)
    assert not book.folder("brief").exists()
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", kept.seats[0].port), 3)
