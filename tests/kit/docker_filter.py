#!/usr/bin/env python3
"""Run a command as a container of Docker's would: no capability, no new rights, no namespace.

A seccomp filter refuses what Docker's default profile refuses to a container without
capabilities (moby/profiles, `seccomp/default.json`): unshare, setns, mount and the like answer
EPERM, clone with a flag for a namespace too, and clone3 ENOSYS, so that libraries use clone.
ptrace is allowed, as it is there since Linux 4.8; with `--only-ptrace` in front it alone is
refused, and everything else stays as it was. Root becomes uid 54321 first, without groups; with
`--uid-0` it stays that, without its rights. x86_64 only. Standard library only.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from collections.abc import Sequence

USER = 54321
EPERM, ENOSYS = 1, 38
PTRACE, CLONE, CLONE3 = 101, 56, 435
NEW_NAMESPACES = 0x7E020000  # linux/sched.h, CLONE_NEW*, but CLONE_NEWTIME, which clone cannot have
# From the kernel's table of system calls, in its order.
REFUSED = (
    134, 136, 139, 155, 161, 163, 164, 165, 166, 167, 168, 169, 170, 171, 172, 173, 174, 175, 176,
    177, 178, 179, 180, 212, 227, 237, 238, 239, 246, 248, 249, 250, 256, 272, 279, 298, 300, 301,
    303, 304, 305, 308, 313, 320, 321, 323, 428, 429, 430, 431, 432, 433, 442,
)  # fmt: skip
LOAD, EQUAL, ANY_BIT, RETURN = 0x20, 0x15, 0x45, 0x06  # linux/bpf_common.h
ALLOW, ERRNO, KILL = 0x7FFF0000, 0x00050000, 0x80000000  # linux/seccomp.h
X86_64 = 0xC000003E  # linux/audit.h
_libc = ctypes.CDLL(None, use_errno=True)


def op(code: int, value: int, yes: int = 0, no: int = 0) -> bytes:
    return struct.pack("HBBI", code, yes, no, value)


def refuse(call: int, number: int) -> list[bytes]:
    return [op(EQUAL, call, 0, 1), op(RETURN, ERRNO | number)]


def program(refused: Sequence[int] = REFUSED) -> bytes:
    """Write the filter for the kernel: seccomp_data has the call at 0, its first argument at 16."""
    lines = [op(LOAD, 4), op(EQUAL, X86_64, 1, 0), op(RETURN, KILL), op(LOAD, 0)]
    for call in refused:
        lines += refuse(call, EPERM)
    if refused == REFUSED:
        lines += refuse(CLONE3, ENOSYS)
        lines += [op(EQUAL, CLONE, 0, 3), op(LOAD, 16), op(ANY_BIT, NEW_NAMESPACES, 0, 1)]
        lines += [op(RETURN, ERRNO | EPERM)]
    return b"".join([*lines, op(RETURN, ALLOW)])


def install(refused: Sequence[int] = REFUSED) -> None:
    """Put this process and all its children below the filter, for good."""
    code = program(refused)
    kept = ctypes.create_string_buffer(code)

    class Filter(ctypes.Structure):
        _fields_ = (("len", ctypes.c_ushort), ("filter", ctypes.c_void_p))

    given = Filter(len(code) // 8, ctypes.addressof(kept))
    if _libc.prctl(38, 1, 0, 0, 0) or _libc.prctl(22, 2, ctypes.byref(given), 0, 0):
        raise OSError(ctypes.get_errno(), "the filter was refused")


def give_up(*, uid: int = USER) -> None:
    """Give up root with everything that goes with it: the next program has no capability."""
    if os.geteuid() == 0:
        for capability in range(64):
            _libc.prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP; some do not exist
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)


def main(words: list[str]) -> None:
    how = words.pop(0) if words[0].startswith("--") else ""
    if how == "--only-ptrace":
        install((PTRACE,))
    else:
        give_up(uid=0 if how == "--uid-0" else USER)
        install()
    os.execvp(words[0], words)


if __name__ == "__main__":
    main(sys.argv[1:])
