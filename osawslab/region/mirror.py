"""Lead whole instances to this machine's package mirrors, and nowhere else.

A proxy as apt knows it (absolute URIs over HTTP). It listens in the region's internet, on a
socket that the region hands out, and fetches with this machine's own network; it ends with the
region. Packages are kept in the user's cache.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import sys
import tempfile
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from http.client import HTTPException, HTTPMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import IO, Any
from urllib.parse import unquote, urlsplit

from osawslab.region import machine, sources
from osawslab.region.client import exchange
from osawslab.region.folders import give, shared_folder
from osawslab.region.network import MIRROR_ADDRESS, MIRROR_PORT

SECONDS = 60.0  # a mirror that says nothing for so long is down
PART = 1 << 16
PATH = re.compile(r"/[\w.+~%:@=,/-]*(?:dists|pool)/[\w.+~%:@=,/-]+")
ASKED = ("If-Modified-Since", "If-Range", "Range", "Cache-Control", "User-Agent")
TOLD = ("Content-Length", "Content-Range", "Content-Type", "Last-Modified", "ETag", "Accept-Ranges")


def wanted(uri: str, hosts: frozenset[str]) -> str:
    """Say why a URI is not served; "" when it is: a package's or an index's, at a known host.

    >>> wanted("http://deb.debian.org/debian/pool/main/h/hello/hello_1_all.deb", sources.DEBIAN)
    ''
    >>> wanted("http://example.com/debian/dists/trixie/InRelease", sources.DEBIAN)
    'example.com is no host of packages'
    """
    try:
        parts = urlsplit(uri)
        port = parts.port
    except ValueError:
        return "that is no URI"
    if parts.scheme != "http" or not parts.hostname or "@" in parts.netloc:
        return "only http://host/path is served"
    if parts.hostname not in hosts or port not in (None, 80):
        return f"{parts.netloc} is no host of packages"
    plain = unquote(parts.path)
    if parts.query or ".." in plain.split("/") or not PATH.fullmatch(parts.path):
        return f"{parts.path} is no path of packages"
    return ""


def upstream(uri: str, archives: Mapping[str, str]) -> str:
    """Lead what is asked of Debian's own host to where this machine gets it.

    >>> upstream("http://deb.debian.org/debian/dists/x", {"debian": "https://a.example/debian"})
    'https://a.example/debian/dists/x'
    """
    parts = urlsplit(uri)
    _, name, *rest = parts.path.split("/", 2)
    if parts.hostname == "deb.debian.org" and name in archives:
        return "/".join((archives[name], *rest))
    return uri


class SameKind(urllib.request.HTTPRedirectHandler):
    """Follow a mirror to another mirror, and nowhere else."""

    def __init__(self, hosts: frozenset[str]) -> None:
        self.hosts = hosts

    def redirect_request(
        self, req: Any, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        """Give the request that follows, or refuse it. Raises HTTPError."""
        plain = newurl.replace("https://", "http://", 1)  # which of them the mirror chooses
        if refused := wanted(plain, self.hosts):
            raise urllib.error.HTTPError(newurl, 403, f"redirected: {refused}", headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class Mirror(ThreadingHTTPServer):
    """The proxy, on a socket that listens already."""

    daemon_threads = True

    def __init__(
        self,
        listener: socket.socket,
        hosts: frozenset[str],
        proxies: Mapping[str, str],
        cache: Path,
        archives: Mapping[str, str],
    ) -> None:
        super().__init__(listener.getsockname(), Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        self.hosts = hosts
        self.cache = cache
        self.archives = archives
        ways = urllib.request.ProxyHandler({kind: uri for kind, uri in proxies.items() if uri})
        self.opener = urllib.request.build_opener(ways, SameKind(hosts))
        self.opener.addheaders = []

    def place(self, uri: str) -> Path | None:
        """Name the file in the cache for a package; None for what changes."""
        parts = urlsplit(uri)
        path = unquote(parts.path)
        if not path.endswith(".deb") or "/pool/" not in path:
            return None
        return self.cache / str(parts.hostname) / path.lstrip("/")

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that went away; anything else belongs into the log."""
        if not isinstance(sys.exc_info()[1], ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """Answer GET and HEAD; http.server refuses every other method."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Mirror

    def do_GET(self) -> None:
        """Serve a package or an index."""
        self._serve()

    def do_HEAD(self) -> None:
        """Serve what GET would say before the content."""
        self._serve()

    def _serve(self) -> None:
        if refused := wanted(self.path, self.server.hosts):
            self.send_error(403, refused)
            return
        place = self.server.place(self.path)
        if place is not None and place.is_file():
            with place.open("rb") as file:
                length = os.fstat(file.fileno()).st_size
                self._begin(200, {"Content-Length": str(length)})
                self._end(self._pass_on(file, length, None))
            return
        asked = {name: self.headers[name] for name in ASKED if name in self.headers}
        if place is not None:
            asked = {}  # a part would not be worth keeping
        uri = upstream(self.path, self.server.archives)
        request = urllib.request.Request(uri, headers=asked, method=self.command)
        try:
            answer = self.server.opener.open(request, timeout=SECONDS)
        except urllib.error.HTTPError as error:
            answer = error
        except (OSError, HTTPException) as error:
            self.send_error(502, f"the mirror does not answer: {error}")
            return
        with answer:
            told = {name: answer.headers[name] for name in TOLD if name in answer.headers}
            self._begin(answer.status, told)
            length = int(told.get("Content-Length", -1))
            if place is None or answer.status != 200 or self.command != "GET" or length < 0:
                last = self._pass_on(answer, length, None)
            else:
                with kept(place, length) as copy:
                    last = self._pass_on(answer, length, copy)
            self._end(last)

    def _begin(self, status: int, told: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in told.items():
            self.send_header(name, value)
        if "Content-Length" not in told and status not in (204, 304):
            self.send_header("Connection", "close")  # the end says how long it was
        self.end_headers()

    def _pass_on(self, source: Any, length: int, copy: IO[bytes] | None) -> bytes:
        """Pass all on but the last part: who has the whole may ask for it again at once."""
        last = b""
        if self.command == "HEAD":
            return last
        passed = 0
        try:
            while part := source.read(PART):
                passed += len(part)
                if copy:
                    copy.write(part)
                self.wfile.write(last)
                last = part
        except (OSError, HTTPException) as error:
            self.log_error("%s: %s", self.path, error)
        if passed != length:  # so that nobody waits for the rest
            self.close_connection = True
        return last

    def _end(self, last: bytes) -> None:
        with contextlib.suppress(OSError):  # gone, with all but the end
            self.wfile.write(last)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing of what went well."""


@contextlib.contextmanager
def kept(place: Path, length: int) -> Iterator[IO[bytes]]:
    """Give a file that becomes `place` at the end if it has `length` bytes, else nothing."""
    shared_folder(place.parent)
    with tempfile.NamedTemporaryFile(dir=place.parent, prefix=".new-", delete=False) as file:
        part = Path(file.name)
        try:
            yield file
            file.flush()
            if part.stat().st_size == length:
                part.chmod(0o644)
                part.rename(place)
                give(place)
        finally:
            part.unlink(missing_ok=True)


def main(name: str) -> None:
    """Serve a lab's whole instances until its region ends."""
    with socket.socket(socket.AF_UNIX) as region:
        _, descriptors = exchange(
            region, name, {"do": "listen", "address": MIRROR_ADDRESS, "port": MIRROR_PORT}
        )
        listener = socket.socket(fileno=descriptors[0])
        server = Mirror(
            listener,
            sources.hosts(),
            {scheme: sources.proxy(scheme) for scheme in ("http", "https")},
            machine.cache() / "archives",
            {name: sources.archive(name) for name in ("debian", "debian-security")},
        )
        threading.Thread(target=server.serve_forever, daemon=True).start()
        region.recv(1)  # nothing is ever sent: this is the region's end


if __name__ == "__main__":
    main(sys.argv[1])
