"""A way for other programs to OpenStack's APIs: an HTTP proxy on loopback, as long as it is used.

Programs that are not ours open their own connections, and take a proxy (RFC 9110 3.7: requests in
absolute form, and CONNECT). It leads where it is told to lead and nowhere else. It asks for no
password: the APIs do.
"""

from __future__ import annotations

import contextlib
import functools
import http.client
import itertools
import socket
import threading
from collections.abc import Callable, Iterator
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import paramiko

from osawslab.cloud.openstack import api
from osawslab.cloud.openstack.configuration import API_PORTS
from osawslab.errors import CannotReach
from osawslab.host.ssh import SshHost

ANSWER_SECONDS = 300.0  # until an API has something to say: Nova and Glance take their time
PIECE = 65536  # bytes
HOP = ("connection", "keep-alive", "proxy-connection", "proxy-authorization", "te", "upgrade")
Open = Callable[[str, int], socket.socket]
Leads = Callable[[str, int], bool]


@contextlib.contextmanager
def to_apis(host: SshHost, address: str) -> Iterator[str]:
    """Give the URL of a proxy to the APIs at the host's address, through its SSH connection."""

    def leads(there: str, port: int) -> bool:
        return there == address and port in API_PORTS.values()

    with serve(functools.partial(api.open_socket, host), leads) as url:
        yield url


@contextlib.contextmanager
def serve(open_socket: Open, leads: Leads) -> Iterator[str]:
    """Give the URL of a proxy that opens its connections by `open_socket`, where `leads` allows."""
    handler = functools.partial(_Handler, open_socket, leads)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        # A program that was killed leaves its last request behind: nobody waits for it.
        server.block_on_close = False
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    """Carries one request: the API closes after each, so both connections do."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = ANSWER_SECONDS

    def __init__(self, open_socket: Open, leads: Leads, *given: object) -> None:
        self._open_socket, self._leads = open_socket, leads
        super().__init__(*given)  # type: ignore[arg-type]

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: who asks gets the answer."""

    def _reach(self, address: str, port: int) -> socket.socket | None:
        """Open the connection; None, and an answer, where there is no way."""
        if not self._leads(address, port):
            self._refuse(403, "the proxy does not lead there")
            return None
        try:
            made = self._open_socket(address, port)
        except (paramiko.SSHException, OSError, CannotReach) as error:
            self._refuse(502, "no connection", str(error))
            return None
        made.settimeout(ANSWER_SECONDS)
        return made

    def _refuse(self, status: int, words: str, more: str = "") -> None:
        """Answer ourselves, when all is read: an answer before that may be lost."""
        for _ in self._body():
            pass
        self.send_error(status, words, more or None)

    def carry(self) -> None:
        """Carry a request there and its answer back."""
        self.close_connection = True
        there = split(self.path)
        if there is None:
            self._refuse(400, "the proxy takes http://ADDRESS:PORT/PATH")
            return
        address, port, path = there
        made = self._reach(address, port)
        if made is None:
            return
        with made, made.makefile("rb") as answers:
            self._send(made, path)
            try:
                status, headers = answers.readline(), http.client.parse_headers(answers)
            except (http.client.HTTPException, OSError):
                status = b""
            if not status.startswith(b"HTTP/1."):
                self.send_error(502, "the API closed without an answer")
                return
            # The answer's own framing stays as it is; it ends when the API closes.
            head = _lines(status.decode("latin-1").rstrip(), headers)
            with contextlib.suppress(OSError):  # whoever asked has hung up
                self.wfile.write(head)
                _copy(answers.read1, self.wfile.write)

    def _send(self, made: socket.socket, path: str) -> None:
        """Send the request. An API may answer before it has read all, and hang up: read all."""
        pieces = itertools.chain(
            [_lines(f"{self.command} {path} HTTP/1.1", self.headers)], self._body()
        )
        with contextlib.suppress(OSError, ValueError):
            for piece in pieces:
                made.sendall(piece)
        for _ in pieces:
            pass

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = carry

    def _body(self) -> Iterator[bytes]:
        """Give the request's body as it came; of a chunked one the chunks (RFC 9112 7.1)."""
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            length = self.headers.get("Content-Length", "")
            yield from self._read(int(length) if length.isdecimal() else 0)
            return
        while True:
            size = self.rfile.readline()
            yield size
            more = int(size.partition(b";")[0] or b"0", 16)
            if not more:
                break
            yield from self._read(more + 2)
        while line := self.rfile.readline():  # what may follow, up to an empty line
            yield line
            if not line.strip():
                break

    def _read(self, length: int) -> Iterator[bytes]:
        while length and (piece := self.rfile.read(min(length, PIECE))):
            length -= len(piece)
            yield piece

    def do_CONNECT(self) -> None:
        """Join the two connections until one of them ends."""
        self.close_connection = True
        address, _, port = self.path.rpartition(":")
        made = self._reach(address, int(port) if port.isdecimal() else 0)
        if made is None:
            return
        self.send_response_only(200)
        self.end_headers()
        with made:
            made.settimeout(None)
            self.connection.settimeout(None)
            forth = threading.Thread(target=self._forth, args=(made,), daemon=True)
            forth.start()
            _copy(made.recv, self.wfile.write)
            with contextlib.suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)  # wakes the reader
            forth.join()

    def _forth(self, made: socket.socket) -> None:
        _copy(self.rfile.read1, made.sendall)
        with contextlib.suppress(OSError):
            made.shutdown(socket.SHUT_RDWR)


def split(url: str) -> tuple[str, int, str] | None:
    """Split a URL into address, port and path; None where it is none of plain HTTP.

    >>> split("http://172.16.10.101:9696/v2.0/ports?name=a"), split("/v2.0/ports")
    (('172.16.10.101', 9696, '/v2.0/ports?name=a'), None)
    """
    try:
        found = urlsplit(url)
        address, port = found.hostname, found.port or 80
    except ValueError:
        return None
    if found.scheme != "http" or not address:
        return None
    return address, port, found._replace(scheme="", netloc="").geturl() or "/"


def _lines(first: str, headers: Message) -> bytes:
    """Write the head of a request or an answer; both ends close behind it."""
    words = [f"{name}: {value}" for name, value in headers.items() if name.lower() not in HOP]
    return "\r\n".join([first, *words, "Connection: close", "\r\n"]).encode("latin-1")


def _copy(read: Callable[[int], bytes], write: Callable[[bytes], object]) -> None:
    """Hand on what comes as soon as it comes, until either end hangs up."""
    with contextlib.suppress(OSError, ValueError):  # ValueError: closed on this side meanwhile
        while piece := read(PIECE):
            write(piece)
