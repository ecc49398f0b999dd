"""The first process inside User-Mode Linux: modules, the serial line, and the region on it.

The other end is `uml`. What it asks for is the region itself (once), its EC2 API and its control
socket, for each connection that somebody outside makes.
"""

from __future__ import annotations

import ctypes
import json
import os
import socket
import subprocess
import sys
import threading
import tty
from pathlib import Path
from typing import Any

from osawslab.region import kernel, tier
from osawslab.region.channel import Channel
from osawslab.region.uml import READY

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
CONTROL = "\0osawslab-control"  # of the abstract namespace: the region hides our /run
POWER_OFF = 0x4321FEDC  # linux/reboot.h
FINIT_MODULE = 313  # of x86_64, the only machine that this kernel is built for
# What the region and an instance's programs want of the kernel, which cannot ask for it itself:
# there need be no modprobe on this machine.
MODULES = (
    *("veth", "bridge", "tun", "ifb", "macvlan", "sch_ingress", "cls_u32", "act_mirred"),
    *("nf_tables", "nft_objref", "nft_log", "nft_ct", "nfnetlink_log", "nf_conntrack_netlink"),
    *("iptable_nat", "iptable_filter", "iptable_mangle", "iptable_raw"),
    *("xt_nat", "xt_tcpudp", "xt_conntrack", "xt_NFLOG", "xt_comment", "xt_MASQUERADE"),
    *("xt_REDIRECT", "xt_multiport", "xt_mark", "xt_mac", "xt_addrtype", "ipt_REJECT"),
)
_libc = ctypes.CDLL(None, use_errno=True)


def load_modules(folder: Path) -> None:
    """Load the modules with all that they need; one that is built in is none. Raises OSError."""
    listed = next((folder / "modules").glob("*/modules.dep"), None)
    if listed is None:
        raise FileNotFoundError(f"no modules in {folder}")
    paths: dict[str, list[str]] = {}
    for row in listed.read_text().splitlines():
        path, _, needs = row.partition(":")
        paths[Path(path).stem.replace("-", "_")] = [path, *needs.split()]
    loaded: set[str] = set()
    for name in MODULES:
        for path in reversed(paths.get(name, [])):
            if path not in loaded:
                loaded.add(path)
                _load(listed.parent / path)


def _load(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        if _libc.syscall(FINIT_MODULE, descriptor, b"", 0):
            number = ctypes.get_errno()
            raise OSError(number, f"{path.name}: {os.strerror(number)}")
    finally:
        os.close(descriptor)


class Inside:
    """What the outside can ask for."""

    def __init__(self) -> None:
        self._port = 0

    def open(self, asked: str) -> socket.socket | None:
        """Give the socket that is joined with a connection from outside."""
        if asked == "region":
            ours, theirs = socket.socketpair()
            threading.Thread(target=self._region, args=(theirs,), daemon=True).start()
            return ours
        try:
            if asked == "api":
                return socket.create_connection(("127.0.0.1", self._port))
            made = socket.socket(socket.AF_UNIX)
            made.connect(CONTROL)
        except OSError:  # a region that has ended is gone for those outside too
            return None
        return made

    def _region(self, told: socket.socket) -> None:
        """Run the region as the root tier does, until it ends; with it, this kernel ends."""
        with told.makefile("r") as text:
            given: dict[str, Any] = json.load(text)
        kernel.mount("/dev/ubda", given["order"]["disks"], "ext4", data="commit=1")
        environment = {**given["environment"], "PATH": PATH}
        with socket.socket() as api, socket.socket(socket.AF_UNIX) as control:
            api.bind(("127.0.0.1", given["port"]))
            api.listen(64)
            self._port = given["port"]
            control.bind(CONTROL)
            control.listen(64)
            log = os.open(given["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            descriptors = {
                "api_fd": api.fileno(), "control_fd": control.fileno(), "ready_fd": told.fileno()
            }  # fmt: skip
            region = subprocess.Popen(
                [*tier.arguments("root"), sys.executable, "-P", "-m", "osawslab.region.process"],
                stdin=subprocess.PIPE, stdout=log, stderr=log, cwd="/", env=environment, text=True,
                pass_fds=tuple(descriptors.values()),
            )  # fmt: skip
        told.close()
        region.communicate(json.dumps({**given["order"], **descriptors}))
        os._exit(0)


def main(what: str, folder: str) -> None:
    """Be the first process: make the kernel ready, say so, and end the kernel in the end."""
    for kind, target in (("proc", "/proc"), ("sysfs", "/sys")):
        kernel.mount(kind, target, kind)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True, env={"PATH": PATH})
    load_modules(Path(folder))
    # Who kills this process kills the kernel's memory: what is written is not kept there long.
    for name in ("dirty_expire_centisecs", "dirty_writeback_centisecs"):
        Path("/proc/sys/vm", name).write_text("50")
    line = os.open("/dev/ttyS0", os.O_RDWR | os.O_NOCTTY)
    tty.setraw(line)
    os.write(line, READY)
    if what == "region":
        works = os.fork()
        if not works:
            Channel(line, first=2, on_open=Inside().open).run()
            os._exit(0)
        kernel.reap(works)
    os.sync()
    _libc.reboot(ctypes.c_int(POWER_OFF))


if __name__ == "__main__":
    main(*sys.argv[1:3])  # User-Mode Linux adds words of its own, such as "console=tty0"
