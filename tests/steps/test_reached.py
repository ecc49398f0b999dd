"""How far a lab is: noted on its instance by each step, and taken back."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError

from osawslab import Lab
from osawslab.steps.reached import last

TOUR = ("a", "b", "c")


@pytest.mark.parametrize(
    ("before", "step", "ok", "after"),
    [
        ("", "a", True, "a"),
        ("a", "c", True, "c"),
        ("c", "a", True, "c"),  # run again
        ("c", "c", False, "b"),
        ("c", "a", False, ""),
        ("a", "c", False, "a"),
        ("what an older version noted", "b", True, "b"),
    ],
)
def test_the_last_step_that_holds(before: str, step: str, ok: bool, after: str) -> None:
    assert last(TOUR, before, step, ok) == after


@pytest.mark.kernel
def test_it_is_noted_on_the_instance(new_lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    lab: Lab = new_lab("noted", learner="ann")

    def noted() -> tuple[str, str]:
        [found] = lab.labs()
        return found.step, found.learner

    lab.provision()
    assert noted() == ("provision", "ann")
    lab.install_cloud()
    lab.provider_nic()
    assert noted() == ("provider_nic", "ann")
    asked: list[str] = []
    ask = BaseClient._make_api_call

    def listening(client: Any, operation: str, given: Any) -> Any:
        asked.append(operation)
        if operation == "CreateTags" and refuse:
            raise ClientError({"Error": {"Code": "UnauthorizedOperation"}}, operation)
        return ask(client, operation, given)

    refuse = False
    monkeypatch.setattr(BaseClient, "_make_api_call", listening)
    lab.provision()
    assert "CreateTags" not in asked  # nothing has changed
    assert noted() == ("provider_nic", "ann")
    lab.reset("provider_nic")
    assert noted() == ("install_cloud", "ann")
    refuse = True
    assert lab.provider_nic().ok  # who may not note it, goes on without
    assert noted() == ("install_cloud", "ann")
