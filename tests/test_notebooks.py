"""Hold the notebooks against what each must have; run them in cases that are not the committed one.

nbval compares what they show, in the committed case: a fresh lab each, t2 with Open vSwitch. Here
one lab goes through them, as a learner's does, in each of the other cases, and the exercises are
run. On t3 nothing may have a learner ask the NIC's driver for what it refuses: another MAC.
"""

from __future__ import annotations

import ast
import copy
import fcntl
import html
import json
import os
import re
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest

from osawslab.cloud.handbuilt import REFUSAL
from osawslab.lab import Lab
from osawslab.region import local
from osawslab.steps.hints import HINTS
from osawslab.testing import fresh_home

SCRIPT = runpy.run_path(str(Path(__file__).with_name("regenerate_notebooks.py")))
FOLDER: Path = SCRIPT["NOTEBOOKS"]
STEPS = {  # notebook -> the steps it is about
    "00-start": (),
    "10-provision": ("provision",),
    "20-install-cloud": ("install_cloud",),
    "30-provider-nic": ("provider_nic",),
    "40-networks": ("networks",),
    "50-see-the-drop": ("see_the_drop",),
    "60-swap-mac": ("swap_mac", "verify"),
    "70-publish-vm": ("publish_vm",),
    "80-make-it-last": ("make_it_last",),
    "90-tear-down": ("tear_down",),
}
NAMES = tuple(STEPS)
EXERCISES = tuple(
    f"clinic/{name}" for name in ("1-router", "2-wire", "3-books", "4-half", "5-two", "6-hidden")
)
# no chapters
EXPERIMENTS = ("experiments/matrix", *EXERCISES, "clinic/solutions/solutions")
PARTS = ("where", "lab", "catch-up", "predict", "check", "hints", "trouble", "try", "panel", "next")
PACKAGES = ("boto", "ec2.", "lab.connection()", "pandas", "drops_chart", "osawslab.ui.panel")
FENCE = re.compile(r"^ *```python\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
CHECK = re.compile(r'lab\.check\("(\w+)"\)')
LINUX, NITRO = {"OSAWSLAB_BRIDGE": "linux"}, {"OSAWSLAB_INSTANCE_TYPE": "t3.large"}
# what is not as in the committed case, and the notebooks that are run so
CASES = {
    "Linux bridges": (LINUX, NAMES),
    "Nitro": (NITRO, NAMES),
    "Linux bridges, Nitro": (LINUX | NITRO, ("30-provider-nic", "60-swap-mac", "70-publish-vm")),
}
RUNS = [(case, name) for case, (_, names) in CASES.items() for name in names]
# Another MAC for the NIC, by whatever name: what the driver of a Nitro type refuses.
NIC = r"(eth1|ens6|\{nic\}|\$nic)"
REFUSED = re.compile(rf"macchanger +-|link set (dev )?{NIC} [^;&|]*\baddress\b|ifconfig {NIC} hw\b")
SHARED_ENTRY = "the bridge's forwarding entry for that MAC"  # Linux bridges, Nitro
LISTEN = """
import json
from osawslab.host.ssh import SshHost
commands, run = [], SshHost.run

def noted(self, command, *more):
    if not command.startswith("exec python3 -c"):  # a program of the lab's, packed
        commands.append(command)
    return run(self, command, *more)

SshHost.run = noted
"""


def read(name: str) -> Any:
    return nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)


def cells(name: str) -> dict[str, Any]:
    return {cell.id: cell for cell in read(name).cells}


def exercises(text: str) -> list[str]:
    """Take the Python out of a text of Markdown, without the indentation of its list."""
    blocks = []
    for block in FENCE.findall(text):
        lines = block.splitlines()
        indent = min(len(line) - len(line.lstrip()) for line in lines if line.strip())
        blocks.append("\n".join(line[indent:] for line in lines))
    return blocks


def code(name: str) -> list[str]:
    """List all Python of a notebook, the exercises too."""
    found = []
    for cell in read(name).cells:
        found += [cell.source] if cell.cell_type == "code" else exercises(cell.source)
    return found


def rows(text: str) -> list[list[str]]:
    """Read the rows of a Markdown table, without its head."""
    table = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in table[2:]]


def test_there_are_these_notebooks_and_no_others() -> None:
    found = {str(path.relative_to(FOLDER).with_suffix("")) for path in FOLDER.rglob("*.ipynb")}
    assert found == {*NAMES, *EXPERIMENTS}


