"""Ask IAM what its policies say of calls that cannot be tried yet.

IAM is asked for an ARN of each kind of thing that a call touches: for none it looks at `*`, and a
policy that names what it allows says no to that.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from osawslab.aws.inquiry import Inquiry, Refusal, attempt

TOUCHES = {  # kind -> the calls that touch one: "Service Authorization Reference", Amazon EC2
    "elastic-ip": "AllocateAddress AssociateAddress DisassociateAddress ReleaseAddress",
    "image": "CreateImage DeregisterImage RunInstances",
    "instance": "AssociateAddress AttachNetworkInterface CreateImage CreateTags DeleteTags"
    " DescribeInstanceAttribute DetachNetworkInterface DetachVolume ModifyInstanceMetadataOptions"
    " RunInstances StartInstances TerminateInstances",
    "internet-gateway": "AttachInternetGateway CreateInternetGateway DeleteInternetGateway"
    " DetachInternetGateway",
    "key-pair": "DeleteKeyPair ImportKeyPair",
    "network-acl": "CreateNetworkAclEntry DeleteNetworkAclEntry",
    "network-interface": "AssignPrivateIpAddresses AssociateAddress AttachNetworkInterface"
    " CreateNetworkInterface DeleteNetworkInterface DetachNetworkInterface"
    " ModifyNetworkInterfaceAttribute RunInstances UnassignPrivateIpAddresses",
    "route-table": "CreateRoute DeleteRoute DeleteRouteTable ReplaceRoute",
    "security-group": "AuthorizeSecurityGroupEgress AuthorizeSecurityGroupIngress"
    " CreateNetworkInterface CreateSecurityGroup DeleteSecurityGroup RevokeSecurityGroupEgress"
    " RevokeSecurityGroupIngress RunInstances",
    "snapshot": "CreateImage DeleteSnapshot",
    "subnet": "CreateNetworkInterface CreateSubnet DeleteSubnet RunInstances",
    "volume": "DeleteVolume DetachVolume RunInstances",
    "vpc": "AttachInternetGateway CreateSecurityGroup CreateSubnet CreateVpc DeleteVpc"
    " DetachInternetGateway",
}
NOBODYS = ("image", "snapshot")  # their ARN names no account
DEBIAN = "136693071363"  # whose images they are: https://wiki.debian.org/Cloud/AmazonEC2Image


def principal(arn: str) -> str:
    """Give the ARN that IAM knows the caller by, "" for one it cannot simulate.

    >>> principal("arn:aws:sts::123456789012:assumed-role/Learner/me")
    'arn:aws:iam::123456789012:role/Learner'
    >>> principal("arn:aws:iam::123456789012:root")
    ''
    """
    role = re.fullmatch(r"arn:([\w-]+):sts::(\d+):assumed-role/([^/]+)/.*", arn)
    if role:
        return f"arn:{role[1]}:iam::{role[2]}:role/{role[3]}"
    return arn if re.fullmatch(r"arn:[\w-]+:iam::\d+:user/.+", arn) else ""


def asked(actions: Iterable[str], arn: str, region: str) -> dict[str, list[str]]:
    """Give what IAM is asked for: an ARN, "" for a call that touches nothing, and the actions.

    >>> asked(["ec2:DeleteVpc", "ec2:DescribeVpcs"], "arn:aws:iam::123456789012:user/me", "a-1")
    {'arn:aws:ec2:a-1:123456789012:vpc/vpc-0': ['ec2:DeleteVpc'], '': ['ec2:DescribeVpcs']}
    """
    _, partition, _, _, account, *_ = arn.split(":")
    found: dict[str, list[str]] = {}
    for action in actions:
        service, _, call = action.partition(":")
        kinds = [kind for kind, calls in TOUCHES.items() if call in calls.split()]
        arns = [
            f"arn:{partition}:ec2:{region}:{'' if kind in NOBODYS else account}:{kind}/{kind}-0"
            for kind in kinds
        ]
        if service == "ssm":
            arns = [f"arn:{partition}:ssm:{region}::parameter/aws/service/debian/release"]
        for each in arns or [""]:
            found.setdefault(each, []).append(action)
    return found


def simulated(inquiry: Inquiry, arn: str, actions: list[str]) -> dict[str, bool] | str:
    """Ask IAM what its policies say: action -> allowed; or why it cannot be asked.

    An action is allowed where it is for all that it touches. One whose policy looks at what we do
    not tell, such as a second factor, is not known.
    """
    known_as = principal(arn)
    if not known_as:
        return f"IAM simulates users and roles, not {arn}"
    ask = inquiry.target.client("iam").get_paginator("simulate_principal_policy").paginate
    context = _context(inquiry, known_as)
    known: dict[str, bool] = {}
    unsure: set[str] = set()
    for resource, of_it in asked(actions, known_as, inquiry.settings.region).items():
        how = {"ResourceArns": [resource]} if resource else {}
        told = attempt(
            lambda how=how, of_it=of_it: [  # type: ignore[misc]
                each
                for page in ask(
                    PolicySourceArn=known_as, ActionNames=of_it, ContextEntries=context, **how
                )
                for each in page["EvaluationResults"]
            ]
        )
        if isinstance(told, Refusal):
            return str(told)
        for each in told:
            action, allowed = each["EvalActionName"], each["EvalDecision"] == "allowed"
            known[action] = known.get(action, True) and allowed
            if each["EvalDecision"] == "implicitDeny" and _lacks(each):
                unsure.add(action)
    return {action: allowed for action, allowed in known.items() if action not in unsure}


def _lacks(result: dict[str, Any]) -> bool:
    """Say whether a policy looks at something that IAM was not told."""
    all_of = (result, *result.get("ResourceSpecificResults", ()))
    return any(each.get("MissingContextValues") for each in all_of)


def _context(inquiry: Inquiry, arn: str) -> list[dict[str, Any]]:
    """Say what a call of the lab's would be made with."""
    values = {
        **{
            f"{kind}/osawslab:{tag}": inquiry.settings.name
            for kind in ("aws:RequestTag", "aws:ResourceTag", "ec2:ResourceTag")
            for tag in ("lab", "made-of")
        },
        "aws:PrincipalAccount": arn.split(":")[4],
        "aws:RequestedRegion": inquiry.settings.region,
        "ec2:CreateAction": "RunInstances",
        "ec2:Owner": DEBIAN,
    }
    return [
        {"ContextKeyName": key, "ContextKeyValues": [value], "ContextKeyType": "string"}
        for key, value in values.items()
    ] + [
        {
            "ContextKeyName": "aws:TagKeys",
            "ContextKeyValues": ["osawslab:end"],
            "ContextKeyType": "stringList",
        }
    ]
