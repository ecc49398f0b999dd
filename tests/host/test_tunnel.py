"""A port here that leads to a service on an instance: bytes, ends, ports that are taken."""

from __future__ import annotations

import contextlib
import hashlib
import socket
import threading
from collections.abc import Iterator

import pytest
from world import Box

from osawslab.errors import BadSetting, LabBusy
from osawslab.host.tunnel import LOOPBACK, Tunnel

SERVER = """
import hashlib, socketserver, sys
class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        count = int(self.rfile.readline())
        digest = hashlib.sha256(self.rfile.read(count)).hexdigest()
        self.wfile.write(digest.encode() + bytes(count))
class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
with Server(("127.0.0.1", 8000), Handler) as server:
    print("ready", flush=True)
    server.serve_forever()
"""
SECONDS = 20.0


@pytest.fixture(scope="module")
def tunnel(box: Box) -> Iterator[Tunnel]:
    """Give a tunnel to a service that listens on the instance's loopback only."""
    ready = threading.Event()

    class Words:
        def write(self, text: str) -> None:
            if "ready" in text:
                ready.set()

        def flush(self) -> None:
            pass

    running = box.host.connection().run(
        f"exec python3 -c '{SERVER}'", asynchronous=True, in_stream=False, out_stream=Words()
    )
    assert ready.wait(SECONDS)
    made = Tunnel(box.host, LOOPBACK, 8000, (0,))
    yield made
    made.close()
    running.runner.kill()


def connect(tunnel: Tunnel) -> socket.socket:
    return socket.create_connection((LOOPBACK, tunnel.port), SECONDS)


def ask(tunnel: Tunnel, sent: bytes) -> bytes:
    """Send bytes to the service, and read until it closes."""
    with connect(tunnel) as made:
        made.sendall(b"%d\n" % len(sent) + sent)
        return b"".join(iter(lambda: made.recv(65536), b""))


@pytest.mark.parametrize("size", [0, 1, 3_000_000])
def test_what_is_sent_arrives_both_ways_and_the_end_too(tunnel: Tunnel, size: int) -> None:
    sent = bytes(range(256)) * (size // 256 + 1)
    sent = sent[:size]
    assert ask(tunnel, sent) == hashlib.sha256(sent).hexdigest().encode() + bytes(size)


def test_many_at_once_do_not_meet(tunnel: Tunnel) -> None:
    answers: dict[int, bytes] = {}

    def one(number: int) -> None:
        answers[number] = ask(tunnel, bytes([number]) * 10_000)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    assert answers == {
        number: hashlib.sha256(bytes([number]) * 10_000).hexdigest().encode() + bytes(10_000)
        for number in range(30)
    }


def test_it_listens_on_loopback_only(tunnel: Tunnel) -> None:
    assert tunnel._server.server_address == ("127.0.0.1", tunnel.port)


def test_where_nobody_listens_the_connection_closes_and_the_tunnel_stays(box: Box) -> None:
    with contextlib.closing(Tunnel(box.host, LOOPBACK, 9, (0,))) as nowhere:
        for _ in range(2):
            with connect(nowhere) as made:
                assert made.recv(1) == b""


def test_a_lost_connection_is_made_anew(box: Box, tunnel: Tunnel) -> None:
    box.host.connection().transport.close()
    with contextlib.closing(Tunnel(box.host, LOOPBACK, 22, (0,))) as ssh, connect(ssh) as made:
        assert made.recv(4) == b"SSH-"


def test_a_port_that_is_taken_or_none_says_what_to_do(box: Box, tunnel: Tunnel) -> None:
    with pytest.raises(LabBusy, match="port is taken") as caught:
        Tunnel(box.host, LOOPBACK, 22, (tunnel.port,))
    assert str(tunnel.port) in caught.value.seen
    assert caught.value.next
    with pytest.raises(BadSetting, match="0 to 65535"):
        Tunnel(box.host, LOOPBACK, 22, (65536,))
    with contextlib.closing(Tunnel(box.host, LOOPBACK, 22, (tunnel.port, 0))) as other:
        assert other.port != tunnel.port


def test_a_closed_one_gives_its_port_back(box: Box) -> None:
    made = Tunnel(box.host, LOOPBACK, 22, (0,))
    assert made.open
    made.close()
    made.close()
    assert not made.open
    with pytest.raises(ConnectionRefusedError):
        connect(made)
