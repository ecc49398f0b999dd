"""Pid 1 of a seat: it has everything imported, and forks what the seat is made of.

Orders come from the keeper (JupyterLab, a program for the trainer) and from inside the seat
(regions, kernels). Whatever comes from inside is a learner's: it can only ask for what the
learner may do anyway.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from osawslab.classroom import server, view
from osawslab.region import fork, kernel


def begin(keeper: socket.socket, told: dict[str, Any]) -> None:
    """Become the seat, in namespaces that are new; say so to the keeper. Does not come back."""
    try:
        view.enter(Path(told["folder"]), told["uid"], told["name"], told["learner"])
        inside = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        inside.bind(view.FORK)
        inside.listen(16)
    except (OSError, ValueError) as error:
        keeper.send(json.dumps({"error": f"{type(error).__name__}: {error}"}).encode())
        os._exit(1)
    kernel.set_role("seat")
    keeper.send(b'{"ready": true}')
    Loop(keeper, inside).run()
    os._exit(0)  # with pid 1, everything in the seat ends


class Loop:
    """Take orders until the keeper is gone."""

    def __init__(self, keeper: socket.socket, inside: socket.socket) -> None:
        self._keeper = keeper
        self._inside = inside
        self._jupyter = 0

    def run(self) -> None:
        """Fork what is asked for, and collect what has ended."""
        wake, woken = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        while True:
            heard: list[Any] = [self._keeper, self._inside, wake]
            ready = select.select(heard, [], [])[0]
            if wake in ready:
                os.read(wake, 512)
                self._collect()
            if self._inside in ready:
                self._from_inside()
            if self._keeper in ready and not self._from_keeper():
                return

    def _collect(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while (pid := os.waitpid(-1, os.WNOHANG)[0]) > 0:
                if pid == self._jupyter:
                    self._jupyter = 0
                    self._keeper.send(b'{"ended": "jupyter"}')

    def _from_keeper(self) -> bool:
        text, given, _, _ = socket.recv_fds(self._keeper, 1 << 16, fork.MOST)
        if not text:
            return False
        order = json.loads(text)
        if order["do"] == "jupyter":
            self._jupyter = self._fork(
                lambda: _jupyter(order["port"], order["token"]), [*given, given[1]], (3, 1, 2)
            )
        else:
            pid = self._fork(lambda: _program(order["words"], order["tty"]), given, (0, 1, 2, 3))
            self._keeper.send(json.dumps({"program": pid}).encode())
        _close(given)
        return True

    def _from_inside(self) -> None:
        with self._inside.accept()[0] as client:
            client.settimeout(5)
            given: list[int] = []
            try:
                text, given, _, _ = socket.recv_fds(client, 1 << 16, fork.MOST)
                order = json.loads(text)
                if order["do"] == "region":
                    pid = self._fork(lambda: _region(order["env"]), given, order["numbers"])
                else:
                    do = (order["words"], order["env"], order["cwd"])
                    pid = self._fork(lambda: server.kernel(*do), given, (0, 1, 2))
                client.send(json.dumps({"pid": pid}).encode())
            except (OSError, ValueError, KeyError, TypeError) as error:
                with contextlib.suppress(OSError):
                    client.send(json.dumps({"error": str(error)}).encode())
            finally:
                _close(given)

    def _fork(self, do: Callable[[], object], given: list[int], numbers: Any) -> int:
        """Fork a process in a session of its own, with these descriptors and no others."""
        pid = os.fork()
        if pid == 0:
            _become(do, given, list(numbers))
        return pid


def _close(given: list[int]) -> None:
    for each in given:
        os.close(each)


def _become(do: Callable[[], object], given: list[int], numbers: list[int]) -> NoReturn:
    """Be a process of its own: nothing of pid 1's is left but what it has imported."""
    status = 1
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.setsid()
        fork.arrange(given, numbers)
        os.chdir(view.HOME)
        do()
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    except BaseException:  # noqa: BLE001 (nothing above this frame is this process's)
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def _jupyter(port: int, token: str) -> None:
    kernel.set_role("seat-jupyter")
    server.serve(socket.socket(fileno=3), port, token)


def _region(env: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(env)
    fork.region()


def _program(words: list[str], tty: bool) -> None:
    """Run a program for the trainer; descriptor 3 is told how it ended."""
    import subprocess

    if tty:
        import fcntl
        import termios

        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    status = subprocess.run(words, check=False).returncode
    os.write(3, str(status).encode())


def child(told: dict[str, Any], keeper: socket.socket) -> int:
    """Fork a seat out of the warm process; its pid, as this process sees it."""
    reader, writer = os.pipe()
    first = os.fork()
    if first:
        os.close(writer)
        with os.fdopen(reader) as said:
            pid = int(said.read() or 0)
        os.waitpid(first, 0)
        return pid
    os.close(reader)
    kernel.unshare(view.SPACES)
    pid = os.fork()
    if pid:
        os.write(writer, str(pid).encode())
        os._exit(0)
    os.close(writer)
    os.setsid()
    fork.arrange([keeper.fileno(), 1, 2], [5, 1, 2])
    begin(socket.socket(fileno=5), told)
    os._exit(1)
