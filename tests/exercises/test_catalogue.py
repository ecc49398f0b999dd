"""The exercises: each choice can be had, is one that packets show, and is told by nobody."""

from __future__ import annotations

import pytest

from osawslab.clinic.places import PLACES
from osawslab.errors import BadSetting
from osawslab.exercises import catalogue
from osawslab.exercises.catalogue import EXERCISES, Exercise
from osawslab.faults.catalogue import FAULTS

HALF = ("snat", "dnat", "forwarding", "guest-way", "filter")  # with these the router's ping passes


@pytest.mark.parametrize("exercise", EXERCISES.values(), ids=EXERCISES)
def test_every_choice_is_of_faults_that_any_lab_can_have_together(exercise: Exercise) -> None:
    assert len(set(exercise.pool)) == len(exercise.pool) >= 3
    for names in exercise.pool:
        faults = [FAULTS[name] for name in names]
        assert len(faults) == exercise.causes
        assert all(not each.bridge and "handbuilt" in each.clouds for each in faults)
        assert len({each.station for each in faults}) == exercise.causes
        assert all(each.goes_with(other) for each in faults for other in faults if each != other)


def test_the_places_are_those_that_the_learner_is_told_of() -> None:
    area = {"router": "router", "wire": "host", "books": "AWS"}
    for name, where in area.items():
        stations = [FAULTS[each].station for names in EXERCISES[name].pool for each in names]
        assert {PLACES[each].area for each in stations} == {where}
    for name in ("half", "two"):
        stations = [FAULTS[each].station for names in EXERCISES[name].pool for each in names]
        assert set(stations) <= set(HALF)
    for outer, inner in EXERCISES["hidden"].pool:
        assert FAULTS[outer].station not in HALF
        assert FAULTS[inner].station in HALF


def test_neighbours_have_different_faults() -> None:
    for exercise in EXERCISES.values():
        assert exercise.faults(1) == exercise.pool[0]
        assert exercise.faults(2) != exercise.faults(1)
        assert exercise.faults(1 + len(exercise.pool)) == exercise.faults(1)


def test_a_trainer_names_faults() -> None:
    found = catalogue.named("nic-down+dnat-missing")
    assert (found.causes, found.heading) == (2, "The trainer's choice")
    assert "nic-down" not in found.told
    assert catalogue.named("router").heading == "Exercise router: one cause, in the router"
    assert found.faults(7) == ("nic-down", "dnat-missing")
    assert catalogue.named("router") is EXERCISES["router"]
    for wrong in ("", "routr", "nic-down+no"):
        with pytest.raises(BadSetting, match="no exercise"):
            catalogue.named(wrong)


@pytest.mark.parametrize("name", ["nic-down+nic-address", "nic-down+nic-down"])
def test_faults_that_do_not_go_together_are_no_exercise(name: str) -> None:
    with pytest.raises(BadSetting, match="do not go together"):
        catalogue.named(name)
