"""A class of two: the trainer breaks their seats, and sees who has found what."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from place import leads_to

from osawslab import Lab, cli, seats, training
from osawslab.errors import BadSetting
from osawslab.region import local

pytestmark = pytest.mark.kernel
PLACE = "training-place"


@pytest.fixture(scope="module")
def account(home: Path) -> Iterator[None]:
    """Lead to an account with nothing in it."""
    region = local.ensure(PLACE)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (leads_to(region) | {"OSAWSLAB_NAME": "group"}).items():
            patch.setenv(name, value)
        yield


def quiet(text: str) -> None:
    """Say nothing."""


def test_each_seat_gets_its_faults(account: None, new_lab: Callable[..., Lab], capsys: Any) -> None:
    lab = new_lab("group", pay_up_to=100)
    assert seats.make(lab, 2, ["ann", "bob"], "publish_vm", quiet).ok
    for wrong in (["07=router"], ["routr"]):
        with pytest.raises(BadSetting):
            training.give(lab, wrong, quiet)
    found = training.give(lab, ["router", "02=dnat-missing"], quiet)
    assert found.ok, found.text
    told = [(each["lab"], each["learner"], each["exercise"]) for each in found.data["labs"]]
    assert told == [("group-01", "ann", "router"), ("group-02", "bob", "dnat-missing")]
    with seats.seat(lab, "group-02") as bob:
        assert not bob.exercise().check()
        bob.exercise().answer("dnat")
        bob.publish_vm()
        assert bob.exercise().check()
    assert cli.main(["exercise", "--all", "--json"]) == 0
    labs = json.loads(capsys.readouterr().out)["labs"]
    assert [(each["lab"], each["found"], each["state"]) for each in labs] == [
        ("group-01", 0, "broken"), ("group-02", 1, "done"),
    ]  # fmt: skip

    # A seat that is broken still is said, and the other one goes on.
    again = training.give(lab, ["wire"], quiet)
    assert list(again.trouble) == ["group-01"]
    assert "still broken" in again.text
    assert seats.give_back(lab, False, quiet).ok
