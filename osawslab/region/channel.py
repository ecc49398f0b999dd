"""One byte channel that carries many connections, each with its own flow control.

Made for a serial line between two kernels, which drops what its reader has no room for: of what
one end sends, at most `WINDOW` bytes are unacknowledged at any time. On top of that each
connection has its own credit, so that one whose reader is slow stops only itself. The descriptor
of a connection can be passed through another one, as `SCM_RIGHTS` does.

A frame is a kind, a connection's number, the length of what follows, and that. Both ends are
alike; one numbers the connections it opens oddly, the other evenly.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import socket
import struct
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

HEADER = struct.Struct(">BIH")
PAYLOAD = 1024  # bytes of a frame at most
WINDOW = 3072  # bytes on the line at most; a terminal of Linux holds 4095 (n_tty.c)
OWED = WINDOW // 3  # acknowledged at the latest; what is left always takes a whole frame
CREDIT = 1 << 16  # bytes of one connection that its reader has not taken
QUEUED = 32  # frames that wait for the line before connections are no longer read
OPEN, DATA, END, GRANT, PASS, GONE, ACK = range(7)


@dataclass
class Stream:
    """One connection: what its socket has not taken yet, and what it may still send."""

    number: int
    socket: socket.socket
    given: bytearray = field(default_factory=bytearray)
    passed: list[int] = field(default_factory=list)  # to go with the next byte that is written
    credit: int = CREDIT
    reads: bool = True  # our socket may still speak
    ended: bool = False  # the other end will not speak any more


class Channel:
    """One end of the channel; `run` works until the line ends.

    `on_open` gives the socket for a connection that the other end opens, by what it asked for.
    """

    def __init__(
        self, line: int, *, first: int, on_open: Callable[[str], socket.socket | None]
    ) -> None:
        self._line = line
        self._next = first
        self._on_open = on_open
        self._streams: dict[int, Stream] = {}
        self._queue: deque[bytes] = deque()
        self._out = bytearray()
        self._in = bytearray()
        self._flying = 0  # bytes on the line that are not acknowledged
        self._owed = 0  # bytes that we have read and not acknowledged
        self._selector = selectors.DefaultSelector()
        self._calls: dict[int, Callable[[], None]] = {}

    def listen(self, listener: socket.socket, asked: str) -> None:
        """Open a connection, asking the other end for `asked`, for each that a listener takes."""

        def accept() -> None:
            with contextlib.suppress(BlockingIOError, ConnectionAbortedError):
                self.open(listener.accept()[0], asked)

        listener.setblocking(False)
        self._calls[listener.fileno()] = accept
        self._selector.register(listener.fileno(), selectors.EVENT_READ)

    def open(self, made: socket.socket, asked: str) -> None:
        """Join a socket with what the other end has for `asked`."""
        number = self._join(made)
        self._send(OPEN, number, json.dumps(asked).encode())

    def run(self) -> None:
        """Carry everything until the line ends."""
        os.set_blocking(self._line, False)
        self._selector.register(self._line, selectors.EVENT_READ)
        try:
            while True:
                self._interests()
                for key, events in self._selector.select():
                    if key.fd == self._line:
                        if events & selectors.EVENT_READ and not self._read_line():
                            return
                    elif key.fd in self._calls:
                        self._calls[key.fd]()
                    elif stream := self._streams.get(key.data):
                        self._serve(stream, events)
                if not self._write_line():
                    return
        finally:
            for stream in list(self._streams.values()):
                self._drop(stream)
            self._selector.close()

    def _join(self, made: socket.socket, number: int = 0) -> int:
        if not number:
            number, self._next = self._next, self._next + 2
        made.setblocking(False)
        if made.family == socket.AF_INET:
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._streams[number] = Stream(number, made)
        return number

    def _interests(self) -> None:
        """Watch what can go on: a full line or a spent credit stops the reading."""
        self._watch(self._line, selectors.EVENT_READ | (selectors.EVENT_WRITE if self._out else 0))
        room = len(self._queue) < QUEUED
        for number, stream in self._streams.items():
            reads = stream.reads and stream.credit and room
            events = (selectors.EVENT_READ if reads else 0) | (
                selectors.EVENT_WRITE if stream.given else 0
            )
            self._watch(stream.socket.fileno(), events, number)

    def _watch(self, descriptor: int, events: int, number: int = 0) -> None:
        known = self._selector.get_map().get(descriptor)
        if known is None:
            if events:
                self._selector.register(descriptor, events, number)
        elif not events:
            self._selector.unregister(descriptor)
        elif (known.events, known.data) != (events, number):
            self._selector.modify(descriptor, events, number)

    def _serve(self, stream: Stream, events: int) -> None:
        try:
            if events & selectors.EVENT_READ and stream.reads:
                self._read(stream)
            if events & selectors.EVENT_WRITE and stream.given:
                self._write(stream)
        except BlockingIOError:
            return
        except OSError:
            self._send(GONE, stream.number)
            self._drop(stream)

    def _read(self, stream: Stream) -> None:
        size = min(PAYLOAD, stream.credit)
        descriptors: list[int] = []
        if stream.socket.family == socket.AF_UNIX:
            data, descriptors, _, _ = socket.recv_fds(stream.socket, size, 4)
        else:
            data = stream.socket.recv(size)
        for descriptor in descriptors:
            number = self._join(socket.socket(fileno=descriptor))
            self._send(PASS, stream.number, struct.pack(">I", number))
        if data:
            stream.credit -= len(data)
            self._send(DATA, stream.number, data)
        else:
            stream.reads = False
            self._send(END, stream.number)
            self._finish(stream)

    def _write(self, stream: Stream) -> None:
        if stream.passed:
            sent = socket.send_fds(stream.socket, [stream.given], stream.passed)
            while stream.passed:
                os.close(stream.passed.pop())
        else:
            sent = stream.socket.send(stream.given)
        del stream.given[:sent]
        self._send(GRANT, stream.number, struct.pack(">I", sent))
        self._finish(stream)

    def _finish(self, stream: Stream) -> None:
        """Hand on that the other end has ended, once all it said is written."""
        if stream.given or not stream.ended:
            return
        if not stream.reads:
            self._drop(stream)
            return
        with contextlib.suppress(OSError):
            stream.socket.shutdown(socket.SHUT_WR)

    def _drop(self, stream: Stream) -> None:
        self._streams.pop(stream.number, None)
        self._watch(stream.socket.fileno(), 0)
        for descriptor in stream.passed:
            os.close(descriptor)
        stream.socket.close()

    def _send(self, kind: int, number: int, payload: bytes = b"") -> None:
        self._queue.append(HEADER.pack(kind, number, len(payload)) + payload)

    def _write_line(self) -> bool:
        """Put on the line what may be there; False when it has ended."""
        while self._queue and self._flying + len(self._queue[0]) <= WINDOW:
            frame = self._queue.popleft()
            self._flying += len(frame)
            self._out += frame
        while self._out:
            try:
                sent = os.write(self._line, self._out)
            except BlockingIOError:
                return True
            except OSError:
                return False
            del self._out[:sent]
        return True

    def _read_line(self) -> bool:
        try:
            data = os.read(self._line, 1 << 16)
        except BlockingIOError:
            return True
        except OSError:  # a terminal whose other end is closed: EIO
            return False
        self._in += data
        while len(self._in) >= HEADER.size:
            kind, number, length = HEADER.unpack_from(self._in)
            size = HEADER.size + length
            if len(self._in) < size:
                break
            payload = bytes(self._in[HEADER.size : size])
            del self._in[:size]
            if kind == ACK:
                self._flying -= number
                continue
            self._owed += size
            self._take(kind, number, payload)
        if self._owed >= OWED:
            self._out += HEADER.pack(ACK, self._owed, 0)
            self._owed = 0
        return bool(data)

    def _take(self, kind: int, number: int, payload: bytes) -> None:
        if kind == OPEN:
            made = self._on_open(json.loads(payload))
            if made is None:
                self._send(GONE, number)
            else:
                self._join(made, number)
            return
        stream = self._streams.get(number)
        if stream is None:  # it went while this was on its way
            return
        if kind == DATA:
            stream.given += payload
        elif kind == END:
            stream.ended = True
            self._finish(stream)
        elif kind == GRANT:
            stream.credit += struct.unpack(">I", payload)[0]
        elif kind == PASS:
            ours, theirs = socket.socketpair()
            self._join(ours, struct.unpack(">I", payload)[0])
            stream.passed.append(theirs.detach())
        elif kind == GONE:
            self._drop(stream)