@pytest.mark.parametrize("name", [*NAMES, *EXPERIMENTS])
def test_a_saved_notebook_has_no_noise(name: str) -> None:
    notebook = read(name)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    assert notebook.metadata == SCRIPT["METADATA"]
    ids = [cell.id for cell in notebook.cells]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", each) for each in ids)
    counts = []
    for cell in notebook.cells:
        wanted = ["nbval-ignore-output"] if cell.id in ("panel", "player") else None
        assert cell.metadata == ({"tags": wanted} if wanted else {})
        if cell.cell_type == "code":
            counts.append(cell.execution_count)
            for output in cell.outputs:
                assert output.output_type in ("execute_result", "display_data", "stream")
                assert output.get("name") != "stderr"
                assert SCRIPT["WIDGET"] not in output.get("data", {})
    assert counts == list(range(1, len(counts) + 1))


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_says_nothing_of_the_machine_that_ran_it(name: str) -> None:
    text = (FOLDER / f"{name}.ipynb").read_text()
    for word in (" at 0x", "/tmp/", "/home/", str(FOLDER.parent), sys.prefix):
        assert word not in text
    assert not re.search(r"simulat|\bfake|mock", text, re.IGNORECASE)


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_has_all_its_parts_in_order(name: str) -> None:
    ids = [cell.id for cell in read(name).cells]
    at = [ids.index(part) for part in PARTS]
    assert at == sorted(at)
    where = cells(name)["where"].source
    assert f"Notebook {NAMES.index(name) + 1} of 10 · about " in where
    assert "costs nothing" in where
    if STEPS[name]:
        assert ids.index("predict") < ids.index("step") < ids.index("check")
        assert "step" in ids
        assert "why" in ids


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_can_be_opened_first(name: str) -> None:
    first, second = (cell for cell in read(name).cells if cell.cell_type == "code"
                     and cell.id in ("lab", "catch-up"))  # fmt: skip
    assert first.source == "from osawslab import Lab\n\nlab = Lab()"
    assert second.source == f'lab.catch_up("{(*STEPS[name], "provision")[0]}")'
    assert second.outputs == []
    steps = [
        source for source in code(name) if re.search(r"lab\.(plan|shell|check|client)", source)
    ]
    assert code(name).index(second.source) < min(code(name).index(each) for each in steps)


@pytest.mark.parametrize("name", NAMES)
def test_the_question_has_one_right_answer_and_every_wrong_one_is_told_why(name: str) -> None:
    text = cells(name)["predict"].source
    letters = re.findall(r"^- \*\*([A-F])\.\*\* ", text, re.MULTILINE)
    answers = dict(
        re.findall(r"<summary>([A-F])</summary>\n\n(.*?)\n\n</details>", text, re.DOTALL)
    )
    assert len(letters) >= 3
    assert list(answers) == letters
    assert [why.split()[0] for why in answers.values()].count("Yes.") == 1
    assert all(why.startswith(("Yes. ", "No. ")) and len(why) > 80 for why in answers.values())


@pytest.mark.parametrize("name", NAMES)
def test_the_hints_are_the_labs_own(name: str) -> None:
    found = re.findall(
        r"<summary>Hint ([123]): [^<]*</summary>\n\n(.*?)\n\n</details>",
        cells(name)["hints"].source,
        re.DOTALL,
    )
    steps = STEPS[name] or ("provision",)
    assert found == [(str(n + 1), text) for step in steps for n, text in enumerate(HINTS[step])]


@pytest.mark.parametrize("name", NAMES)
def test_what_a_notebook_types_exists(name: str) -> None:
    text = "\n".join(cell.source for cell in read(name).cells)
    for source in code(name):
        ast.parse(source)
    for used, argument in re.findall(r'\blab\.([a-z_]+)\b(?:\("(\w+)")?', text):
        if used == "toml":
            continue
        assert hasattr(Lab(), used), used
        if used in ("plan", "check", "reset", "catch_up", "hint") and argument != "make_tea":
            assert argument in HINTS
    for link in re.findall(r"\]\(([^)]*)\)", text):
        assert link.startswith("https://") or (FOLDER / link).is_file(), link
    for command in re.findall(r"`\./lab ([a-z]+)", text):
        assert command in ("start", "doctor", "down", "region"), command


@pytest.mark.parametrize("name", EXERCISES)
def test_an_exercise_asks_and_tells_no_answer(name: str) -> None:
    from osawslab.clinic.places import PLACES
    from osawslab.exercises.catalogue import EXERCISES as known
    from osawslab.faults.catalogue import FAULTS

    kind = name.partition("-")[2]
    parts = ("where", "begin", "tried", "places", "answer", "panel", "check", "next")
    ids = [cell.id for cell in read(name).cells]
    assert [each for each in ids if each in parts] == list(parts)
    assert f'lab.exercise("{kind}")' in cells(name)["begin"].source
    assert cells(name)["answer"].source.startswith('answer = ""\n')
    text = (FOLDER / f"{name}.ipynb").read_text()
    for fault in known[kind].faults(1):
        assert fault in PLACES or fault not in text
        assert f"right: {FAULTS[fault].station}" not in text
    for link in re.findall(r"\]\(([^)]*)\)", text):
        assert ((FOLDER / name).parent / link).is_file(), link


def test_every_package_does_something() -> None:
    text = "\n".join(source for name in NAMES for source in code(name))
    assert all(package in text for package in PACKAGES)


