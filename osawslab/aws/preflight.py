"""Look at an account before anything is made in it: a table of expected, seen, and what to type.

`rows` asks everything. `require` asks only what is surely fatal to what is about to be made.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from osawslab.aws import facts, permissions, quotas
from osawslab.aws.facts import Facts
from osawslab.aws.inquiry import Inquiry, Refusal, Row, attempt, unknown
from osawslab.aws.offer import NICS, instance_type, machine_image
from osawslab.aws.visitors import AUTO, here
from osawslab.errors import Refused
from osawslab.settings import Settings
from osawslab.target import Target

SKEW_SECONDS = 300  # a signature is good for so long: IAM guide, "Elements of a request signature"
LOGIN = "aws sso login, or fetch new keys as you did before"
CONFIGURE = "aws configure sso, or aws configure; then aws sts get-caller-identity"
SET_CLOCK = "sudo timedatectl set-ntp true"
WHO = {  # who asks, as STS or botocore refuses to know it: what is wrong, what to type
    **dict.fromkeys(
        ("NoCredentialsError", "PartialCredentialsError", "NoAuthTokenError"),
        ("no credentials: not in the environment, not in ~/.aws, no role", CONFIGURE),
    ),
    "ProfileNotFound": (
        "no such profile in ~/.aws", "aws configure list-profiles; export AWS_PROFILE=one of them"
    ),
    **dict.fromkeys(
        ("ExpiredToken", "ExpiredTokenException", "UnauthorizedSSOTokenError", "SSOTokenLoadError",
         "TokenRetrievalError", "LoginTokenLoadError", "LoginRefreshRequired",
         "CredentialRetrievalError"),
        ("the login has expired", LOGIN),
    ),
    **dict.fromkeys(
        ("InvalidClientTokenId", "UnrecognizedClientException", "AuthFailure"),
        ("AWS does not know this access key", CONFIGURE),
    ),
    "SignatureDoesNotMatch": ("the secret key is not the access key's", CONFIGURE),
    **dict.fromkeys(
        ("EndpointConnectionError", "ConnectTimeoutError", "ReadTimeoutError", "SSLError",
         "ProxyConnectionError"),
        ("AWS does not answer", "curl -sS https://sts.amazonaws.com tells what is in the way"),
    ),
}  # fmt: skip


def rows(
    target: Target, settings: Settings, image: Callable[[Facts], str] = lambda have: ""
) -> tuple[Row, ...]:
    """Ask everything. `image` names the AMI the lab would start from, "" for Debian's own.

    Where AWS does not know who asks, or the region is none, nothing else can be asked.
    """
    inquiry = Inquiry(target, settings, Facts())
    who = identity(inquiry)
    if not who:
        return who, clock(inquiry)
    first = (who, clock(inquiry), region(inquiry))
    if not first[-1]:
        return first
    with inquiry.listening() as heard:
        have = attempt(lambda: facts.read(target.client("ec2"), settings.name))
        if not isinstance(have, Refusal):
            inquiry.have = have
            found = attempt(lambda: image(have))
            inquiry.image = found if isinstance(found, str) else ""
        ami, about = machine_image(inquiry)
        left = (
            quotas.addresses(inquiry),
            quotas.vpcs(inquiry),
            quotas.vcpus(inquiry),
            ami,
            *instance_type(inquiry),
            caller(inquiry),
            namesake(inquiry),
        )
    allowed = permissions.rows(inquiry, who.seen, str(about.get("ImageId", "")), heard)
    return (*first, *allowed, *left)


def require(target: Target, settings: Settings, have: Facts, image: str = "") -> None:
    """Ask only what would end a step halfway, for what is missing of the lab; a few calls.

    By DryRun for what costs money, and for what exists of the lab: that it may be put together and
    given back. Without the rest, nothing that costs money is made. Raises Refused with the first
    that does not hold.
    """
    inquiry = Inquiry(target, settings, have, image)
    asked: list[Row] = []
    about: dict[str, Any] = {}
    if have.vpc is None:
        asked.append(quotas.vpcs(inquiry))
    if have.instance is None:
        ami, about = machine_image(inquiry)
        asked += [*instance_type(inquiry), ami, quotas.vcpus(inquiry)]
    lacking = [action for action, there in (
        ("ec2:RunInstances", have.instance is not None),
        ("ec2:AllocateAddress", len(have.addresses) >= NICS),
    ) if not there]  # fmt: skip
    if len(have.addresses) < NICS:
        asked.append(quotas.addresses(inquiry))
    lacking += [*permissions.GIVES_BACK, *permissions.PUTS_TOGETHER]
    if all(row for row in asked if row.fatal):
        asked.append(_may(inquiry, str(about.get("ImageId", "")), lacking))
    _refuse("nothing was made, for it could not be finished", asked)


def require_launch(target: Target, settings: Settings, have: Facts, image: str) -> None:
    """Ask once more for the instance, where it will be: before, EC2 was asked without a place.

    Raises Refused.
    """
    asked = [_may(Inquiry(target, settings, have), image, ["ec2:RunInstances"])]
    _refuse("the instance was not made, for it would be refused", asked)


def _may(inquiry: Inquiry, image: str, actions: list[str]) -> Row:
    known = permissions.dry(inquiry, image, actions)
    return permissions.row(permissions.DRY_RUN, known, fatal=True)


def _refuse(what: str, asked: list[Row]) -> None:
    """Raise Refused with the first row that is fatal."""
    for row in asked:
        if row.fatal and not row:
            raise Refused(f"{what}: {row.what}", seen=row.seen, next=row.next)


def identity(inquiry: Inquiry) -> Row:
    """Ask AWS who asks."""
    told = inquiry.ask_anywhere("sts", "get_caller_identity")
    if not isinstance(told, Refusal):
        return Row("who asks", "somebody AWS knows", str(told["Arn"]), True, fatal=True)
    wrong, next = WHO.get(told.code, ("AWS refuses to say", CONFIGURE))
    if "ignature expired" in told.message or "not yet current" in told.message:
        wrong, next = "this machine's clock is wrong", SET_CLOCK
    return Row("who asks", "somebody AWS knows", f"{wrong} ({told})", False, next, fatal=True)


def region(inquiry: Inquiry) -> Row:
    """Ask whether there is such a region, and whether the account may use it."""
    name = inquiry.settings.region
    what, expected = "region", f"{name}, enabled"
    told = inquiry.ask_anywhere("ec2", "describe_regions", AllRegions=True)
    if isinstance(told, Refusal):
        return unknown(what, expected, told)
    known = {str(each["RegionName"]): str(each["OptInStatus"]) for each in told["Regions"]}
    if name not in known:
        [near, *_] = [*difflib.get_close_matches(name, known, 1), "us-east-1"]
        return Row(what, expected, "no such region", False, f'region = "{near}"', fatal=True)
    return Row(
        what,
        expected,
        known[name],
        known[name] != "not-opted-in",
        f"aws account enable-region --region-name {name}; it takes some minutes",
        fatal=True,
    )


def clock(inquiry: Inquiry) -> Row:
    """Hold this machine's time against that of AWS's answer."""
    what, expected = "this machine's clock", "AWS's, to 5 minutes"
    told = inquiry.ask_anywhere("sts", "get_caller_identity")
    if isinstance(told, Refusal):
        date = told.date
    else:
        date = told.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date", "")
    there = attempt_date(date)
    if there is None:
        return unknown(what, expected, "AWS gave no date")
    off = int((datetime.now(UTC) - there).total_seconds())
    seen = f"{abs(off)} s {'ahead' if off > 0 else 'behind'}"
    return Row(what, expected, seen, abs(off) <= SKEW_SECONDS, SET_CLOCK, fatal=True)


def attempt_date(text: str) -> datetime | None:
    """Read the date of an HTTP header, None where it is none."""
    try:
        return parsedate_to_datetime(text)
    except ValueError:
        return None


def caller(inquiry: Inquiry) -> Row:
    """Hold the address this machine comes from against whom the security group lets in."""
    let_in, what = inquiry.settings.allow_from, "our own public address"
    expected = "known, to be let in" if let_in == AUTO else f"in allow_from, {let_in}"
    told = attempt(lambda: here(inquiry.target, inquiry.settings))
    if isinstance(told, Refusal) and let_in == AUTO:
        then = 'allow_from = "ADDRESS/32", the address that you come from'
        return Row(what, expected, f"not known: {told}", False, then)
    if isinstance(told, Refusal):
        return unknown(what, expected, told)
    inside = let_in == AUTO or IPv4Address(told) in IPv4Network(let_in)
    return Row(what, expected, told, inside, f'allow_from = "{told}/32"')


def namesake(inquiry: Inquiry) -> Row:
    """Look for VPCs that are called as the lab's, and are not: harmless, but good to know."""
    lab = inquiry.settings.name
    [name] = [each["Value"] for each in facts.tags(lab, "vpc") if each["Key"] == "Name"]
    found = inquiry.every("describe_vpcs", "Vpcs", Filters=[{"Name": "tag:Name", "Values": [name]}])
    what, expected = f"VPCs named {name!r} that are not the lab's", "none, or left alone"
    if isinstance(found, Refusal):
        return unknown(what, expected, found)
    strange = [
        str(each["VpcId"])
        for each in found
        if {"Key": facts.LAB, "Value": lab} not in each.get("Tags", [])
    ]
    return Row(what, expected, f"{', '.join(strange)}: left alone" if strange else "none", True)
