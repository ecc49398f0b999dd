"""boto3's own waiters and paginators against the region."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import botocore.session
import pytest
from botocore import xform_name
from botocore.exceptions import ClientError

from osawslab.region import local
from osawslab.region.motoadapter import Moto

SESSION = botocore.session.get_session()
PAGES = SESSION.get_paginator_model("ec2")._paginator_config
WAITERS = SESSION.get_waiter_model("ec2")
AMI = "ami-0d13a6d64d13a6d64"
# What the region refuses, in these words.
REFUSED = {
    "DescribeVolumeStatus": "UnsupportedOperation",
    "DescribeLaunchTemplateVersions": "MissingParameter",
}
NEEDS_MORE = {  # paginators that need the id of something that no lab has
    each
    for each in PAGES
    if SESSION.get_service_model("ec2").operation_model(each).input_shape.required_members
}


@pytest.fixture(scope="module")
def ec2(home: Path) -> Iterator[Any]:
    region = local.ensure("waiters")
    yield boto3.client(
        "ec2", "us-east-1", endpoint_url=region.endpoint,
        aws_access_key_id=region.access_key, aws_secret_access_key=region.secret_key,
    )  # fmt: skip
    local.remove("waiters")


def wait(ec2: Any, name: str, **which: Any) -> None:
    ec2.get_waiter(name).wait(**which, WaiterConfig={"Delay": 1, "MaxAttempts": 20})


def test_every_paginator_of_what_the_region_answers(ec2: Any) -> None:
    names = sorted(Moto.actions() & PAGES.keys() - NEEDS_MORE)
    assert len(names) > 40
    answers = {}
    for name in names:
        try:
            pages = list(ec2.get_paginator(xform_name(name)).paginate())
        except ClientError as error:
            answers[name] = error.response["Error"]["Code"]
        else:
            assert pages
    assert answers == REFUSED


def test_a_life_with_every_waiter_of_it(ec2: Any) -> None:
    """Make all, wait for all, take all away."""
    waited: set[str] = set()

    def until(name: str, **which: Any) -> None:
        wait(ec2, name, **which)
        waited.add(name)

    vpc = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    until("vpc_exists", VpcIds=[vpc])
    until("vpc_available", VpcIds=[vpc])
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.9.1.0/24")["Subnet"]["SubnetId"]
    until("subnet_available", SubnetIds=[subnet])
    gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    until("internet_gateway_exists", InternetGatewayIds=[gateway])
    ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
    group = ec2.create_security_group(GroupName="w", Description="w", VpcId=vpc)["GroupId"]
    until("security_group_exists", GroupIds=[group])
    ec2.create_key_pair(KeyName="w", KeyType="ed25519")
    until("key_pair_exists", KeyNames=["w"])
    until("image_exists", ImageIds=[AMI])
    until("image_available", ImageIds=[AMI])
    made = ec2.run_instances(
        ImageId=AMI, InstanceType="t2.large", MinCount=1, MaxCount=1, KeyName="w",
        SubnetId=subnet, SecurityGroupIds=[group],
    )["Instances"][0]["InstanceId"]  # fmt: skip
    for name in ("instance_exists", "instance_running", "instance_status_ok", "system_status_ok"):
        until(name, InstanceIds=[made])
    [volume] = ec2.describe_volumes(Filters=[{"Name": "attachment.instance-id", "Values": [made]}])[
        "Volumes"
    ]
    until("volume_in_use", VolumeIds=[volume["VolumeId"]])
    nic = ec2.create_network_interface(SubnetId=subnet, Groups=[group])["NetworkInterface"]
    nic = nic["NetworkInterfaceId"]
    until("network_interface_available", NetworkInterfaceIds=[nic])
    plug = ec2.attach_network_interface(NetworkInterfaceId=nic, InstanceId=made, DeviceIndex=1)
    eip = ec2.allocate_address(Domain="vpc")["AllocationId"]
    ec2.associate_address(AllocationId=eip, NetworkInterfaceId=nic)
    ec2.stop_instances(InstanceIds=[made])
    until("instance_stopped", InstanceIds=[made])

    ec2.detach_network_interface(AttachmentId=plug["AttachmentId"], Force=True)
    until("network_interface_available", NetworkInterfaceIds=[nic])
    ec2.delete_network_interface(NetworkInterfaceId=nic)  # its address leads nowhere then
    ec2.release_address(AllocationId=eip)
    ec2.terminate_instances(InstanceIds=[made])
    until("instance_terminated", InstanceIds=[made])
    until("volume_deleted", VolumeIds=[volume["VolumeId"]])
    ec2.delete_key_pair(KeyName="w")
    ec2.detach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
    ec2.delete_internet_gateway(InternetGatewayId=gateway)
    ec2.delete_subnet(SubnetId=subnet)
    ec2.delete_security_group(GroupId=group)
    ec2.delete_vpc(VpcId=vpc)
    mine = {
        xform_name(name)
        for name in WAITERS.waiter_names
        if WAITERS.get_waiter(name).operation in {
            "DescribeVpcs", "DescribeSubnets", "DescribeInternetGateways",
            "DescribeSecurityGroups", "DescribeKeyPairs", "DescribeImages", "DescribeInstances",
            "DescribeInstanceStatus", "DescribeNetworkInterfaces", "DescribeVolumes",
        }
    }  # fmt: skip
    assert waited == mine - {"volume_available"}  # a lab has no disk that is not an instance's
