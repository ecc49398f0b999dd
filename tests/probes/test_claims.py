"""Each claim about AWS, tried on the local region: it holds, or says why it could not be tried."""

from __future__ import annotations

import ast
import functools
import json
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from osawslab import Lab
from osawslab.aws import policy
from osawslab.probes import verified
from osawslab.probes.claim import FAILS, HOLDS, UNTRIED
from osawslab.probes.run import CLAIMS, table
from osawslab.region import local

KEYS = [claim.key for claim in CLAIMS]
TABLE = runpy.run_path(str(Path(__file__).parents[1] / "regenerate_claims.py"))
# What the local region cannot show: a Debian that an AMI has started, SR-IOV, KVM; and what it may
# or may not have.
NOT_HERE = {
    "second-nic-configured", "debian-files", "ixgbevf-refuses-mac", "nested-virtualization",
}  # fmt: skip
PERHAPS = {"metadata-wants-token", "metadata-one-hop"}
ONE_DRIVER = {
    "ena-refuses-mac": "t3.small", "shared-mac-passes": "t3.small",
    "vif-takes-mac": "t2.large", "swapped-mac-passes": "t2.large",
}  # fmt: skip


@pytest.fixture(scope="module")
def asked() -> set[str]:
    """Collect what the probes ask EC2 for."""
    return set()


@pytest.fixture(scope="module")
def reports(home: Path, asked: set[str]) -> Iterator[Any]:
    """Give the report of a run on an instance type; each is run once."""

    @functools.cache
    def report(kind: str) -> dict[str, Any]:
        with policy.recording() as called:
            found = Lab(target="local").probe(instance_type=kind)
        asked.update(called)
        assert local.find("probe") is None
        return found.data

    yield report
    local.remove("probe")


@pytest.mark.kernel
@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("kind", ["t3.small", "t2.large"])
def test_a_claim_holds_here_or_says_why_not(key: str, kind: str, reports: Any) -> None:
    [found] = [each for each in reports(kind)["probes"] if each["key"] == key]
    assert found["verdict"] != FAILS, json.dumps(found, indent=1)
    if key in NOT_HERE or ONE_DRIVER.get(key, kind) != kind:
        assert found["verdict"] == UNTRIED
        assert found["seen"]
    elif key not in PERHAPS:
        assert found["verdict"] == HOLDS, json.dumps(found, indent=1)
        assert found["evidence"]
    assert found["verified_on_aws"] == verified.told(key)


@pytest.mark.kernel
@pytest.mark.parametrize("kind", ["t3.small", "t2.large"])
def test_a_report_is_whole_and_nothing_is_left(kind: str, reports: Any) -> None:
    report = reports(kind)
    assert report["left"] == []
    assert report["ok"]
    assert report["place"] != "AWS"
    assert [each["key"] for each in report["probes"]] == KEYS
    assert verified.taken(report) == {}


@pytest.mark.kernel
def test_what_the_probes_ask_for_is_allowed(reports: Any, asked: set[str]) -> None:
    reports("t3.small")
    assert {"ec2:AssignPrivateIpAddresses", "ec2:ModifyNetworkInterfaceAttribute"} <= asked
    assert asked - policy.allowed() == set()


def test_a_key_is_one_claims() -> None:
    assert len(set(KEYS)) == len(KEYS) > 20
    assert set(verified.kept()) <= set(KEYS)
    assert NOT_HERE | PERHAPS | set(ONE_DRIVER) <= set(KEYS)


def test_each_claim_says_who_says_so() -> None:
    for claim in CLAIMS:
        assert claim.source.startswith("https://")
        assert claim.expected
        assert "|" not in claim.words + claim.expected  # it stands in a table


def test_the_readme_has_the_table_of_the_code() -> None:
    assert TABLE["split"](TABLE["README"].read_text())[1] == table(), (
        "python tests/regenerate_claims.py"
    )


def test_what_runs_on_the_instance_needs_nothing_but_python() -> None:
    import sys

    from osawslab.host import metadata, wire

    for module in (metadata, wire):
        for node in ast.walk(ast.parse(Path(module.__file__).read_text())):
            if isinstance(node, ast.Import):
                assert {each.name for each in node.names} <= sys.stdlib_module_names
            if isinstance(node, ast.ImportFrom):
                assert node.module in sys.stdlib_module_names