def test_cleaning_drops_widgets_and_what_differs_between_machines() -> None:
    view = {"data": {SCRIPT["WIDGET"]: {}, "text/plain": "VBox"}, "output_type": "display_data"}
    kept = {"data": {"text/plain": "kept"}, "output_type": "display_data", "metadata": {}}
    made = nbformat.v4.new_code_cell(
        "panel()", outputs=[nbformat.from_dict(view | {"metadata": {}}), nbformat.from_dict(kept)]
    )
    made.metadata = nbformat.from_dict({"execution": {"x": "now"}, "tags": ["t"]})
    notebook = nbformat.v4.new_notebook(cells=[made], metadata={"widgets": {}, "toc": {}})
    SCRIPT["clean"](notebook)
    assert notebook.metadata == SCRIPT["METADATA"]
    assert made.metadata == {"tags": ["t"]}
    assert made.outputs == [kept]


@pytest.mark.parametrize("name", NAMES)
def test_no_code_names_the_provider_nic(name: str) -> None:
    assert not re.search(r"\b(eth1|ens5|ens6)\b", "\n".join(code(name)))


@pytest.mark.parametrize("name", [*NAMES, *EXPERIMENTS])
def test_no_text_has_a_learner_change_the_nics_mac(name: str) -> None:
    assert not any(REFUSED.search(cell.source) for cell in read(name).cells)


@pytest.fixture(scope="module")
def learner(request: pytest.FixtureRequest) -> Iterator[str]:
    """Give one lab of a case to all the notebooks that follow."""
    with fresh_home():
        os.environ.update(CASES[request.param][0])
        yield request.param


def strict(name: str) -> Any:
    """Give a notebook whose checks must hold, and whose exercises are run after it."""
    notebook = copy.deepcopy(read(name))
    notebook.cells.insert(0, nbformat.v4.new_code_cell(LISTEN))
    for cell in notebook.cells:
        found = CHECK.fullmatch(cell.source)
        if cell.cell_type == "code" and found and STEPS[name]:
            cell.source = holds(found.group(1))
    done = [exercises(cell.source) for cell in notebook.cells if cell.id == "try"]
    last = [holds(step) for step in STEPS[name]]
    for source in (*done[0], *last):
        notebook.cells.append(nbformat.v4.new_code_cell(source))
    return notebook


def holds(step: str) -> str:
    return (
        f'import json\nchecks = lab.check("{step}")\nassert checks, checks\n'
        "print(json.dumps([[each.what, each.next] for each in checks.checks]))"
    )


def shown(notebook: Any) -> Iterator[str]:
    """Give the lines of text that a notebook shows."""
    for cell in notebook.cells:
        for each in cell.get("outputs", []):
            data = each.get("data", {"text/plain": each.get("text", "")})
            for kind in ("text/plain", "text/html"):
                yield from re.split(r"\n|<td\b", html.unescape(data.get(kind, "")))


@pytest.mark.kernel
@pytest.mark.parametrize(("learner", "name"), RUNS, indirect=["learner"])
def test_all_checks_hold_in_the_other_cases_and_after_the_exercises(
    name: str, learner: str
) -> None:
    notebook = strict(name)
    notebook.cells.append(nbformat.v4.new_code_cell("print(json.dumps(commands))"))
    SCRIPT["run"](notebook, FOLDER)
    ran = json.loads(notebook.cells.pop().outputs[0].text)
    if "Nitro" in learner:
        told = [each for each in (*ran, *shown(notebook)) if REFUSED.search(each)]
        assert all(f"> {REFUSAL} 2>&1 || true" in each for each in told), told
        assert told or name != "60-swap-mac"  # the one that asks the driver, and keeps its answer
    if not STEPS[name]:
        return
    printed = [
        each.text
        for cell in notebook.cells
        if cell.cell_type == "code" and cell.source.startswith("import json\nchecks")
        for each in cell.outputs
    ]
    checks = {tuple(each) for text in printed for each in json.loads(text)}
    told_rows = {(row[0], row[2].strip("`")) for row in rows(cells(name)["trouble"].source)}
    if learner != "Linux bridges, Nitro":
        told_rows = {row for row in told_rows if row[0] != SHARED_ENTRY}
    assert told_rows == checks
    assert local.find("lab") is not None


@pytest.mark.kernel
def test_a_fresh_home_ends_with_all_that_was_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OSAWSLAB_NAME", "no-part-in-this")
    before = dict(os.environ)
    with fresh_home() as folder:
        assert "OSAWSLAB_NAME" not in os.environ
        assert local.state_home().parent.parent == folder
        local.ensure("lab")
        alive = (local.state_folder("lab") / "alive").open("r+")  # the region's processes lock it
        with pytest.raises(BlockingIOError):
            fcntl.flock(alive, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with alive:
        fcntl.flock(alive, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert not folder.exists()
    assert dict(os.environ) == before
