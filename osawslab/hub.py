"""A learner's JupyterLab under JupyterHub: `python -m osawslab.hub` in the place of its own.

The notebooks are laid out in the learner's home, and what the learner does is noted there: both
are there again when the server has been stopped, or is another one. Needs the extra `hub`.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from osawslab import workbook
from osawslab.errors import MissingTool
from osawslab.settings import Settings
from osawslab.steps import record

FOLDER = "osawslab-notebooks"
RECORD = ".osawslab-record"


def main() -> None:
    """Lay the notebooks out, then be JupyterHub's single-user server. Raises MissingTool."""
    if importlib.util.find_spec("jupyterhub") is None:
        raise MissingTool(
            "JupyterHub is not in this environment",
            seen=sys.prefix,
            next="pip install 'osawslab[hub]'",
        )
    home = Path.home()
    paths: Any = importlib.import_module("jupyter_core.paths")
    workbook.lay_out(workbook.source(), home / FOLDER, Path(paths.jupyter_data_dir()))
    words = [sys.executable, "-m", "jupyterhub.singleuser", *sys.argv[1:]]
    os.execve(sys.executable, words, environment(os.environ, home))


def environment(given: Mapping[str, str], home: Path) -> dict[str, str]:
    """Give the server's environment: whose lab it is, and where the learner's record is."""
    learner = "".join(c for c in given.get("JUPYTERHUB_USER", "") if c.isalnum() or c in "-_.")
    Settings(learner=learner)
    own = {record.FILE: str(home / RECORD), "OSAWSLAB_LEARNER": learner}
    return {**given, **own}


if __name__ == "__main__":
    main()
