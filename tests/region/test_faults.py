"""Faults that are ordered, as plain boto3 meets them."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError
from place import OSAWSLAB

from osawslab import Lab
from osawslab.errors import Refused
from osawslab.region import local
from osawslab.region.faults import CODES, Fault, read

Region = Any  # conftest's


def order(region: Region, *faults: Fault) -> None:
    region.app.faults.order([asdict(each) for each in faults])


def outcome(call: Callable[[], object]) -> str:
    """Name what a call ends with: "", EC2's code, or "cut"."""
    try:
        call()
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    except ConnectionClosedError:
        return "cut"
    return ""


def made(region: Region) -> int:
    """Count the VPCs besides the default one."""
    return len(region.client().describe_vpcs()["Vpcs"]) - 1


@pytest.mark.parametrize("code", CODES)
def test_a_code_comes_with_its_status(region: Region, code: str) -> None:
    order(region, Fault("refuse", code))
    with pytest.raises(ClientError) as caught:
        region.client().create_vpc(CidrBlock="172.16.0.0/16")
    assert caught.value.response["Error"] == {"Code": code, "Message": CODES[code][1]}
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == CODES[code][0]
    assert made(region) == 0


@pytest.mark.parametrize(
    ("fault", "told", "there"),
    [
        (Fault("reset"), "cut", 0),
        (Fault("reset", after=True), "cut", 1),
        (Fault("refuse", "InternalError"), "InternalError", 0),
        (Fault("refuse", "InternalError", after=True), "InternalError", 1),
        (Fault("slow", seconds=0.01, after=True), "", 1),
    ],
    ids=str,
)
def test_before_a_call_is_carried_out_or_after(
    region: Region, fault: Fault, told: str, there: int
) -> None:
    order(region, fault)
    ec2 = region.client()
    assert outcome(lambda: ec2.create_vpc(CidrBlock="172.16.0.0/16")) == told
    assert made(region) == there
    assert region.app.faults.struck == {"CreateVpc": 1}


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (Fault("reset"), ["cut", "", "cut", ""]),
        (Fault("reset", times=2), ["cut", "cut", "", "cut"]),
        (Fault("reset", times=0), ["cut", "cut", "cut", "cut"]),
        (Fault("reset", calls="Create*"), ["cut", "", "cut", ""]),
        (Fault("reset", calls="Delete*"), ["", ""]),
    ],
    ids=str,
)
def test_how_often_and_which(region: Region, fault: Fault, told: list[str]) -> None:
    order(region, fault)
    ec2 = region.client()
    assert [outcome(lambda: ec2.create_vpc(CidrBlock="172.16.0.0/16")) for _ in told] == told
    assert outcome(ec2.describe_vpcs) == ""
    order(region)
    assert outcome(lambda: ec2.create_vpc(CidrBlock="172.16.0.0/16")) == ""


def test_looking_goes_wrong_where_it_is_named_and_a_dry_run_never(region: Region) -> None:
    order(region, Fault("refuse", "ExpiredToken", calls="*", times=0))
    ec2 = region.client()
    assert outcome(ec2.describe_vpcs) == "ExpiredToken"
    dry = outcome(lambda: ec2.create_vpc(CidrBlock="172.16.0.0/16", DryRun=True))
    assert dry == "DryRunOperation"


def test_a_slow_call_holds_nobody_up(region: Region) -> None:
    order(region, Fault("slow", seconds=3, calls="DescribeVpcs", times=0))
    slow = threading.Thread(target=region.client().describe_vpcs)
    ec2 = region.client()
    slow.start()
    while not region.app.faults.struck:
        assert slow.is_alive()
        time.sleep(0.01)
    ec2.describe_subnets()
    assert slow.is_alive()
    slow.join()


def test_what_was_just_made_is_not_known_yet(region: Region) -> None:
    order(region, Fault("stale", seconds=60))
    ec2 = region.client()
    vpc = ec2.create_vpc(CidrBlock="172.16.0.0/16")["Vpc"]["VpcId"]
    calls = (
        lambda: ec2.describe_vpcs(VpcIds=[vpc]),
        lambda: ec2.create_subnet(VpcId=vpc, CidrBlock="172.16.1.0/24"),
        lambda: ec2.delete_vpc(VpcId=vpc),
    )
    assert [outcome(call) for call in calls] == ["InvalidVpcID.NotFound"] * 3
    assert made(region) == 0
    order(region, Fault("stale", seconds=0.001))
    assert [outcome(call) for call in calls[:2]] == ["", ""]
    assert made(region) == 1


def test_what_has_just_gone_is_still_shown(region: Region) -> None:
    ec2 = region.client()
    vpc = ec2.create_vpc(CidrBlock="172.16.0.0/16")["Vpc"]["VpcId"]
    order(region, Fault("stale", seconds=60))
    ec2.delete_vpc(VpcId=vpc)
    assert made(region) == 1
    assert outcome(lambda: ec2.delete_vpc(VpcId=vpc)) == "InvalidVpcID.NotFound"
    order(region)
    assert made(region) == 0


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"kind": "explode"}, "no such fault: 'explode'"),
        ({"kind": "refuse", "code": "Nonsense"}, "no such code: 'Nonsense'"),
        ({"kind": "slow"}, "slow needs seconds"),
        ({"kind": "stale"}, "stale needs seconds"),
        ({"kind": "slow", "seconds": float("nan")}, "slow needs seconds"),
        ({"kind": "slow", "seconds": float("inf")}, "slow needs seconds"),
        ({"kind": "reset", "times": -1}, "cannot happen -1 times"),
    ],
)
def test_a_fault_that_is_none(how: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Fault(**how)


@pytest.mark.parametrize(
    ("word", "fault"),
    [
        ("refuse=VpcLimitExceeded", Fault("refuse", "VpcLimitExceeded")),
        ("refuse=VpcLimitExceeded@CreateVpc", Fault("refuse", "VpcLimitExceeded", "CreateVpc")),
        ("reset@Create*", Fault("reset", calls="Create*")),
        ("lost", Fault("reset", after=True)),
        ("slow=0.5@Describe*", Fault("slow", calls="Describe*", seconds=0.5, times=0)),
        ("stale=5", Fault("stale", seconds=5, times=0)),
    ],
)
def test_what_a_trainer_types(word: str, fault: Fault) -> None:
    assert read(word) == fault


@pytest.mark.kernel
def test_they_are_ordered_from_outside(home: Path) -> None:
    region = local.ensure("faults")

    def lab(*words: str) -> subprocess.CompletedProcess[str]:
        command = [*OSAWSLAB, "region", "faults", "--name", "faults", *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    told = json.loads(lab("refuse=VpcLimitExceeded", "slow=0.1", "--json").stdout)
    assert told == {"struck": {}, "faults": ["refuse=VpcLimitExceeded", "slow=0.1"]}
    with Lab("faults") as made, pytest.raises(Refused, match="may have no more"):
        made.provision()
    assert region.struck() == {"CreateVpc": 1}
    ended = lab()
    assert ended.stdout == (
        "calls that went wrong until now: CreateVpc 1\nfaults from now on: none\n"
    )
    wrong = lab("explode")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "no such fault: 'explode'" in wrong.stderr
