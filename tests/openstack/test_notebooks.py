"""The same notebooks, unchanged, with the real OpenStack below them."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from osawslab import Lab

NOTEBOOKS = Path(__file__).parent.parent.parent / "notebooks"


NAMES = [path.name for path in sorted(NOTEBOOKS.glob("[0-7]*.ipynb"))]
LAST = pytest.param("80-make-it-last.ipynb", marks=pytest.mark.lasting)  # it reboots the instance


@pytest.mark.parametrize("name", [*NAMES, LAST])
def test_it_runs_and_its_checks_hold(
    name: str, toured: Lab, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OSAWSLAB_NAME", toured.settings.name)
    monkeypatch.setenv("OSAWSLAB_CLOUD", "openstack")
    notebook = nbformat.read(NOTEBOOKS / name, as_version=4)
    where = {"metadata": {"path": str(home)}}
    NotebookClient(notebook, timeout=600, kernel_name="python3", resources=where).execute()
    checks = [
        "".join(each.data["text/plain"] for each in cell.outputs if "data" in each)
        for cell in notebook.cells
        if cell.cell_type == "code" and cell.source.startswith("lab.check(")
    ]
    assert checks or name.startswith("00")
    for text in checks[-1:] if name.startswith("80") else checks:  # which breaks, and mends
        assert "ok" in text
        assert "NOT OK" not in text, text
