"""Figures, measured in one run beside something real: each section a JSON object."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from osawslab.errors import BadSetting, StepFailed

if TYPE_CHECKING:
    from osawslab.lab import Lab

ROUND_TRIPS = 20
# Three hosts on a Linux bridge, started and stopped; what Mininet's own examples do.
MININET = """
import sys, time
from mininet.net import Mininet
from mininet.nodelib import LinuxBridge
from mininet.topo import SingleSwitchTopo
started = time.perf_counter()
net = Mininet(SingleSwitchTopo(3), switch=LinuxBridge, controller=None, waitConnected=False)
net.start(); net.stop()
print(time.perf_counter() - started)
"""


@contextmanager
def _own_place() -> Iterator[None]:
    """Measure in folders of our own, so that the user's lab is neither used nor touched."""
    with tempfile.TemporaryDirectory(prefix="osawslab-") as folder:
        kept = {key: os.environ.get(key) for key in ("XDG_STATE_HOME", "XDG_RUNTIME_DIR")}
        for key, name in (("XDG_STATE_HOME", "state"), ("XDG_RUNTIME_DIR", "run")):
            path = Path(folder) / name
            path.mkdir(mode=0o700)
            os.environ[key] = str(path)
        try:
            yield
        finally:
            for key in kept:
                del os.environ[key]
            os.environ.update({key: value for key, value in kept.items() if value is not None})


def _seconds(do: Callable[[], object]) -> float:
    started = time.perf_counter()
    do()
    return time.perf_counter() - started


def _run_all(lab: Lab) -> None:
    for step in lab.steps:
        report = lab.run(step)
        if not report.ok:
            raise StepFailed(f"{step} does not hold", seen=report.text)


