"""Serve instances their metadata at 169.254.169.254: EC2 User Guide, "Instance metadata".

One listener in each VPC's router, whatever its instances are made of: what an instance sends
there comes with an address that the VPC has checked, and that says whose it is. As on AWS a token
is answered with the hop limit as its packets' time to live, so it does not pass a router
("HttpPutResponseHopLimit"); security groups have no say.
"""

from __future__ import annotations

import base64
import contextlib
import hmac
import re
import secrets
import socket
import struct
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from osawslab.region import kernel, network
from osawslab.region.metadata import VERSIONS, leaves, listing
from osawslab.region.state import Instance, State

PORT = 80
IDLE_SECONDS = 10.0  # an open connection keeps the namespace of its VPC
PAUSE_SECONDS = 0.1  # until there may be a file or a thread again
MOST_SECONDS = 21600  # of a token: "How IMDSv2 works"
TOKEN, TTL = "x-aws-ec2-metadata-token", "x-aws-ec2-metadata-token-ttl-seconds"
PLAIN, BYTES = "text/plain", "application/octet-stream"


@dataclass(frozen=True)
class Reply:
    """An answer of the service."""

    status: int
    body: bytes = b""
    kind: str = PLAIN
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Tokens:
    """Session tokens: worth something to one instance, for a time; nothing is kept of them."""

    secret: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)

    def make(self, instance: str, seconds: int) -> str:
        """Make a token that is good for so long."""
        end = struct.pack("!d", time.time() + seconds)
        return base64.urlsafe_b64encode(end + self._seal(instance, end)).decode()

    def left(self, instance: str, token: str) -> int:
        """Say how many seconds a token is still good for; 0 for a wrong one."""
        try:
            given = base64.urlsafe_b64decode(token.encode())
        except ValueError:
            return 0
        end, seal = given[:8], given[8:]
        if not hmac.compare_digest(seal, self._seal(instance, end)):
            return 0
        [until] = struct.unpack("!d", end)
        return max(0, round(float(until) - time.time()))

    def _seal(self, instance: str, end: bytes) -> bytes:
        return hmac.digest(self.secret, instance.encode() + end, "sha256")


class Metadata:
    """The service of a region; `follow` is told what exists."""

    def __init__(self, region: str, account: str) -> None:
        self.region = region
        self.account = account
        self.state = State({}, {}, {}, {})
        self.tokens = Tokens()
        self._open: dict[str, Service] = {}

    def follow(self, state: State) -> None:
        """Serve what exists now, in each VPC that has a router. Raises OSError."""
        self.state = state
        wanted = network.vpcs(state)
        for vpc in self._open.keys() - wanted:
            self._open.pop(vpc).end()  # an open socket would keep the router's namespace
        for vpc in wanted - self._open.keys():
            self._open[vpc] = Service(self, vpc)

    def whose(self, vpc: str, address: str) -> Instance | None:
        """Find the running instance of a VPC that has an address."""
        state = self.state
        for eni in state.enis.values():
            if address in eni.addresses and state.subnets[eni.subnet].vpc == vpc:
                found = state.instances.get(eni.instance)
                return found if found and found.running else None
        return None

    def answer(
        self, instance: Instance, method: str, path: str, headers: Mapping[str, str]
    ) -> Reply:
        """Answer a request; `headers` by their names in lower case."""
        options = instance.about
        if not options.endpoint or "x-forwarded-for" in headers:
            return Reply(403)
        if method == "PUT":
            return self._token(instance, path, headers)
        if method not in ("GET", "HEAD"):
            return Reply(405, headers={"Allow": "GET, HEAD, PUT"})
        left = self.tokens.left(instance.id, headers[TOKEN]) if TOKEN in headers else 0
        if not left and (TOKEN in headers or options.tokens):
            return Reply(401)
        version, _, rest = path.partition("?")[0].strip("/").partition("/")
        if not version:
            return Reply(200, "\n".join(VERSIONS).encode())
        if version not in VERSIONS:
            return Reply(404)
        found = leaves(self.state, instance, self.region, self.account)
        more = {TTL: str(left)} if left else {}
        if rest in found:
            kind = BYTES if rest == "user-data" else PLAIN
            return Reply(200, found[rest], kind, more)
        told = listing(found, rest, options.key_name)
        return Reply(200, told.encode(), PLAIN, more) if told else Reply(404)

    def _token(self, instance: Instance, path: str, headers: Mapping[str, str]) -> Reply:
        if path != "/latest/api/token":
            return Reply(405, headers={"Allow": "GET, HEAD"})
        asked = headers.get(TTL, "")
        if not re.fullmatch(r"[0-9]{1,5}", asked) or not 1 <= int(asked) <= MOST_SECONDS:
            return Reply(400)
        token = self.tokens.make(instance.id, int(asked))
        return Reply(200, token.encode(), PLAIN, {TTL: asked})


class Service(ThreadingHTTPServer):
    """The listener of one VPC's router."""

    daemon_threads = True

    def __init__(self, metadata: Metadata, vpc: str) -> None:
        super().__init__((network.METADATA_ADDRESS, PORT), Handler, bind_and_activate=False)
        self.socket.close()
        self.metadata = metadata
        self.vpc = vpc
        self.ended = threading.Event()
        self.socket = kernel.in_netns(network.vpc_netns(vpc), self._listen)
        threading.Thread(target=self._accept, name=f"metadata {vpc}", daemon=True).start()

    def _listen(self) -> socket.socket:
        return socket.create_server((network.METADATA_ADDRESS, PORT), backlog=64)

    def _accept(self) -> None:
        while not self.ended.is_set():
            try:
                self.process_request(*self.socket.accept())
            except (OSError, RuntimeError):  # ended; or no file or thread is left just now
                self.ended.wait(PAUSE_SECONDS)

    def end(self) -> None:
        """Listen no more; `accept` comes back with an error."""
        self.ended.set()
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that went away; anything else belongs into the log."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """Answer one instance."""

    protocol_version = "HTTP/1.1"
    server_version = "EC2ws"
    sys_version = ""
    disable_nagle_algorithm = True
    timeout = IDLE_SECONDS
    server: Service

    def handle_one_request(self) -> None:
        """Answer any method, which http.server looks up by name."""
        self.raw_requestline = self.rfile.readline(65537)
        if len(self.raw_requestline) > 65536:
            self.close_connection = True
            return
        if not self.raw_requestline:
            self.close_connection = True
        elif self.parse_request():
            self._answer()

    def _answer(self) -> None:
        metadata = self.server.metadata
        instance = metadata.whose(self.server.vpc, self.client_address[0])
        if instance is None:
            self.close_connection = True
            return
        # A body is none of the service's; what would follow it is not told from it.
        given = self.headers.get("Content-Length", "0") != "0"
        put = self.command == "PUT"
        headers = {name.lower(): value for name, value in self.headers.items()}
        reply = metadata.answer(instance, self.command, self.path, headers)
        if put:  # and nothing comes after it, which would be sent, and this again, with more hops
            hops = instance.about.hops
            self.connection.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, hops)
        self.send_response(reply.status)
        for name, value in {"Content-Type": reply.kind, **reply.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply.body)))
        if put or given:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: a path or a header may be somebody's secret."""
