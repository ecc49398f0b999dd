"""The few system calls that Python 3.11 does not wrap.

Numbers are those of the kernel's headers: linux/sched.h (CLONE_*), linux/mount.h (MS_*),
linux/prctl.h, linux/seccomp.h, linux/audit.h.
"""

from __future__ import annotations

import ctypes
import functools
import os
import platform
import signal
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

NEWNS, NEWUTS, NEWIPC, NEWNET, NEWPID = 0x20000, 0x4000000, 0x8000000, 0x40000000, 0x20000000
NEWUSER = 0x10000000
RDONLY, NOSUID, NODEV, REMOUNT, BIND, REC, PRIVATE = 1, 2, 4, 32, 4096, 16384, 1 << 18

_libc = ctypes.CDLL(None, use_errno=True)
T = TypeVar("T")


def _checked(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def unshare(flags: int) -> None:
    """Put this process into new namespaces; a new pid namespace holds for its next child."""
    _checked(_libc.unshare(flags), "unshare")


def enter_netns(name: str) -> None:
    """Put this thread into the network namespace of that name (`ip netns`)."""
    fd = os.open(f"/run/netns/{name}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        _checked(_libc.setns(fd, NEWNET), f"setns {name}")
    finally:
        os.close(fd)


def in_netns(name: str, do: Callable[[], T]) -> T:
    """Call `do` in a thread of its own that has entered a network namespace.

    A socket stays in the namespace it was made in, whoever uses it afterwards.
    """
    result: list[T] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            enter_netns(name)
            result.append(do())
        except BaseException as error:  # noqa: BLE001 (handed to the caller below)
            failure.append(error)

    thread = threading.Thread(target=run, name=f"netns {name}")
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return result[0]


def mount(source: str, target: str | Path, kind: str = "", flags: int = 0, data: str = "") -> None:
    """Call mount(2)."""
    _checked(
        _libc.mount(
            source.encode(),
            os.fsencode(target),
            kind.encode() or None,
            ctypes.c_ulong(flags),
            data.encode() or None,
        ),
        f"mount {source} on {target}",
    )


def bind(source: str | Path, target: str | Path, *, read_only: bool = False) -> None:
    """Show a file or folder, with what is mounted below it, at a second place."""
    mount(str(source), target, flags=BIND | REC)
    if read_only:
        # In a user namespace flags that the mount already has must be kept (mount_namespaces(7)).
        kept = 0
        held = os.statvfs(target).f_flag
        for statvfs_flag, mount_flag in (
            (2, NOSUID),
            (4, NODEV),
            (8, 8),
            (1024, 1024),
            (2048, 2048),
        ):
            kept |= mount_flag if held & statvfs_flag else 0
        mount("none", target, flags=BIND | REMOUNT | RDONLY | kept)


def set_hostname(name: str) -> None:
    """Name this UTS namespace."""
    data = name.encode()
    _checked(_libc.sethostname(data, len(data)), "sethostname")


def set_role(role: str) -> None:
    """Name this process by what it does, where `ps -o comm` shows it: 15 bytes at most."""
    _checked(_libc.prctl(15, role.encode(), 0, 0, 0), "prctl(PR_SET_NAME)")


def die_with_parent() -> None:
    """Have the kernel kill this process when the one that forked it ends."""
    _checked(_libc.prctl(1, signal.SIGKILL, 0, 0, 0), "prctl(PR_SET_PDEATHSIG)")


def reap(main: int) -> int:
    """Do what pid 1 must: collect every orphan, until `main` has ended. Its wait status."""
    while True:
        pid, status = os.waitpid(-1, 0)
        if pid == main:
            return status


# set*id, setgroups and chown of the two machines, from the kernel's system call tables.
_SET_IDS = {
    "x86_64": (0xC000003E, (105, 106, 113, 114, 116, 117, 119, 122, 123, 92, 93, 94, 260)),
    "aarch64": (0xC00000B7, (143, 144, 145, 146, 147, 149, 151, 152, 159, 54, 55)),
}


def pretend_set_ids() -> None:
    """Let set*id, setgroups and chown answer "success" in this process and its children.

    Where only uid 0 is mapped the kernel refuses them, and tcpdump, su or dropbear give up,
    although there is nobody else they could become. Charliecloud does the same
    (`--force=seccomp`). Cannot be undone.
    """
    arch, calls = _SET_IDS[platform.machine()]

    def op(code: int, yes: int, no: int, value: int) -> bytes:
        return struct.pack("HBBI", code, yes, no, value)

    program = [op(0x20, 0, 0, 4), op(0x15, 0, len(calls) + 1, arch), op(0x20, 0, 0, 0)]
    program += [op(0x15, len(calls) - i, 0, call) for i, call in enumerate(calls)]
    program += [op(0x06, 0, 0, 0x7FFF0000), op(0x06, 0, 0, 0x00050000)]  # ALLOW; ERRNO 0
    code = ctypes.create_string_buffer(b"".join(program))

    class Filter(ctypes.Structure):
        _fields_ = (("len", ctypes.c_ushort), ("filter", ctypes.c_void_p))

    _checked(_libc.prctl(38, 1, 0, 0, 0), "prctl(PR_SET_NO_NEW_PRIVS)")
    given = Filter(len(program), ctypes.addressof(code))
    _checked(_libc.prctl(22, 2, ctypes.byref(given), 0, 0), "prctl(PR_SET_SECCOMP)")


@functools.cache
def user_mode() -> bool:
    """Say whether this kernel is User-Mode Linux: its nftables know bridges only."""
    return "User Mode Linux" in Path("/proc/cpuinfo").read_text()


def set_ids_denied() -> bool:
    """Say whether set*id or chown fail: too few ids are mapped, or files are another kernel's."""
    return user_mode() or Path("/proc/self/setgroups").read_text().strip() == "deny"
