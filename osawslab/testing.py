"""The parts of `test`: lint, types, unit, tour, nbval, browser, clients, openstack.

They need the checkout.

Three more, tempest, lasting and hub, run only when they are named: they take long, or ask for what
the others do not need.
A part that could not run says NOT RUN and why. The status is 1 when a part failed, else 3 when
one was not run, else 0.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json as codec
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from osawslab.errors import BadSetting, MissingTool
from osawslab.region import local, machine

ROOT = Path(__file__).resolve().parent.parent
# Instances that are a whole Debian.
WHOLE = ("tests/region/test_whole.py", "tests/region/test_bake.py", "tests/openstack")
LONGEST = ("--durations=30",)  # shown at the end, so that what has grown is seen
CACHES = Path(sys.prefix) / "var" / "test"  # goes with the environment


@contextlib.contextmanager
def fresh_home() -> Iterator[Path]:
    """Give this process and its children an empty home for labs; what is in it ends with it.

    The environment is put back afterwards. The folder is in /tmp: a socket's path has 107 bytes
    at most.
    """
    before = dict(os.environ)
    with tempfile.TemporaryDirectory(prefix="osl-", dir="/tmp") as name:
        for variable in before:
            if variable.startswith(("AWS_", "OSAWSLAB_")):  # the caller's settings have no part
                del os.environ[variable]
        os.environ["OSAWSLAB_PROGRESS"] = "0"
        for variable, folder in (
            ("XDG_STATE_HOME", "state"),
            ("XDG_RUNTIME_DIR", "run"),
            ("IPYTHONDIR", "ipython"),
        ):
            os.environ[variable] = f"{name}/{folder}"
            Path(name, folder).mkdir(mode=0o700)
        try:
            yield Path(name)
        finally:
            for lab in sorted(local.state_home().glob("*")):
                local.remove(lab.name)
            os.environ.clear()
            os.environ.update(before)


@dataclass(frozen=True)
class Outcome:
    """How a part went: `result` is "passed", "failed" or "NOT RUN"; `why` in one line."""

    part: str
    result: str
    why: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class Run:
    """Runs commands in the checkout; their words go where words belong."""

    json: bool  # then standard output is for the outcomes alone
    said: IO[bytes] | None = None  # where a part's words wait that runs beside others

    def __call__(self, *command: str, environ: Mapping[str, str] | None = None) -> int:
        """Run a command, show all it says, return its exit status."""
        return subprocess.run(
            command,
            cwd=ROOT,
            env={**os.environ, **_caches(), **(environ or {})},
            stdin=subprocess.DEVNULL,
            stdout=self.said or (sys.stderr if self.json else None),
            stderr=self.said and subprocess.STDOUT,
        ).returncode

    def python(self, *words: str, environ: Mapping[str, str] | None = None) -> int:
        """Run this environment's Python."""
        return self(sys.executable, *words, environ=environ)


def _caches() -> dict[str, str]:
    return {
        "MYPY_CACHE_DIR": str(CACHES / "mypy"),
        "RUFF_CACHE_DIR": str(CACHES / "ruff"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }


class NotRun(Exception):
    """A part cannot run on this machine, or there is nothing to run yet."""


def _all(*statuses: int) -> str:
    return "" if not any(statuses) else "see above"


def lint(run: Run) -> str:
    """Hold every file against ruff's rules and format. `lab` has no ending and is named."""
    return _all(
        run.python("-m", "ruff", "check", ".", "lab"),
        run.python("-m", "ruff", "format", "--check", ".", "lab"),
    )


def types(run: Run) -> str:
    """Check all types of the library."""
    return _all(run.python("-m", "mypy", "--strict", "osawslab"))


def unit(run: Run) -> str:
    """Run the tests and the examples in docstrings, four files at a time: most only wait."""
    words = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "--doctest-modules", *LONGEST)
    four = ("-n", "4", "--dist", "loadfile", "--no-loadscope-reorder")
    apart = [f"--ignore={each}" for each in ("tests/browser", "tests/clients", "tests/hub", *WHOLE)]
    return _all(run.python(*words, *four, "osawslab", "tests", *apart))


def tour(run: Run) -> str:
    """Run the tour twice and end the lab, as this user and, if root, as an ordinary one."""
    wrong = _own_tour(run)
    if os.geteuid() == 0 and run.python(str(ROOT / "tests" / "ordinary_user.py")):
        wrong = "; ".join(filter(None, (wrong, "the tour of an ordinary user")))
    return wrong


def _own_tour(run: Run) -> str:
    program = str(Path(sys.executable).parent / "osawslab")
    with tempfile.TemporaryDirectory(prefix="osawslab-test-") as state:
        environ = {"XDG_STATE_HOME": state, "OSAWSLAB_NAME": "tour-test"}
        try:
            for turn in ("first", "second"):
                result = subprocess.run(
                    [program, "tour", "--json"],
                    cwd=state,
                    env={**os.environ, **environ},
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    text=True,
                )
                if result.returncode:
                    return f"the {turn} tour ended with {result.returncode}"
                steps = codec.loads(result.stdout)["steps"]
                changed = [step["name"] for step in steps if step["changed"]]
                if turn == "second" and changed:
                    return f"the second tour changed {', '.join(changed)}"
        finally:
            down = run(program, "down", environ=environ)
        return f"down ended with {down}" if down else ""


def nbval(run: Run) -> str:
    """Run the notebooks, two at a time, and compare what they show with what is committed."""
    if not list((ROOT / "notebooks").rglob("*.ipynb")):
        raise NotRun("there are no notebooks yet")
    words = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "--nbval", "--nbval-current-env")
    two = ("-n", "2", "--dist", "loadfile", "--nbval-cell-timeout=120")
    return _all(run.python(*words, *two, "notebooks"))


