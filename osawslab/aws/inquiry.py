"""Ask an account something, and take an answer or a refusal. Changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from osawslab.aws.facts import Facts
from osawslab.errors import LabError
from osawslab.report import Check
from osawslab.settings import Settings
from osawslab.target import Target

HOME = "us-east-1"  # a region that every account of AWS's first partition has
FORBIDDEN = ("UnauthorizedOperation", "AccessDenied", "AccessDeniedException")


@dataclass(frozen=True)
class Row(Check):
    """A check of the account."""

    fatal: bool = False  # not so, a step is sure to fail


@dataclass(frozen=True)
class Refusal:
    """What was said instead of an answer: EC2's code, or the kind of botocore's error."""

    code: str
    message: str
    date: str = ""  # the HTTP header of the answer

    def __str__(self) -> str:
        return f"{self.code}: {self.message.split(' Encoded authorization')[0]}"


@contextmanager
def refusals(told: list[Refusal]) -> Iterator[None]:
    """Keep what AWS or botocore refuses in the block."""
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.parsers import ResponseParserError

    try:
        yield
    except ClientError as error:
        said, about = error.response["Error"], error.response.get("ResponseMetadata", {})
        date = about.get("HTTPHeaders", {}).get("date", "")
        told.append(Refusal(str(said.get("Code")), str(said.get("Message")), date))
    except LabError as error:
        told.append(Refusal(type(error).__name__, error.what))
    except (BotoCoreError, ResponseParserError, OSError) as error:
        told.append(Refusal(type(error).__name__, str(error)))


def attempt(call: Callable[[], Any]) -> Any:
    """Give what a call answers, or its Refusal."""
    told: list[Refusal] = []
    with refusals(told):
        return call()
    return told[0]


class Inquiry:
    """An account, what the lab has in it already, and what was answered so far."""

    def __init__(self, target: Target, settings: Settings, have: Facts, image: str = "") -> None:
        self.target = target
        self.settings = settings
        self.have = have
        self.image = image  # the id of the AMI the lab starts from; "": Debian's current one
        self._client: Callable[..., Any] = target.client
        self._answers: dict[str, Any] = {}

    @contextmanager
    def listening(self) -> Iterator[dict[str, bool]]:
        """Note which of EC2's and Systems Manager's calls are allowed: IAM's action -> allowed."""
        heard: dict[str, bool] = {}

        def after(model: Any, parsed: Any, **_: Any) -> None:
            action = f"{model.service_model.signing_name}:{model.name}"
            code = parsed.get("Error", {}).get("Code")
            if code is None or code in FORBIDDEN:
                heard[action] = code is None

        clients = [self._client(service) for service in ("ec2", "ssm")]
        for client in clients:
            client.meta.events.register("after-call", after, unique_id="preflight")
        try:
            yield heard
        finally:
            for client in clients:
                client.meta.events.unregister("after-call", unique_id="preflight")

    def ask(self, service: str, call: str, region: str = "", **how: Any) -> Any:
        """Give boto3's answer or a Refusal; the same question is asked once."""
        key = f"{service} {call} {region} {how!r}"
        if key not in self._answers:
            self._answers[key] = attempt(
                lambda: getattr(self._client(service, *([region] * bool(region))), call)(**how)
            )
        return self._answers[key]

    def ask_anywhere(self, service: str, call: str, **how: Any) -> Any:
        """Ask in the lab's region, and where that does not answer in one that every account has.

        A region that is misspelt has no API; one that is not enabled knows no account's keys.
        """
        here = self.ask(service, call, **how)
        if not isinstance(here, Refusal) or self.settings.region == HOME:
            return here
        there = self.ask(service, call, HOME, **how)
        return here if isinstance(there, Refusal) else there

    def every(self, call: str, listed: str, **how: Any) -> Any:
        """List all that a describe call of EC2's finds, page by page, or give the Refusal."""

        def pages() -> list[Any]:
            found = self._client("ec2").get_paginator(call).paginate(**how)
            return [each for page in found for each in page[listed]]

        return attempt(pages)

    def kind(self, instance_type: str) -> Any:
        """Give what EC2 says of an instance type, or its Refusal."""
        found = self.ask("ec2", "describe_instance_types", InstanceTypes=[instance_type])
        return found if isinstance(found, Refusal) else found["InstanceTypes"][0]


def unknown(what: str, expected: str, why: object) -> Row:
    """Say that something cannot be known before; that is no failure."""
    return Row(what, expected, f"not known: {why}", True)
