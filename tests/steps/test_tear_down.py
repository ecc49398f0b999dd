"""Tear-down: its proof, killed anywhere, and what is not the lab's stays as it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from osawslab import Lab
from osawslab.aws import estate, regions
from osawslab.aws.facts import specification
from osawslab.errors import BadSetting
from osawslab.region import local

pytestmark = pytest.mark.kernel

NAME = "ends"
LOOKS = ("Describe", "Get", "List")
ENDINGS = (  # of a whole lab, in this order
    "TerminateInstances", "ReleaseAddress", "ReleaseAddress", "DeleteKeyPair", "DeleteSubnet",
    "DeleteSubnet", "DeleteSecurityGroup", "DetachInternetGateway", "DeleteInternetGateway",
    "DeleteVpc",
)  # fmt: skip


class Killed(BaseException):
    """The end of a process, as far as Python can see."""


@pytest.fixture(scope="module")
def region(home: Path) -> Iterator[None]:
    """One region for the module."""
    yield
    local.remove(NAME)


@pytest.fixture
def lab(region: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """A lab with what `provision` makes; nothing of it is left behind."""
    monkeypatch.setattr(estate, "PAUSE_SECONDS", 0.01)
    with Lab(NAME, bridge="linux") as made:
        assert made.provision().ok
        yield made
        report = made.tear_down()
        assert report.ok, report.text


@contextmanager
def calls(lab: Lab, when: str, kill_at: int = 0) -> Iterator[list[str]]:
    """List the changing calls; the process ends before or after the one with that number."""
    made: list[str] = []
    events = lab.client("ec2").meta.events

    def told(model: Any, params: Any = None, parsed: Any = None, **_: Any) -> None:
        dry = (params or {"body": {}})["body"].get("DryRun") or "Error" in (parsed or {})
        if not model.name.startswith(LOOKS) and not dry:
            made.append(model.name)
            if len(made) == kill_at:
                raise Killed

    events.register(f"{when}-call.ec2", told)
    try:
        yield made
    finally:
        events.unregister(f"{when}-call.ec2", told)


def proven(lab: Lab) -> bool:
    """Say whether the proof has a row for each kind, and nothing is seen of any."""
    checks = lab.check("tear_down").checks
    assert [c.what for c in checks] == [f"{k.name} with the lab's tag" for k in estate.KINDS]
    return {c.seen for c in checks} == {"none"}


def test_the_proof_is_red_before_and_green_after(lab: Lab) -> None:
    red = {check.what.partition(" with")[0] for check in lab.check("tear_down").checks if not check}
    assert red == {kind.name for kind in estate.KINDS} - {"route table"}
    with calls(lab, "before") as made:
        assert lab.tear_down().ok
    assert tuple(made) == ENDINGS
    assert proven(lab)
    with calls(lab, "before") as made:
        assert not lab.tear_down().changed
    assert made == []


@pytest.mark.parametrize("number", range(1, len(ENDINGS) + 1))
def test_killed_after_any_call_and_run_again(lab: Lab, number: int) -> None:
    with calls(lab, "after", number) as made, pytest.raises(Killed):
        lab.tear_down()
    assert tuple(made) == ENDINGS[:number]
    report = lab.tear_down()
    assert report.ok, report.text
    assert proven(lab)


def test_killed_at_every_call_one_after_the_other(lab: Lab) -> None:
    for _ in ENDINGS:  # each process does one call
        with calls(lab, "after", 1), pytest.raises(Killed):
            lab.tear_down()
    with calls(lab, "after", 1) as made:
        lab.tear_down()
    assert made == []
    assert proven(lab)


def test_what_another_took_away_meanwhile_is_gone(lab: Lab) -> None:
    """Each thing is deleted by somebody else between our look and our call."""
    mine = lab._site()
    from osawslab.steps import tear_down

    for thing in tear_down.read(mine).things:
        thing.give_back()
        thing.give_back()
    assert proven(lab)


def test_a_disk_that_did_not_go_is_seen_and_goes(lab: Lab) -> None:
    ec2 = lab.client("ec2")
    tags = [specification("volume", NAME, "volume", "2026-01-01T00:00:00+00:00")]
    volume = ec2.create_volume(AvailabilityZone="us-east-1a", Size=1, TagSpecifications=tags)
    instance = lab._site().read_ec2().instance
    assert instance
    ec2.attach_volume(
        VolumeId=volume["VolumeId"], InstanceId=instance["InstanceId"], Device="/dev/sdf"
    )
    assert lab.tear_down().ok
    assert volume["VolumeId"] not in str(ec2.describe_volumes())


def test_a_route_table_of_ours_goes(lab: Lab) -> None:
    facts = lab._site().read_ec2()
    assert facts.vpc
    tags = [specification("route-table", NAME, "table", "2026-01-01T00:00:00+00:00")]
    lab.client("ec2").create_route_table(VpcId=facts.vpc["VpcId"], TagSpecifications=tags)
    assert lab.tear_down().ok


Stranger = tuple[str, Callable[[], object]]  # its id, and how its owner takes it away


def a_nic(lab: Lab) -> Stranger:
    ec2, facts = lab.client("ec2"), lab._site().read_ec2()
    made = ec2.create_network_interface(SubnetId=facts.subnets["provider"]["SubnetId"])
    key = made["NetworkInterface"]["NetworkInterfaceId"]
    return key, lambda: ec2.delete_network_interface(NetworkInterfaceId=key)


def a_nic_in_our_group(lab: Lab) -> Stranger:
    ec2, facts = lab.client("ec2"), lab._site().read_ec2()
    assert facts.group
    made = ec2.create_network_interface(
        SubnetId=facts.subnets["management"]["SubnetId"], Groups=[facts.group["GroupId"]]
    )
    key = made["NetworkInterface"]["NetworkInterfaceId"]
    return key, lambda: ec2.delete_network_interface(NetworkInterfaceId=key)


def a_nic_with_an_address(lab: Lab) -> Stranger:
    ec2 = lab.client("ec2")
    key, delete = a_nic(lab)
    address = ec2.allocate_address(Domain="vpc")["AllocationId"]
    led = ec2.associate_address(AllocationId=address, NetworkInterfaceId=key)["AssociationId"]

    def away() -> None:
        ec2.disassociate_address(AssociationId=led)
        ec2.release_address(AllocationId=address)
        delete()

    return key, away


def a_subnet(lab: Lab) -> Stranger:
    ec2, facts = lab.client("ec2"), lab._site().read_ec2()
    assert facts.vpc
    made = ec2.create_subnet(VpcId=facts.vpc["VpcId"], CidrBlock="172.16.77.0/24")
    key = made["Subnet"]["SubnetId"]
    return key, lambda: ec2.delete_subnet(SubnetId=key)


def a_group_that_names_ours(lab: Lab) -> Stranger:
    ec2, facts = lab.client("ec2"), lab._site().read_ec2()
    assert facts.vpc
    assert facts.group
    key = ec2.create_security_group(
        GroupName="theirs", Description="theirs", VpcId=facts.vpc["VpcId"]
    )["GroupId"]
    pairs = [{"GroupId": facts.group["GroupId"]}]
    rule = {"IpProtocol": "tcp", "FromPort": 1, "ToPort": 1, "UserIdGroupPairs": pairs}
    ec2.authorize_security_group_ingress(GroupId=key, IpPermissions=[rule])
    return key, lambda: ec2.delete_security_group(GroupId=key)


def a_route_table(lab: Lab) -> Stranger:
    ec2, facts = lab.client("ec2"), lab._site().read_ec2()
    assert facts.vpc
    key = ec2.create_route_table(VpcId=facts.vpc["VpcId"])["RouteTable"]["RouteTableId"]
    return key, lambda: ec2.delete_route_table(RouteTableId=key)


@pytest.mark.parametrize(
    ("stranger", "held"),
    [
        (a_nic, {"subnet", "VPC"}),
        (a_nic_in_our_group, {"subnet", "security group", "VPC"}),
        (a_nic_with_an_address, {"subnet", "internet gateway", "VPC"}),
        (a_subnet, {"VPC"}),
        (a_group_that_names_ours, {"security group", "VPC"}),
        (a_route_table, {"VPC"}),
    ],
)
def test_a_strangers_thing_in_our_vpc_is_named_and_left(
    lab: Lab, stranger: Callable[[Lab], Stranger], held: set[str]
) -> None:
    key, away = stranger(lab)
    for _ in range(2):
        report = lab.tear_down()
        wrong = {check.what.partition(" with")[0]: check for check in report.checks if not check}
        assert wrong.keys() == held, report.text
        for check in wrong.values():
            assert f"(held by {key}" in check.seen
            assert check.next == f"delete {key} if it is yours; lab.tear_down()"
    assert not report.changed  # tried once
    away()
    assert lab.tear_down().ok
    assert proven(lab)


def test_regions_are_noted_before_anything_is_made(lab: Lab) -> None:
    folder = lab._site().target.keys
    assert regions.used(folder) == ("us-east-1",)
    lab.tear_down()
    (folder / "regions").unlink()
    with calls(lab, "before", 1), pytest.raises(Killed):
        lab.provision()
    assert regions.used(folder) == ("us-east-1",)


def test_a_region_that_cannot_be_asked_is_not_passed_over(lab: Lab) -> None:
    folder = lab._site().target.keys
    regions.note(folder, "eu-west-1")
    regions.note(folder, "eu-west-1")
    with pytest.raises(BadSetting, match="one region"):
        lab.check("tear_down")
    (folder / "regions").unlink()
    assert regions.used(folder) == ()
    assert not lab.check("tear_down")  # the settings' region is looked at without the note


def test_what_is_left_in_another_region_goes_too(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    target = lab._site().target
    with Lab("ends-abroad", region="eu-west-1") as other:
        abroad = other.client("ec2")
        tags = [specification("elastic-ip", NAME, "provider-address", "2026-01-01T00:00:00+00:00")]
        abroad.allocate_address(Domain="vpc", TagSpecifications=tags)

        def client(service: str, region: str = "") -> Any:
            return abroad if region == "eu-west-1" else target.client(service)

        two = replace(target, client=client)
        with monkeypatch.context() as patch:
            patch.setattr("osawslab.reach.place", lambda _: two)
            regions.note(target.keys, "eu-west-1")
            seen = {c.what: c.seen for c in lab.check("tear_down").checks}
            assert seen["elastic IP with the lab's tag in eu-west-1"].startswith("eipalloc-")
            assert seen["instance with the lab's tag in us-east-1"].startswith("i-")
            assert len(seen) == 2 * len(estate.KINDS)
            report = lab.tear_down()
            assert report.ok, report.text
        (target.keys / "regions").unlink()
        assert abroad.describe_addresses()["Addresses"] == []
    local.remove("ends-abroad")


def test_an_image_made_on_purpose_is_named_and_kept(lab: Lab) -> None:
    ec2, instance = lab.client("ec2"), lab._site().read_ec2().instance
    assert instance
    image = {
        "ImageId": "ami-1",
        "Name": "osawslab-openstack-1",
        "BlockDeviceMappings": [{"Ebs": {"SnapshotId": "snap-1", "VolumeSize": 30}}],
    }

    def shown(parsed: dict[str, Any], **_: Any) -> None:
        parsed["Images"] = [image]

    ec2.meta.events.register("after-call.ec2.DescribeImages", shown)
    try:
        report = lab.tear_down()
    finally:
        ec2.meta.events.unregister("after-call.ec2.DescribeImages", shown)
    assert report.ok
    kept = report.tables[1]
    assert (kept.caption, [row[:2] for row in kept.rows]) == (
        "Kept on purpose", [("image", "ami-1"), ("snapshot", "snap-1")]
    )  # fmt: skip
    assert "30 GB: EC2 bills it by the month" in report.text
    assert len(lab.tear_down().tables) == 1
