"""What goes wrong on AWS now and then, at every call of the tour that changes something.

The target is `aws`, with its own retries; the region that stands where AWS does has the faults.
Only botocore's pauses are shortened. Each kind of fault has a tour of its own, in which it hits
each changing call once: a tour for each call of each fault would take hours, and an earlier call's
fault leaves nothing behind that a later one could meet, for all of them are retried.
"""

from __future__ import annotations

import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from botocore.client import BaseClient
from place import OSAWSLAB, leads_to

from osawslab import Lab, LabError
from osawslab.aws import estate, once
from osawslab.aws.facts import LAB, ROLE, tag
from osawslab.errors import NoCredentials, Refused, StepNotReady
from osawslab.region import local
from osawslab.region.faults import Fault

pytestmark = pytest.mark.kernel

PLACE = "faulty"
CHANGES = {  # of the whole tour, and of its end: call -> how often
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
    "CreateTags": 10,  # the host key, and after each step how far the lab is
}
ENDINGS = {
    "TerminateInstances": 1,
    "ReleaseAddress": 2,
    "DeleteKeyPair": 1,
    "DeleteSubnet": 2,
    "DeleteSecurityGroup": 1,
    "DetachInternetGateway": 1,
    "DeleteInternetGateway": 1,
    "DeleteVpc": 1,
}


@pytest.fixture(scope="module")
def region(home: Path) -> Iterator[local.Region]:
    """Give the region that stands where AWS does, and the environment that leads to it."""
    made = local.ensure(PLACE)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in leads_to(made).items():
            patch.setenv(name, value)
        patch.setenv("OSAWSLAB_PAY_UP_TO", "1")
        yield made


