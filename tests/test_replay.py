"""Replay: every notebook on a machine that lets nothing run, from what was saved.

What a step would change answers NoPlaceToRun, and says what is next; all that only looks shows what
the notebook was saved with.
"""

from __future__ import annotations

import os
import re
import runpy
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from osawslab import Lab, replay
from osawslab.errors import BadSetting, NoPlaceToRun
from osawslab.region import local, tier

SCRIPT = runpy.run_path(str(Path(__file__).with_name("regenerate_notebooks.py")))
FOLDER: Path = SCRIPT["NOTEBOOKS"]
# Cells that change something, or need a connection of their own.
STEPS = {
    "00-start": (),
    "10-provision": ("step",),
    "20-install-cloud": ("catch-up", "step", "look-fabric"),
    "30-provider-nic": ("catch-up", "step"),
    "40-networks": ("catch-up", "step"),
    "50-see-the-drop": ("catch-up", "step"),
    "60-swap-mac": ("catch-up", "step", "mend"),
    "70-publish-vm": ("catch-up", "step"),
    "80-make-it-last": ("catch-up", "switch-mend", "reboot", "reboot-mend", "step", "again-reboot"),
    "90-tear-down": ("catch-up", "step"),
}
OTHER = ("status", "look-status")  # they name the place


@pytest.fixture(scope="module")
def nowhere(home: Path) -> None:
    """Forbid every tier, for this process and for kernels: none of that name is on a machine."""
    os.environ["OSAWSLAB_TARGET"] = "replay"
    os.environ["OSAWSLAB_TIER"] = "none-works"
    with pytest.raises(BadSetting):
        tier.choose()


def shown(cell: Any) -> list[object]:
    """Give what a cell shows, but for panels, which are widgets."""
    return [each.get("data", {}).get("text/plain", each.get("text")) for each in cell.outputs]


@pytest.mark.parametrize("name", STEPS)
def test_a_notebook_shows_what_was_saved_and_its_steps_say_why_not(
    name: str, nowhere: None
) -> None:
    saved = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    NotebookClient(
        notebook, timeout=120, kernel_name="python3", allow_errors=True, record_timing=False,
        coalesce_streams=True, resources={"metadata": {"path": str(FOLDER)}},
    ).execute()  # fmt: skip
    refused = []
    for cell, before in zip(notebook.cells, saved.cells, strict=True):
        if cell.cell_type != "code":
            continue
        errors = [each for each in cell.outputs if each.output_type == "error"]
        if errors:
            refused.append(cell.id)
            assert errors[0].ename == "NoPlaceToRun", (cell.id, errors[0].evalue)
            assert "  next: go on with the next cell" in errors[0].evalue
        elif cell.id not in (*OTHER, "panel"):
            assert shown(cell) == shown(before), cell.id
    assert tuple(refused) == STEPS[name]
    assert local.find("lab") is None


def test_each_tape_is_a_notebook_s() -> None:
    text = "".join(path.read_text() for path in FOLDER.glob("[0-9]*.ipynb"))
    begun = set(re.findall(r'lab\.catch_up\(\\"(\w+)\\"\)', text))
    assert {path.name.partition(".")[0] for path in replay.TAPES.iterdir()} == begun
    assert sum(path.stat().st_size for path in replay.TAPES.iterdir()) < 500_000


@pytest.fixture
def lab(nowhere: None) -> Lab:
    replay._saved.cache_clear()
    return Lab()


def test_nothing_is_known_before_a_notebook_begins(lab: Lab) -> None:
    for ask in (lab.arp, lab.status, lab.swap_mac, lab.topology):
        with pytest.raises(NoPlaceToRun) as caught:
            ask()
        assert caught.value.next.startswith("lab.catch_up(")


def test_what_is_read_follows_the_steps(lab: Lab) -> None:
    with pytest.raises(NoPlaceToRun, match="the steps before swap_mac"):
        lab.catch_up("swap_mac")
    before = lab.see_the_drop()
    assert before.ok
    assert not before.changed
    with lab.capture(filter="icmp or arp host 172.16.20.1") as cap:
        pass
    assert "dropped by the VPC" in repr(cap)
    assert "MAC not registered" in repr(cap.follow())
    assert len(cap.frame) == len(cap) > 0
    picture = lab.topology()
    with pytest.raises(NoPlaceToRun, match="swap_mac cannot be run here"):
        lab.swap_mac()
    assert lab.check("swap_mac")
    assert "MAC now 02:00:00:ec:e7:e7" in repr(lab.topology())
    assert repr(picture) != repr(lab.topology())


def test_a_command_that_was_not_saved_is_told(lab: Lab) -> None:
    lab.catch_up("provision")
    with pytest.raises(NoPlaceToRun, match="cannot be run here"):
        lab.client().create_vpc(CidrBlock="10.0.0.0/16")
    with pytest.raises(NoPlaceToRun, match="was not saved"):
        lab.client().describe_volumes()


def test_a_notebook_that_is_run_again_begins_anew(lab: Lab) -> None:
    for _ in range(3):
        with pytest.raises(NoPlaceToRun):
            lab.catch_up("swap_mac")
        assert not lab.check("swap_mac")
        with pytest.raises(NoPlaceToRun):
            lab.swap_mac()
        assert lab.check("swap_mac")


def test_a_capture_of_a_file_needs_no_place(lab: Lab, tmp_path: Path) -> None:
    with pytest.raises(NoPlaceToRun):
        lab.catch_up("swap_mac")
    with lab.capture(filter="icmp or arp host 172.16.20.1") as cap:
        pass
    cap.save(tmp_path / "seen.pcapng")
    assert len(lab.load_capture(tmp_path / "seen.pcapng")) == len(cap)
