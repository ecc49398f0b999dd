"""The way to OpenStack's APIs: carries what it is given, to where it may, and nowhere else."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any

import pytest

from osawslab.cloud.openstack import api, client, proxy
from osawslab.errors import CannotReach

ADDRESS, PORT = "172.16.10.101", 9696
BIG = bytes(range(256)) * 4096 * 4  # 4 MiB
Ask = Callable[..., tuple[int, bytes, Any]]


class Api(BaseHTTPRequestHandler):
    """Answers what it was asked; closes after each answer without saying so, like uWSGI."""

    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        pass

    def answer(self) -> None:
        self.close_connection = True
        if self.path == "/refuses":  # before it has read the body
            self.connection.sendall(b"HTTP/1.1 401 No\r\nContent-Length: 2\r\n\r\nno")
            return
        if self.path == "/says-nothing":
            return
        if self.headers.get("Transfer-Encoding"):
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = body or f"{self.command} {self.path} {self.headers['X-Auth-Token']}".encode()
        self.send_response(404 if self.path == "/nothing" else 200)
        if self.path == "/chunks":
            self.send_header("Transfer-Encoding", "chunked")
            body = (
                b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in (body[:9], body[9:])) + b"0\r\n\r\n"
            )
        else:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_HEAD = do_POST = do_PUT = answer


@pytest.fixture
def upstream() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Api) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


@pytest.fixture
def opened(upstream: int, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """List the connections that were opened; all of them lead to the API here."""
    seen: list[tuple[str, int]] = []

    def open_socket(host: object, address: str, port: int) -> socket.socket:
        seen.append((address, port))
        if port == 8774:
            raise CannotReach("it is gone", seen="no route")
        return socket.create_connection(("127.0.0.1", upstream), 5)

    monkeypatch.setattr(api, "open_socket", open_socket)
    return seen


@pytest.fixture
def url(opened: list[tuple[str, int]]) -> Iterator[str]:
    with proxy.to_apis(SimpleNamespace(), ADDRESS) as made:  # type: ignore[arg-type]
        yield made


@pytest.fixture
def ask(url: str) -> Ask:
    def asked(
        method: str, path: str, body: Any = None, address: str = ADDRESS, port: int = PORT
    ) -> tuple[int, bytes, Any]:
        with contextlib.closing(http.client.HTTPConnection(url.partition("//")[2])) as made:
            made.timeout = 10
            there = path if path.startswith("*") else f"http://{address}:{port}{path}"
            chunked = body is not None and not isinstance(body, bytes)
            made.request(method, there, body, {"X-Auth-Token": "t"}, encode_chunked=chunked)
            found = made.getresponse()
            return found.status, found.read(), found.headers

    return asked


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "answer"),
    [
        ("GET", "/v2.0/ports?name=a%20b&x=1", None, 200, b"GET /v2.0/ports?name=a%20b&x=1 t"),
        ("GET", "", None, 200, b"GET / t"),
        ("HEAD", "/v3", None, 200, b""),
        ("POST", "/v3", b"{}", 200, b"{}"),
        ("GET", "/nothing", None, 404, b"GET /nothing t"),
        ("PUT", "/v2/images", BIG, 200, BIG),
        ("PUT", "/chunks", BIG, 200, BIG),
        ("PUT", "/chunks", [b"one", b"two" * 99], 200, b"one" + b"two" * 99),
        ("PUT", "/refuses", BIG * 16, 401, b"no"),
        ("GET", "/says-nothing", None, 502, None),
    ],
)
def test_it_carries_requests_and_answers(
    method: str, path: str, body: Any, status: int, answer: bytes | None, ask: Ask,
    opened: list[tuple[str, int]],
) -> None:  # fmt: skip
    found = ask(method, path, iter(body) if isinstance(body, list) else body)
    assert found[0] == status
    assert answer is None or found[1] == answer
    assert found[2]["Connection"] == "close"
    assert opened == [(ADDRESS, PORT)]


@pytest.mark.parametrize(
    ("address", "port"),
    [(ADDRESS, 22), (ADDRESS, 3306), ("127.0.0.1", 9696), ("169.254.169.254", 80)],
)
def test_it_leads_nowhere_else(
    address: str, port: int, ask: Ask, url: str, opened: list[tuple[str, int]]
) -> None:
    assert ask("PUT", "/", BIG, address, port)[0] == 403
    assert connect(url, f"{address}:{port}")[0].startswith(b"HTTP/1.1 403")
    assert opened == []


@pytest.mark.parametrize("path", ["*", "*/v3"])
def test_it_is_no_server_of_its_own(path: str, ask: Ask) -> None:
    assert ask("GET", path)[0] == 400


def test_an_api_that_cannot_be_reached(ask: Ask, url: str) -> None:
    status, said, _ = ask("PUT", "/v2.1", BIG, port=8774)
    assert status == 502
    assert b"no route" in said
    assert connect(url, f"{ADDRESS}:8774")[0].startswith(b"HTTP/1.1 502")


def connect(url: str, there: str, words: bytes = b"") -> tuple[bytes, bytes]:
    """Ask for a way, say something, read until it ends: the answer, and what came behind it."""
    address, _, port = url.partition("//")[2].partition(":")
    with socket.create_connection((address, int(port)), 5) as made:
        made.sendall(f"CONNECT {there} HTTP/1.1\r\nHost: {there}\r\n\r\n".encode() + words)
        heard = b""
        while piece := made.recv(65536):
            heard += piece
    return tuple(heard.split(b"\r\n\r\n", 1))  # type: ignore[return-value]


def test_it_joins_connections(url: str, opened: list[tuple[str, int]]) -> None:
    head = b"POST /v3 HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(BIG)
    answer, heard = connect(url, f"{ADDRESS}:5000", head + BIG)
    assert answer == b"HTTP/1.1 200 OK"
    assert heard.startswith(b"HTTP/1.1 200")
    assert heard.endswith(b"\r\n\r\n" + BIG)
    assert opened == [(ADDRESS, 5000)]


def test_it_ends_with_its_block(opened: list[tuple[str, int]]) -> None:
    with client.variables(SimpleNamespace(), ADDRESS, "secret") as found:  # type: ignore[arg-type]
        url = found["http_proxy"]
        assert connect(url, f"{ADDRESS}:5000", b"GET / HTTP/1.1\r\n\r\n")[1]
        # One that is in the middle of a request does not keep it.
        address, _, port = url.partition("//")[2].partition(":")
        hanging = socket.create_connection((address, int(port)), 5)
    with hanging, pytest.raises(ConnectionRefusedError):
        socket.create_connection((address, int(port)), 5)
