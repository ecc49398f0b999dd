"""Every fault alone, 30 seeded pairs, and labs that nobody broke: what the diagnosis names."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from osawslab import confusion, runbook, sameness
from osawslab.clinic.station import ORDER
from osawslab.faults.catalogue import FAULTS

PAIRS = 30
SEED = 1
RUNBOOK = Path(__file__).parent.parent / "notebooks" / "clinic" / "runbook.md"
COMMITTED = Path(__file__).with_name("confusion.json")


@pytest.fixture(scope="module")
def found(home: Path) -> dict[str, list[Any]]:
    return confusion.measure(random.Random(SEED).sample(confusion.pairs(), PAIRS))


@pytest.mark.kernel
def test_every_fault_is_a_change_named_first_mended_undone_and_healed_by_the_steps(
    found: dict[str, list[Any]],
) -> None:
    kept = ("changed", "named_first", "mended", "undone", "healed")
    wrong = [each for each in found["faults"] if not all(each[key] for key in kept)]
    assert wrong == []
    able = {each.name for each in FAULTS.values() if "handbuilt" in each.clouds}
    assert {each["fault"] for each in found["faults"]} == able
    assert [each["fault"] for each in found["faults"] if each["commands"] > 1] in ([], [AGAIN])


AGAIN = confusion.AGAIN


@pytest.mark.kernel
def test_the_runbook_has_what_each_fault_shows(found: dict[str, list[Any]]) -> None:
    written = runbook.read(RUNBOOK.read_text())
    shown = {each["fault"]: each["line"] for each in found["faults"]}
    assert shown == {name: written[name].row for name in shown}, "tests/regenerate_runbook.py"


@pytest.mark.kernel
def test_of_two_faults_the_other_is_named_when_the_first_is_mended(
    found: dict[str, list[Any]],
) -> None:
    assert len(found["pairs"]) == PAIRS
    assert [each for each in found["pairs"] if not each["named"]] == []


@pytest.mark.kernel
def test_nothing_is_found_on_a_sound_lab_of_any_strategy(found: dict[str, list[Any]]) -> None:
    assert found["healthy_findings"] == []


def test_the_catalogue_covers_the_path() -> None:
    assert len(FAULTS) >= 25
    assert {each.station for each in FAULTS.values()} <= set(ORDER)
    assert len({each.station for each in FAULTS.values()}) >= 25
    for one, two in confusion.pairs():
        assert two.goes_with(one)
        assert one.station != two.station or not one.touches & two.touches


# Of the path, outside in -> as the diagnosis calls them. The namespace itself has no fault yet.
STATIONS = {
    "Elastic IP and its association": ("eip",),
    "internet gateway": ("igw",),
    "route table": ("routes",),
    "network ACL": ("nacl",),
    "security group": ("group",),
    "ENI": ("eni",),
    "SourceDestCheck": ("source-check",),
    "provider NIC up, and without an address": ("nic-up", "nic-address"),
    "bridge and its ports": ("bridge", "patch", "gateway-plugged", "flows"),
    "gateway port's pair of address and MAC": ("gateway-address", "registered", "gateway-mac"),
    "FDB": ("fdb",),
    "neighbours": ("fixed-neighbour",),
    "default route": ("default-route",),
    "SNAT": ("snat",),
    "DNAT": ("dnat",),
    "forwarding": ("forwarding", "policy", "filter", "nft"),
    "tenant side": ("inner-up", "inner-address", "inner-plugged"),
    "VM": ("guest-plugged", "guest-up", "guest-way", "guest-neighbour", "guest-filter", "guest"),
    "its SSH server": ("server",),
    "agents and services": ("services",),
    "MTU": ("nic-mtu", "gateway-mtu", "guest-mtu"),
    "a second program": ("client",),
    "a duplicate MAC": ("duplicate",),
}


@pytest.mark.parametrize("what", STATIONS)
def test_every_station_of_the_path_has_a_fault(what: str) -> None:
    assert set(STATIONS[what]) <= {each.station for each in FAULTS.values()}


def test_the_committed_matrix_has_every_fault_and_nothing_wrong() -> None:
    told = json.loads(COMMITTED.read_text())["diagnosis"]
    able = {each.name for each in FAULTS.values() if "handbuilt" in each.clouds}
    assert {each["fault"] for each in told["faults"]} == able
    kept = ("named_first", "mended", "healed")
    assert all(each[key] for each in told["faults"] for key in kept)
    assert told["healthy_findings"] == []
    assert all(each["named"] for each in told["pairs"])
    for each in told["pairs"]:
        assert each["stations"][0] == confusion.first(*(FAULTS[name] for name in each["faults"]))
    every = [[one.name, two.name] for one, two in confusion.pairs()]
    assert [each["faults"] for each in told["pairs"]] == every, "tests/regenerate_confusion.py"


def test_facts_are_without_counters_and_empty_tables() -> None:
    saved = "# at noon\n*filter\n:INPUT ACCEPT [3:99]\nCOMMIT\n*nat"
    saved += "\n:OUTPUT ACCEPT [1:2]\n-A OUTPUT -j x\n"
    assert sameness.rules(saved) == {"nat": [":OUTPUT ACCEPT", "-A OUTPUT -j x"]}
