"""The AWS CLI against the region: it makes, waits, takes away; and what it says of a wrong id."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from osawslab import access
from osawslab.region import local

AMI = "ami-0d13a6d64d13a6d64"


class Aws:
    """The program `aws`, led to a region."""

    def __init__(self, region: local.Region) -> None:
        self.environ = {**access.without_clouds(), **access.variables(region)}
        self.start = [access.aws_program(), "--endpoint-url", region.endpoint, "--output", "json"]

    def run(self, words: str, *more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self.start, *words.split(), *more],
            env=self.environ, capture_output=True, text=True, timeout=60,
        )  # fmt: skip

    def __call__(self, words: str) -> Any:
        done = self.run(words)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout) if done.stdout.strip() else None


@pytest.fixture(scope="module")
def aws(home: object) -> Iterator[Aws]:
    yield Aws(local.ensure("cli"))
    local.remove("cli")


def test_a_life(aws: Aws) -> None:
    vpc = aws("ec2 create-vpc --cidr-block 10.9.0.0/16")["Vpc"]["VpcId"]
    subnet = aws(f"ec2 create-subnet --vpc-id {vpc} --cidr-block 10.9.1.0/24")["Subnet"]["SubnetId"]
    gateway = aws("ec2 create-internet-gateway")["InternetGateway"]["InternetGatewayId"]
    aws(f"ec2 attach-internet-gateway --internet-gateway-id {gateway} --vpc-id {vpc}")
    group = aws(f"ec2 create-security-group --group-name c --description c --vpc-id {vpc}")
    group = group["GroupId"]
    aws("ec2 create-key-pair --key-name c --key-type ed25519")
    made = aws(
        f"ec2 run-instances --image-id {AMI} --instance-type t2.large --key-name c"
        f" --subnet-id {subnet} --security-group-ids {group}"
    )["Instances"][0]["InstanceId"]
    aws(f"ec2 wait instance-running --instance-ids {made}")
    nic = aws(f"ec2 create-network-interface --subnet-id {subnet} --groups {group}")
    nic = nic["NetworkInterface"]["NetworkInterfaceId"]
    aws(f"ec2 wait network-interface-available --network-interface-ids {nic}")
    plug = f"--network-interface-id {nic} --instance-id {made} --device-index 1"
    plug = aws(f"ec2 attach-network-interface {plug}")["AttachmentId"]
    eip = aws("ec2 allocate-address --domain vpc")["AllocationId"]
    aws(f"ec2 associate-address --allocation-id {eip} --network-interface-id {nic}")
    [seen] = aws(f"ec2 describe-addresses --allocation-ids {eip}")["Addresses"]
    assert (seen["InstanceId"], seen["NetworkInterfaceId"]) == (made, nic)

    aws(f"ec2 detach-network-interface --attachment-id {plug} --force")
    aws(f"ec2 delete-network-interface --network-interface-id {nic}")
    aws(f"ec2 release-address --allocation-id {eip}")
    aws(f"ec2 terminate-instances --instance-ids {made}")
    aws(f"ec2 wait instance-terminated --instance-ids {made}")
    aws("ec2 delete-key-pair --key-name c")
    aws(f"ec2 detach-internet-gateway --internet-gateway-id {gateway} --vpc-id {vpc}")
    aws(f"ec2 delete-internet-gateway --internet-gateway-id {gateway}")
    aws(f"ec2 delete-subnet --subnet-id {subnet}")
    aws(f"ec2 delete-security-group --group-id {group}")
    aws(f"ec2 delete-vpc --vpc-id {vpc}")
    assert vpc not in str(aws("ec2 describe-vpcs"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("ec2 terminate-instances --instance-ids i-0123456789abcdef0",
         "An error occurred (InvalidInstanceID.NotFound) when calling the TerminateInstances"
         " operation: The instance ID 'i-0123456789abcdef0' does not exist"),
        ("ec2 describe-vpcs --vpc-ids lab", "(InvalidVpcID.Malformed)"),
    ],
)  # fmt: skip
def test_what_it_says_of_a_wrong_id(aws: Aws, words: str, said: str) -> None:
    done = aws.run(words)
    assert done.returncode in (254, 255)  # 255 before version 2
    assert said in done.stderr


def test_quotas(aws: Aws) -> None:
    told = aws("service-quotas list-service-quotas --service-code ec2")["Quotas"]
    assert {each["QuotaCode"]: each["Value"] for each in told} == {
        "L-0263D0A3": 5, "L-1216C47A": 32,
    }  # fmt: skip
    one = aws("service-quotas get-service-quota --service-code vpc --quota-code L-F678F1CE")
    assert one["Quota"]["Value"] == 5
