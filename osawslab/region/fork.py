"""Processes that are forked rather than started: what a seat has imported, it has not once more.

A seat's pid 1 has everything imported, in memory that all seats share. It is asked over a socket
in the seat, by whoever would start a region or a kernel: one line of JSON, and descriptors.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import signal
import socket
from collections.abc import Sequence
from typing import Any

from osawslab.region import kernel

MOST = 16  # descriptors at once
SOCKET = "OSAWSLAB_FORK"  # the environment variable that names the socket
_HIGH = 300  # where descriptors are put aside


def ask(path: str, order: dict[str, Any], descriptors: Sequence[int]) -> int:
    """Have a process forked; its pid. Raises OSError."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as asked:
        asked.settimeout(30)
        asked.connect(path)
        socket.send_fds(asked, [json.dumps(order).encode()], list(descriptors))
        told = json.loads(asked.recv(1 << 16) or b"{}")
    if "pid" not in told:
        raise OSError(told.get("error", "the seat ends"))
    return int(told["pid"])


def arrange(given: Sequence[int], wanted: Sequence[int]) -> None:
    """Put descriptors at these numbers, and close all others."""
    aside = [fcntl.fcntl(each, fcntl.F_DUPFD, _HIGH) for each in given]
    os.closerange(0, _HIGH)
    for there, number in zip(aside, wanted, strict=True):
        os.dup2(there, number)
    os.closerange(_HIGH, _HIGH + 4 * MOST)
    for number in range(3):
        with contextlib.suppress(OSError):
            os.fstat(number)
            continue
        os.open(os.devnull, os.O_RDWR)


def region() -> None:
    """Be the region of the order on standard input, as `unshare` would start it.

    Descriptor 3 is told our pid: who kills us ends the region.
    """
    uid, gid = os.getuid(), os.getgid()
    given = json.load(os.fdopen(os.dup(0)))
    os.write(given["ready_fd"], f"{os.getpid()}\n".encode())
    kernel.set_role("region-outer")
    kernel.unshare(kernel.NEWUSER | kernel.NEWNET | kernel.NEWNS | kernel.NEWPID)
    for name, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)
    os.chdir("/")
    child = os.fork()
    if child:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        os.waitpid(child, 0)
        return
    kernel.die_with_parent()
    from osawslab.region import process

    os.lseek(0, 0, os.SEEK_SET)
    process.main()


class Forked:
    """A forked process, with what `subprocess.Popen` has and Jupyter asks for."""

    stdin = stdout = stderr = None

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        try:
            self._watch = os.pidfd_open(pid)
        except ProcessLookupError:
            self._watch, self.returncode = -1, 0

    def poll(self) -> int | None:
        """Give 0 where it has ended: with what, only its parent is told."""
        if self.returncode is None and select.select([self._watch], [], [], 0)[0]:
            os.close(self._watch)
            self.returncode = 0
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it has ended."""
        if self.returncode is None:
            select.select([self._watch], [], [], timeout)
        return self.poll() or 0

    def send_signal(self, number: int) -> None:
        """Send it a signal, if it lives."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._watch, number)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it."""
        self.send_signal(signal.SIGKILL)
