"""The least that AWS must allow a lab: a policy written by hand, and what it is held against."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("policy.json")
# Service of boto3 -> the prefix of its actions in IAM ("Service Authorization Reference").
PREFIXES = {
    "ec2": "ec2", "iam": "iam", "pricing": "pricing", "service-quotas": "servicequotas",
    "ssm": "ssm", "sts": "sts",
}  # fmt: skip
FREE = {"sts:GetCallerIdentity"}  # "No permissions are required to perform this operation" (STS)
# No code calls these: the tear-down of a lab with an image of its own tells its owner to type them.
TYPED = {"ec2:DeregisterImage", "ec2:DeleteSnapshot"}


def statements() -> list[dict[str, Any]]:
    """Give the policy's statements."""
    return list(json.loads(FILE.read_text())["Statement"])


def words(value: str | list[str]) -> list[str]:
    """Give what a policy may write as one text or as a list of them."""
    return [value] if isinstance(value, str) else value


def allowed() -> set[str]:
    """Give every action that the policy allows."""
    return {action for each in statements() for action in words(each["Action"])}


@contextlib.contextmanager
def recording() -> Iterator[set[str]]:
    """Collect every action that this process asks for meanwhile."""
    from botocore.client import BaseClient

    found: set[str] = set()
    ask = BaseClient._make_api_call

    def recorded(client: Any, operation: str, given: Any) -> Any:
        action = f"{PREFIXES[client.meta.service_model.service_name]}:{operation}"
        if action not in FREE:
            found.add(action)
        return ask(client, operation, given)

    BaseClient._make_api_call = recorded
    try:
        yield found
    finally:
        BaseClient._make_api_call = ask
