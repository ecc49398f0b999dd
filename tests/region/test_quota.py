"""Quotas, and what cannot be deleted while something uses it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from osawslab.region import quota
from osawslab.region.wire import Ec2Error

Lab = Any  # conftest's


def six_eips(lab: Lab) -> None:
    for _ in range(6):
        lab.eip()


def detach_mapped(lab: Lab) -> None:
    lab.associate(AllocationId=lab.eip(), NetworkInterfaceId=lab.nic)
    lab.ec2.detach_internet_gateway(InternetGatewayId=lab.igw, VpcId=lab.vpc)


def group_in_use(lab: Lab) -> None:
    made = lab.ec2.create_security_group(GroupName="g", Description="d", VpcId=lab.vpc)
    lab.eni(Groups=[made["GroupId"]])
    lab.ec2.delete_security_group(GroupId=made["GroupId"])


def sixth(what: str, **how: Any) -> Callable[[Lab], object]:
    return lambda lab: [getattr(lab.ec2, f"create_{what}")(**how) for _ in range(5)]


def second_gateway(lab: Lab) -> None:
    made = lab.ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    lab.ec2.attach_internet_gateway(InternetGatewayId=made, VpcId=lab.vpc)


def default_group(lab: Lab) -> None:
    lab.ec2.delete_security_group(GroupId=lab.nics()[lab.nic]["Groups"][0]["GroupId"])


def group_of_a_rule(lab: Lab) -> None:
    make = lab.ec2.create_security_group
    one, two = (make(GroupName=n, Description=n, VpcId=lab.vpc)["GroupId"] for n in ("a", "b"))
    permission = {"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": one}]}
    lab.ec2.authorize_security_group_ingress(GroupId=two, IpPermissions=[permission])
    lab.ec2.delete_security_group(GroupId=one)


def vpc_with(call: str, **how: Any) -> Callable[[Lab], object]:
    """Delete a VPC that holds one thing only."""

    def delete(lab: Lab) -> None:
        vpc = lab.ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        if call == "attach_internet_gateway":
            made = lab.ec2.create_internet_gateway()["InternetGateway"]
            how["InternetGatewayId"] = made["InternetGatewayId"]
        getattr(lab.ec2, call)(VpcId=vpc, **how)
        lab.ec2.delete_vpc(VpcId=vpc)

    return delete


def too_many_vcpus(lab: Lab) -> None:
    """The lab's own t2.large has 2 of 32."""
    lab.run(InstanceType="t3.2xlarge", SubnetId=lab.b, MinCount=3, MaxCount=3)
    lab.run(InstanceType="t3.2xlarge", SubnetId=lab.b)


def start_too_many(lab: Lab) -> None:
    lab.ec2.stop_instances(InstanceIds=[lab.i])
    lab.run(InstanceType="t3.2xlarge", SubnetId=lab.b, MinCount=4, MaxCount=4)
    lab.ec2.start_instances(InstanceIds=[lab.i])


