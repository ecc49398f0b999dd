"""User-Mode Linux: a whole kernel as an ordinary process, for a region without any namespace.

Where neither a user namespace nor root is to be had, the region runs in a kernel of its own: the
same program, with real namespaces, on this machine's files (hostfs). Only its two listening
sockets stay outside, in the process that `main` is; one serial line carries their connections
(see `channel`), and `umlinit` is its other end.

EC2's API, the SSH servers and the reconciler could stay outside as well, with an agent inside
that takes batches and commands. They would start sooner (inside, Python needs about 8 s to read
them), but the region would be two programs, one with namespaces and one without. So it is one,
and what works in the other tiers works here.

What is on hostfs belongs to whoever runs this, and cannot be given away. So the instances' disks
are a file system of the kernel's own, in one sparse file.

The kernel is Debian's package `user-mode-linux`: installed, or unpacked into the user's cache.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import IO

from osawslab.region import kernel, machine
from osawslab.region.channel import Channel

PACKAGE = "user-mode-linux"
DISKS = "e2fsprogs"  # the package of what makes the instances' disks
INSTALLED = "/usr/bin"
ARGUMENTS = (sys.executable, "-P", "-m", "osawslab.region.uml")
READY = b"\0osawslab\n"  # what `umlinit` says first; before it the line is nobody's
DISKS_GIB = 8  # of all instances together, at most
MEMORY_MIB = 1024  # at most: what is not used is not taken
TRY_SECONDS = 60.0
_libc = ctypes.CDLL(None, use_errno=True)


def tree() -> Path:
    """Name the root of the unpacked package."""
    root = machine.unpacked()
    return root.with_name(root.name + "-uml")


def program() -> Path | None:
    """Find the kernel, installed or unpacked."""
    found = shutil.which("linux.uml", path=os.pathsep.join([INSTALLED, str(tree() / "usr/bin")]))
    return Path(found) if found else None


def unpack() -> None:
    """Download the kernel's package and unpack it in the cache. Raises MissingTool."""
    machine.unpack_into(tree(), (PACKAGE, *(() if maker() else (DISKS,))))


def maker() -> Path | None:
    """Find mke2fs, which makes the file system, installed or unpacked."""
    folders = [INSTALLED, "/usr/sbin", "/sbin", str(tree() / "sbin"), str(tree() / "usr/sbin")]
    found = shutil.which("mke2fs", path=os.pathsep.join(folders))
    return Path(found) if found else None


