"""Give out addresses as EC2 does: refuse wrong ones, choose the lowest free where none is asked.

What is chosen is written into the call, so that a replay of the journal chooses the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from ipaddress import AddressValueError, IPv4Address, IPv4Network

from osawslab.region.inventory import Inventory, Nic
from osawslab.region.wire import Ec2Error, Form, listed, members, truth

POOL = [f"203.0.113.{last}" for last in range(10, 128)]  # TEST-NET-3, RFC 5737


def taken(inventory: Inventory, subnet: str) -> set[str]:
    """List a subnet's addresses that interfaces have."""
    return {
        address
        for nic in inventory.nics.values()
        if nic.subnet == subnet
        for address in nic.addresses
    }


def usable(cidr: str) -> Iterator[str]:
    """Give a subnet's addresses but the first four and the last: VPC guide, "Subnet sizing"."""
    network = IPv4Network(cidr)
    return (str(network[number]) for number in range(4, network.num_addresses - 1))


def free(cidr: str, used: set[str]) -> str:
    """Choose the lowest free address."""
    for address in usable(cidr):
        if address not in used:
            return address
    raise Ec2Error(
        "InsufficientFreeAddressesInSubnet",
        "The specified subnet does not have enough free addresses to satisfy the request.",
    )


def check(cidr: str, used: set[str], address: str, in_use: str) -> str:
    """Refuse an address that is none, outside, reserved or in use (with `in_use` as the words)."""
    try:
        asked, network = IPv4Address(address), IPv4Network(cidr)
    except AddressValueError:
        raise Ec2Error(
            "InvalidParameterValue", f"invalid value for parameter address: {address}"
        ) from None
    if asked not in network:
        raise Ec2Error(
            "InvalidParameterValue",
            f"Address {address} does not fall within the subnet's address range",
        )
    if int(asked) - int(network[0]) < 4 or asked == network[-1]:
        raise Ec2Error(
            "InvalidParameterValue", f"Address {address} is in subnet's reserved address range"
        )
    if address in used:
        raise Ec2Error("InvalidIPAddress.InUse", in_use)
    return address


def settle(
    inventory: Inventory, subnet: str, fields: Form, used: set[str], *, launch: bool
) -> list[str]:
    """Choose an interface's addresses, primary first; take their parameters out of `fields`."""
    cidr = inventory.subnets[subnet].cidr
    wanted = members(fields, "PrivateIpAddresses")
    primary = fields.pop("PrivateIpAddress", None)
    others = []
    for prefix, each in wanted.items():
        for name in each:
            del fields[prefix + name]
        if truth(each.get("Primary")):
            if primary is not None:
                raise Ec2Error(
                    "InvalidParameterCombination",
                    "Only one primary private IP address can be specified.",
                )
            primary = each["PrivateIpAddress"]
        else:
            others.append(each["PrivateIpAddress"])
    count = int(fields.pop("SecondaryPrivateIpAddressCount", "0"))
    if count and wanted:
        raise Ec2Error(
            "InvalidParameterCombination",
            "You can specify either a list of secondary private IP addresses or a count, not both.",
        )

    def words(address: str) -> str:
        return (
            f"Address {address} is in use."
            if launch
            else "The specified address is already in use."
        )

    chosen: list[str] = []
    for asked in [primary] if primary else []:
        chosen.append(check(cidr, used, asked, words(asked)))
        used.add(asked)
    for asked in others:
        chosen.append(check(cidr, used, asked, words(asked)))
        used.add(asked)
    if not primary:
        chosen.insert(0, free(cidr, used))
        used.add(chosen[0])
    for _ in range(count):
        chosen.append(free(cidr, used))
        used.add(chosen[-1])
    return chosen


def write(fields: Form, chosen: list[str], prefix: str = "") -> None:
    """Write an interface's addresses as parameters."""
    for number, address in enumerate(chosen, 1):
        fields[f"{prefix}PrivateIpAddresses.{number}.PrivateIpAddress"] = address
        fields[f"{prefix}PrivateIpAddresses.{number}.Primary"] = str(number == 1).lower()


def create_network_interface(inventory: Inventory, call: Form) -> None:
    """Settle a new interface's addresses."""
    subnet = call["SubnetId"]
    write(call, settle(inventory, subnet, call, taken(inventory, subnet), launch=False))


def assign(inventory: Inventory, call: Form, most: Callable[[Nic], int]) -> None:
    """Settle the addresses an interface is to get besides."""
    nic = inventory.nics[call["NetworkInterfaceId"]]
    cidr, used = inventory.subnets[nic.subnet].cidr, taken(inventory, nic.subnet)
    asked = listed(call, "PrivateIpAddress")
    count = int(call.pop("SecondaryPrivateIpAddressCount", "0"))
    if bool(asked) == bool(count):
        raise Ec2Error(
            "MissingParameter" if not asked else "InvalidParameterCombination",
            "Specify either the private IP addresses or their count.",
        )
    move = truth(call.get("AllowReassignment"))
    for address in asked:
        if not (move and address in used):
            check(cidr, used - set(nic.addresses), address, f"Address {address} is in use.")
    for _ in range(count):
        asked.append(free(cidr, used))
        used.add(asked[-1])
    if len({*nic.addresses, *asked}) > most(nic):
        raise Ec2Error(
            "PrivateIpAddressLimitExceeded", "Number of private addresses will exceed limit."
        )
    for number, address in enumerate(asked, 1):
        call[f"PrivateIpAddress.{number}"] = address


def unassign(inventory: Inventory, call: Form) -> None:
    """Refuse to take an interface's primary address, or one it does not have."""
    nic = inventory.nics[call["NetworkInterfaceId"]]
    for address in listed(call, "PrivateIpAddress"):
        if address == nic.addresses[0]:
            raise Ec2Error(
                "InvalidParameterValue",
                "The primary IP address of an interface cannot be unassigned.",
            )
        if address not in nic.addresses:
            raise Ec2Error(
                "InvalidParameterValue",
                f"Some of the specified addresses are not assigned to interface {nic.id}",
            )


def allocate(inventory: Inventory, call: Form) -> None:
    """Choose the lowest free Elastic IP."""
    used = {eip.public for eip in inventory.eips.values()}
    wanted = call.get("Address")
    if wanted is not None and (wanted in used or wanted not in POOL):
        raise Ec2Error("InvalidParameterValue", f"The address '{wanted}' is not available.")
    call["Address"] = wanted or next(ip for ip in POOL if ip not in used)
    call["Domain"] = "vpc"
