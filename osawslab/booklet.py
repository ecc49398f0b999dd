"""The notebooks on paper: one printable page of their own cells and what they show.

What a learner would open (answers, hints) is at the end, so that nobody reads it too early. A PDF
is made of the page where Chromium is.
"""

from __future__ import annotations

import functools
import html
import importlib
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from osawslab.errors import BadSetting, StepFailed
from osawslab.region import machine

# Cells that say how a notebook is worked with; on paper nobody does.
LEFT_OUT = ("lab", "catch-up", "catch-up-why", "hints", "panel-why", "panel", "next")
ANSWERED = ("predict", "hints", "try")
DETAILS = re.compile(r"\s*<details><summary>(.*?)</summary>\s*(.*?)\s*</details>", re.DOTALL)
LINK = re.compile(r"\[([^\]]+)\]\([\w./-]+\.ipynb\)")
WAY = re.compile(r"^(Before|Next|Back to)\b.*$", re.MULTILINE)  # from notebook to notebook
OPEN = "Choose one. Then open the one you chose."
PREDICTION = "My prediction: ________ because ________________________________________________"
LATER = "Choose one. What is right, and why the others are not, is at the end."
CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PRINT_SECONDS = 120.0
STYLE = """
@page { size: A4; margin: 15mm 14mm }
body { font: 10pt/1.4 "DejaVu Sans", Arial, sans-serif; color: #000; background: #fff;
  max-width: 182mm; margin: 0 auto }
h1 { font-size: 17pt; break-before: page } h2 { font-size: 12pt; break-after: avoid }
nav ~ section:first-of-type h1 { break-before: auto }
pre, code { font: 8pt/1.3 "DejaVu Sans Mono", monospace; white-space: pre-wrap !important;
  overflow-wrap: anywhere }
pre { border-left: 1mm solid #bbb; padding-left: 3mm; margin: 2mm 0 }
table { border-collapse: collapse; width: 100%; font-size: 7.5pt }
th, td { border: 0.2mm solid #999; padding: 0.6mm 1mm; text-align: left; vertical-align: top;
  white-space: pre-wrap !important; overflow-wrap: anywhere }
th { overflow-wrap: normal }
caption { font-weight: bold; text-align: left; white-space: normal !important }
tr, img, .code_cell pre { break-inside: avoid } img, svg { max-width: 100%; max-height: 230mm }
a { color: inherit }
"""


def notebooks(folder: Path, wanted: Sequence[str] = ()) -> list[Path]:
    """Find notebooks by their numbers or names; all of them by default. Raises BadSetting."""
    found = [*sorted(folder.glob("[0-9]*.ipynb")), *sorted(folder.glob("experiments/*.ipynb"))]
    names = {word: path for path in found for word in (path.stem, path.stem.partition("-")[0])}
    for word in wanted:
        if word not in names:
            raise BadSetting(
                f"there is no notebook {word!r}",
                seen=word,
                next=f"one of: {' '.join(path.stem.partition('-')[0] for path in found)}",
            )
    chosen = {names[word] for word in wanted}
    return [path for path in found if path in chosen or not wanted]


def page(paths: Sequence[Path]) -> str:
    """Make the page: the notebooks, then what was left for later. It loads nothing from outside."""
    made = [(path.stem, _nbformat().reads(path.read_text(), 4)) for path in paths]
    titles = [(name, _title(notebook)) for name, notebook in made]
    parts = [_section(name, _told(notebook)) for name, notebook in made]
    answers = [_section(f"{name}-later", _later(notebook)) for name, notebook in made]
    listed = "".join(
        f'<li><a href="#{name}">{html.escape(title)}</a>'
        f' (<a href="#{name}-later">answers and hints</a>)</li>'
        for name, title in titles
    )
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>osawslab: a handout</title><style>{STYLE}</style></head><body>\n"
        f"<nav><h2>A handout of osawslab</h2><ul>{listed}</ul></nav>\n"
        f"{''.join(parts)}{''.join(answers)}</body></html>\n"
    )


def _nbformat() -> Any:
    return importlib.import_module("nbformat")  # its functions have no types


@functools.cache
def _exporter() -> Any:
    return importlib.import_module("nbconvert.exporters").HTMLExporter(
        template_name="basic",
        exclude_input_prompt=True,
        exclude_output_prompt=True,
        exclude_anchor_links=True,
    )


def _text(markdown: str) -> Any:
    return _nbformat().v4.new_markdown_cell(markdown)


def _title(notebook: Any) -> str:
    return str(notebook.cells[0].source).partition("\n")[0].lstrip("# ")


def _told(notebook: Any) -> Iterator[Any]:
    """Give the cells for the first part, without what is opened, and without ways to elsewhere."""
    for cell in notebook.cells:
        if cell.id in LEFT_OUT:
            continue
        if cell.cell_type == "markdown":
            cell = _text(
                LINK.sub(r"\1", WAY.sub("", DETAILS.sub("", cell.source))).replace(OPEN, LATER)
            )
        yield cell
        if "Predict before" in cell.source:
            yield _text(PREDICTION)


def _later(notebook: Any) -> Iterator[Any]:
    """Give what a learner opens: why each answer is right or wrong, the hints, the reasons."""
    yield _text(f"# {_title(notebook)}: answers and hints")
    for cell in notebook.cells:
        if cell.id in ANSWERED:
            found = [f"**{summary}** {text}" for summary, text in DETAILS.findall(cell.source)]
            yield _text(LINK.sub(r"\1", "\n\n".join(found)))


def _section(name: str, cells: Iterator[Any]) -> str:
    body, _ = _exporter().from_notebook_node(_nbformat().v4.new_notebook(cells=list(cells)))
    opened = body.replace("<details", "<details open")
    return f'<section id="{name}">\n{opened}</section>\n'


def write(paths: Sequence[Path], file: Path) -> list[Path]:
    """Write the page, and beside it a PDF where Chromium is. Gives what was written."""
    try:
        file.write_text(page(paths), encoding="utf-8")
    except OSError as error:
        raise BadSetting(
            "the handout cannot be written", seen=str(error), next="--write another/file.html"
        ) from None
    program = next(filter(None, map(machine.find, CHROMIUM)), None)
    if program is None:
        return [file]
    printed = file.with_suffix(".pdf")
    _print(program, file, printed)
    return [file, printed]


def _print(program: Path, source: Path, printed: Path) -> None:
    """Have Chromium print a page that has no script, and loads nothing. Raises StepFailed."""
    printed.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as home:
        words = [
            str(program), "--headless", "--no-sandbox", "--disable-gpu", "--no-pdf-header-footer",
            "--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={home}",
            f"--print-to-pdf={printed.absolute()}", source.absolute().as_uri(),
        ]  # fmt: skip
        try:
            done = subprocess.run(
                words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
                timeout=PRINT_SECONDS, env={**os.environ, "HOME": home, "XDG_CONFIG_HOME": home},
            )  # fmt: skip
            seen = done.stderr.strip().rpartition("\n")[2] or f"exit status {done.returncode}"
        except subprocess.TimeoutExpired:
            seen = f"no end within {PRINT_SECONDS:.0f} s"
    if not printed.is_file():
        raise StepFailed(
            f"Chromium has not printed {source}", seen=seen, next="print it from any browser"
        )
