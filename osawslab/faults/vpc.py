"""Faults in AWS: what leads from the internet to the provider NIC."""

from __future__ import annotations

from typing import Any

from osawslab.cloud.handbuilt import ALIAS
from osawslab.faults.fault import Before, Call, Change, Fault, Run
from osawslab.faults.wire import HAND, plug

DEAF = "from outside nothing answers at the published address, and the router pings nobody"
NOTHING_AT_ALL = "the provider NIC is gone from the instance"
CUT = "the instance itself answers no more"
DENY = 90  # the number of an ACL's rule that comes before the usual 100


def address(b: Before, role: str) -> dict[str, Any]:
    """Give the arguments that associate the Elastic IP of a NIC again."""
    found = b.ec2.addresses[role]
    return {
        "AllocationId": found["AllocationId"],
        "NetworkInterfaceId": b.ec2.nics[role]["NetworkInterfaceId"],
        "PrivateIpAddress": found["PrivateIpAddress"],
    }


def away(b: Before, role: str) -> Call:
    """Take the Elastic IP of a NIC away."""
    return Call("disassociate_address", {"AssociationId": b.ec2.addresses[role]["AssociationId"]})


def loose(b: Before, role: str) -> Call:
    """Ask whether the Elastic IP of a NIC leads nowhere."""
    return Call("describe_addresses", {"AllocationIds": [b.ec2.addresses[role]["AllocationId"]]},
                "Addresses[?AssociationId==null]")  # fmt: skip


def no_address(b: Before) -> Change:
    """Take the provider NIC's Elastic IP away."""
    back = Call("associate_address", address(b, "provider"))
    return Change((away(b, "provider"),), (back,), loose(b, "provider"))


def other_address(b: Before) -> Change:
    """Lead the provider NIC's Elastic IP to another of its addresses, which the router has not."""
    nic = b.ec2.nics["provider"]["NetworkInterfaceId"]
    own = address(b, "provider")
    other = f"{own['PrivateIpAddress'].rpartition('.')[0]}.77"
    of = {"NetworkInterfaceId": nic, "PrivateIpAddresses": [other]}
    return Change(
        (Call("assign_private_ip_addresses", of),
         Call("associate_address", {**own, "PrivateIpAddress": other, "AllowReassociation": True})),
        (Call("associate_address", {**own, "AllowReassociation": True}),),
        Call("describe_addresses", {"AllocationIds": [own["AllocationId"]]},
             f"Addresses[?PrivateIpAddress=='{other}']"),
        (Call("unassign_private_ip_addresses", of),),
    )  # fmt: skip


def no_gateway(b: Before) -> Change:
    """Detach the internet gateway; EC2 has both Elastic IPs taken away before that."""
    vpc = str((b.ec2.vpc or {})["VpcId"])
    gateway = str((b.ec2.gateway or {})["InternetGatewayId"])
    both = {"InternetGatewayId": gateway, "VpcId": vpc}
    roles = sorted(b.ec2.addresses)
    return Change(
        (*(away(b, role) for role in roles), Call("detach_internet_gateway", both)),
        (Call("attach_internet_gateway", both),
         *(Call("associate_address", address(b, role)) for role in roles)),
        Call("describe_internet_gateways", {"InternetGatewayIds": [gateway]},
             "InternetGateways[?Attachments==`[]`]"),
    )  # fmt: skip


def default(b: Before) -> dict[str, Any]:
    """Give the arguments that lead the default route to the internet gateway."""
    gateway = str((b.ec2.gateway or {})["InternetGatewayId"])
    return {"RouteTableId": b.ec2.route_table, "DestinationCidrBlock": "0.0.0.0/0",
            "GatewayId": gateway}  # fmt: skip


def no_route(b: Before) -> Change:
    """Delete the default route of the VPC's route table."""
    way = default(b)
    return Change(
        (Call("delete_route", {k: v for k, v in way.items() if k != "GatewayId"}),),
        (Call("create_route", way),),
        Call("describe_route_tables", {"RouteTableIds": [b.ec2.route_table]},
             "RouteTables[?!(Routes[?DestinationCidrBlock=='0.0.0.0/0'])]"),
    )  # fmt: skip


def other_route(b: Before) -> Change:
    """Lead the default route to the instance's own NIC."""
    way, nic = default(b), b.ec2.nics["management"]["NetworkInterfaceId"]
    wrong = {k: v for k, v in way.items() if k != "GatewayId"} | {"NetworkInterfaceId": nic}
    return Change(
        (Call("replace_route", wrong),),
        (Call("replace_route", way),),
        Call("describe_route_tables", {"RouteTableIds": [b.ec2.route_table]},
             f"RouteTables[].Routes[?NetworkInterfaceId=='{nic}'][]"),
    )  # fmt: skip


def entry(b: Before, egress: bool, low: int, high: int) -> Change:
    """Have the network ACL deny TCP to some ports."""
    acl = str(b.acl["NetworkAclId"])
    which = {"NetworkAclId": acl, "RuleNumber": DENY, "Egress": egress}
    rule = {"Protocol": "6", "RuleAction": "deny", "CidrBlock": "0.0.0.0/0",
            "PortRange": {"From": low, "To": high}}  # fmt: skip
    return Change(
        (Call("create_network_acl_entry", {**which, **rule}),),
        (Call("delete_network_acl_entry", which),),
        Call("describe_network_acls", {"NetworkAclIds": [acl]},
             f"NetworkAcls[].Entries[?RuleNumber==`{DENY}` && RuleAction=='deny'][]"),
    )  # fmt: skip


def acl_port(b: Before) -> Change:
    """Deny the published port."""
    port = b.cloud.settings.published_port
    return entry(b, False, port, port)


