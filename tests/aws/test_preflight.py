"""The preflight on accounts in which something is wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from account import HERE, USER, Account, Said, date, image, kind, offered, simulation
from botocore.exceptions import (
    EndpointConnectionError,
    NoCredentialsError,
    UnauthorizedSSOTokenError,
)

from osawslab.aws import offer, permissions, policy, preflight
from osawslab.aws.facts import Facts, tags
from osawslab.aws.inquiry import Row
from osawslab.aws.policy import words
from osawslab.errors import Refused
from osawslab.settings import Settings

ENCODED = " Encoded authorization failure message: 4eGh"


def denied(action: str) -> Said:
    words = f"User: {USER} is not authorized to perform: {action} on resource: *" + ENCODED
    return Said("UnauthorizedOperation", "You are not authorized. " + words)


def nobody_home(region: str) -> EndpointConnectionError:
    return EndpointConnectionError(endpoint_url=f"https://ec2.{region}.amazonaws.com")


def addresses(used: int, idle: int = 0) -> dict[str, Any]:
    found = [{"AllocationId": f"eipalloc-{i}"} for i in range(used + idle)]
    for each in found[:used]:
        each["AssociationId"] = "eipassoc-1"
    return {"Addresses": found}


def vpcs(number: int, name: str = "other") -> dict[str, Any]:
    named = [{"Key": "Name", "Value": name}]
    return {"Vpcs": [{"VpcId": f"vpc-{i}", "Tags": named} for i in range(number)]}


def unlabelled(found: dict[str, Any]) -> Callable[[dict[str, Any]], Any]:
    """Answer a describe call with what has no tag of the lab's."""

    def answer(asked: dict[str, Any]) -> Any:
        mine = any(f["Name"].startswith("tag:osawslab") for f in asked.get("Filters", []))
        return {key: [] for key in found} if mine else found

    return answer


def running(asked: dict[str, Any]) -> Any:
    """Answer with eight instances of 4 vCPUs that count, and two that do not."""
    each = {"InstanceType": "m5.xlarge"}
    spot = {**each, "InstanceLifecycle": "spot"}
    other = {"InstanceType": "g4dn.xlarge"}
    all_of = {"Reservations": [{"Instances": [each] * 8}, {"Instances": [spot, other]}]}
    return unlabelled(all_of)(asked)


def tagged(role: str, **more: str) -> dict[str, Any]:
    return {"Tags": tags("lab", role), "VpcId": "vpc-1", **more}


HALF_MADE = {  # a lab with a subnet and a group that a launch would be in
    "DescribeSubnets": {
        "Subnets": [tagged("management-subnet", SubnetId="subnet-1", AvailabilityZone="us-east-1a")]
    },
    "DescribeSecurityGroups": {
        "SecurityGroups": [{**tagged("group", GroupId="sg-1"), "IpPermissions": []}]
    },
}


@dataclass(frozen=True)
class Case:
    """What is wrong, the row that says so, and whether provision refuses."""

    row: str
    seen: str
    next: str
    answers: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    refuses: bool = False
    also: tuple[str, ...] = ()  # other rows that say it


