"""Make a thing once, however often it is asked for: EC2's client tokens.

EC2 gives the answer to a creating call again when it comes with the same token and the same
parameters ("Ensuring idempotency in Amazon EC2 API requests"). The tokens of a lab follow from what
the thing stands in, the VPC or the instance, which has another id in the lab's next life. A token
stays used after its thing has gone, for a day or more, while the thing itself is shown for an hour
at most: so the tokens of one place are numbered, and the first whose thing is not gone counts.
"""

from __future__ import annotations

import functools
import hashlib
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from osawslab.errors import LabTimeout

MOST = 50  # things that may have come and gone in one place
SEEN_SECONDS = 30.0  # what was made is shown within seconds: "Eventual consistency in the EC2 API"
PAUSE_SECONDS = 1.0

Resource = Mapping[str, Any]
T = TypeVar("T")


def token(place: str, number: int) -> str:
    """Give the token of the thing with that number in a place; at most 64 characters."""
    return "osawslab-" + hashlib.sha256(f"{place}/{number}".encode()).hexdigest()[:48]


def until_seen(look: Callable[[], list[T]]) -> list[T]:
    """Look until something is seen, a bounded time; empty when nothing is."""
    end = time.monotonic() + SEEN_SECONDS
    while not (found := look()) and time.monotonic() < end:
        time.sleep(PAUSE_SECONDS)
    return found


def until_known(do: Callable[[], object]) -> None:
    """Do it, and again a bounded time while EC2 does not know what was made a moment before.

    "Eventual consistency in the EC2 API": `Invalid….NotFound` for an id it has just given. Raises
    what `do` raises.
    """
    from botocore.exceptions import ClientError

    end = time.monotonic() + SEEN_SECONDS
    while True:
        try:
            do()
        except ClientError as error:
            code = str(error.response["Error"]["Code"])
            if not code.endswith(".NotFound") or time.monotonic() > end:
                raise
        else:
            return
        time.sleep(PAUSE_SECONDS)


def make(
    place: str,
    call: Callable[[str], Resource | None],
    look: Callable[[str, Resource | None], list[Resource]],
    lives: Callable[[Resource], bool] = lambda each: True,
) -> Resource:
    """Make the thing of a place, or get the one that an earlier call with its token made.

    `call` gets the token, and gives the answer. `look` gets both, and lists what EC2 shows: the
    answer is None where the token was used with other parameters. Raises ClientError, LabTimeout.
    """
    from botocore.exceptions import ClientError

    for key in (token(place, number) for number in range(MOST)):
        made: Resource | None = None
        try:
            made = call(key)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code == "IdempotentInstanceTerminated":
                continue
            if code != "IdempotentParameterMismatch":
                raise
        for each in until_seen(functools.partial(look, key, made)):
            if lives(each):
                return each
    raise LabTimeout(
        f"what was made {MOST} times in {place} has never been seen",
        next="lab.tear_down(), then lab.provision()",
    )
