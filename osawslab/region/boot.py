"""What an instance is told when it boots: from EC2's state, its image and its user data."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path

from osawslab.errors import MissingTool
from osawslab.region import image, network
from osawslab.region.state import Eni, Instance, State


def default_user(image_name: str) -> str:
    """Name the user an AMI lets in: "ubuntu" on Ubuntu, "admin" on Debian (their manuals)."""
    return "ubuntu" if image_name.startswith("ubuntu") else "admin"


@dataclass(frozen=True)
class Boot:
    """The order to boot an instance."""

    netns: str
    disk: str
    unpacked: str
    machine: image.Machine
    layers: Sequence[str] = ()  # of a whole operating system's image, the uppermost first
    group: str = ""  # its control group


def order(
    state: State, instance: Instance, disks: Path, unpacked: Path | None, groups: str = ""
) -> Boot | None:
    """Say how an instance boots; None when it has no first NIC.

    `groups` is the folder of the control groups of a region whose new instances are whole.
    """
    enis = [eni for eni in state.enis.values() if eni.instance == instance.id]
    first: Eni | None = next((eni for eni in enis if eni.device_index == 0), None)
    if first is None:
        return None
    cidr = IPv4Network(state.subnets[first.subnet].cidr)
    netns = network.instance_netns(instance.id, instance.boots)
    return Boot(
        netns,
        str(disks / instance.id),
        str(unpacked or ""),
        image.Machine(
            hostname="ip-" + first.addresses[0].replace(".", "-"),
            user=default_user(instance.image),
            public_key=instance.public_key,
            nic=network.nic_name(instance.type, 0),
            address=first.addresses[0],
            prefix=cidr.prefixlen,
            gateway=str(cidr[1]),
            id=instance.id,
            user_data=b64encode(instance.user_data).decode(),
        ),
        _layers(disks / instance.id, instance.image) if groups else (),
        f"{groups}/{netns}",
    )


def _layers(disk: Path, ami: str) -> tuple[str, ...]:
    """Say what an instance is laid over; () for one that was light at its first boot.

    Raises MissingTool where that is not on this machine (any more).
    """
    if (disk / "made").exists():
        return ()
    from osawslab.region import rootfs, whole

    layers = whole.kept(disk) or rootfs.layers(ami)
    for layer in layers:
        if not layer.is_dir():
            raise MissingTool(
                f"a part of the image that {disk.name} was made of is gone",
                seen=f"no {layer}",
                next="make the image again, and a new instance of it",
            )
    return tuple(map(str, layers))
