"""What passes the VPC's own filters: all that the instance begins, all that the group lets in.

A security group lets everything out until somebody takes that rule away, and a VPC's network ACL
denies nothing (VPC User Guide, "Default security groups" and "Default network ACL").
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from osawslab.aws.facts import Facts
from osawslab.report import Action
from osawslab.steps.site import Site

LAST = 32767  # the number of the rule "*", which denies what no other rule has decided
ALL_OUT = {"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}


def actions(site: Site, facts: Facts) -> Iterator[Action]:
    """Say what opens the lab's own VPC again; nothing where all is as EC2 has made it."""
    if facts.group and not facts.group["IpPermissionsEgress"]:
        group = facts.group["GroupId"]
        yield Action(
            "aws",
            "what the instance begins gets out",
            f"aws ec2 authorize-security-group-egress --group-id {group}"
            " --ip-permissions IpProtocol=-1,IpRanges=[{CidrIp=0.0.0.0/0}]",
            lambda: site.ec2.authorize_security_group_egress(
                GroupId=group, IpPermissions=[ALL_OUT]
            ),
        )
    if not facts.vpc or not facts.instance:
        return
    own = [{"Name": "vpc-id", "Values": [facts.vpc["VpcId"]]}]
    for acl in site.ec2.describe_network_acls(Filters=own)["NetworkAcls"]:
        for entry in acl["Entries"]:
            if entry["RuleAction"] == "deny" and entry["RuleNumber"] < LAST:
                yield _without(site, str(acl["NetworkAclId"]), entry)


def _without(site: Site, acl: str, entry: dict[str, Any]) -> Action:
    number, out = int(entry["RuleNumber"]), bool(entry["Egress"])
    return Action(
        "aws",
        f"the network ACL's rule {number} denies what goes {'out' if out else 'in'}",
        f"aws ec2 delete-network-acl-entry --network-acl-id {acl} --rule-number {number}"
        f" --{'egress' if out else 'ingress'}",
        lambda: site.ec2.delete_network_acl_entry(NetworkAclId=acl, RuleNumber=number, Egress=out),
    )
