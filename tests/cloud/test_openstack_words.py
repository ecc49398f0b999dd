"""What is told of a service that does not come up: its own words, by the shell of the instance."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from osawslab.cloud.openstack import words
from osawslab.errors import LabTimeout, StepFailed
from osawslab.steps import openstack_install

UNITS = {
    "keystone": ("active", 0),
    "neutron-api": ("activating", 2),
    "neutron-l3-agent": ("active", 3),
    "nova-compute": ("failed", 0),
    "glance-api": ("inactive", 0),
}
SHOW = "\n\n".join(
    f"NRestarts={restarts}\nId={unit}.service\nActiveState={state}"
    for unit, (state, restarts) in UNITS.items()
)


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """Give a folder of logs, some from before the services were to start."""
    for name, text in {
        "systemctl": f"cat <<'END'\n{SHOW}\nEND\n",
        "journalctl": 'echo "systemd says: $*"\n',
    }.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}")
        (tmp_path / name).chmod(0o755)
    (tmp_path / "ready").touch()
    begun = (tmp_path / "ready").stat().st_mtime
    for path, at in (
        ("neutron/neutron-l3-agent.log", begun + 1),
        ("nova/nova-compute.log", begun - 1),
        ("keystone/keystone.log", begun + 1),
    ):
        log = tmp_path / path
        log.parent.mkdir()
        log.write_text("".join(f"line {number} of {log.stem}\n" for number in range(9)))
        os.utime(log, (at, at))
    return tmp_path


def told(host: Path, *late: str) -> list[str]:
    script = words.given_up(str(host / "ready"), late).replace("/var/log", str(host))
    path = f"{host}:{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-euc", script], capture_output=True, text=True, env={"PATH": path}
    )
    assert not done.stderr
    return done.stdout.splitlines()


def test_who_failed_or_begins_again_and_again_is_told_with_its_last_words(host: Path) -> None:
    agent, compute, glance = told(host)
    assert agent.split(": ")[0] == "neutron-l3-agent"
    assert agent.startswith("neutron-l3-agent: line 4 of neutron-l3-agent line 5")
    assert agent.endswith("line 8 of neutron-l3-agent ")
    assert compute == "nova-compute: systemd says: -q -n 5 --no-pager -o cat -u nova-compute "
    assert glance.startswith("glance-api: systemd says:")


def test_who_is_late_is_told_too(host: Path) -> None:
    late, *others = told(host, "keystone")
    assert "line 8 of keystone" in late
    assert len(others) == 3


@pytest.mark.parametrize(
    ("seconds", "lost", "error", "seen"),
    [
        (9.0, "neutron-l3-agent: no such driver", StepFailed, "neutron-l3-agent: no such driver"),
        (-1.0, "neutron-l3-agent: nothing", LabTimeout, "agent, no hyper"),
        (-1.0, "neutron-l3-agent: nothing", LabTimeout, "\nneutron-l3-agent: nothing"),
    ],
)
def test_the_wait_ends_with_them(
    seconds: float, lost: str, error: type, seen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[str] = []

    def run(command: str) -> str:
        commands.append(command)
        return f"{lost}\n"

    cloud = SimpleNamespace(
        network=SimpleNamespace(agents=list),
        compute=SimpleNamespace(services=lambda binary: [], hypervisors=lambda details: []),
    )
    monkeypatch.setattr(openstack_install, "AGENTS_SECONDS", seconds)
    monkeypatch.setattr(openstack_install, "cloud", lambda *_: cloud)
    read = SimpleNamespace(read=lambda *_: SimpleNamespace(since={}))
    monkeypatch.setattr(openstack_install, "installed", read)
    site: Any = SimpleNamespace(settings=None)
    host: Any = SimpleNamespace(run=run)
    with pytest.raises(error) as caught:
        openstack_install._wait(site, host)
    assert seen in caught.value.seen
    assert commands[0] == words.COUNT_ANEW
    asked = f"for unit in {' '.join(openstack_install.BINARIES)} " in commands[-1]
    assert asked == (error is LabTimeout)
