"""Imports go down only: who may know whom."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "osawslab"
GROUND = {"errors", "report", "settings", "keys"}
# room -> the rooms it may import, besides itself
MAY = {
    "region": {"errors"},
    "errors": set[str](),
    "report": set[str](),
    "keys": set[str](),
    "settings": {"errors"},
    "target": {*GROUND, "region"},
    "aws": {*GROUND, "target"},
    "host": {*GROUND, "target"},
    "cloud": {*GROUND, "target", "aws", "host"},
    "observe": {*GROUND, "host"},
    "clinic": {*GROUND, "target", "aws", "host", "cloud", "observe"},
    "faults": {*GROUND, "aws", "cloud"},
    "steps": {*GROUND, "target", "aws", "host", "cloud", "observe", "clinic", "faults"},
    "replay": {*GROUND, "target", "host", "region"},
    "reach": {*GROUND, "target", "replay", "host", "cloud", "steps"},
    "probes": {*GROUND, "target", "aws", "host", "cloud", "steps"},
    "tables": {*GROUND, "reach", "steps", "observe"},
    "breakable": {*GROUND, "tables", "steps"},
    "exercises": {*GROUND, "aws", "clinic", "faults", "steps"},
    "trainable": {*GROUND, "breakable", "clinic", "exercises"},
    "lab": {
        *GROUND,
        "target",
        "aws",
        "host",
        "cloud",
        "observe",
        "clinic",
        "steps",
        "tables",
        "trainable",
        "probes",
    },
    "classroom": {
        *("errors", "report", "settings", "region", "target", "steps", "seats"),
        *("training", "jupyter", "workbook", "ui", "console"),
    },
    "ui": {"errors", "report", "lab"},
}


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[str]:
    """Name the rooms that a module imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names = [node.module]
            if node.module == "osawslab":
                names = [f"osawslab.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            parts = name.split(".")
            if parts[0] == "osawslab" and len(parts) > 1:
                yield parts[1]


@pytest.mark.parametrize("name", sorted(MAY))
def test_a_room_imports_only_what_lies_below(name: str) -> None:
    wrong = [
        f"{path.relative_to(PACKAGE)} imports {other}"
        for path in PACKAGE.rglob("*.py")
        if room(path) == name
        for other in imports(path)
        if other not in MAY[name] | {name}
    ]
    assert wrong == []


def test_every_folder_is_a_room_with_arrows() -> None:
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert folders <= MAY.keys()


def test_no_step_asks_where_it_runs() -> None:
    for name in ("steps", "cloud", "host", "aws", "observe"):
        for path in (PACKAGE / name).glob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                asks = isinstance(node, ast.Attribute) and ast.unparse(node).endswith(
                    "settings.target"
                )
                assert not asks, f"{path.name}:{getattr(node, 'lineno', 0)} asks for the target"
