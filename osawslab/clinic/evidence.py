"""Evidence that is no tool's answer: what was heard, and what the metadata service says."""

from __future__ import annotations

import json

from osawslab.clinic.seen import Port, Said
from osawslab.clinic.walk import Walk

COLUMNS = ("interface", "way", "from_mac", "to_mac", "what", "from", "to")  # as `hear` gives them
IMDS = "http://169.254.169.254/latest/"
# IMDSv2: without a token it is 401 where HttpTokens=required.
TTL = "X-aws-ec2-metadata-token-ttl-seconds: 60"
TOKEN = f"$(curl -sX PUT {IMDS}api/token -H '{TTL}')"


def metadata(path: str) -> str:
    """Write the command that asks an instance's metadata service."""
    return f'curl -s -H "X-aws-ec2-metadata-token: {TOKEN}" {IMDS}meta-data/{path}'


def registered(walk: Walk) -> Said:
    """Give what AWS says of the ENI's addresses."""
    eni = walk.eni
    if eni is None:
        return Said("", 127, "", "not known")
    path = f"network/interfaces/macs/{eni.mac}/local-ipv4s"
    return Said(metadata(path), 0, "\n".join(eni.addresses), "")


def heard(walk: Walk, port: Port | None) -> Said:
    """Give the ARP and ICMP that the look itself heard on a NIC while it tried."""
    name = port.name if port else ""
    rows = [row for row in walk.seen.told["heard"] if row[0] == name]
    return packets(rows, name, "ARP and ICMP")


def packets(rows: list[list[str]], name: str, kind: str) -> Said:
    """Give frames that were heard, as JSON."""
    found = [dict(zip(COLUMNS, row, strict=True)) for row in rows]
    return Said(f"the look's own packet socket on {name}: {kind}", 0, json.dumps(found), "")
