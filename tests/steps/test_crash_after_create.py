"""The process ends right after EC2 has accepted a call, its answer unseen: nothing is made twice.

The second process may even be shown nothing of it: EC2's own lists come late ("Eventual
consistency in the EC2 API").
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from osawslab import Lab
from osawslab.aws import once
from osawslab.aws.facts import LAB, role, specification
from osawslab.region import local

pytestmark = pytest.mark.kernel

NAME = "crash"
CREATING = {  # with how often provision makes the call
    "CreateVpc": 1,
    "CreateInternetGateway": 1,
    "AttachInternetGateway": 1,
    "CreateRoute": 1,
    "CreateSubnet": 2,
    "CreateSecurityGroup": 1,
    "AuthorizeSecurityGroupIngress": 1,
    "ImportKeyPair": 1,
    "RunInstances": 1,
    "CreateNetworkInterface": 1,
    "AttachNetworkInterface": 1,
    "ModifyNetworkInterfaceAttribute": 1,
    "AllocateAddress": 2,
    "AssociateAddress": 2,
    "CreateTags": 2,  # the host key, and how far the lab is
}
LISTED = {  # what EC2 shows late: its call, where, and the role
    "CreateSubnet": ("DescribeSubnets", "Subnets", "management-subnet"),
    "CreateSecurityGroup": ("DescribeSecurityGroups", "SecurityGroups", "group"),
    "ImportKeyPair": ("DescribeKeyPairs", "KeyPairs", "key"),
    "RunInstances": ("DescribeInstances", "Reservations", "instance"),
    "CreateNetworkInterface": ("DescribeNetworkInterfaces", "NetworkInterfaces", "provider-nic"),
}
ALL = {  # what provision makes: how it is listed, and how many there are
    "instances": ("Reservations", 1),
    "volumes": ("Volumes", 1),
    "network_interfaces": ("NetworkInterfaces", 2),
    "addresses": ("Addresses", 2),
    "key_pairs": ("KeyPairs", 1),
    "subnets": ("Subnets", 2),
    "security_groups": ("SecurityGroups", 1),
    "internet_gateways": ("InternetGateways", 1),
    "vpcs": ("Vpcs", 1),
}


class Crashed(BaseException):
    """The end of a process, as far as Python can see."""


@pytest.fixture(scope="module")
def region(home: Path) -> Iterator[None]:
    """One region for the module: its EC2 remembers the tokens of every life of the lab."""
    yield
    local.remove(NAME)


@pytest.fixture
def lab(region: None) -> Iterator[Lab]:
    """A lab that is empty before and after."""
    with Lab(NAME, bridge="linux") as made:
        yield made
        assert made.tear_down().ok
        assert counted(made) == dict.fromkeys(ALL, 0)


@contextmanager
def hook(lab: Lab, event: str, do: Any) -> Iterator[None]:
    """Have boto3 call a function at an event of the lab's client."""
    events = lab.client("ec2").meta.events
    events.register(event, do)
    try:
        yield
    finally:
        events.unregister(event, do)


def crash_after(lab: Lab, call: str, nth: int = 1) -> None:
    """Crash when the n-th such call has been accepted."""
    seen: list[int] = []

    def crash(parsed: dict[str, Any], **_: Any) -> None:
        if "Error" in parsed:  # refused, or only asked for by DryRun
            return
        seen.append(1)
        if len(seen) == nth:
            raise Crashed

    with hook(lab, f"after-call.ec2.{call}", crash), pytest.raises(Crashed):
        lab.provision()


def counted(lab: Lab) -> dict[str, int]:
    """Count what EC2 has besides its defaults, tagged or not; all of it must have our tag."""
    ec2, numbers = lab.client("ec2"), {}
    own = {vpc["VpcId"] for vpc in ec2.describe_vpcs()["Vpcs"] if not vpc["IsDefault"]}
    for kind, (listed, _) in ALL.items():
        found = getattr(ec2, f"describe_{kind}")()[listed]
        if kind == "instances":
            found = [i for r in found for i in r["Instances"] if i["State"]["Name"] == "running"]
        if kind in ("subnets", "security_groups", "vpcs"):
            found = [each for each in found if each["VpcId"] in own]
        if kind == "security_groups":
            found = [each for each in found if each["GroupName"] != "default"]
        if kind == "internet_gateways":
            found = [each for each in found if each.get("Tags") or not each["Attachments"]]
        for each in found:
            tags = {tag["Key"]: tag["Value"] for tag in each.get("Tags", each.get("TagSet", []))}
            assert tags.get(LAB) == NAME, each
        numbers[kind] = len(found)
    return numbers


def test_every_creating_call_is_tried(lab: Lab) -> None:
    made: list[str] = []

    def note(model: Any, parsed: dict[str, Any], **_: Any) -> None:
        if "Error" not in parsed:
            made.append(model.name)

    with hook(lab, "after-call.ec2", note):
        assert lab.provision().ok
    changes = [name for name in made if not name.startswith("Describe")]
    assert sorted(changes) == sorted(name for name, times in CREATING.items() for _ in range(times))


@pytest.mark.parametrize(
    ("call", "nth"), [(c, n + 1) for c, times in CREATING.items() for n in range(times)]
)
def test_a_second_process_converges(lab: Lab, call: str, nth: int) -> None:
    crash_after(lab, call, nth)
    report = lab.provision()
    assert report.ok, report.text
    assert counted(lab) == {kind: number for kind, (_, number) in ALL.items()}
    assert not lab.provision().changed


