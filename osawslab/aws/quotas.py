"""What the account's quotas leave for a lab. Numbers: Service Quotas, "AWS default values"."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from osawslab.aws.inquiry import Inquiry, Refusal, Row, unknown
from osawslab.settings import Settings

# Families that share the quota of On-Demand Standard instances: EC2, "On-Demand Instance quotas".
STANDARD = re.compile(r"(?:[acdhimrtz]|im|is)\d")


@dataclass(frozen=True)
class Quota:
    """A quota of AWS's: its service, its code, and what a new account has; 0: that varies."""

    service: str
    code: str
    default: int


ADDRESSES = Quota("ec2", "L-0263D0A3", 5)  # EC2-VPC Elastic IPs
VPCS = Quota("vpc", "L-F678F1CE", 5)  # VPCs per Region
VCPUS = Quota("ec2", "L-1216C47A", 0)  # Running On-Demand Standard instances


@dataclass(frozen=True)
class Room(Row):
    """A quota, held against what is needed of it."""

    needed: int = 0
    left: int = 0


def limit(inquiry: Inquiry, quota: Quota) -> tuple[int, str]:
    """Give how many there may be and who says so; (0, "") where nobody does."""
    told = inquiry.ask(
        "service-quotas", "get_service_quota", ServiceCode=quota.service, QuotaCode=quota.code
    )
    if not isinstance(told, Refusal):
        return int(told["Quota"]["Value"]), "Service Quotas"
    if quota is ADDRESSES:
        told = inquiry.ask("ec2", "describe_account_attributes")
        for each in [] if isinstance(told, Refusal) else told["AccountAttributes"]:
            if each["AttributeName"] == "vpc-max-elastic-ips":
                return int(each["AttributeValues"][0]["AttributeValue"]), "EC2"
    return quota.default, "AWS's default, the account's own was not told" * bool(quota.default)


def _room(inquiry: Inquiry, quota: Quota, what: str, needed: int, used: int, rid: str) -> Row:
    """Hold what is needed against what is left; `rid` is typed to get rid of some."""
    most, source = limit(inquiry, quota)
    expected = f"{needed} more" if needed else "none more: the lab has its own"
    if not source:
        return unknown(what, expected, f"{used} in use, and nobody tells how many may be")
    left = max(0, most - used)
    raised = (
        "aws service-quotas request-service-quota-increase"
        f" --service-code {quota.service} --quota-code {quota.code}"
        f" --desired-value {used + needed}"
    )
    return Room(
        what,
        expected,
        f"{left} left: {used} of {most} in use ({source})",
        needed <= left,
        f"{rid}; or {raised}",
        fatal=not source.startswith("AWS's default"),
        needed=needed,
        left=left,
    )


def elastic_ips(settings: Settings) -> int:
    """Count those of a whole lab: one for each NIC, one more where Neutron forwards a port."""
    return 2 + (settings.cloud == "openstack")


def addresses(inquiry: Inquiry, needed: int | None = None) -> Row:
    """Elastic IPs: all that the lab will have, or as many as are needed."""
    if needed is None:
        have = inquiry.have
        further = elastic_ips(inquiry.settings) - 2 - len(have.further)
        needed = len({"management", "provider"} - set(have.addresses)) + max(0, further)
    found = inquiry.ask("ec2", "describe_addresses")
    if isinstance(found, Refusal):
        return unknown("Elastic IPs", f"{needed} more", found)
    free = [each["AllocationId"] for each in found["Addresses"] if "AssociationId" not in each]
    idle = free[0] if free else "one of `aws ec2 describe-addresses`"
    return _room(
        inquiry, ADDRESSES, "Elastic IPs", needed, len(found["Addresses"]),
        f"aws ec2 release-address --allocation-id {idle}",
    )  # fmt: skip


def of_nic(inquiry: Inquiry, have: Collection[str]) -> Row:
    """Private addresses of a NIC of the lab's instance: one more beside those that it has."""
    assert inquiry.have.instance is not None
    kind = str(inquiry.have.instance["InstanceType"])
    told = inquiry.kind(kind)
    if isinstance(told, Refusal):
        return unknown("private addresses", "one more", told)
    most = int(told["NetworkInfo"]["Ipv4AddressesPerInterface"])
    return Row(
        f"a NIC of {kind} can have {most} private addresses", "one more",
        ", ".join(sorted(have)), len(have) < most,
        "lab.remove_floating_ip(ADDRESS), or a larger instance_type in a lab of its own",
    )  # fmt: skip


def vpcs(inquiry: Inquiry, needed: int | None = None) -> Row:
    """VPCs: one for the lab, or as many as are needed; the default VPC counts."""
    found = inquiry.every("describe_vpcs", "Vpcs")
    if needed is None:
        needed = int(inquiry.have.vpc is None)
    if isinstance(found, Refusal):
        return unknown("VPCs", f"{needed} more", found)
    return _room(
        inquiry, VPCS, "VPCs", needed, len(found),
        "aws ec2 describe-vpcs lists them, aws ec2 delete-vpc deletes one",
    )  # fmt: skip


def vcpus(inquiry: Inquiry, instances: int = 1) -> Row:
    """vCPUs of running On-Demand Standard instances: those of so many of the instance type."""
    what, wanted = "vCPUs of On-Demand Standard instances", inquiry.settings.instance_type
    if inquiry.have.instance is not None:
        return Row(what, "none more: the lab has its own", "not asked", True)
    if not STANDARD.match(wanted):
        return unknown(what, f"those of {wanted}", "this family has a quota of its own")
    running = inquiry.every(
        "describe_instances",
        "Reservations",
        Filters=[{"Name": "instance-state-name", "Values": ["pending", "running"]}],
    )
    if isinstance(running, Refusal):
        return unknown(what, f"those of {wanted}", running)
    kinds = [
        str(each["InstanceType"])
        for reservation in running
        for each in reservation["Instances"]
        if each.get("InstanceLifecycle") is None and STANDARD.match(each["InstanceType"])
    ]
    told = inquiry.ask("ec2", "describe_instance_types", InstanceTypes=sorted({wanted, *kinds}))
    if isinstance(told, Refusal):
        return unknown(what, f"those of {wanted}", told)
    size = {
        each["InstanceType"]: each["VCpuInfo"]["DefaultVCpus"] for each in told["InstanceTypes"]
    }
    return _room(
        inquiry, VCPUS, what, size[wanted] * instances, sum(size[kind] for kind in kinds),
        "aws ec2 stop-instances stops one that may, or take a smaller instance_type",
    )  # fmt: skip
