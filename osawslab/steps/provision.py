"""Chapter 1: the VPC, the instance with its two NICs, and the Elastic IPs.

The Elastic IPs come first here, where the tutorial has them last: without a public address no
packet leaves a VPC ("your instance must have a public IPv4 address": VPC User Guide, internet
gateways), so its `ping 8.8.8.8` could not have worked before.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from osawslab.aws import ending, launch, once, regions
from osawslab.aws.facts import HOST_KEY, Facts, prepared, tags
from osawslab.aws.maker import Maker
from osawslab.aws.preflight import require, require_launch
from osawslab.aws.visitors import shut as why_shut
from osawslab.errors import CannotReach, StepFailed, WrongHostKey
from osawslab.report import Action, Check, Table
from osawslab.steps import (
    bill,
    extend,
    guard,
    host_key,
    leftovers,
    outcome,
    ownership,
    passage,
    tear_down,
    visitors,
)
from osawslab.steps.account import same_account
from osawslab.steps.site import WAIT_SECONDS, Shown, Site

NAME = "provision"


@dataclass(frozen=True)
class Seen:
    """What EC2 has, and whether the instance answers on SSH (None: not asked)."""

    ec2: Facts
    answers: bool | None = None


def read(site: Site) -> Seen:
    """Read what EC2 has with our tag. Raises StepNotReady in another account than the lab's."""
    same_account(site)
    facts = site.read_ec2()
    return Seen(facts, bool(facts.instance) or None)


