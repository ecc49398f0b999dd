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
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import yaml

from osawslab.region import image, kernel, network
from osawslab.region.folders import write_whole
from osawslab.region.state import Eni, Instance, State

BOOT_SECONDS = 3.0  # one that ends sooner would only do so again
END_SECONDS = 10.0  # a killed pid namespace is gone in milliseconds


def default_user(image_name: str) -> str:
    """Name the user an AMI lets in: "ubuntu" on Ubuntu, "admin" on Debian (their manuals)."""
    return "ubuntu" if image_name.startswith("ubuntu") else "admin"


def cloud_config(user_data: bytes) -> dict[str, Any]:
    """Read user data as cloud-init reads it: a `#cloud-config`, else nothing."""
    text = user_data.decode(errors="replace")
    if not text.startswith("#cloud-config"):
        return {}
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError:
        return {}
    return found if isinstance(found, dict) else {}


def host_keys(config: Mapping[str, Any]) -> dict[str, str]:
    """Give the files of the host key that user data asks for (cloud-init's `ssh_keys`)."""
    given = config.get("ssh_keys")
    if not isinstance(given, dict) or "ed25519_private" not in given:
        return {}
    files = {"ssh_host_ed25519_key": str(given["ed25519_private"])}
    if "ed25519_public" in given:
        files["ssh_host_ed25519_key.pub"] = str(given["ed25519_public"]) + "\n"
    return files


@dataclass(frozen=True)
class Boot:
    """The order to boot an instance."""

    netns: str
    disk: str
    unpacked: str
    machine: image.Machine
    host_key: Mapping[str, str]


def order(state: State, instance: Instance, disks: Path, unpacked: Path | None) -> Boot | None:
    """Say how an instance boots; None when it has no first NIC."""
    enis = [eni for eni in state.enis.values() if eni.instance == instance.id]
    first: Eni | None = next((eni for eni in enis if eni.device_index == 0), None)
    if first is None:
        return None
    cidr = IPv4Network(state.subnets[first.subnet].cidr)
    return Boot(
        network.instance_netns(instance.id, instance.boots),
        str(disks / instance.id),
        str(unpacked or ""),
        image.Machine(
            hostname="ip-" + first.addresses[0].replace(".", "-"),
            user=default_user(instance.image),
            public_key=instance.public_key,
            nic=network.nic_name(instance.type, 0),
            address=first.addresses[0],
            prefix=cidr.prefixlen,
            gateway=str(cidr[1]),
        ),
        host_keys(cloud_config(instance.user_data)),
    )


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
        kernel.unshare(kernel.NEWNS | kernel.NEWUTS | kernel.NEWIPC | kernel.NEWPID)
        pid = os.fork()
        if pid:
            os.write(writer, str(pid).encode())
            os._exit(0)
        os.close(writer)
        os.close(reader)
        _instance(boot)
    except OSError:
        traceback.print_exc()
    os._exit(1)


def _instance(boot: Boot) -> None:
    """Be the instance: pid 1 of its namespaces. Does not come back."""
    import asyncio

    from osawslab.region import sshd

    disk, root = Path(boot.disk), Path("/run/osawslab") / boot.netns
    image.configure(disk, boot.machine, boot.host_key)
    _own_host_key(disk / "etc/ssh/ssh_host_ed25519_key")
    image.make_root(root, disk, Path(boot.unpacked) if boot.unpacked else None)
    kernel.set_hostname(boot.machine.hostname)
    server = os.fork()
    if server:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        kernel.reap(server)
        os._exit(0)
    if kernel.set_ids_denied():
        kernel.pretend_set_ids()
    image.boot_network(root, boot.machine)
    asyncio.run(sshd.serve(root, boot.machine.user, lambda: None))


def _own_host_key(path: Path) -> None:
    """Make a host key where user data gave none, as sshd's package does."""
    if not path.exists():
        import asyncssh

        key = asyncssh.generate_private_key("ssh-ed25519")
        write_whole(path, key.export_private_key("openssh").decode())


class Instances:
    """Who runs now, and the way there from what EC2 says."""

    def __init__(self, orders: socket.socket, disks: Path, unpacked: Path | None) -> None:
        self._orders = orders
        self._disks = disks
        self._unpacked = unpacked
        self._running: dict[str, int] = {}  # namespace -> pid of its pid 1
        self._since: dict[str, float] = {}  # namespace -> when it was booted

    def stop(self, state: State) -> None:
        """End those that should not run (any more) and forget the disks of the terminated."""
        wanted = {
            network.instance_netns(i.id, i.boots) for i in state.instances.values() if i.running
        }
        for netns in sorted(self._running.keys() - wanted):
            end(self._running.pop(netns))
        if self._disks.is_dir():
            for disk in self._disks.iterdir():
                if disk.name not in state.instances:
                    shutil.rmtree(disk, ignore_errors=True)

    def start(self, state: State) -> None:
        """Boot those that should run and do not."""
        for instance in state.instances.values():
            netns = network.instance_netns(instance.id, instance.boots)
            if not instance.running or alive(self._running.get(netns, 0)):
                continue
            boot = order(state, instance, self._disks, self._unpacked)
            if boot is None:
                continue
            image.make_disk(Path(boot.disk))  # here, so that a full disk is the call's refusal
            self._orders.send(json.dumps(asdict(boot)).encode())
            pid = int(self._orders.recv(64))
            if not pid:
                raise RuntimeError(f"instance {instance.id} did not boot; see the region's log")
            self._running[netns] = pid
            self._since[netns] = time.monotonic()

    def ended(self) -> list[str]:
        """List the instances that ended by themselves, as by `halt`; not those that never began."""
        now = time.monotonic()
        return [
            netns.partition(".")[0]
            for netns, pid in list(self._running.items())
            if not alive(pid) and now - self._since[netns] > BOOT_SECONDS
        ]

    def pids(self) -> dict[str, int]:
        """Map namespaces to the pid 1 of their instance, in the region's pid namespace."""
        return {netns: pid for netns, pid in self._running.items() if alive(pid)}


def alive(pid: int) -> bool:
    """Say whether a process exists."""
    return pid > 0 and Path(f"/proc/{pid}").exists()


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
