"""TRAINER.md: its minutes add up and are enough, and what it names is in the notebooks."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest

from osawslab import booklet, errors
from osawslab.arguments import parser
from osawslab.lab import Lab

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "TRAINER.md").read_text()
FOLDER = ROOT / "notebooks"
WORDS_A_MINUTE, CELLS_A_MINUTE, TALK = 150, 6, 2
NOT_READ = ("hints", "trouble", "try")
LINKS = re.findall(r"\]\(([^)]+)\)", TEXT)
CODE = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", TEXT, flags=re.DOTALL))
BLOCKS = "".join(re.findall(r"```sh\n(.*?)```", TEXT, flags=re.DOTALL)).splitlines()
COMMANDS = sorted(
    line.partition("./lab ")[2].partition(" #")[0].strip()
    for line in (*BLOCKS, *CODE)
    if re.match(r"(sudo )?\./lab ", line)
)


def rows(title: str) -> list[list[str]]:
    """Read the first table of a section, without its head."""
    section = TEXT.partition(f"## {title}")[2].partition("\n## ")[0]
    table = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table[2:]]


def number(path: Path) -> str:
    return path.stem.partition("-")[0]


def read(name: str) -> Any:
    [path] = booklet.notebooks(FOLDER, [name])
    return nbformat.read(path, as_version=4)


NAMES = [number(path) for path in booklet.notebooks(FOLDER)]
LENGTHS = {
    number(FOLDER / re.findall(r"/([\w-]+)\.ipynb", row[0])[0]): [int(each) for each in row[1:]]
    for row in rows("How long")
}


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_s_minutes_follow_from_what_it_is(name: str) -> None:
    words, cells, running, minutes = LENGTHS[name]
    read_words = read_cells = 0
    for cell in read(name).cells:
        read_cells += cell.cell_type == "code"
        if cell.cell_type == "markdown" and cell.id not in NOT_READ:
            text = re.sub(r"<details>.*?</details>", "", cell.source, flags=re.DOTALL)
            read_words += len(text.split())
    assert (words, cells) == (read_words, read_cells)
    assert 0 < running < 60
    needed = words / WORDS_A_MINUTE + cells / CELLS_A_MINUTE + running / 60 + TALK
    assert minutes == math.ceil(needed)


@pytest.mark.parametrize(("title", "whole"), [("60 minutes", 60), ("180 minutes", 180)])
def test_a_plan_adds_up_and_gives_each_notebook_its_time(title: str, whole: int) -> None:
    plan = rows(title)
    assert sum(int(row[0]) for row in plan) == whole
    planned = {row[2].strip("| "): int(row[0]) for row in plan if row[2].strip("| ")}
    assert "60" in planned
    if whole == 180:
        assert list(planned) == [*NAMES[:7], *NAMES[7:9], "matrix", "90"]
    for name, minutes in planned.items():
        assert minutes >= LENGTHS[name][3], name


def test_each_question_is_its_notebook_s_with_its_answer() -> None:
    asked = {row[0]: row for row in rows("Questions")}
    assert list(asked) == NAMES
    for name, row in asked.items():
        [cell] = [each for each in read(name).cells if each.id == "predict"]
        answers = dict(booklet.DETAILS.findall(cell.source))
        right = {letter for letter, text in answers.items() if text.startswith("Yes.")}
        if name == "matrix":
            said = [answers[letter].partition(".")[0].lower() for letter in "ABC"]
            assert row[2].split(", ") == said
            continue
        assert {row[2]} == right
        wrong = re.findall(r"\b[A-D]\b", re.sub(r"\bA VPC\b", "", row[3]))
        assert wrong
        assert not {*wrong} & right
        source = " ".join(cell.source.split())
        for part in re.split(r", and (?=how far)", row[1].rstrip("?")):
            last = " ".join(part.split()[-4:])
            assert last in source, part


def test_each_exercise_it_names_is_there() -> None:
    for row in rows("180 minutes"):
        found = re.findall(r"\b([1-9])\b", row[1])
        if not found or "exercise" not in row[1]:
            continue
        [cell] = [each for each in read(row[2].strip("| ")).cells if each.id == "try"]
        numbers = re.findall(r"^(\d)\. ", cell.source, re.MULTILINE)
        assert {*found} <= {*numbers}, row


@pytest.mark.parametrize("link", LINKS)
def test_each_link_leads_to_a_file(link: str) -> None:
    assert link.startswith("https://") or (ROOT / link).is_file()


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_can_be_typed(command: str) -> None:
    parser().parse_args(command.split())


def test_each_call_and_each_error_exists() -> None:
    for name in re.findall(r"`lab\.(\w+)\(", TEXT):
        assert callable(getattr(Lab, name)), name
    stuck = {row[0].strip("`") for row in rows("When a seat")}
    kinds = {name for name in dir(errors) if name[0].isupper()}
    named = {name for name in stuck if re.fullmatch(r"[A-Z]\w+", name)}
    assert len(named) >= 4
    assert named <= kinds
