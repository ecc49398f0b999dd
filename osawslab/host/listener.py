"""A capture that runs somewhere: `listen`'s text, started there, and what it writes.

Whoever starts one ends it; where that is forgotten, or this process dies, it ends by itself.
"""

from __future__ import annotations

import contextlib
import json
import queue
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import paramiko

from osawslab.errors import CannotReach, LabTimeout
from osawslab.host import listen

BEGIN_SECONDS = 20.0
END_SECONDS = 120.0  # what waits on the host goes through the connection first
BEAT_SECONDS = 5.0  # `listen` ends after 30 s without a word
CHUNK = 1 << 18
BROKEN = (OSError, EOFError, paramiko.SSHException)


class Stream(Protocol):
    """Both ends of a program: a socket, or a channel of SSH."""

    def recv(self, size: int, /) -> bytes: ...
    def sendall(self, data: bytes, /) -> None: ...
    def settimeout(self, seconds: float, /) -> None: ...
    def close(self) -> None: ...


def source() -> str:
    """Give the text of the program."""
    return Path(listen.__file__).read_text()


class Listener:
    """Messages of one `listen`: kind, number of the point, bytes; None when it has ended."""

    def __init__(self, stream: Stream, where: str) -> None:
        self.where = where
        self.messages: queue.SimpleQueue[tuple[int, int, bytes] | None] = queue.SimpleQueue()
        self.ended: dict[str, Any] = {}  # why, and what was lost by point
        self.over = False
        self._stream = stream
        self._stopped = False
        stream.settimeout(BEAT_SECONDS)
        self._thread = threading.Thread(target=self._read, name="capture", daemon=True)
        self._thread.start()

    def begin(self) -> dict[str, Any]:
        """Wait until it captures; the kind of each point's interface, and those it cannot have.

        Raises LabTimeout, CannotReach.
        """
        try:
            first = self.messages.get(timeout=BEGIN_SECONDS)
        except queue.Empty:
            self.close()
            raise LabTimeout(
                f"no capture has begun on {self.where} within {BEGIN_SECONDS:.0f} s"
            ) from None
        if first is None:
            raise CannotReach(
                f"the capture on {self.where} did not begin",
                seen="its program ended without a word",
                next='lab.shell("python3 --version"), then again',
            )
        return dict(json.loads(first[2]))

    def arrived(self) -> Iterator[tuple[int, int, bytes]]:
        """Take the messages that are here."""
        with contextlib.suppress(queue.Empty):
            while not self.over:
                message = self.messages.get_nowait()
                if message is None:
                    self.over = True
                else:
                    yield message

    def stop(self) -> None:
        """End the capture; wait until all that it has seen until now is here."""
        self._stopped = True
        with contextlib.suppress(*BROKEN):
            self._stream.sendall(b"\n")
        self._thread.join(END_SECONDS)
        self.close()
        self._thread.join(2 * BEAT_SECONDS)

    def close(self) -> None:
        """Let go: what was not read yet is lost."""
        with contextlib.suppress(*BROKEN):
            self._stream.close()

    def _read(self) -> None:
        with contextlib.suppress(*BROKEN):
            for kind, point, data in self._messages():
                if kind == listen.TOLD and "ended" in (told := json.loads(data)):
                    self.ended = told
                else:
                    self.messages.put((kind, point, data))
        self.messages.put(None)

    def _messages(self) -> Any:
        held = bytearray()
        beat = time.monotonic()
        while True:
            while len(held) >= listen.HEAD.size:
                kind, point, size = listen.HEAD.unpack_from(held)
                end = listen.HEAD.size + size
                if len(held) < end:
                    break
                yield kind, point, bytes(held[listen.HEAD.size : end])
                del held[:end]
            if time.monotonic() > beat + BEAT_SECONDS and not self._stopped:
                beat = time.monotonic()
                self._stream.sendall(b".")
            with contextlib.suppress(TimeoutError):
                part = self._stream.recv(CHUNK)
                if not part:
                    return
                held += part
