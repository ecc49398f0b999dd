"""Whether a lab is as it was: what a fault may change, without what differs by itself."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from osawslab.steps import work

if TYPE_CHECKING:
    from osawslab.lab import Lab

# What the steps' facts do not have: rules of routing, fixed neighbours and FDB entries, tables of
# nftables that are not iptables', programs in the VM and at the NIC, and OpenStack's.
REST = """
for n in {spaces}; do ip -n $n rule; ip -n $n neigh show nud permanent
  ip netns exec $n nft list tables | grep -v 'table ip '
  for p in $(ip netns pids $n); do cat /proc/$p/comm; grep ^State:.T /proc/$p/status
  done | sort -u; done
for b in $(ovs-vsctl list-br 2>/dev/null); do ovs-appctl fdb/show $b | grep static; done
ovs-vsctl -f csv --columns=name,options find interface type=patch 2>/dev/null | sort
systemctl is-active neutron-l3-agent neutron-openvswitch-agent nova-compute 2>/dev/null
for p in $(pgrep qemu-system); do grep ^State:.T /proc/$p/status; done
pgrep -fc '^sh -c while'; true
"""


def facts(lab: Lab) -> dict[str, Any]:
    """Read what a fault may change, without what differs by itself: counters, times, ids of EC2."""
    site = lab._site()
    ground, ec2 = work.read(site), site.read_ec2()
    host = ground.cloud.host
    vpc = [{"Name": "vpc-id", "Values": [(ec2.vpc or {})["VpcId"]]}]
    acls = site.ec2.describe_network_acls(Filters=vpc)["NetworkAcls"]
    tables = site.ec2.describe_route_tables(Filters=vpc)["RouteTables"]
    return {
        "firewalls": {name: rules(each.iptables) for name, each in host.namespaces.items()},
        "ports": {
            name: (each.links, sorted(map(str, each.routes)), each.forwards, each.listens)
            for name, each in host.namespaces.items()
        },
        "bridges": {
            name: (each.ports, sorted(each.flows)) for name, each in (host.bridges or {}).items()
        },
        "static": sorted(
            (each["mac"], each["ifname"], each["state"])
            for each in host.fdb
            if each.get("state") in ("static", "permanent") and each.get("master")
        ),
        "addresses": {r: (a["PublicIp"], a.get("PrivateIpAddress"))
                      for r, a in ec2.addresses.items()},
        "nics": {
            role: ([each["PrivateIpAddress"] for each in nic["PrivateIpAddresses"]],
                   nic["SourceDestCheck"], nic["Status"], nic["Groups"])
            for role, nic in ec2.nics.items()
        },
        "gateway": (ec2.gateway or {}).get("Attachments"),
        "routes": sorted(str(sorted(map(str, each["Routes"]))) for each in tables),
        "acls": [each["Entries"] for each in acls],
        "group": [
            sorted((each["IpProtocol"], str(each.get("FromPort")), str(each.get("ToPort")),
                    sorted(which["CidrIp"] for which in each["IpRanges"]))
                   for each in (ec2.group or {}).get(key, ()))
            for key in ("IpPermissions", "IpPermissionsEgress")
        ],
        "namespaces": host.netns,
        "rest": ground.host.run(REST.format(spaces=" ".join(n for n in host.namespaces if n))),
    }  # fmt: skip


def rules(saved: str) -> dict[str, list[str]]:
    """Read what `iptables-save` prints by table: policies and rules, no comments, no counters.

    An empty table is none: iptables makes one when it first looks into it.
    """
    found: dict[str, list[str]] = {}
    table = ""
    for line in saved.splitlines():
        if line.startswith("*"):
            table = line[1:]
        elif line.startswith(("-A", ":")):
            found.setdefault(table, []).append(re.sub(r" \[\d+:\d+\]$", "", line))
    return {
        name: lines for name, lines in found.items()
        if any(not line.startswith(":") or not line.endswith(" ACCEPT") for line in lines)
    }  # fmt: skip


def differs(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """List the kinds of facts that are not the same."""
    return sorted(key for key in one if one[key] != other[key])


def unordered(found: Mapping[str, Any]) -> dict[str, Any]:
    """Give facts without the order of a firewall's rules: a step puts a missing one at the end."""
    walls = {
        name: {table: sorted(lines) for table, lines in tables.items()}
        for name, tables in found["firewalls"].items()
    }
    return {**found, "firewalls": walls}
