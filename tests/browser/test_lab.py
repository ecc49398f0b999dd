"""A learner's way in a real browser: JupyterLab, the first notebook, the swap by a click.

`OSAWSLAB_SCREENSHOT=tests/browser/swap.png ./lab test browser` makes the README's picture anew.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import PIL.Image
import pytest
import scrubbing
from chromium import Browser, browser
from playwright.sync_api import Locator, Page, expect

from osawslab.console import program
from osawslab.lab import Lab
from osawslab.region import folders, local, machine

PROGRAM = (sys.executable, "-P", "-m", "osawslab.cli")
# Read before `home` clears it and goes elsewhere.
SCREENSHOT = Path(os.environ.get("OSAWSLAB_SCREENSHOT", "")).absolute()
END_SECONDS = 30.0


@dataclass(frozen=True)
class Started:
    """A running `osawslab start`, as a terminal runs it."""

    process: subprocess.Popen[str]
    folder: Path  # the learner's copy
    words: Path  # its standard error
    url: str  # the address it printed

    def interrupt(self) -> tuple[int, str]:
        """Press Ctrl-C, which a terminal tells to all; the exit status, and what was said."""
        os.killpg(self.process.pid, signal.SIGINT)
        return self.process.wait(END_SECONDS), self.words.read_text()


def open_notebook(seen: Browser, url: str, saved: Path, folder: str = "") -> Notebook:
    """Open a notebook alone in a page, and wait until it is there and its kernel too."""
    page = seen.page()
    page.goto(url.replace("00-start.ipynb?", f"{folder}{saved.name}?reset&"))
    notebook = Notebook(page)
    cells = json.loads(saved.read_text())["cells"]
    expect(notebook.cells).to_have_count(sum(each["cell_type"] == "code" for each in cells))
    notebook.idle()
    return notebook


@dataclass(frozen=True)
class Notebook:
    """An open notebook, and what a person does with it."""

    page: Page

    @property
    def cells(self) -> Locator:
        """Its cells with code."""
        return self.page.locator(".jp-Notebook .jp-CodeCell")

    @property
    def outputs(self) -> Locator:
        """What is shown below all cells."""
        return self.cells.locator(".jp-OutputArea-output")

    def idle(self) -> None:
        """Wait until the kernel is there and has nothing to do."""
        expect(self.page.locator("#jp-main-statusbar")).to_contain_text("| Idle")

    def menu(self, name: str, item: str) -> None:
        """Choose an item from the menu bar."""
        self.page.locator(".lm-MenuBar-itemLabel").get_by_text(name, exact=True).click()
        self.page.locator(".lm-Menu-itemLabel").get_by_text(item, exact=True).click()

    def run_all(self) -> None:
        """Clear what was saved, run all cells, and wait for the last one."""
        self.menu("Edit", "Clear Outputs of All Cells")
        expect(self.outputs).to_have_count(0)
        self.menu("Run", "Run All Cells")
        numbers = [f"[{number}]:" for number in range(1, self.cells.count() + 1)]
        expect(self.cells.locator(".jp-InputPrompt")).to_have_text(numbers)
        self.idle()

    def picture(self, cell: Locator) -> bytes:
        """Take a PNG of the page with a cell on top, and without the list of files."""
        self.page.set_viewport_size({"width": 1000, "height": 1310})
        self.page.keyboard.press("Control+b")
        self.page.mouse.move(0, 0)  # or what is below it is highlighted
        cell.evaluate("cell => cell.scrollIntoView({block: 'start'})")
        return self.page.screenshot()

    def wrong(self) -> list[str]:
        """Read the errors and warnings among the outputs."""
        kinds = ("error", "stderr")
        marks = (f'[data-mime-type="application/vnd.jupyter.{kind}"]' for kind in kinds)
        return self.outputs.and_(self.page.locator(", ".join(marks))).all_inner_texts()


@pytest.fixture
def cache(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give Jupyter a cache of its own; Open vSwitch and ifupdown stay where they are unpacked."""
    debs = machine.unpacked().parent
    folder = home / "c" / "osawslab"
    folder.mkdir(parents=True)
    (folder / "debs").symlink_to(debs)
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder.parent))
    return folder


