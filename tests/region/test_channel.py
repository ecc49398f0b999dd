"""Many connections over one line: whole, each at its own pace, and never too much on the line."""

from __future__ import annotations

import os
import select
import socket
import threading
from collections.abc import Iterator

import pytest

from osawslab.region.channel import ACK, CREDIT, HEADER, WINDOW, Channel

SECONDS = 20.0
MUCH = bytes(range(256)) * 4096  # 1 MiB


class Line:
    """A serial line that tells how much of each direction was ever unacknowledged at once."""

    def __init__(self) -> None:
        self.ends, self._ours = zip(socket.socketpair(), socket.socketpair(), strict=True)
        self._flying, self._rest = [0, 0], [b"", b""]
        self.most = [0, 0]
        self.thread = threading.Thread(target=self._carry)
        self.thread.start()

    def _carry(self) -> None:
        try:
            while True:
                for side in select.select(self._ours, [], [])[0]:
                    me = self._ours.index(side)
                    data = side.recv(1 << 16)
                    if not data:
                        return
                    self._count(me, data)
                    self._ours[1 - me].sendall(data)
        except BrokenPipeError:  # one end went while the other's bytes were on their way
            return
        finally:
            for each in self._ours:
                each.close()

    def _count(self, me: int, data: bytes) -> None:
        rest = self._rest[me] + data
        while len(rest) >= HEADER.size:
            kind, number, length = HEADER.unpack_from(rest)
            if len(rest) < HEADER.size + length:
                break
            if kind == ACK:
                self._flying[1 - me] -= number
            else:
                self._flying[me] += HEADER.size + length
                self.most[me] = max(self.most[me], self._flying[me])
            rest = rest[HEADER.size + length :]
        self._rest[me] = rest

    def end(self) -> None:
        self.ends[0].shutdown(socket.SHUT_RDWR)
        self.thread.join(SECONDS)


class Ends:
    """Both ends of a channel, and what the far one was asked for last."""

    def __init__(self) -> None:
        self.line = Line()
        near, far = (end.fileno() for end in self.line.ends)
        self.given: list[socket.socket] = []
        self._more = threading.Condition()
        self.listeners = {
            "tcp": socket.create_server(("127.0.0.1", 0)),
            "unix": socket.socket(socket.AF_UNIX),
            "refused": socket.create_server(("127.0.0.1", 0)),
        }
        self.listeners["unix"].bind("")  # an abstract address of the kernel's choice (unix(7))
        self.listeners["unix"].listen()
        channels = (
            Channel(near, first=1, on_open=lambda _: None),
            Channel(far, first=2, on_open=self._give),
        )
        for name, listener in self.listeners.items():
            channels[0].listen(listener, name)
        self.threads = [threading.Thread(target=each.run) for each in channels]
        for thread in self.threads:
            thread.start()

    def _give(self, asked: str) -> socket.socket | None:
        if asked == "refused":
            return None
        ours, theirs = socket.socketpair()
        ours.settimeout(SECONDS)
        with self._more:
            self.given.append(ours)
            self._more.notify_all()
        return theirs

    def connect(self, kind: str = "tcp") -> socket.socket:
        listener = self.listeners[kind]
        made = socket.socket(listener.family)
        made.settimeout(SECONDS)
        made.connect(listener.getsockname())
        return made

    def join(self, kind: str = "tcp") -> tuple[socket.socket, socket.socket]:
        """Make a connection; our end, and what the far end joined it with."""
        before = len(self.given)
        made = self.connect(kind)
        with self._more:
            assert self._more.wait_for(lambda: len(self.given) > before, SECONDS)
        return made, self.given[-1]


@pytest.fixture
def ends() -> Iterator[Ends]:
    found = Ends()
    yield found
    found.line.end()
    for thread in found.threads:
        thread.join(SECONDS)
        assert not thread.is_alive()


def read(connection: socket.socket, size: int = 1 << 30) -> bytes:
    data = b""
    while len(data) < size and (part := connection.recv(1 << 16)):
        data += part
    return data


def send(connection: socket.socket, data: bytes) -> threading.Thread:
    thread = threading.Thread(target=connection.sendall, args=(data,))
    thread.start()
    return thread


def test_many_connections_carry_much_both_ways_at_once(ends: Ends) -> None:
    pairs = [ends.join(kind) for kind in ("tcp", "unix", "tcp")]
    for number, (near, far) in enumerate(pairs):
        send(near, bytes([number]) + MUCH)
        send(far, MUCH + bytes([number]))
    for number, (near, far) in enumerate(pairs):
        assert read(far, len(MUCH) + 1) == bytes([number]) + MUCH
        assert read(near, len(MUCH) + 1) == MUCH + bytes([number])
    assert WINDOW // 2 < max(ends.line.most) <= WINDOW


def test_one_whose_reader_is_slow_stops_only_itself(ends: Ends) -> None:
    slow, unread = ends.join()
    sender = send(slow, MUCH * 8)
    near, far = ends.join()
    send(near, MUCH)
    assert read(far, len(MUCH)) == MUCH
    assert sender.is_alive()
    assert len(unread.recv(1 << 20, socket.MSG_PEEK)) <= CREDIT * 8  # the sockets hold some too
    assert read(unread, len(MUCH) * 8) == MUCH * 8


def test_one_side_can_end_and_still_read(ends: Ends) -> None:
    near, far = ends.join()
    near.sendall(b"question")
    near.shutdown(socket.SHUT_WR)
    assert read(far) == b"question"
    far.sendall(b"answer")
    far.close()
    assert read(near) == b"answer"


def test_one_that_the_far_end_does_not_have_is_closed(ends: Ends) -> None:
    assert ends.connect("refused").recv(1) == b""
    near, far = ends.join()  # and the channel goes on
    near.sendall(b"x")
    assert far.recv(1) == b"x"


def test_who_speaks_to_one_that_is_gone_learns_it(ends: Ends) -> None:
    near, far = ends.join()
    far.sendall(b"x")
    assert near.recv(1) == b"x"
    near.close()
    with pytest.raises((BrokenPipeError, ConnectionResetError)):
        far.sendall(MUCH * 1000)


def test_a_descriptor_is_passed_with_the_byte_that_it_was_sent_with(ends: Ends) -> None:
    near, far = ends.join("unix")
    kept, sent = socket.socketpair()
    kept.settimeout(SECONDS)
    far.sendall(b"before")
    assert read(near, 6) == b"before"
    socket.send_fds(far, [b"{"], [sent.fileno()])
    sent.close()
    data, descriptors, _, _ = socket.recv_fds(near, 16, 4)
    assert data == b"{"
    with socket.socket(fileno=descriptors[0]) as passed:
        passed.settimeout(SECONDS)
        passed.sendall(b"there")
        assert kept.recv(16) == b"there"
        send(kept, MUCH)
        assert read(passed, len(MUCH)) == MUCH
    assert kept.recv(1) == b""


def test_the_end_of_the_line_ends_every_connection() -> None:
    found = Ends()
    near, far = found.join()
    before = len(os.listdir("/proc/self/fd"))
    found.line.end()
    assert near.recv(1) == far.recv(1) == b""
    for thread in found.threads:
        thread.join(SECONDS)
        assert not thread.is_alive()
    assert len(os.listdir("/proc/self/fd")) < before
