"""What is tried from a router: pings, connections, traces; part of what `look` sends.

None of it leaves anything but what each frame does: a neighbour learned, a frame counted.
"""

from __future__ import annotations

import errno
import json
import re
import socket
import sys
from typing import Any

GUESTS = 8  # VMs that are tried
KINDS = ("icmp", "tcp", "udp")  # as Open vSwitch calls what is traced
OTHER = "02:00:00:00:00:01"  # a MAC that no switch has learned
PING = ("ping", "-n", "-w", "1", "-i", "0.2")  # until there are as many answers as `-c` wants
BANNER = """
import socket,sys
s=socket.create_connection((sys.argv[1],int(sys.argv[2])),1)
s.settimeout(1)
try: print(s.recv(60).decode(errors="replace").partition(chr(13))[0])
except OSError: print("connected, and it says nothing")
"""


def parsed(said: Any) -> list[Any]:
    """Read a tool's JSON; [] where there is none."""
    try:
        found = json.loads(said["out"] or "[]")
    except (ValueError, KeyError, TypeError):
        return []
    return found if isinstance(found, list) else []


def trials(spaces: list[str], seen: dict[str, Any], outside: str) -> dict[str, list[str]]:
    """List the pings, connections and traces that decide; none of them leaves anything."""
    asked: dict[str, list[str]] = {}
    visible = {
        each.get("local"): name
        for name in spaces for link in parsed(seen[f"{name}|links"])
        for each in link.get("addr_info", []) if each.get("family") == "inet"
    }  # fmt: skip
    for name in spaces:
        links = {link["ifname"]: link for link in parsed(seen[f"{name}|links"]) if "ifname" in link}
        gates = [each for each in links if each.startswith("qg-")]
        inner = [each for each in links if each.startswith("qr-")]
        if not gates and not inner:
            continue
        enter = ["ip", "netns", "exec", name]
        ping = [*enter, *PING]
        rules = seen[f"{name}|iptables"]["out"]
        asked[f"{name}|out"] = [*ping, "-c", "2", outside]
        targets = re.findall(r"--to-destination ([0-9.]+)(?::(\d+))?", rules)
        guests = [address for address, _ in targets]
        for each in inner:
            for info in links[each].get("addr_info", []):
                if info.get("family") == "inet":
                    guests += [
                        here for here, where in visible.items()
                        if where not in ("", name) and near(here, info)
                        and not where.startswith(("qdhcp-", "qrouter-"))
                    ]  # fmt: skip
                    asked[f"{name}|way|{each}"] = [
                        "ip", "-n", name, "-j", "route", "get", outside, "from",
                        guest(info), "iif", each]  # fmt: skip
        first = [info["local"] for each in gates for info in links[each].get("addr_info", [])
                 if info.get("family") == "inet"][:1]  # fmt: skip
        mtu = min([links[each].get("mtu", 1500) for each in inner] or [1500])
        for address in sorted(set(guests))[:GUESTS]:
            asked[f"{name}|guest|{address}"] = [*ping, "-c", "1", address]
            asked[f"{name}|whole|{address}"] = [
                *ping, "-c", "1", "-M", "do", "-s", str(mtu - 28), address]  # fmt: skip
            asked[f"{name}|to|{address}"] = ["ip", "-n", name, "-j", "route", "get", address]
            for own in first:
                asked[f"{name}|back|{address}"] = [*ping, "-c", "1", "-I", own, address]
        for address, port in sorted(set(targets))[:GUESTS]:
            asked[f"{name}|server|{address}|{port or 22}"] = [
                *enter, sys.executable, "-c", BANNER, address, port or "22"]  # fmt: skip
    return asked


def silent(tried: dict[str, Any]) -> list[str]:
    """List what no answer came to: some are late, or meet a neighbour that was just given up."""
    signs = (" 0 received", f"[Errno {errno.EHOSTUNREACH}]")
    return [key for key, said in tried.items() if any(each in str(said) for each in signs)]


def near(address: str, info: dict[str, Any]) -> bool:
    """Say whether an address is in an interface's network."""
    mask = (0xFFFFFFFF << (32 - int(info["prefixlen"]))) & 0xFFFFFFFF
    return (number(address) & mask) == (number(info["local"]) & mask)


