"""A machine where no tier works: each answer says what to do, and saved notebooks still teach.

Every tier is forbidden for real: in a user namespace that may make no more namespaces.
"""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import docker_filter
import nbformat
import pytest

FORBID = (
    *(sys.executable, docker_filter.__file__, "--only-ptrace"),  # for User-Mode Linux
    *("timeout", "60", "unshare", "--user", "--map-root-user", "sh", "-c"),
    'for kind in user net; do echo 0 > /proc/sys/user/max_${kind}_namespaces; done; exec "$@"',
    "sh",
)
PROGRAM = ("-P", "-m", "osawslab.cli")
TRY = """
from osawslab import Lab, errors
try:
    Lab().provision()
except errors.NoPlaceToRun as error:
    print(error)
"""
SAVED = """
from osawslab import Lab, errors
lab = Lab(target="replay")
try:
    lab.catch_up("swap_mac")
except errors.NoPlaceToRun:
    print(lab.check("swap_mac"), lab.arp())
"""
# Runs a notebook up to the first error and saves it, as "Run All Cells" and "Save" do.
OPEN = """
import sys, nbformat
from nbclient import NotebookClient, exceptions
notebook = nbformat.read(sys.argv[1], as_version=4)
try:
    NotebookClient(notebook, kernel_name="python3", record_timing=False).execute()
except exceptions.CellExecutionError as error:
    print(error.ename)
nbformat.write(notebook, sys.argv[1])
"""
NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"
SVG = re.compile(r'<img alt="[^"]+[^>]* src="data:image/svg\+xml;base64,([^"]+)"')


@pytest.fixture(autouse=True)
def _own_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the caller's Jupyter and IPython alone."""
    monkeypatch.setenv("IPYTHONDIR", str(home / "ipython"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "cache"))


def forbidden(*words: str) -> subprocess.CompletedProcess[str]:
    """Run this Python where every tier is forbidden."""
    return subprocess.run(
        [*FORBID, sys.executable, *words], stdin=subprocess.DEVNULL, capture_output=True, text=True
    )


def told(text: str) -> bool:
    """Say whether a text has what happened, each tier's refusal, and what to do."""
    words = (
        "the local region run nowhere",
        "userns: unshare",
        "root: unshare",
        "uml: ptrace",
        "use a machine",
        "start --no-region",
    )
    return all(word in text for word in words)


def test_python_is_told() -> None:
    assert told(forbidden("-c", TRY).stdout)


def test_a_saved_lab_answers() -> None:
    done = forbidden("-c", SAVED)
    assert "the gateway port's MAC" in done.stdout, done.stderr
    assert "registered" in done.stdout


def test_a_program_is_told() -> None:
    done = forbidden(*PROGRAM, "tour", "--json")
    answer = json.loads(done.stdout)
    assert (done.returncode, answer["ok"]) == (2, False)
    assert [step["ok"] for step in answer["steps"]] == [False]
    assert answer["error"]["type"] == "NoPlaceToRun"
    assert told(" ".join(answer["error"].values()))


@pytest.mark.parametrize("words", ["tour", "start --no-browser", "plan swap_mac", "env", "ssh"])
def test_a_person_is_told(words: str, home: Path) -> None:
    folder = ("--folder", str(home / "notebooks")) if "start" in words else ()
    done = forbidden(*PROGRAM, *words.split(), *folder)
    assert done.returncode == 2
    assert told(done.stderr)
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["00-start", "60-swap-mac"])
def test_a_notebook_is_told_and_keeps_what_it_shows(name: str, home: Path) -> None:
    saved = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    path = home / f"{name}.ipynb"
    nbformat.write(saved, path)
    assert forbidden("-c", OPEN, str(path)).stdout == "NoPlaceToRun\n"

    left = {cell.id: cell for cell in nbformat.read(path, as_version=4).cells}
    [error] = left.pop("catch-up").outputs
    assert told("\n".join(error.traceback))
    assert [cell for cell in saved.cells if cell.id in left] == list(left.values())
    readable(left.values(), pictures=2 if name == "60-swap-mac" else 0)


def readable(cells: Any, pictures: int) -> None:
    """Look at the tables and pictures of a notebook's outputs."""
    html = "".join(
        output.get("data", {}).get("text/html", "")
        for cell in cells
        for output in cell.get("outputs", [])
    )
    assert "</caption>" in html
    assert "</td>" in html
    found = [ElementTree.fromstring(base64.b64decode(data)) for data in SVG.findall(html)]
    drawn = ["registered MAC" in "".join(each.itertext()) for each in found]  # the topology
    assert drawn.count(True) >= pictures
