"""What a launch asks for, so that a lab is safe to have in an account."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from osawslab import Lab


@pytest.mark.kernel
def test_a_launch_asks_for_what_is_safe_and_not_dear(new_lab: Callable[..., Lab]) -> None:
    lab = new_lab("hard", instance_type="t3.large")
    ec2, asked = lab.client(), {}

    def launch(params: dict[str, Any], **_: Any) -> None:
        asked.update(params)

    ec2.meta.events.register("provide-client-params.ec2.RunInstances", launch)
    assert lab.provision().ok
    [found] = ec2.describe_instances()["Reservations"]
    instance = found["Instances"][0]
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
    assert asked["CreditSpecification"] == {"CpuCredits": "standard"}
