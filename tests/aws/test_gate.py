"""What provision asks before its first change, and what it refuses on the local region."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from account import AMI, DRY, HERE, Account, Said
from place import leads_to

from osawslab import Lab
from osawslab.aws import permissions, preflight
from osawslab.aws.facts import Facts
from osawslab.errors import LabError, Refused
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


ADDRESS = {"AllocationId": "eipalloc-1"}
NIC = {"NetworkInterfaceId": "eni-1"}
THERE = {"VpcId": "vpc-1", "InstanceId": "i-1"}
MADE = Facts(
    vpc=THERE, instance=THERE, nics={"provider": NIC},
    addresses={"management": ADDRESS, "provider": ADDRESS},
)  # fmt: skip
BY_ID = ("TerminateInstances", "AttachNetworkInterface", "ReleaseAddress", "AssociateAddress")


def test_of_a_lab_that_exists_is_asked_what_it_still_needs() -> None:
    account = Account(**dict.fromkeys(BY_ID, DRY))
    preflight.require(account.target(), Settings(), MADE)
    assert [name for name, _ in account.calls] == list(BY_ID)
    assert all(asked["DryRun"] for _, asked in account.calls)
    account.calls.clear()
    plugged = replace(MADE, nics={"provider": {**NIC, "Attachment": {"AttachmentId": "a"}}})
    preflight.require(account.target(), Settings(), plugged)
    assert "AttachNetworkInterface" not in dict(account.calls)


@pytest.mark.parametrize("name", BY_ID)
def test_what_exists_must_be_ours_to_finish_and_to_give_back(name: str) -> None:
    account = Account(**{**dict.fromkeys(BY_ID, DRY), name: Said("UnauthorizedOperation")})
    with pytest.raises(Refused, match="could not be finished") as caught:
        preflight.require(account.target(), Settings(), MADE)
    assert f"missing: {name}" in caught.value.seen
    assert f"ec2:{name}" in caught.value.next


def test_for_one_address_only_addresses_are_asked_for() -> None:
    account = Account(**dict.fromkeys(BY_ID, DRY))
    have = replace(MADE, addresses={"management": ADDRESS}, nics={})
    preflight.require(account.target(), Settings(), have)
    assert [name for name, _ in account.calls] == [
        "DescribeAddresses", "GetServiceQuota", "AllocateAddress", "TerminateInstances",
        "ReleaseAddress",
    ]  # fmt: skip


@pytest.mark.kernel
def test_the_launch_is_asked_for_once_more_where_it_will_be(
    home: Path, new_lab: Callable[..., Lab]
) -> None:
    lab = new_lab("denied", bridge="linux")
    asked: list[dict[str, Any]] = []

    def refused(model: Any, params: dict[str, Any], **_: Any) -> Any:
        asked.append(params["body"])
        if "SubnetId" not in params["body"]:
            return None
        error = {"Code": "UnauthorizedOperation", "Message": "You are not authorized."}
        return SimpleNamespace(status_code=403), {"Error": error, "ResponseMetadata": {}}

    events = lab.client("ec2").meta.events
    events.register("before-call.ec2.RunInstances", refused)
    try:
        with pytest.raises(Refused) as caught:
            lab.provision()
    finally:
        events.unregister("before-call.ec2.RunInstances", refused)
    assert caught.value.what.startswith("the instance was not made")
    assert "ec2:RunInstances" in caught.value.next
    assert [str(each["DryRun"]).lower() for each in asked] == ["true", "true"]
    assert lab.tear_down().ok
    local.remove("denied")


def test_an_image_of_our_own_is_looked_at() -> None:
    account = Account()
    preflight.require(account.target(), Settings(), Facts(), "ami-0aaaaaaaaaaaaaaaa")
    asked = dict(account.calls)
    assert "GetParameter" not in asked
    assert asked["DescribeImages"] == {"ImageIds": ["ami-0aaaaaaaaaaaaaaaa"]}
    assert asked["RunInstances"]["ImageId"] == AMI


@pytest.mark.kernel
def test_a_region_without_the_default_type_gets_another_and_it_is_said(
    home: Path, new_lab: Callable[..., Lab], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in leads_to(local.ensure("no-t2", "ap-east-1")).items():
        monkeypatch.setenv(name, value)
    words = "t3.xlarge, for ap-east-1 has no t2.large: strategy share"
    lab = new_lab("far", region="ap-east-1")
    with pytest.raises(LabError) as caught:
        lab.provision()
    assert "t3.xlarge" in str(caught.value)  # in the price, or that nobody knows it there
    assert lab.settings.instance_type == "t3.xlarge"
    assert any(words in action.why for action in lab.plan("provision").actions)
    seen = {check.what: check.seen for check in lab.preflight().checks}
    assert "t2.large is not offered in ap-east-1" in seen["instance type"]
    assert seen["the NIC's driver"].endswith("strategy share")
    monkeypatch.setenv("OSAWSLAB_INSTANCE_TYPE", "t2.large")  # which somebody has said
    given = new_lab("far", region="ap-east-1", pay_up_to="9")
    assert not given.preflight()
    assert given.settings.instance_type == "t2.large"
    assert new_lab("far").settings.instance_type == "t2.large"
    local.remove("no-t2")


@pytest.mark.kernel
def test_the_local_region_passes_and_refuses_at_its_quotas(
    home: Path, new_lab: Callable[..., Lab]
) -> None:
    here = {"bridge": "linux", "region": "ap-east-1"}  # to be enabled, and without t2
    with pytest.raises(Refused) as caught:
        new_lab("quota", **here).provision()
    assert tomllib.loads(caught.value.next) == {"instance_type": "t3.xlarge", "strategy": "share"}
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
