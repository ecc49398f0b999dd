"""SSH to a host by fabric: own key, a known host key, one connection kept open."""

from __future__ import annotations

import base64
import json
import logging
import socket
import threading
import time
import zlib
from collections.abc import Callable
from typing import Any

import paramiko
from fabric import Config, Connection, Remote
from invoke.exceptions import CommandTimedOut, UnexpectedExit

from osawslab.errors import CannotReach, LabTimeout, StepFailed, WrongHostKey
from osawslab.keys import key_file
from osawslab.target import Target

logging.getLogger("paramiko.transport").setLevel(logging.CRITICAL)  # our errors say it once

CONNECT_SECONDS = 2.0
KEEPALIVE_SECONDS = 15
SILENCE_SECONDS = 10  # without an acknowledgement of what was sent
CHANNEL_SECONDS = 60.0
COMMAND_SECONDS = 1800.0  # apt-get on a small instance, behind a slow mirror


class NoConfig(paramiko.SSHConfig):  # type: ignore[misc]
    """Have no part in the user's ~/.ssh/config; also where this uid has no name."""

    def lookup(self, hostname: str) -> Any:
        """Give the host name and nothing else."""
        return paramiko.config.SSHConfigDict({"hostname": hostname})


class Prompt(Remote):  # type: ignore[misc]
    """Notice the end of a command within 1 ms: fabric's default looks every 10 ms."""

    input_sleep = 0.001