WHO, DRY_RUN, SIMULATED = "who asks", permissions.DRY_RUN, permissions.SIMULATED
TYPE, EIPS = "instance type", "Elastic IPs"
STANDARD = "vCPUs of On-Demand Standard instances"
WRONG_REGION = {
    "GetCallerIdentity_in_eu_central_9": nobody_home("eu-central-9"),
    "DescribeRegions_in_eu_central_9": nobody_home("eu-central-9"),
}
NOT_ENABLED = {
    "GetCallerIdentity_in_ap_east_1": Said("InvalidClientTokenId"),
    "DescribeRegions_in_ap_east_1": Said("AuthFailure"),
}
CASES = {
    "no credentials": Case(
        WHO, "no credentials", "aws configure", {"GetCallerIdentity": NoCredentialsError()}
    ),
    "expired SSO": Case(
        WHO, "expired", "aws sso login", {"GetCallerIdentity": UnauthorizedSSOTokenError()}
    ),
    "expired token": Case(
        WHO, "expired", "aws sso login", {"GetCallerIdentity": Said("ExpiredToken")}
    ),
    "wrong key": Case(
        WHO, "does not know this access key", "aws configure",
        {"GetCallerIdentity": Said("InvalidClientTokenId")},
    ),
    "wrong secret": Case(
        WHO, "secret key", "aws configure", {"GetCallerIdentity": Said("SignatureDoesNotMatch")}
    ),
    "a clock that AWS refuses": Case(
        WHO, "clock is wrong", "timedatectl",
        {"GetCallerIdentity": Said("SignatureDoesNotMatch", "Signature expired: 20260101T000000Z")},
    ),
    "no network": Case(
        WHO, "does not answer", "curl", {"GetCallerIdentity": nobody_home("us-east-1")}
    ),
    "a clock that is late": Case(
        "this machine's clock", "behind", "timedatectl",
        {"GetCallerIdentity": {
            "Arn": USER, "ResponseMetadata": {"HTTPHeaders": {"date": date(86400)}}}},
    ),
    "no such region": Case(
        "region", "no such region", 'region = "eu-central-1"', WRONG_REGION,
        {"region": "eu-central-9"},
    ),
    "a region not enabled": Case(
        "region", "not-opted-in", "aws account enable-region --region-name ap-east-1",
        NOT_ENABLED, {"region": "ap-east-1"},
    ),
    "may not launch": Case(
        DRY_RUN, "missing: RunInstances", "ask for the IAM permission ec2:RunInstances",
        {"RunInstances": Said("UnauthorizedOperation"), **HALF_MADE},
    ),
    "may not tag": Case(
        DRY_RUN, "missing: CreateTags", "ask for the IAM permission ec2:CreateTags",
        {"AllocateAddress": denied("ec2:CreateTags")}, refuses=True,
    ),
    "may make no VPC": Case(
        DRY_RUN, "missing: CreateVpc", "ec2:CreateVpc", {"CreateVpc": denied("ec2:CreateVpc")}
    ),
    "may not look": Case(
        permissions.TRIED, "missing: DescribeKeyPairs", "ec2:DescribeKeyPairs",
        {"DescribeKeyPairs": denied("ec2:DescribeKeyPairs")},
    ),
    "may not attach, says IAM": Case(
        SIMULATED, "missing: AttachNetworkInterface", "ec2:AttachNetworkInterface",
        {"SimulatePrincipalPolicy": simulation(AttachNetworkInterface="explicitDeny")},
    ),
    "one Elastic IP left": Case(
        EIPS, "1 left: 4 of 5 in use (Service Quotas)", "--desired-value 6",
        {"DescribeAddresses": unlabelled(addresses(4))}, refuses=True,
    ),
    "Elastic IPs that lead nowhere": Case(
        EIPS, "0 left", "release-address --allocation-id eipalloc-3",
        {"DescribeAddresses": unlabelled(addresses(3, idle=2))}, refuses=True,
    ),
    "Elastic IPs, as EC2 tells": Case(
        EIPS, "1 left: 2 of 3 in use (EC2)", "release-address",
        {"DescribeAddresses": unlabelled(addresses(2)),
         "GetServiceQuota": Said("AccessDeniedException"),
         "DescribeAccountAttributes": {"AccountAttributes": [{
             "AttributeName": "vpc-max-elastic-ips",
             "AttributeValues": [{"AttributeValue": "3"}]}]}},
        refuses=True,
    ),
    "Elastic IPs, by AWS's default": Case(
        EIPS, "1 left: 4 of 5 in use (AWS's default", "release-address",
        {"DescribeAddresses": unlabelled(addresses(4)),
         "GetServiceQuota": Said("AccessDeniedException")},
    ),
    "five VPCs": Case(
        "VPCs", "0 left: 5 of 5 in use", "delete-vpc",
        {"DescribeVpcs": unlabelled(vpcs(5))}, refuses=True,
    ),
    "all vCPUs in use": Case(
        STANDARD, "0 left: 32 of 32 in use", "L-1216C47A",
        {"DescribeInstances": running}, refuses=True,
    ),
    "no AMI": Case(
        "AMI", "ParameterNotFound", "debian = 12", {"GetParameter": Said("ParameterNotFound")},
        refuses=True,
    ),
    "may not ask for the AMI": Case(
        "AMI", "AccessDenied", "ssm:GetParameter", {"GetParameter": Said("AccessDeniedException")},
        refuses=True, also=(permissions.TRIED,),
    ),
    "an AMI withdrawn": Case(
        "AMI", "withdrawn", "debian = 12", {"DescribeImages": Said("InvalidAMIID.Unavailable")},
        refuses=True,
    ),
    "an AMI on its way": Case(
        "AMI", "pending", "debian = 12", {"DescribeImages": image(State="pending")}, refuses=True
    ),
    "an AMI deprecated": Case(
        "AMI", "deprecated since 2020-01-01", "debian = 12",
        {"DescribeImages": image(DeprecationTime="2020-01-01T00:00:00.000Z")},
    ),
    "an AMI that the account forbids": Case(
        "AMI", "not allowed in this account", "allowed-images-settings",
        {"DescribeImages": image(ImageAllowed=False)}, refuses=True,
    ),
    "an AMI for another processor": Case(
        "AMI", "t2.large is arm64", "instance_type",
        {"DescribeInstanceTypes": {"InstanceTypes": [kind("t2.large", cpu="arm64")]}},
        refuses=True,
    ),
    "a region without t2": Case(
        TYPE, "t2.large is not offered in us-east-1",
        'instance_type = "t3.xlarge"\nstrategy = "share"',
        {"DescribeInstanceTypeOfferings": offered("t3.xlarge", "m5.xlarge")}, refuses=True,
    ),
    "a zone without t2": Case(
        TYPE, "offered in us-east-1b", 'zone = "b"',
        {"DescribeInstanceTypeOfferings": offered("t2.large", zone="us-east-1b")}, refuses=True,
    ),
    "one NIC": Case(
        "NICs of the instance type", "at most 1", "instance_type",
        {"DescribeInstanceTypes": {"InstanceTypes": [kind("t2.large", nics=1)]}}, refuses=True,
    ),
    "swap on ena": Case(
        "the NIC's driver", "ena, which can change no MAC", 'strategy = "auto"',
        {}, {"instance_type": "t3.large", "strategy": "swap"},
    ),
    "we are not let in": Case(
        "our own public address", HERE, f'allow_from = "{HERE}/32"',
        {}, {"allow_from": "192.0.2.0/24"},
    ),
}  # fmt: skip


