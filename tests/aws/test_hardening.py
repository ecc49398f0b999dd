"""What a launch asks for, so that a lab is safe to have in an account."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from osawslab import Lab


@pytest.fixture
def launched(new_lab: Callable[..., Lab]) -> tuple[Any, dict[str, Any]]:
    """Give EC2's client and the instance of a lab that has been provisioned."""
    lab = new_lab("hard", instance_type="t3.large")
    assert lab.provision().ok
    ec2 = lab.client()
    [found] = ec2.describe_instances()["Reservations"]
    return ec2, found["Instances"][0]


@pytest.mark.kernel
def test_a_launch_asks_for_what_is_safe_and_not_dear(launched: tuple[Any, Any]) -> None:
    ec2, instance = launched
    [volume] = ec2.describe_volumes()["Volumes"]
    assert volume["Encrypted"]
    assert volume["VolumeType"] == "gp3"  # which the price is of
    [disk] = instance["BlockDeviceMappings"]
    assert disk["Ebs"]["VolumeId"] == volume["VolumeId"]
    assert disk["Ebs"]["DeleteOnTermination"]
    # Only IMDSv2, whose answer to a PUT does not pass a router: no VM behind one reads it.
    options = instance["MetadataOptions"]
    assert (options["HttpTokens"], options["HttpPutResponseHopLimit"]) == ("required", 1)
    assert "IamInstanceProfile" not in instance
    # A T3 would go on beyond its credits, and AWS would charge for that.
    ask = ec2.describe_instance_credit_specifications
    [credits] = ask(InstanceIds=[instance["InstanceId"]])["InstanceCreditSpecifications"]
    assert credits["CpuCredits"] == "standard"
