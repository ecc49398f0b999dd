"""Name the region's AMIs the way their makers publish them: parameters of Systems Manager.

The list itself is `amis.json`, in the form moto reads. Owners and names: Debian wiki,
"Cloud/AmazonEC2Image"; Ubuntu on AWS, "Find images".
"""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

from osawslab.region.wire import Ec2Error

CODENAMES = {"12": "bookworm", "13": "trixie"}


@cache
def images() -> tuple[dict[str, Any], ...]:
    """Read the AMIs: `ami_id`, `name`, `owner_id`, `root_device_name`, …"""
    return tuple(json.loads(Path(__file__).with_name("amis.json").read_text()))


@cache
def parameters() -> dict[str, str]:
    """Map the public parameters' names to AMI ids.

    >>> parameters()["/aws/service/debian/release/13/latest/amd64"].startswith("ami-")
    True
    """
    found = {}
    for image in images():
        debian = re.match(r"debian-(\d+)-(\w+)-", image["name"])
        ubuntu = re.search(r"ubuntu-noble-24\.04-(\w+)-server", image["name"])
        if debian:
            for release in (debian[1], CODENAMES[debian[1]]):
                name = f"/aws/service/debian/release/{release}/latest/{debian[2]}"
                found[name] = image["ami_id"]
        if ubuntu:
            for release in ("24.04", "noble"):
                name = f"/aws/service/canonical/ubuntu/server/{release}/stable/current"
                found[f"{name}/{ubuntu[1]}/hvm/ebs-gp3/ami-id"] = image["ami_id"]
    return found


def ssm(operation: str, asked: dict[str, Any], region: str) -> dict[str, Any]:
    """Answer Systems Manager's GetParameter and GetParameters; refuse the rest."""
    known = parameters()
    if operation == "GetParameter":
        if asked.get("Name") not in known:
            raise Ec2Error("ParameterNotFound", "")
        return {"Parameter": _parameter(asked["Name"], region)}
    if operation == "GetParameters":
        names = asked.get("Names", [])
        return {
            "Parameters": [_parameter(name, region) for name in names if name in known],
            "InvalidParameters": [name for name in names if name not in known],
        }
    raise Ec2Error(
        "UnknownOperationException",
        f"The local region answers GetParameter and GetParameters, not {operation}.",
    )


def _parameter(name: str, region: str) -> dict[str, Any]:
    return {
        "Name": name,
        "Type": "String",
        "Value": parameters()[name],
        "Version": 1,
        "LastModifiedDate": 0,
        "ARN": f"arn:aws:ssm:{region}::parameter{name}",
        "DataType": "aws:ec2:image",
    }