def browser(run: Run) -> str:
    """Use the notebooks in a real browser."""
    lacking = [package for _, package in machine.missing_for_tests(["browser"])]
    if lacking:
        raise NotRun(machine.install_command(lacking))
    return _all(run.python("-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/browser"))


def clients(run: Run) -> str:
    """Use programs that others wrote, such as Ansible's collection, on the local region."""
    lacking = [package for _, package in machine.missing_for_tests(["clients"])]
    if lacking:
        raise NotRun(machine.install_command(lacking))
    return _all(run.python("-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/clients"))


def openstack(run: Run) -> str:
    """Install a real OpenStack on an instance that is a whole Debian, and take the tour on it."""
    _whole()
    words = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not lasting", *LONGEST)
    return _all(run.python(*words, *WHOLE))


def lasting(run: Run) -> str:
    """Restart what the real OpenStack is made of, and reboot it: by the notebook, and alone."""
    _whole()
    words = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "lasting")
    return _all(run.python(*words, "tests/openstack"))


def tempest(run: Run) -> str:
    """Run OpenStack's own tests of identity and network against a lab."""
    _whole()
    if importlib.util.find_spec("tempest") is None:
        raise NotRun(f"{sys.executable} -m pip install -e '.[tempest]'")
    return _all(run.python(str(ROOT / "tests" / "openstack" / "run_tempest.py")))


def hub(run: Run) -> str:
    """Run JupyterHub with our configuration, as ten users log in."""
    if os.geteuid():
        raise NotRun("only root starts servers of other users: sudo ./lab test hub")
    if importlib.util.find_spec("jupyterhub") is None:
        raise NotRun(f"{sys.executable} -m pip install -e '.[hub]'")
    if shutil.which("configurable-http-proxy") is None:
        raise NotRun("npm install -g configurable-http-proxy")
    return _all(run.python("-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/hub"))


def _whole() -> None:
    lacking = [package for _, package in machine.missing_for_tests(["openstack"])]
    if os.geteuid():
        raise NotRun("an instance that is a whole operating system needs root: sudo ./lab test")
    if lacking:
        raise NotRun(machine.install_command(lacking))


PARTS: Mapping[str, Callable[[Run], str]] = {
    part.__name__: part for part in (lint, types, unit, tour, nbval, browser, clients, openstack)
}

# The longest, and after it what leaves most of a processor to others.
BESIDE = ("openstack", "clients", "browser")

NAMED: Mapping[str, Callable[[Run], str]] = {  # no part of all
    part.__name__: part for part in (tempest, lasting, hub)
}


def chosen(parts: Sequence[str]) -> tuple[str, ...]:
    """Say which parts to run: those named, or all.

    >>> chosen(["unit", "lint"])
    ('unit', 'lint')
    """
    for part in parts:
        if part not in (*PARTS, *NAMED, "all"):
            raise BadSetting(
                f"there is no part {part!r}",
                seen=" ".join(parts),
                next=f"one of: {' '.join([*PARTS, *NAMED])}",
            )
    if parts and "all" not in parts:
        return tuple(dict.fromkeys(parts))
    return (*PARTS, *(name for name in NAMED if name in parts))


def main(parts: Sequence[str], json: bool) -> int:
    """Run the parts; with `json` their outcomes are all that standard output gets."""
    names = chosen(parts)
    if not (ROOT / "tests").is_dir() or not (ROOT / "pyproject.toml").is_file():
        raise MissingTool(
            "the tests are in the checkout, not in the package",
            seen=f"no tests beside {Path(__file__).parent}",
            next="clone the repository and run ./lab test",
        )
    if importlib.util.find_spec("pytest") is None:
        raise MissingTool(
            "the test tools are not in this environment",
            seen=f"no pytest in {sys.prefix}",
            next="./lab test (it adds them), or pip install -e '.[test]'",
        )
    outcomes = _outcomes(names, json)
    for outcome in outcomes:
        line = f"{outcome.result} {outcome.part}" + (f": {outcome.why}" if outcome.why else "")
        sys.stderr.write(f"{line} ({outcome.seconds:.0f} s)\n")
    if json:
        sys.stdout.write(codec.dumps({"parts": [asdict(each) for each in outcomes]}) + "\n")
    results = {outcome.result for outcome in outcomes}
    return 1 if "failed" in results else 3 if "NOT RUN" in results else 0


def _outcomes(names: Sequence[str], json: bool) -> list[Outcome]:
    """Run the parts one after another; beside them, one after another too, the longest and two.

    What runs beside says its words at the end.
    """
    both = openstack.__name__ in names and not set(names) <= set(BESIDE)
    beside = [each for each in BESIDE if both and each in names]
    with tempfile.TemporaryFile() as said, ThreadPoolExecutor(1) as apart:
        waits = [apart.submit(_outcome, name, Run(json, said)) for name in beside]
        done = [_outcome(name, Run(json)) for name in names if name not in beside]
        done += [each.result() for each in waits]
        said.seek(0)
        for line in said:
            sys.stderr.write(line.decode(errors="replace"))
    return done


def _outcome(name: str, run: Run) -> Outcome:
    sys.stderr.write(f"== {name}\n")
    sys.stderr.flush()
    start = time.monotonic()
    try:
        why = {**PARTS, **NAMED}[name](run)
        result = "failed" if why else "passed"
    except NotRun as reason:
        result, why = "NOT RUN", str(reason)
    return Outcome(name, result, why, round(time.monotonic() - start, 1))
