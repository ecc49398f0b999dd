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
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from osawslab.errors import LabTimeout

MOST = 50  # things that may have come and gone in one place
SEEN_SECONDS = 30.0  # what was made is shown within seconds: "Eventual consistency in the EC2 API"
PAUSE_SECONDS = 1.0
UNKNOWN = tuple(  # "Eventual consistency in the EC2 API": for an id that EC2 has just given
    f"Invalid{kind}.NotFound"
    for kind in ("AllocationID", "AttachmentID", "Group", "InstanceID", "InternetGatewayID",
                 "KeyPair", "NetworkInterfaceID", "RouteTableID", "SubnetID", "VpcID")
)  # fmt: skip
DONE = {  # call -> what EC2 says to a second one just like the first: code -> some of its words
    "AttachInternetGateway": {"Resource.AlreadyAssociated": ""},
    "AttachNetworkInterface": {"InvalidParameterValue": "in use"},
    "AuthorizeSecurityGroupIngress": {"InvalidPermission.Duplicate": ""},
    "CreateRoute": {"RouteAlreadyExists": ""},
    "DisassociateAddress": {"InvalidAssociationID.NotFound": ""},
    "UnassignPrivateIpAddresses": {"InvalidParameterValue": "not assigned"},
}

Resource = Mapping[str, Any]
T = TypeVar("T")


def token(place: str, number: int) -> str:
    """Give the token of the thing with that number in a place; at most 64 characters."""
    return "osawslab-" + hashlib.sha256(f"{place}/{number}".encode()).hexdigest()[:48]


def until(
    holds: Callable[[], object], seconds: float, pause: float, codes: Iterable[str] = ()
) -> bool:
    """Have a waiter of botocore's look until something holds; False when that takes too long.

    A refusal with one of the codes is asked again. Raises the ClientError that is the last.
    """
    from botocore.exceptions import ClientError, WaiterError
    from botocore.waiter import NormalizedOperationMethod, SingleWaiterConfig, Waiter

    refused: list[ClientError] = []
    end = time.monotonic() + seconds

    def look() -> dict[str, bool]:
        refused.clear()
        try:
            return {"holds": bool(holds()), "late": time.monotonic() > end}
        except ClientError as error:
            refused.append(error)
            raise

    again = [{"matcher": "error", "expected": code, "state": "retry"} for code in codes]
    told = {"matcher": "path", "argument": "holds", "expected": True, "state": "success"}
    late = {"matcher": "path", "argument": "late", "expected": True, "state": "failure"}
    config = {
        "operation": "look",
        "delay": pause,
        "maxAttempts": 1 + int(seconds / max(pause, 0.001)),
        "acceptors": [told, late, *again],
    }
    try:
        Waiter("until", SingleWaiterConfig(config), NormalizedOperationMethod(look)).wait()
    except WaiterError as error:
        if error.kwargs["name"] != "until":  # one inside of `holds`
            raise
        if refused:
            raise refused[0] from None
        return False
    return True


def until_seen(look: Callable[[], list[T]]) -> list[T]:
    """Look until something is seen, a bounded time; empty when nothing is."""
    found: list[T] = []

    def seen() -> bool:
        found[:] = look()
        return bool(found)

    until(seen, SEEN_SECONDS, PAUSE_SECONDS)
    return found


def until_known(do: Callable[[], object]) -> None:
    """Do it, and again a bounded time while EC2 does not know what was made a moment before.

    What it refuses because an earlier try was carried out, whose answer was lost, is done. Raises
    what `do` raises.
    """
    from botocore.exceptions import ClientError

    def done() -> bool:
        try:
            do()
        except ClientError as error:
            if not carried_out(error):
                raise
        return True

    until(done, SEEN_SECONDS, PAUSE_SECONDS, UNKNOWN)


def carried_out(error: Any) -> bool:
    """Say whether a ClientError only tells that botocore's first try was carried out."""
    said, about = error.response["Error"], error.response.get("ResponseMetadata", {})
    words = DONE.get(error.operation_name, {}).get(str(said["Code"]))
    return bool(about.get("RetryAttempts")) and words is not None and words in said["Message"]


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
