"""Refuse what EC2 refuses and moto does not, and settle what EC2 chooses, before moto sees a call.

Each rule reads the inventory and the call's parameters; it raises `Ec2Error`, or writes what was
chosen into the parameters. Codes and words are EC2's own: EC2 API, "Error codes".
"""

from __future__ import annotations

from collections.abc import Callable

from osawslab.region import addresses, existence, imaging, metadata, quota
from osawslab.region.inventory import ElasticIp, Inventory, Nic
from osawslab.region.wire import Ec2Error, Form, listed, members

Limits = Callable[[str], tuple[int, int] | None]  # type -> interfaces, addresses on each


class Strict:
    """The rules, one method for each EC2 action that has some."""

    def __init__(self, region: str, limits: Limits, whole: Callable[[str], bool]) -> None:
        self.region = region
        self.limits = limits
        self.whole = whole  # instance id -> is it a whole operating system?

    def check(self, inventory: Inventory, call: Form) -> None:
        """Refuse a call or settle it; actions without rules pass."""
        existence.check(inventory, call)
        quota.check(inventory, call)
        rule = getattr(self, call["Action"], None)
        if rule is not None:
            rule(inventory, call)

    def CreateSubnet(self, inventory: Inventory, call: Form) -> None:
        if "AvailabilityZone" not in call and "AvailabilityZoneId" not in call:
            call["AvailabilityZone"] = f"{self.region}a"

    def CreateNetworkInterface(self, inventory: Inventory, call: Form) -> None:
        addresses.create_network_interface(inventory, call)

    def AssignPrivateIpAddresses(self, inventory: Inventory, call: Form) -> None:
        addresses.assign(inventory, call, lambda nic: self._most(inventory, nic))

    def UnassignPrivateIpAddresses(self, inventory: Inventory, call: Form) -> None:
        addresses.unassign(inventory, call)

    def AllocateAddress(self, inventory: Inventory, call: Form) -> None:
        addresses.allocate(inventory, call)

    def RunInstances(self, inventory: Inventory, call: Form) -> None:
        count = int(call["MaxCount"])
        if not 0 < int(call["MinCount"]) <= count:
            raise Ec2Error(
                "InvalidParameterValue",
                f"Minimum count '{call['MinCount']}' must be between 1 and {count}",
            )
        call["MinCount"] = str(count)
        call.setdefault("InstanceType", "m1.small")  # RunInstances, "InstanceType"
        if "ImageId" not in call:
            raise Ec2Error("MissingParameter", "The request must contain the parameter ImageId")
        if not members(call, "BlockDeviceMapping"):
            call["BlockDeviceMapping.1.DeviceName"] = inventory.images[call["ImageId"]]
            call["BlockDeviceMapping.1.Ebs.VolumeSize"] = "8"  # GiB, Debian's AMIs
            call["BlockDeviceMapping.1.Ebs.DeleteOnTermination"] = "true"
        metadata.check(call, "MetadataOptions.")
        asked = members(call, "NetworkInterface")
        if "SubnetId" not in call and not asked:
            call["SubnetId"] = self._default_subnet(inventory, call)
        for prefix, fields in asked.items():
            if "SubnetId" not in fields and "NetworkInterfaceId" not in fields:
                fields["SubnetId"] = self._default_subnet(inventory, call)
                call[f"{prefix}SubnetId"] = fields["SubnetId"]
        limits = self.limits(call["InstanceType"])
        if limits is None:
            raise Ec2Error(
                "InvalidParameterValue", f"Invalid value '{call['InstanceType']}' for InstanceType."
            )
        if len(asked) > limits[0]:
            raise Ec2Error(
                "AttachmentLimitExceeded",
                f"Interface count {len(asked)} exceeds the limit for {call['InstanceType']}",
            )
        if len(asked) > 1 and any("AssociatePublicIpAddress" in each for each in asked.values()):
            raise Ec2Error(
                "InvalidParameterCombination",
                "The associatePublicIPAddress parameter cannot be specified when launching with "
                "multiple network interfaces.",
            )
        indexes = [each.get("DeviceIndex") for each in asked.values()]
        if asked and "0" not in indexes:
            raise Ec2Error(
                "InvalidParameterCombination",
                "When specifying network interfaces, you must include a device at index 0.",
            )
        if len(set(indexes)) < len(indexes):
            raise Ec2Error(
                "InvalidParameterValue", "Each network interface requires a unique device index."
            )
        self._launch_addresses(inventory, call, asked, count)

    def _default_subnet(self, inventory: Inventory, call: Form) -> str:
        zone = call.get("Placement.AvailabilityZone", f"{self.region}a")
        for subnet in inventory.subnets.values():
            if subnet.default and subnet.zone == zone:
                return subnet.id
        raise Ec2Error("MissingInput", f"No default subnet for availability zone: '{zone}'.")

    def _launch_addresses(
        self, inventory: Inventory, call: Form, asked: dict[str, Form], count: int
    ) -> None:
        """Settle the addresses of an instance's first interfaces."""
        used: dict[str, set[str]] = {}

        def settle(fields: Form) -> list[str]:
            subnet = fields["SubnetId"]
            taken = used.setdefault(subnet, addresses.taken(inventory, subnet))
            return addresses.settle(inventory, subnet, fields, taken, launch=True)

        if not asked:
            names = ("SubnetId", "PrivateIpAddress")
            plain: Form = {name: call[name] for name in names if name in call}
            if count > 1 and "PrivateIpAddress" in call:
                raise Ec2Error(
                    "InvalidParameterCombination",
                    "Only one instance can be launched with the specified private IP address.",
                )
            chosen = settle(plain)
            if count == 1:
                call["PrivateIpAddress"] = chosen[0]
        for prefix, fields in asked.items():
            if "NetworkInterfaceId" in fields:
                nic = inventory.nics[fields["NetworkInterfaceId"]]
                if nic.attachment:
                    raise Ec2Error(
                        "InvalidNetworkInterface.InUse", f"Interface: [{nic.id}] in use."
                    )
                continue
            for name in [name for name in call if name.startswith(prefix)]:
                del call[name]
            chosen = settle(fields)
            call.update({prefix + name: value for name, value in fields.items()})
            if count == 1:
                call[f"{prefix}PrivateIpAddress"] = chosen[0]
                for number, address in enumerate(chosen[1:], 1):
                    call[f"{prefix}PrivateIpAddresses.{number}.PrivateIpAddress"] = address

    def CreateImage(self, inventory: Inventory, call: Form) -> None:
        imaging.create_image(inventory, call, self.whole)

    def DeregisterImage(self, inventory: Inventory, call: Form) -> None:
        imaging.deregister_image(inventory, call)

    def AttachNetworkInterface(self, inventory: Inventory, call: Form) -> None:
        nic = inventory.nics[call["NetworkInterfaceId"]]
        machine = inventory.machines[call["InstanceId"]]
        if nic.attachment:
            raise Ec2Error(
                "InvalidParameterValue", f"Network interface '{nic.id}' is currently in use."
            )
        if machine.state not in ("running", "stopped"):
            raise Ec2Error(
                "IncorrectState", f"Instance '{machine.id}' is not 'running' or 'stopped'."
            )
        if nic.zone != machine.zone:
            raise Ec2Error(
                "InvalidParameterCombination",
                "You may not attach a network interface to an instance if they are not in the "
                "same availability zone",
            )
        present = inventory.on(machine.id)
        if int(call["DeviceIndex"]) in {each.index for each in present}:
            raise Ec2Error(
                "InvalidParameterValue",
                f"Instance '{machine.id}' already has an interface attached at device index "
                f"'{call['DeviceIndex']}'.",
            )
        limits = self.limits(machine.type)
        if limits is not None and len(present) >= limits[0]:
            raise Ec2Error(
                "AttachmentLimitExceeded",
                f"Interface count {len(present) + 1} exceeds the limit for {machine.type}",
            )

    def DetachNetworkInterface(self, inventory: Inventory, call: Form) -> None:
        for nic in inventory.nics.values():
            if nic.attachment == call["AttachmentId"] and nic.index == 0:
                raise Ec2Error(
                    "OperationNotPermitted",
                    "The network interface at device index 0 cannot be detached.",
                )

    def AssociateAddress(self, inventory: Inventory, call: Form) -> None:
        eip = self._eip(inventory, call)
        nic = self._target(inventory, call)
        private = call.get("PrivateIpAddress", nic.addresses[0])
        if private not in nic.addresses:
            raise Ec2Error(
                "InvalidParameterValue",
                f"The address '{private}' is not assigned to the network interface '{nic.id}'.",
            )
        if nic.vpc not in inventory.gateways.values():
            raise Ec2Error(
                "Gateway.NotAttached", f"Network {nic.vpc} is not attached to any internet gateway"
            )
        present = inventory.eip_of(nic.id, private)
        if call.get("AllowReassociation", "true").lower() == "false" and present is not eip:
            if eip.association:
                raise Ec2Error(
                    "Resource.AlreadyAssociated",
                    f"resource {eip.allocation} is already associated with associate-id "
                    f"{eip.association}",
                )
            if present is not None:
                raise Ec2Error(
                    "Resource.AlreadyAssociated",
                    f"resource {nic.id} and {private} is already associated with public address "
                    f"{present.public}",
                )
        call.pop("InstanceId", None)
        call["NetworkInterfaceId"], call["PrivateIpAddress"] = nic.id, private

    def _eip(self, inventory: Inventory, call: Form) -> ElasticIp:
        allocation, public = call.get("AllocationId"), call.get("PublicIp")
        for eip in inventory.eips.values():
            if allocation == eip.allocation or (allocation is None and public == eip.public):
                return eip
        if public:
            raise Ec2Error("InvalidAddress.NotFound", f"Address '{public}' not found.")
        raise Ec2Error("MissingParameter", "Either public IP or allocation id must be specified")

    def _target(self, inventory: Inventory, call: Form) -> Nic:
        if "NetworkInterfaceId" in call:
            return inventory.nics[call["NetworkInterfaceId"]]
        if "InstanceId" not in call:
            raise Ec2Error(
                "MissingParameter", "Either instance ID or network interface id must be specified"
            )
        nics = inventory.on(inventory.machines[call["InstanceId"]].id)
        if len(nics) > 1:
            raise Ec2Error(
                "InvalidInstanceID",
                f"There are multiple interfaces attached to instance '{call['InstanceId']}'. "
                "Please specify an interface ID for the operation instead.",
            )
        if not nics:
            raise Ec2Error(
                "InvalidInstanceID",
                f"The instance '{call['InstanceId']}' is not in a valid state for this operation.",
            )
        return nics[0]

    def DisassociateAddress(self, inventory: Inventory, call: Form) -> None:
        association = call.get("AssociationId")
        if association and association not in {e.association for e in inventory.eips.values()}:
            raise Ec2Error(
                "InvalidAssociationID.NotFound",
                f"The association ID '{association}' does not exist",
            )
        if not association:
            self._eip(inventory, call)

    def ReleaseAddress(self, inventory: Inventory, call: Form) -> None:
        eip = self._eip(inventory, call)
        if eip.association:
            raise Ec2Error("InvalidIPAddress.InUse", f"Address {eip.public} is in use.")

    def StartInstances(self, inventory: Inventory, call: Form) -> None:
        self._states(inventory, call, ("running", "stopped"), "started")

    def StopInstances(self, inventory: Inventory, call: Form) -> None:
        self._states(inventory, call, ("running", "stopped"), "stopped")

    def RebootInstances(self, inventory: Inventory, call: Form) -> None:
        self._states(inventory, call, ("running",), "rebooted")

    def _states(
        self, inventory: Inventory, call: Form, allowed: tuple[str, ...], verb: str
    ) -> None:
        for each in listed(call, "InstanceId"):
            machine = inventory.machines[each]
            if machine.state not in allowed:
                raise Ec2Error(
                    "IncorrectInstanceState",
                    f"{'This' if verb == 'stopped' else 'The'} instance '{each}' is not in a state "
                    f"from which it can be {verb}.",
                )

    def ModifyInstanceMetadataOptions(self, inventory: Inventory, call: Form) -> None:
        metadata.check(call)

    def ModifyInstanceAttribute(self, inventory: Inventory, call: Form) -> None:
        machine = inventory.machines[call["InstanceId"]]
        nics = inventory.on(machine.id)
        if len(nics) > 1 and any(
            name == "SourceDestCheck.Value" or name.startswith("GroupId.") for name in call
        ):
            raise Ec2Error(
                "InvalidInstanceID",
                f"There are multiple interfaces attached to instance '{machine.id}'. "
                "Please specify an interface ID for the operation instead.",
            )

    def ModifyNetworkInterfaceAttribute(self, inventory: Inventory, call: Form) -> None:
        nic = inventory.nics[call["NetworkInterfaceId"]]
        asked = {key.split(".")[0] for key in call} - {
            "Action",
            "Version",
            "DryRun",
            "NetworkInterfaceId",
        }
        if len(asked) != 1:
            raise Ec2Error(
                "InvalidParameterCombination",
                "Fields for multiple attribute types specified: " + ", ".join(sorted(asked))
                if asked
                else "No attributes specified.",
            )
        attachment = call.get("Attachment.AttachmentId")
        if "Attachment" in asked and attachment != nic.attachment:
            raise Ec2Error(
                "InvalidAttachmentID.NotFound", f"The attachment '{attachment}' does not exist."
            )

    def _most(self, inventory: Inventory, nic: Nic) -> int:
        """Give the most addresses an interface can have; a free one as many as any (50)."""
        machine = inventory.machines.get(nic.instance or "")
        limits = self.limits(machine.type) if machine else None
        return limits[1] if limits else 50