class SshHost:
    """A host at an address; `host_key` is the OpenSSH line that it must show.

    `explain` may know why it does not answer.
    """

    def __init__(
        self,
        target: Target,
        address: str,
        user: str,
        host_key: str,
        port: int = 22,
        explain: Callable[[], CannotReach | None] = lambda: None,
    ) -> None:
        self.address = address
        self.port = port
        self.user = user
        self.host_key = host_key
        self._target = target
        self._explain = explain
        self._open: Connection | None = None
        self._lock = threading.Lock()  # two threads that find it closed open one, not two

    def _known(self) -> paramiko.Ed25519Key:
        try:
            return paramiko.Ed25519Key(data=base64.b64decode(self.host_key.split()[1]))
        except (LookupError, ValueError, paramiko.SSHException):
            raise WrongHostKey(
                f"what is kept as the host key of {self.address}:{self.port} is none",
                seen=self.host_key,
                next="see who has changed it",
            ) from None

    def _connection(self) -> Connection:
        if self._open is not None and self._open.is_connected:
            return self._open
        known = self._known()
        made = self._target.open_socket(self.address, self.port, CONNECT_SECONDS)
        connection = Connection(
            self.address,
            user=self.user,
            port=self.port,
            config=Config(
                overrides={"runners": {"remote": Prompt}}, ssh_config=NoConfig(), lazy=True
            ),
            connect_timeout=10,
            connect_kwargs={
                "pkey": paramiko.Ed25519Key.from_private_key_file(str(key_file(self._target.keys))),
                "look_for_keys": False,
                "allow_agent": False,
                **({"sock": made} if made else {}),
            },
        )
        name = self.address if self.port == 22 else f"[{self.address}]:{self.port}"
        client = connection.client
        client.set_missing_host_key_policy(paramiko.RejectPolicy())
        client.get_host_keys().add(name, known.get_name(), known)
        connection.open()
        connection.transport.set_keepalive(KEEPALIVE_SECONDS)
        wire = connection.transport.sock
        if wire.family != socket.AF_UNIX:  # a program of the user's, which has the TCP connection
            # A path that breaks under an open connection is noticed, not waited for (tcp(7)).
            wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 1000 * SILENCE_SECONDS)
        self._open = connection
        return connection

    def connection(self) -> Connection:
        """Give the open fabric Connection. Raises CannotReach."""
        try:
            return self._reached()
        except WrongHostKey:
            raise
        except CannotReach as error:
            raise self._explain() or error from None

    def _reached(self) -> Connection:
        try:
            with self._lock:
                return self._connection()
        except WrongHostKey:
            raise
        except paramiko.BadHostKeyException as error:
            raise WrongHostKey(
                f"{self.address}:{self.port} shows a host key that is not the lab's",
                seen=str(error),
                next="somebody else may answer there; look before you go on",
            ) from None
        except (OSError, EOFError, paramiko.SSHException) as error:
            raise CannotReach(
                f"{self.user}@{self.address}:{self.port} does not answer on SSH",
                seen=str(error) or type(error).__name__,
                next='lab.check("provision")',
            ) from None

    def channel(self, address: str, port: int) -> paramiko.Channel:
        """Open a TCP connection from the host to an address (`direct-tcpip`, RFC 4254 7.2).

        Raises CannotReach, OSError, paramiko.SSHException.
        """
        return self.connection().transport.open_channel(
            "direct-tcpip", (address, port), ("127.0.0.1", 0), timeout=CHANNEL_SECONDS
        )

    def wait(self, seconds: float) -> None:
        """Wait until SSH answers. Raises LabTimeout after so many seconds, WrongHostKey."""
        deadline = time.monotonic() + seconds
        pause = 0.02
        while True:
            try:
                self._reached()
                return
            except WrongHostKey:
                raise
            except CannotReach as error:
                if time.monotonic() > deadline:
                    raise self._explain() or LabTimeout(
                        f"{self.address}:{self.port} does not answer on SSH after {seconds:.0f} s",
                        seen=error.seen,
                        next='lab.check("provision")',
                    ) from None
            time.sleep(pause)
            pause = min(2 * pause, 0.5)

    def run(self, command: str, given: str = "") -> str:
        """Run a shell command as root; its standard output. Raises StepFailed, CannotReach.

        `given` is its standard input. It travels inside the command: invoke feeds a stream
        character by character, with a pause after each.
        """
        shown = f"sudo sh -c {quote(command)}"
        if given:
            packed = base64.b64encode(zlib.compress(given.encode())).decode()
            unpack = "import base64,sys,zlib;sys.stdout.buffer.write(zlib.decompress("
            command = f"python3 -c '{unpack}base64.b64decode(\"{packed}\")))' | {{ {command}; }}"
        return self.plain(f"sudo sh -c {quote(command)}", shown)

    def plain(self, command: str, shown: str = "") -> str:
        """Run a shell command as the login user; `shown` is what an error tells of it."""
        connection, shown = self.connection(), shown or command
        try:
            done = connection.run(command, hide=True, in_stream=False, timeout=COMMAND_SECONDS)
        except UnexpectedExit as error:
            words = (error.result.stderr or error.result.stdout).strip().splitlines()[-4:]
            raise StepFailed(
                f"a command failed on {self.address} (exit status {error.result.exited})",
                seen=" / ".join(words) or "no words",
                next=shown if len(shown) < 400 else shown[:400] + " …",
            ) from None
        except CommandTimedOut:
            raise LabTimeout(
                f"a command did not end within {COMMAND_SECONDS:.0f} s", seen=shown[:400]
            ) from None
        except (OSError, EOFError, paramiko.SSHException) as error:
            self.close()
            raise CannotReach(
                f"the SSH connection to {self.address} broke",
                seen=str(error) or type(error).__name__,
                next="run the step again",
            ) from None
        return str(done.stdout)

    def script(self, source: str, **given: Any) -> Any:
        """Run a Python program on the host as root; it reads JSON and prints JSON.

        The program is sent as text, so that nothing has to be installed.
        """
        return json.loads(self.run(f"exec python3 -c {quote(text(source, **given))}") or "null")

    def stream(self, source: str, **given: Any) -> paramiko.Channel:
        """Start a Python program on the host as root; its standard input and output.

        Its argument is `SSH_CONNECTION`, both ends of this connection as the host sees them, which
        sudo would take out of the environment. Raises CannotReach.
        """
        connection = self.connection()
        try:
            made = connection.transport.open_session(timeout=CHANNEL_SECONDS)
            program = quote(text(source, **given))
            made.exec_command(f'exec sudo python3 -c {program} "$SSH_CONNECTION"')
        except (OSError, EOFError, paramiko.SSHException) as error:
            raise CannotReach(
                f"the SSH connection to {self.address} broke", seen=str(error), next="once more"
            ) from None
        return made

    def close(self) -> None:
        """Close the connection; the next command opens a new one."""
        if self._open is not None:
            self._open.close()
            self._open = None


def text(source: str, **given: Any) -> str:
    """Pack a Python program as one that fits into an argument; it finds `given` as GIVEN."""
    packed = base64.b64encode(zlib.compress(source.encode(), 9)).decode()
    prologue = f"import base64,json,zlib\nGIVEN = json.loads({json.dumps(json.dumps(given))})\n"
    return f'{prologue}exec(zlib.decompress(base64.b64decode("{packed}")))'


def quote(text: str) -> str:
    """Quote for the shell.

    >>> quote("it's")
    "'it'\\\\''s'"
    """
    return "'" + text.replace("'", "'\\''") + "'"
