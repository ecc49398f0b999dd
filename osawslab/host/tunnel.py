"""A port of this machine that leads to a service on a host, through its SSH connection.

`ssh -L` in a thread: it listens on loopback only, and each connection is a channel of its own.
"""

from __future__ import annotations

import contextlib
import select
import socketserver
import threading
from collections.abc import Iterable

import paramiko

from osawslab.errors import BadSetting, LabBusy
from osawslab.host.ssh import SshHost

LOOPBACK = "127.0.0.1"
CHUNK = 65536  # bytes


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 64  # a browser opens several at once

    def __init__(self, port: int, host: SshHost, to: tuple[str, int]) -> None:
        self.host = host
        self.to = to
        super().__init__((LOOPBACK, port), _Handler)


class _Handler(socketserver.BaseRequestHandler):
    server: _Server

    def handle(self) -> None:
        # A host that does not answer is seen as a connection that closes.
        with (
            contextlib.suppress(OSError, EOFError, paramiko.SSHException),
            self.server.host.channel(*self.server.to) as channel,
        ):
            ends = {self.request: channel, channel: self.request}
            while True:
                for end in select.select(list(ends), [], [])[0]:
                    data = end.recv(CHUNK)
                    if not data:
                        return
                    ends[end].sendall(data)


class Tunnel:
    """Leads 127.0.0.1:`port` here to an address and port as the host sees them, until closed."""

    def __init__(self, host: SshHost, address: str, port: int, ports: Iterable[int]) -> None:
        """Listen on the first of `ports` that is free; 0 is any. Raises LabBusy, BadSetting."""
        self.host = host
        self._server = _listen(host, (address, port), ports)
        self.port = int(self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def open(self) -> bool:
        """True until it is closed."""
        return self._server.socket.fileno() != -1

    def close(self) -> None:
        """Listen no more; connections that are open end by themselves."""
        self._server.shutdown()
        self._server.server_close()


def _listen(host: SshHost, to: tuple[str, int], ports: Iterable[int]) -> _Server:
    for port in ports:
        try:
            return _Server(port, host, to)
        except OverflowError:
            raise BadSetting(
                "a port is a number from 0 to 65535", seen=str(port), next="--port 0"
            ) from None
        except OSError as error:
            seen = f"{LOOPBACK}:{port}: {error.strerror}"
    raise LabBusy("the port is taken", seen=seen, next="port 0 finds a free one")
