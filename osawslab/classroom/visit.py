"""A learner's visit, by a program: open JupyterLab, start a kernel, run a cell in it."""

from __future__ import annotations

import asyncio
import importlib
import json
import urllib.request
import uuid
from typing import Any

from osawslab.classroom.book import Seat
from osawslab.errors import CannotReach, LabTimeout

OPEN_SECONDS = 300.0  # many seats at once, on a small machine


def api(seat: Seat, path: str, method: str = "GET", host: str = "127.0.0.1") -> Any:
    """Ask a seat's JupyterLab. Raises CannotReach."""
    asked = urllib.request.Request(
        f"http://{host}:{seat.port}/api/{path}",
        method=method,
        data=b"{}" if method == "POST" else None,
        headers={"Authorization": f"token {seat.token}"},
    )
    try:
        with urllib.request.urlopen(asked, timeout=OPEN_SECONDS) as answer:
            return json.loads(answer.read() or b"null")
    except (OSError, ValueError) as error:
        raise CannotReach(
            f"the JupyterLab of {seat.name} does not answer", seen=str(error), next="lab.seats()"
        ) from None


def cell(seat: Seat, kernel: str, code: str, seconds: float) -> tuple[bool, str]:
    """Run a cell in a kernel that runs; whether it went well, and what it printed or raised.

    Raises LabTimeout.
    """
    try:
        return asyncio.run(asyncio.wait_for(_cell(seat, kernel, code), seconds))
    except TimeoutError:
        raise LabTimeout(f"a cell of {seat.name} runs for more than {seconds:.0f} s") from None


async def _cell(seat: Seat, kernel: str, code: str) -> tuple[bool, str]:
    websocket: Any = importlib.import_module("tornado.websocket")
    url = f"ws://127.0.0.1:{seat.port}/api/kernels/{kernel}/channels?token={seat.token}"
    joined = await websocket.websocket_connect(url, connect_timeout=OPEN_SECONDS)
    number = uuid.uuid4().hex
    header = {"msg_id": number, "msg_type": "execute_request", "username": "", "session": number,
              "version": "5.3"}  # fmt: skip
    content = {"code": code, "silent": False, "store_history": False, "allow_stdin": False}
    await joined.write_message(
        json.dumps({"header": header, "parent_header": {}, "metadata": {}, "content": content,
                    "channel": "shell", "buffers": []})
    )  # fmt: skip
    said: list[str] = []
    ok, idle = None, False
    while ok is None or not idle:  # reply and output come by two ways; `idle` is the output's last
        text = await joined.read_message()
        if text is None:
            return False, "the connection was closed"
        told = json.loads(text)
        if told["parent_header"].get("msg_id") != number:
            continue
        kind, what = told["msg_type"], told["content"]
        if kind == "stream":
            said.append(what["text"])
        elif kind == "status":
            idle = what["execution_state"] == "idle"
        elif kind == "execute_reply":
            ok = what["status"] == "ok"
            if not ok:
                said.append(f"{what.get('ename')}: {what.get('evalue')}")
    joined.close()
    return ok, "".join(said)
