"""The way to packages: what is asked for, what is passed on, what is kept."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from osawslab.region import mirror, sources

DEB = "http://deb.debian.org/debian/pool/main/h/hello/hello_2.10-5_amd64.deb"
INDEX = "http://deb.debian.org/debian/dists/trixie/InRelease"

ARCHIVES = {"debian": "http://deb.debian.org/debian", "debian-security": "http://own.example/sec"}


@pytest.mark.parametrize(
    "uri",
    [
        DEB,
        INDEX,
        "http://DEB.debian.org:80/debian/dists/trixie/main/binary-amd64/by-hash/SHA256/0f",
        "http://security.debian.org/dists/trixie-security/InRelease",
        "http://deb.debian.org/debian/pool/main/g/gcc/g%2b%2b_1%3a2~3+b1_all.deb",
    ],
)
def test_packages_and_indexes_are_served(uri: str) -> None:
    assert mirror.wanted(uri, sources.DEBIAN) == ""


@pytest.mark.parametrize(
    ("uri", "why"),
    [
        ("http://example.com/debian/dists/trixie/InRelease", "no host"),
        ("http://deb.debian.org.example.com/debian/dists/x/InRelease", "no host"),
        ("http://deb.debian.org:22/debian/dists/trixie/InRelease", "no host"),
        ("http://deb.debian.org@example.com/debian/dists/trixie/InRelease", "only http"),
        ("https://deb.debian.org/debian/dists/trixie/InRelease", "only http"),
        ("file:///debian/dists/trixie/InRelease", "only http"),
        ("/debian/dists/trixie/InRelease", "only http"),
        ("http://deb.debian.org/", "no path"),
        ("http://deb.debian.org/debian/", "no path"),
        ("http://deb.debian.org/debian/pool/../../secret", "no path"),
        ("http://deb.debian.org/debian/pool/%2e%2e/%2e%2e/secret", "no path"),
        ("http://deb.debian.org/debian/dists/trixie/InRelease?to=example.com", "no path"),
        ("http://deb.debian.org:x/debian/dists/trixie/InRelease", "no URI"),
    ],
)
def test_nothing_else_is_served(uri: str, why: str) -> None:
    assert why in mirror.wanted(uri, sources.DEBIAN)


@dataclass
class Upstream:
    """A proxy that stands for the Internet: what it says next, and what it was asked."""

    status: int = 200
    body: bytes = b"a package"
    headers: dict[str, str] = field(default_factory=dict)
    asked: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    port: int = 0


@dataclass
class Way:
    """A mirror in front of that Internet."""

    upstream: Upstream
    archives: Path
    port: int

    def ask(
        self, uri: str, method: str = "GET", **headers: str
    ) -> tuple[int, bytes, dict[str, str]]:
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        client.request(method, uri, headers=headers)
        answer = client.getresponse()
        try:
            body = answer.read()
        except http.client.IncompleteRead as error:
            body = error.partial
        client.close()
        return answer.status, body, dict(answer.headers)

    def kept(self) -> list[str]:
        return sorted(path.name for path in self.archives.rglob("*") if path.is_file())


@pytest.fixture
def way(tmp_path: Path) -> Iterator[Way]:
    upstream = Upstream()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            upstream.asked.append((self.command, self.path, dict(self.headers)))
            self.send_response(upstream.status)
            for name, value in {
                "Content-Length": str(len(upstream.body)),
                **upstream.headers,
            }.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(upstream.body)

        do_HEAD = do_GET

        def log_message(self, *_: object) -> None:
            pass

    behind = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    proxy = f"http://127.0.0.1:{behind.server_address[1]}"
    listener = socket.create_server(("127.0.0.1", 0))
    front = mirror.Mirror(
        listener, sources.DEBIAN, {"http": proxy}, tmp_path / "archives", ARCHIVES
    )
    for server in (behind, front):
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield Way(upstream, tmp_path / "archives", listener.getsockname()[1])
    for server in (front, behind):
        server.shutdown()
        server.server_close()


def test_a_package_is_fetched_once(way: Way) -> None:
    for _ in range(2):
        status, body, headers = way.ask(DEB)
        assert (status, body, headers["Content-Length"]) == (200, b"a package", "9")
    assert [uri for _, uri, _ in way.upstream.asked] == [DEB]
    assert way.kept() == ["hello_2.10-5_amd64.deb"]


def test_an_index_is_asked_for_each_time_with_the_clients_conditions(way: Way) -> None:
    since = "Sat, 21 Nov 2026 10:00:00 GMT"
    way.ask(INDEX)
    way.upstream.status, way.upstream.body = 304, b""
    status, _, _ = way.ask(INDEX, **{"If-Modified-Since": since})
    assert status == 304
    assert way.upstream.asked[1][2]["If-Modified-Since"] == since
    assert way.kept() == []


def test_where_the_machine_has_a_mirror_of_its_own_it_is_asked(way: Way) -> None:
    asked = "/pool/updates/main/h/hello/hello_2.10-6_amd64.deb"
    assert way.ask(f"http://deb.debian.org/debian-security{asked}")[0] == 200
    assert way.upstream.asked[0][1] == f"http://own.example/sec{asked}"


def test_half_a_package_is_not_kept(way: Way) -> None:
    way.upstream.headers = {"Content-Length": "100"}
    _, body, _ = way.ask(DEB)
    assert body == b"a package"
    assert way.kept() == []


@pytest.mark.parametrize("status", [404, 503])
def test_a_refusal_is_passed_on_and_not_kept(status: int, way: Way) -> None:
    way.upstream.status = status
    assert way.ask(DEB)[0] == status
    assert way.kept() == []


def test_head_gets_no_content_and_keeps_nothing(way: Way) -> None:
    status, body, headers = way.ask(DEB, "HEAD")
    assert (status, body, headers["Content-Length"]) == (200, b"", "9")
    assert way.kept() == []


def test_a_redirection_leads_to_no_other_host(way: Way) -> None:
    way.upstream.status = 302
    way.upstream.headers = {"Location": "http://example.com/debian/dists/trixie/InRelease"}
    assert way.ask(INDEX)[0] == 403
    assert len(way.upstream.asked) == 1


@pytest.mark.parametrize(
    ("method", "uri", "status"),
    [
        ("GET", "http://example.com/debian/dists/trixie/InRelease", 403),
        ("GET", "/debian/dists/trixie/InRelease", 403),
        ("CONNECT", "deb.debian.org:443", 501),
        ("POST", DEB, 501),
        ("PUT", DEB, 501),
    ],
)
def test_others_are_refused_and_nobody_is_asked(
    method: str, uri: str, status: int, way: Way
) -> None:
    assert way.ask(uri, method)[0] == status
    assert way.upstream.asked == []


def test_a_mirror_that_is_down_is_said(tmp_path: Path, way: Way) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    front = mirror.Mirror(
        socket.create_server(("127.0.0.1", 0)),
        sources.DEBIAN,
        {"http": f"http://127.0.0.1:{port}"},
        tmp_path,
        {},
    )
    threading.Thread(target=front.serve_forever, args=(0.01,), daemon=True).start()
    way.port = front.socket.getsockname()[1]
    status, body, _ = way.ask(DEB)
    assert status == 502
    assert b"does not answer" in body
    front.shutdown()
    front.server_close()