VCPUS = (
    "VcpuLimitExceeded",
    "You have requested more vCPU capacity than your current vCPU limit of 32 allows for .*",
)
VPC_IN_USE = ("DependencyViolation", "The vpc 'vpc-.*' has dependencies and cannot be deleted.")
REFUSALS = {
    "a VPC with a subnet": (vpc_with("create_subnet", CidrBlock="10.0.0.0/24"), *VPC_IN_USE),
    "a VPC with a gateway": (vpc_with("attach_internet_gateway"), *VPC_IN_USE),
    "a VPC with a route table": (vpc_with("create_route_table"), *VPC_IN_USE),
    "a VPC with a group": (
        vpc_with("create_security_group", GroupName="g", Description="d"),
        *VPC_IN_USE,
    ),
    "the sixth Elastic IP": (
        six_eips,
        "AddressLimitExceeded",
        "The maximum number of addresses has been reached.",
    ),
    "more vCPUs than 32": (too_many_vcpus, *VCPUS),
    "starting with more vCPUs than 32": (start_too_many, *VCPUS),
    "the sixth VPC": (
        sixth("vpc", CidrBlock="10.0.0.0/16"),
        "VpcLimitExceeded",
        "The maximum number of VPCs has been reached.",
    ),
    "the sixth gateway": (
        sixth("internet_gateway"),
        "InternetGatewayLimitExceeded",
        "The maximum number of internet gateways has been reached.",
    ),
    "deleting an interface in use": (
        lambda lab: lab.ec2.delete_network_interface(NetworkInterfaceId=lab.nic),
        "InvalidParameterValue",
        "Network interface 'eni-.*' is currently in use.",
    ),
    "deleting a group in use": (
        group_in_use,
        "DependencyViolation",
        "resource sg-.* has a dependent object",
    ),
    "deleting a subnet in use": (
        lambda lab: lab.ec2.delete_subnet(SubnetId=lab.a),
        "DependencyViolation",
        "The subnet 'subnet-.*' has dependencies and cannot be deleted.",
    ),
    "deleting a VPC in use": (
        lambda lab: lab.ec2.delete_vpc(VpcId=lab.vpc),
        "DependencyViolation",
        "The vpc 'vpc-.*' has dependencies and cannot be deleted.",
    ),
    "detaching a gateway in use": (
        detach_mapped,
        "DependencyViolation",
        "Network vpc-.* has some mapped public address(es). Please unmap those public "
        "address(es) before detaching the gateway.",
    ),
    "a second gateway": (
        second_gateway,
        "InvalidParameterValue",
        "Network vpc-.* already has an internet gateway attached",
    ),
    "attaching a gateway twice": (
        lambda lab: lab.ec2.attach_internet_gateway(InternetGatewayId=lab.igw, VpcId=lab.vpc),
        "Resource.AlreadyAssociated",
        "resource igw-.* is already attached to network vpc-.*",
    ),
    "deleting the default group": (
        default_group,
        "CannotDelete",
        'the specified group: "sg-.*" name: "default" cannot be deleted by a user',
    ),
    "deleting a group that a rule names": (
        group_of_a_rule,
        "DependencyViolation",
        "resource sg-.* has a dependent object",
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_what_ec2_refuses(lab: Lab, name: str) -> None:
    lab.refuses(*REFUSALS[name])


def test_an_empty_vpc_is_deleted(lab: Lab) -> None:
    vpc = lab.ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    lab.ec2.delete_vpc(VpcId=vpc)
    assert vpc not in str(lab.ec2.describe_vpcs())
    assert vpc not in str(lab.ec2.describe_security_groups())


@pytest.mark.parametrize(
    ("service", "code", "value"),
    [
        ("ec2", "L-0263D0A3", 5),
        ("ec2", "L-1216C47A", 32),
        ("vpc", "L-F678F1CE", 5),
        ("vpc", "L-A4707A72", 5),
    ],
)
def test_service_quotas_tells_what_is_refused_above(
    region: Any, service: str, code: str, value: int
) -> None:
    quotas = region.client("service-quotas")
    told = quotas.get_service_quota(ServiceCode=service, QuotaCode=code)["Quota"]
    assert (told["Value"], told["QuotaCode"]) == (value, code)
    pages = quotas.get_paginator("list_service_quotas").paginate(ServiceCode=service)
    assert told in [each for page in pages for each in page["Quotas"]]
    assert service in [each["ServiceCode"] for each in quotas.list_services()["Services"]]


@pytest.mark.parametrize(
    ("call", "how", "key", "code"),
    [
        ("get_service_quota", {"ServiceCode": "ec2", "QuotaCode": "L-0DA4ABF3"}, "AKIALAB",
         "NoSuchResourceException"),
        ("list_service_quotas", {"ServiceCode": "s3"}, "AKIALAB", "NoSuchResourceException"),
        ("get_association_for_service_quota_template", {}, "AKIALAB", "UnknownOperationException"),
        ("list_services", {}, "AKIASTRANGER", "UnrecognizedClientException"),
    ],
)  # fmt: skip
def test_service_quotas_refuses_the_rest(
    region: Any, call: str, how: dict[str, Any], key: str, code: str
) -> None:
    with pytest.raises(ClientError) as caught:
        getattr(region.client("service-quotas", key), call)(**how)
    assert caught.value.response["Error"]["Code"] == code


def test_more_is_granted_at_once(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    for key in quota.MOST:
        monkeypatch.setitem(quota.MOST, key, 5)  # as it was, afterwards
    with pytest.raises(ClientError, match="AddressLimitExceeded"):
        six_eips(lab)
    assert quota.told(
        "RequestServiceQuotaIncrease",
        {"ServiceCode": "ec2", "QuotaCode": "L-0263D0A3", "DesiredValue": 6},
    )["RequestedQuota"]["Status"] == "APPROVED"  # fmt: skip
    lab.eip()
    with pytest.raises(ClientError, match="AddressLimitExceeded"):
        lab.eip()
    asked = {"ServiceCode": "vpc", "QuotaCode": "L-F678F1CE", "DesiredValue": 9}
    quota.told("RequestServiceQuotaIncrease", asked)
    assert quota.told("GetServiceQuota", {**asked, "QuotaCode": "L-A4707A72"})["Quota"][
        "Value"
    ] == 9  # fmt: skip
    with pytest.raises(Ec2Error, match="greater than the current"):
        quota.told("RequestServiceQuotaIncrease", asked)
