"""Ansible's collection amazon.aws on the region: a playbook makes, changes nothing, takes away."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest

from osawslab import access
from osawslab.region import local

AMI = "ami-0d13a6d64d13a6d64"
PLAYBOOK = Path(__file__).with_name("playbook.yml")


@pytest.fixture(scope="module")
def region(home: Path) -> Iterator[local.Region]:
    yield local.ensure("ansible")
    local.remove("ansible")


def changed(region: local.Region, home: Path, state: str) -> int:
    """Play the playbook; how many of its tasks changed something."""
    environ = access.without_clouds()
    environ.pop("PYTHONPATH", None)
    Path(home, "ansible.cfg").touch()  # and so no other of this machine
    environ |= access.variables(region) | {
        "ANSIBLE_HOME": str(home / "ansible"),
        "ANSIBLE_LOCAL_TEMP": str(home / "ansible"),
        "ANSIBLE_CONFIG": str(home / "ansible.cfg"),
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_PIPELINING": "1",
        "ANSIBLE_PYTHON_INTERPRETER": "/usr/bin/python3",  # Debian's, which has Debian's boto3
    }
    done = subprocess.run(
        ["ansible-playbook", "-i", "localhost,", str(PLAYBOOK),
         "-e", f"state={state} image={AMI} endpoint={region.endpoint}"],
        env=environ, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    recap = re.search(r"changed=(\d+) +unreachable=0 +failed=0", done.stdout)
    assert recap, done.stdout
    return int(recap[1])


def account(region: local.Region) -> list[str]:
    """List the ids of what is in the account, beside what AWS puts in each."""
    ec2 = boto3.client(
        "ec2", region.region, endpoint_url=region.endpoint,
        aws_access_key_id=region.access_key, aws_secret_access_key=region.secret_key,
    )  # fmt: skip
    described = {
        "VpcId": ec2.describe_vpcs()["Vpcs"],
        "SubnetId": ec2.describe_subnets()["Subnets"],
        "InternetGatewayId": ec2.describe_internet_gateways()["InternetGateways"],
        "RouteTableId": ec2.describe_route_tables()["RouteTables"],
        "GroupId": ec2.describe_security_groups()["SecurityGroups"],
        "KeyPairId": ec2.describe_key_pairs()["KeyPairs"],
        "NetworkInterfaceId": ec2.describe_network_interfaces()["NetworkInterfaces"],
        "AllocationId": ec2.describe_addresses()["Addresses"],
        "VolumeId": ec2.describe_volumes()["Volumes"],
    }
    return sorted(each[name] for name, found in described.items() for each in found)


def test_a_playbook(region: local.Region, home: Path) -> None:
    before = account(region)
    assert changed(region, home, "present") == 10
    made = account(region)
    assert len(made) > len(before) + 10
    assert changed(region, home, "present") == 0
    assert account(region) == made
    assert changed(region, home, "absent") == 9
    assert account(region) == before
    assert changed(region, home, "absent") == 0
    assert account(region) == before