def plan(site: Site, seen: Seen) -> tuple[Action, ...]:
    """Say what is missing; ids of what is made on the way are handed on by role."""
    facts, settings = seen.ec2, site.settings
    target = site.target
    ownership.own_key(site, facts)
    maker = Maker(target.client("ec2"), target.client("ssm"), settings, facts, target.keys)

    def typed(kind: str, role: str) -> str:
        pairs = ",".join(
            f"{{Key={t['Key']},Value={t['Value']}}}" for t in tags(settings.name, role)
        )
        return f"--tag-specifications 'ResourceType={kind},Tags=[{pairs}]'"

    def launched(ami: str) -> None:
        subnet, group = maker.ids["management subnet"], maker.ids["group"]
        place = replace(
            facts, subnets={"management": {"SubnetId": subnet}}, group={"GroupId": group}
        )
        require_launch(target, settings, place, ami)
        maker.instance(ami, disk, settings.hours if target.charges else None)

    todo = list(leftovers.actions(site, facts))

    def want(
        holds: bool, why: str, command: str, do: Callable[[], object], bills: str = ""
    ) -> None:
        def noted() -> None:
            regions.note(target.keys, maker.ec2.meta.region_name)
            once.until_known(do)

        if not holds:
            todo.append(Action("aws", why, command, noted, bills))

    want(
        facts.vpc is not None,
        "a network of our own",
        f"VPC=$(aws ec2 create-vpc --cidr-block {settings.vpc_cidr}"
        f" {typed('vpc', 'vpc')} --query Vpc.VpcId --output text)",
        maker.vpc,
    )
    want(
        facts.gateway is not None,
        "the VPC's door to the internet",
        f"IGW=$(aws ec2 create-internet-gateway {typed('internet-gateway', 'gateway')}"
        " --query InternetGateway.InternetGatewayId --output text)",
        maker.gateway,
    )
    attached = facts.gateway is not None and bool(facts.gateway["Attachments"])
    want(
        attached,
        "open the door",
        "aws ec2 attach-internet-gateway --internet-gateway-id $IGW --vpc-id $VPC",
        lambda: maker.ec2.attach_internet_gateway(
            InternetGatewayId=maker.ids["gateway"], VpcId=maker.ids["vpc"]
        ),
    )
    ways = [r for r in facts.routes if r.get("DestinationCidrBlock") == "0.0.0.0/0"]
    door = (facts.gateway or {}).get("InternetGatewayId")
    verb = "replace" if ways else "create"
    want(
        door is not None and any(way.get("GatewayId") == door for way in ways),
        "the way to that door, for both subnets",
        f"aws ec2 {verb}-route --route-table-id $TABLE --destination-cidr-block 0.0.0.0/0"
        " --gateway-id $IGW",
        lambda: maker.route(bool(ways)),
    )
    for role, cidr in (
        ("management", settings.management_cidr),
        ("provider", settings.provider_cidr),
    ):
        want(
            role in facts.subnets,
            f"the {role} NIC's subnet, in the same zone as the other",
            f"{role.upper()}=$(aws ec2 create-subnet --vpc-id $VPC --cidr-block {cidr}"
            f" --availability-zone {maker.zone()} {typed('subnet', role + '-subnet')}"
            " --query Subnet.SubnetId --output text)",
            lambda role=role, cidr=cidr: maker.subnet(role, cidr),  # type: ignore[misc]
        )
    want(
        facts.group is not None,
        "who may come in",
        "GROUP=$(aws ec2 create-security-group --group-name"
        f" osawslab-{settings.name} --description 'osawslab' --vpc-id $VPC"
        f" {typed('security-group', 'group')} --query GroupId --output text)",
        maker.group,
    )
    opened = passage.actions(site, facts)
    for each in (*visitors.actions(site, facts, maker), *opened, *guard.actions(facts, maker)):
        want(False, each.why, each.command, each.do)
    want(
        facts.key is not None,
        "the key that opens the instance",
        f"aws ec2 import-key-pair --key-name osawslab-{settings.name}"
        " --public-key-material fileb://id_ed25519.pub"
        f" {typed('key-pair', 'key')}",
        maker.key,
    )
    image, disk = image_of(site, facts), bill.gigabytes(settings)
    instead = f"; {site.instead}" if site.instead else ""
    want(
        facts.instance is not None,
        "the computer that will carry OpenStack, with one NIC" + again(site, facts) + instead,
        f"INSTANCE=$(aws ec2 run-instances"
        f" --image-id {image or 'resolve:ssm:' + maker.image_parameter()}"
        f" --instance-type {settings.instance_type} --key-name osawslab-{settings.name}"
        f" --subnet-id $MANAGEMENT --private-ip-address {settings.management_address}"
        " --security-group-ids $GROUP --user-data file://prove-host-key.py"
        f" --instance-initiated-shutdown-behavior {ending.BEHAVIOR}"
        f" {typed('instance', 'instance')} --query 'Instances[0].InstanceId'"
        " --output text)",
        lambda: launched(image or maker.image()),
        bills="instance",
    )
    stopped = facts.instance is not None and facts.instance["State"]["Name"] in (
        "stopped",
        "stopping",
    )
    want(
        not stopped,
        "the instance is stopped",
        "aws ec2 start-instances --instance-ids $INSTANCE",
        maker.start,
        bills="instance",
    )
    want(
        "provider" in facts.nics,
        "the provider NIC, with the address that the router will take over",
        "NIC=$(aws ec2 create-network-interface --subnet-id $PROVIDER"
        f" --private-ip-address {settings.provider_address} --groups $GROUP"
        f" {typed('network-interface', 'provider-nic')}"
        " --query NetworkInterface.NetworkInterfaceId --output text)",
        maker.nic,
    )
    attachment = facts.nics.get("provider", {}).get("Attachment") or {}
    want(
        bool(attachment.get("InstanceId")),
        "plug it in as the second NIC",
        "ATTACHMENT=$(aws ec2 attach-network-interface --network-interface-id $NIC"
        " --instance-id $INSTANCE --device-index 1 --query AttachmentId --output text)",
        maker.attach,
    )
    want(
        bool(attachment.get("DeleteOnTermination")),
        "leave no NIC behind when the instance ends",
        "aws ec2 modify-network-interface-attribute --network-interface-id $NIC"
        " --attachment AttachmentId=$ATTACHMENT,DeleteOnTermination=true",
        maker.delete_on_termination,
    )
    for role, private in (
        ("management", settings.management_address),
        ("provider", settings.provider_address),
    ):
        address = facts.addresses.get(role)
        want(
            address is not None,
            f"a public address for the {role} NIC",
            f"{role.upper()}_EIP=$(aws ec2 allocate-address --domain vpc"
            f" {typed('elastic-ip', role + '-address')}"
            " --query AllocationId --output text)",
            lambda role=role: maker.allocate(role),  # type: ignore[misc]
            bills="address",
        )
        led = address.get("PrivateIpAddress") if address else None
        want(
            led == private,
            f"traffic to it goes to {private}",
            f"aws ec2 associate-address --allocation-id ${role.upper()}_EIP"
            f" --network-interface-id ${role.upper()}_NIC --private-ip-address {private}"
            + (" --allow-reassociation" if led else ""),
            lambda role=role, private=private: maker.associate(  # type: ignore[misc]
                role, private
            ),
        )
    want(
        bool(facts.host_key),
        "the instance proves its SSH host key; a tag keeps it",
        host_key.PROVE,
        lambda: host_key.prove(site),
    )
    want(
        not (stopped and extend.over(facts)),
        "its planned hours are over: they begin anew",
        f"echo $END > {ending.FILE}",
        lambda: extend.renew(site, WAIT_SECONDS),
    )
    if todo:  # refuse what could not be finished, right before the first change
        first = todo[0].do

        def begin() -> None:
            same_account(site)
            ownership.nowhere_else(site)
            require(target, settings, facts, image)
            ownership.note(site)  # from now on there may be something
            first()

        todo[0] = replace(todo[0], do=begin)
    return outcome.shown(tuple(todo), lambda: leftovers.none(site))


