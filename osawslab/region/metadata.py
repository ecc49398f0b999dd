"""What an instance's metadata says, and how it may be asked for; values in, text out.

EC2 User Guide, "Instance metadata categories" and "Instance identity documents".
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from osawslab.region.state import Eni, Instance, State
from osawslab.region.wire import Ec2Error, Form

OPTIONS = {  # ModifyInstanceMetadataOptions, "Request Parameters"
    "HttpTokens": "optional|required",
    "HttpPutResponseHopLimit": "[1-9]|[1-5][0-9]|6[0-4]",
    "HttpEndpoint": "enabled|disabled",
}
VERSIONS = (  # which differ in nothing here: "Get the available versions of the metadata"
    "1.0", "2007-01-19", "2007-03-01", "2007-08-29", "2007-10-10", "2007-12-15", "2008-02-01",
    "2008-09-01", "2009-04-04", "2011-01-01", "2011-05-01", "2012-01-12", "2014-02-25",
    "2014-11-05", "2015-10-20", "2016-04-19", "2016-06-30", "2016-09-02", "2018-03-28",
    "2018-08-17", "2018-09-24", "2019-10-01", "2020-10-27", "2021-01-03", "2021-03-23",
    "2021-07-15", "2022-09-24", "latest",
)  # fmt: skip


def name_of(address: str, region: str) -> str:
    """Give an instance's private host name: VPC guide, "DNS attributes".

    >>> name_of("172.16.10.101", "us-east-1")
    'ip-172-16-10-101.ec2.internal'
    """
    domain = "ec2.internal" if region == "us-east-1" else f"{region}.compute.internal"
    return f"ip-{address.replace('.', '-')}.{domain}"


def leaves(state: State, instance: Instance, region: str, account: str) -> dict[str, bytes]:
    """Give all that an instance may read, by its path below the version.

    Nothing of IAM: an instance without a profile has no such folder. What EC2 signs is missing.
    """
    enis = sorted(
        (eni for eni in state.enis.values() if eni.instance == instance.id),
        key=lambda eni: eni.device_index,
    )
    first, about = enis[0], instance.about
    own = first.addresses[0]
    name = name_of(own, region)
    found = {
        "ami-id": about.ami,
        "ami-launch-index": "0",
        "ami-manifest-path": "(unknown)",
        "hostname": name,
        "instance-action": "none",
        "instance-id": instance.id,
        "instance-life-cycle": "on-demand",
        "instance-type": instance.type,
        "local-hostname": name,
        "local-ipv4": own,
        "mac": first.mac,
        "placement/availability-zone": about.zone,
        "placement/region": region,
        "profile": "default-hvm",
        "public-ipv4": first.eips.get(own, ""),
        "reservation-id": about.reservation,
        "security-groups": _names(state, first),
        "services/domain": "amazonaws.com",
        "services/partition": "aws",
    }
    if instance.public_key:
        found["public-keys/0/openssh-key"] = instance.public_key.strip() + "\n"
    for eni in enis:
        for key, value in _interface(state, eni, region, account).items():
            found[f"network/interfaces/macs/{eni.mac}/{key}"] = value
    told = {f"meta-data/{path}": text.encode() for path, text in found.items() if text}
    document = {
        "accountId": account,
        "architecture": "x86_64",
        "availabilityZone": about.zone,
        "billingProducts": None,
        "devpayProductCodes": None,
        "marketplaceProductCodes": None,
        "imageId": about.ami,
        "instanceId": instance.id,
        "instanceType": instance.type,
        "kernelId": None,
        "pendingTime": about.launched,
        "privateIp": own,
        "ramdiskId": None,
        "region": region,
        "version": "2017-09-30",
    }
    told["dynamic/instance-identity/document"] = json.dumps(document, indent=2).encode()
    if instance.user_data:
        told["user-data"] = instance.user_data
    return told


def _names(state: State, eni: Eni) -> str:
    return "\n".join(state.groups[key].name for key in eni.groups if key in state.groups)


def _interface(state: State, eni: Eni, region: str, account: str) -> dict[str, str]:
    subnet = state.subnets[eni.subnet]
    return {
        "device-number": str(eni.device_index),
        "interface-id": eni.id,
        **{f"ipv4-associations/{public}": private for private, public in eni.eips.items()},
        "local-hostname": name_of(eni.addresses[0], region),
        "local-ipv4s": "\n".join(eni.addresses),
        "mac": eni.mac,
        "owner-id": account,
        "public-ipv4s": "\n".join(eni.eips[each] for each in eni.addresses if each in eni.eips),
        "security-group-ids": "\n".join(eni.groups),
        "security-groups": _names(state, eni),
        "subnet-id": eni.subnet,
        "subnet-ipv4-cidr-block": subnet.cidr,
        "vpc-id": subnet.vpc,
        "vpc-ipv4-cidr-block": subnet.vpc_cidr,
        "vpc-ipv4-cidr-blocks": subnet.vpc_cidr,
    }


def listing(found: Mapping[str, object], folder: str, key_name: str = "") -> str:
    """List a folder as EC2 does, "" for none: folders end with "/", a key says its name.

    >>> listing({"a/b": 1, "a/c/d": 2}, "a")
    'b\\nc/'
    """
    start = f"{folder}/" if folder else ""
    below = sorted({path[len(start) :] for path in found if path.startswith(start)})
    names = dict.fromkeys(path.partition("/")[0] + "/" * ("/" in path) for path in below)
    if folder == "meta-data/public-keys":
        return "\n".join(f"{each.rstrip('/')}={key_name}" for each in names)
    return "\n".join(names)


def check(call: Form, prefix: str = "") -> None:
    """Refuse options that EC2 does not have."""
    for name, allowed in OPTIONS.items():
        value = call.get(prefix + name)
        if value is not None and not re.fullmatch(allowed, value):
            raise Ec2Error("InvalidParameterValue", f"Invalid value '{value}' for {name}.")
