"""What AWS offers a lab to run on: the AMI, and the instance type in the zone of the subnets."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from osawslab.aws.inquiry import FORBIDDEN, Inquiry, Refusal, Row, attempt, unknown
from osawslab.aws.maker import Maker
from osawslab.settings import DEFAULTS, Settings
from osawslab.target import Target

NICS = 2
OTHERS = ("t3.xlarge", "m5.xlarge", "m6i.xlarge")  # to take where a type is not to be had


def instead(target: Target, settings: Settings) -> str:
    """Name the type to take where the region has not the one of the settings; "" where it has."""
    names = [settings.instance_type, *OTHERS]
    told = attempt(
        lambda: target.client("ec2").describe_instance_type_offerings(
            LocationType="region", Filters=[{"Name": "instance-type", "Values": names}]
        )["InstanceTypeOfferings"]
    )
    if isinstance(told, Refusal):  # which the step's own calls will tell
        return ""
    there = [name for name in names if name in {each["InstanceType"] for each in told}]
    return there[0] if there and there[0] != settings.instance_type else ""


def machine_image(inquiry: Inquiry) -> tuple[Row, dict[str, Any]]:
    """Look for the AMI; the row, and what EC2 says of the AMI."""
    settings, image = inquiry.settings, inquiry.image
    maker = Maker(None, None, settings, inquiry.have, Path())
    parameter = maker.image_parameter()
    what, mend = "AMI", f"debian = {12 if settings.debian == 13 else 13}"
    expected = "available, x86_64" if image else f"Debian {settings.debian}, available, x86_64"
    if not image:
        told = inquiry.ask("ssm", "get_parameter", Name=parameter)
        if isinstance(told, Refusal):
            if told.code in FORBIDDEN:
                mend = "ask for the IAM permission ssm:GetParameter"
            return Row(what, expected, f"{parameter}: {told}", False, mend, fatal=True), {}
        image = str(told["Parameter"]["Value"])
    told = inquiry.ask("ec2", "describe_images", ImageIds=[image])
    if isinstance(told, Refusal) and not told.code.startswith("InvalidAMIID"):
        return unknown(what, expected, told), {}
    if isinstance(told, Refusal) or not told["Images"]:
        return Row(what, expected, f"{image}: withdrawn", False, mend, fatal=True), {}
    about = dict(told["Images"][0])
    seen = f"{image}: {about['State']}, {about['Architecture']}"
    kind = inquiry.kind(settings.instance_type)
    fits = [about["Architecture"]] if isinstance(kind, Refusal) else (
        kind["ProcessorInfo"]["SupportedArchitectures"]
    )  # fmt: skip
    if about["Architecture"] not in fits:
        seen += f", and {settings.instance_type} is {', '.join(fits)}"
        return Row(what, expected, seen, False, 'instance_type = "t3.xlarge"', fatal=True), about
    if about.get("ImageAllowed") is False:
        seen += ", not allowed in this account"
        mend = "aws ec2 get-allowed-images-settings tells what the account allows"
        return Row(what, expected, seen, False, mend, fatal=True), about
    if about["State"] != "available":
        return Row(what, expected, seen, False, mend, fatal=True), about
    ends = str(about.get("DeprecationTime", ""))
    old = bool(ends) and datetime.fromisoformat(ends) < datetime.now(UTC)
    if old:
        seen += f", deprecated since {ends[:10]}"
    return Row(what, expected, seen, not old, mend), about


def instance_type(inquiry: Inquiry) -> list[Row]:
    """Ask for the instance type in the zone of the subnets, and what it can do."""
    settings = inquiry.settings
    wanted, region = settings.instance_type, settings.region
    zone = Maker(None, None, settings, inquiry.have, Path()).zone()
    what, expected = "instance type", f"{wanted} in {zone}"
    names = list(dict.fromkeys((wanted, DEFAULTS["instance_type"], *OTHERS)))
    told = inquiry.ask(
        "ec2",
        "describe_instance_type_offerings",
        LocationType="availability-zone",
        Filters=[{"Name": "instance-type", "Values": names}],
    )
    if isinstance(told, Refusal):
        offer = unknown(what, expected, told)
    else:
        places = [
            (str(o["InstanceType"]), str(o["Location"])) for o in told["InstanceTypeOfferings"]
        ]
        zones = sorted(place for name, place in places if name == wanted)
        there = [name for name in OTHERS if (name, zone) in places]
        other = there[0] if there else OTHERS[0]
        lacks = [name for name in names[:2] if name not in dict(places)]
        offer = Row(
            what,
            expected,
            "; ".join(
                [f"offered in {', '.join(zones)}"] * bool(zones)
                + [f"{name} is not offered in {region}" for name in lacks]
            ),
            zone in zones,
            f'zone = "{zones[0].removeprefix(region)}"'
            if zones
            else f'instance_type = "{other}"\nstrategy = "share"',
            fatal=True,
        )
    kind = inquiry.kind(wanted)
    if isinstance(kind, Refusal) or not offer:
        return [offer]
    most = int(kind["NetworkInfo"]["MaximumNetworkInterfaces"])
    nests = "nested-virtualization" in kind.get("ProcessorInfo", {}).get("SupportedFeatures", [])
    return [
        offer,
        Row(
            "NICs of the instance type",
            f"at least {NICS}",
            f"at most {most}",
            most >= NICS,
            'instance_type = "t3.xlarge"',
            fatal=True,
        ),
        driver(settings.strategy, kind["NetworkInfo"]["EnaSupport"] == "required"),
        Row(
            "nested virtualization",
            "yes or no",
            "yes: VMs run by KVM" if nests else "no: VMs are emulated, and slow",
            True,
        ),
    ]


def driver(strategy: str, ena: bool) -> Row:
    """Say how the registered MAC will get to the router, by the NIC's driver."""
    taken = strategy if strategy != "auto" else "share" if ena else "swap"
    seen = (
        f"ena, which can change no MAC: strategy {taken}"
        if ena
        else f"vif (Xen), which can change its MAC: strategy {taken}"
    )
    return Row(
        "the NIC's driver",
        "one that the strategy fits",
        seen,
        not (ena and taken == "swap"),
        'strategy = "auto"',
    )