def again(site: Site, facts: Facts) -> str:
    """Say why the lab's instance is made once more; "" where nobody knows of one before."""
    found = ending.told(facts, launch.noted_end(site.target.keys))
    return f"; {found}" if found else ""


def image_of(site: Site, facts: Facts) -> str:
    """Find the image that `lab.bake()` has made for such an instance; "" for Debian's own."""
    settings = site.settings
    if (settings.cloud, settings.image) != ("openstack", "auto") or facts.instance is not None:
        return ""
    from osawslab.cloud.openstack.image import made_of

    return prepared(site.ec2, made_of(settings.management_address))


def checks(site: Site, facts: Seen) -> tuple[Check, ...]:
    """Hold the instance, its two NICs and their addresses against the settings."""
    ec2, settings = facts.ec2, site.settings
    if ec2.instance:
        state, then = str(ec2.instance["State"]["Name"]), "lab.provision()"
    else:
        state = ending.told(ec2, launch.noted_end(site.target.keys)) or "none"
        then = "lab.provision()" + (" for a new one, or lab.tear_down()" if state != "none" else "")
    found = [Check("instance", "running", state, state == "running", then)]
    for role, private in (
        ("management", settings.management_address),
        ("provider", settings.provider_address),
    ):
        nic, address = ec2.nics.get(role), ec2.addresses.get(role)
        seen = str(nic["PrivateIpAddress"]) if nic else "none"
        found.append(Check(f"{role} NIC", private, seen, seen == private, "lab.provision()"))
        leads = str((address or {}).get("PrivateIpAddress", "none"))
        found.append(
            Check(
                f"Elastic IP of the {role} NIC",
                f"leads to {private}",
                f"{ec2.eip(role) or 'none'} leads to {leads}",
                leads == private,
                "lab.provision()",
            )
        )
    if ec2.surplus:  # a healthy lab has no such row
        twice = ", ".join(ec2.surplus)
        then = "lab.provision()" if {*ec2.surplus} <= {*ec2.idle} else "lab.tear_down()"
        found.append(Check("nothing there twice", "none", twice, False, then))
    found += (*visitors.checks(site, ec2), *guard.checks(ec2))
    answers, seen, then = _answers(site, ec2)
    found.append(Check("SSH to the instance", "answers with its host key", seen, answers, then))
    return tuple(found)


def _answers(site: Site, ec2: Facts) -> tuple[bool, str, str]:
    again = "lab.provision()"
    if not ec2.running or not ec2.eip("management") or not ec2.registered_mac:
        return False, "not asked: the instance is not complete", again
    if not ec2.host_key:
        return False, "not asked: it has not proved its host key", again
    assert ec2.instance is not None
    if shut := why_shut(site.target, site.settings, ec2.group):  # or it would be waited for in vain
        return False, f"{shut.what}: {shut.seen}", shut.next
    host = site.instance_of(ec2).host
    try:
        host.wait(WAIT_SECONDS)
        host.plain("true")
    except WrongHostKey as error:
        name = ec2.instance["InstanceId"]
        forget = f"aws ec2 delete-tags --resources {name} --tags Key={HOST_KEY}"
        return False, f"{error.what}: {error.seen}", f"if that was you: {forget}; then {again}"
    except (CannotReach, StepFailed) as error:
        return False, error.seen or error.what, again
    return True, "answers with its host key", again


def show(site: Site, facts: Seen) -> Shown:
    """Show the two NICs as EC2 has them registered."""
    rows = tuple(
        (
            role,
            str(nic["NetworkInterfaceId"]),
            str(nic["MacAddress"]),
            str(nic["PrivateIpAddress"]),
            facts.ec2.eip(role),
        )
        for role, nic in sorted(facts.ec2.nics.items())
    )
    table = Table(
        "NICs as EC2 has registered them", ("NIC", "ENI", "MAC", "IP", "Elastic IP"), rows
    )
    return Shown(notes=(site.instead,) if site.instead else (), tables=(table,))


def undo(site: Site, facts: Seen) -> tuple[Action, ...]:
    """Take everything with the lab's tag away; the same as tear_down."""
    return tear_down.plan(site, tear_down.read(site))
