"""The IAM policy: it allows what the lab asks AWS for, and nothing else."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import Any

import parliament
import pytest

from osawslab import Lab
from osawslab.aws import policy
from osawslab.aws.policy import words
from osawslab.aws.simulation import TOUCHES
from osawslab.testing import fresh_home

STATEMENTS = policy.statements()
ALLOWED = policy.allowed()


@pytest.fixture(scope="module")
def called() -> set[str]:
    """Record every call of a whole lab: each step run, and again, looked at, ended."""
    with fresh_home() as folder, pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        with policy.recording() as found, Lab() as lab:
            for step in (*lab.steps, *lab.steps):
                assert lab.run(step).ok
            assert lab.add_floating_ip().ok
            assert lab.remove_floating_ip("172.16.20.102").ok
            lab.status()
            lab.preflight()
            assert lab.sweep().ok
            assert lab.tear_down().ok
    return found


def test_every_call_of_a_lab_is_allowed(called: set[str]) -> None:
    assert len(called) > 25
    assert called - ALLOWED == set()
    assert called - policy.written() == set()


def test_all_that_the_code_can_call_is_allowed_and_nothing_else() -> None:
    assert len(ALLOWED) > 45
    assert policy.written() | policy.TYPED == ALLOWED


def test_a_linter_finds_nothing() -> None:
    found = parliament.analyze_policy_string(policy.FILE.read_text()).findings
    # It wants each statement to name all that a call touches. Here a call has one for what it
    # makes, and one for what that stands in: their resources are held together below.
    assert [(each.issue, each.detail) for each in found if each.issue != "RESOURCE_MISMATCH"] == []


def definitions() -> dict[str, dict[str, Any]]:
    """Give AWS's own list of what an action touches, by action."""
    return {
        f"{service['prefix']}:{each['privilege']}": each
        for service in parliament.iam_definition
        for each in service["privileges"]
    }


def resources_of(action: str) -> list[str]:
    return [
        arn
        for each in STATEMENTS
        if action in words(each["Action"])
        for arn in words(each["Resource"])
    ]


@pytest.mark.parametrize("action", sorted(ALLOWED))
def test_a_call_has_all_that_it_touches(action: str) -> None:
    touched = [each["resource_type"] for each in definitions()[action]["resource_types"]]
    arns = resources_of(action)
    for kind in (each.rstrip("*") for each in touched if each.endswith("*")):
        assert any(arn == "*" or re.search(rf":(\*|{re.escape(kind)})/", arn) for arn in arns), (
            f"{action} touches a {kind}"
        )


@pytest.mark.parametrize("action", sorted(each for each in ALLOWED if each.startswith("ec2:")))
def test_iam_is_asked_for_all_that_a_call_touches(action: str) -> None:
    told = [each["resource_type"] for each in definitions()[action]["resource_types"]]
    asked = {kind for kind, calls in TOUCHES.items() if action[4:] in calls.split()}
    assert asked <= {each.rstrip("*") for each in told}
    assert asked >= {each.rstrip("*") for each in told if each.endswith("*")}


@pytest.mark.parametrize("action", sorted(ALLOWED))
def test_where_ec2_can_look_at_our_tag_it_does(action: str) -> None:
    keys = {
        key.partition("/")[0]
        for kind in definitions()[action]["resource_types"]
        for key in kind["condition_keys"]
    }
    for each in STATEMENTS:
        if action not in words(each["Action"]):
            continue
        asked = {key for test in each.get("Condition", {}).values() for key in test}
        ours = any(fnmatchcase(key, "aws:*Tag/osawslab:*") for key in asked)
        if action.startswith("ec2:") and {"aws:RequestTag", "aws:ResourceTag"} & keys and not ours:
            assert each["Sid"] in WITHOUT_OUR_TAG


WITHOUT_OUR_TAG = {
    "TagItInTheSameCall": "it allows the tags themselves, in a creating call only",
    "StartFromAnImageOfDebianOrOfOurOwn": "Debian's images are Debian's: the owner is asked for",
    "BreakAndMendAnAclThatEc2HasMadeWithoutTags": "EC2 makes it with the VPC, untagged",
    "RouteToTheInternetInATableThatEc2HasMadeWithoutTags": "EC2 makes it with the VPC, untagged",
}


def test_each_exception_is_one() -> None:
    assert set(WITHOUT_OUR_TAG) <= {each["Sid"] for each in STATEMENTS}
