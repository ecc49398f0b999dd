"""Run a notebook against the real cloud: its checks hold, and it shows no secret."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from watch import forms

NOTEBOOKS = Path(__file__).parent.parent.parent / "notebooks"


def run(name: str, home: Path, secrets: Iterable[str]) -> None:
    """Execute a notebook as it is, in the environment of the caller."""
    notebook = nbformat.read(NOTEBOOKS / name, as_version=4)
    where = {"metadata": {"path": str(home)}}
    NotebookClient(notebook, timeout=600, kernel_name="python3", resources=where).execute()
    shown = json.dumps(notebook).encode()
    assert not [word for each in secrets for word in forms(each) if word in shown]
    checks = [
        "".join(each.data["text/plain"] for each in cell.outputs if "data" in each)
        for cell in notebook.cells
        if cell.cell_type == "code" and cell.source.startswith("lab.check(")
    ]
    assert checks or name.startswith("00")
    for text in checks[-1:] if name.startswith("80") else checks:  # which breaks, and mends
        assert "ok" in text
        assert "NOT OK" not in text, text
