"""Refuse what there is too much of, and to delete what is still in use, as EC2 does.

Service Quotas tells the same figures.
"""

from __future__ import annotations

import re
from typing import Any

from osawslab.region.addresses import POOL
from osawslab.region.inventory import Inventory
from osawslab.region.motoadapter import Moto
from osawslab.region.wire import Ec2Error, Form, listed

# Default quotas per region: "Amazon VPC quotas". The default VPC counts.
ADDRESSES = ("ec2", "L-0263D0A3")  # Service Quotas' codes: service, quota
VCPUS = ("ec2", "L-1216C47A")
VPCS = ("vpc", "L-F678F1CE")
GATEWAYS = ("vpc", "L-A4707A72")
NAMES = {
    ADDRESSES: "EC2-VPC Elastic IPs",
    VCPUS: "Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances",
    VPCS: "VPCs per Region",
    GATEWAYS: "Internet gateways per Region",
}
# Of this region; more when it is asked for, until it ends. AWS raises a new account's vCPUs with
# its use: "EC2 On-Demand Instance quotas".
MOST = {ADDRESSES: 5, VCPUS: 32, VPCS: 5, GATEWAYS: 5}
STANDARD = re.compile(r"(?:[acdhimrtz]|im|is)\d")  # the families that share it: the same page
SERVICES = {
    "ec2": "Amazon Elastic Compute Cloud (Amazon EC2)",
    "vpc": "Amazon Virtual Private Cloud (Amazon VPC)",
}


def told(operation: str, asked: dict[str, Any]) -> dict[str, Any]:
    """Answer Service Quotas for what is limited here, all on one page; refuse the rest.

    More is granted at once, where AWS may take days. With more VPCs go more gateways ("Amazon VPC
    quotas": the two are bound to each other).
    """
    service = str(asked.get("ServiceCode"))
    key = (service, str(asked.get("QuotaCode")))
    match operation:
        case "ListServices":
            return {"Services": [{"ServiceCode": k, "ServiceName": v} for k, v in SERVICES.items()]}
        case "GetServiceQuota" | "GetAWSDefaultServiceQuota" | "RequestServiceQuotaIncrease":
            if key not in MOST:
                raise Ec2Error("NoSuchResourceException", "The local region has no such quota.")
            if operation == "RequestServiceQuotaIncrease":
                return {"RequestedQuota": _more(key, int(asked["DesiredValue"]))}
            return {"Quota": _quota(key)}
        case "ListServiceQuotas" | "ListAWSDefaultServiceQuotas":
            if service not in SERVICES:
                raise Ec2Error("NoSuchResourceException", "The local region has no such service.")
            return {"Quotas": [_quota(each) for each in MOST if each[0] == service]}
    raise Ec2Error(
        "UnknownOperationException",
        f"The local region lists, gets and raises quotas, and does not answer {operation}.",
    )


def _about(key: tuple[str, str]) -> dict[str, Any]:
    return {
        "ServiceCode": key[0],
        "ServiceName": SERVICES[key[0]],
        "QuotaCode": key[1],
        "QuotaName": NAMES[key],
        "Unit": "None",
    }


def _quota(key: tuple[str, str]) -> dict[str, Any]:
    more = {"Value": float(MOST[key]), "Adjustable": True, "GlobalQuota": False}
    return {**_about(key), **more}


def _more(key: tuple[str, str], wanted: int) -> dict[str, Any]:
    if wanted <= MOST[key]:
        raise Ec2Error(
            "IllegalArgumentException",
            "You must provide a quota value greater than the current quota value.",
        )
    for each in (VPCS, GATEWAYS) if key == VPCS else (key,):
        MOST[each] = max(MOST[each], wanted)
    return {**_about(key), "Id": "local", "DesiredValue": float(wanted), "Status": "APPROVED"}


def check(inventory: Inventory, call: Form) -> None:
    """Refuse a call over a quota, or one that would leave something without what it uses."""
    rule = RULES.get(call["Action"])
    if rule is not None:
        rule(inventory, call)


def _allocate(inventory: Inventory, call: Form) -> None:
    if len(inventory.eips) >= min(MOST[ADDRESSES], len(POOL)):
        raise Ec2Error("AddressLimitExceeded", "The maximum number of addresses has been reached.")


def _create_vpc(inventory: Inventory, call: Form) -> None:
    if len(inventory.vpcs) >= MOST[VPCS]:
        raise Ec2Error("VpcLimitExceeded", "The maximum number of VPCs has been reached.")


def _run_instances(inventory: Inventory, call: Form) -> None:
    _vcpus(inventory, [call.get("InstanceType", "m1.small")] * int(call["MaxCount"]))


