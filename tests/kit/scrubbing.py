"""A notebook with a player of a capture of three frames, as it is when its kernel has gone."""

from __future__ import annotations

import io
from pathlib import Path

import nbformat
from nbformat import v4

from osawslab.observe import pcapng
from osawslab.observe.capture import load_capture
from osawslab.observe.container import Point
from osawslab.ui.player import player

POINTS = ("router gateway", "provider NIC")
VERDICTS = ("", "dropped by the VPC: MAC not registered", "delivered")
CODE = """\
import os
os.environ["OSAWSLAB_PROGRESS"] = "1"
from osawslab import load_capture
from osawslab.ui.player import player
player(load_capture("seen.pcapng"))"""


def write(folder: Path) -> Path:
    """Write a capture and the notebook, saved with the outputs of a player; give its path."""
    file = io.BytesIO()
    pcapng.begin(file, [Point(name, 1) for name in POINTS])
    for number, verdict in enumerate(VERDICTS):
        pcapng.write(
            file, bytes(60), point=min(number, 1), time=number, length=60, direction=2,
            comments=pcapng.words(verdict, ""),
        )  # fmt: skip
    (folder / "seen.pcapng").write_bytes(file.getvalue())
    made = player(load_capture(file.getvalue()), 1)
    still = f'<div class="{made.hidden}">{made._repr_html_()}</div>'
    outputs = [
        v4.new_output("display_data", {"text/html": still, "text/plain": repr(made)}),
        v4.new_output("display_data", made.card._repr_mimebundle_()),
    ]
    cell = v4.new_code_cell(CODE, outputs=outputs, id="player")
    path = folder / "player.ipynb"
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(v4.new_notebook(cells=[cell], metadata=kernel), path)
    return path
