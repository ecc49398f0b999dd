"""The process through which a lab's whole instances reach Debian's mirrors."""

from __future__ import annotations

import os
import select
import signal
from pathlib import Path


def mirrors(name: str) -> list[int]:
    """List the mirrors of a lab of this home; other tests' homes have labs of the same name."""
    home = f"XDG_STATE_HOME={os.environ['XDG_STATE_HOME']}".encode()
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
            ours = home in (entry / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if ours and b"osawslab.region.mirror" in words and name.encode() in words:
            found.append(int(entry.name))
    return found


def kill(name: str) -> None:
    """Kill a lab's mirror, and wait for its end."""
    (mirror,) = mirrors(name)
    watch = os.pidfd_open(mirror)
    os.kill(mirror, signal.SIGKILL)
    assert select.select([watch], [], [], 10)[0]
    os.close(watch)