def tour() -> dict[str, float | None]:
    """Measure the tour, in seconds: first SSH command, whole, unchanged, teardown, round trip.

    `first_ssh` starts with nothing: no region, no VPC; it ends when the first command through
    the instance's Elastic IP has answered. `mininet` is null where Mininet is not installed.
    """
    from osawslab.lab import Lab
    from osawslab.region import local

    with _own_place():
        lab = Lab("bench", target="local")
        try:
            started = time.perf_counter()
            lab.provision()
            host = lab.host()
            host.plain("true")
            first = time.perf_counter() - started
            _run_all(lab)
            whole = time.perf_counter() - started
            unchanged = _seconds(lambda: _run_all(lab))
            trips = sorted(_seconds(lambda: host.plain("true")) for _ in range(ROUND_TRIPS))
            lab.close()
            teardown = _seconds(lambda: local.remove("bench"))
        finally:
            lab.close()
            local.remove("bench")
    return {
        "first_ssh": first,
        "tour": whole,
        "unchanged": unchanged,
        "teardown": teardown,
        "fabric_round_trip": trips[len(trips) // 2],
        "mininet": mininet(),
    }


def mininet() -> float | None:
    """Measure Mininet's start and stop of three hosts on a Linux bridge; None without it."""
    python = shutil.which("python3", path="/usr/bin:/bin")
    if python is None or os.geteuid() != 0:
        return None
    # In namespaces of its own: nothing of it stays, and no bridge of the machine is seen.
    done = subprocess.run(
        ["unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", python, "-c", MININET],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    return float(done.stdout.split()[-1]) if done.returncode == 0 and done.stdout else None


class Watch:
    """Time each action of the steps: a `site.Progress` that keeps what it is told."""

    def __init__(self) -> None:
        self.phases: list[dict[str, Any]] = []
        self._step, self._since = "", 0.0

    def start(self, step: str, total: int) -> None:
        """Begin a step."""
        self._step, self._since = step, time.perf_counter()

    def action(self, text: str, *, where: str = "", command: str = "") -> None:
        """End the action before, and begin one."""
        self._end()
        why = text.partition(" (about ")[0]  # how long it will take is another run's
        self.phases.append({"name": f"{self._step}: {why}", "seconds": 0.0})

    def done(self, text: str) -> None:
        """End the last action."""
        self._end()

    def _end(self) -> None:
        now = time.perf_counter()
        if self.phases and not self.phases[-1]["seconds"]:
            self.phases[-1]["seconds"] = now - self._since
        self._since = now


@contextmanager
def peaks(*groups: str) -> Iterator[dict[str, int]]:
    """Look at the memory of control groups each second; give the most that each has used."""
    from osawslab.region import cgroup

    most: dict[str, int] = {}
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(1.0):
            for group in groups:
                if used := cgroup.used(group):
                    most[group] = max(used, most.get(group, 0))

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield most
    finally:
        ended.set()
        thread.join()


def openstack() -> dict[str, Any] | None:
    """Measure the real OpenStack: from nothing to a published VM, again unchanged, and its memory.

    `phases` are the actions of the cold run that took a second or more; `baked` is a second lab
    from an image of the first, which stays in the cache; `peak_bytes` is the most memory that
    either instance could not do without, the VM in it included, looked at each second (see
    `cgroup.used`). None where an instance cannot be a whole operating system.
    """
    from osawslab.lab import Lab
    from osawslab.region import cgroup, local

    if os.geteuid() != 0:
        return None
    with _own_place(), peaks(*map(cgroup.name, ("bench", "baked"))) as peak:
        watch = Watch()
        labs = {
            name: Lab(name, target="local", cloud="openstack", image=image)
            for name, image in (("bench", "debian"), ("baked", "auto"))
        }
        labs["bench"].progress = watch
        try:
            cold = _seconds(lambda: _run_all(labs["bench"]))
            phases = [each for each in watch.phases if each["seconds"] >= 1.0]
            unchanged = _seconds(lambda: _run_all(labs["bench"]))
            labs["bench"].reset("networks")
            labs["bench"].bake()
            local.remove("bench")
            baked = _seconds(lambda: _run_all(labs["baked"]))
        finally:
            for name, lab in labs.items():
                lab.close()
                local.remove(name)
    return {
        "phases": phases, "cold": cold, "baked": baked, "unchanged": unchanged,
        "peak_bytes": max(peak.values(), default=None),
    }  # fmt: skip


def policy() -> dict[str, Any]:
    """Hold the IAM policy against all that steps, repairs, faults and probes have asked for.

    `missing` is asked for and not allowed, `unused` is allowed and never asked for.
    """
    from osawslab import walked
    from osawslab.aws import policy as room

    with _own_place():
        asked, allowed = walked.calls() | room.TYPED, room.allowed()
    return {"missing": sorted(asked - allowed), "unused": sorted(allowed - asked)}


def probes() -> list[dict[str, str]]:
    """Try every claim about AWS on the local region: on a Nitro type, and what is left on t2.

    What neither can show says why, under `seen`.
    """
    from osawslab.lab import Lab
    from osawslab.probes.claim import UNTRIED

    with _own_place():
        runs = [
            Lab(target="local").probe(instance_type=kind).data["probes"]
            for kind in ("t3.small", "t2.large")
        ]
    best = [
        next((each for each in tries if each["verdict"] != UNTRIED), tries[0])
        for tries in zip(*runs, strict=True)
    ]
    keys = ("claim", "expected", "verdict", "seen", "verified_on_aws")
    return [{key: each[key] for key in keys} for each in best]


def captures() -> dict[str, Any]:
    """Measure how fast a mixed capture becomes a DataFrame, beside others, and in what memory.

    All readers read the same file, the slow ones its beginning; null where one is not installed.
    `bytes_per_frame` is the most memory that was allocated at once, the file's window included.
    """
    from osawslab import peers

    with tempfile.TemporaryDirectory(prefix="osawslab-") as folder:
        return peers.measure(Path(folder) / "mixed.pcap")


def long_captures() -> dict[str, Any]:
    """Measure a capture of ten million frames, beside one of a million: in time and memory."""
    from osawslab import peers

    with tempfile.TemporaryDirectory(prefix="osawslab-") as folder:
        return peers.linear(Path(folder) / "mixed.pcap")


def live_capture() -> dict[str, Any]:
    """Capture a sender of 40,000 frames a second at two points; `lost` is what the kernel tells."""
    from osawslab import pouring

    with _own_place():
        return pouring.of_a_lab()


def survival() -> list[dict[str, Any]]:
    """Bring a published VM through what destroys the way to it; as root on OpenStack too."""
    from osawslab import survival as events

    with _own_place():
        return [line.data for line in events.measure()]


def matrix() -> list[dict[str, str]]:
    """Try every strategy of the MAC on every NIC driver and bridge, with real packets."""
    from osawslab import experiment

    with _own_place():
        return experiment.matrix().data


def seats() -> list[dict[str, Any]] | None:
    """Measure classes of 1, 10 and 50 seats on this machine; None without root."""
    if os.geteuid():
        return None
    from osawslab.classroom import measure

    with _own_place():
        return measure.seats()


def tiers() -> list[dict[str, Any]]:
    """Run the tour in every tier of the local region."""
    from osawslab import tiers as room

    with _own_place():
        return room.measure()


def diagnosis() -> dict[str, Any]:
    """Cause every fault, alone and with every other that goes with it, and have it diagnosed."""
    from osawslab import confusion

    with _own_place():
        return confusion.measure()


def translation() -> dict[str, Any]:
    """Measure `mac-nat` beside plain forwarding: throughput, round trip, flows by addresses."""
    from osawslab import throughput

    with _own_place():
        return throughput.of_a_lab()


Section = dict[str, Any] | list[dict[str, Any]] | None
SECTIONS: Mapping[str, Callable[[], Section]] = {
    "tour": tour,
    "openstack": openstack,
    "policy": policy,
    "probes": probes,
    "captures": captures,
    "long-captures": long_captures,
    "live-capture": live_capture,
    "survival": survival,
    "matrix": matrix,
    "seats": seats,
    "tiers": tiers,
    "diagnosis": diagnosis,
    "mac-nat": translation,
}


def run(names: Sequence[str]) -> dict[str, Any]:
    """Run sections, `tour` where none is named. Raises BadSetting for one that does not exist."""
    unknown = sorted(set(names) - set(SECTIONS))
    if unknown:
        raise BadSetting(
            f"there is no section {unknown[0]!r}", seen=unknown[0], next=", ".join(SECTIONS)
        )
    return {name: SECTIONS[name]() for name in (names or ("tour",))}
