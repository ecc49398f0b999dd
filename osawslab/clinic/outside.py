"""The stations that are AWS's: what leads from the internet to an ENI."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from osawslab.clinic.account import Account, alike, kin
from osawslab.clinic.evidence import metadata
from osawslab.clinic.seen import Nic, Said
from osawslab.clinic.station import Station, unseen

FAR = "8.8.8.8"
ANY = "0.0.0.0/0"
LAST = 32767  # the number of a network ACL's own last rule
BACK = 45000  # a port that answers come back to: 1024-65535 (VPC guide, "Ephemeral ports")
CALLER = '"$(curl -s https://checkip.amazonaws.com)/32"'
WHAT = {
    "instance": ("the instance", "running"),
    "igw": ("the VPC's internet gateway", "attached"),
    "routes": ("the subnet's route table", "0.0.0.0/0 leads to the internet gateway"),
    "nacl": ("the subnet's network ACL", "lets through what must pass"),
    "group": ("the security group", "lets in what is published, and all out"),
    "eni": ("the network interface", "attached to the instance"),
    "source-check": ("SourceDestCheck", "on or off: what leaves has a registered address"),
}


def stations(
    account: Account,
    eni: Nic | None,
    ports: Sequence[int],
    own: Sequence[str],
    nics: int,
    *,
    taken: Sequence[str] = (),
    untranslated: Sequence[str] = (),
    pings: bool = True,
    caller: str = "",
) -> Iterator[Station]:
    """Look at what AWS's books say of the way to an ENI and its addresses `own`.

    The first is the router's. `taken` are those that routers have; `ports` are the TCP ports that
    are published; `nics` counts the ENIs that are attached; `untranslated` are networks whose
    addresses leave as they are.
    """  # fmt: skip
    if account.why or account.instance is None:
        for key, (what, expected) in WHAT.items():
            yield unseen(key, what, expected, f"not looked at: {account.why}")
    else:
        instance = account.instance
        state = str(instance["State"]["Name"])
        id = str(instance["InstanceId"])
        start = f"aws ec2 start-instances --instance-ids {id}"
        yield Station("instance", f"the instance {id}", "running", state, state == "running",
                      (said(account, "instances"),), start)  # fmt: skip
        yield from attached(account, eni, nics)
        if eni:
            yield from gateway(account, eni)
            yield from acl(account, eni, ports, pings)
            yield from group(account, eni, ports, caller)
            yield from check(account, eni, untranslated)
    for at, each in enumerate(own):
        if not at or (eni and each in eni.addresses):
            yield from address(account, eni, each, [one for one in taken if one != each], not at)


def said(account: Account, call: str) -> Said:
    """Give a call as evidence."""
    return account.said.get(call, Said("", 127, "", "not asked"))


def refused(account: Account, key: str, call: str) -> Iterator[Station]:
    """Tell of a call that EC2 refused."""
    what, expected = WHAT[key]
    yield unseen(key, what, expected, f"could not look: {account.refused[call]}",
                 (said(account, call),))  # fmt: skip


def attached(account: Account, eni: Nic | None, nics: int) -> Iterator[Station]:
    """Look whether the instance has its ENIs."""
    assert account.instance is not None
    free = [each for each in account.enis if not each.get("Attachment")]
    if free and nics < 2:
        name = str(free[0]["NetworkInterfaceId"])
        yield Station(
            "eni", f"the network interface {name}", "attached to the instance",
            str(free[0].get("Status", "not attached")), False,
            (said(account, "network_interfaces"),),
            f"aws ec2 attach-network-interface --network-interface-id {name}"
            f" --instance-id {account.instance['InstanceId']} --device-index 1",
        )  # fmt: skip
    elif eni:
        status = str(account.eni(eni.id).get("Status", "in-use"))
        yield Station("eni", f"the network interface {eni.id}", "in-use, on this instance", status,
                      status == "in-use", (said(account, "network_interfaces"),))  # fmt: skip


def gateway(account: Account, eni: Nic) -> Iterator[Station]:
    """Look at internet gateway and route table."""
    assert account.instance is not None
    if "internet_gateways" in account.refused:
        yield from refused(account, "igw", "internet_gateways")
    mine = [
        each for each in account.gateways
        if any(a.get("VpcId") == eni.vpc for a in each.get("Attachments", []))
    ]  # fmt: skip
    free = sorted((each for each in account.gateways if not each.get("Attachments")),
                  key=lambda each: -kin(each, account.instance or {}))  # fmt: skip
    new = ('"$(aws ec2 create-internet-gateway --query InternetGateway.InternetGatewayId'
           ' --output text)"')  # fmt: skip
    name = str(mine[0]["InternetGatewayId"]) if mine else ""
    if "internet_gateways" not in account.refused:
        yield Station(
            "igw", "the VPC's internet gateway", f"one is attached to {eni.vpc}", name or "none",
            bool(mine), (said(account, "internet_gateways"),),
            "aws ec2 attach-internet-gateway --internet-gateway-id"
            f" {free[0]['InternetGatewayId'] if free else new} --vpc-id {eni.vpc}"
            + (led(account) if not mine else ""),
        )  # fmt: skip
    if "route_tables" in account.refused:
        yield from refused(account, "routes", "route_tables")
        return
    table = of_subnet(account.tables, eni.subnet)
    if table is None:
        return
    ways = [each for each in table["Routes"] if each.get("DestinationCidrBlock") == ANY]
    leads = [str(each.get("GatewayId") or each.get("NatGatewayId") or each.get("NetworkInterfaceId")
                 or each.get("TransitGatewayId") or "?") for each in ways]  # fmt: skip
    dead = bool(ways) and ways[0].get("State") == "blackhole"
    ok = bool(ways) and not dead and leads[0].startswith("igw-") and (not name or leads[0] == name)
    verb = "replace" if ways else "create"
    yield Station(
        "routes", f"the route table {table['RouteTableId']} of {eni.subnet}",
        f"{ANY} leads to {name or 'the internet gateway'}",
        f"{ANY} leads to {leads[0]}{', a black hole' if dead else ''}" if ways else f"no {ANY}", ok,
        (said(account, "route_tables"),),
        f"aws ec2 {verb}-route --route-table-id {table['RouteTableId']}"
        f" --destination-cidr-block {ANY} --gateway-id {name or 'igw-…'}",
    )  # fmt: skip


def led(account: Account) -> str:
    """Write the commands that lead free Elastic IPs of the same kin to NICs that have none.

    EC2 detaches no internet gateway as long as an Elastic IP leads anywhere in its VPC.
    """
    free = [each for each in account.addresses
            if not each.get("AssociationId") and kin(each, account.instance or {})]  # fmt: skip
    words = ""
    for nic in account.nics:
        if nic.leads or not free or not nic.addresses:
            continue
        best = max(free, key=lambda each: alike(each, account.eni(nic.id)))
        free.remove(best)
        words += (
            f" && aws ec2 associate-address --network-interface-id {nic.id}"
            f" --private-ip-address {nic.addresses[0]} --allocation-id {best['AllocationId']}"
        )
    return words


def of_subnet(tables: Sequence[Mapping[str, Any]], subnet: str) -> Mapping[str, Any] | None:
    """Find the table that a subnet has: its own, else the VPC's main one."""
    main = None
    for table in tables:
        for each in table.get("Associations", []):
            if each.get("SubnetId") == subnet:
                return table
            main = table if each.get("Main") else main
    return main


