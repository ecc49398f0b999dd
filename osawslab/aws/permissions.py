"""What the steps must be allowed to do, and whether they are.

Ways to know: the call itself, where it only looks; EC2's DryRun, for what needs no id of something
that does not exist yet, and for the rest as soon as it does; IAM's simulation, where that may be
asked; and else the step's own call.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from osawslab.aws import policy
from osawslab.aws.facts import Facts, tags
from osawslab.aws.inquiry import FORBIDDEN, Inquiry, Refusal, Row, attempt
from osawslab.aws.simulation import simulated
from osawslab.keys import make_key

ASKED = {  # by the preflight and for prices alone; where they may not, less is known
    "ec2:DescribeAccountAttributes",
    "ec2:DescribeInstanceTypeOfferings",
    "ec2:DescribeRegions",
    "iam:SimulatePrincipalPolicy",
    "pricing:GetProducts",
    "servicequotas:GetServiceQuota",
}
BAKES = ("ec2:CreateImage", "ec2:DeleteTags")
# No chapter's: the probes', and a floating IP's.
PROBES = {"ec2:AssignPrivateIpAddresses", "ec2:UnassignPrivateIpAddresses"}
GIVES_BACK = "ec2:TerminateInstances", "ec2:ReleaseAddress"  # what costs money
PUTS_TOGETHER = "ec2:AttachNetworkInterface", "ec2:AssociateAddress"
_NEEDED = sorted(policy.allowed() - ASKED - PROBES - set(BAKES))
LOOKS = tuple(action for action in _NEEDED if action.partition(":")[2].startswith(("Desc", "Get")))
CHANGES = tuple(action for action in _NEEDED if action not in LOOKS)
TRIED = "permissions, by the call itself"
DRY_RUN = "permissions, by EC2's DryRun"
SIMULATED = "permissions, by IAM's simulation"
ALLOWED = "all allowed"


def _calls(inquiry: Inquiry, image: str) -> dict[str, tuple[str, dict[str, Any]]]:
    """Give the calls that need no id, or one that is known: action -> method, how it is called."""
    settings = inquiry.settings
    key = f"osawslab-{settings.name}-preflight"

    def tagged(kind: str) -> dict[str, Any]:
        return {
            "DryRun": True,
            "TagSpecifications": [{"ResourceType": kind, "Tags": tags(settings.name, "preflight")}],
        }

    calls = {
        "ec2:CreateVpc": ("create_vpc", {"CidrBlock": settings.vpc_cidr, **tagged("vpc")}),
        "ec2:CreateInternetGateway": ("create_internet_gateway", tagged("internet-gateway")),
        "ec2:AllocateAddress": ("allocate_address", {"Domain": "vpc", **tagged("elastic-ip")}),
        "ec2:ImportKeyPair": (
            "import_key_pair",
            {"KeyName": key, "PublicKeyMaterial": make_key(key)[1].encode(), **tagged("key-pair")},
        ),
    }
    if image:
        made = [tagged(kind) for kind in ("instance", "network-interface", "volume")]
        how: dict[str, Any] = {
            "ImageId": image,
            "InstanceType": settings.instance_type,
            "MinCount": 1,
            "MaxCount": 1,
            "DryRun": True,
            "TagSpecifications": [each for one in made for each in one["TagSpecifications"]],
        }
        subnet, group = inquiry.have.subnets.get("management"), inquiry.have.group
        if subnet and group:
            how |= {"SubnetId": subnet["SubnetId"], "SecurityGroupIds": [group["GroupId"]]}
        calls["ec2:RunInstances"] = ("run_instances", how)
    return calls | _by_id(inquiry.have)


def _by_id(have: Facts) -> dict[str, tuple[str, dict[str, Any]]]:
    """Give the calls for what exists of the lab: how it is given back, and put together."""
    calls: dict[str, tuple[str, dict[str, Any]]] = {}
    nic = have.nics.get("provider")
    if have.instance:
        name = have.instance["InstanceId"]
        calls["ec2:TerminateInstances"] = ("terminate_instances", {"InstanceIds": [name]})
        if nic and not nic.get("Attachment"):
            how = {
                "InstanceId": name,
                "NetworkInterfaceId": nic["NetworkInterfaceId"],
                "DeviceIndex": 1,
            }
            calls["ec2:AttachNetworkInterface"] = ("attach_network_interface", how)
    for role, address in have.addresses.items():
        key = {"AllocationId": address["AllocationId"]}
        calls["ec2:ReleaseAddress"] = ("release_address", key)
        if role in have.nics:
            to = {"NetworkInterfaceId": have.nics[role]["NetworkInterfaceId"]}
            calls["ec2:AssociateAddress"] = ("associate_address", {**key, **to})
    return {action: (method, {**how, "DryRun": True}) for action, (method, how) in calls.items()}


def dry(inquiry: Inquiry, image: str, only: Iterable[str] = CHANGES) -> dict[str, bool]:
    """Ask EC2 what it would do, without doing it: action -> allowed; the others are not known."""
    known: dict[str, bool] = {}
    ec2 = inquiry.target.client("ec2")
    for action, (method, how) in _calls(inquiry, image).items():
        if action in only:
            told = attempt(lambda m=method, h=how: getattr(ec2, m)(**h))  # type: ignore[misc]
            code = told.code if isinstance(told, Refusal) else "DryRunOperation"
            if code in FORBIDDEN and method == "run_instances" and "SubnetId" not in how:
                continue  # EC2 asked for the default VPC's, which a policy need not allow
            if code in FORBIDDEN:  # which may be for another than the one that was asked
                named = re.search(r"not authorized to perform: (\w+:\w+)", told.message)
                known[named[1] if named else action] = False
            elif code == "DryRunOperation":
                known[action] = True
    return known


def rows(inquiry: Inquiry, arn: str, image: str, heard: Mapping[str, bool]) -> list[Row]:
    """Say of each action whether it is allowed, a row for each way to know.

    `heard` is what calls have told that were made already: action -> allowed.
    """
    looks = {action: heard[action] for action in LOOKS if action in heard}
    by_dry_run = dry(inquiry, image)
    bakes = BAKES if inquiry.settings.cloud == "openstack" else ()
    needed = (*CHANGES, *bakes, *LOOKS)
    left = [action for action in needed if action not in {**looks, **by_dry_run}]
    by_iam = simulated(inquiry, arn, left)
    why = (
        by_iam if isinstance(by_iam, str) else "a policy looks at what IAM's simulation is not told"
    )
    by_iam = {} if isinstance(by_iam, str) else by_iam
    found = [row(TRIED, looks, fatal=True), row(DRY_RUN, by_dry_run, fatal=True)]
    if by_iam:
        found.append(row(SIMULATED, by_iam))
    left = [_short(action) for action in left if action not in by_iam]
    if left:
        found.append(
            Row(
                "permissions that a step's own call tells",
                "asked by the step",
                f"not known: {', '.join(left)} ({why})",
                True,
            )
        )
    return found


def row(what: str, known: Mapping[str, bool], fatal: bool = False) -> Row:
    """Say which actions are allowed and which are missing."""
    missing = [action for action, allowed in known.items() if not allowed]
    names = ", ".join(_short(action) for action, allowed in known.items() if allowed)
    return Row(
        what,
        ALLOWED,
        "; ".join(
            part
            for part in (
                f"missing: {', '.join(map(_short, missing))}" if missing else "",
                f"allowed: {names}" if names else "",
            )
            if part
        ) or "not known",
        not missing,
        f"ask for the IAM permission {', '.join(missing)}" if missing else "",
        fatal,
    )  # fmt: skip


def _short(action: str) -> str:
    return action.removeprefix("ec2:")
