"""What does not exist."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

AMI = "ami-0d13a6d64d13a6d64"
Lab = Any  # conftest's


def run_with(**how: Any) -> Callable[[Lab], object]:
    return lambda lab: lab.run(**{"SubnetId": lab.a, **how})


def describe(what: str, **how: Any) -> Callable[[Lab], object]:
    return lambda lab: getattr(lab.ec2, f"describe_{what}")(**how)


REFUSALS = {
    "an unknown instance": (
        describe("instances", InstanceIds=["i-01234567"]),
        "InvalidInstanceID.NotFound",
        "The instance ID 'i-01234567' does not exist",
    ),
    "an unknown AMI": (
        run_with(ImageId="ami-01234567"),
        "InvalidAMIID.NotFound",
        "The image id '[ami-01234567]' does not exist",
    ),
    "an unknown key": (
        run_with(KeyName="nokey"),
        "InvalidKeyPair.NotFound",
        "The key pair 'nokey' does not exist",
    ),
    "a tag for an unknown subnet": (
        lambda lab: lab.ec2.create_tags(
            Resources=["subnet-01234567"], Tags=[{"Key": "a", "Value": "b"}]
        ),
        "InvalidSubnetID.NotFound",
        "The subnet ID 'subnet-01234567' does not exist",
    ),
    "an unknown group": (
        lambda lab: lab.eni(Groups=["sg-01234567"]),
        "InvalidGroup.NotFound",
        "The security group 'sg-01234567' does not exist",
    ),
    "an unknown VPC": (
        lambda lab: lab.ec2.delete_vpc(VpcId="vpc-01234567"),
        "InvalidVpcID.NotFound",
        "The vpc ID 'vpc-01234567' does not exist",
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_what_ec2_refuses(lab: Lab, name: str) -> None:
    lab.refuses(*REFUSALS[name])
