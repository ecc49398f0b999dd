"""Refuse what does not exist, in the words EC2 has for each kind: EC2 API, "Error codes"."""

from __future__ import annotations

from collections.abc import Container

from osawslab.region.inventory import Inventory
from osawslab.region.wire import Ec2Error, Form

NOT_FOUND = {
    "AllocationId": ("InvalidAllocationID.NotFound", "The allocation ID '{}' does not exist"),
    "AttachmentId": ("InvalidAttachmentID.NotFound", "The attachment '{}' does not exist."),
    "GroupId": ("InvalidGroup.NotFound", "The security group '{}' does not exist"),
    "ImageId": ("InvalidAMIID.NotFound", "The image id '[{}]' does not exist"),
    "InstanceId": ("InvalidInstanceID.NotFound", "The instance ID '{}' does not exist"),
    "InternetGatewayId": (
        "InvalidInternetGatewayID.NotFound",
        "The internetGateway ID '{}' does not exist",
    ),
    "KeyName": ("InvalidKeyPair.NotFound", "The key pair '{}' does not exist"),
    "NetworkInterfaceId": (
        "InvalidNetworkInterfaceID.NotFound",
        "The networkInterface ID '{}' does not exist",
    ),
    "RouteTableId": ("InvalidRouteTableID.NotFound", "The routeTable ID '{}' does not exist"),
    "SubnetId": ("InvalidSubnetID.NotFound", "The subnet ID '{}' does not exist"),
    "VpcId": ("InvalidVpcID.NotFound", "The vpc ID '{}' does not exist"),
}
ALIASES = {"SecurityGroupId": "GroupId"}
TAGGED = {  # what CreateTags and DeleteTags name by ResourceId
    "ami": "ImageId",
    "eipalloc": "AllocationId",
    "eni": "NetworkInterfaceId",
    "i": "InstanceId",
    "igw": "InternetGatewayId",
    "rtb": "RouteTableId",
    "sg": "GroupId",
    "subnet": "SubnetId",
    "vpc": "VpcId",
}
# Calls whose KeyName names what is to be made, or may be gone already.
NAMES_ANEW = {"CreateKeyPair", "ImportKeyPair", "DeleteKeyPair"}


def check(inventory: Inventory, call: Form) -> None:
    """Refuse a call that names by id something that does not exist."""
    present: dict[str, Container[str]] = {
        "AllocationId": inventory.eips,
        "AttachmentId": {nic.attachment for nic in inventory.nics.values() if nic.attachment},
        "GroupId": inventory.groups,
        "ImageId": inventory.images,
        "InstanceId": inventory.machines,
        "InternetGatewayId": inventory.gateways,
        "KeyName": inventory.keys,
        "NetworkInterfaceId": inventory.nics,
        "RouteTableId": inventory.tables,
        "SubnetId": inventory.subnets,
        "VpcId": inventory.vpcs,
    }
    for key, value in call.items():
        name = next((part for part in reversed(key.split(".")) if not part.isdigit()), key)
        kind = ALIASES.get(name, name)
        if name == "ResourceId":
            kind = TAGGED.get(value.rpartition("-")[0], "")
        if kind not in present or (kind == "KeyName" and call["Action"] in NAMES_ANEW):
            continue
        if value not in present[kind]:
            code, words = NOT_FOUND[kind]
            raise Ec2Error(code, words.format(value))
