"""Who may prove a host key, asked of SSH servers on loopback: before anybody has logged in."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from osawslab.errors import CannotReach
from osawslab.host import proof
from osawslab.keys import make_key
from osawslab.keys import proof as proof_of
from osawslab.target import Target

SECRET, ANOTHER = "5" * 64, "6" * 64
SECONDS = 0.3


@dataclass
class Shows:
    """An SSH server that shows a host key and a banner, and writes down who asks for what."""

    private: str
    banner: str
    later: str = ""  # the banner from the third connection on
    connections: int = 0
    offered: list[str] = field(default_factory=list)
    port: int = 0

    def __post_init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        listening = threading.Event()

        async def serve() -> None:
            server = await asyncssh.create_server(
                lambda: Server(self),
                "127.0.0.1",
                0,
                server_host_keys=[asyncssh.import_private_key(self.private)],
                gss_host=None,
            )
            self.port = server.get_port()
            listening.set()

        self.loop.create_task(serve())
        threading.Thread(target=self.loop.run_forever, daemon=True).start()
        assert listening.wait(5)

    def end(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)


class Server(asyncssh.SSHServer):
    def __init__(self, shows: Shows) -> None:
        self.shows = shows
        shows.connections += 1

    def connection_made(self, conn: Any) -> None:
        self.connection = conn

    def begin_auth(self, username: str) -> bool:
        late = self.shows.connections > 2 and self.shows.later
        if banner := late or self.shows.banner:
            self.connection.send_auth_banner(banner)
        return True

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: Any) -> bool:
        self.shows.offered.append(key.export_public_key().decode())
        return True


@pytest.fixture
def server() -> Iterator[Callable[..., Shows]]:
    made: list[Shows] = []

    def start(*how: str) -> Shows:
        made.append(Shows(*how))
        return made[-1]

    yield start
    for each in made:
        each.end()


def target(shows: Shows) -> Target:
    """Give a place where every address is that server; it has no key of a lab."""

    def connect(address: str, port: int, timeout: float) -> socket.socket:
        return socket.create_connection(("127.0.0.1", shows.port), timeout)

    return Target(lambda _: None, connect, None, Path("/nonexistent"), "")  # type: ignore[arg-type]


def pair() -> tuple[str, str]:
    private, public = make_key("host")
    return private, " ".join(public.split()[:2])


HOST = pair()
MIDDLE = pair()
RSA = asyncssh.generate_private_key("ssh-rsa", key_size=2048)
RSA_LINE = " ".join(RSA.export_public_key().decode().split()[:2])


def test_a_key_that_is_proved_is_given(server: Callable[..., Shows]) -> None:
    shows = server(HOST[0], f"Debian\r\n{proof_of(SECRET, HOST[1])}\r\nwelcome\n")
    assert proof.proved(target(shows), "203.0.113.10", "admin", SECRET, SECONDS) == HOST[1]
    assert shows.connections == 1
    assert not shows.offered


@pytest.mark.parametrize(
    ("private", "banner", "seen"),
    [
        (HOST[0], "", "no proof"),
        (HOST[0], "Debian GNU/Linux 13\n", "no proof"),
        (HOST[0], proof_of(ANOTHER, HOST[1]), "a wrong proof"),
        # A man in the middle relays the banner, and has to show a key of his own.
        (MIDDLE[0], proof_of(SECRET, HOST[1]), "a wrong proof"),
        (MIDDLE[0], proof_of(ANOTHER, MIDDLE[1]), "a wrong proof"),
        (HOST[0], proof_of(SECRET, HOST[1])[:-1], "a wrong proof"),
        (HOST[0], proof_of(SECRET, HOST[1]) + " and more", "a wrong proof"),
        (HOST[0], "osawslab-host-key-proof ", "a wrong proof"),
        (HOST[0], "osawslab-host-key-proof äöü\n", "a wrong proof"),
        # Only the kind of key that is pinned afterwards counts.
        (RSA.export_private_key().decode(), proof_of(SECRET, RSA_LINE), "host key"),
    ],
    ids=range(10),  # the keys are others on each run
)
def test_anything_else_is_refused_before_a_login(
    private: str, banner: str, seen: str, server: Callable[..., Shows]
) -> None:
    shows = server(private, banner)
    with pytest.raises(CannotReach, match="has not proved its host key") as caught:
        proof.proved(target(shows), "203.0.113.10", "admin", SECRET, SECONDS)
    assert seen in caught.value.seen
    assert "tear_down" in caught.value.next
    assert not shows.offered


def test_a_proof_may_come_late(server: Callable[..., Shows]) -> None:
    """A host of a prepared image shows its parent's proof until its own script has run."""
    shows = server(HOST[0], proof_of(ANOTHER, HOST[1]), proof_of(SECRET, HOST[1]))
    assert proof.proved(target(shows), "203.0.113.10", "admin", SECRET, 10) == HOST[1]
    assert shows.connections == 3


def test_nobody_there_is_waited_for_and_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    nobody = Shows.__new__(Shows)
    nobody.port = port
    with pytest.raises(CannotReach) as caught:
        proof.proved(target(nobody), "203.0.113.10", "admin", SECRET, SECONDS)
    assert "refused" in caught.value.seen
