"""The SSH server of an instance: asyncssh, in the instance's namespaces, sessions in its root."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import struct
import termios
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import asyncssh

from osawslab.region.image import PATH

BANNER_BYTES = 1 << 14


class Server(asyncssh.SSHServer):
    """Let in the image's user with the key pair's key, and nobody else."""

    def __init__(self, user: str, keys: Path, banner: Path) -> None:
        self.user = user
        self.keys = keys
        self.banner = banner
        self.connection: Any = None

    def connection_made(self, conn: Any) -> None:
        self.connection = conn

    def begin_auth(self, username: str) -> bool:
        with contextlib.suppress(OSError):
            # A link of the instance's does not lead out of it.
            file = os.open(self.banner, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            with os.fdopen(file, errors="replace") as banner:
                self.connection.send_auth_banner(banner.read(BANNER_BYTES))
        if username == self.user and self.keys.exists():
            self.connection.set_authorized_keys(str(self.keys))
        return True

    def password_auth_supported(self) -> bool:
        return False

    def connection_requested(self, *_: object) -> bool:
        return True


class Sftp(asyncssh.SFTPServer):
    """Files below the instance's root."""

    root = Path("/")

    def __init__(self, channel: Any) -> None:
        super().__init__(channel, chroot=bytes(self.root))


async def _pump(read: Callable[[int], Awaitable[bytes]], writer: Any) -> None:
    with contextlib.suppress(OSError, asyncssh.Error):
        while data := await read(65536):
            writer.write(data)
            await writer.drain()


def _ends(process: Any) -> str:
    """Tell both ends of the connection as sshd does: the client's address and port first."""
    ends = (process.get_extra_info(name) for name in ("peername", "sockname"))
    return " ".join(f"{end[0]} {end[1]}" for end in ends)


def _open_pty(root: Path) -> tuple[int, int]:
    """Open a terminal of the instance's own /dev/pts, so that `tty` names it."""
    master = os.open(root / "dev/pts/ptmx", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    fcntl.ioctl(master, 0x40045431, struct.pack("i", 0))  # TIOCSPTLCK: unlock
    number = struct.unpack("i", fcntl.ioctl(master, 0x80045430, struct.pack("i", 0)))[0]  # TIOCGPTN
    return master, os.open(root / f"dev/pts/{number}", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)


async def serve(root: Path, user: str, begun: Awaitable[None]) -> None:
    """Serve SSH on port 22 of this network namespace, for ever; when that has begun, await."""
    home = f"/home/{user}"

    async def session(process: Any) -> None:
        argv = ["/bin/bash", "-c", process.command] if process.command else ["/bin/bash", "-l"]
        env = {
            "PATH": PATH, "HOME": home, "USER": user, "LOGNAME": user, "SHELL": "/bin/bash",
            "LANG": "C.UTF-8", "SSH_CONNECTION": _ends(process), **dict(process.env or {}),
        }  # fmt: skip
        terminal = process.term_type is not None
        master, slave = _open_pty(root) if terminal else (-1, -1)

        def enter() -> None:
            if terminal:
                fcntl.ioctl(0, termios.TIOCSCTTY, 0)
            os.chroot(root)
            os.chdir(home)

        if terminal:
            env["TERM"] = process.term_type
            width, height, _, _ = process.term_size
            fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
        streams: Any = slave if terminal else asyncio.subprocess.PIPE
        child = await asyncio.create_subprocess_exec(
            *argv, stdin=streams, stdout=streams, stderr=streams, env=env,
            start_new_session=True, preexec_fn=enter,
        )  # fmt: skip
        if terminal:
            os.close(slave)
            code = await _terminal(process, child, master)
        else:
            given = asyncio.create_task(_feed(process, child))
            await asyncio.gather(
                _pump(child.stdout.read, process.stdout),  # type: ignore[union-attr]
                _pump(child.stderr.read, process.stderr),  # type: ignore[union-attr]
            )
            code = await child.wait()
            given.cancel()
        with contextlib.suppress(OSError, asyncssh.Error):
            process.exit(code if code >= 0 else 128 - code)

    Sftp.root = root
    await asyncssh.create_server(
        lambda: Server(user, root / f"home/{user}/.ssh/authorized_keys", root / "etc/issue.net"),
        "0.0.0.0",
        22,
        gss_host=None,  # else asyncssh looks its own name up and waits for a DNS that is not there
        server_host_keys=[str(root / "etc/ssh/ssh_host_ed25519_key")],
        process_factory=session,
        sftp_factory=Sftp,
        allow_scp=True,
        encoding=None,
        line_editor=False,
        server_version="osawslab",
    )
    await begun
    await asyncio.Event().wait()


async def _feed(process: Any, child: asyncio.subprocess.Process) -> None:
    assert child.stdin is not None
    await _pump(process.stdin.read, child.stdin)
    with contextlib.suppress(OSError):
        child.stdin.close()


async def _terminal(process: Any, child: asyncio.subprocess.Process, master: int) -> int:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(master, "rb", 0)
    )

    async def typed() -> None:
        while True:
            try:
                data = await process.stdin.read(65536)
            except asyncssh.TerminalSizeChanged as changed:
                size = struct.pack("HHHH", changed.height, changed.width, 0, 0)
                fcntl.ioctl(master, termios.TIOCSWINSZ, size)
                continue
            except (asyncssh.Error, OSError):
                return
            if not data:
                return
            os.write(master, data)

    given = asyncio.create_task(typed())
    await _pump(reader.read, process.stdout)
    code = await child.wait()
    given.cancel()
    return code
