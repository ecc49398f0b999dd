"""Parameters, filters and ids that EC2's model does not have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Lab = Any  # conftest's


def run_with(**how: Any) -> Callable[[Lab], object]:
    return lambda lab: lab.run(**{"SubnetId": lab.a, **how})


def describe(what: str, **how: Any) -> Callable[[Lab], object]:
    return lambda lab: getattr(lab.ec2, f"describe_{what}")(**how)


def with_mac(lab: Lab) -> None:
    """Send what boto3 itself would refuse."""

    def add(params: dict[str, Any], **_: Any) -> None:
        params["body"]["MacAddress"] = "02:00:00:00:00:01"

    event = "before-call.ec2.CreateNetworkInterface"
    lab.ec2.meta.events.register(event, add, "mac")
    try:
        lab.eni()
    finally:
        lab.ec2.meta.events.unregister(event, add, "mac")


REFUSALS = {
    "another MAC": (
        with_mac,
        "UnknownParameter",
        "The parameter MacAddress is not recognized",
    ),
    "a filter that does not exist": (
        describe("instances", Filters=[{"Name": "colour", "Values": ["red"]}]),
        "InvalidParameterValue",
        "The filter 'colour' is invalid",
    ),
    "a malformed instance id": (
        describe("instances", InstanceIds=["i-nope"]),
        "InvalidInstanceID.Malformed",
        'Invalid id: "i-nope" (expecting "i-...")',
    ),
    "a malformed interface id": (
        describe("network_interfaces", NetworkInterfaceIds=["eni-xyz"]),
        "InvalidNetworkInterfaceId.Malformed",
        'Invalid id: "eni-xyz" (expecting "eni-...")',
    ),
    "a malformed subnet id": (
        run_with(SubnetId="subnet-nope"),
        "InvalidSubnetID.Malformed",
        'Invalid id: "subnet-nope" (expecting "subnet-...")',
    ),
    "a parameter that is missing": (
        lambda lab: lab.ec2.delete_vpc(),
        "MissingParameter",
        "The request must contain the parameter VpcId",
    ),
    "a malformed group id in a list": (
        lambda lab: lab.eni(Groups=["default"]),
        "InvalidGroupId.Malformed",
        'Invalid id: "default" (expecting "sg-...")',
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_what_ec2_refuses(lab: Lab, name: str) -> None:
    lab.refuses(*REFUSALS[name])
