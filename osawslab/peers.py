"""Readers of captures, each in a process of its own on the same file: ours and others.

`python -m osawslab.peers NAME FILE COUNT` reads the first COUNT frames of a pcap of Ethernet in
this machine's byte order, and prints a JSON object with `frames` and `seconds`.
"""

from __future__ import annotations

import importlib.util
import json
import random
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

FRAMES = 1_000_000
PARTS = {"dpkt": 100_000, "tshark": 50_000, "scapy": 10_000}  # the slow ones read a part
HEADER = struct.pack("=IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1)
RECORD = struct.Struct("=IIII")
TSHARK = (
    "frame.time_epoch", "frame.len", "eth.src", "eth.dst", "vlan.id", "arp.opcode",
    "arp.src.proto_ipv4", "arp.dst.proto_ipv4", "ip.src", "ip.dst", "ip.proto", "ip.ttl", "ip.id",
    "icmp.type", "icmp.ident", "icmp.seq", "tcp.srcport", "tcp.dstport", "tcp.seq", "tcp.flags",
    "udp.srcport", "udp.dstport",
)  # fmt: skip


def write(path: Path, count: int = FRAMES) -> None:
    """Write a mixed capture, the same on every run: ARP, ICMP, TCP, UDP of 400 addresses."""
    chance = random.Random(1)
    macs = [bytes((2, 0xAA, 0, 0, 0, number)) for number in range(40)]
    addresses = [bytes((10, 0, chance.randrange(256), number)) for number in range(1, 254)]
    ask = bytes.fromhex("08060001080006040001")
    with path.open("wb") as file:
        file.write(HEADER)
        for number in range(count):
            one, two = chance.choice(macs), chance.choice(macs)
            src, dst, kind = chance.choice(addresses), addresses[number % 40], number % 20
            if kind == 0:
                frame = two + one + ask + one + src + bytes(6) + dst
            else:
                echo, port, low = number & 0xFFFF, 32768 + number % 28000, number & 0xFFFFFFFF
                if kind < 5:
                    part, carries = struct.pack("!BBHHH", kind % 2 * 8, 0, 0, 7, echo), 1
                elif kind < 14:
                    flags = (0x02, 0x12, 0x10, 0x18)[number % 4]
                    part = struct.pack("!HHIIBBHHH", port, 443, low, low, 0x50, flags, 9, 0, 0)
                    carries = 6
                else:
                    part, carries = struct.pack("!HHHH", port, 53, 8 + 40 + kind * 4, 0), 17
                part += bytes(40 + kind * 4)
                head = struct.pack(
                    "!BBHHHBBH", 0x45, 0, 20 + len(part), echo, 0x4000, 64, carries, 0
                )
                frame = two + one + b"\x08\x00" + head + src + dst + part
            when = 1_700_000_000 + number // 1000, number % 1000 * 1000
            file.write(RECORD.pack(*when, len(frame), len(frame)) + frame)


def ours(path: Path, count: int) -> int:
    """Read with osawslab: every column."""
    from osawslab.observe.capture import load_capture

    return len(load_capture(path).frame)


def memory(path: Path, count: int) -> int:
    """Tell the most memory that reading with osawslab took, in bytes."""
    import tracemalloc

    ours(path, count)  # so that no module is counted
    tracemalloc.start()
    ours(path, count)
    return tracemalloc.get_traced_memory()[1]


COLUMNS = (
    "time", "length", "src_mac", "dst_mac", "protocol", "src", "dst", "ttl", "ip_id", "sport",
    "dport", "seq", "ack", "flags",
)  # fmt: skip
NONE = (None,) * len(COLUMNS)


def plain(path: Path, count: int) -> int:
    """Read by a plain loop of `struct`, to a DataFrame of the columns that one would write."""
    from socket import inet_ntoa

    import pandas

    data, at, rows = path.read_bytes(), 24, []
    while at < len(data):
        seconds, fraction, size, length = RECORD.unpack_from(data, at)
        at += 16
        dst, src, kind = struct.unpack_from("!6s6sH", data, at)
        row: tuple[Any, ...] = (seconds + fraction / 1e6, length, src.hex(":"), dst.hex(":"))
        if kind == 0x0806:
            operation, sender, target = struct.unpack_from("!H6x4s6x4s", data, at + 20)
            row += ("ARP", inet_ntoa(sender), inet_ntoa(target), None, None, operation)
        elif kind == 0x0800:
            start, ident, ttl, number, sender, target = struct.unpack_from(
                "!B3xHxxBBxx4s4s", data, at + 14
            )
            ends = inet_ntoa(sender), inet_ntoa(target), ttl, ident
            inner = at + 14 + (start & 15) * 4
            if number == 1:
                row += ("ICMP", *ends, *struct.unpack_from("!BBxxH", data, inner))
            elif number == 6:
                row += ("TCP", *ends, *struct.unpack_from("!HHIIxB", data, inner))
            elif number == 17:
                row += ("UDP", *ends, *struct.unpack_from("!HH", data, inner))
        rows.append(row + NONE[len(row) :])
        at += size
    return len(pandas.DataFrame(rows, columns=COLUMNS))


def dpkt(path: Path, count: int) -> int:
    """Read with dpkt, to a DataFrame."""
    import dpkt as peer
    import pandas

    text, rows = peer.utils.inet_to_str, []
    with path.open("rb") as file:
        for when, data in peer.pcap.Reader(file):
            frame = peer.ethernet.Ethernet(data)
            row: tuple[Any, ...] = (when, len(data), frame.src.hex(":"), frame.dst.hex(":"))
            inside = frame.data
            if isinstance(inside, peer.arp.ARP):
                row += ("ARP", text(inside.spa), text(inside.tpa), None, None, inside.op)
            elif isinstance(inside, peer.ip.IP):
                part = inside.data
                row += (type(part).__name__, text(inside.src), text(inside.dst))
                row += (inside.ttl, inside.id)
                if isinstance(part, peer.icmp.ICMP):
                    row += (part.type, part.code)
                elif isinstance(part, peer.tcp.TCP):
                    row += (part.sport, part.dport, part.seq, part.ack, part.flags)
                else:
                    row += (part.sport, part.dport)
            rows.append(row + NONE[len(row) :])
    return len(pandas.DataFrame(rows, columns=COLUMNS))


def tshark(path: Path, count: int) -> int:
    """Read with tshark -T fields, into a DataFrame."""
    import pandas

    fields = [word for name in TSHARK for word in ("-e", name)]
    command = ["tshark", "-n", "-r", str(path), "-T", "fields", *fields]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as done:
        return len(pandas.read_csv(done.stdout, sep="\t", names=list(TSHARK), low_memory=False))


def scapy(path: Path, count: int) -> int:
    """Read with scapy, to a DataFrame."""
    import pandas
    from scapy.all import ARP, IP, TCP, UDP, Ether, PcapReader

    rows = []
    with PcapReader(str(path)) as reader:
        for frame in reader:
            row = {"time": float(frame.time), "src_mac": frame[Ether].src}
            row["dst_mac"] = frame[Ether].dst
            for layer in (IP, ARP, TCP, UDP):
                if layer in frame:
                    row |= dict(frame[layer].fields)
            rows.append(row)
    return len(pandas.DataFrame(rows))


READERS: Mapping[str, Callable[[Path, int], int]] = {
    "osawslab": ours, "struct": plain, "dpkt": dpkt, "tshark": tshark, "scapy": scapy,
}  # fmt: skip


def there(name: str) -> bool:
    """Tell whether a reader is installed."""
    if name == "tshark":
        return shutil.which(name) is not None
    return name in ("osawslab", "struct") or importlib.util.find_spec(name) is not None


def part(path: Path, count: int) -> Path:
    """Write the first frames of a capture beside it."""
    wanted = path.with_suffix(f".{count}")
    with path.open("rb") as file, wanted.open("wb") as out:
        out.write(file.read(24))
        for _ in range(count):
            head = file.read(16)
            out.write(head + file.read(RECORD.unpack(head)[2]))
    return wanted


def ask(name: str, path: Path, count: int) -> dict[str, Any]:
    """Let a reader read in a process of its own: its answer."""
    command = [sys.executable, "-m", "osawslab.peers", name, str(path), str(count)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    return dict(json.loads(done.stdout))


def measure(path: Path, count: int = FRAMES) -> dict[str, Any]:
    """Write a mixed capture and let every reader that is installed read it, or its beginning."""
    write(path, count)
    speeds: dict[str, float | None] = {}
    for name in READERS:
        some = min(count, PARTS.get(name, count))
        answer = ask(name, path if some == count else part(path, some), some) if there(name) else {}
        speeds[name] = answer["frames"] / answer["seconds"] if answer else None
    most = ask("memory", path, count)["frames"]
    return {"frames": count, "frames_per_second": speeds, "bytes_per_frame": most / count}


def linear(path: Path, count: int = FRAMES, times: int = 10) -> dict[str, Any]:
    """Read a mixed capture with osawslab, and one of its frames ten times over: is it as fast?"""
    write(path, count)
    long = path.with_suffix(".long")
    with path.open("rb") as file, long.open("wb") as out:
        out.write(file.read(24))
        for _ in range(times):
            file.seek(24)
            shutil.copyfileobj(file, out, 1 << 20)
    speeds = {}
    for name, of, frames in (
        ("osawslab", long, count * times),
        (f"of {count:,} frames", path, count),
    ):
        answer = ask("osawslab", of, frames)
        speeds[name] = answer["frames"] / answer["seconds"]
    most = ask("memory", long, count * times)["frames"]
    return {
        "frames": count * times,
        "frames_per_second": speeds,
        "bytes_per_frame": most / count / times,
    }


def main(name: str, path: str, count: str) -> None:
    """Read, and say how long it took; modules are imported before."""
    import pandas  # noqa: F401

    needs = {"dpkt": "dpkt", "scapy": "scapy.all", "osawslab": "osawslab.observe.capture"}
    if name in needs:
        importlib.import_module(needs[name])
    began = time.perf_counter()
    frames = {**READERS, "memory": memory}[name](Path(path), int(count))
    seconds = time.perf_counter() - began
    sys.stdout.write(json.dumps({"frames": frames, "seconds": seconds}) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
