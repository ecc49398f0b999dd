"""The IAM policy: it allows what the lab asks AWS for, and nothing else."""

from __future__ import annotations

import ast
import json
import re
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import boto3
import botocore.client
import parliament
import pytest

import osawslab
from osawslab import Lab
from osawslab.testing import fresh_home

ROOM = Path(osawslab.__file__).parent
TEXT = (ROOM / "aws" / "policy.json").read_text()
STATEMENTS: list[dict[str, Any]] = json.loads(TEXT)["Statement"]
SERVICES = {
    "ec2": "ec2", "ssm": "ssm", "pricing": "pricing", "service-quotas": "servicequotas",
    "iam": "iam",
}  # fmt: skip
FREE = {"sts:GetCallerIdentity"}  # "No permissions are required to perform this operation" (STS)


def words(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


ALLOWED = {action for each in STATEMENTS for action in words(each["Action"])}


def methods(service: str) -> dict[str, str]:
    """Map the methods of a client to the calls they make."""
    client = boto3.client(
        service, region_name="us-east-1", aws_access_key_id="none", aws_secret_access_key="none"
    )
    return dict(client.meta.method_to_api_mapping)


@pytest.fixture(scope="module")
def written() -> set[str]:
    """Find every call that the code can make: a method of a client, by attribute or by name."""
    found = set()
    for service, prefix in SERVICES.items():
        calls = methods(service)
        for path in ROOM.rglob("*.py"):
            if "region" in path.parts or "openstack" in path.parts:
                continue  # AWS itself, and another cloud whose methods have the same names
            for node in ast.walk(ast.parse(path.read_text())):
                name = getattr(node, "attr", None) or getattr(node, "value", None)
                if isinstance(name, str) and name in calls:
                    found.add(f"{prefix}:{calls[name]}")
    return found


@pytest.fixture(scope="module")
def called() -> set[str]:
    """Record every call of a whole lab: each step run, again, looked at, undone."""
    found: set[str] = set()
    make = botocore.client.BaseClient._make_api_call

    def recorded(client: Any, operation: str, given: Any) -> Any:
        prefix = SERVICES.get(client.meta.service_model.service_name, "sts")
        found.add(f"{prefix}:{operation}")
        return make(client, operation, given)

    with fresh_home() as folder, pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(botocore.client.BaseClient, "_make_api_call", recorded)
        with Lab() as lab:
            for step in (*lab.steps, *lab.steps):
                assert lab.run(step).ok
            lab.status()
            assert lab.tear_down().ok
    return found


def test_every_call_of_a_lab_is_allowed(called: set[str]) -> None:
    assert len(called) > 25
    assert called - FREE - ALLOWED == set()


def test_nothing_is_allowed_that_the_code_does_not_call(written: set[str]) -> None:
    assert len(written) > 35
    assert written - FREE == ALLOWED


def test_a_linter_finds_nothing() -> None:
    found = parliament.analyze_policy_string(TEXT).findings
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
    "RouteToTheInternetInATableThatEc2HasMadeWithoutTags": "EC2 makes it with the VPC, untagged",
}


def test_each_exception_is_one() -> None:
    assert set(WITHOUT_OUR_TAG) <= {each["Sid"] for each in STATEMENTS}