def look(case: Case) -> tuple[Account, Settings]:
    settings = Settings(**case.settings)
    return Account(settings.region, **case.answers), settings


@pytest.mark.parametrize("name", CASES)
def test_what_is_wrong_is_said_with_what_to_type(name: str) -> None:
    case = CASES[name]
    account, settings = look(case)
    found = preflight.rows(account.target(), settings)
    wrong = {row.what: row for row in found if not row}
    assert set(wrong) == {case.row, *case.also}
    assert case.seen in wrong[case.row].seen
    assert case.next in wrong[case.row].next
    assert "Encoded" not in wrong[case.row].seen


@pytest.mark.parametrize("name", [n for n in CASES if "region" not in CASES[n].settings])
def test_provision_is_refused_where_it_could_not_be_finished(name: str) -> None:
    case = CASES[name]
    account, settings = look(case)
    if not case.refuses:
        preflight.require(account.target(), settings, Facts())
        return
    with pytest.raises(Refused) as caught:
        preflight.require(account.target(), settings, Facts())
    assert case.row in caught.value.what
    assert case.seen in caught.value.seen
    assert case.next in caught.value.next


def by_name(account: Account, **settings: Any) -> dict[str, Row]:
    made = Settings(**settings)
    return {row.what: row for row in preflight.rows(account.target(), made)}


def test_a_healthy_account_is_all_right() -> None:
    account = Account()
    found = by_name(account)
    assert all(found.values()), found
    assert found[WHO].seen == USER
    assert found["the NIC's driver"].seen.startswith("vif (Xen)")
    assert found[EIPS].expected == "2 more"
    changes = [
        (name, asked) for name, asked in account.calls
        if not name.startswith(("Describe", "Get", "Simulate"))
    ]  # fmt: skip
    assert changes
    assert all(asked["DryRun"] for _, asked in changes)


@pytest.mark.parametrize(
    ("answers", "settings", "row", "seen"),
    [
        ({}, {"instance_type": "t3.large"}, "the NIC's driver",
         "ena, which can change no MAC: strategy share"),
        ({"DescribeVpcs": unlabelled(vpcs(2, "lab vpc"))}, {},
         "VPCs named 'lab vpc' that are not the lab's", "vpc-0, vpc-1: left alone"),
        ({"DescribeVpcs": {"Vpcs": [{"VpcId": "vpc-1", "Tags": tags("lab", "vpc")}]},
          "DescribeRouteTables": {"RouteTables": []}}, {},
         "VPCs named 'lab vpc' that are not the lab's", "none"),
        ({"DescribeRegions": denied("ec2:DescribeRegions")}, {}, "region", "not known"),
        ({"GetServiceQuota": Said("AccessDeniedException")}, {}, STANDARD, "not known"),
        ({}, {"instance_type": "g4dn.xlarge"}, STANDARD, "a quota of its own"),
        ({"RunInstances": Said("VPCIdNotSpecified")}, {}, SIMULATED, "RunInstances"),
        ({"SimulatePrincipalPolicy": Said("AccessDenied")}, {},
         "permissions that a step's own call tells", "TerminateInstances"),
        ({"DescribeInstanceTypes": lambda asked: {"InstanceTypes": [
            {**kind(each), "ProcessorInfo": {"SupportedArchitectures": ["x86_64"],
             "SupportedFeatures": ["nested-virtualization"]}} for each in asked["InstanceTypes"]]}},
         {"instance_type": "t3.large"}, "nested virtualization", "yes"),
    ],
)  # fmt: skip
def test_what_is_said_and_no_failure(
    answers: dict[str, Any], settings: dict[str, Any], row: str, seen: str
) -> None:
    if settings.get("instance_type") == "g4dn.xlarge":
        answers = {"DescribeInstanceTypeOfferings": offered("g4dn.xlarge")}
    found = by_name(Account(**answers), **settings)[row]
    assert found, found
    assert seen in found.seen
    assert "Encoded" not in found.seen


