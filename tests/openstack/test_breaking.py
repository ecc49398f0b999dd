"""Faults on the real cloud: its own ones, and a few of those that any cloud can have."""

from __future__ import annotations

import pytest

from osawslab import Lab, confusion
from osawslab.faults.catalogue import FAULTS

OWN = [name for name, each in FAULTS.items() if each.clouds == ("openstack",)]
# Where Neutron's router is not as the hand-built one: two addresses, other chains, a real VM.
SOME = ("gateway-no-address", "inner-no-address", "snat-wrong", "patch-pulled")


def test_a_sound_lab_has_no_finding(toured: Lab) -> None:
    found = toured.diagnose()
    assert found.ok, found.text


@pytest.mark.parametrize("name", [*OWN, *SOME])
def test_it_is_named_first_mended_as_printed_and_undone(name: str, toured: Lab) -> None:
    for step in toured.steps:
        assert toured.run(step).ok
    found = confusion.single(toured, FAULTS[name])
    assert "error" not in found
    assert (found["changed"], found["named_first"], found["mended"], found["undone"]) == (
        True, True, True, True,
    ), found  # fmt: skip
