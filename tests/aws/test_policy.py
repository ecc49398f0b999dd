"""The IAM policy: it allows what the lab asks AWS for, and nothing else."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import parliament
import pytest
from botocore.client import BaseClient

from osawslab import walked
from osawslab.aws import policy
from osawslab.aws.policy import words
from osawslab.aws.simulation import TOUCHES
from osawslab.steps import tear_down
from osawslab.testing import fresh_home

STATEMENTS = policy.statements()
ALLOWED = policy.allowed()


# What a call makes; the policy lets these alone carry tags of their own.
MAKES = {
    "AllocateAddress": {"elastic-ip"},
    "CreateImage": {"image", "snapshot"},
    "CreateInternetGateway": {"internet-gateway"},
    "CreateNetworkInterface": {"network-interface"},
    "CreateSecurityGroup": {"security-group"},
    "CreateSubnet": {"subnet"},
    "CreateVpc": {"vpc"},
    "ImportKeyPair": {"key-pair"},
    "RunInstances": {"instance", "network-interface", "volume"},
}


@pytest.fixture(scope="module")
def making() -> list[tuple[str, dict[str, Any]]]:
    """Give the list that each making call is written to, with what it was asked with."""
    return []


@pytest.fixture(scope="module")
def called(making: list[tuple[str, dict[str, Any]]]) -> set[str]:
    """Record every call of a lab in all its states, and of the probes."""
    with fresh_home() as folder, pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        ask = BaseClient._make_api_call

        def noted(self: Any, operation: str, given: Any) -> Any:
            if operation in MAKES:
                making.append((operation, given))
            return ask(self, operation, given)

        patch.setattr(BaseClient, "_make_api_call", noted)
        return walked.calls()


@pytest.mark.kernel
def test_the_policy_allows_what_is_called_and_nothing_else(called: set[str]) -> None:
    assert len(called) > 45
    assert called == ALLOWED - policy.TYPED


@pytest.mark.kernel
def test_all_that_is_made_has_our_tag_from_its_making(
    called: set[str], making: list[tuple[str, dict[str, Any]]]
) -> None:
    assert {operation for operation, _ in making} == MAKES.keys()
    for operation, given in making:
        ours = "osawslab:made-of" if operation == "CreateImage" else "osawslab:lab"
        tagged = {
            each["ResourceType"]
            for each in given["TagSpecifications"]
            if ours in [tag["Key"] for tag in each["Tags"]]
        }
        assert tagged == MAKES[operation], operation


def test_tags_of_their_own_are_for_what_makes_something() -> None:
    [tags] = [each for each in STATEMENTS if each["Sid"] == "TagItInTheSameCall"]
    assert set(tags["Condition"]["StringEquals"]["ec2:CreateAction"]) == MAKES.keys()


def test_what_no_code_calls_is_what_the_tear_down_tells_to_type() -> None:
    words = Path(tear_down.__file__).read_text()
    for action in policy.TYPED:
        typed = re.sub("(?<=[a-z])(?=[A-Z])", "-", action.removeprefix("ec2:")).lower()
        assert f"aws ec2 {typed} " in words


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
