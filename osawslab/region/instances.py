"""Instances as processes: a zygote that has everything imported, and who runs now.

The zygote is forked before the region has threads. It forks one process for each boot, which
becomes pid 1 of a pid namespace of its own: with it, everything in the instance ends.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from osawslab.errors import MissingTool
from osawslab.region import cloudinit, image, kernel, network
from osawslab.region.boot import Boot, order
from osawslab.region.folders import write_whole
from osawslab.region.state import State

ENDED = "ended"  # the file of a disk that says how its instance has ended by itself
BOOT_SECONDS = 3.0  # one that ends sooner would only do so again
POWER_OFF = signal.SIGRTMIN + 4  # systemd(1), "SIGNALS": what `poweroff` asks pid 1 for
END_SECONDS = 10.0  # a killed pid namespace is gone in milliseconds


def zygote() -> socket.socket:
    """Fork the process that boots instances; give the socket that orders go to.

    Without it the region is none any more: when it ends, so does this process.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    child = os.fork()
    if child:
        theirs.close()

        def end_with_it() -> None:
            os.waitpid(child, 0)
            os._exit(1)

        threading.Thread(target=end_with_it, name="zygote", daemon=True).start()
        return ours
    ours.close()
    kernel.die_with_parent()
    kernel.set_role("region-zygote")
    from osawslab.region import sshd  # noqa: F401 (imported once, for all boots)

    while data := theirs.recv(1 << 16):
        theirs.send(str(_boot(json.loads(data), theirs)).encode())
    os._exit(0)


def _boot(given: dict[str, Any], orders: socket.socket) -> int:
    """Fork pid 1 of a new instance; its pid."""
    reader, writer = os.pipe()
    first = os.fork()
    if first:
        os.close(writer)
        os.waitpid(first, 0)
        with os.fdopen(reader) as told:
            return int(told.read() or 0)
    try:
        orders.close()
        os.setsid()
        boot = Boot(**{**given, "machine": image.Machine(**given["machine"])})
        kernel.enter_netns(boot.netns)
        begin: Callable[[Boot], None] = _instance
        if boot.layers:
            begin = _prepare_whole(boot)
        else:
            kernel.unshare(kernel.NEWNS | kernel.NEWUTS | kernel.NEWIPC | kernel.NEWPID)
        pid = os.fork()
        if pid:
            os.write(writer, str(pid).encode())
            os._exit(0)
        os.close(writer)
        os.close(reader)
        begin(boot)
    except (OSError, ValueError, LookupError):
        traceback.print_exc()
    os._exit(1)


def _prepare_whole(boot: Boot) -> Callable[[Boot], None]:
    """Mount and configure a whole operating system; what runs it."""
    from osawslab.region import whole

    disk, root = Path(boot.disk), Path("/run/osawslab") / boot.netns
    kernel.unshare(kernel.NEWNS)
    whole.mount_root(root, disk, map(Path, boot.layers))
    whole.configure(root, boot.machine)
    return lambda boot: whole.supervise(root, disk, boot.netns, boot.machine.hostname, boot.group)


def _instance(boot: Boot) -> None:
    """Be the instance: pid 1 of its namespaces. Does not come back."""
    import asyncio

    from osawslab.region import sshd

    disk, root = Path(boot.disk), Path("/run/osawslab") / boot.netns
    image.configure(disk, boot.machine)
    image.make_root(root, disk, Path(boot.unpacked) if boot.unpacked else None)
    kernel.set_hostname(boot.machine.hostname)
    server = os.fork()
    kernel.set_role("instance-init" if server else "instance-sshd")
    if server:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(POWER_OFF, lambda *_: _off(disk))
        kernel.reap(server)
        os._exit(0)
    if kernel.set_ids_denied():
        kernel.pretend_set_ids()
    image.boot_network(root, boot.machine)
    asyncio.run(sshd.serve(root, boot.machine.user, cloudinit.run(root, image.PATH)))


def _off(disk: Path) -> None:
    """End the instance whose pid 1 this is, and leave that it was asked for."""
    write_whole(disk / ENDED, "off")
    os._exit(0)


def ended(disk: Path) -> str:
    """Tell what the instance on a disk has ended with: "reboot", "off" or ""."""
    try:
        return (disk / ENDED).read_text()
    except FileNotFoundError:
        return ""