def make_disks(path: Path) -> None:
    """Make the file that holds the instances' disks, unless it is there. Raises OSError."""
    if path.exists():
        return
    program = maker()
    if program is None:
        raise FileNotFoundError("no mke2fs on this machine (package e2fsprogs)")
    part = path.with_name(path.name + ".part")
    part.touch(0o600)
    os.truncate(part, DISKS_GIB << 30)
    found = tree().glob("usr/lib/*/*.so*") if tree() in program.parents else ()
    libraries = os.pathsep.join(sorted({str(file.parent) for file in found}))
    done = subprocess.run(
        [program, "-q", "-F", "-t", "ext4", "-N", str(1 << 17), "-E",
         "lazy_itable_init=1,lazy_journal_init=1,root_owner=0:0", part],
        env={**os.environ, "LD_LIBRARY_PATH": libraries}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    if done.returncode:
        raise OSError(f"mke2fs: {done.stderr.strip()}")
    part.replace(path)


def may_trace() -> bool:
    """Say whether a process may be traced here: that is how this kernel runs programs."""
    child = os.fork()
    if not child:
        os._exit(1 if _libc.ptrace(0, 0, 0, 0) else 0)  # PTRACE_TRACEME
    return os.waitpid(child, 0)[1] == 0


def attempt() -> str:
    """Boot the kernel and end it; what refused that, or "" where it works."""
    if not may_trace():
        return "ptrace: Operation not permitted"
    if program() is None:
        return f"no linux.uml here (package {PACKAGE}): ./lab unpacks it where nothing else works"
    if maker() is None:
        return "no mke2fs on this machine (package e2fsprogs)"
    with tempfile.TemporaryDirectory(prefix="osawslab-") as folder, tempfile.TemporaryFile() as log:
        try:
            line, process = boot("try", Path(folder), log)
        except OSError as error:
            return str(error)
        try:
            if _ready(line, TRY_SECONDS):
                return ""
        finally:
            end(process)
            os.close(line)
        log.seek(0)
        return reason(log.read().decode(errors="replace")) or f"exit status {process.returncode}"


def reason(log: str) -> str:
    """Find in what the kernel and its first process wrote why it ended; "" where nothing says so.

    >>> reason("quiet\\nOSError: veth.ko: Exec format error\\nKernel panic - not syncing: init!")
    'OSError: veth.ko: Exec format error'
    """
    lines = log.strip().splitlines()
    for sign in (r"\w*Error: ", "Kernel panic", ""):
        if found := [line for line in lines if re.match(sign, line)]:
            return found[-1]
    return ""


def boot(
    what: str, folder: Path, log: IO[bytes] | int, disks: IO[bytes] | None = None
) -> tuple[int, subprocess.Popen[bytes]]:
    """Boot the kernel, with `umlinit` as its first process; its serial line, and its process.

    It writes into `folder` until the line says `READY`, and never afterwards. `disks` is its
    block device.
    """
    found = program()
    if found is None:
        raise FileNotFoundError(f"no linux.uml on this machine (package {PACKAGE})")
    # No terminal: for one the kernel would have a process that outlives it (window sizes).
    ours, line = (each.detach() for each in socket.socketpair())
    words = [
        str(found), f"mem={MEMORY_MIB}M", "root=/dev/root", "rootfstype=hostfs", "rootflags=/",
        *([f"ubd0=/proc/self/fd/{disks.fileno()}"] if disks else []),
        "rw", "quiet", "con=null", "con0=null,fd:1", f"ssl0=fd:{line}", "ssl=null",
        f"uml_dir={folder}/", _word(f"init={sys.executable}"), *map(_word, _environment()),
        "--", "-P", "-m", "osawslab.region.umlinit", what, _word(f"{found.parents[1]}/lib/uml"),
    ]  # fmt: skip
    os.set_inheritable(line, True)
    if disks:
        os.set_inheritable(disks.fileno(), True)
    # What else may be inherited, such as the lock of the lab, is: it says that the region lives.
    process = subprocess.Popen(
        words, close_fds=False, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        env={"PATH": os.environ.get("PATH", os.defpath), "HOME": str(folder), "TMPDIR": _memory()},
        start_new_session=True, preexec_fn=kernel.die_with_parent,
    )  # fmt: skip
    os.close(line)
    # Its helpers outlive it when it is killed, and hold the line open.
    threading.Thread(target=_bury, args=(process,), daemon=True).start()
    return ours, process


def _bury(process: subprocess.Popen[bytes]) -> None:
    process.wait()
    end(process)


def end(process: subprocess.Popen[bytes]) -> int:
    """End what is left of a kernel: those that wait for it outlive it otherwise. Its status."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    return process.wait()


def _environment() -> list[str]:
    """List what the first process finds in its environment, to be told by the kernel."""
    kept = ("LANG", "PYTHONPATH", "XDG_CACHE_HOME")
    return ["HOME=/root", *(f"{key}={os.environ[key]}" for key in kept if key in os.environ)]


def _word(text: str) -> str:
    """Quote a word as the kernel's command line wants it."""
    return f'"{text}"' if " " in text else text


def _memory() -> str:
    """Name the folder for the file that is the kernel's memory: programs are run from it."""
    shared = Path("/dev/shm")
    if shared.is_dir() and os.access(shared, os.W_OK):
        about = os.statvfs(shared)
        roomy = about.f_bavail * about.f_frsize >= MEMORY_MIB << 20
        if roomy and not about.f_flag & 8:  # ST_NOEXEC: so it is in Docker
            return str(shared)
    return "/tmp"


def _ready(line: int, seconds: float | None = None) -> bool:
    """Wait for the first word of the first process; False when the kernel ends without."""
    deadline = None if seconds is None else time.monotonic() + seconds
    said = b""
    while READY not in said:
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        if not select.select([line], [], [], left)[0]:
            return False
        try:
            part = os.read(line, 1)  # what comes after it is the channel's
        except ConnectionResetError:
            return False
        if not part:
            return False
        said += part
    return True


def main() -> None:
    """Be the region's outside: boot the kernel, have it run the region, carry its connections."""
    given = json.load(sys.stdin)
    api = socket.socket(fileno=given.pop("api_fd"))
    control = socket.socket(fileno=given.pop("control_fd"))
    for each in (api, control):
        each.set_inheritable(False)
    os.set_inheritable(given["ready_fd"], False)
    ready = os.fdopen(given.pop("ready_fd"), "wb", buffering=0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        disks = Path(given["disks"])
        image = disks.with_name(disks.name + ".ext4")
        make_disks(image)
        disks.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        ready.write(f"error: {error}\n".encode())
        sys.exit(1)
    with tempfile.TemporaryDirectory(prefix="osawslab-") as folder, image.open("r+b") as device:
        line, process = boot("region", Path(folder), 1, device)
        if not _ready(line):
            end(process)
            ready.write(b"error: User-Mode Linux did not boot\n")
            sys.exit(1)
    channel = Channel(line, first=1, on_open=lambda _: None)
    ours, theirs = socket.socketpair()
    channel.open(theirs, "region")
    order = {
        "order": given,
        "port": api.getsockname()[1],
        "log": os.readlink("/proc/self/fd/2"),
        "environment": dict(os.environ),
    }
    ours.sendall(json.dumps(order).encode())
    ours.shutdown(socket.SHUT_WR)
    threading.Thread(target=_tell, args=(ours, ready), daemon=True).start()
    channel.listen(api, "api")
    channel.listen(control, "control")
    channel.run()
    end(process)


def _tell(region: socket.socket, ready: IO[bytes]) -> None:
    """Hand on what the region says until it is up, or has failed to be."""
    said = b""
    with region, ready:
        while not said.endswith(b"ready\n") and (part := region.recv(4096)):
            said += part
            ready.write(part)


if __name__ == "__main__":
    main()
