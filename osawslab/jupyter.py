"""JupyterLab on the learner's notebooks: loopback, a token, and folders of its own."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn
from urllib.parse import quote

from osawslab.environment import JUPYTER
from osawslab.errors import BadSetting, LabBusy, LabTimeout, MissingTool
from osawslab.region.machine import cache

LOOPBACK = "127.0.0.1"
PORTS = range(8888, 8920)  # 8888 is Jupyter's own
START_SECONDS = 90.0  # a cold start on a small machine takes about ten
END_SECONDS = 15.0


def home() -> Path:
    """Name the folder of Jupyter's own files; nothing of the user's own Jupyter is touched."""
    return cache() / "jupyter"


def data() -> Path:
    """Name Jupyter's data folder; it has the signatures of trusted notebooks."""
    return home() / "data"


@dataclass(frozen=True)
class Server:
    """What is served where. The token is in the environment only, never in an argument."""

    folder: Path
    port: int
    token: str
    browser: bool

    @property
    def log(self) -> Path:
        """Name the file that has JupyterLab's own words."""
        return home() / f"log.{self.port}"

    def url(self, notebook: str) -> str:
        """Give the address that opens a notebook."""
        return f"http://{LOOPBACK}:{self.port}/lab/tree/{quote(notebook)}?token={self.token}"

    def command(self, notebook: str) -> list[str]:
        """Give the command that serves."""
        options = {
            "ServerApp.ip": LOOPBACK,
            "ServerApp.port": self.port,
            "ServerApp.port_retries": 0,
            "ServerApp.root_dir": self.folder,
            "ServerApp.open_browser": self.browser,
            "ServerApp.answer_yes": True,  # Ctrl-C ends it without a question
            "ServerApp.allow_root": os.geteuid() == 0,
            "LanguageServerManager.autodetect": False,  # it would run npm, for nothing here
            "LabApp.default_url": f"/lab/tree/{quote(notebook)}",
            "LabApp.app_settings_dir": home() / "app",
            "LabApp.check_for_updates_class": "jupyterlab.NeverCheckForUpdate",
        }
        return [
            *(sys.executable, "-P", "-m", "jupyterlab"),
            *(f"--{name}={value}" for name, value in options.items()),
        ]

    def environment(self, given: Mapping[str, str]) -> dict[str, str]:
        """Give the environment of the server and of its kernels; `given` goes on to those."""
        own = home()
        return {
            **os.environ,
            **given,
            "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}",
            "JUPYTER_TOKEN": self.token,
            "JUPYTER_CONFIG_DIR": str(own / "config"),
            "JUPYTER_DATA_DIR": str(data()),
            "JUPYTER_RUNTIME_DIR": str(own / "runtime"),
            "IPYTHONDIR": str(own / "ipython"),
            "MPLCONFIGDIR": str(own / "matplotlib"),
        }


def server(folder: Path, port: int | None, browser: bool) -> Server:
    """Choose the port: the one asked for (0: any), else Jupyter's own or the next that is free.

    Raises LabBusy, BadSetting.
    """
    made = Server(folder, _port(port), secrets.token_urlsafe(24), browser)
    try:
        prepare()
        made.log.touch(mode=0o600)
    except OSError as error:
        raise BadSetting(
            "Jupyter's own folder cannot be written",
            seen=str(error),
            next="export XDG_CACHE_HOME=/some/folder/of/yours",
        ) from None
    return made


def prepare() -> None:
    for path, settings in {
        "app/overrides.json": JUPYTER,
        # A kernel says at each start that its loopback sockets are not encrypted.
        "ipython/profile_default/ipython_kernel_config.json": {"IPKernelApp": {"log_level": 40}},
    }.items():
        file = home() / path
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file.write_text(json.dumps(settings))


def _port(asked: int | None) -> int:
    for port in PORTS if asked is None else (asked,):
        with socket.socket() as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                tried.bind((LOOPBACK, port))
                return int(tried.getsockname()[1])
            except OverflowError:
                raise BadSetting(
                    "a port is a number from 0 to 65535", seen=str(port), next="--port 8888"
                ) from None
            except OSError as error:
                seen = f"{LOOPBACK}:{port}: {error.strerror}"
    raise LabBusy("the port for JupyterLab is taken", seen=seen, next="--port 0 finds a free one")


def serve(
    made: Server, notebook: str, given: Mapping[str, str], ready: Callable[[], object]
) -> None:
    """Run JupyterLab until it ends or Ctrl-C; call `ready` when it answers.

    Raises MissingTool when it did not start.
    """
    with open(made.log, "w") as log:
        child = subprocess.Popen(
            made.command(notebook),
            cwd=made.folder,
            env=made.environment(given),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            process_group=0,  # a Ctrl-C is for us: told twice, it leaves kernels behind
        )
    before = {
        number: signal.signal(number, _leave)
        for number in (signal.SIGTERM, signal.SIGHUP)
        if signal.getsignal(number) != signal.SIG_IGN  # nohup
    }
    try:
        _wait(child, made)
        ready()
        child.wait()
    except KeyboardInterrupt:
        pass
    finally:
        _end(child)
        for number, handler in before.items():
            signal.signal(number, handler)


def _leave(number: int, _: object) -> NoReturn:
    sys.exit(128 + number)


def _wait(child: subprocess.Popen[bytes], made: Server) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        if child.poll() is not None:
            raise MissingTool(
                "JupyterLab did not start",
                seen=_last_words(made.log) or f"it ended with {child.returncode}",
                next=f"read {made.log}; ./lab doctor",
            )
        try:
            socket.create_connection((LOOPBACK, made.port), 1).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise LabTimeout(
                    f"JupyterLab does not answer after {START_SECONDS:.0f} s", seen=str(made.log)
                ) from None
        time.sleep(0.02)


def _last_words(log: Path) -> str:
    return " / ".join(log.read_text(errors="replace").strip().splitlines()[-3:])


def _end(child: subprocess.Popen[bytes]) -> None:
    """End JupyterLab, which ends its kernels first."""
    if child.poll() is None:
        child.terminate()
    try:
        child.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
