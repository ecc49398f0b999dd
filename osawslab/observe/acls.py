"""The rule of a network ACL that decides about a packet: the first that fits; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import ip_address, ip_network
from typing import Any

from osawslab.observe.seen import Seen

NUMBERS = {"ICMP": "1", "TCP": "6", "UDP": "17"}  # protocols, as an entry has them
NAMES = {"-1": "everything", **{number: name for name, number in NUMBERS.items()}}
LAST = 32767  # the number of the rule that each ACL ends with; AWS shows it as *


def rule(entries: Iterable[Mapping[str, Any]], seen: Seen, egress: bool) -> str:
    """Name the rule that decides about what leaves (`egress`) or enters a subnet; "" for none."""
    for each in sorted(entries, key=lambda each: int(each["RuleNumber"])):
        if each["Egress"] is egress and _fits(each, seen, seen.dst if egress else seen.src):
            return _words(each)
    return ""


def _fits(entry: Mapping[str, Any], seen: Seen, peer: str) -> bool:
    try:
        inside = ip_address(peer) in ip_network(str(entry.get("CidrBlock", "")))
    except ValueError:
        return False
    ports, kinds = entry.get("PortRange"), entry.get("IcmpTypeCode")
    if not inside or entry["Protocol"] not in ("-1", NUMBERS.get(seen.protocol)):
        return False
    if entry["Protocol"] == "1" and kinds and kinds["Type"] != -1:
        return bool(kinds["Type"] == (8 if seen.opens else 0))
    if entry["Protocol"] in ("6", "17") and ports and seen.dport is not None:
        return bool(ports["From"] <= seen.dport <= ports["To"])
    return True


def _words(entry: Mapping[str, Any]) -> str:
    number = "*" if entry["RuleNumber"] == LAST else entry["RuleNumber"]
    ports, way = (
        entry.get("PortRange"),
        "out: {} {} to {}" if entry["Egress"] else "in: {} {} from {}",
    )
    what = NAMES.get(entry["Protocol"], f"protocol {entry['Protocol']}")
    what += f" port {ports['From']}-{ports['To']}" if ports else ""
    return f"rule {number} {way.format(entry['RuleAction'], what, entry['CidrBlock'])}"
