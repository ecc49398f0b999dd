"""Replace those of moto's answers to EC2 calls that differ from EC2's: `moto.ec2.responses`."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from osawslab.region import motoimages
from osawslab.region.motomodels import ElasticAddress, NetworkInterface, tools

responses: Any = import_module("moto.ec2.responses")
core: Any = import_module("moto.core.responses")
MotoAnswers: Any = responses.EC2Response
ActionResult, EmptyResult = core.ActionResult, core.EmptyResult
EC2ClientError = import_module("moto.ec2.exceptions").EC2ClientError
StateReason = import_module("moto.ec2.models.instances").StateReason
KeyPair = import_module("moto.ec2.models.key_pairs").KeyPair
Base64EncodedString = import_module("moto.core.types").Base64EncodedString


# In the region's own calls only: EC2's model has no such parameter.
INITIATED = "InstanceInitiated"
SHUTDOWN = "Client.InstanceInitiatedShutdown"


class Answers(MotoAnswers):  # type: ignore[misc]
    """moto's answers to EC2 calls, with those replaced that differ from EC2's."""

    backend: Any  # set by each Moto's own subclass
    key_material = b""
    lab = ""  # the name that all ids follow from

    @property
    def ec2_backend(self) -> Any:
        return self.backend

    def nic(self) -> NetworkInterface:
        """Find the interface that a call names."""
        found: NetworkInterface = self.backend.get_network_interface(
            self._get_param("NetworkInterfaceId")
        )
        return found

    def eip(self) -> ElasticAddress:
        """Find the Elastic IP that a call names; the strict layer knows that there is one."""
        asked = {self._get_param(name) for name in ("AllocationId", "AssociationId", "PublicIp")}
        found: ElasticAddress = next(
            each
            for each in self.backend.addresses
            if ({each.allocation_id, each.association_id, each.public_ip} - {None}) & asked
        )
        return found

    def associate_address(self) -> Any:
        eip, nic, private = self.eip(), self.nic(), self._get_param("PrivateIpAddress")
        if (eip.eni, eip.private) != (nic, private):
            before = nic.eips.get(private)
            eip.lead(nic, private)
            if before is not None:
                before.lead(None, None)
        return ActionResult({"AssociationId": eip.association_id})

    def disassociate_address(self) -> Any:
        self.eip().lead(None, None)
        return EmptyResult()

    def release_address(self) -> Any:
        self.backend.addresses.remove(self.eip())
        return EmptyResult()

    def assign_private_ip_addresses(self) -> Any:
        nic, wanted = self.nic(), self._get_param("PrivateIpAddresses", [])
        for other in self.backend.enis.values():  # AllowReassignment: the last one asked wins
            if other is not nic and other.subnet is nic.subnet:
                self._take(other, wanted)
        held = [each["PrivateIpAddress"] for each in nic.private_ip_addresses]
        for each in wanted:
            if each not in held:
                nic.private_ip_addresses.append({"Primary": False, "PrivateIpAddress": each})
        told = [{"PrivateIpAddress": each} for each in wanted]
        return ActionResult({"NetworkInterfaceId": nic.id, "AssignedPrivateIpAddresses": told})

    def unassign_private_ip_addresses(self) -> Any:
        self._take(self.nic(), self._get_param("PrivateIpAddresses", []))
        return EmptyResult()

    def _take(self, nic: NetworkInterface, wanted: list[str]) -> None:
        for each in list(nic.private_ip_addresses):
            private = each["PrivateIpAddress"]
            if private in wanted:
                nic.private_ip_addresses.remove(each)
                if private in nic.eips:
                    nic.eips[private].lead(None, None)

    def create_network_acl_entry(self) -> Any:
        return self._with_icmp(super().create_network_acl_entry)

    def replace_network_acl_entry(self) -> Any:
        self._acl_entry()
        return self._with_icmp(super().replace_network_acl_entry)

    def delete_network_acl_entry(self) -> Any:
        self._acl_entry()
        return super().delete_network_acl_entry()

    def _with_icmp(self, call: Callable[[], Any]) -> Any:
        """Note the ICMP type and code of a rule, which moto asks for by a name of the past."""
        told, entry, icmp = call(), self._acl_entry(), self._get_param("IcmpTypeCode") or {}
        entry.icmp_type, entry.icmp_code = icmp.get("Type"), icmp.get("Code")
        return told

    def _acl_entry(self) -> Any:
        """Find the rule of a network ACL that a call names."""
        acl = self.backend.get_network_acl(self._get_param("NetworkAclId"))
        number, egress = self._get_param("RuleNumber"), self._get_param("Egress")
        for each in acl.entries:
            if (each.rule_number, each.egress) == (number, egress):
                return each
        way = "egress" if egress else "ingress"
        raise EC2ClientError(
            "InvalidNetworkAclEntry.NotFound",
            f"The network acl entry identified by {way} rule number {number} does not exist",
        )

    def modify_network_interface_attribute(self) -> Any:
        keep = self._get_param("Attachment.DeleteOnTermination")
        if keep is None:
            return super().modify_network_interface_attribute()
        self.nic().delete_on_termination = keep
        return EmptyResult()

    def _security_grp_instance_attribute_handler(self) -> bool:
        machine = self.backend.get_instance(self._get_param("InstanceId"))
        wanted = self._get_param("Groups", [])
        groups = [self.backend.get_security_group_from_id(each) for each in wanted]
        machine.nics[0]._group_set = groups
        return True

    def delete_network_interface(self) -> Any:
        for eip in list(self.nic().eips.values()):  # the address stays, and leads nowhere
            eip.lead(None, None)
        return super().delete_network_interface()

    def run_instances(self) -> Any:
        result = super().run_instances()
        tags = tools.convert_tag_spec(self._get_param("TagSpecifications", []))
        specs = {
            int(each["DeviceIndex"]): each for each in self._get_param("NetworkInterfaces", [])
        }
        for machine in result.result.instances:
            key = self.backend.key_pairs.get(machine.key_name)
            machine.authorized = key.public_key.strip() if key else ""
            for index, nic in machine.nics.items():
                spec = specs.get(index, {})
                if "NetworkInterfaceId" in spec:
                    nic.delete_on_termination = False
                    continue
                nic.delete_on_termination = spec.get("DeleteOnTermination", True)
                nic.add_tags(tags.get("network-interface", {}))
                for each in spec.get("PrivateIpAddresses", []):
                    private = each["PrivateIpAddress"]
                    nic.private_ip_addresses.append({"Primary": False, "PrivateIpAddress": private})
        return result

    def create_image(self) -> Any:
        machine = self.backend.get_instance(self._get_param("InstanceId"))
        name = self._get_param("Name")
        tags = tools.convert_tag_spec(self._get_param("TagSpecifications", []))
        copied = self._get_param("NoReboot", False)
        ami = motoimages.create(
            machine, f"{self.lab}/image/{name}", name, self._get_param("Description", ""),
            tags.get("image", {}), copied=copied,
        )  # fmt: skip
        if machine.is_running() and not copied:
            machine.reboot()
        return ActionResult({"ImageId": ami.id})

    def modify_instance_metadata_options(self) -> Any:
        machine = self.backend.get_instance(self._get_param("InstanceId"))
        options = machine.metadata_options
        for name, keeps in (
            ("HttpTokens", "http_tokens"),
            ("HttpPutResponseHopLimit", "http_put_response_hop_limit"),
            ("HttpEndpoint", "http_endpoint"),
        ):
            if (asked := self._get_param(name)) is not None:  # what is not asked for stays
                setattr(options, keeps, int(asked) if "Limit" in name else asked)
        return ActionResult({"InstanceId": machine.id, "InstanceMetadataOptions": options})

    def terminate_instances(self) -> Any:
        changes = []
        for each in self._get_param("InstanceIds", []):
            machine = self.backend.get_instance(each)
            before = now = {"Code": machine.state_code, "Name": machine.state}
            if machine.state != "terminated":
                now = {"Code": 32, "Name": "shutting-down"}
                self._terminate(machine)
                self._note_reason(machine)
            changes.append({"InstanceId": each, "CurrentState": now, "PreviousState": before})
        return ActionResult({"TerminatingInstances": changes})

    def stop_instances(self) -> Any:
        result = super().stop_instances()
        for each in self._get_param("InstanceIds", []):
            self._note_reason(self.backend.get_instance(each))
        return result

    def _note_reason(self, machine: Any) -> None:
        """Note that an instance was shut down from inside: EC2 API, "StateReason"."""
        if INITIATED in self.querystring:
            machine._reason = ""
            machine.state_reason = StateReason(f"{SHUTDOWN}: Instance initiated shutdown", SHUTDOWN)

    def _terminate(self, machine: Any) -> None:
        """Terminate one instance; interfaces go with it, or are free again."""
        attached = list(machine.nics.values())
        doomed = [nic for nic in attached if nic.delete_on_termination]
        for nic in attached:
            machine.detach_eni(nic)
            nic.public_ip = None
        for nic in doomed:
            for eip in nic.eips.values():
                eip.lead(None, None)
            self.backend.delete_network_interface(nic.id)
        self.backend.terminate_instances([machine.id])

    def create_key_pair(self) -> Any:
        name, kind = self._get_param("KeyName"), self._get_param("KeyType", "rsa")
        tags = self._parse_tag_specification("key-pair").get("key-pair", {})
        given = {name: self.querystring[name][0] for name in ("Fingerprint", "PublicKey")}
        self.backend.key_pairs[name] = KeyPair(
            name,
            kind,
            given["Fingerprint"],
            self.key_material,
            given["PublicKey"].encode(),
            tags,
            self.backend,
        )
        return ActionResult(self.backend.key_pairs[name])

    def get_console_output(self) -> Any:
        machine = self.backend.get_instance(self._get_param("InstanceId"))
        told = {"InstanceId": machine.id, "Timestamp": machine.launch_time}
        if machine.private_ip:
            name = f"ip-{machine.private_ip.replace('.', '-')}"
            text = f"{name}: boot {machine.boots} of {machine.id}\n\n{name} login: "
            told["Output"] = Base64EncodedString.from_raw_string(text)
        return ActionResult(told)
