"""What a launch asks for, so that a lab is safe to have in an account."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from osawslab import Lab


def launched(lab: Lab) -> dict[str, Any]:
    """Provision, and give what the launch asked for."""
    asked: dict[str, Any] = {}

    def launch(params: dict[str, Any], **_: Any) -> None:
        asked.update(params)

    lab.client().meta.events.register("provide-client-params.ec2.RunInstances", launch)
    assert lab.provision().ok
    return asked


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("kind", "options"),
    [("c8i.large", {"NestedVirtualization": "enabled"}), ("t3.large", None), ("t2.large", None)],
)
def test_a_type_that_can_carry_vms_is_asked_to(
    kind: str, options: dict[str, str] | None, new_lab: Callable[..., Lab]
) -> None:
    asked = launched(new_lab(kind.replace(".", "-"), instance_type=kind))
    assert (asked["InstanceType"], asked.get("CpuOptions")) == (kind, options)


@pytest.mark.kernel
def test_a_launch_asks_for_what_is_safe_and_not_dear(new_lab: Callable[..., Lab]) -> None:
    lab = new_lab("hard", instance_type="t3.large")
    ec2, asked = lab.client(), launched(lab)
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
    assert options["HttpEndpoint"] == "enabled"
    assert "IamInstanceProfile" not in instance
    # As it was asked for, whatever EC2 makes of it.
    assert "IamInstanceProfile" not in asked
    assert asked["MetadataOptions"] == {
        "HttpEndpoint": "enabled", "HttpTokens": "required", "HttpPutResponseHopLimit": 1,
    }  # fmt: skip
    assert [each["Ebs"]["Encrypted"] for each in asked["BlockDeviceMappings"]] == [True]
    assert "PRIVATE KEY" not in asked["UserData"]
    # A T3 would go on beyond its credits, and AWS would charge for that.
    assert asked["CreditSpecification"] == {"CpuCredits": "standard"}


PUT = """python3 -c '
import http.client
wire = http.client.HTTPConnection("169.254.169.254", timeout=2)
wire.request("{method}", "{path}", headers={{"X-aws-ec2-metadata-token-ttl-seconds": "60"}})
try:
    print(wire.getresponse().status)
except TimeoutError:
    print("no answer")
'"""


@pytest.mark.kernel
def test_a_tenants_vm_does_not_read_the_metadata(new_lab: Callable[..., Lab]) -> None:
    lab = new_lab("behind")
    lab.catch_up("tear_down")
    ec2, (id,) = lab.client(), (row[1] for row in lab.status().rows if row[0] == "instance")

    def ask(where: str, method: str = "PUT", path: str = "/latest/api/token") -> str:
        return lab.shell(PUT.format(method=method, path=path), where).output

    assert ask("instance") == "200"
    assert ask("vm") == "no answer"
    # What it asked has arrived: without a token it is answered so, and with more hops it has one.
    assert ask("vm", "GET", "/latest/meta-data/") == "401"
    ec2.modify_instance_metadata_options(InstanceId=id, HttpPutResponseHopLimit=2)
    assert ask("vm") == "200"
    [row] = [each for each in lab.check("provision").checks if not each]
    assert (row.what, row.seen) == ("the instance's metadata", "tokens required, hops 2")
    report = lab.provision()
    assert [each.command.split()[2] for each in report.actions] == [
        "modify-instance-metadata-options"
    ]
    assert report.ok
    assert ask("vm") == "no answer"
    ec2.modify_instance_metadata_options(InstanceId=id, HttpTokens="optional")
    assert len(lab.plan("provision").actions) == 1
    ec2.modify_instance_metadata_options(InstanceId=id, HttpEndpoint="disabled")
    assert lab.plan("provision").actions == ()  # closed altogether
    assert ask("instance") == "403"
