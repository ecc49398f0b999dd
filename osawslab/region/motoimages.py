"""Make moto's AMIs of instances, and of other labs' images: moto 5.2.5, `moto.ec2.models.amis`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from importlib import import_module
from typing import Any

from osawslab.region.motomodels import ACCOUNT
from osawslab.region.state import Image

Ami: Any = import_module("moto.ec2.models.amis").Ami
random_ami_id = import_module("moto.ec2.utils").random_ami_id
mock_random = import_module("moto.moto_api._internal").mock_random


def create(
    machine: Any, seed: str, name: str, description: str, tags: Mapping[str, str], *, copied: bool
) -> Any:
    """Make an AMI of an instance; its id follows from `seed`."""
    backend = machine.ec2_backend
    source = backend.amis.get(machine.image_id)
    mock_random.seed(seed)
    key = random_ami_id()
    mock_random.seed(key)  # as for `show`, so that all labs see the same
    ami = Ami(
        backend,
        key,
        instance=machine,
        name=name,
        description=description,
        root_device_name=source.root_device_name if source else "/dev/xvda",
        **_always(name),
    )
    ami.copied = copied
    _keep(ami, tags)
    return ami


def show(backend: Any, images: Mapping[str, Image]) -> None:
    """Show images, by id, as the account's own AMIs; others of its own are deregistered."""
    for image in images.values():
        if image.id not in backend.amis and image.id not in backend.deleted_amis:
            mock_random.seed(image.id)
            ami = Ami(
                backend,
                image.id,
                name=image.name,
                description=image.description,
                architecture=image.architecture,
                virtualization_type="hvm",
                creation_date=datetime.fromisoformat(image.created),
                root_device_name=image.root_device,
                **_always(image.name),
            )
            ami.copied = image.copied
            _keep(ami, image.tags)
    for ami in backend.amis.values():
        if ami.owner_id == ACCOUNT:
            ami.state = "available" if ami.id in images else "deregistered"


def _always(name: str) -> dict[str, str]:
    return {
        "owner_id": ACCOUNT,
        "root_device_type": "ebs",
        "hypervisor": "xen",
        "image_location": f"{ACCOUNT}/{name}",
        "boot_mode": "uefi-preferred",
    }


def _keep(ami: Any, tags: Mapping[str, str]) -> None:
    backend = ami.ec2_backend
    ami.add_tags(dict(tags))
    backend.snapshots.pop(ami.ebs_snapshot.id)  # no lab has to pay for it, so none looks for it
    backend.amis[ami.id] = ami
    if ami.id in backend.deleted_amis:
        backend.deleted_amis.remove(ami.id)


def made(backend: Any) -> dict[str, Image]:
    """List the account's own AMIs that are available, by id."""
    return {
        ami.id: Image(
            id=ami.id,
            name=ami.name,
            description=ami.description or "",
            tags={tag["key"]: tag["value"] for tag in ami.get_tags()},
            architecture=ami.architecture or "",
            root_device=ami.root_device_name,
            created=ami.creation_date.isoformat(),
            source=ami.instance_id or "",
            copied=ami.copied,
        )
        for ami in backend.amis.values()
        if ami.owner_id == ACCOUNT and ami.state == "available"
    }
