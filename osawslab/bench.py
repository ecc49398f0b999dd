"""Figures, measured in one run beside something real: each section a JSON object."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from osawslab.errors import BadSetting, StepFailed
from osawslab.report import Table

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
            for key, value in kept.items():
                if value is None:
                    del os.environ[key]
                else:
                    os.environ[key] = value


def _seconds(do: Callable[[], object]) -> float:
    started = time.perf_counter()
    do()
    return time.perf_counter() - started


def tour() -> dict[str, float | None]:
    """Measure the tour, in seconds: first SSH command, whole, unchanged, teardown, round trip.

    `first_ssh` starts with nothing: no region, no VPC; it ends when the first command through
    the instance's Elastic IP has answered. `mininet` is null where Mininet is not installed.
    """
    from osawslab.lab import Lab
    from osawslab.region import local

    with _own_place():
        lab = Lab("bench", target="local")

        def run_all() -> None:
            for step in lab.steps:
                report = lab.run(step)
                if not report.ok:
                    raise StepFailed(f"{step} does not hold", seen=report.text)

        try:
            started = time.perf_counter()
            lab.provision()
            host = lab.host()
            host.plain("true")
            first = time.perf_counter() - started
            run_all()
            whole = time.perf_counter() - started
            unchanged = _seconds(run_all)
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
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return float(done.stdout.split()[-1]) if done.returncode == 0 and done.stdout else None


SECTIONS: Mapping[str, Callable[[], dict[str, Any]]] = {"tour": tour}


def run(names: Sequence[str]) -> dict[str, Any]:
    """Run sections, all where none is named. Raises BadSetting for one that does not exist."""
    unknown = sorted(set(names) - set(SECTIONS))
    if unknown:
        raise BadSetting(
            f"there is no section {unknown[0]!r}", seen=unknown[0], next=", ".join(SECTIONS)
        )
    return {name: SECTIONS[name]() for name in (names or SECTIONS)}


def text(found: Mapping[str, Mapping[str, float | None]]) -> str:
    """Show seconds, and how often Mininet's bare network would fit in.

    >>> print(text({"tour": {"tour": 3.0, "mininet": 0.5}}))
    tour
    what     seconds  times Mininet
    tour     3.000    6.0
    mininet  0.500    1.0
    """
    parts = []
    for name, section in found.items():
        base = section.get("mininet")
        rows = tuple(
            (
                key,
                "not installed" if value is None else f"{value:.3f}",
                f"{value / base:.1f}" if base and value is not None else "",
            )
            for key, value in section.items()
        )
        parts.append(repr(Table(name, ("what", "seconds", "times Mininet"), rows)))
    return "\n\n".join(parts)
