"""Hold a call against EC2's own model: its parameters, its filters, the form of its ids."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from osawslab.region.wire import Ec2Error

READS = ("Describe", "Get", "Search", "List")
ENVELOPE = {"Action", "Version", "AUTHPARAMS"}

# EC2 API, "Error codes": each kind of id, what it begins with, and the code when it does not.
IDS = {
    "AllocationId": ("eipalloc", "InvalidElasticIpID.Malformed"),
    "AssociationId": ("eipassoc|rtbassoc|aclassoc", "InvalidAssociationID.Malformed"),
    "AttachmentId": ("eni-attach", "InvalidNetworkInterfaceAttachmentId.Malformed"),
    "GroupId": ("sg", "InvalidGroupId.Malformed"),
    "ImageId": ("ami", "InvalidAMIID.Malformed"),
    "InstanceId": ("i", "InvalidInstanceID.Malformed"),
    "InternetGatewayId": ("igw", "InvalidInternetGatewayId.Malformed"),
    "NetworkInterfaceId": ("eni", "InvalidNetworkInterfaceId.Malformed"),
    "RouteTableId": ("rtb", "InvalidRouteTableId.Malformed"),
    "SecurityGroupId": ("sg", "InvalidGroupId.Malformed"),
    "SubnetId": ("subnet", "InvalidSubnetID.Malformed"),
    "VpcId": ("vpc", "InvalidVpcID.Malformed"),
}
# Filters that EC2 takes and does not list: amazon.aws's ec2_vpc_net and ec2_vpc_subnet ask so.
ALSO = {"DescribeVpcs": {"cidr-block"}, "DescribeSubnets": {"cidr-block"}}


def reads(action: str) -> bool:
    """Tell whether a call changes nothing."""
    return action.startswith(READS)


def check(model: Any, parameters: Mapping[str, str]) -> None:
    """Refuse parameters and filters that EC2's model does not have, and malformed ids."""
    action = parameters["Action"]
    shape = model.operation_model(action).input_shape
    for key in parameters:
        if key not in ENVELOPE and (shape is None or not _known(shape, key.split("."))):
            raise Ec2Error("UnknownParameter", f"The parameter {key} is not recognized")
    for name in shape.required_members if shape is not None else ():
        wanted = _name(name, shape.members[name])
        if not any(key == wanted or key.startswith(wanted + ".") for key in parameters):
            raise Ec2Error("MissingParameter", f"The request must contain the parameter {name}")
    for key, value in parameters.items():
        if re.fullmatch(r"Filter\.\d+\.Name", key):
            if not (value in _filters(model, action) or re.match("tag:.", value)):
                raise Ec2Error("InvalidParameterValue", f"The filter '{value}' is invalid")
        else:
            _id(key, value)


def _id(key: str, value: str) -> None:
    name = next(part for part in reversed(key.split(".")) if not part.isdigit())
    if name not in IDS:
        return
    prefix, code = IDS[name]
    if not re.fullmatch(rf"(?:{prefix})-(?:[0-9a-f]{{8}}|[0-9a-f]{{17}})", value):
        raise Ec2Error(code, f'Invalid id: "{value}" (expecting "{prefix.split("|")[0]}-...")')


def _name(member: str, shape: Any) -> str:
    """Give a member's name in a query: the EC2 protocol of botocore/serialize.py."""
    own = shape.serialization
    if "queryName" in own:
        return str(own["queryName"])
    name = str(own.get("name", member))
    return name[0].upper() + name[1:]


def _known(shape: Any, parts: list[str]) -> bool:
    if not parts:
        return True
    if shape.type_name == "list":
        return parts[0].isdigit() and _known(shape.member, parts[1:])
    if shape.type_name == "structure":
        for member, inner in shape.members.items():
            if _name(member, inner) == parts[0]:
                return _known(inner, parts[1:])
    return False


@cache
def _filters(model: Any, action: str) -> frozenset[str]:
    """Read a call's filters out of its documentation in the model."""
    shape = model.operation_model(action).input_shape
    if "Filters" not in shape.members:
        return frozenset()
    words = re.findall(r"<code>([^<]+)</code>", shape.members["Filters"].documentation)
    return frozenset(words) | {"tag-key", "tag-value"} | ALSO.get(action, set())
