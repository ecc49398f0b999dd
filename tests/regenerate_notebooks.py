#!/usr/bin/env python3
"""Run the notebooks and write what they show into them: `python tests/regenerate_notebooks.py`.

Each one runs in a fresh lab. Run twice, it writes the same bytes. Names of notebooks as arguments
(60-swap-mac, experiments/matrix) restrict it to those. What comes out is what nbval compares with.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

from osawslab.testing import fresh_home

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"
CELL_SECONDS = 120
WIDGET = "application/vnd.jupyter.widget-view+json"
# Whatever Python ran them, the notebook says only what it needs.
METADATA = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def run(notebook: Any, folder: Path) -> None:
    """Run all cells in a kernel of this environment, in a folder. Raises CellExecutionError."""
    NotebookClient(
        notebook,
        timeout=CELL_SECONDS,
        kernel_name="python3",
        record_timing=False,
        store_widget_state=False,
        coalesce_streams=True,
        resources={"metadata": {"path": str(folder)}},
    ).execute()


def clean(notebook: Any) -> None:
    """Drop what is dead in a saved notebook, or differs between machines."""
    notebook.metadata = nbformat.from_dict(METADATA)
    for cell in notebook.cells:
        tags = cell.metadata.get("tags")
        cell.metadata = nbformat.from_dict({"tags": tags} if tags else {})
        if cell.cell_type == "code":
            cell.outputs = [each for each in cell.outputs if WIDGET not in each.get("data", {})]


def main(names: list[str]) -> int:
    """Regenerate the notebooks with these names, or all."""
    paths = [NOTEBOOKS / f"{name}.ipynb" for name in names] or sorted(NOTEBOOKS.rglob("*.ipynb"))
    for path in paths:
        before = path.read_text()
        notebook = nbformat.reads(before, as_version=4)
        with fresh_home():
            run(notebook, path.parent)
        clean(notebook)
        nbformat.write(notebook, path)
        sys.stderr.write(f"{path.name}: {'as before' if path.read_text() == before else 'new'}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
