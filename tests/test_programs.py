"""Commands that lead into a lab, really run on one: floating IPs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from osawslab import Lab
from osawslab.region import local

NAME = "programs"


@pytest.fixture(scope="module")
def lab(home: Path) -> Iterator[Lab]:
    """A lab whose router answers, with Linux bridges."""
    os.environ["OSAWSLAB_BRIDGE"] = "linux"  # ends with the home
    with Lab(NAME) as made:
        try:
            made.catch_up("verify")
            yield made
        finally:
            local.remove(NAME)


def run(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "osawslab.cli", "floating-ip", *words, "--name", NAME]
    return subprocess.run(command, capture_output=True, text=True)


def answer(*words: str, status: int = 0) -> dict[str, Any]:
    """Run the command with --json; all of standard output is its answer."""
    done = run(*words, "--json")
    assert done.returncode == status, done.stderr
    return dict(json.loads(done.stdout))


@pytest.mark.kernel
def test_floating_ips_are_added_listed_and_given_back(lab: Lab) -> None:
    assert answer("list") == {"floating_ips": []}
    added = answer("add", "vm1")
    [row] = added["floating_ips"]
    assert (added["ok"], added["changed"]) == (True, True)
    assert (row["floating IP"], row["state"]) == ("172.16.20.102", "works")
    opened = lab._site().target.open_socket(row["Elastic IP"], 22, 10)
    assert opened is not None
    with opened:
        opened.settimeout(10)
        assert opened.recv(4) == b"SSH-"
    assert answer("list") == {"floating_ips": [row]}
    assert "172.16.20.102" in run("list").stdout
    assert answer("add", "vm1")["changed"] is False
    wrong = answer("add", "vm1", "--router", "second", status=2)
    assert (wrong["ok"], wrong["error"]["type"]) == (False, "StepNotReady")
    assert answer("remove", "172.16.20.109", status=2)["error"]["type"] == "StepNotReady"
    assert answer("remove", status=2)["ok"] is False
    assert answer("list") == {"floating_ips": [row]}

    done = run("remove", row["Elastic IP"])
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("remove_floating_ip: ")
    assert answer("list") == {"floating_ips": []}
    assert len(lab.client("ec2").describe_addresses()["Addresses"]) == 2
