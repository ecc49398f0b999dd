"""The runbook is what the faults show: all of them are in it, and a few are looked at again."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

from osawslab import runbook
from osawslab.clinic.station import ORDER, Diagnosis, Station
from osawslab.faults.catalogue import FAULTS
from osawslab.testing import fresh_home

SCRIPT: dict[str, Any] = runpy.run_path(str(Path(__file__).with_name("regenerate_runbook.py")))
TEXT = SCRIPT["RUNBOOK"].read_text()
AGAIN = ("no-elastic-ip", "nic-unplugged", "gateway-mac", "dnat-other-port")  # one of each area


def test_every_fault_is_in_it_and_no_other() -> None:
    assert sorted(runbook.read(TEXT)) == sorted(FAULTS)


def test_it_is_written_as_it_is_read() -> None:
    assert runbook.markdown(runbook.read(TEXT).values()) == TEXT


def test_what_the_diagnosis_does_not_name_is_said() -> None:
    wrong = Station("ping", "the internet answers", "answered", "no answer", False)
    [other] = [Diagnosis("here", (wrong,))]
    found = runbook.entry("nic-down", (True, False, False, False), other, "02:aa")
    assert "does not see that yet" in found.row
    assert found.at == ORDER.index("nic-up")
    pipe = Station("nic-up", "a | b", "UP", "DOWN", False, mend="x | y")
    made = runbook.entry("nic-down", (True, False, False, False), Diagnosis("h", (pipe,)), "02:aa")
    assert runbook.read(runbook.markdown([made]))["nic-down"] == made


@pytest.mark.kernel
def test_a_few_faults_show_what_is_written() -> None:
    with fresh_home():
        found = {each.fault: each for each in SCRIPT["seen"](AGAIN)}
    assert found == {name: runbook.read(TEXT)[name] for name in AGAIN}
