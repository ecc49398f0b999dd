"""An account that answers from a table: boto3's own clients, and no network."""

from __future__ import annotations

import functools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from fnmatch import fnmatchcase
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
from botocore.validate import validate_parameters

from osawslab.aws import policy
from osawslab.aws.policy import words
from osawslab.target import Target

SESSION = boto3.Session("AKIAEXAMPLE", "secret")
USER = "arn:aws:iam::123456789012:user/learner"
AMI = "ami-0d13a6d64d13a6d64"
HERE = "198.51.100.7"


class Nothing:
    """The vantage of a place that shows nothing."""

    def drops(self) -> dict[str, int] | None:
        return None


class Said:
    """What a service refuses with."""

    def __init__(self, code: str, message: str = "words of AWS's") -> None:
        self.code, self.message = code, message


DRY = Said("DryRunOperation", "Request would have succeeded, but DryRun flag is set.")


def date(ahead: float = 0) -> str:
    """Give an HTTP date so many seconds ahead of now."""
    return format_datetime(datetime.now(UTC) + timedelta(seconds=ahead), usegmt=True)


def quota(asked: dict[str, Any]) -> Any:
    values = {"L-0263D0A3": 5.0, "L-F678F1CE": 5.0, "L-1216C47A": 32.0}
    return {"Quota": {"QuotaCode": asked["QuotaCode"], "Value": values[asked["QuotaCode"]]}}


def kind(name: str, ena: str = "required", nics: int = 4, cpu: str = "x86_64") -> dict[str, Any]:
    """Give an instance type."""
    return {
        "InstanceType": name,
        "NetworkInfo": {"EnaSupport": ena, "MaximumNetworkInterfaces": nics},
        "ProcessorInfo": {"SupportedArchitectures": [cpu]},
        "VCpuInfo": {"DefaultVCpus": 4},
    }


def kinds(asked: dict[str, Any]) -> Any:
    return {
        "InstanceTypes": [
            kind(name, "unsupported" if name.startswith("t2.") else "required")
            for name in asked["InstanceTypes"]
        ]
    }


def offered(*names: str, zone: str = "us-east-1a") -> dict[str, Any]:
    """Give instance types that are offered in a zone."""
    return {
        "InstanceTypeOfferings": [
            {"InstanceType": name, "LocationType": "availability-zone", "Location": zone}
            for name in names
        ]
    }


def image(**more: Any) -> dict[str, Any]:
    """Give an AMI that is to be had."""
    found = {"ImageId": AMI, "State": "available", "Architecture": "x86_64", **more}
    return {"Images": [found]}


def simulation(
    statements: list[dict[str, Any]] | None = None, lacks: tuple[str, ...] = (), **decisions: str
) -> Callable[[dict[str, Any]], Any]:
    """Give IAM's simulation of a policy, one action a page: ours, unless another is given.

    `decisions` are what it says of some actions, whatever the policy has; `lacks` are keys of the
    context that it misses for them.
    """
    held = policy.statements() if statements is None else statements

    def answer(asked: dict[str, Any]) -> Any:
        [resource] = asked.get("ResourceArns", ["*"])
        at = int(asked.get("Marker", 0))
        name = asked["ActionNames"][at]
        context = {e["ContextKeyName"]: e["ContextKeyValues"] for e in asked["ContextEntries"]}
        allowed = any(allows(each, name, resource, context) for each in held)
        decided = decisions.get(name.split(":")[1], "allowed" if allowed else "implicitDeny")
        found = {"EvalActionName": name, "EvalResourceName": resource, "EvalDecision": decided}
        missing = list(lacks) if name.split(":")[1] in decisions else []
        page: dict[str, Any] = {
            "EvaluationResults": [{**found, "MissingContextValues": missing}],
            "IsTruncated": at + 1 < len(asked["ActionNames"]),
        }
        return page | ({"Marker": str(at + 1)} if page["IsTruncated"] else {})

    return answer