class Instances:
    """Who runs now, and the way there from what EC2 says."""

    def __init__(
        self, orders: socket.socket, disks: Path, unpacked: Path | None, groups: str = ""
    ) -> None:
        self._orders = orders
        self._disks = disks
        self._unpacked = unpacked
        self._groups = groups  # the folder of control groups, where instances are whole
        self._whole: dict[str, str] = {}  # namespace -> control group
        self.on_end: Callable[[], None] = lambda: None  # called when one has ended
        self._running: dict[str, int] = {}  # namespace -> pid of its pid 1
        self._lacking: set[str] = set()  # those whose image is gone
        self._since: dict[str, float] = {}  # namespace -> when it was booted

    def stop(self, state: State) -> None:
        """End those that should not run (any more) and forget the disks of the terminated."""
        wanted = {
            network.instance_netns(i.id, i.boots) for i in state.instances.values() if i.running
        }
        leaving = sorted(self._running.keys() - wanted)
        if self._whole:
            self._power_off(state, leaving)
        for netns in leaving:
            end(self._running.pop(netns))
        if self._disks.is_dir():
            for disk in self._disks.iterdir():
                if disk.name not in state.instances:
                    shutil.rmtree(disk, ignore_errors=True)

    def start(self, state: State, *, replay: bool = False) -> None:
        """Boot those that should run and do not.

        One whose image is gone is a MissingTool; on a replay it stays off, and the rest boots.
        """
        for instance in state.instances.values():
            netns = network.instance_netns(instance.id, instance.boots)
            if not instance.running or alive(self._running.get(netns, 0)):
                continue
            if netns in self._lacking:
                continue
            try:
                boot = order(state, instance, self._disks, self._unpacked, self._groups)
            except MissingTool as error:
                if not replay:
                    raise
                self._lacking.add(netns)
                print(f"{instance.id} stays off: {error}", file=sys.stderr)  # noqa: T201 (the log)
                continue
            if boot is None:
                continue
            # Here, so that a full disk is the call's refusal.
            if boot.layers:
                from osawslab.region import baked, whole

                whole.make_disk(Path(boot.disk), map(Path, boot.layers))
                baked.use(Path(boot.disk), map(Path, boot.layers))
            else:
                image.make_disk(Path(boot.disk))
            (Path(boot.disk) / ENDED).unlink(missing_ok=True)
            self._orders.send(json.dumps(asdict(boot)).encode())
            pid = int(self._orders.recv(64))
            if not pid:
                raise RuntimeError(f"instance {instance.id} did not boot; see the region's log")
            self._running[netns] = pid
            self._since[netns] = time.monotonic()
            if boot.layers:
                self._whole[netns] = boot.group
            threading.Thread(target=self._watch, args=(pid,), daemon=True).start()

    def _watch(self, pid: int) -> None:
        """Wait until an instance has ended, then say so."""
        with contextlib.suppress(ProcessLookupError):
            watch = os.pidfd_open(pid)
            select.select([watch], [], [])
            os.close(watch)
        self.on_end()

    def _power_off(self, state: State, leaving: Sequence[str]) -> None:
        """End whole instances: those that will be booted again in order, the others at once."""
        from osawslab.region import cgroup, whole

        groups = {netns: self._whole.pop(netns) for netns in leaving if netns in self._whole}
        whole.power_off(
            {
                group: self._running[netns]
                for netns, group in groups.items()
                if netns.partition(".")[0] in state.instances
            }
        )
        for netns, group in groups.items():
            end(self._running[netns])  # first, so that nobody comes into the group any more
            cgroup.end(group)

    def rebooting(self) -> list[str]:
        """List the instances that rebooted by themselves, as by `sudo reboot`: only whole ones."""
        return [i for i, asked in self._asked().items() if asked == "reboot"]

    def powered_off(self) -> list[str]:
        """List the instances that powered themselves off, as by `sudo poweroff`."""
        return [i for i, asked in self._asked().items() if asked == "off"]

    def _asked(self) -> dict[str, str]:
        """Map the instances that ended by themselves to what they asked for."""
        over = [netns for netns, pid in list(self._running.items()) if not alive(pid)]
        ids = [netns.partition(".")[0] for netns in over]
        return {instance: ended(self._disks / instance) for instance in ids}

    def ended(self) -> list[str]:
        """List the instances whose end nobody asked for; not those that never began."""
        now = time.monotonic()
        off = self.powered_off()
        return [
            netns.partition(".")[0]
            for netns, pid in list(self._running.items())
            if not alive(pid)
            and now - self._since[netns] > BOOT_SECONDS
            and netns.partition(".")[0] not in off
        ]

    def pids(self) -> dict[str, int]:
        """Map namespaces to the pid 1 of their instance, in the region's pid namespace."""
        living = {netns: pid for netns, pid in list(self._running.items()) if alive(pid)}
        if self._whole:
            from osawslab.region import whole

            living |= {n: whole.leader(g) for n, g in list(self._whole.items()) if n in living}
        return {netns: pid for netns, pid in living.items() if pid}


def alive(pid: int) -> bool:
    """Say whether a process lives; one that only waits to be collected does not."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] not in "ZX"


def end(pid: int) -> None:
    """Kill a process and wait until the kernel has collected it and its namespace."""
    try:
        watch = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        if not select.select([watch], [], [], END_SECONDS)[0]:
            print(f"process {pid} does not end", file=sys.stderr)  # noqa: T201 (the log)
    finally:
        os.close(watch)
