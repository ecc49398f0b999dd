"""What AWS's books say of the instance: asked with whatever credentials there are.

Each question stands alone: what is refused is told in EC2's own words.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from osawslab.aws.facts import every
from osawslab.clinic.seen import Nic, Said

NONE = "no credentials"
GONE = ("terminated", "shutting-down")


@dataclass(frozen=True)
class Account:
    """EC2's answers; `why` says why there are none."""

    why: str = NONE
    instance: Mapping[str, Any] | None = None
    enis: tuple[Mapping[str, Any], ...] = ()
    addresses: tuple[Mapping[str, Any], ...] = ()
    tables: tuple[Mapping[str, Any], ...] = ()
    gateways: tuple[Mapping[str, Any], ...] = ()
    acls: tuple[Mapping[str, Any], ...] = ()
    groups: tuple[Mapping[str, Any], ...] = ()
    subnets: tuple[Mapping[str, Any], ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)  # call -> EC2's words
    said: Mapping[str, Said] = field(default_factory=dict)  # call -> as the AWS CLI would ask

    @property
    def nics(self) -> tuple[Nic, ...]:
        """The instance's ENIs, by device index."""
        cidrs = {each["SubnetId"]: each["CidrBlock"] for each in self.subnets}
        found = []
        for eni in self.enis:
            if not eni.get("Attachment"):
                continue
            pairs = [(str(each["PrivateIpAddress"]), each) for each in eni["PrivateIpAddresses"]]
            found.append(
                Nic(
                    str(eni["MacAddress"]), tuple(address for address, _ in pairs),
                    str(eni["NetworkInterfaceId"]), str(eni["SubnetId"]),
                    str(cidrs.get(eni["SubnetId"], "")), str(eni["VpcId"]),
                    int(eni["Attachment"].get("DeviceIndex", 0)),
                    {str(each["Association"]["PublicIp"]): address for address, each in pairs
                     if each.get("Association", {}).get("PublicIp")},
                )
            )  # fmt: skip
        return tuple(sorted(found, key=lambda nic: nic.index))

    def eni(self, name: str) -> Mapping[str, Any]:
        """Give an ENI as EC2 describes it; {} where it is not known."""
        return next((each for each in self.enis if each["NetworkInterfaceId"] == name), {})

    def groups_of(self, name: str) -> list[Mapping[str, Any]]:
        """Give the security groups of an ENI."""
        ids = {each["GroupId"] for each in self.eni(name).get("Groups", [])}
        return [each for each in self.groups if each["GroupId"] in ids]

    def single_ports(self, name: str) -> list[int]:
        """List the TCP ports that an ENI's groups let in one by one."""
        rules = [rule for group in self.groups_of(name) for rule in group["IpPermissions"]]
        return sorted(
            {int(rule["FromPort"]) for rule in rules if rule.get("IpProtocol") == "tcp"
             and rule.get("FromPort") == rule.get("ToPort")}
        )  # fmt: skip


def read(ec2: Any, instance: str, public: str = "", macs: Sequence[str] = ()) -> Account:
    """Ask about an instance: by its id, else by its public address, else by its NICs' MACs."""
    import botocore.exceptions as wrong

    refused: dict[str, str] = {}
    said: dict[str, Said] = {}

    def ask(call: str, listed: str, filters: Mapping[str, Sequence[str]]) -> list[Any]:
        asked = [{"Name": key, "Values": list(values)} for key, values in filters.items()]
        words = " ".join(f"Name={key},Values={','.join(v)}" for key, v in filters.items())
        command = f"aws ec2 describe-{call.replace('_', '-')}" + (
            f" --filters {words}" if words else ""
        )
        try:
            found = list(every(ec2, f"describe_{call}", listed, asked))
        except wrong.ClientError as error:
            refused[call] = (
                f"{error.response['Error']['Code']}: {error.response['Error']['Message']}"
            )
            said[call] = Said(command, 1, "", refused[call])
            return []
        except wrong.BotoCoreError as error:
            refused[call] = str(error)
            said[call] = Said(command, 1, "", refused[call])
            return []
        said[call] = Said(command, 0, short(found), "")
        return found

    if not instance and (public or macs):
        filters = {"association.public-ip": [public]} if public else {"mac-address": list(macs)}
        found = ask("network_interfaces", "NetworkInterfaces", filters)
        attached = [each["Attachment"] for each in found if each.get("Attachment")]
        instance = str(attached[0].get("InstanceId", "")) if attached else ""
    if not instance:
        return Account(next(iter(refused.values()), "these credentials know no such instance"))
    reservations = ask("instances", "Reservations", {"instance-id": [instance]})
    found = [each for r in reservations for each in r["Instances"]]
    if not found:
        why = refused.get("instances", f"these credentials know no {instance}")
        return Account(why, refused=refused, said=said)
    vpc = str(found[0].get("VpcId", ""))
    in_vpc = {"vpc-id": [vpc]}
    calls: tuple[tuple[str, str, dict[str, list[str]]], ...] = (
        ("network_interfaces", "NetworkInterfaces", in_vpc),
        ("addresses", "Addresses", {}),
        ("route_tables", "RouteTables", in_vpc),
        ("internet_gateways", "InternetGateways", {}),
        ("network_acls", "NetworkAcls", in_vpc),
        ("security_groups", "SecurityGroups", in_vpc),
        ("subnets", "Subnets", in_vpc),
    )
    run: Callable[[Any], list[Any]] = lambda call: ask(*call)  # noqa: E731
    with ThreadPoolExecutor(max_workers=len(calls)) as pool:
        enis, addresses, tables, gateways, acls, groups, subnets = pool.map(run, calls)
    mine = [
        each for each in enis
        if each.get("Attachment", {}).get("InstanceId") == instance
        or (not each.get("Attachment") and kin(each, found[0]) > 0)
    ]  # fmt: skip
    return Account(
        "", found[0], tuple(mine), tuple(addresses), tuple(tables), tuple(gateways), tuple(acls),
        tuple(groups), tuple(subnets), refused, said,
    )  # fmt: skip


def kin(one: Mapping[str, Any], other: Mapping[str, Any]) -> int:
    """Count the tags that two resources share, but for AWS's own and their names."""

    def tags(each: Mapping[str, Any]) -> set[tuple[str, str]]:
        found = each.get("Tags", each.get("TagSet", []))
        return {
            (tag["Key"], tag["Value"]) for tag in found
            if tag["Key"] != "Name" and not tag["Key"].startswith("aws:")
        }  # fmt: skip

    return len(tags(one) & tags(other))


def alike(one: Mapping[str, Any], other: Mapping[str, Any]) -> int:
    """Count the words that the tags of two resources share, key by key."""

    def words(each: Mapping[str, Any]) -> set[tuple[str, str]]:
        found = each.get("Tags", each.get("TagSet", []))
        return {(tag["Key"], word) for tag in found for word in re.split(r"[\W_]+", tag["Value"])}

    return len(words(one) & words(other))


def short(found: Sequence[Any]) -> str:
    """Write an answer as JSON, without what no station looks at."""
    import json

    left_out = ("Tags", "TagSet", "BlockDeviceMappings", "SecurityGroups", "OwnerId", "Description")
    kept = [
        {key: value for key, value in each.items() if key not in left_out}
        for each in found
        if isinstance(each, Mapping)
    ]
    return json.dumps(kept, default=str)