@pytest.fixture
def started(home: Path, cache: Path) -> Iterator[Started]:
    """Start JupyterLab by the program itself, and wait for the address that it prints."""
    folder, words = home / "notebooks", home / "words"
    with words.open("w") as stderr:
        process = subprocess.Popen(
            [*PROGRAM, "start", "--no-browser", "--port=0", f"--folder={folder}"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            start_new_session=True,
        )
    assert process.stdout is not None
    with process.stdout:
        try:
            line = next((line for line in process.stdout if line.startswith("open ")), "")
            assert line, words.read_text()
            yield Started(process, folder, words, line.removeprefix("open ").strip())
        finally:
            process.terminate()
            process.wait(END_SECONDS)


def processes(home: Path) -> dict[int, str]:
    """Find the processes that were given this home, except this one; their commands."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # ended meanwhile
            if os.fsencode(home) in (process / "environ").read_bytes():
                words = (process / "cmdline").read_bytes().split(b"\0")
                found[int(process.name)] = os.fsdecode(b" ".join(words))
    return found


def save(picture: bytes, path: Path) -> None:
    """Save a screenshot with 128 colours, a third of its size."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = PIL.Image.open(io.BytesIO(picture)).convert("RGB")
    image.quantize(128, dither=PIL.Image.Dither.NONE).save(path, optimize=True)


def scrub(seen: Browser, started: Started) -> None:
    """See a player's still while no widget lives, then move the widget by keys."""
    opened = open_notebook(seen, started.url, scrubbing.write(started.folder))
    cell, point = opened.cells.last, re.compile("^At router gateway")
    still = cell.get_by_role("img", name=f"At {scrubbing.POINTS[1]}")
    expect(still).to_be_visible()
    expect(cell.get_by_role("table")).to_contain_text(scrubbing.VERDICTS[1])
    seen.errors.clear()  # of a widget that is dead, ipywidgets complains
    opened.run_all()
    assert opened.wrong() == []
    shown = cell.get_by_role("status")
    slider, number = cell.get_by_role("slider"), cell.get_by_label("Frame")
    expect(cell.get_by_role("img", name="At ")).to_have_count(1)  # the still is hidden
    expect(shown.get_by_role("img", name=point)).to_be_visible()
    slider.focus()
    for key, frame in (("ArrowRight", 1), ("End", 2), ("ArrowLeft", 1), ("Home", 0)):
        opened.page.keyboard.press(key)
        expect(number).to_have_value(str(frame))
        expect(shown.get_by_role("table")).to_contain_text(f"Frame {frame} (of 0 to 2)")
        expect(shown.get_by_role("table")).to_contain_text(scrubbing.VERDICTS[frame])
        where = f"At {scrubbing.POINTS[min(frame, 1)]}"
        expect(shown.get_by_role("img", name=where)).to_be_visible()


def practise(seen: Browser, started: Started) -> None:
    """Find what is broken by the buttons alone: a hint, an answer, the check before and after."""
    saved = started.folder / "clinic" / "1-router.ipynb"
    opened = open_notebook(seen, started.url, saved, "clinic/")
    opened.run_all()
    assert opened.wrong() == []
    card = opened.page.locator(".jp-CodeCell:has(button:text-is('Answer'))")

    def click(button: str, *told: str) -> None:
        card.get_by_role("button", name=button, exact=True).click()
        for each in told:
            expect(card.get_by_role("status")).to_contain_text(each)

    with Lab() as lab:
        exercise = lab.exercise()
        [label] = [
            f"{key}: {what}" for key, _, what in exercise.places.rows if key in exercise.stations
        ]
        click("Answer", "Choose a place first.")
        click("Hint", "Hint 1 of 3")
        card.get_by_role("combobox").select_option(label)
        click("Answer", "causes named", "right: ")
        click("Check", "1 of 1 is left")
        assert lab.mend().changed
        click("Check")
        last = card.get_by_role("status").get_by_role("row").filter(has_text="what was broken")
        expect(last).to_have_text(re.compile(r"^\s*ok"))
        assert exercise.score.words == "1 of 1, 1 hints, done"


def test_the_swap_by_a_click_and_nothing_left(home: Path, started: Started) -> None:
    mounts = Path("/proc/self/mounts").read_text()
    with browser(home) as seen:
        first = open_notebook(seen, started.url, started.folder / "00-start.ipynb")
        first.run_all()
        assert first.wrong() == []
        checks = first.page.get_by_role("table", name="Checks of provision")
        expect(checks).to_be_visible()

        swap = open_notebook(seen, started.url, started.folder / "60-swap-mac.ipynb")
        swap.run_all()
        assert swap.wrong() == []
        panel = swap.cells.last
        with Lab() as lab:
            for button, report, holds in (
                ("Reset", "reset swap_mac", False),
                ("Run", "swap_mac", True),
            ):
                panel.get_by_role("button", name=button, exact=True).click()
                said = panel.get_by_role("status").get_by_text(re.compile(f"^{report}: [1-9]"))
                expect(said).to_be_visible()
                assert bool(lab.check("swap_mac")) is holds
        expect(panel.get_by_role("img").last).to_be_visible()
        if not SCREENSHOT.is_dir():
            save(swap.picture(panel), SCREENSHOT)
        assert seen.errors == []
        scrub(seen, started)
        practise(seen, started)
        assert seen.outside == []
        assert seen.errors == []

    status, words = started.interrupt()
    assert status == 0
    assert f"To end it: {program()} down" in words
    region = local.find("lab")
    assert region is not None
    left = processes(home)
    assert region.pid in left
    assert [each for each in left.values() if "jupyter" in each or "ipykernel" in each] == []

    done = subprocess.run([*PROGRAM, "down"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert processes(home) == {}
    assert [path for path in home.rglob("*") if path.is_socket()] == []
    assert list(folders.state_home().glob("*")) == []
    assert Path("/proc/self/mounts").read_text() == mounts
