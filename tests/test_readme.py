"""Every name, link and command in the README leads somewhere."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from osawslab.arguments import given, parser
from osawslab.lab import Lab
from osawslab.region import machine
from osawslab.settings import DEFAULTS, Settings
from osawslab.steps.run import CHAPTERS

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```sh\n(.*?)```", README, flags=re.DOTALL)
CODE = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", README, flags=re.DOTALL))
TUTORIAL = README.partition("## The tutorial, line by line")[2].partition("\n## ")[0]
CALLS = sorted({code for code in CODE if re.match(r"lab\.\w+\(", code)})
LINKS = sorted(set(re.findall(r"\]\(([^)\s]+)\)", README)))
LINES = [line.partition("#")[0].strip() for block in BLOCKS for line in block.splitlines()]
COMMANDS = sorted(
    {
        line.partition("./lab ")[2]
        for line in (*LINES, *CODE)
        if re.match(r"(sudo )?\./lab [^…]", line)
    }
)


def test_there_is_something_to_hold() -> None:
    assert len(CALLS) >= 10
    assert len(COMMANDS) >= 10
    assert len(LINKS) >= 10


@pytest.mark.parametrize("call", CALLS)
def test_each_call_exists(call: str) -> None:
    tree = ast.parse(call, mode="eval").body
    assert isinstance(tree, ast.Call)
    assert isinstance(tree.func, ast.Attribute)
    assert callable(getattr(Lab, tree.func.attr))
    for word in tree.args:
        assert isinstance(word, ast.Constant)
        if tree.func.attr in ("plan", "run", "check", "reset", "hint"):
            assert word.value in CHAPTERS


@pytest.mark.parametrize("link", LINKS)
def test_each_link_leads_to_a_file(link: str) -> None:
    if not link.startswith("https://"):
        assert (ROOT / link).is_file()


def test_each_notebook_is_linked() -> None:
    notebooks = {str(path.relative_to(ROOT)) for path in (ROOT / "notebooks").rglob("*.ipynb")}
    assert notebooks
    assert notebooks <= set(LINKS)


def test_a_notebook_is_called_by_its_number() -> None:
    for name, number in re.findall(r"\[([^\]]+)\]\(notebooks/(\d\d)-", README):
        assert name.partition("-")[0] == number


def test_each_step_is_in_the_tutorial() -> None:
    assert set(re.findall(r"`lab\.(\w+)\(\)`", TUTORIAL)) >= set(CHAPTERS)


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_can_be_typed(command: str) -> None:
    words = command.replace("--purge", "--all").split()  # --purge is the script's
    words = words[: words.index("--")] if "--" in words else words
    if words == ["--help"]:
        return
    Settings(**given(parser().parse_args(words)))


def test_the_packages_are_those_that_are_asked_for() -> None:
    listed = re.search(r"of `([^`]+)`; named before", README)
    assert listed
    wanted = {need.package for need in machine.NEEDS if not need.unpack}
    assert set(listed[1].split()) == wanted | {"python3-venv"}
    for_tests = re.search(r"for `./lab test` only, and asked for then: `([^`]+)`", README)
    assert for_tests
    assert for_tests[1].split() == list(
        dict.fromkeys(name for part in machine.TEST_NEEDS.values() for name in part)
    )


def test_what_was_not_tried_says_so() -> None:
    section = README.partition("## On AWS")[2].partition("\n## ")[0]
    assert section.strip().startswith("**Not tried on AWS yet**")
    for setting in re.findall(r"`(\w+) = ", section):
        assert setting in DEFAULTS
    assert Lab(target="aws").settings.target == "aws"
