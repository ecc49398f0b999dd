"""Refuse to make or to let go an image where EC2 refuses: CreateImage, DeregisterImage."""

from __future__ import annotations

import re
from collections.abc import Callable

from osawslab.region.inventory import Inventory
from osawslab.region.wire import Ec2Error, Form

NAME = re.compile(r"[A-Za-z0-9()\[\] ./'@_-]{3,128}")  # CreateImage, "Name"


def create_image(inventory: Inventory, call: Form, whole: Callable[[str], bool]) -> None:
    """Refuse a bad name, a taken one, and an instance that nothing can be made of."""
    name, machine = call["Name"], inventory.machines[call["InstanceId"]]
    if not NAME.fullmatch(name):
        raise Ec2Error(
            "InvalidAMIName.Malformed",
            "AMI names must be between 3 and 128 characters long, and may contain letters, "
            "numbers, '(', ')', '[', ']', ' ', '.', '/', '-', ''', '@' and '_'",
        )
    for image in inventory.made.values():
        if image.name == name:
            raise Ec2Error(
                "InvalidAMIName.Duplicate", f"AMI name {name} is already in use by AMI {image.id}"
            )
    if machine.state not in ("running", "stopped"):
        raise Ec2Error("IncorrectState", f"Instance '{machine.id}' is not 'running' or 'stopped'.")
    if not whole(machine.id):
        raise Ec2Error(
            "UnsupportedOperation",
            f"The instance '{machine.id}' is not a whole operating system, so the local region "
            "makes no image of it.",
        )


def deregister_image(inventory: Inventory, call: Form) -> None:
    """Refuse to let go what is somebody else's."""
    if call["ImageId"] not in inventory.made:
        raise Ec2Error("AuthFailure", f"Not authorized for image:{call['ImageId']}")
