"""Breaking and mending: who may, what is told, what another process can do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from osawslab import Lab
from osawslab.errors import BadSetting, StepNotReady
from osawslab.faults.catalogue import FAULTS
from osawslab.region import local
from osawslab.steps import breaking

pytestmark = pytest.mark.kernel


@pytest.fixture(scope="module")
def lab(home: Path) -> Iterator[Lab]:
    with Lab("breaking") as made:
        assert made.provision().ok
        yield made
    local.remove("breaking")


def test_what_is_not_up_is_not_broken(new_lab: Callable[..., Lab], lab: Lab) -> None:
    with pytest.raises(StepNotReady, match="instance"):
        new_lab("nothing").break_it("gateway-down")
    with pytest.raises(StepNotReady) as refused:
        lab.break_it("gateway-down")
    assert refused.value.next.startswith("lab.")
    assert len(lab.faults().rows) == len(FAULTS)
    local.remove("nothing")


def test_a_fault_comes_and_goes(new_lab: Callable[..., Lab], lab: Lab) -> None:
    for step in lab.steps[:-1]:
        assert lab.run(step).ok
    assert not lab.mend().changed
    assert lab.broken().rows == ()
    for wrong in ({"name": "gatewy"}, {}, {"name": "gateway-down", "seed": 1}):
        with pytest.raises(BadSetting):
            lab.break_it(**wrong)  # type: ignore[arg-type]
    with pytest.raises(BadSetting, match="cannot have"):
        lab.break_it("bridge-down")
    told = lab.break_it("gateway-down")
    assert told == lab.broken()
    assert told.rows[0][0] == "gateway-down"
    for again in ("gateway-down", "no-default-route"):
        with pytest.raises(StepNotReady, match="broken already"):
            lab.break_it(again)
    other = new_lab("breaking")  # as another process has it
    assert other.broken() == told
    assert other.mend().changed
    assert lab.broken().rows == ()
    assert lab.diagnose().ok


def test_a_seed_tells_nobody(lab: Lab) -> None:
    told = lab.break_it(seed=7)
    [note] = breaking.now(lab._site())
    assert note.name in FAULTS
    assert note.name not in repr(told) + repr(note)
    assert lab.mend().changed
    again = lab.break_it(seed=7)
    assert (again, breaking.now(lab._site())[0].name) == (told, note.name)
    assert lab.mend().changed
    chosen = {breaking.catalogue.chosen(breaking.before(lab._site()), n).name for n in range(99)}
    assert len(chosen) > 25


@pytest.mark.parametrize(
    ("name", "steps"),
    [
        ("gateway-no-address", ["networks"]),
        ("elastic-ip-elsewhere", ["provision"]),
        ("other-vpc-route", ["provision"]),
        ("acl-denies-answers", ["provision"]),
        ("group-lets-nothing-out", ["provision"]),
        ("nic-mtu", ["provider_nic"]),
        ("nic-in-another-bridge", ["provider_nic"]),
        ("nic-in-a-vlan", ["provider_nic"]),
        ("patch-pulled", ["networks"]),
        ("gateway-other-address", ["networks", "swap_mac"]),
        ("gateway-prefix", ["networks"]),
        ("nic-detached", ["provision", "provider_nic", "networks", "swap_mac", "publish_vm"]),
    ],
)
def test_what_the_steps_have_healed_is_broken_no_more(
    lab: Lab, name: str, steps: list[str]
) -> None:
    lab.break_it(name)
    assert all([lab.run(step).ok for step in steps])
    assert lab.diagnose().ok
    assert lab.broken().rows == ()
    assert not lab.mend().changed


@pytest.mark.parametrize(
    "names",
    [
        "duplicate-mac blackhole forward-drops vm-mtu ssh-server-hangs flow-drops source-check",
        "neighbour-fixed port-drops vm-firewall second-program",
        "nft-drops vm-neighbour-fixed fdb-fixed",
    ],
)
def test_what_stands_in_the_way_is_taken_out_of_it(lab: Lab, names: str) -> None:
    """What no step has made is found and taken away by the step that it is in the way of."""
    for name in names.split():
        lab.break_it(name)
    checked = lab.check("networks")
    assert not checked
    assert {each.next for each in checked.checks if not each} == {"lab.networks()"}
    assert all([lab.run(step).ok for step in ("provider_nic", "networks")])
    assert lab.diagnose().ok
    assert lab.broken().rows == ()
    assert not lab.run("provider_nic").changed
    assert not lab.run("networks").changed
    assert not lab.mend().changed


def test_what_was_broken_by_hand_is_not_taken_for_ours(lab: Lab) -> None:
    before = breaking.before(lab._site())
    change = FAULTS["forwarding-off"].change(before)
    breaking.do(lab._site(), change.do[0])
    with pytest.raises(StepNotReady, match="not as the steps leave it"):
        lab.break_it("forwarding-off")
    assert lab.broken().rows == ()
    breaking.do(lab._site(), change.undo[0])
