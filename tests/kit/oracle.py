"""tshark as the oracle: each column of a capture beside what tshark says, frame by frame."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas
import pytest

from osawslab.observe.capture import load_capture

INSTALL = "apt-get install --no-install-recommends tshark golang-github-google-gopacket-dev"

# column -> field of tshark -f; the first value of a field is the outermost layer's.
FIELDS = {
    "time": "frame.time_epoch",
    "length": "frame.len",
    "captured": "frame.cap_len",
    "src_mac": "eth.src",
    "dst_mac": "eth.dst",
    "vlan": "vlan.id",
    "provider_vlan": "ieee8021ad.id",
    "arp_operation": "arp.opcode",
    "arp_src_mac": "arp.src.hw_mac",
    "arp_dst_mac": "arp.dst.hw_mac",
    "arp_src": "arp.src.proto_ipv4",
    "arp_dst": "arp.dst.proto_ipv4",
    "src": "ip.src",
    "dst": "ip.dst",
    "src6": "ipv6.src",
    "dst6": "ipv6.dst",
    "ip_protocol": "ip.proto",
    "ttl": "ip.ttl",
    "hops": "ipv6.hlim",
    "ip_id": "ip.id",
    "fragment": "ip.frag_offset",
    "icmp_type": "icmp.type",
    "icmp6_type": "icmpv6.type",
    "icmp_code": "icmp.code",
    "ident": "icmp.ident",
    "icmp_seq": "icmp.seq",
    "sport": "tcp.srcport",
    "dport": "tcp.dstport",
    "udp_sport": "udp.srcport",
    "udp_dport": "udp.dstport",
    "seq": "tcp.seq_raw",
    "ack": "tcp.ack_raw",
    "flags": "tcp.flags",
    "window": "tcp.window_size_value",
    "payload": "tcp.len",
    "udp_length": "udp.length",
    "vni": "vxlan.vni",
    "ethertype": "eth.type",
    "vlan_ethertype": "vlan.etype",
    "provider_ethertype": "ieee8021ah.etype",
    "malformed": "_ws.malformed",
    "interface": "frame.interface_id",
}
INNER = (
    "inner_src_mac", "inner_dst_mac", "inner_protocol", "inner_src", "inner_dst", "inner_ident",
    "inner_sport", "inner_dport", "inner_seq", "inner_flags",
)  # fmt: skip
OURS = (
    "length", "captured", "src_mac", "dst_mac", "vlan", "arp_operation", "arp_src_mac",
    "arp_dst_mac", "ip_protocol", "ttl", "ip_id", "fragment", "icmp_type", "icmp_code", "ident",
    "seq", "ack", "flags", "window", "payload", "vni", "sport", "dport", "src", "dst", "protocol",
    "ethertype", "inner_vlan", *INNER,
)  # fmt: skip
OPTIONS = (
    # What tshark would work out from other frames, or leave to the dissectors of ports.
    "tcp.relative_sequence_numbers:false", "ip.defragment:false", "tcp.desegment_tcp_streams:false",
    "tcp.analyze_sequence_numbers:false",
)  # fmt: skip


def tshark(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """Run tshark; where it is not installed, nothing is proved, and CI must say so."""
    program = shutil.which("tshark")
    if program is None:
        say = pytest.fail if os.environ.get("CI") else pytest.skip
        say(f"NOT RUN: no tshark here: {INSTALL}")
    return subprocess.run(
        [program, "-n", *words], capture_output=True, text=True, timeout=60, check=False
    )


def rows(path: Path) -> list[dict[str, list[str]]]:
    """Ask tshark for all fields of all frames; each is a list, outermost layer first."""
    words = [word for option in OPTIONS for word in ("-o", option)]
    fields = [word for field in FIELDS.values() for word in ("-e", field)]
    done = tshark("-r", path, *words, "-T", "fields", "-E", "occurrence=a", *fields)
    lines = done.stdout.split("\n")[:-1]
    return [
        {
            name: value.split(",") if value else []
            for name, value in zip(FIELDS, line.split("\t"), strict=True)
        }
        for line in lines
    ]


def tagged(row: dict[str, list[str]]) -> Iterator[tuple[int, list[int]]]:
    """Walk the VLAN tags of a frame, then of that inside VXLAN: what it carries, and the tags."""
    etypes, ids = iter(row["vlan_ethertype"]), iter(row["vlan"])
    provider, numbers = iter(row["provider_ethertype"]), iter(row["provider_vlan"])
    for text in row["ethertype"]:
        kind, tags = int(text, 0), []
        while kind in (0x8100, 0x88A8):
            which = (ids, etypes) if kind == 0x8100 else (numbers, provider)
            tag, after = (next(each, "") for each in which)
            if not tag or not after:
                break
            tags.append(int(tag, 0))
            kind = int(after, 0)
        yield kind, tags


def told(row: dict[str, list[str]]) -> dict[str, Any]:
    """Say what tshark says of a frame in the words of our columns, and of the one inside VXLAN."""
    kinds = list(tagged(row))
    kind, tags = kinds[0] if kinds else (None, [])
    inside = kinds[1][1] if len(kinds) > 1 else []
    outer, within = row, dict.fromkeys(INNER)
    if row["vni"]:  # around the frame are Ethernet, IP and UDP; all else is in it
        outer = {**row, **{name: [] for name in WITHIN}}
        deeper = {name: row[name] if name in WITHIN else row[name][1:] for name in row}
        found = layer(deeper)
        within = {name: found[name.removeprefix("inner_")] for name in INNER}
    return {
        **layer(outer),
        **within,
        "ethertype": kind,
        "vlan": tags[0] if tags else None,
        "inner_vlan": tags[1] if len(tags) > 1 else inside[0] if inside else None,
    }


WITHIN = (
    "sport", "dport", "seq", "ack", "flags", "window", "payload", "icmp_type", "icmp_code",
    "ident", "icmp_seq", "arp_operation", "arp_src", "arp_dst", "arp_src_mac", "arp_dst_mac",
)  # fmt: skip


def layer(row: dict[str, list[str]]) -> dict[str, Any]:
    """Say what tshark says of one frame in the words of our columns."""

    def first(*names: str) -> str | None:
        return next((row[name][0] for name in names if row[name]), None)

    def number(*names: str) -> int | None:
        text = first(*names)
        return None if text is None else int(text, 0)

    udp, tcp = bool(row["udp_sport"]), bool(row["sport"])
    ip6 = bool(row["src6"]) and not (row["src"])
    kind = "UDP" if udp else "TCP" if tcp else "ICMP" if row["icmp_type"] else "other"
    kind = "ARP" if row["arp_operation"] else "IPv6" if ip6 else kind
    echo = first("icmp_type") in ("0", "8")
    length = number("udp_length")
    return {
        **{name: number(name) for name in ("length", "captured", "arp_operation")},
        **{name: first(name) for name in ("src_mac", "dst_mac", "arp_src_mac", "arp_dst_mac")},
        **{name: number(name) for name in ("ip_id", "flags", "ack", "window", "vni")},
        "ip_protocol": number("ip_protocol"),
        "ttl": number("ttl", "hops"),
        "fragment": (number("fragment") or 0) * 8 if row["fragment"] else None,
        "icmp_type": number("icmp_type", "icmp6_type"),
        "icmp_code": number("icmp_code"),
        "ident": number("ident") if echo else None,
        "seq": number("icmp_seq") if echo else number("seq"),
        "payload": length - 8 if udp and length else number("payload"),
        # Ports are a column of IPv4's TCP and UDP; inside an ICMP error they are another frame's.
        "sport": number("sport", "udp_sport"),
        "dport": number("dport", "udp_dport"),
        "src": first("arp_src", "src", "src6"),
        "dst": first("arp_dst", "dst", "dst6"),
        "protocol": kind,
    }


def ours(path: Path) -> list[dict[str, Any]]:
    frame = load_capture(path).frame
    return [
        {
            **{name: None if pandas.isna(value) else value for name, value in row.items()},
            "row": place,
        }
        for place, row in enumerate(frame[[*OURS, "broken", "says", "time"]].to_dict("records"))
    ]


def differences(path: Path) -> list[str]:
    """Compare, frame by frame; what differs for a reason is left out, and the reason is here."""
    # tshark numbers blocks without a frame too (custom ones, a journal's); they have no interface.
    theirs = [row for row in rows(path) if row["interface"] or path.suffix == ".pcap"]
    # Where tshark ends with an error, the last row here says why.
    own = [row for row in ours(path) if "nothing after it can be read" not in row["says"]]
    found = [] if len(theirs) == len(own) else [f"{len(theirs)} frames, here {len(own)}"]
    for asked, got in zip(theirs, own, strict=False):
        wanted = told(asked)
        skip = set()
        if got["says"].startswith(("destination unreachable", "time exceeded", "redirect")):
            # The packet that an ICMP error quotes is a layer of its own to tshark.
            skip |= {"sport", "dport", "seq", "ack", "flags", "window", "payload", "protocol"}
        if wanted["protocol"] == "IPv6" or got["protocol"] == "IPv6":
            # IPv6 is named, not taken apart; its next header is `ip_protocol` here.
            skip |= {"sport", "dport", "seq", "ack", "flags", "window", "payload", "ip_protocol"}
            skip |= {"icmp_type", "icmp_code", "protocol"}
        if got["broken"] or got["says"] == "a later fragment":
            # tshark tries to decode what is left.
            skip |= {"sport", "dport", "seq", "ack", "flags", "window", "payload", "protocol"}
            skip |= {"icmp_type", "icmp_code", "ident", "vni"}
        if got["broken"]:  # and shows the fields before the cut
            skip |= {"arp_operation", "arp_src_mac", "ethertype", *INNER}
            skip |= {"arp_dst_mac", "src", "dst", "ttl", "ip_id", "ip_protocol", "fragment", "vlan"}
        if not asked["src_mac"]:
            skip |= {"ethertype"}  # tshark tells it of Ethernet alone
        if got["broken"] and got["captured"] == got["length"] and not asked["malformed"]:
            found.append(f"{got['row']} {got['says']}: broken, and tshark finds it whole")
        for name in OURS:
            if name not in skip and wanted[name] != got[name]:
                found.append(f"{got['row']} {got['says']}: {name} {wanted[name]}, {got[name]}")
        when = got["time"]
        nanos = 0 if when is None else when.value
        seconds, _, rest = asked["time"][0].partition(".") if asked["time"] else ("0", "", "0")
        if int(seconds) * 10**9 + int(rest.ljust(9, "0")[:9]) != nanos:
            found.append(f"{got['row']}: time {asked['time']}, {nanos}")
    return found
