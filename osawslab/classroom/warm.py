"""What a seat would import and read for itself, done once for all seats before they are forked.

Memory that a process has when it is forked is shared until somebody writes to it. So the region's
models, EC2's own model, JupyterLab and the lab's steps are loaded here, and a lab is provisioned
in an API without a network: what is read on the way is read once for all.
"""

from __future__ import annotations

import importlib
import io
import tempfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from osawslab.classroom import rehearsal
from osawslab.errors import LabError, StepFailed

MODULES = (
    "osawslab.region.process", "osawslab.region.ec2", "osawslab.region.sshd",
    "osawslab.region.dhcp", "osawslab.region.imds", "osawslab.lab", "osawslab.cli",
    "osawslab.ui.panel", "osawslab.ui.player", "osawslab.ui.exercise", "osawslab.observe.drawing",
    "osawslab.observe.state", "osawslab.observe.plots", "osawslab.observe.figures",
    "osawslab.observe.capture", "osawslab.observe.follow", "numpy", "numpy.ma", "pandas",
    "matplotlib.figure", "matplotlib.backends.backend_agg", "matplotlib_inline.backend_inline",
    "boto3", "fabric", "jupyterlab.labapp", "ipykernel.kernelapp", "ipykernel.ipkernel",
    "ipywidgets", "nbformat.sign", "IPython.core.completer", "IPython.core.completerlib",
    "IPython.extensions.storemagic", "psutil", "tornado.platform.asyncio",
    "jupyter_client.provisioning.local_provisioner", "jupyter_server.services.kernels.handlers",
    "jupyter_server_terminals.app", "jupyter_lsp.serverextension", "notebook_shim.nbserver",
)  # fmt: skip


def warm() -> None:
    """Load everything. Threads and sockets are not left behind: a fork would not have them."""
    for name in MODULES:
        with suppress(ModuleNotFoundError):  # the last ones come and go with JupyterLab
            importlib.import_module(name)
    share_clients()
    with tempfile.TemporaryDirectory(prefix="osawslab-") as folder, suppress(LabError):
        practise(Path(folder))
    with tempfile.TemporaryDirectory(prefix="osawslab-") as folder:
        rehearsal.jupyterlab(Path(folder))
        rehearsal.cell(Path(folder))


def share_clients() -> None:
    """Have boto3 make the methods of a service's clients once: EC2 has eight hundred."""
    creator: Any = importlib.import_module("botocore.client").ClientCreator
    make = creator._create_methods
    made: dict[str, dict[str, Any]] = {}

    def methods(self: Any, model: Any) -> dict[str, Any]:
        if model.service_name not in made:
            made[model.service_name] = make(self, model)
        return dict(made[model.service_name])

    creator._create_methods = methods


def practise(folder: Path) -> None:
    """Provision a lab up to its first login, which nobody answers. Raises StepFailed there."""
    from osawslab import target
    from osawslab.region import local
    from osawslab.region.ec2 import Ec2
    from osawslab.settings import Settings
    from osawslab.steps import run
    from osawslab.steps.site import Site
    from osawslab.ui.progress import NoProgress

    keys: dict[str, Any] = {"access_key": "warm", "secret_key": "warm", "region": "us-east-1"}
    api = Ec2(name="warm", journal=folder / "journal", on_change=lambda state: None, **keys)
    api.replay()
    nowhere = "http://127.0.0.1:9"
    opened = target._local(local.Region("warm", nowhere, tier="", pid=0, whole=False, **keys))

    def refuse(*_: object) -> None:
        raise StepFailed("nobody answers")

    def hear(request: Any, **_: object) -> Any:
        return answer(api, request)

    def client(service: str, region_name: str = "") -> Any:
        made = opened.client(service, region_name)
        made.meta.events.register("before-send", hear, unique_id="warm")
        return made

    place = replace(
        opened,
        client=client,
        open_socket=refuse,
        vantage=target.NoVantage(),
        keys=folder,
        pace=None,
    )
    run.run(Site(Settings(name="warm"), place, NoProgress(), {}), "provision")


def answer(api: Any, request: Any) -> Any:
    """Have a call of boto3's answered in this process."""
    awsrequest: Any = importlib.import_module("botocore.awsrequest")
    body = request.body if isinstance(request.body, bytes) else (request.body or "").encode()
    told: dict[str, Any] = {}

    def start(status: str, headers: list[tuple[str, str]]) -> None:
        told.update(status=int(status.split()[0]), headers=dict(headers))

    environ = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/",
        "HTTP_HOST": "127.0.0.1:9",
        "CONTENT_LENGTH": str(len(body)),
        "CONTENT_TYPE": _text(request.headers.get("Content-Type", "")),
        "wsgi.input": io.BytesIO(body),
        "wsgi.url_scheme": "http",
        **{f"HTTP_{k.upper().replace('-', '_')}": _text(v) for k, v in request.headers.items()},
    }
    text = b"".join(api(environ, start))
    made = awsrequest.AWSResponse(request.url, told["status"], told["headers"], None)
    made._content = text
    return made


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
