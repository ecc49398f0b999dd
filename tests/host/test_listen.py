"""The capture's program: in a network namespace of the test's own, as any user."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from osawslab.host import listen, listener, ssh
from osawslab.observe import ring
from osawslab.observe.ring import IN, OUT, Seen

# Both ends of a cable; then the program that is handed in.
GROUND = (
    "ip link add near type veth peer name far && for each in near far; do"
    " echo 1 > /proc/sys/net/ipv6/conf/$each/disable_ipv6; ip link set $each up; done"
    ' && exec "$@"'
)
# Sends frames with a number, so many from an interface, and at once says what it was told to.
SEND = """
import os, socket, struct, sys
device, count, tag = sys.argv[1], int(sys.argv[2]), bytes.fromhex(sys.argv[3])
out = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
out.bind((device, 0))
for number in range(count):
    out.send(b"\\2" * 6 + b"\\4" * 6 + tag + b"\\x88\\xb5" + struct.pack(">I", number) + bytes(42))
os.write(int(sys.argv[4]), sys.argv[5].encode())
"""
SIZE = 60  # bytes of such a frame


class Capture:
    """A capture that runs, its messages, and a shell beside it in its namespace."""

    def __init__(self, points: list[str], text: str = "", **more: Any) -> None:
        given = {"points": [("", point) for point in points], "filter": "", "seconds": 60.0}
        given |= {"frames": 10**6, "bytes": 10**9, **more}
        words = ["unshare", "--user", "--map-root-user", "--net", "sh", "-ec", GROUND, "sh"]
        program = ssh.text(text or listener.source(), **given)
        self.child = subprocess.Popen(
            [*words, sys.executable, "-c", program, more.get("ours", "")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.begun = self.told()

    def message(self) -> tuple[int, int, bytes] | None:
        """Read a message; None where there is no other."""
        assert self.child.stdout is not None
        head = self.child.stdout.read(listen.HEAD.size)
        if not head:
            return None
        kind, point, size = listen.HEAD.unpack(head)
        return kind, point, self.child.stdout.read(size)

    def told(self) -> dict[str, Any]:
        """Read a message that is JSON."""
        message = self.message()
        assert message is not None
        assert message[0] == listen.TOLD
        return dict(json.loads(message[2]))

    def send(self, device: str, count: int, tag: str = "", words: str = "") -> None:
        """Send frames beside it, then `words` to its input, and wait until that is done."""
        assert self.child.stdin is not None
        to = self.child.stdin.fileno()
        beside = ["nsenter", "--user", "--net", "--preserve-credentials"]
        pid = ["--target", str(self.child.pid)]
        program = [sys.executable, "-c", SEND, device, str(count), tag, str(to), words]
        subprocess.run([*beside, *pid, *program], check=True, timeout=60, pass_fds=(to,))

    def say(self, words: bytes) -> None:
        """Write to its input."""
        assert self.child.stdin is not None
        self.child.stdin.write(words)
        self.child.stdin.flush()

    def rest(self) -> tuple[list[Seen], dict[str, Any]]:
        """Read all that is left: frames, and what it said at its end."""
        frames: list[Seen] = []
        while message := self.message():
            kind, point, data = message
            if kind == listen.TOLD:
                return frames, dict(json.loads(data))
            frames += ring.block(point, data)
        return frames, {}

    def stop(self) -> tuple[list[Seen], dict[str, Any]]:
        """End it."""
        self.say(b"\n")
        return self.rest()


@pytest.fixture
def capture() -> Iterator[Any]:
    """Give a maker of captures; none is left."""
    made: list[Capture] = []

    def make(*points: str, text: str = "", **more: Any) -> Capture:
        made.append(Capture(list(points), text, **more))
        return made[-1]

    yield make
    for each in made:
        each.child.kill()
        each.child.wait()


def numbers(frames: list[Seen], point: int) -> list[int]:
    return [int.from_bytes(each.data[14:18], "big") for each in frames if each.point == point]


def test_all_that_was_sent_before_its_end_is_there(capture: Any) -> None:
    for count in (1, 50, 3000):  # less than a block, and several
        running = capture("near", "far")
        assert running.begun["kinds"] == {"0": 1, "1": 1}
        running.send("near", count, words="\n")
        frames, ended = running.rest()
        assert numbers(frames, 0) == numbers(frames, 1) == list(range(count))
        assert (ended["ended"], ended["lost"]) == ("asked", {"0": 0, "1": 0})
        assert all(running.begun["since"] < each.time < ended["until"] for each in frames)


def test_each_frame_has_its_direction_its_bytes_and_nanoseconds(capture: Any) -> None:
    running = capture("near", "far")
    running.send("near", 100)
    frames, _ = running.stop()
    assert {(each.point, each.direction) for each in frames} == {(0, OUT), (1, IN)}
    assert {(each.length, len(each.data)) for each in frames} == {(SIZE, SIZE)}
    assert [each.time for each in frames if each.point == 0] == sorted(
        each.time for each in frames if each.point == 0
    )
    assert any(each.time % 1000 for each in frames)
    sent, came = ([each.time for each in frames if each.point == n] for n in (0, 1))
    assert all(before < after for before, after in zip(sent, came, strict=True))


def test_a_tag_that_the_kernel_keeps_beside_the_frame_is_in_it(capture: Any) -> None:
    running = capture("near", "far")
    running.send("near", 3, "81000007")
    frames, _ = running.stop()
    assert len(frames) == 6
    for each in frames:
        assert each.data[12:18] == bytes.fromhex("8100 0007 88b5"), each
        assert each.length == len(each.data) == SIZE + 4


def test_what_the_kernel_could_not_keep_is_counted(capture: Any) -> None:
    assert "LONGEST_RING, DROPS_BYTES = 32 << 20" in listener.source()
    small = listener.source().replace("= 32 << 20, 8 << 20", "= 1 << 20, 8 << 20")
    running = capture("near", text=small)
    os.kill(running.child.pid, signal.SIGSTOP)
    running.send("near", 40_000)  # more than 2 MB can hold
    os.kill(running.child.pid, signal.SIGCONT)
    frames, ended = running.stop()
    assert ended["lost"]["0"] > 0
    assert len(frames) + ended["lost"]["0"] == 40_000


@pytest.mark.parametrize(
    ("bound", "why"),
    [({"seconds": 0.5}, "seconds"), ({"frames": 100}, "frames"), ({"bytes": 5000}, "bytes")],
)
def test_it_ends_at_its_bounds(capture: Any, bound: dict[str, Any], why: str) -> None:
    running = capture("near", **bound)
    running.send("near", 200)
    frames, ended = running.rest()
    assert ended["ended"] == why
    assert running.child.wait(10) == 0
    assert why == "seconds" or len(frames) >= 25


def test_it_ends_with_its_input(capture: Any) -> None:
    running = capture("near")
    running.child.stdin.close()
    assert running.child.wait(10) == 1


def test_it_ends_with_its_output(capture: Any) -> None:
    running = capture("near")
    running.child.stdout.close()
    running.send("near", 10)
    assert running.child.wait(10) == 1


def test_it_ends_when_nobody_says_a_word(capture: Any) -> None:
    running = capture(
        "near", text=listener.source().replace("SILENT_SECONDS = 30.0", "SILENT_SECONDS = 0.5")
    )
    assert running.child.wait(10) == 1


def test_a_word_now_and_then_keeps_it(capture: Any) -> None:
    text = listener.source().replace("SILENT_SECONDS = 30.0", "SILENT_SECONDS = 1.0")
    running = capture("near", text=text, seconds=2.5)
    while running.child.poll() is None:
        try:
            running.say(b".")
            running.child.wait(0.2)
        except (subprocess.TimeoutExpired, BrokenPipeError):
            continue
    assert running.child.returncode == 0


def test_an_interface_that_goes_down_and_comes_back_is_captured(capture: Any) -> None:
    running = capture("near", "far")
    beside = ["nsenter", "--user", "--net", "--preserve-credentials", "--target"]
    for state in ("down", "up"):
        words = ["ip", "link", "set", "near", state]
        subprocess.run([*beside, str(running.child.pid), *words], check=True)
    running.send("near", 5)
    frames, ended = running.stop()
    assert numbers(frames, 1) == [0, 1, 2, 3, 4]
    assert ended["ended"] == "asked"


def test_an_interface_that_is_not_there_is_named(capture: Any) -> None:
    assert capture("near", "nowhere").begun["unable"] == {"1": "No such device"}


@pytest.mark.parametrize(
    ("filter", "count"),
    [("ether proto 0x88b5", 7), ("icmp or arp", 0), ("ether[14:4] < 3", 3)],
)
def test_a_filter_is_tcpdumps(capture: Any, filter: str, count: int) -> None:
    running = capture("near", filter=filter)
    running.send("near", 7)
    assert len(running.stop()[0]) == count


def test_a_filter_that_is_none_is_refused_in_tcpdumps_words(capture: Any) -> None:
    said = capture("near", filter="icmp foo").begun["unable"]["-1"]
    assert "syntax error" in said


@pytest.mark.parametrize("filter", ["-r /etc/hostname", "--version", "-i lo icmp"])
def test_a_filter_is_never_an_option_of_tcpdump(capture: Any, filter: str) -> None:
    assert "syntax error" in capture("near", filter=filter).begun["unable"]["-1"]
