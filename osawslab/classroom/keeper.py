"""The keeper of a class: it holds the seats' ports, starts seats, and JupyterLab on a first visit.

What all seats share is imported in a process of its own, which is forked before the book is read:
in a seat's memory is nothing of another's. Seats end with the keeper.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import json
import os
import select
import signal
import socket
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from osawslab.classroom import book
from osawslab.classroom.book import Book, Seat
from osawslab.region import kernel

TELL_SECONDS = 30.0
SOON_SECONDS = 60.0  # a JupyterLab that ends sooner did not start


def main() -> None:
    """Keep a class: its name, and the descriptors of its lock and of who waits."""
    name, lock = sys.argv[1], int(sys.argv[2])
    ready = os.fdopen(int(sys.argv[3]), "w")
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if os.fork() == 0:
        ours.close()
        ready.close()
        os.close(lock)
        _warm(theirs)
    theirs.close()
    kernel.set_role("class-keeper")
    try:
        keeper = Keeper(book.known(name), ours)
    except OSError as error:
        ready.write(f"error: {error}\n")
        ready.close()
        raise
    if not ours.recv(16):
        os._exit(1)
    ready.write("ready\n")
    ready.close()
    keeper.run()


def _warm(orders: socket.socket) -> None:
    """Import everything, then fork a seat for each order."""
    kernel.die_with_parent()
    kernel.set_role("class-warm")
    from osawslab.classroom import inside, warm

    # Neither collected now nor looked at later: the collector writes to every object, and what it
    # frees is holes in pages that would be shared, filled by each seat for itself.
    gc.disable()
    warm.warm()
    gc.freeze()
    gc.enable()
    orders.send(b"warm")
    while True:
        text, given, _, _ = socket.recv_fds(orders, 1 << 16, 2)
        if not text:
            os._exit(0)
        theirs = socket.socket(fileno=given[0])
        os.dup2(given[1], 1)
        os.dup2(given[1], 2)
        os.close(given[1])
        try:
            pid = inside.child(json.loads(text), theirs)
        except (OSError, ValueError):
            pid = 0
        theirs.close()
        orders.send(str(pid).encode())


class Life:
    """A seat that runs: its pid 1, and the socket it hears on."""

    def __init__(self, pid: int, orders: socket.socket) -> None:
        self.pid = pid
        self.orders = orders
        self.jupyter = False
        self.began = 0.0  # when its JupyterLab was started


class Keeper:
    """Hold the ports and the seats of a class."""

    def __init__(self, kept: Book, warm: socket.socket) -> None:
        self.book = kept
        self._warm = warm
        self._lives: dict[str, Life] = {}
        self._died: dict[str, str] = {}  # seats that ended although nobody wanted it
        self._ports: dict[str, socket.socket] = {}
        self._log = os.open(book.folder(kept.name) / "keeper.log", os.O_WRONLY | os.O_APPEND)
        path = book.control(kept.name)
        path.unlink(missing_ok=True)
        self._control = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.bind(str(path))
        path.chmod(0o600)
        self._control.listen(16)
        self._over = False
        self._listen()

    def _listen(self) -> None:
        for seat in self.book.seats:
            if seat.name not in self._ports:
                made = socket.create_server((self.book.listen, seat.port), backlog=64)
                self._ports[seat.name] = made

    def run(self) -> None:
        """Take orders, and visits to seats without a JupyterLab, for ever."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        while True:
            told = {life.orders: name for name, life in self._lives.items()}
            visits = {
                port: name
                for name, port in self._ports.items()
                if not (name in self._lives and self._lives[name].jupyter)
            }
            ready = select.select([self._control, self._warm, *told, *visits], [], [])[0]
            if self._warm in ready:
                os._exit(1)  # who forks the seats is gone
            for each in ready:
                if each in told:
                    self._told(told[each], self._lives[told[each]])
            for each in ready:
                if each in visits:
                    self._visit(visits[each])
            if self._control in ready:
                with self._control.accept()[0] as client:
                    self._client(client)
            if self._over:
                return

    def _told(self, name: str, life: Life) -> None:
        try:
            text = life.orders.recv(1 << 16)
        except OSError:
            text = b""
        if not text:
            self._forget(name)
            self._died[name] = time.strftime("%H:%M:%S")
        elif b'"ended"' in text:
            life.jupyter = False
            if time.monotonic() - life.began < SOON_SECONDS:
                self._send_away(name)  # else it would be started for that visit again and again

    def _forget(self, name: str) -> None:
        self._lives.pop(name).orders.close()

    def _visit(self, name: str) -> None:
        """Have JupyterLab take the visit, in a seat that is started if need be."""
        life = self._lives.get(name)
        try:
            life = life or self._start(self.book.seat(name))
            seat = self.book.seat(name)
            order = {"do": "jupyter", "port": seat.port, "token": seat.token}
            log = os.open(book.home(self.book.name, seat) / "jupyter.log",
                          os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)  # fmt: skip
            try:
                socket.send_fds(
                    life.orders, [json.dumps(order).encode()], [self._ports[name].fileno(), log]
                )
            finally:
                os.close(log)
            life.jupyter = True
            life.began = time.monotonic()
        except OSError as error:
            self._say(f"{name}: {error}")
            self._send_away(name)

    def _send_away(self, name: str) -> None:
        """Close the visit that waits; the visitor may come again."""
        if select.select([self._ports[name]], [], [], 0)[0]:
            with contextlib.suppress(OSError):
                self._ports[name].accept()[0].close()

    def _say(self, text: str) -> None:
        with contextlib.suppress(OSError):  # a full disk ends no class
            os.write(self._log, f"{text}\n".encode())

    def _start(self, seat: Seat) -> Life:
        """Start a seat. Raises OSError in its words."""
        from osawslab.classroom import view

        place = book.home(self.book.name, seat)
        view.lay(place, seat.uid)
        told = {"folder": str(place), "uid": seat.uid, "name": seat.name, "learner": seat.learner}
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            socket.send_fds(self._warm, [json.dumps(told).encode()], [theirs.fileno(), self._log])
        pid = int(self._warm.recv(64) or 0)
        ours.settimeout(TELL_SECONDS)
        answer = json.loads(ours.recv(1 << 16) or b"{}") if pid else {}
        if "ready" not in answer:
            ours.close()
            raise OSError(answer.get("error", f"seat {seat.name} did not start"))
        ours.settimeout(1.0)  # one that does not listen holds up no other
        life = self._lives[seat.name] = Life(pid, ours)
        self._died.pop(seat.name, None)
        return life

    def _client(self, client: socket.socket) -> None:
        client.settimeout(TELL_SECONDS)
        with contextlib.suppress(OSError):
            text, given, _, _ = socket.recv_fds(client, 1 << 16, 4)
            try:
                answer = self._answer(json.loads(text or b"{}"), given)
            except (OSError, ValueError, KeyError) as error:
                answer = {"error": str(error)}
            finally:
                for each in given:
                    os.close(each)
            client.send(json.dumps(answer).encode())

    def _answer(self, asked: dict[str, Any], given: list[int]) -> dict[str, Any]:
        match asked["do"]:
            case "look":
                return {
                    "seats": {n: [life.pid, life.jupyter] for n, life in self._lives.items()},
                    "died": self._died,
                }
            case "book":
                self.book = book.known(self.book.name)
                self._listen()
                return {}
            case "start":
                seat = self.book.seat(asked["seat"])
                return {"pid": (self._lives.get(seat.name) or self._start(seat)).pid}
            case "stop":
                self._stop(self.book.seat(asked["seat"]).name)
                return {}
            case "end":
                self._over = True
                return {}
            case "program":
                seat = self.book.seat(asked["seat"])
                life = self._lives.get(seat.name) or self._start(seat)
                order = {"do": "program", "words": asked["words"], "tty": asked["tty"]}
                socket.send_fds(life.orders, [json.dumps(order).encode()], given)
                return {}
        raise ValueError(f"unknown request {asked['do']!r}")

    def _stop(self, name: str) -> None:
        """End a seat, and wait until the kernel has ended everything in it."""
        if name not in self._lives:
            return
        life = self._lives[name]
        with contextlib.suppress(ProcessLookupError):
            watch = os.pidfd_open(life.pid)
            signal.pidfd_send_signal(watch, signal.SIGKILL)
            select.select([watch], [], [], TELL_SECONDS)
            os.close(watch)
        self._forget(name)


def ask(name: str, asked: dict[str, Any], given: tuple[int, ...] = ()) -> dict[str, Any]:
    """Ask the keeper of a class. Raises OSError where none answers, or in its words."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
        client.settimeout(TELL_SECONDS + 5)
        client.connect(str(book.control(name)))
        socket.send_fds(client, [json.dumps(asked).encode()], given)
        answer: dict[str, Any] = json.loads(client.recv(1 << 20) or b"{}")
    if "error" in answer:
        raise OSError(answer["error"])
    return answer


def lives(name: str) -> bool:
    """Say whether the keeper of a class lives: it holds the lock."""
    try:
        with (book.folder(name) / "alive").open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    return False


def seats_data(kept: Book) -> list[dict[str, Any]]:
    """Give the seats for programs."""
    return [{**asdict(seat), "url": kept.url(seat)} for seat in kept.seats]


def log(name: str) -> Path:
    """Name the keeper's log."""
    return book.folder(name) / "keeper.log"


if __name__ == "__main__":
    main()