@contextmanager
def hidden(lab: Lab, describe: str, listed: str, name: str, times: int) -> Iterator[None]:
    """Have EC2 not show what has a role, for so many looks."""
    left = [times]

    def hide(parsed: dict[str, Any], **_: Any) -> None:
        shown = [e for e in parsed[listed] if role(e.get("Instances", [e])[0]) != name]
        if left[0] and shown != parsed[listed]:
            left[0] -= 1
            parsed[listed] = shown

    with hook(lab, f"after-call.ec2.{describe}", hide):
        yield


@pytest.mark.parametrize("call", LISTED)
def test_nor_twice_while_ec2_does_not_show_it(
    lab: Lab, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(once, "PAUSE_SECONDS", 0.01)
    crash_after(lab, call)
    with hidden(lab, *LISTED[call], times=3):
        report = lab.provision()
    assert report.ok, report.text
    assert counted(lab) == {kind: number for kind, (_, number) in ALL.items()}


def test_nor_where_what_the_launch_was_asked_with_is_lost(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(once, "PAUSE_SECONDS", 0.01)
    crash_after(lab, "RunInstances")
    (lab._site().target.keys / "launch.json").unlink()
    with hidden(lab, *LISTED["RunInstances"], times=3):
        assert lab.provision().ok
    assert counted(lab)["instances"] == 1


@pytest.mark.parametrize(
    ("call", "hide"),
    [
        ("CreateVpc", ("DescribeVpcs", "Vpcs", "vpc")),
        ("CreateInternetGateway", ("DescribeInternetGateways", "InternetGateways", "gateway")),
        ("AllocateAddress", ("DescribeAddresses", "Addresses", "management-address")),
    ],
)
def test_what_came_twice_is_given_back_at_the_end(
    lab: Lab, call: str, hide: tuple[str, str, str]
) -> None:
    crash_after(lab, call)
    with hidden(lab, *hide, times=1):
        report = lab.provision()
    assert report.ok, report.text
    assert counted(lab) == {kind: number for kind, (_, number) in ALL.items()}
    assert not lab.provision().changed


def test_an_address_that_is_there_twice_is_given_back_first(lab: Lab) -> None:
    assert lab.provision().ok
    tags = [specification("elastic-ip", NAME, "management-address", "2026-01-01T00:00:00+00:00")]
    lab.client("ec2").allocate_address(Domain="vpc", TagSpecifications=tags)
    [wrong] = [check for check in lab.check("provision").checks if not check]
    assert (wrong.what, wrong.next) == ("nothing there twice", "lab.provision()")
    [release] = lab.plan("provision").actions
    assert release.command == f"aws ec2 release-address --allocation-id {wrong.seen}"
    assert lab.provision().ok
    assert counted(lab)["addresses"] == 2


def test_a_disk_that_nothing_uses_is_given_back(lab: Lab) -> None:
    assert lab.provision().ok
    tags = [specification("volume", NAME, "volume", "2026-01-01T00:00:00+00:00")]
    made = lab.client("ec2").create_volume(
        AvailabilityZone="us-east-1a", Size=1, TagSpecifications=tags
    )
    [delete] = lab.plan("provision").actions
    assert delete.command == f"aws ec2 delete-volume --volume-id {made['VolumeId']}"
    assert lab.provision().ok
    assert counted(lab)["volumes"] == 1


def test_one_that_was_ended_is_made_anew(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(once, "SEEN_SECONDS", 0.2)
    monkeypatch.setattr(once, "PAUSE_SECONDS", 0.01)
    ec2, ended = lab.client("ec2"), set()
    lab.provision()
    for _ in range(3):
        instance = lab._site().read_ec2().instance
        assert instance
        ended.add(instance["InstanceId"])
        ec2.terminate_instances(InstanceIds=[instance["InstanceId"]])
        assert lab.provision().ok
        assert counted(lab) == {kind: number for kind, (_, number) in ALL.items()}
    nic = lab._site().read_ec2().nics["provider"]
    ec2.detach_network_interface(AttachmentId=nic["Attachment"]["AttachmentId"], Force=True)
    ec2.delete_network_interface(NetworkInterfaceId=nic["NetworkInterfaceId"])
    assert lab.provision().ok
    assert len(ended) == 3
    assert counted(lab) == {kind: number for kind, (_, number) in ALL.items()}


def test_also_right_after_a_crash(lab: Lab) -> None:
    crash_after(lab, "RunInstances")
    [reservation] = [
        each
        for each in lab.client("ec2").describe_instances()["Reservations"]
        if each["Instances"][0]["State"]["Name"] == "running"
    ]
    ended = reservation["Instances"][0]["InstanceId"]
    lab.client("ec2").terminate_instances(InstanceIds=[ended])
    assert lab.provision().ok
    assert counted(lab)["instances"] == 1


def test_each_life_of_a_lab_has_its_own_instance(lab: Lab) -> None:
    seen = set()
    for _ in range(2):
        before = time.monotonic()
        assert lab.provision().ok
        instance = lab._site().read_ec2().instance
        assert instance
        seen.add(instance["InstanceId"])
        assert lab.tear_down().ok
        assert time.monotonic() - before < once.SEEN_SECONDS  # nothing was waited for
    assert len(seen) == 2


def test_the_launch_is_kept_by_its_owner_alone_and_forgotten(lab: Lab) -> None:
    path = lab._site().target.keys / "launch.json"
    crash_after(lab, "RunInstances")
    assert path.stat().st_mode & 0o777 == 0o600
    with hidden(lab, *LISTED["RunInstances"], times=1):
        assert lab.provision().ok
    assert not path.exists()