def number(address: str) -> int:
    """Read an IPv4 address as a number."""
    return int.from_bytes(socket.inet_aton(address), "big")


def guest(info: dict[str, Any]) -> str:
    """Give another address of an interface's network."""
    own = number(info["local"])
    return socket.inet_ntoa(((own ^ 1) if (own ^ 1) & 3 else own ^ 2).to_bytes(4, "big"))


def classes(seen: dict[str, Any], spaces: list[str]) -> dict[str, list[str]]:
    """List the classes to ask for: those of queueing disciplines that may have some."""
    asked: dict[str, list[str]] = {}
    for name in spaces:
        enter = ["ip", "netns", "exec", name] if name else []
        for each in parsed(seen.get(f"{name}|qdisc")):
            if each.get("root") and each.get("dev") and "default" in each.get("options", {}):
                asked[f"{name}|class|{each['dev']}"] = [
                    *enter, "tc", "class", "show", "dev", each["dev"]]  # fmt: skip
    return asked


def own(seen: dict[str, Any], spaces: list[str], start: str) -> dict[str, tuple[str, str]]:
    """Map the routers' ports whose names begin so to their MAC and first address."""
    found = {}
    for name in spaces:
        for link in parsed(seen[f"{name}|links"]):
            if link.get("ifname", "").startswith(start):
                addresses = [each["local"] for each in link.get("addr_info", [])
                             if each.get("family") == "inet"]  # fmt: skip
                found[link["ifname"]] = (link.get("address", ""), "".join(addresses[:1]))
    return found


def traces(seen: dict[str, Any], spaces: list[str], outside: str) -> dict[str, list[str]]:
    """List what Open vSwitch says of its own frames: ARP and IP, from each router's port and back.

    IP is asked for by protocol, for a flow may lose one and let the others through.
    """
    asked = {}
    links = [link.get("ifname") for link in parsed(seen["|links"])]
    gates, ports = own(seen, spaces, "qg-"), own(seen, spaces, "q")
    try:
        table = json.loads(seen["ovs|bridges"]["out"] or "{}").get("data", [])
        names = {row[0]: row[1] for row in json.loads(seen["ovs|ports"]["out"])["data"] for row in [
            (row[0][1], row[1])]}  # fmt: skip
    except (ValueError, KeyError, LookupError):
        return {}
    for bridge, members, *_ in table:
        trace = ["ovs-appctl", "-T", "3", "ofproto/trace", "--names", bridge]
        asked[f"fdb|{bridge}"] = ["ovs-appctl", "-T", "3", "fdb/show", bridge]
        asked[f"flows|{bridge}"] = ["ovs-ofctl", "dump-flows", "--names", "--no-stats", bridge]
        ids = members[1] if members[0] == "set" else [members]
        for each in [names.get(pair[1], "") for pair in ids]:
            if each in links and not each.startswith(("tap", "qv")):
                for gate, (mac, address) in gates.items():
                    asked[f"back|{each}|{gate}"] = [
                        *trace, f"in_port={each},arp,dl_src={OTHER},dl_dst={mac}"]  # fmt: skip
                    for kind in KINDS if address else ():
                        asked[f"back|{each}|{gate}|{kind}"] = [
                            *trace, f"in_port={each},{kind},dl_src={OTHER},dl_dst={mac},"
                            f"nw_src={outside},nw_dst={address}"]  # fmt: skip
            if each in ports and each.startswith(("qg-", "qr-")):
                mac, address = ports[each]
                asked[f"trace|{each}"] = [
                    *trace,
                    f"in_port={each},arp,dl_src={mac},dl_dst=ff:ff:ff:ff:ff:ff",
                ]
                ends = (address, outside) if each in gates else (outside, address)
                for kind in KINDS if address else ():
                    asked[f"trace|{each}|{kind}"] = [
                        *trace, f"in_port={each},{kind},dl_src={mac},dl_dst={OTHER},"
                        f"nw_src={ends[0]},nw_dst={ends[1]}"]  # fmt: skip
    return asked
