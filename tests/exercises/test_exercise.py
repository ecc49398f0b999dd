"""One lab, broken for a learner: begun twice, answered wrongly, mended by the steps, done."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from osawslab import Lab, cli
from osawslab.errors import BadSetting, StepNotReady
from osawslab.region import local
from osawslab.report import Checks

pytestmark = pytest.mark.kernel
NAME = "training"


@pytest.fixture(scope="module")
def lab(home: Path) -> Iterator[Lab]:
    with Lab(NAME) as made:
        yield made
    local.remove(NAME)


def failed(found: Checks) -> list[str]:
    return [each.what for each in found.checks if not each]


def test_before_anything_is_begun(lab: Lab) -> None:
    with pytest.raises(StepNotReady) as caught:
        lab.exercise()
    assert caught.value.next == 'lab.exercise("router")'
    with pytest.raises(BadSetting, match="no exercise"):
        lab.exercise("routr")
    assert {row[-2] for row in lab.exercises().rows} == {"not begun"}


def test_two_causes_of_which_one_hides_the_other(lab: Lab, new_lab: Callable[..., Lab]) -> None:
    exercise = lab.exercise("hidden", seed=2)  # of a lab that is not up
    assert "2 causes" in repr(exercise)
    assert {row[0] for row in lab.broken().rows} == {"not told"}
    other = new_lab(NAME)  # as another process has it
    assert other.exercise("hidden").score == exercise.score
    assert len(other.broken().rows) == 2  # begun twice, and broken once
    for name, seed in (("router", None), ("hidden", 3)):
        with pytest.raises(StepNotReady, match="still broken"):
            other.exercise(name, seed)
    with pytest.raises(BadSetting, match="no place"):
        exercise.answer("nic-up", "the cable")
    assert exercise.score.found == (False, False)

    # Nothing is seen of the second as long as the first is there.
    first = exercise.check()
    assert "ssh to vm1 from the internet" in failed(first)
    assert first.checks[-1].seen == "2 of 2 is left"
    found = exercise.answer("gateway-mac", "nic-up")
    assert [each.ok for each in found.checks] == [False, True, False]
    assert (exercise.score.found, exercise.score.wrong) == ((True, False), 1)
    lab.shell("ip link set eth1 up")
    second = exercise.check()
    assert "ping 8.8.8.8 from the router" not in failed(second)
    assert "ssh to vm1 from the internet" in failed(second)

    # Hints are about what is not named, and are counted once.
    hints = [exercise.hint(), exercise.hint(1), exercise.hint(), exercise.hint()]
    assert hints[0] == hints[1]
    assert all("for cause 2 of 2" in each for each in hints)
    assert "answer: guest-way" in hints[3]
    assert "route replace default" in hints[3]
    assert exercise.score.hints == (0, 3)

    # The steps mend too.
    assert lab.networks().changed
    third = exercise.check()
    assert failed(third) == ["causes named"]
    assert exercise.score.state == "mended, not all named"
    assert exercise.answer("guest-way")
    assert exercise.check()
    assert exercise.score.done
    assert "seed=3" in repr(other.exercise("hidden"))
    assert "Every cause is named" in exercise.hint()


def test_the_command_goes_on_with_it_and_a_trainer_sees_all(lab: Lab, capsys: Any) -> None:
    def told(*words: str) -> tuple[int, Any]:
        status = cli.main(["exercise", *words, "--json"])
        return status, json.loads(capsys.readouterr().out)

    assert told("begin", "dnat-missing", "--name", NAME)[0] == 0
    status, found = told("check", "--name", NAME)
    assert (status, found["state"], found["found"]) == (1, "broken", 0)
    assert told("answer", "dnat", "--name", NAME)[1]["found"] == 1
    assert "lab.nat()" in told("hint", "2", "--name", NAME)[1]["hint"]
    assert len(told("places", "--name", NAME)[1]["places"]) > 40
    assert lab.mend().changed
    status, found = told("check", "--name", NAME)
    assert (status, found["state"]) == (0, "done")
    rows = [each for each in told("--all")[1]["labs"] if each["lab"] == NAME]
    assert [(each["exercise"], each["state"]) for each in rows] == [
        ("hidden", "done"), ("dnat-missing", "done"),
    ]  # fmt: skip
    choice = lab.exercise("dnat-missing")
    assert "The trainer's choice" in repr(choice)
    assert lab.exercises().rows[-1][1] == "the trainer's choice"
    for text in (repr(choice), repr(lab.exercises()), repr(choice.check()), str(found)):
        assert "dnat-missing" not in text
    assert "Another one" not in repr(choice)


def test_what_this_lab_cannot_have_breaks_nothing(lab: Lab) -> None:
    for name, seed in (("dnat-missing+bridge-down", None), ("router", -1)):
        with pytest.raises(BadSetting):
            lab.exercise(name, seed)
        assert lab.broken().rows == ()
    with pytest.raises(BadSetting, match="no place"):
        lab.exercise().answer("the cable")
    assert not lab.exercise().answer("services")


def test_a_lab_that_does_not_work_is_no_exercise(lab: Lab) -> None:
    lab.break_it("forwarding-off")
    with pytest.raises(StepNotReady, match="broken on purpose already") as caught:
        lab.exercise("router")
    assert caught.value.next == "lab.mend()"
    assert lab.mend().changed
