"""Hold every column against tshark's, field by field: on recordings, samples, and frames made here.

The samples are those of Debian's golang-github-google-gopacket-dev: pcap of Ethernet and
loopback, and the collection of pcapng files in both byte orders.
"""

from __future__ import annotations

import os
import random
import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas
import pytest

from osawslab.errors import BadCapture
from osawslab.observe.capture import load_capture

SAMPLES = Path("/usr/share/gocode/src/github.com/google/gopacket")
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
    "interface": "frame.interface_id",
}
OURS = (
    "length", "captured", "src_mac", "dst_mac", "vlan", "arp_operation", "arp_src_mac",
    "arp_dst_mac", "ip_protocol", "ttl", "ip_id", "fragment", "icmp_type", "icmp_code", "ident",
    "seq", "ack", "flags", "window", "payload", "vni", "sport", "dport", "src", "dst", "protocol",
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


def told(row: dict[str, list[str]]) -> dict[str, Any]:
    """Say what tshark says of a frame in the words of our columns."""

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
        "vlan": number("provider_vlan", "vlan"),  # the outermost
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
            skip |= {"arp_operation", "arp_src_mac"}
            skip |= {"arp_dst_mac", "src", "dst", "ttl", "ip_id", "ip_protocol", "fragment", "vlan"}
        for name in OURS:
            if name not in skip and wanted[name] != got[name]:
                found.append(f"{got['row']} {got['says']}: {name} {wanted[name]}, {got[name]}")
        when = got["time"]
        nanos = 0 if when is None else when.value
        seconds, _, rest = asked["time"][0].partition(".") if asked["time"] else ("0", "", "0")
        if int(seconds) * 10**9 + int(rest.ljust(9, "0")[:9]) != nanos:
            found.append(f"{got['row']}: time {asked['time']}, {nanos}")
    return found


def samples() -> Iterator[Path]:
    yield from sorted(path for path in SAMPLES.rglob("*.pcap*") if path.stat().st_size)


def made(order: str) -> bytes:
    """Make a capture of what the samples lack: ARP, VLANs, TCP, VXLAN, fragments, cuts."""
    random_ = random.Random(order)
    out = [struct.pack(order + "IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 262144, 1)]

    def ip(number: int, payload: bytes, options: bytes = b"", fragment: int = 0) -> bytes:
        size = 20 + len(options)
        ends = random_.randbytes(3) + b"\1" + random_.randbytes(3) + b"\1"
        ends = b"\x0a" + ends[:3] + b"\x0a" + ends[4:7]  # 10.0.0.0/8: no group, no loopback
        head = struct.pack(
            "!BBHHHBBH",
            0x40 | size // 4,
            0,
            size + len(payload),
            random_.randrange(65536),
            fragment,
            random_.randrange(1, 255),
            number,
            0,
        )
        return b"\x08\x00" + head + ends + options + payload

    def tcp(flags: int, payload: bytes) -> bytes:
        numbers = random_.randbytes(8)
        ports = struct.pack("!HH", random_.randrange(40000, 60000), random_.choice((7000, 50001)))
        return ports + numbers + struct.pack("!BBHHH", 0x50, flags, 99, 0, 0) + payload

    def udp(port: int, payload: bytes) -> bytes:
        return (
            struct.pack("!HHHH", random_.randrange(40000, 60000), port, 8 + len(payload), 0)
            + payload
        )

    def ethernet(payload: bytes) -> bytes:
        return b"\x02" + random_.randbytes(5) + b"\x0e" + random_.randbytes(5) + payload

    def arp(operation: int) -> bytes:
        said = random_.randbytes(5)
        return (
            b"\x08\x06"
            + bytes.fromhex("000108000604")
            + struct.pack("!H", operation)
            + b"\x02"
            + said
            + b"\x0a\0\0"
            + said[:1]
            + b"\x02"
            + said
            + b"\x0a\1\0"
            + said[1:2]
        )

    for _ in range(20):
        noise = random_.randbytes(random_.randrange(40))
        for frame in (
            arp(1),
            arp(2),
            ip(6, tcp(2, b"")),
            ip(6, tcp(0x18, noise)),
            ip(6, tcp(0x11, b"")),
            ip(17, udp(50002, noise)),
            ip(1, struct.pack("!BBHHH", 8, 0, 0, 7, 9) + noise),
            ip(1, struct.pack("!BBHHH", 0, 0, 0, 7, 9) + noise, options=b"\1" * 8),
            ip(17, noise, fragment=185),
            b"\x81\x00\x00\x2a" + ip(6, tcp(0x10, b"")),
            b"\x88\xa8\x00\x07\x81\x00\x00\x05" + arp(1),
            b"\x88\xb5" + noise,
            ip(17, udp(4789, b"\x08\0\0\0\0\x01\x02\0" + ethernet(b"\x88\xb5" + noise))),
        ):
            whole = ethernet(frame)
            cut = random_.choice((len(whole), len(whole), random_.randrange(len(whole))))
            when = random_.randrange(1, 2**31), random_.randrange(10**9)
            out.append(struct.pack(order + "IIII", *when, cut, len(whole)) + whole[:cut])
    return b"".join(out)


@pytest.mark.parametrize("order", ["<", ">"])
def test_frames_made_here(order: str, tmp_path: Path) -> None:
    path = tmp_path / "made.pcap"
    path.write_bytes(made(order))
    assert differences(path) == []
    saved = load_capture(path).save(tmp_path / "saved.pcapng")
    assert differences(saved) == []


def test_what_is_saved_opens_without_a_warning_and_has_its_comments(tmp_path: Path) -> None:
    path = tmp_path / "made.pcap"
    path.write_bytes(made("<"))
    capture = load_capture(path)
    capture = capture.judged(lambda row: "dropped: mac" if row == 1 else "")
    saved = capture.save(tmp_path / "saved.pcapng")
    done = tshark("-r", saved, "-T", "fields", "-e", "frame.comment")
    said = done.stderr.splitlines()
    assert done.returncode == 0
    assert [line for line in said if not line.startswith("Running as user")] == []
    assert done.stdout.splitlines()[:3] == ["", "verdict: dropped: mac", ""]


@pytest.mark.parametrize("path", list(samples()), ids=lambda path: "/".join(path.parts[-2:]))
def test_samples(path: Path) -> None:
    try:
        load_capture(path)
    except BadCapture:
        assert tshark("-r", path).returncode
        return
    assert differences(path) == []


def test_there_are_samples() -> None:
    if not list(samples()):
        say = pytest.fail if os.environ.get("CI") else pytest.skip
        say(f"NOT RUN: no samples here: {INSTALL}")
    assert len(list(samples())) > 40