@pytest.fixture(autouse=True)
def quick(region: local.Region, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Shorten the pauses between the tries, and take all faults away at the end."""
    backoff = "botocore.retries.standard.ExponentialBackoff.delay_amount"
    monkeypatch.setattr(backoff, lambda *_: 0.01)
    monkeypatch.setattr(once, "PAUSE_SECONDS", 0.05)
    monkeypatch.setattr(estate, "PAUSE_SECONDS", 0.05)
    yield
    region.faults()


@pytest.fixture
def lab(region: local.Region) -> Iterator[Lab]:
    """Give a lab that is empty before and after."""
    with Lab("faulty-lab") as made:
        yield made
        region.faults()
        assert made.tear_down().ok
        assert things(made) == []


@contextmanager
def changing() -> Iterator[Counter[str]]:
    """Count the calls of this process that change something and are carried out."""
    made: Counter[str] = Counter()
    ask = BaseClient._make_api_call

    def noted(self: Any, operation: str, given: Any) -> Any:
        answer = ask(self, operation, given)
        if not operation.startswith(("Describe", "Get")):
            made[operation] += 1
        return answer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BaseClient, "_make_api_call", noted)
        yield made


def things(lab: Lab) -> list[tuple[str, str]]:
    """List all that the account has besides what was there before, by kind and role."""
    ec2 = lab.client()
    mine = estate.read(ec2, lab.settings.name)
    found = sorted((each.kind.name, tag(each.facts, ROLE)) for each in mine)
    own = {each.id for each in mine}
    other = [each["VpcId"] for each in ec2.describe_vpcs()["Vpcs"] if each["VpcId"] not in own]
    eips = [each["AllocationId"] for each in ec2.describe_addresses()["Addresses"]]
    assert set(eips) <= own
    assert len(other) <= 2  # the default VPC, and a stranger's
    return found


WHOLE = sorted(
    [
        ("VPC", "vpc"), ("internet gateway", "gateway"), ("key pair", "key"),
        ("security group", "group"), ("instance", "instance"), ("volume", "volume"),
        *(("subnet", f"{role}-subnet") for role in ("management", "provider")),
        *(("network interface", f"{role}-nic") for role in ("management", "provider")),
        *(("elastic IP", f"{role}-address") for role in ("management", "provider")),
    ]
)  # fmt: skip


def test_which_calls_change_something(lab: Lab) -> None:
    with changing() as made:
        assert all(lab.run(step).ok for step in lab.steps)
    assert made == CHANGES
    assert things(lab) == WHOLE
    with changing() as made:
        assert lab.tear_down().ok
    assert made == ENDINGS
    assert things(lab) == []


@pytest.mark.parametrize(
    "fault",
    [
        Fault("slow", seconds=0.2, times=0),
        Fault("refuse", "RequestLimitExceeded"),
        Fault("refuse", "RequestLimitExceeded", times=3),
        Fault("refuse", "InternalError", after=True),
        Fault("reset"),
        Fault("reset", after=True),
        Fault("stale", seconds=0.3),
    ],
    ids=lambda fault: f"{fault.kind} {fault.code}{' after' * fault.after} {fault.times}",
)
def test_the_whole_tour_passes(fault: Fault, region: local.Region, lab: Lab) -> None:
    region.faults(fault)
    for step in lab.steps:
        report = lab.run(step)
        assert report.ok, report.text
    struck = Counter(region.struck())
    region.faults()
    assert things(lab) == WHOLE
    region.faults(fault)
    report = lab.tear_down()
    assert report.ok, report.text
    struck += Counter(region.struck())
    region.faults()
    assert things(lab) == []
    if fault.kind != "stale":
        assert not {call for call, times in (CHANGES | ENDINGS).items() if struck[call] < times}


@pytest.mark.parametrize(
    ("code", "kind", "next"),
    [
        ("UnauthorizedOperation", Refused, "ask for the IAM permission ec2:{call}"),
        ("ExpiredToken", NoCredentials, "aws sso login"),
        ("RequestExpired", NoCredentials, "aws sso login"),
    ],
)
def test_a_refusal_in_the_middle_is_said_and_the_next_run_goes_on(
    code: str, kind: type[LabError], next: str, region: local.Region, lab: Lab
) -> None:
    region.faults(Fault("refuse", code))
    told = CHANGES | {"CreateTags": 1}  # a lab goes on where it may not note how far it is
    for do, calls in ((lab.provision, told), (lab.tear_down, ENDINGS)):
        met: Counter[str] = Counter()
        while sum(met.values()) < sum(calls.values()):
            before = Counter(region.struck())
            with pytest.raises(kind) as caught:
                do()
            [call] = Counter(region.struck()) - before
            assert caught.value.next.startswith(next.format(call=call))
            assert code in caught.value.seen
            met[call] += 1
        report = do()
        assert report.ok, report.text
        assert met == calls
        assert things(lab) == (WHOLE if do == lab.provision else [])


def test_what_cannot_be_had_is_said_with_what_to_type(region: local.Region, lab: Lab) -> None:
    for code, call, next in (
        ("VpcLimitExceeded", "CreateVpc", "lab.preflight()"),
        ("VcpuLimitExceeded", "RunInstances", "lab.preflight()"),
        ("InsufficientInstanceCapacity", "RunInstances", 'zone = "b"'),
        ("InvalidAMIID.Unavailable", "RunInstances", "debian = 12"),
        ("AddressLimitExceeded", "AllocateAddress", "lab.preflight()"),
    ):
        region.faults(Fault("refuse", code, calls=call, times=0))
        with pytest.raises(Refused) as caught:
            lab.provision()
        assert next in caught.value.next
        assert code in caught.value.seen
        assert region.struck() == {call: 5 if code.startswith("Insufficient") else 1}
    region.faults()
    assert lab.provision().ok
    assert things(lab) == WHOLE


def test_no_room_once_is_asked_again(region: local.Region, lab: Lab) -> None:
    region.faults(Fault("refuse", "InsufficientInstanceCapacity", calls="RunInstances"))
    assert lab.provision().ok
    assert region.struck() == {"RunInstances": 1}
    assert things(lab) == WHOLE


def test_a_tear_down_killed_at_each_of_its_calls(region: local.Region, lab: Lab) -> None:
    """Each process is killed when EC2 has carried out its first change, unheard."""
    assert lab.provision().ok
    ec2 = lab.client()
    names = [{"Key": "Name", "Value": f"{lab.settings.name} vpc"}]
    foreign = ec2.create_vpc(
        CidrBlock="172.16.0.0/16", TagSpecifications=[{"ResourceType": "vpc", "Tags": names}]
    )["Vpc"]["VpcId"]
    killed: Counter[str] = Counter()
    while True:
        region.faults(Fault("slow", after=True, seconds=60, times=0))
        down = subprocess.Popen(
            [*OSAWSLAB, "down", "--name", lab.settings.name],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        end = time.monotonic() + 60
        while down.poll() is None and not region.struck():
            assert time.monotonic() < end
            time.sleep(0.02)
        if down.poll() is not None:
            break
        down.kill()
        down.wait()
        killed += Counter(region.struck())
    assert down.returncode == 0
    assert killed == ENDINGS
    region.faults()
    assert things(lab) == []
    [left] = ec2.describe_vpcs(VpcIds=[foreign])["Vpcs"]
    assert left["Tags"] == names
    assert LAB not in str(left)
    ec2.delete_vpc(VpcId=foreign)


def test_a_second_laptop_is_refused(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert lab.provision().ok
    with monkeypatch.context() as patch, changing() as made:
        patch.setenv("XDG_STATE_HOME", str(tmp_path))
        with pytest.raises(StepNotReady, match="on another machine") as caught:
            lab.provision()
        assert "copy the key from there" in caught.value.next
        assert made == {}
    assert not lab.provision().changed


def test_an_account_without_its_default_vpc(lab: Lab) -> None:
    ec2 = lab.client()
    [default] = ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"]
    inside = [{"Name": "vpc-id", "Values": [default["VpcId"]]}]
    for subnet in ec2.describe_subnets(Filters=inside)["Subnets"]:
        ec2.delete_subnet(SubnetId=subnet["SubnetId"])
    attached = [{"Name": "attachment.vpc-id", "Values": [default["VpcId"]]}]
    for gateway in ec2.describe_internet_gateways(Filters=attached)["InternetGateways"]:
        key = gateway["InternetGatewayId"]
        ec2.detach_internet_gateway(InternetGatewayId=key, VpcId=default["VpcId"])
        ec2.delete_internet_gateway(InternetGatewayId=key)
    ec2.delete_vpc(VpcId=default["VpcId"])
    assert lab.provision().ok
    assert things(lab) == WHOLE
    assert lab.tear_down().ok
    assert ec2.describe_vpcs()["Vpcs"] == []