def acl(account: Account, eni: Nic, ports: Sequence[int], pings: bool) -> Iterator[Station]:
    """Look at the subnet's network ACL, rule by rule in its order."""
    if "network_acls" in account.refused:
        yield from refused(account, "nacl", "network_acls")
        return
    found = of_subnet(account.acls, eni.subnet) or next(
        (each for each in account.acls if each.get("IsDefault")), None)  # fmt: skip
    if found is None or not found.get("Entries"):
        yield unseen("nacl", *WHAT["nacl"], "EC2 names none", (said(account, "network_acls"),))
        return
    id = found["NetworkAclId"]
    wants = [(False, "6", port) for port in (*ports, BACK)] + [(True, "6", 443), (True, "6", BACK)]
    if not pings:
        wants += [(False, "1", 0), (True, "1", 0)]
    bad = []
    for egress, protocol, port in wants:
        entry = decides(found["Entries"], egress, protocol, port)
        if entry is None or entry["RuleAction"] != "allow":
            bad.append((egress, protocol, port, int(entry["RuleNumber"]) if entry else LAST))
    mends, told = [], []
    for egress, protocol, port, number in bad[:1]:
        way = "--egress" if egress else "--ingress"
        told.append(f"rule {number if number < LAST else '*'} denies"
                    f" {'tcp ' + str(port) if protocol == '6' else 'icmp'}"
                    f" {'out' if egress else 'in'}")  # fmt: skip
        mends.append(
            f"aws ec2 delete-network-acl-entry --network-acl-id {id} {way} --rule-number {number}"
            if number < LAST else
            f"aws ec2 create-network-acl-entry --network-acl-id {id} {way} --rule-number 90"
            f" --protocol -1 --rule-action allow --cidr-block {ANY}"
        )  # fmt: skip
    yield Station(
        "nacl", f"the network ACL {id} of {eni.subnet}", "lets through what must pass",
        "; ".join(told) or "it does", not bad, (said(account, "network_acls"),), "".join(mends),
    )  # fmt: skip


