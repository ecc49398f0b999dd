"""A host's key, proved by the host before anybody logs in: no trust on first use."""

from __future__ import annotations

import contextlib
import hmac
import socket
import time

import paramiko

from osawslab.errors import CannotReach
from osawslab.host.ssh import CONNECT_SECONDS
from osawslab.keys import PROOF, proof
from osawslab.target import Target

PATIENCE = 1.5  # sshd shuts out who has not logged in 15 times, and forgets one of them each second
ANSWER_SECONDS = 10.0  # for each part of the handshake; sshd on a small instance takes one


def shown(target: Target, address: str, user: str, port: int = 22) -> tuple[str, str]:
    """Read the host key of a key exchange, as OpenSSH's line, and the banner that comes after it.

    No key of the lab has a part in it: the method "none" asks whether one is needed (RFC 4252,
    5.2), and the banner comes before the answer. Raises OSError, EOFError, SSHException.
    """
    made = target.open_socket(address, port, CONNECT_SECONDS)
    with paramiko.Transport(
        made or socket.create_connection((address, port), ANSWER_SECONDS)
    ) as transport:
        transport.banner_timeout = transport.auth_timeout = ANSWER_SECONDS
        transport.get_security_options().key_types = ["ssh-ed25519"]
        transport.start_client(timeout=ANSWER_SECONDS)
        key = transport.get_remote_server_key()
        with contextlib.suppress(paramiko.AuthenticationException):  # the right answer
            transport.auth_none(user)
        banner = transport.get_banner() or b""
    return f"{key.get_name()} {key.get_base64()}", banner.decode(errors="replace")


def proves(secret: str, key: str, banner: str) -> bool:
    """Say whether a line of the banner proves the key."""
    wanted = proof(secret, key).encode()
    return any(hmac.compare_digest(wanted, line.encode()) for line in banner.splitlines())


def proved(target: Target, address: str, user: str, secret: str, seconds: float) -> str:
    """Wait for the host to prove its key; the key. Raises CannotReach after so many seconds.

    A proof that is missing or wrong may be right later: a host of a prepared image shows its
    parent's until its own is made.
    """
    deadline = time.monotonic() + seconds
    pause = 0.02
    while True:
        try:
            key, banner = shown(target, address, user)
        except (OSError, EOFError, paramiko.SSHException) as error:
            seen, most = str(error) or type(error).__name__, 0.5
        else:
            if proves(secret, key, banner):
                return key
            seen, most = (
                f"{key} with {'a wrong proof' if PROOF in banner else 'no proof'}",
                PATIENCE,
            )
        if time.monotonic() > deadline:
            raise CannotReach(
                f"{address} has not proved its host key within {seconds:.0f} s",
                seen=seen,
                next="aws ec2 get-console-output tells what the instance did; if it has not"
                " booted well: lab.tear_down(), then lab.provision()",
            )
        time.sleep(pause)
        pause = min(2 * pause, most)