def _start_instances(inventory: Inventory, call: Form) -> None:
    asked = [inventory.machines[each] for each in listed(call, "InstanceId")]
    _vcpus(inventory, [each.type for each in asked if each.state == "stopped"])


def _vcpus(inventory: Inventory, more: list[str]) -> None:
    """Count what runs and what would; EC2 API, "Error codes", "VcpuLimitExceeded"."""
    running = [each.type for each in inventory.machines.values() if each.state == "running"]
    standard = [STANDARD.match(each) is not None for each in more]
    if any(standard) and sum(map(_size, [*running, *more])) > MOST[VCPUS]:
        raise Ec2Error(
            "VcpuLimitExceeded",
            f"You have requested more vCPU capacity than your current vCPU limit of {MOST[VCPUS]} "
            "allows for the instance bucket that the specified instance type belongs to. Please "
            "visit http://aws.amazon.com/contact-us/ec2-request to request an adjustment to this "
            "limit.",
        )


def _size(kind: str) -> int:
    return Moto.vcpus(kind) if STANDARD.match(kind) else 0


def _create_gateway(inventory: Inventory, call: Form) -> None:
    if len(inventory.gateways) >= MOST[GATEWAYS]:
        raise Ec2Error(
            "InternetGatewayLimitExceeded",
            "The maximum number of internet gateways has been reached.",
        )


def _delete_vpc(inventory: Inventory, call: Form) -> None:
    vpc = call["VpcId"]
    used = (
        any(subnet.vpc == vpc for subnet in inventory.subnets.values())
        or vpc in inventory.gateways.values()
        or sum(table.vpc == vpc for table in inventory.tables.values()) > 1  # the main one goes too
        or any(g.vpc == vpc and g.name != "default" for g in inventory.groups.values())
    )
    if used:
        raise Ec2Error(
            "DependencyViolation", f"The vpc '{vpc}' has dependencies and cannot be deleted."
        )


def _delete_subnet(inventory: Inventory, call: Form) -> None:
    if any(nic.subnet == call["SubnetId"] for nic in inventory.nics.values()):
        raise Ec2Error(
            "DependencyViolation",
            f"The subnet '{call['SubnetId']}' has dependencies and cannot be deleted.",
        )


def _delete_group(inventory: Inventory, call: Form) -> None:
    group = call.get("GroupId") or next(
        (each.id for each in inventory.groups.values() if each.name == call.get("GroupName")), ""
    )
    if group in inventory.groups and inventory.groups[group].name == "default":
        raise Ec2Error(
            "CannotDelete",
            f'the specified group: "{group}" name: "default" cannot be deleted by a user',
        )
    used = any(group in nic.groups for nic in inventory.nics.values()) or any(
        rule.peer == group
        for other in inventory.groups.values()
        if other.id != group
        for rule in (*other.ingress, *other.egress)
    )
    if used:
        raise Ec2Error("DependencyViolation", f"resource {group} has a dependent object")


def _detach_gateway(inventory: Inventory, call: Form) -> None:
    vpc = call["VpcId"]
    mapped = any(
        nic.vpc == vpc and (nic.automatic or any(e.nic == nic.id for e in inventory.eips.values()))
        for nic in inventory.nics.values()
    )
    if mapped:
        raise Ec2Error(
            "DependencyViolation",
            f"Network {vpc} has some mapped public address(es). Please unmap those public "
            "address(es) before detaching the gateway.",
        )


def _attach_gateway(inventory: Inventory, call: Form) -> None:
    gateway, vpc = call["InternetGatewayId"], call["VpcId"]
    if inventory.gateways.get(gateway):
        raise Ec2Error(
            "Resource.AlreadyAssociated",
            f"resource {gateway} is already attached to network {inventory.gateways[gateway]}",
        )
    if vpc in inventory.gateways.values():
        raise Ec2Error(
            "InvalidParameterValue",
            f"Network {vpc} already has an internet gateway attached",
        )


def _delete_nic(inventory: Inventory, call: Form) -> None:
    nic = inventory.nics.get(call["NetworkInterfaceId"])
    if nic is not None and nic.attachment:
        raise Ec2Error(
            "InvalidParameterValue", f"Network interface '{nic.id}' is currently in use."
        )


RULES = {
    "AllocateAddress": _allocate,
    "RunInstances": _run_instances,
    "StartInstances": _start_instances,
    "CreateVpc": _create_vpc,
    "CreateInternetGateway": _create_gateway,
    "DeleteVpc": _delete_vpc,
    "DeleteSubnet": _delete_subnet,
    "DeleteSecurityGroup": _delete_group,
    "DetachInternetGateway": _detach_gateway,
    "AttachInternetGateway": _attach_gateway,
    "DeleteNetworkInterface": _delete_nic,
}
