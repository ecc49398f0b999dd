"""An image of an instance with OpenStack on it, so that many labs start from one installation."""

from __future__ import annotations

from typing import Any

from osawslab.aws.facts import HOST_KEY, MADE_BY, MADE_OF, prepared
from osawslab.aws.inquiry import Refusal, attempt
from osawslab.cloud.openstack.image import forget, made_of
from osawslab.errors import BadSetting, Refused, StepNotReady
from osawslab.report import Action, Check, Report
from osawslab.steps import bill, openstack_install, openstack_networks
from osawslab.steps.host_key import PROVE, prove
from osawslab.steps.run import apply, own_errors
from osawslab.steps.site import Site

IMAGE_SECONDS = 1800  # a snapshot of some gigabytes takes minutes on AWS


def bake(site: Site) -> Report:
    """Make the image, where there is none of this installation. Raises StepNotReady, Refused.

    What belongs to the host alone (names, passwords, keys) is made anew by instances of it. The
    image has no tag of the lab: it outlives it, and on AWS its snapshot costs money.
    """
    settings = site.settings
    if settings.cloud != "openstack":
        raise BadSetting(
            "there is nothing to prepare: the hand-built cloud installs in seconds",
            seen=f"cloud = {settings.cloud!r}",
            next='cloud = "openstack"',
        )
    with own_errors("bake"):
        recipe = made_of(settings.management_address)
        actions = () if prepared(site.ec2, recipe) else plan(site, recipe)
        apply(site, "bake", actions)
        image = prepared(site.ec2, recipe)
    return Report(
        step="bake",
        lab=settings.name,
        actions=actions,
        checks=(
            Check(
                "an image of this installation",
                "available",
                f"{image} available" if image else "none",
                bool(image),
                "lab.bake()",
            ),
        ),
        data={"image": image},
    )


def plan(site: Site, recipe: str) -> tuple[Action, ...]:
    """Say how the image comes about."""
    seen = openstack_install.read(site)
    lacking = seen.installed.lacking(site.settings, seen.instance)
    if lacking:
        raise StepNotReady(
            "OpenStack is not installed on the instance",
            seen=f"missing: {', '.join(part.name for part in lacking)}",
            next="lab.install_cloud()",
        )
    project = openstack_networks.read(site).project
    if project is not None and (project.external or project.tenant or project.server):
        raise StepNotReady(
            "an image would carry this lab's networks and VM, and the VM lets only this lab in",
            seen="a VM" if project.server else "networks",
            next='lab.reset("networks"), then lab.bake()',
        )
    name = f"osawslab-openstack-{recipe}"
    pairs = {MADE_OF: recipe, MADE_BY: site.settings.name, "Name": name}
    tags = [{"Key": key, "Value": value} for key, value in pairs.items()]
    refuse(site, seen.instance, name, tags)
    script = forget()

    made: list[str] = []

    def begun() -> None:
        made.append(image(site.ec2, seen.instance, name, tags))

    def available() -> None:
        site.ec2.get_waiter("image_available").wait(
            ImageIds=made, WaiterConfig={"Delay": 5, "MaxAttempts": IMAGE_SECONDS // 5}
        )

    def proved() -> None:
        seen.host.close()
        site.forget()
        prove(site)

    return (
        Action(
            "aws",
            "the instance will make itself another host key",
            f"aws ec2 delete-tags --resources {seen.instance} --tags Key={HOST_KEY}",
            lambda: untag(site.ec2, seen.instance),
        ),
        Action(
            "instance",
            "nothing of this host's own goes into the image",
            script,
            lambda: seen.host.run("bash -uo pipefail", script),
        ),
        Action(
            "aws",
            "an image of its disk; the instance reboots for it",
            f"aws ec2 create-image --instance-id {seen.instance} --name {name}"
            f" --tag-specifications 'ResourceType=image,Tags=[{{Key={MADE_OF},Value={recipe}}}]'",
            begun,
            bill.SNAPSHOT,
        ),
        # First, for the end of its planned hours may be near: the image takes minutes.
        Action("aws", "the instance proves its new host key", PROVE, proved),
        Action(
            "aws",
            "the image is whole",
            f"aws ec2 wait image-available --owners self --filters Name=name,Values={name}",
            available,
        ),
    )


def image(ec2: Any, instance: str, name: str, tags: list[dict[str, str]]) -> str:
    """Have EC2 begin an image of the instance's disk; its id, once EC2 shows it."""
    told = ec2.create_image(
        InstanceId=instance,
        Name=name,
        Description="Debian with OpenStack, made by osawslab",
        TagSpecifications=specifications(tags),
    )
    ec2.get_waiter("image_exists").wait(
        ImageIds=[told["ImageId"]], WaiterConfig={"Delay": 2, "MaxAttempts": 60}
    )
    return str(told["ImageId"])


def untag(ec2: Any, instance: str) -> None:
    """Forget the instance's host key, of which it will make itself another."""
    ec2.delete_tags(Resources=[instance], Tags=[{"Key": HOST_KEY}])


def refuse(site: Site, instance: str, name: str, tags: list[dict[str, str]]) -> None:
    """Refuse what EC2 would refuse, before the instance forgets who may log in to it.

    Raises StepNotReady, Refused.
    """
    by_name = [{"Name": "name", "Values": [name]}]
    named = site.ec2.describe_images(Owners=["self"], Filters=by_name)["Images"]
    if named:
        image = named[0]["ImageId"]
        raise StepNotReady(
            "there is an image of that name, and it is not ready",
            seen=f"{image} {named[0]['State']}",
            next=f"wait for it; or aws ec2 deregister-image --image-id {image}",
        )
    told = attempt(
        lambda: site.ec2.create_image(
            DryRun=True, InstanceId=instance, Name=name, TagSpecifications=specifications(tags)
        )
    )
    if isinstance(told, Refusal) and told.code != "DryRunOperation":
        raise Refused(
            "EC2 would refuse the image; nothing was done",
            seen=str(told),
            next="ask for the IAM permission ec2:CreateImage",
        )


def specifications(tags: list[dict[str, str]]) -> list[dict[str, object]]:
    """Tag an image and its snapshot."""
    return [{"ResourceType": kind, "Tags": tags} for kind in ("image", "snapshot")]
