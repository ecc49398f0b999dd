"""EC2's refusals, in EC2's words, through plain boto3."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

AMI = "ami-0d13a6d64d13a6d64"
Lab = Any  # conftest's


def run_with(**how: Any) -> Callable[[Lab], object]:
    return lambda lab: lab.run(**{"SubnetId": lab.a, **how})


def nics(lab: Lab, *specs: dict[str, Any]) -> object:
    return lab.run(
        NetworkInterfaces=[
            {"DeviceIndex": index, "SubnetId": lab.a, **spec} for index, spec in enumerate(specs)
        ]
    )


def twice_attached(lab: Lab) -> None:
    nic = lab.eni()
    lab.attach(nic)
    lab.attach(nic, 2)


def full(lab: Lab) -> None:
    for index in (1, 2, 3):
        lab.attach(lab.eni(), index)


def taken_eip(lab: Lab) -> None:
    eip = lab.eip()
    lab.associate(AllocationId=eip, NetworkInterfaceId=lab.nic)
    lab.associate(AllocationId=eip, NetworkInterfaceId=lab.eni(), AllowReassociation=False)


def taken_address(lab: Lab) -> None:
    lab.associate(AllocationId=lab.eip(), NetworkInterfaceId=lab.nic)
    lab.associate(AllocationId=lab.eip(), NetworkInterfaceId=lab.nic, AllowReassociation=False)


def two_nics(lab: Lab) -> str:
    nic = lab.eni()
    lab.attach(nic)
    return nic


def associate_by_instance(lab: Lab) -> None:
    two_nics(lab)
    lab.associate(AllocationId=lab.eip(), InstanceId=lab.i)


def check_by_instance(lab: Lab) -> None:
    two_nics(lab)
    lab.ec2.modify_instance_attribute(InstanceId=lab.i, SourceDestCheck={"Value": False})


def release_used(lab: Lab) -> None:
    eip = lab.eip()
    lab.associate(AllocationId=eip, NetworkInterfaceId=lab.nic)
    lab.ec2.release_address(AllocationId=eip)


def detach_primary(lab: Lab) -> None:
    attachment = lab.nics()[lab.nic]["Attachment"]["AttachmentId"]
    lab.ec2.detach_network_interface(AttachmentId=attachment)


def other_zone(lab: Lab) -> None:
    lab.attach(lab.eni(lab.subnet("172.16.30.0/24", AvailabilityZone="us-east-1b")))


def state(*verbs: str) -> Callable[[Lab], object]:
    def calls(lab: Lab) -> None:
        for verb in verbs:
            getattr(lab.ec2, f"{verb}_instances")(InstanceIds=[lab.i])

    return calls


def repeated_token(lab: Lab) -> None:
    lab.run(SubnetId=lab.a, ClientToken="t")
    lab.run(SubnetId=lab.b, ClientToken="t")


def terminated_token(lab: Lab) -> None:
    made = lab.run(SubnetId=lab.a, ClientToken="t")
    lab.ec2.terminate_instances(InstanceIds=[made])
    lab.run(SubnetId=lab.a, ClientToken="t")


def attributes(lab: Lab) -> None:
    lab.ec2.modify_network_interface_attribute(
        NetworkInterfaceId=lab.nic, SourceDestCheck={"Value": False}, Description={"Value": "d"}
    )


def attach_to_terminated(lab: Lab) -> None:
    lab.ec2.terminate_instances(InstanceIds=[lab.i])
    lab.attach(lab.eni())


def associate_with_terminated(lab: Lab) -> None:
    lab.ec2.terminate_instances(InstanceIds=[lab.i])
    lab.associate(AllocationId=lab.eip(), InstanceId=lab.i)


def other_attachment(lab: Lab) -> None:
    nic = lab.eni()
    lab.ec2.modify_network_interface_attribute(
        NetworkInterfaceId=lab.nic,
        Attachment={"AttachmentId": lab.attach(nic), "DeleteOnTermination": True},
    )


REFUSALS = {
    "image of a light instance": (
        lambda lab: lab.ec2.create_image(InstanceId=lab.i, Name="an image"),
        "UnsupportedOperation",
        "The instance '.*' is not a whole operating system, so the local region makes no image of "
        "it.",
    ),
    "image with a bad name": (
        lambda lab: lab.ec2.create_image(InstanceId=lab.i, Name="ab"),
        "InvalidAMIName.Malformed",
        "AMI names must be between 3 and 128 characters long, .*",
    ),
    "somebody else's image": (
        lambda lab: lab.ec2.deregister_image(ImageId=AMI),
        "AuthFailure",
        f"Not authorized for image:{AMI}",
    ),
    "an index taken": (
        lambda lab: lab.attach(lab.eni(), 0),
        "InvalidParameterValue",
        "Instance 'i-.*' already has an interface attached at device index '0'.",
    ),
    "an interface in use": (
        twice_attached,
        "InvalidParameterValue",
        "Network interface 'eni-.*' is currently in use.",
    ),
    "a launch with an interface in use": (
        lambda lab: lab.run(NetworkInterfaces=[{"DeviceIndex": 0, "NetworkInterfaceId": lab.nic}]),
        "InvalidNetworkInterface.InUse",
        "Interface: [eni-.*] in use.",
    ),
    "an interface of another zone": (
        other_zone,
        "InvalidParameterCombination",
        "You may not attach a network interface to an instance if they are not in the same "
        "availability zone",
    ),
    "more interfaces than the type has": (
        full,
        "AttachmentLimitExceeded",
        "Interface count 4 exceeds the limit for t2.large",
    ),
    "a launch with more interfaces than the type has": (
        lambda lab: nics(lab, {}, {}, {}, {}),
        "AttachmentLimitExceeded",
        "Interface count 4 exceeds the limit for t2.large",
    ),
    "a public address for one of two": (
        lambda lab: nics(lab, {"AssociatePublicIpAddress": True}, {}),
        "InvalidParameterCombination",
        "The associatePublicIPAddress parameter cannot be specified when launching with "
        "multiple network interfaces.",
    ),
    "releasing an address in use": (
        release_used,
        "InvalidIPAddress.InUse",
        "Address 203.0.113.10 is in use.",
    ),
    "an Elastic IP that leads elsewhere": (
        taken_eip,
        "Resource.AlreadyAssociated",
        "resource eipalloc-.* is already associated with associate-id eipassoc-.*",
    ),
    "an address that another Elastic IP leads to": (
        taken_address,
        "Resource.AlreadyAssociated",
        "resource eni-.* and 172.16.10.101 is already associated with public address 203.0.113.10",
    ),
    "an Elastic IP for an instance with two interfaces": (
        associate_by_instance,
        "InvalidInstanceID",
        "There are multiple interfaces attached to instance 'i-.*'. Please specify an interface "
        "ID for the operation instead.",
    ),
    "SourceDestCheck of an instance with two interfaces": (
        check_by_instance,
        "InvalidInstanceID",
        "There are multiple interfaces attached to instance 'i-.*'. Please specify an interface "
        "ID for the operation instead.",
    ),
    "an Elastic IP without a gateway": (
        lambda lab: (
            lab.ec2.detach_internet_gateway(InternetGatewayId=lab.igw, VpcId=lab.vpc),
            lab.associate(AllocationId=lab.eip(), NetworkInterfaceId=lab.nic),
        ),
        "Gateway.NotAttached",
        "Network vpc-.* is not attached to any internet gateway",
    ),
    "detaching the primary interface": (
        detach_primary,
        "OperationNotPermitted",
        "The network interface at device index 0 cannot be detached.",
    ),
    "starting what is terminated": (
        state("terminate", "start"),
        "IncorrectInstanceState",
        "The instance 'i-.*' is not in a state from which it can be started.",
    ),
    "stopping what is terminated": (
        state("terminate", "stop"),
        "IncorrectInstanceState",
        "This instance 'i-.*' is not in a state from which it can be stopped.",
    ),
    "rebooting what is stopped": (
        state("stop", "reboot"),
        "IncorrectInstanceState",
        "The instance 'i-.*' is not in a state from which it can be rebooted.",
    ),
    "two attributes at once": (
        attributes,
        "InvalidParameterCombination",
        "Fields for multiple attribute types specified: .*",
    ),
    "an unknown instance type": (
        run_with(InstanceType="t2.vast"),
        "InvalidParameterValue",
        "Invalid value 't2.vast' for InstanceType.",
    ),
    "a token with other parameters": (
        repeated_token,
        "IdempotentParameterMismatch",
        "Arguments on this idempotent request are inconsistent with arguments used in previous "
        "request(s).",
    ),
    "a token of what is terminated": (
        terminated_token,
        "IdempotentInstanceTerminated",
        "The request to launch an instance uses the same client token as a previous request for "
        "which the instance has been terminated.",
    ),
    "fewer instances than none": (
        run_with(MinCount=2),
        "InvalidParameterValue",
        "Minimum count '2' must be between 1 and 1",
    ),
    "a launch of no AMI": (
        lambda lab: lab.ec2.run_instances(MinCount=1, MaxCount=1),
        "MissingParameter",
        "The request must contain the parameter ImageId",
    ),
    "no first interface": (
        lambda lab: nics(lab, {"DeviceIndex": 1}),
        "InvalidParameterCombination",
        "When specifying network interfaces, you must include a device at index 0.",
    ),
    "two first interfaces": (
        lambda lab: nics(lab, {}, {"DeviceIndex": 0}),
        "InvalidParameterValue",
        "Each network interface requires a unique device index.",
    ),
    "one address for two instances": (
        run_with(MinCount=2, MaxCount=2, PrivateIpAddress="172.16.10.9"),
        "InvalidParameterCombination",
        "Only one instance can be launched with the specified private IP address.",
    ),
    "attaching to what is terminated": (
        attach_to_terminated,
        "IncorrectState",
        "Instance 'i-.*' is not 'running' or 'stopped'.",
    ),
    "an Elastic IP for what is terminated": (
        associate_with_terminated,
        "InvalidInstanceID",
        "The instance 'i-.*' is not in a valid state for this operation.",
    ),
    "an Elastic IP for an address that is not there": (
        lambda lab: lab.associate(
            AllocationId=lab.eip(), NetworkInterfaceId=lab.nic, PrivateIpAddress="172.16.10.9"
        ),
        "InvalidParameterValue",
        "The address '172.16.10.9' is not assigned to the network interface 'eni-.*'.",
    ),
    "an association of nothing": (
        lambda lab: lab.associate(NetworkInterfaceId=lab.nic),
        "MissingParameter",
        "Either public IP or allocation id must be specified",
    ),
    "an association with nothing": (
        lambda lab: lab.associate(AllocationId=lab.eip()),
        "MissingParameter",
        "Either instance ID or network interface id must be specified",
    ),
    "an unknown public address": (
        lambda lab: lab.ec2.release_address(PublicIp="203.0.113.99"),
        "InvalidAddress.NotFound",
        "Address '203.0.113.99' not found.",
    ),
    "an unknown association": (
        lambda lab: lab.ec2.disassociate_address(AssociationId="eipassoc-01234567"),
        "InvalidAssociationID.NotFound",
        "The association ID 'eipassoc-01234567' does not exist",
    ),
    "an unknown address to disassociate": (
        lambda lab: lab.ec2.disassociate_address(PublicIp="203.0.113.99"),
        "InvalidAddress.NotFound",
        "Address '203.0.113.99' not found.",
    ),
    "the attachment of another interface": (
        other_attachment,
        "InvalidAttachmentID.NotFound",
        "The attachment 'eni-attach-.*' does not exist.",
    ),
    "no attribute": (
        lambda lab: lab.ec2.modify_network_interface_attribute(NetworkInterfaceId=lab.nic),
        "InvalidParameterCombination",
        "No attributes specified.",
    ),
    "a zone without a default subnet": (
        lambda lab: lab.run(Placement={"AvailabilityZone": "us-east-1z"}),
        "MissingInput",
        "No default subnet for availability zone: 'us-east-1z'.",
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_what_ec2_refuses(lab: Lab, name: str) -> None:
    lab.refuses(*REFUSALS[name])
