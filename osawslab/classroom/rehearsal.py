"""JupyterLab and a cell, rehearsed before seats are forked: what they make once, all seats share.

JupyterLab compiles schemas and templates and reads the settings of a hundred classes before it
takes its first visit, and IPython does as much for its first cell. Here neither serves anybody.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import io
import logging
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from osawslab import workbook

CELL = "import pandas\npandas.DataFrame({'a': [1]})._repr_html_()\n"


def jupyterlab(folder: Path) -> None:
    """Make a JupyterLab whole, up to where it would listen, and drop it."""
    lab: Any = importlib.import_module("jupyterlab.labapp").LabApp
    serverapp: Any = importlib.import_module("jupyter_server.serverapp").ServerApp
    asyncio: Any = importlib.import_module("asyncio")
    names = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_TOKEN")
    with _as_before({name: str(folder / name) for name in names}):
        workbook.lay_out(workbook.source(), folder / "notebooks", folder / "data")
        app = lab.initialize_server(
            [f"--ServerApp.root_dir={folder}", "--ServerApp.allow_root=True",
             "--ServerApp.log_level=50", "--LabApp.log_level=50",
             "--LanguageServerManager.autodetect=False",
             "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"],
            new_httpserver=False,
        )  # fmt: skip
        app.io_loop.close(all_fds=True)
        asyncio.set_event_loop(None)
        lab.clear_instance()
        serverapp.clear_instance()


def cell(folder: Path) -> None:
    """Run a cell as a kernel does, with no history on the disk, and drop who ran it."""
    shell: Any = importlib.import_module("IPython.core.interactiveshell").InteractiveShell
    config: Any = importlib.import_module("traitlets.config").Config
    told = config({"HistoryManager": {"enabled": False}})  # it would have a thread and a file
    with _as_before({"IPYTHONDIR": str(folder)}):
        made = shell(config=told, ipython_dir=str(folder))
        made.run_cell(CELL, store_history=False)
        atexit.unregister(made.atexit_operations)  # it would collect garbage: holes in shared pages


@contextlib.contextmanager
def _as_before(environ: dict[str, str]) -> Iterator[None]:
    """Keep what it says to itself, and put back what belongs to this process."""
    kept = dict(os.environ), sys.argv[:], os.getcwd(), list(sys.path)
    hooks = sys.excepthook, sys.displayhook, sys.modules["__main__"]
    handlers = {number: signal.getsignal(number) for number in signal.valid_signals()}
    loggers = list(logging.getLogger().handlers)
    os.environ.update(environ)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        for number, handler in handlers.items():
            if handler is not None and signal.getsignal(number) != handler:
                signal.signal(number, handler)
        logging.getLogger().handlers[:] = loggers
        sys.excepthook, sys.displayhook, sys.modules["__main__"] = hooks
        os.environ.clear()
        os.environ.update(kept[0])
        sys.argv[:], sys.path[:] = kept[1], kept[3]
        os.chdir(kept[2])
