"""A program in a seat, for the trainer: over a terminal of its own, never the trainer's.

A process of a learner's that held the trainer's terminal could type into it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import signal
import sys
import termios
import tty
from collections.abc import Callable

from osawslab.classroom import keeper
from osawslab.errors import StepFailed


def run(name: str, seat: str, words: list[str]) -> int:
    """Run a program in a seat; its exit status."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return _asked(name, seat, words, (0, 1, 2))
    ours, theirs = pty.openpty()

    def relay() -> None:
        os.close(theirs)
        _relay(ours)

    return _asked(name, seat, words, (theirs, theirs, theirs), relay)


def quietly(name: str, seat: str, words: list[str], out: int) -> int:
    """Run a program in a seat that reads nothing and writes to `out`; its exit status."""
    with open(os.devnull) as nothing:
        return _asked(name, seat, words, (nothing.fileno(), out, out))


def _asked(
    name: str,
    seat: str,
    words: list[str],
    given: tuple[int, int, int],
    meanwhile: Callable[[], None] = lambda: None,
) -> int:
    reader, writer = os.pipe()
    try:
        asked = {"do": "program", "seat": seat, "words": words, "tty": given[0] == given[1]}
        try:
            keeper.ask(name, asked, (*given, writer))
        except OSError as error:
            raise StepFailed(
                "the seat runs no program", seen=str(error), next=f"osawslab seats --name {name}"
            ) from None
        finally:
            os.close(writer)
        meanwhile()
        text = os.read(reader, 16)
        return int(text or b"1") % 256
    finally:
        os.close(reader)


def _relay(ours: int) -> None:
    """Join the trainer's terminal with the seat's, until that is closed."""

    def size(*_: object) -> None:
        with contextlib.suppress(OSError):
            window = fcntl.ioctl(0, termios.TIOCGWINSZ, b"\0" * 8)
            fcntl.ioctl(ours, termios.TIOCSWINSZ, window)

    size()
    before = signal.signal(signal.SIGWINCH, size)
    mode = termios.tcgetattr(0)
    try:
        tty.setraw(0)
        while True:
            ready = select.select([0, ours], [], [])[0]
            if ours in ready:
                try:
                    text = os.read(ours, 4096)
                except OSError:  # EIO: nobody holds the other end any more
                    return
                if not text:
                    return
                os.write(1, text)
            if 0 in ready:
                os.write(ours, os.read(0, 4096))
    finally:
        termios.tcsetattr(0, termios.TCSAFLUSH, mode)
        signal.signal(signal.SIGWINCH, before)
        os.close(ours)
