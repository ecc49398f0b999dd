"""The learner's copy of the notebooks: laid out, brought up to date, never overwritten.

A file in the copy remembers what was laid there; what differs from that is the learner's work.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from osawslab.errors import BadSetting, MissingTool

FIRST = "00-start.ipynb"
MEMORY = ".osawslab-notebooks.json"  # path -> SHA-256 of what was laid there
LEFT_OUT = (".ipynb_checkpoints", "__pycache__", "conftest.py")  # the last is for the tests


@dataclass(frozen=True)
class Laid:
    """What became of the copy: paths below its folder."""

    new: tuple[str, ...]
    beside: tuple[str, ...]  # newer versions, beside what the learner has changed

    @property
    def text(self) -> str:
        """Say it in a line each; "" when nothing was done."""
        lines = [f"laid out: {', '.join(self.new)}"] if self.new else []
        lines += [f"a newer version is beside your own work: {path}" for path in self.beside]
        return "\n".join(lines)


def source() -> Path:
    """Find the notebooks: in the package, or beside it in a checkout. Raises MissingTool."""
    package = Path(__file__).resolve().parent
    for folder in (package / "_notebooks", package.parent / "notebooks"):
        if (folder / FIRST).is_file():
            return folder
    raise MissingTool(
        "the notebooks are not in this installation",
        seen=f"no {FIRST} in {package / '_notebooks'}",
        next="install osawslab again, or use a checkout",
    )


def lay_out(original: Path, folder: Path, data: Path) -> Laid:
    """Copy the notebooks into a folder, and sign what was copied so that its pictures show.

    Work of the learner's stays as it is; a version newer than the one it was made from is put
    beside it, once. `data` is Jupyter's data folder. Raises BadSetting where this cannot be.
    """
    if folder.resolve() == original.resolve():
        raise BadSetting(
            "the notebooks themselves are no place to work in",
            seen=str(folder),
            next="--folder some-other-folder",
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        memory = _remembered(folder)
        new: list[str] = []
        beside: list[str] = []
        for path in _files(original):
            text = (original / path).read_bytes()
            digest = _digest(text)
            target = folder / path
            have = target.read_bytes() if target.exists() else None
            if have is not None and _digest(have) not in (digest, memory.get(path)):
                if memory.get(path) == digest:
                    continue  # the learner's work, made from this very version
                target = _beside(target, text)
            if not target.exists() or target.read_bytes() != text:
                _write(target, text)
                (new if target == folder / path else beside).append(str(target.relative_to(folder)))
            memory[path] = digest
        if new or beside:
            _write(folder / MEMORY, json.dumps(memory, indent=1, sort_keys=True).encode())
            _sign([folder / path for path in (*new, *beside)], data)
    except OSError as error:
        raise BadSetting(
            "the notebooks cannot be laid out", seen=str(error), next="--folder some-other-folder"
        ) from None
    return Laid(tuple(new), tuple(beside))


def _files(folder: Path) -> Iterator[str]:
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.is_file() and not name.name.startswith(".") and not {*name.parts} & {*LEFT_OUT}:
            yield str(name)


def _remembered(folder: Path) -> dict[str, str]:
    with contextlib.suppress(FileNotFoundError, ValueError):
        found = json.loads((folder / MEMORY).read_text())
        return dict(found) if isinstance(found, dict) else {}
    return {}


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _beside(path: Path, text: bytes) -> Path:
    """Name a place for a newer version: one that is free, or has this very version already."""
    number = 1
    while True:
        word = "newer" if number == 1 else f"newer-{number}"
        place = path.with_name(f"{path.stem}.{word}{path.suffix}")
        if not place.exists() or place.read_bytes() == text:
            return place
        number += 1


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.write_bytes(data)
    part.replace(path)


def _sign(paths: list[Path], data: Path) -> None:
    """Tell Jupyter to trust notebooks: it shows saved pictures only of those it does."""
    nbformat: Any = importlib.import_module("nbformat")  # its functions have no types
    sign: Any = importlib.import_module("nbformat.sign")
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    notary = sign.NotebookNotary(data_dir=str(data))
    for path in paths:
        if path.suffix == ".ipynb":
            notary.sign(nbformat.read(path, as_version=4))
    notary.store.close()
