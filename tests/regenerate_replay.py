#!/usr/bin/env python3
"""Run the notebooks, a fresh lab each, and save what was said: `python tests/regenerate_replay.py`.

What comes out is what `target = "replay"` answers with. Names of steps as arguments (swap_mac)
restrict it to the notebooks that begin with those.
"""

from __future__ import annotations

import contextlib
import functools
import gzip
import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
from botocore.endpoint import Endpoint
from IPython.display import display

from osawslab import replay, target
from osawslab.host.ssh import SshHost
from osawslab.lab import Lab
from osawslab.steps import run as steps
from osawslab.testing import fresh_home

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"
Method = Callable[..., Any]


class Written:
    """A program's end that keeps all that was read of it."""

    def __init__(self, stream: Any) -> None:
        self.stream, self.kept = stream, bytearray()

    def recv(self, size: int, /) -> bytes:
        part = bytes(self.stream.recv(size))
        self.kept += part
        return part

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


class Recorder:
    """A tape while it is made: questions and answers by position, as `replay.Tape` reads them."""

    def __init__(self) -> None:
        self.name, self.at, self.opened, self.muted = "", replay.OPENED, 0, 0
        self.said: dict[str, dict[str, list[Any]]] = {}

    def keep(self, question: str, answer: Any) -> None:
        if not self.muted:
            self.said.setdefault(self.at, {}).setdefault(question, []).append(answer)

    @contextlib.contextmanager
    def mute(self) -> Iterator[None]:
        self.muted += 1
        try:
            yield
        finally:
            self.muted -= 1

    def open(self, step: str) -> None:
        if self.name != step:  # 00 and 10 begin with the same one, and share its tape
            self.name, self.opened, self.said = step, 0, {}
        self.opened += 1
        self.at = replay.OPENED

    def write(self) -> None:
        answers: dict[str, int] = {}
        said = {
            at: {
                question: [answers.setdefault(_json(each), len(answers)) for each in told]
                for question, told in sorted(found.items())
            }
            for at, found in self.said.items()
        }
        told = {"opened": self.opened, "answers": list(map(json.loads, answers)), "said": said}
        replay.TAPES.mkdir(exist_ok=True)
        packed = gzip.compress(json.dumps(told).encode(), 9, mtime=0)
        (replay.TAPES / f"{self.name}.json.gz").write_bytes(packed)


def _json(answer: Any) -> str:
    if isinstance(answer, Written):
        answer = bytes(answer.kept)
    return json.dumps(answer, default=replay.plain, sort_keys=True)


def record(tape: Recorder) -> None:
    """Have everything that a lab asks kept."""

    def around(owner: Any, name: str, make: Callable[[Method], Method]) -> None:
        inner = getattr(owner, name)
        setattr(owner, name, functools.wraps(inner)(make(inner)))

    def host(inner: Method, question: Callable[..., str]) -> Method:
        def asked(self: SshHost, *words: Any, **given: Any) -> Any:
            with tape.mute():  # one method asks by another
                found = inner(self, *words, **given)
            tape.keep(question(self, *words, **given), found)
            return found

        return asked

    ask = replay.question
    around(SshHost, "run", lambda f: host(f, lambda h, c, given="": ask("run", h.port, c, given)))
    around(SshHost, "wait", lambda f: host(f, lambda h, seconds: ask("wait", h.port)))
    around(SshHost, "plain", lambda f: host(f, lambda h, c, shown="": ask("plain", h.port, c)))
    around(
        SshHost,
        "script",
        lambda f: host(
            f, lambda h, source, **given: ask("script", replay.program(source), **given)
        ),
    )
    around(
        SshHost,
        "stream",
        lambda f: host(
            lambda *words, **given: Written(f(*words, **given)),
            lambda h, source, **given: ask("stream", **replay._points(given)),
        ),
    )
    vantage = target.LocalVantage
    around(vantage, "drops", lambda f: host(f, lambda v: ask("drops")))
    around(
        vantage,
        "program",
        lambda f: host(lambda *words: Written(f(*words)), lambda v, *words: ask("vantage")),
    )

    def request(inner: Method) -> Method:
        def asked(self: Endpoint, model: Any, params: Any) -> Any:
            question = ask("ec2", model.name, params["body"])
            http, parsed = inner(self, model, params)
            if model.name.startswith(replay.READS) or http.status_code >= 400:
                told = {**parsed, "ResponseMetadata": {"HTTPStatusCode": http.status_code}}
                tape.keep(question, [http.status_code, told])
            return http, parsed

        return asked

    around(Endpoint, "make_request", request)

    def caught_up(inner: Method) -> Method:
        def asked(self: Lab, step: str) -> None:
            with tape.mute():
                inner(self, step)
            tape.open(step)

        return asked

    around(Lab, "catch_up", caught_up)
    muted = contextlib.ExitStack()

    def changes(self: target.Course, step: str) -> None:
        tape.at = replay.OPENED if step.startswith("reset ") else step
        muted.enter_context(tape.mute())  # what the step reads after it, a replay never asks

    def ends(inner: Method) -> Method:
        def run(*words: Any) -> Any:
            with muted:
                return inner(*words)

        return run

    target.Course.changes = changes  # type: ignore[method-assign]
    around(steps, "run", ends)
    around(Lab, "reset", ends)


def main(names: list[str]) -> int:
    """Make the tapes of these steps, or all."""
    tape = Recorder()
    record(tape)
    for path in sorted(NOTEBOOKS.glob("[0-9]*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        cells = [each for each in notebook.cells if each.cell_type == "code"]
        step = re.findall(r'lab\.catch_up\("(\w+)"\)', "".join(each.source for each in cells))[0]
        if names and step not in names:
            continue
        space: dict[str, Any] = {"display": display}  # as IPython gives it
        with fresh_home():
            for cell in cells:
                if cell.id != "panel":
                    exec(compile(cell.source, f"{path.name}:{cell.id}", "exec"), space)
            space["lab"].close()
            target._local.cache_clear()
        tape.write()
        size = (replay.TAPES / f"{step}.json.gz").stat().st_size
        sys.stderr.write(f"{path.name}: {step}, {size} bytes\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
