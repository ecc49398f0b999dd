"""What provision asks before its first change, and what it refuses on the local region."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from account import AMI, HERE, Account, Said

from osawslab import Lab
from osawslab.aws import permissions, preflight
from osawslab.aws.facts import Facts
from osawslab.errors import Refused
from osawslab.region import local
from osawslab.settings import Settings


def test_a_launch_in_nothing_of_ours_says_nothing() -> None:
    account = Account(RunInstances=Said("UnauthorizedOperation"))
    preflight.require(account.target(), Settings(), Facts())
    told = {row.what: row.seen for row in preflight.rows(account.target(), Settings())}
    assert "RunInstances" not in told[permissions.DRY_RUN]
    kinds = [
        each["ResourceType"] for each in dict(account.calls)["RunInstances"]["TagSpecifications"]
    ]
    assert kinds == ["instance", "network-interface", "volume"]


def test_a_lab_that_exists_is_asked_nothing() -> None:
    account = Account()
    thing = {"VpcId": "vpc-1", "InstanceId": "i-1"}
    have = Facts(vpc=thing, instance=thing, addresses={"management": thing, "provider": thing})
    preflight.require(account.target(), Settings(), have)
    assert account.calls == []


def test_for_one_address_only_addresses_are_asked_for() -> None:
    account = Account()
    thing = {"VpcId": "vpc-1", "InstanceId": "i-1"}
    have = Facts(vpc=thing, instance=thing, addresses={"management": thing})
    preflight.require(account.target(), Settings(), have)
    assert [name for name, _ in account.calls] == [
        "DescribeAddresses", "GetServiceQuota", "AllocateAddress"
    ]  # fmt: skip


def test_an_image_of_our_own_is_looked_at() -> None:
    account = Account()
    preflight.require(account.target(), Settings(), Facts(), "ami-0aaaaaaaaaaaaaaaa")
    asked = dict(account.calls)
    assert "GetParameter" not in asked
    assert asked["DescribeImages"] == {"ImageIds": ["ami-0aaaaaaaaaaaaaaaa"]}
    assert asked["RunInstances"]["ImageId"] == AMI


@pytest.mark.kernel
def test_the_local_region_passes_and_refuses_at_its_quotas(
    home: Path, new_lab: Callable[..., Lab]
) -> None:
    here = {"bridge": "linux", "region": "ap-east-1"}  # to be enabled, and without t2
    with pytest.raises(Refused) as caught:
        new_lab("quota", **here).provision()
    assert caught.value.next == 'instance_type = "t3.xlarge" and strategy = "share"'
    lab = new_lab("quota", instance_type="t3.large", **here)
    found = lab.preflight()
    assert found
    seen = {check.what: check.seen for check in found.checks}
    assert seen["region"] == "opted-in"
    assert seen["Elastic IPs"] == "5 left: 0 of 5 in use (Service Quotas)"
    assert seen["VPCs"] == "4 left: 1 of 5 in use (Service Quotas)"
    assert seen["our own public address"] == HERE
    ec2 = lab.client()
    for _ in range(4):
        ec2.allocate_address(Domain="vpc")
    with pytest.raises(Refused) as caught:
        lab.provision()
    assert caught.value.seen == "1 left: 4 of 5 in use (Service Quotas)"
    assert "release-address --allocation-id eipalloc-" in caught.value.next
    mine = [{"Name": "tag:osawslab:lab", "Values": ["quota"]}]
    assert ec2.describe_vpcs(Filters=mine)["Vpcs"] == []
    local.remove("quota")