def allows(
    statement: dict[str, Any], action: str, resource: str, context: dict[str, list[str]]
) -> bool:
    """Say whether a statement allows a call, as IAM does: it names all, and all tests hold."""
    for kind, tests in statement.get("Condition", {}).items():
        for key, wanted in tests.items():
            wanted = [w.replace("${aws:PrincipalAccount}", "123456789012") for w in words(wanted)]
            told = context.get(key, [])
            fits = [any(fnmatchcase(value, each) for each in wanted) for value in told]
            if not (all(fits) if kind.startswith("ForAllValues") else any(fits)):
                return False
    return any(fnmatchcase(action, each) for each in words(statement["Action"])) and any(
        fnmatchcase(resource, each) for each in words(statement["Resource"])
    )


HEALTHY: dict[str, Any] = {
    "GetCallerIdentity": lambda asked: {
        "Arn": USER, "Account": "123456789012", "UserId": "AIDAEXAMPLE",
        "ResponseMetadata": {"HTTPHeaders": {"date": date()}},
    },
    "DescribeRegions": {
        "Regions": [
            {"RegionName": "us-east-1", "OptInStatus": "opt-in-not-required"},
            {"RegionName": "eu-central-1", "OptInStatus": "opt-in-not-required"},
            {"RegionName": "ap-east-1", "OptInStatus": "not-opted-in"},
        ]
    },
    "GetServiceQuota": quota,
    "GetParameter": {"Parameter": {"Value": AMI}},
    "DescribeImages": image(),
    "DescribeInstanceTypes": kinds,
    "DescribeInstanceTypeOfferings": offered("t2.large", "t3.large", "t3.xlarge"),
    "SimulatePrincipalPolicy": simulation(),
    **dict.fromkeys(
        ("CreateVpc", "CreateInternetGateway", "AllocateAddress", "ImportKeyPair", "RunInstances"),
        DRY,
    ),
}  # fmt: skip


CURRENT: list[Account] = []  # the one that the clients lead to


@functools.cache
def made(service: str, region: str) -> Any:
    """Make a client, once for all accounts: that takes longest."""
    client = SESSION.client(service, region_name=region)
    client.meta.events.register(
        "before-parameter-build",
        lambda params, model, **_: CURRENT[0].calls.append((model.name, dict(params))),
    )
    client.meta.events.register("before-call", lambda **told: CURRENT[0].answer(**told))
    return client


class Account:
    """An account; `answers` are by operation, or by "operation region". Lists are empty else.

    An answer is what boto3 gives, `Said`, an exception, or a function of what is asked.
    """

    def __init__(self, region: str = "us-east-1", **answers: Any) -> None:
        self.region = region
        self.answers = {**HEALTHY, **{key.replace("_in_", " "): a for key, a in answers.items()}}
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def client(self, service: str, region: str = "") -> Any:
        """Give boto3's client, whose calls end here."""
        CURRENT[:] = [self]
        return made(service, region or self.region)

    def answer(self, model: Any, context: Any, **_: Any) -> Any:
        """Answer a call, as botocore hands it over before it is sent."""
        name, asked = self.calls[-1]
        where = context["client_region"]
        answer = self.answers.get(f"{name} {where.replace('-', '_')}", self.answers.get(name))
        if callable(answer):
            answer = answer(asked)
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, Said):
            error = {"Code": answer.code, "Message": answer.message}
            return SimpleNamespace(status_code=400), {"Error": error, "ResponseMetadata": {}}
        if answer is None:
            shapes = model.output_shape.members.items()
            answer = {key: [] for key, shape in shapes if shape.type_name == "list"}
        told = {key: value for key, value in answer.items() if key != "ResponseMetadata"}
        validate_parameters(told, model.output_shape)
        return SimpleNamespace(status_code=200), {"ResponseMetadata": {}, **answer}

    def target(self, caller: Callable[[], str] = lambda: HERE) -> Target:
        """Give the place."""
        return Target(
            self.client, lambda *_: None, Nothing(), Path(), "account", caller_address=caller
        )
