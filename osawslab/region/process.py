"""The region's process, inside its namespaces: EC2 API, network, instances, control socket.

Started by `local`; sockets and locks are made outside and handed in.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from osawslab.region import instances, kernel, plane
from osawslab.region.state import State

if TYPE_CHECKING:
    from osawslab.region.faults import Faults


def main() -> None:
    """Be the region, as the JSON on standard input says (written by `local`)."""
    given = json.load(sys.stdin)
    kernel.mount("none", "/", flags=kernel.REC | kernel.PRIVATE)
    groups = os.open("/sys/fs/cgroup", os.O_PATH) if given["whole"] else None
    for kind, target in (("tmpfs", "/run"), ("proc", "/proc"), ("sysfs", "/sys")):
        kernel.mount(kind, target, kind)
    if groups is not None:
        kernel.bind(f"/proc/self/fd/{groups}", "/sys/fs/cgroup")
        os.close(groups)
    Path("/run/netns").mkdir()
    region = os.fork()
    kernel.set_role("region-init" if region else "region")
    if region:  # pid 1 of the region: with it, everything ends
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        sys.exit(os.waitstatus_to_exitcode(kernel.reap(region)) & 0xFF)
    kernel.die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    orders = instances.zygote()
    ready = os.fdopen(given["ready_fd"], "w")
    try:
        _serve(given, orders, ready)
    except (OSError, RuntimeError, ImportError, ValueError) as error:
        ready.write(f"error: {error}\n")
        ready.flush()
        raise


def _serve(given: dict[str, Any], orders: socket.socket, ready: Any) -> None:
    from osawslab.region import dhcp, imds
    from osawslab.region.ec2 import Ec2, serve
    from osawslab.region.motomodels import ACCOUNT

    unpacked = Path(given["unpacked"]) if given["unpacked"] else None
    running = instances.Instances(orders, Path(given["disks"]), unpacked, given["whole"])
    metadata = imds.Metadata(given["region"], ACCOUNT)
    leases = dhcp.Dhcp(given["region"])
    bakery = None
    if given["whole"]:
        from osawslab.region.baked import Bakery

        bakery = Bakery(Path(given["disks"]))
        bakery.mend()
    plane.start()
    lives = threading.Event()

    def on_change(state: State) -> None:
        running.stop(state)
        try:
            if bakery is not None:
                bakery.bake(state)
        finally:  # without its image, an instance goes on too
            plane.reconcile(state)
            metadata.follow(state)
            leases.follow(state)
            running.start(state, replay=not lives.is_set())

    ec2 = Ec2(
        name=given["name"],
        journal=Path(given["journal"]),
        access_key=given["access_key"],
        secret_key=given["secret_key"],
        region=given["region"],
        on_change=on_change,
        bakery=bakery,
    )

    def on_end() -> None:
        ec2.shut_down(running.powered_off)
        ec2.reboot(running.rebooting)

    running.on_end = on_end
    ec2.replay()
    lives.set()
    listener = socket.socket(fileno=given["control_fd"])
    control = Control(listener, running, lambda: ec2.reboot(running.ended), ec2.faults)
    threading.Thread(target=control.serve, name="control", daemon=True).start()
    ready.write("ready\n")
    ready.close()
    serve(ec2, socket.socket(fileno=given["api_fd"]))


class Control:
    """Answer what the EC2 API has no words for: connect, look, execute. One JSON line each."""

    def __init__(
        self,
        listener: socket.socket,
        running: instances.Instances,
        revive: Callable[[], None],
        faults: Faults,
    ) -> None:
        self._listener = listener
        self._running = running
        self._revive = revive
        self._faults = faults

    def serve(self) -> None:
        """Answer for ever, each client in a thread of its own."""
        while True:
            client, _ = self._listener.accept()
            threading.Thread(target=self._client, args=(client,), daemon=True).start()

    def _client(self, client: socket.socket) -> None:
        with client, client.makefile("r") as lines:
            line = lines.readline()
            if not line:
                return
            descriptors: list[int] = []
            try:
                answer = self._answer(json.loads(line), descriptors)
            except (OSError, RuntimeError, ValueError, KeyError) as error:
                answer = {"error": str(error), "kind": type(error).__name__}
            try:
                text = json.dumps(answer).encode() + b"\n"
                socket.send_fds(client, [text[:1]], descriptors)
                client.sendall(text[1:])
                client.recv(1)  # a client that stays sees by this socket that the region lives
            except OSError:
                pass  # the client is gone
            finally:
                for descriptor in descriptors:
                    os.close(descriptor)

    def _answer(self, asked: dict[str, Any], descriptors: list[int]) -> dict[str, Any]:
        match asked["do"]:
            case "connect":
                self._revive()  # who wants to reach an instance that has ended wants it back
                made = plane.connect(asked["address"], asked["port"], asked["timeout"])
                descriptors.append(made.detach())
                return {}
            case "listen":
                descriptors.append(plane.listen(asked["address"], asked["port"]).detach())
                return {}
            case "faults":
                self._faults.order(asked["faults"])
                return {}
            case "struck":
                return {"struck": self._faults.struck}
            case "drops":
                return {"drops": plane.drops()}
            case "places":
                return {"places": sorted(plane.netns_list()), "running": self._running.pids()}
            case "execute":
                done = plane.execute(asked["place"], asked["argv"], asked.get("given", ""))
                return {"code": done.returncode, "out": done.stdout, "err": done.stderr}
            case "program":
                descriptors.append(plane.program(asked["text"], asked["words"]).detach())
                return {}
            case "apply":
                plane.batch(asked["place"], asked["lines"])
                return {}
        raise ValueError(f"unknown request {asked['do']!r}")


if __name__ == "__main__":
    main()