def decides(
    entries: Sequence[Mapping[str, Any]], egress: bool, protocol: str, port: int
) -> Mapping[str, Any] | None:
    """Find the rule that decides of a packet to or from the internet."""
    for entry in sorted(entries, key=lambda each: int(each["RuleNumber"])):
        block = entry.get("CidrBlock")
        if bool(entry["Egress"]) != egress or not block:
            continue
        if str(entry["Protocol"]) not in ("-1", protocol):
            continue
        span = entry.get("PortRange")
        if span and protocol == "6" and not span["From"] <= port <= span["To"]:
            continue
        if IPv4Address(FAR) in IPv4Network(block):
            return entry
    return None


def group(account: Account, eni: Nic, ports: Sequence[int], caller: str) -> Iterator[Station]:
    """Look whether the ENI's security groups let in what is published, and all out."""
    if "security_groups" in account.refused:
        yield from refused(account, "group", "security_groups")
        return
    groups = account.groups_of(eni.id)
    if not groups:
        return
    first = groups[0]["GroupId"]
    come = [rule for each in groups for rule in each["IpPermissions"]]
    go = [rule for each in groups for rule in each.get("IpPermissionsEgress", [])]
    shut = [port for port in ports if not any(lets(rule, port, caller) for rule in come)]
    out = any(lets(rule, 443, FAR) for rule in go)
    told = [f"tcp {port} is not let in{f' from {caller}' if caller else ''}" for port in shut]
    mends = [
        f"aws ec2 authorize-security-group-ingress --group-id {first} --protocol tcp --port {port}"
        f" --cidr {caller + '/32' if caller else CALLER}" for port in shut
    ]  # fmt: skip
    if not out:
        told.append("nothing is let out to the internet")
        mends.append(f"aws ec2 authorize-security-group-egress --group-id {first} --ip-permissions"
                     f" 'IpProtocol=-1,IpRanges=[{{CidrIp={ANY}}}]'")  # fmt: skip
    listed = ", ".join(map(str, ports))
    yield Station(
        "group", f"the security group {', '.join(each['GroupId'] for each in groups)}",
        f"lets in {'tcp ' + listed if ports else 'what is published'}, and all out",
        "; ".join(told) or "it does", not told, (said(account, "security_groups"),),
        " && ".join(mends),
    )  # fmt: skip


