"""The handout: the notebooks' own cells on one page, and what spoils them at its end."""

from __future__ import annotations

import html
import json
import re
import shutil
from pathlib import Path

import nbformat
import pytest

from osawslab import booklet, cli, workbook
from osawslab.errors import BadSetting
from osawslab.region import machine

FOLDER = workbook.source()
ALL = [path.stem for path in booklet.notebooks(FOLDER)]


@pytest.fixture(scope="module")
def page() -> str:
    return booklet.page(booklet.notebooks(FOLDER))


def section(page: str, name: str) -> str:
    found = re.search(rf'<section id="{name}">(.*?)</section>', page, re.DOTALL)
    assert found
    return found[1]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ((), ALL),
        (("50",), ["50-see-the-drop"]),
        (("60-swap-mac", "10"), ["10-provision", "60-swap-mac"]),
        (("matrix",), ["matrix"]),
    ],
)
def test_notebooks_are_chosen_by_number(wanted: tuple[str, ...], found: list[str]) -> None:
    assert [path.stem for path in booklet.notebooks(FOLDER, wanted)] == found


def test_one_that_is_not_there_is_told_of() -> None:
    with pytest.raises(BadSetting, match="no notebook '55'") as caught:
        booklet.notebooks(FOLDER, ["55"])
    assert "50 60 70" in caught.value.next


@pytest.mark.parametrize("name", ALL)
def test_each_cell_and_each_thing_it_shows_is_there(name: str, page: str) -> None:
    [path] = booklet.notebooks(FOLDER, [name])
    found = section(page, name)
    words = re.sub(r"\s+", "", html.unescape(re.sub(r"<[^>]+>", "", found)))
    shown = 0
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type != "code" or cell.id in ("lab", "catch-up", "panel"):
            continue
        assert re.sub(r"\s+", "", cell.source) in words, cell.id
        shown += len(cell.outputs)
    assert found.count('<div class="output_area">') == shown
    assert shown > 0 or name == "00-start"


@pytest.mark.parametrize("name", ALL)
def test_answers_and_hints_come_later(name: str, page: str) -> None:
    [path] = booklet.notebooks(FOLDER, [name])
    source = "".join(cell.source for cell in nbformat.read(path, as_version=4).cells)
    told, later = section(page, name), section(page, f"{name}-later")
    assert "My prediction" in told
    assert "Choose one. Then open" not in told
    assert "summary>Hint" not in told
    summaries = [summary for summary, _ in booklet.DETAILS.findall(source)]
    assert len(summaries) >= 3
    assert re.findall(r"<strong>(.*?)</strong> ", later) == summaries
    for word in ("Yes. ", "No. "):
        assert word in later
        assert f"<p>{word}" not in told
    assert page.index(f'id="{ALL[-1]}"') < page.index(f'id="{name}-later"')


def test_the_page_is_whole_and_asks_nobody(page: str) -> None:
    assert "<script" not in page
    assert not re.findall(r'<(?:link|img|iframe)[^>]*(?:src|href)="(?!data:)', page)
    assert not re.search(r"url\(|@import", booklet.STYLE)
    assert ".ipynb" not in page
    ids = re.findall(r'<section id="([^"]+)"', page)
    assert sorted(re.findall(r'<a href="#([^"]+)"', page)) == sorted(ids)
    assert "<details>" not in page  # on paper nothing can be opened


def test_one_command_writes_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "class.html"
    assert cli.main(["handout", "50", "--write", str(file), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["notebooks"] == ["50-see-the-drop"]
    wanted = [file, *([file.with_suffix(".pdf")] if machine.find("chromium") else [])]
    assert told["files"] == list(map(str, wanted))
    for path in wanted:
        assert path.stat().st_size > 20_000
    if wanted[1:]:
        assert wanted[1].read_bytes().startswith(b"%PDF-")


def test_without_chromium_it_is_a_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(booklet, "CHROMIUM", ("no-such-browser",))
    file = tmp_path / "class.html"
    assert booklet.write(booklet.notebooks(FOLDER, ["90"]), file) == [file]


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BadSetting, match="cannot be written"):
        booklet.write([], tmp_path / "file" / "class.html")


def test_a_chromium_that_prints_nothing_is_told(tmp_path: Path) -> None:
    false = shutil.which("false")
    assert false
    with pytest.raises(booklet.StepFailed, match="has not printed"):
        booklet._print(Path(false), tmp_path / "a.html", tmp_path / "a.pdf")
