"""The learner's copy: what was never touched follows the original, what was changed never does."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nbformat
import pytest
from nbformat.sign import NotebookNotary

from osawslab.errors import BadSetting
from osawslab.workbook import FIRST, MEMORY, Laid, lay_out


def notebook(text: str) -> str:
    picture = nbformat.v4.new_output("display_data", {"image/svg+xml": "<svg/>"})
    cell = nbformat.v4.new_code_cell(text, id="a", outputs=[picture])
    return str(nbformat.writes(nbformat.v4.new_notebook(cells=[cell])))


@dataclass
class Shelf:
    """The originals, the copy, and Jupyter's data folder."""

    original: Path
    copy: Path
    data: Path

    def lay(self) -> Laid:
        return lay_out(self.original, self.copy, self.data)

    def write(self, text: str, name: str = FIRST) -> None:
        (self.original / name).write_text(notebook(text))

    def work(self, text: str, name: str = FIRST) -> None:
        (self.copy / name).write_text(notebook(text))

    def says(self, name: str = FIRST) -> str:
        return "".join(json.loads((self.copy / name).read_text())["cells"][0]["source"])

    def names(self) -> set[str]:
        return {path.name for path in self.copy.iterdir()} - {MEMORY}


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    made = Shelf(tmp_path / "original", tmp_path / "copy", tmp_path / "data")
    made.original.mkdir()
    made.write("one")
    return made


def test_the_first_time_all_is_laid_out_and_trusted(shelf: Shelf) -> None:
    (shelf.original / "clinic").mkdir()
    shelf.write("deep", "clinic/a.ipynb")
    for name in (".gitkeep", "conftest.py", ".ipynb_checkpoints/x.ipynb", "__pycache__/x.pyc"):
        (shelf.original / name).parent.mkdir(exist_ok=True)
        (shelf.original / name).touch()
    assert shelf.lay() == Laid((FIRST, "clinic/a.ipynb"), ())
    assert shelf.names() == {FIRST, "clinic"}
    notary = NotebookNotary(data_dir=str(shelf.data))
    for name in (FIRST, "clinic/a.ipynb"):
        assert notary.check_signature(nbformat.read(shelf.copy / name, as_version=4))


def test_the_second_time_nothing_is_done(shelf: Shelf) -> None:
    shelf.lay()
    before = {path: path.stat().st_mtime_ns for path in shelf.copy.iterdir()}
    assert shelf.lay() == Laid((), ())
    assert {path: path.stat().st_mtime_ns for path in shelf.copy.iterdir()} == before


def original_changes(shelf: Shelf) -> None:
    shelf.write("two")


def both_change(shelf: Shelf) -> None:
    shelf.work("mine")
    shelf.write("two")


def removed(shelf: Shelf) -> None:
    (shelf.copy / FIRST).unlink()


def memory_lost(shelf: Shelf) -> None:
    shelf.work("mine")
    (shelf.copy / MEMORY).write_text("{broken")


NEWER = "00-start.newer.ipynb"


@pytest.mark.parametrize(
    ("change", "laid", "says"),
    [
        (original_changes, Laid((FIRST,), ()), {FIRST: "two"}),
        (lambda shelf: shelf.work("mine"), Laid((), ()), {FIRST: "mine"}),
        (both_change, Laid((), (NEWER,)), {FIRST: "mine", NEWER: "two"}),
        (removed, Laid((FIRST,), ()), {FIRST: "one"}),
        (memory_lost, Laid((), (NEWER,)), {FIRST: "mine", NEWER: "one"}),
    ],
)
def test_work_is_never_overwritten(
    change: Callable[[Shelf], None], laid: Laid, says: dict[str, str], shelf: Shelf
) -> None:
    shelf.lay()
    change(shelf)
    assert shelf.lay() == laid
    assert {name: shelf.says(name) for name in shelf.names()} == says
    assert shelf.lay() == Laid((), ())  # and it is said once


def test_work_on_a_newer_version_is_work_too(shelf: Shelf) -> None:
    shelf.lay()
    both_change(shelf)
    shelf.lay()
    shelf.work("mine again", NEWER)
    shelf.write("three")
    assert shelf.lay() == Laid((), ("00-start.newer-2.ipynb",))
    assert shelf.says(FIRST) == "mine"
    assert shelf.says(NEWER) == "mine again"


def test_a_copy_made_by_hand_is_known(shelf: Shelf) -> None:
    shelf.copy.mkdir()
    (shelf.copy / FIRST).write_bytes((shelf.original / FIRST).read_bytes())
    assert shelf.lay() == Laid((), ())


def test_where_no_copy_can_be(shelf: Shelf, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", shelf.original, Path("/proc/nothing")):
        with pytest.raises(BadSetting) as error:
            lay_out(shelf.original, folder, shelf.data)
        assert error.value.next == "--folder some-other-folder"
    assert os.listdir(shelf.original) == [FIRST]
