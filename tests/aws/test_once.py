"""Waiting by botocore's waiters, and what a lost answer leaves."""

from __future__ import annotations

import time

import pytest
from botocore.exceptions import ClientError, WaiterError

from osawslab.aws import once


def refusal(call: str, code: str, message: str = "", tries: int = 0) -> ClientError:
    said = {"Code": code, "Message": message}
    return ClientError({"Error": said, "ResponseMetadata": {"RetryAttempts": tries}}, call)


@pytest.mark.parametrize(
    ("error", "done"),
    [
        (refusal("AttachInternetGateway", "Resource.AlreadyAssociated", tries=1), True),
        (refusal("AttachInternetGateway", "Resource.AlreadyAssociated"), False),  # a stranger's
        (refusal("AttachInternetGateway", "DependencyViolation", tries=1), False),
        (refusal("AssociateAddress", "Resource.AlreadyAssociated", tries=1), False),
        (refusal("DisassociateAddress", "InvalidAssociationID.NotFound", tries=1), True),
        (refusal("DisassociateAddress", "InvalidAssociationID.NotFound"), False),
        (refusal("UnassignPrivateIpAddresses", "InvalidParameterValue", "not assigned", 1), True),
        (refusal("AttachNetworkInterface", "InvalidParameterValue", "is in use.", 2), True),
        (refusal("AttachNetworkInterface", "InvalidParameterValue", "Invalid value", 2), False),
    ],
    ids=str,
)
def test_a_second_try_that_is_refused_for_the_first(error: ClientError, done: bool) -> None:
    assert once.carried_out(error) == done


def test_a_wait_has_a_bound_in_time_and_one_in_tries() -> None:
    looks: list[int] = []
    assert not once.until(lambda: looks.append(1), 0.0, 0.0)
    assert len(looks) == 1
    assert not once.until(lambda: time.sleep(0.05), 0.2, 0.001)
    assert once.until(lambda: looks, 0.0, 0.0)


def test_what_is_raised_inside_comes_out() -> None:
    inner = WaiterError(name="InstanceRunning", reason="it ended", last_response={})

    def fail(error: Exception) -> None:
        raise error

    for error in (inner, refusal("CreateVpc", "VpcLimitExceeded")):
        with pytest.raises(type(error)) as caught:
            once.until(lambda e=error: fail(e), 1.0, 0.01, once.UNKNOWN)  # type: ignore[misc]
        assert caught.value is error