def acl_answers(b: Before) -> Change:
    """Deny the ports that answers go back to; a network ACL remembers no connection."""
    return entry(b, True, 1024, 65535)


def rules(b: Before, key: str, port: int | None = None) -> dict[str, Any]:
    """Give the arguments that name the group's rules, those for one port or all."""
    group = b.ec2.group or {}
    found = [
        {k: v for k, v in each.items() if v not in ([], None)}
        for each in group[key]
        if port is None or each.get("FromPort") == port
    ]
    return {"GroupId": str(group["GroupId"]), "IpPermissions": found}


def group_port(b: Before) -> Change:
    """Let nobody in at the published port."""
    port = b.cloud.settings.published_port
    those = rules(b, "IpPermissions", port)
    return Change(
        (Call("revoke_security_group_ingress", those),),
        (Call("authorize_security_group_ingress", those),),
        Call("describe_security_groups", {"GroupIds": [those["GroupId"]]},
             f"SecurityGroups[?!(IpPermissions[?FromPort==`{port}`])]"),
    )  # fmt: skip


def group_out(b: Before) -> Change:
    """Let nothing out that the instance begins."""
    those = rules(b, "IpPermissionsEgress")
    return Change(
        (Call("revoke_security_group_egress", those),),
        (Call("authorize_security_group_egress", those),),
        Call("describe_security_groups", {"GroupIds": [those["GroupId"]]},
             "SecurityGroups[?IpPermissionsEgress==`[]`]"),
    )  # fmt: skip


def detached(b: Before) -> Change:
    """Detach the provider NIC from the instance, which makes a new interface of it later."""
    nic, link = b.ec2.nics["provider"], b.cloud.require_provider_nic()
    id, at = str(nic["NetworkInterfaceId"]), nic["Attachment"]
    name, alias = link.name, f"{ALIAS}{b.mac}"
    back = {"NetworkInterfaceId": id, "InstanceId": at["InstanceId"],
            "DeviceIndex": at["DeviceIndex"]}  # fmt: skip
    mac = f" && ip link set {name} address {link.mac}" if link.mac != b.mac else ""
    return Change(
        (Call("detach_network_interface", {"AttachmentId": at["AttachmentId"], "Force": True}),),
        (Call("attach_network_interface", back),
         Run(f"for i in $(seq 100); do [ -e /sys/class/net/{name} ] && break; sleep 0.1; done;"
             f" ip link set {name} alias '{alias}' && ip link set {name} down mtu {link.mtu}{mac}"
             f" && ip link set {name} up"),
         *((Run(f"ovs-vsctl --if-exists del-port {name}"),) if b.cloud.uses_openvswitch else ()),
         plug(b)),
        Run(f"! ip link show {name} 2>/dev/null | grep -q 'alias {alias}'"),
    )  # fmt: skip


def routed(b: Before) -> Change:
    """Route the tenant network in the VPC, untranslated, and leave SourceDestCheck on."""
    settings, nic = b.cloud.settings, b.ec2.nics["provider"]
    which = {"RouteTableId": b.ec2.route_table, "DestinationCidrBlock": settings.tenant_cidr}
    id = str(nic["NetworkInterfaceId"])
    check = {"NetworkInterfaceId": id, "SourceDestCheck": {"Value": bool(nic["SourceDestCheck"])}}
    rest = f"-s {settings.tenant_cidr} -d {settings.vpc_cidr} -j ACCEPT"
    plain = f"{b.enter} iptables -t nat"
    return Change(
        (Call("create_route", {**which, "NetworkInterfaceId": id}),
         Run(f"{plain} -I POSTROUTING {rest}")),
        (Call("delete_route", which), Run(f"{plain} -D POSTROUTING {rest}"),
         Call("modify_network_interface_attribute", check)),
        Run(f"{plain} -C POSTROUTING {rest} 2>/dev/null"),
        (Call("delete_route", which),),
    )  # fmt: skip


EIP, ROUTE, ACL, GROUP = (frozenset({each}) for each in ("eip", "route", "acl", "group"))
LOGIN = frozenset({"login"})  # who cannot log in any more breaks nothing else there
FAULTS = (
    Fault("no-elastic-ip", "eip", DEAF, "easy", no_address, touches=EIP),
    Fault("elastic-ip-elsewhere", "eip", DEAF, "medium", other_address, touches=EIP),
    Fault("no-internet-gateway", "igw", CUT, "medium", no_gateway,
          touches=EIP | ROUTE | LOGIN),
    Fault("no-vpc-route", "routes", CUT, "easy", no_route, touches=ROUTE | LOGIN),
    Fault("other-vpc-route", "routes", CUT, "medium", other_route,
          touches=ROUTE | LOGIN),
    Fault("nic-detached", "eni", NOTHING_AT_ALL, "medium", detached, HAND,
          touches=frozenset({"nic", "way", "mac", "eip"})),
    Fault("source-check", "source-check", "the internet answers, and hosts of the VPC do not reach"
          " the VM at its own address", "hard", routed, HAND, touches=ROUTE | frozenset({"snat"})),
    Fault("acl-denies-port", "nacl", "the router reaches the internet, and ssh to the VM times out",
          "medium", acl_port, touches=ACL),
    Fault("acl-denies-answers", "nacl", CUT, "hard", acl_answers, touches=ACL | LOGIN),
    Fault("group-closed", "group", "the router reaches the internet, and ssh to the VM times out",
          "easy", group_port, touches=GROUP | frozenset({"publishing"})),
    Fault("group-lets-nothing-out", "group", "the instance answers, and nothing of it gets out",
          "medium", group_out, touches=GROUP),
)  # fmt: skip