def lets(rule: Mapping[str, Any], port: int, caller: str) -> bool:
    """Say whether a permission lets TCP to a port through, for a caller or for anybody."""
    protocol = str(rule.get("IpProtocol"))
    if protocol not in ("-1", "tcp", "6"):
        return False
    if protocol != "-1" and not int(rule["FromPort"]) <= port <= int(rule["ToPort"]):
        return False
    ranges = [each["CidrIp"] for each in rule.get("IpRanges", [])]
    if not caller:
        return bool(ranges or rule.get("PrefixListIds") or rule.get("UserIdGroupPairs"))
    return bool(rule.get("PrefixListIds")) or any(
        IPv4Address(caller) in IPv4Network(each) for each in ranges
    )


def check(account: Account, eni: Nic, untranslated: Sequence[str]) -> Iterator[Station]:
    """Look at SourceDestCheck: it must be off where other addresses come and go."""
    on = bool(account.eni(eni.id).get("SourceDestCheck", True))
    table = of_subnet(account.tables, eni.subnet)
    routed = [
        str(each["DestinationCidrBlock"]) for each in (table or {}).get("Routes", [])
        if each.get("NetworkInterfaceId") == eni.id and "DestinationCidrBlock" in each
    ]  # fmt: skip
    needed = [each for each in routed if each in untranslated]
    expected = f"off: {', '.join(needed)} leave as they are" if needed else WHAT["source-check"][1]
    yield Station(
        "source-check", f"SourceDestCheck of {eni.id}", expected, "on" if on else "off",
        not (needed and on), (said(account, "network_interfaces"),),
        f"aws ec2 modify-network-interface-attribute --network-interface-id {eni.id}"
        " --no-source-dest-check",
    )  # fmt: skip


def address(
    account: Account, eni: Nic | None, own: str, taken: Sequence[str] = (), first: bool = True
) -> Iterator[Station]:
    """Look whether an Elastic IP leads to the address; those that lead to `taken` ones stay."""
    if eni is None:
        yield unseen("eip", "the Elastic IP", "leads to the gateway port", "no ENI is known")
        return
    wanted = own if own in eni.addresses else (eni.addresses[0] if eni.addresses else "")
    leads = [public for public, private in eni.leads.items() if private == wanted]
    elsewhere = {public: private for public, private in eni.leads.items() 
                 if private != wanted and private not in taken}  # fmt: skip
    evidence = said(account, "addresses") if not account.why else Said(
        metadata(f"network/interfaces/macs/{eni.mac}/ipv4-associations/"), 0,
        "\n".join(eni.leads), "")  # fmt: skip
    free = sorted((each for each in account.addresses if not each.get("AssociationId")),
                  key=lambda each: -alike(each, account.eni(eni.id)))  # fmt: skip
    query = '--query "Addresses[{}].AllocationId" --output text)"'
    if elsewhere:
        public = next(iter(elsewhere))
        which = f'"$(aws ec2 describe-addresses --public-ips {public} {query.format(0)}'
        which += " --allow-reassociation"
    elif free:
        which = str(free[0]["AllocationId"])
    elif account.why:
        which = '"$(aws ec2 describe-addresses --query'
        which += ' "Addresses[?AssociationId==null]|[0].AllocationId" --output text)"'
    else:
        which = '"$(aws ec2 allocate-address --domain vpc --query AllocationId --output text)"'
    told = ", ".join(f"{public} leads to {private}" for public, private in eni.leads.items())
    yield Station(
        "eip", "the Elastic IP" if first else f"the Elastic IP of {wanted}",
        f"one leads to {wanted}", told or "none", bool(leads), (evidence,),
        f"aws ec2 associate-address --network-interface-id {eni.id} --private-ip-address {wanted}"
        f" --allocation-id {which}",
    )  # fmt: skip
