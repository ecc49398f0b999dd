"""JupyterLab and the kernels of a seat: forked, on a socket that the keeper has made."""

from __future__ import annotations

import importlib
import os
import socket
import sys
from pathlib import Path
from typing import Any

from osawslab import jupyter, workbook
from osawslab.classroom import view
from osawslab.region import fork
from osawslab.region.kernel import set_role

NOTEBOOKS = "osawslab-notebooks"  # in the learner's home
IDLE_SECONDS = 3600  # a server that nobody needs ends; the next visit starts it again


def serve(listening: socket.socket, port: int, token: str) -> None:
    """Be JupyterLab on a socket that listens; until nobody has needed it for an hour."""
    folder = Path(view.HOME, NOTEBOOKS)
    jupyter.prepare()
    workbook.lay_out(workbook.source(), folder, jupyter.data())
    made = jupyter.Server(folder, port, token, browser=False)
    os.environ["JUPYTER_TOKEN"] = token
    options = made.command(workbook.FIRST)[4:]
    options += [f"--ServerApp.shutdown_no_activity_timeout={IDLE_SECONDS}"]
    options += ["--ServerApp.allow_remote_access=True"]  # by the server's name, not only loopback
    options += ["--MappingKernelManager.cull_idle_timeout=14400"]
    os.chdir(folder)
    labapp: Any = importlib.import_module("jupyterlab.labapp")
    serverapp: Any = importlib.import_module("jupyter_server.serverapp")
    local: Any = importlib.import_module("jupyter_client.provisioning.local_provisioner")

    def bind(app: Any) -> bool:
        listening.setblocking(False)
        app.http_server.add_sockets([listening])
        return True

    serverapp.ServerApp._bind_http_server = bind
    serverapp.ServerApp._find_http_port = lambda app: None
    local.launch_kernel = launch_kernel
    sys.argv = ["jupyter-lab", *options]
    labapp.main()


def launch_kernel(
    cmd: list[str], stdout: int | None = None, stderr: int | None = None,
    env: dict[str, str] | None = None, cwd: str | None = None, **_: object,
) -> fork.Forked:  # fmt: skip
    """Fork a kernel; in the place of jupyter_client.launcher.launch_kernel."""
    order = {"do": "kernel", "words": cmd[cmd.index("-f") :], "env": env or {}, "cwd": cwd or ""}
    null = os.open(os.devnull, os.O_RDWR)
    try:
        return fork.Forked(fork.ask(view.FORK, order, [null, stdout or 1, stderr or 2]))
    finally:
        os.close(null)


class Bare:
    """The module `sys`, but it says that nothing is imported."""

    def __init__(self) -> None:
        self.modules: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(sys, name)


def kernel(words: list[str], env: dict[str, str], cwd: str) -> None:
    """Be a kernel; without a debugger, which takes ten megabytes whether it is used or not."""
    set_role("seat-kernel")
    sys.modules.setdefault("debugpy", None)  # type: ignore[arg-type]
    os.environ.update(env)
    if cwd:
        os.chdir(cwd)
    # It would ask every module for its file, for the debugger: fifteen megabytes of shared pages
    # written to.
    importlib.import_module("ipykernel.ipkernel").sys = Bare()  # type: ignore[attr-defined]
    app: Any = importlib.import_module("ipykernel.kernelapp").IPKernelApp
    sys.argv = ["ipykernel", *words]
    app.launch_instance(words)
