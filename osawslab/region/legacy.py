"""A VPC's router for a kernel whose nftables know bridges only: input of iptables-legacy-restore.

The same rules as the table `ip router` of `firewall`. Three chains log, count and drop; they are
made once, so that their counters survive a change of the rules.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence

from osawslab.region.firewall import LOG_GROUP, granted
from osawslab.region.state import Eni, Entry, Group

RESTORE = ("iptables-legacy-restore", "--noflush")
SAVE = ("iptables-legacy-save", "--counters", "--table", "filter")
CHAINS = ("acl_out", "acl_in", "inbound", "outbound", "leaving")
REASONS = ("acl", "group", "no_eip")


def birth() -> str:
    """Write what a new VPC has before any rule: the chains that drop."""
    chains = [
        f":drop_{reason} - [0:0]\n"
        f"-A drop_{reason} -j NFLOG --nflog-group {LOG_GROUP} --nflog-prefix {reason}\n"
        f"-A drop_{reason} -j DROP\n"
        for reason in REASONS
    ]
    return "".join(["*filter\n", *chains, "COMMIT\n"])


def router(
    enis: Sequence[Eni],
    online: Collection[str],
    groups: Mapping[str, Group],
    acls: Mapping[str, Sequence[Entry]],
) -> str:
    """Write the router of one VPC: 1:1 NAT, network ACLs, security groups, who has no way out."""
    mapped = [(a, eip) for e in enis if e.subnet in online for a, eip in e.eips.items()]
    lines = [
        "*nat",
        "-F PREROUTING",
        "-F POSTROUTING",
        *(f"-A PREROUTING -i igw -d {eip} -j DNAT --to-destination {a}" for a, eip in mapped),
        *(f"-A POSTROUTING -o igw -s {a} -j SNAT --to-source {eip}" for a, eip in mapped),
        "COMMIT",
        "*filter",
        ":FORWARD DROP [0:0]",
        *(f":{chain} - [0:0]" for chain in CHAINS),
        "-F INPUT",
        "-F FORWARD",
        "-A INPUT -p udp --dport 67 -j DROP",  # see `dhcp`, which has it by then
        "-A FORWARD -j acl_out",
        "-A FORWARD -j acl_in",
        "-A FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT",
        "-A FORWARD -i igw -j inbound",
        "-A FORWARD -o igw -j leaving",
        "-A FORWARD -j outbound",
        "-A FORWARD -o igw -j ACCEPT",
        "-A FORWARD -j inbound",
        *(f"-A leaving -s {a} -j RETURN" for a, _ in mapped),
        "-A leaving -j drop_no_eip",
        *_acls(acls),
    ]
    for way, own_side, peer_side, verdict in (
        ("in", "-d", "-s", "ACCEPT"),
        ("out", "-s", "-d", "RETURN"),
    ):
        for own, protocol, ports, peer in granted(way, enis, groups):
            words = [f"-A {way}bound", own_side, own, peer_side, str(peer)]
            if protocol != "-1":
                words += ["-p", protocol]
            if protocol not in ("-1", "icmp"):
                words += ["--dport", ports.replace("-", ":")]
            lines.append(" ".join([*words, "-j", verdict]))
        lines.append(f"-A {way}bound -j drop_group")
    return "\n".join([*lines, "COMMIT", ""])


def _acls(acls: Mapping[str, Sequence[Entry]]) -> Iterator[str]:
    for bridge, entries in acls.items():
        for each in entries:
            way, own, peer = ("out", "-i", "-d") if each.egress else ("in", "-o", "-s")
            words = [f"-A acl_{way} {own} {bridge} {peer} {each.cidr}"]
            if each.protocol != "-1":
                words.append(f"-p {each.protocol}")
            if each.protocol in ("tcp", "udp") and each.from_port >= 0:
                words.append(f"--dport {each.from_port}:{each.to_port}")
            if each.protocol == "icmp" and each.from_port >= 0:
                code = f"/{each.to_port}" if each.to_port >= 0 else ""
                words.append(f"--icmp-type {each.from_port}{code}")
            yield " ".join([*words, "-j", "RETURN" if each.allow else "drop_acl"])


def drops(saved: str) -> dict[str, int]:
    """Count the dropped packets in what `SAVE` printed, by reason.

    >>> drops("[3:252] -A drop_group -j DROP")
    {'group': 3}
    """
    found = re.findall(r"^\[(\d+):\d+\] -A drop_(\w+) -j DROP$", saved, re.MULTILINE)
    return {reason: int(packets) for packets, reason in found}