@pytest.mark.parametrize(
    ("names", "taken"),
    [
        (("t2.large", "t3.xlarge"), ""),
        (("t3.xlarge", "m5.xlarge"), "t3.xlarge"),
        (("m5.xlarge",), "m5.xlarge"),
        ((), ""),
    ],
)
def test_what_is_taken_where_the_default_is_not_offered(names: tuple[str, ...], taken: str) -> None:
    account = Account(DescribeInstanceTypeOfferings=offered(*names))
    assert offer.instead(account.target(), Settings()) == taken


def test_nobody_who_may_not_ask_is_kept_from_a_step_by_it() -> None:
    account = Account(
        DescribeInstanceTypeOfferings=denied("ec2:DescribeInstanceTypeOfferings"),
    )
    assert offer.instead(account.target(), Settings()) == ""


def test_iam_is_asked_for_what_a_call_touches() -> None:
    """A policy that names its resources says no to any: asked so, nothing was ever missing."""
    account = Account()
    row = by_name(account)[SIMULATED]
    assert row
    assert "AttachNetworkInterface" in row.seen
    asked = [told for name, told in account.calls if name == "SimulatePrincipalPolicy"]
    arns = {arn for each in asked for arn in each.get("ResourceArns", ["none"])}
    assert "arn:aws:ec2:us-east-1:123456789012:instance/instance-0" in arns
    held = policy.statements()
    nothing = simulation([each for each in held if words(each["Resource"]) == ["*"]])
    row = by_name(Account(SimulatePrincipalPolicy=nothing))[SIMULATED]
    assert "missing: " in row.seen
    assert "TerminateInstances" in row.next


@pytest.mark.parametrize("action", ["TerminateInstances", "AttachNetworkInterface"])
def test_a_statement_that_does_not_name_the_action_is_a_missing_permission(action: str) -> None:
    held = [
        {**each, "Action": [a for a in words(each["Action"]) if a != f"ec2:{action}"]}
        for each in policy.statements()
    ]
    row = by_name(Account(SimulatePrincipalPolicy=simulation(held)))[SIMULATED]
    assert row.seen.startswith(f"missing: {action}; allowed: ")
    assert row.next == f"ask for the IAM permission ec2:{action}"


def test_a_kind_that_the_policy_does_not_name_is_a_missing_permission() -> None:
    """What touches two things is allowed where both are."""
    held = [
        {**each, "Resource": [a for a in words(each["Resource"]) if "snapshot" not in a]}
        for each in policy.statements()
    ]
    account = Account(SimulatePrincipalPolicy=simulation(held))
    row = by_name(account, cloud="openstack")[SIMULATED]
    assert "missing: CreateImage" in row.seen


def test_a_policy_that_looks_at_what_iam_is_not_told_says_nothing() -> None:
    lacks = simulation(None, ("aws:MultiFactorAuthPresent",), StartInstances="implicitDeny")
    found = by_name(Account(SimulatePrincipalPolicy=lacks))
    assert "StartInstances" not in found[SIMULATED].seen
    assert all(found.values())
    assert "StartInstances" in found["permissions that a step's own call tells"].seen


def test_each_permission_is_known_in_one_way() -> None:
    for answers in ({}, {"SimulatePrincipalPolicy": Said("AccessDenied")}):
        told = [row.seen for row in preflight.rows(Account(**answers).target(), Settings())
                if row.what.startswith("permissions")]  # fmt: skip
        words = " ".join(told).replace(",", " ").split()
        for action in (*permissions.CHANGES, *permissions.LOOKS):
            assert words.count(action.removeprefix("ec2:")) == 1, action


def test_our_address_may_not_be_known() -> None:
    def silent() -> str:
        raise TimeoutError("timed out")

    for settings, fine in ((Settings(allow_from="192.0.2.0/24"), True), (Settings(), False)):
        found = preflight.rows(Account().target(silent), settings)
        [row] = [each for each in found if each.what == "our own public address"]
        assert bool(row) is fine
        assert "not known" in row.seen
