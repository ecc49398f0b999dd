"""Addresses as EC2 gives and refuses them; what they lead to; what a termination takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Lab = Any  # conftest's


def create_with(**how: Any) -> Callable[[Lab], object]:
    return lambda lab: lab.eni(**how)


def run_with(**how: Any) -> Callable[[Lab], object]:
    return lambda lab: lab.run(**{"SubnetId": lab.a, **how})


def nics(lab: Lab, *specs: dict[str, Any]) -> object:
    return lab.run(
        NetworkInterfaces=[
            {"DeviceIndex": index, "SubnetId": lab.a, **spec} for index, spec in enumerate(specs)
        ]
    )


def assign(*addresses: str) -> Callable[[Lab], object]:
    return lambda lab: lab.ec2.assign_private_ip_addresses(
        NetworkInterfaceId=lab.nic, PrivateIpAddresses=list(addresses)
    )


def two_nics(lab: Lab) -> str:
    nic = lab.eni()
    lab.attach(nic)
    return nic


def state(*verbs: str) -> Callable[[Lab], object]:
    def calls(lab: Lab) -> None:
        for verb in verbs:
            getattr(lab.ec2, f"{verb}_instances")(InstanceIds=[lab.i])

    return calls


def full_subnet(lab: Lab) -> None:
    subnet = lab.subnet("172.16.30.0/28")
    for _ in range(12):
        lab.eni(subnet)


def two_primaries(lab: Lab) -> None:
    both = [{"PrivateIpAddress": f"172.16.20.{last}", "Primary": True} for last in (8, 9)]
    lab.eni(PrivateIpAddresses=both)


REFUSALS = {
    "an address outside": (
        create_with(PrivateIpAddress="172.16.99.9"),
        "InvalidParameterValue",
        "Address 172.16.99.9 does not fall within the subnet's address range",
    ),
    "the router's address": (
        create_with(PrivateIpAddress="172.16.20.1"),
        "InvalidParameterValue",
        "Address 172.16.20.1 is in subnet's reserved address range",
    ),
    "the broadcast address": (
        create_with(PrivateIpAddress="172.16.20.255"),
        "InvalidParameterValue",
        "Address 172.16.20.255 is in subnet's reserved address range",
    ),
    "an address in use": (
        lambda lab: lab.eni(lab.a, PrivateIpAddress="172.16.10.101"),
        "InvalidIPAddress.InUse",
        "The specified address is already in use.",
    ),
    "an address that is none": (
        create_with(PrivateIpAddress="172.16.20"),
        "InvalidParameterValue",
        "invalid value for parameter address: 172.16.20",
    ),
    "a launch at an address in use": (
        run_with(PrivateIpAddress="172.16.10.101"),
        "InvalidIPAddress.InUse",
        "Address 172.16.10.101 is in use.",
    ),
    "a launch at a reserved address": (
        run_with(PrivateIpAddress="172.16.10.2"),
        "InvalidParameterValue",
        "Address 172.16.10.2 is in subnet's reserved address range",
    ),
    "a launch with an interface outside": (
        lambda lab: nics(lab, {"PrivateIpAddress": "172.16.20.9"}),
        "InvalidParameterValue",
        "Address 172.16.20.9 does not fall within the subnet's address range",
    ),
    "two interfaces at one address": (
        lambda lab: nics(
            lab, {"PrivateIpAddress": "172.16.10.9"}, {"PrivateIpAddress": "172.16.10.9"}
        ),
        "InvalidIPAddress.InUse",
        "Address 172.16.10.9 is in use.",
    ),
    "a secondary address outside": (
        assign("172.16.20.9"),
        "InvalidParameterValue",
        "Address 172.16.20.9 does not fall within the subnet's address range",
    ),
    "a secondary address in use": (
        lambda lab: (lab.eni(lab.a, PrivateIpAddress="172.16.10.9"), assign("172.16.10.9")(lab)),
        "InvalidIPAddress.InUse",
        "Address 172.16.10.9 is in use.",
    ),
    "more addresses than the type has": (
        assign(*(f"172.16.10.{last}" for last in range(10, 22))),
        "PrivateIpAddressLimitExceeded",
        "Number of private addresses will exceed limit.",
    ),
    "taking the primary address": (
        lambda lab: lab.ec2.unassign_private_ip_addresses(
            NetworkInterfaceId=lab.nic, PrivateIpAddresses=["172.16.10.101"]
        ),
        "InvalidParameterValue",
        "The primary IP address of an interface cannot be unassigned.",
    ),
    "the twelfth address of a /28": (
        full_subnet,
        "InsufficientFreeAddressesInSubnet",
        "The specified subnet does not have enough free addresses to satisfy the request.",
    ),
    "two primary addresses": (
        two_primaries,
        "InvalidParameterCombination",
        "Only one primary private IP address can be specified.",
    ),
    "a list and a count": (
        create_with(
            PrivateIpAddresses=[{"PrivateIpAddress": "172.16.20.9", "Primary": False}],
            SecondaryPrivateIpAddressCount=1,
        ),
        "InvalidParameterCombination",
        "You can specify either a list of secondary private IP addresses or a count, not both.",
    ),
    "assigning nothing": (
        lambda lab: lab.ec2.assign_private_ip_addresses(NetworkInterfaceId=lab.nic),
        "MissingParameter",
        "Specify either the private IP addresses or their count.",
    ),
    "taking an address that is not there": (
        lambda lab: lab.ec2.unassign_private_ip_addresses(
            NetworkInterfaceId=lab.nic, PrivateIpAddresses=["172.16.10.9"]
        ),
        "InvalidParameterValue",
        "Some of the specified addresses are not assigned to interface eni-.*",
    ),
    "an Elastic IP of another's": (
        lambda lab: lab.ec2.allocate_address(Address="198.51.100.1"),
        "InvalidParameterValue",
        "The address '198.51.100.1' is not available.",
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_what_ec2_refuses(lab: Lab, name: str) -> None:
    lab.refuses(*REFUSALS[name])


def test_elastic_ips_lead_to_single_addresses(lab: Lab) -> None:
    lab.ec2.assign_private_ip_addresses(
        NetworkInterfaceId=lab.nic, PrivateIpAddresses=["172.16.10.9"]
    )
    lab.associate(AllocationId=lab.eip(), NetworkInterfaceId=lab.nic)
    second = lab.eip()
    lab.associate(AllocationId=second, NetworkInterfaceId=lab.nic, PrivateIpAddress="172.16.10.9")
    wanted = {"172.16.10.101": "203.0.113.10", "172.16.10.9": "203.0.113.11"}
    assert lab.app.state().enis[lab.nic].eips == wanted
    shown = lab.ec2.describe_addresses()["Addresses"]
    assert {each["PrivateIpAddress"]: each["PublicIp"] for each in shown} == wanted
    nic = lab.nics()[lab.nic]
    private = nic["PrivateIpAddresses"]
    told = {each["PrivateIpAddress"]: each["Association"]["PublicIp"] for each in private}
    assert told == wanted
    assert nic["Association"]["PublicIp"] == "203.0.113.10"
    lab.associate(AllocationId=second, NetworkInterfaceId=lab.nic)  # moves, and pushes out
    assert lab.app.state().enis[lab.nic].eips == {"172.16.10.101": "203.0.113.11"}
    leads = [each.get("NetworkInterfaceId") for each in lab.ec2.describe_addresses()["Addresses"]]
    assert leads == [None, lab.nic]


def test_the_same_association_again_is_the_same(lab: Lab) -> None:
    how = {"AllocationId": lab.eip(), "NetworkInterfaceId": lab.nic}
    assert lab.associate(**how) == lab.associate(**how, AllowReassociation=False)


def test_addresses_are_chosen_lowest_free_first(lab: Lab) -> None:
    made = [lab.eni(lab.a), lab.eni(lab.a)]
    chosen = [lab.nics()[nic]["PrivateIpAddress"] for nic in made]
    assert chosen == ["172.16.10.4", "172.16.10.5"]
    lab.run(SubnetId=lab.a, MinCount=2, MaxCount=2)
    found = {nic["PrivateIpAddress"] for nic in lab.nics().values()}
    assert {"172.16.10.6", "172.16.10.7"} < found
    told = lab.ec2.assign_private_ip_addresses(
        NetworkInterfaceId=lab.nic, SecondaryPrivateIpAddressCount=2
    )["AssignedPrivateIpAddresses"]
    assert [each["PrivateIpAddress"] for each in told] == ["172.16.10.8", "172.16.10.9"]
    assert lab.app.state().enis[lab.nic].addresses == (
        "172.16.10.101",
        "172.16.10.8",
        "172.16.10.9",
    )


def test_elastic_ips_are_given_lowest_free_first(lab: Lab) -> None:
    first, _ = lab.eip(), lab.eip()
    lab.ec2.release_address(AllocationId=first)
    assert lab.ec2.allocate_address()["PublicIp"] == "203.0.113.10"
    assert lab.ec2.allocate_address()["PublicIp"] == "203.0.113.12"


def test_termination_takes_what_was_made_with_the_instance(lab: Lab) -> None:
    kept, doomed = lab.eni(), lab.eni()
    lab.attach(kept, 1)
    attachment = lab.attach(doomed, 2)
    lab.ec2.modify_network_interface_attribute(
        NetworkInterfaceId=doomed,
        Attachment={"AttachmentId": attachment, "DeleteOnTermination": True},
    )
    shown = {n: each["Attachment"]["DeleteOnTermination"] for n, each in lab.nics().items()}
    assert shown == {lab.nic: True, kept: False, doomed: True}
    for nic in (lab.nic, kept):
        lab.associate(AllocationId=lab.eip(), NetworkInterfaceId=nic)
    lab.ec2.terminate_instances(InstanceIds=[lab.i])
    assert {n: each["Status"] for n, each in lab.nics().items()} == {kept: "available"}
    leads = [each.get("NetworkInterfaceId") for each in lab.ec2.describe_addresses()["Addresses"]]
    assert leads == [None, kept]
    assert lab.app.state().instances == {}
    assert lab.app.state().enis == {}
    machine = lab.ec2.describe_instances()["Reservations"][0]["Instances"][0]
    assert machine["State"]["Name"] == "terminated"
    assert "PrivateIpAddress" not in machine
    lab.ec2.delete_network_interface(NetworkInterfaceId=kept)
    lab.ec2.delete_subnet(SubnetId=lab.a)


def test_boots_are_counted(lab: Lab) -> None:
    boots = [lab.app.state().instances[lab.i].boots]
    for verb in ("reboot", "stop", "start"):
        getattr(lab.ec2, f"{verb}_instances")(InstanceIds=[lab.i])
        boots.append(lab.app.state().instances[lab.i].boots)
        assert lab.app.state().instances[lab.i].running == (verb != "stop")
    assert boots == [1, 2, 2, 3]
    lab.ec2.start_instances(InstanceIds=[lab.i])  # it runs already: no boot
    assert lab.app.state().instances[lab.i].boots == 3


def test_a_subnet_that_maps_public_addresses(lab: Lab) -> None:
    assert lab.app.state().enis[lab.nic].eips == {}
    lab.ec2.modify_subnet_attribute(SubnetId=lab.a, MapPublicIpOnLaunch={"Value": True})
    made = lab.run(SubnetId=lab.a, PrivateIpAddress="172.16.10.9")

    def public() -> Any:
        found = lab.ec2.describe_instances(InstanceIds=[made])["Reservations"][0]
        return found["Instances"][0].get("PublicIpAddress")

    nic = next(n for n, each in lab.app.state().enis.items() if each.instance == made)
    assert lab.app.state().enis[nic].eips == {"172.16.10.9": "203.0.113.128"}
    assert public() == "203.0.113.128"
    association = lab.associate(AllocationId=lab.eip(), InstanceId=made)
    assert public() == "203.0.113.10"
    lab.run(SubnetId=lab.a)  # gets the automatic address that is free again
    lab.ec2.disassociate_address(AssociationId=association)
    assert public() == "203.0.113.129"
    lab.ec2.stop_instances(InstanceIds=[made])
    assert public() is None
    lab.ec2.start_instances(InstanceIds=[made])
    assert public() == "203.0.113.129"


def test_groups_become_rules(lab: Lab) -> None:
    group = lab.ec2.create_security_group(GroupName="g", Description="d", VpcId=lab.vpc)["GroupId"]
    lab.eni(Groups=[group])  # attached to nothing: no rule
    lab.attach(lab.eni(PrivateIpAddress="172.16.20.9", Groups=[group]))
    permissions = [
        {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]},
        {"IpProtocol": "icmp", "FromPort": 8, "ToPort": -1, "IpRanges": [{"CidrIp": "10.0.0.0/8"}]},
        {"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": group}]},
    ]
    lab.ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=permissions)
    held = lab.app.state().groups[group]
    told = [(each.protocol, each.from_port, each.to_port, each.cidr) for each in held.ingress]
    assert told == [
        ("tcp", 22, 22, "0.0.0.0/0"),
        ("icmp", -1, -1, "10.0.0.0/8"),
        ("-1", -1, -1, "172.16.20.9/32"),
    ]
    assert [each.cidr for each in held.egress] == ["0.0.0.0/0"]


def test_filters_that_moto_lacks(lab: Lab) -> None:
    nic = two_nics(lab)
    for name, value in (
        ("attachment.device-index", "1"),
        ("attachment.instance-id", lab.i),
        ("mac-address", lab.nics()[nic]["MacAddress"]),
        ("addresses.private-ip-address", lab.nics()[nic]["PrivateIpAddress"]),
    ):
        found = lab.ec2.describe_network_interfaces(Filters=[{"Name": name, "Values": [value]}])
        assert nic in {each["NetworkInterfaceId"] for each in found["NetworkInterfaces"]}, name
    lab.associate(AllocationId=lab.eip(), NetworkInterfaceId=nic)
    for what, name, value in (
        ("network_interfaces", "association.public-ip", "203.0.113.10"),
        ("addresses", "network-interface-id", nic),
        ("addresses", "instance-id", lab.i),
        ("instances", "network-interface.network-interface-id", nic),
    ):
        call = getattr(lab.ec2, f"describe_{what}")
        answer = call(Filters=[{"Name": name, "Values": [value]}])
        answer.pop("ResponseMetadata")
        assert [len(found) for found in answer.values()] == [1], name


def test_the_console_shows_the_boots(lab: Lab) -> None:
    lab.ec2.reboot_instances(InstanceIds=[lab.i])
    told = lab.ec2.get_console_output(InstanceId=lab.i)["Output"]
    assert f"boot 2 of {lab.i}" in told


def test_source_dest_check_of_the_only_interface(lab: Lab) -> None:
    lab.ec2.modify_instance_attribute(InstanceId=lab.i, SourceDestCheck={"Value": False})
    assert not lab.app.state().enis[lab.nic].source_dest_check
