"""Many facts of a Linux host in one round trip.

This file's text is sent to the host and run there by its own python3 as root (`read`); on the
host only the standard library is used, and only machine formats are read.
"""

# The part below runs on the host. GIVEN comes from `SshHost.script`.
from __future__ import annotations

import contextlib
import fnmatch
import json
import os
import shutil
import subprocess
from typing import Any

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


RUNNING: dict[tuple[str, ...], subprocess.Popen[str]] = {}


def begin(*words: str) -> None:
    """Start a program whose output is asked for later: many at once take little longer."""
    with contextlib.suppress(FileNotFoundError):
        RUNNING[words] = subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )


def output(*words: str) -> str:
    """Give a program's output; "" when it fails or is not there."""
    if words not in RUNNING:
        begin(*words)
    return RUNNING.pop(words).communicate()[0] if words in RUNNING else ""


def commands(name: str) -> dict[str, tuple[str, ...]]:
    """List what tells of a network namespace ("" is the host's)."""
    ip = ("ip", "-n", name) if name else ("ip",)
    asked = {"links": (*ip, "-j", "-d", "addr", "show"), "routes": (*ip, "-j", "route", "show")}
    if name:
        inside = ("ip", "netns", "exec", name)
        asked["iptables"] = (*inside, "iptables-save")
        asked["forward"] = (*inside, "cat", "/proc/sys/net/ipv4/ip_forward")
        asked["listening"] = (*inside, "ss", "-H", "-l", "-t", "-n", "sport", "=", ":22")
    return asked


def namespace(name: str) -> dict[str, Any]:
    """Read links, addresses, routes and firewall of a network namespace."""
    told = {key: output(*words) for key, words in commands(name).items()}
    return {**told, **{key: json.loads(told[key] or "[]") for key in ("links", "routes")}}


FDB = ("bridge", "-j", "fdb", "show")
SWITCH = (
    "ovs-vsctl", "--timeout=5", "-f", "json",
    "--", "--columns=name,ports,datapath_type", "list", "Bridge",
    "--", "--columns=_uuid,name,tag", "list", "Port",
    "--", "--columns=name,type,options", "list", "Interface",
)  # fmt: skip


def openvswitch() -> dict[str, Any] | None:
    """Read Open vSwitch's database: bridges and their ports; None where it does not run."""
    tables = [json.loads(line)["data"] for line in output(*SWITCH).splitlines()]
    if len(tables) != 3:
        return None
    ports = {row[0][1]: (row[1], row[2] if isinstance(row[2], int) else 0) for row in tables[1]}
    bridges = {}
    for name, members, datapath in tables[0]:
        ids = members[1] if members[0] == "set" else [members]
        found = dict(ports[key[1]] for key in ids)
        found.pop(name, None)
        bridges[name] = {"ports": found, "datapath": datapath, "flows": flows(name)}
    peers = {row[0]: dict(row[2][1]).get("peer", "") for row in tables[2]}
    return {"bridges": bridges, "types": {row[0]: row[1] for row in tables[2]}, "peers": peers}


def dump(bridge: str) -> tuple[str, ...]:
    """Name the command that tells a bridge's flows without what changes by itself."""
    return ("ovs-ofctl", "dump-flows", "--names", "--no-stats", bridge)


def flows(bridge: str) -> list[str]:
    """Read a bridge's flows."""
    text = output(*dump(bridge))
    return sorted(line.strip() for line in text.splitlines() if "actions" in line)


OFPORTS = (
    "ovs-vsctl", "--timeout=5", "-f", "json", "--columns=name,ofport", "list", "Interface",
)  # fmt: skip


def learned(spaces: list[str], bridges: list[str]) -> dict[str, dict[str, str]]:
    """Read what nobody configured, as its tools print it: IPv4 neighbours, switches' tables."""
    asked = {
        "neighbours": {
            name: ("ip", *(("-n", name) if name else ()), "-4", "-j", "neigh", "show")
            for name in spaces
        },
        "switches": {name: ("ovs-appctl", "-T", "5", "fdb/show", name) for name in bridges},
        "ofports": {"": OFPORTS} if bridges else {},
    }
    for kind in asked.values():
        for words in kind.values():
            begin(*words)
    return {
        kind: {name: output(*words) for name, words in each.items()} for kind, each in asked.items()
    }


def file(path: str) -> str | None:
    """Read a text file; None where there is none."""
    try:
        with open(path) as opened:
            return opened.read()
    except OSError:
        return None


def opens(path: str) -> bool:
    """Say whether a device can be opened, by opening it."""
    try:
        os.close(os.open(path, os.O_RDWR))
    except OSError:
        return False
    return True


INTERFACES = "/sys/class/net"


def drivers() -> dict[str, str]:
    """Name the drivers of the host's interfaces; a virtual one, such as a veth, has none."""
    found = {}
    for name in os.listdir(INTERFACES) if os.path.isdir(INTERFACES) else []:
        with contextlib.suppress(OSError):
            found[name] = os.path.basename(os.readlink(f"{INTERFACES}/{name}/device/driver"))
    return found


def main(given: dict[str, Any]) -> dict[str, Any]:
    """Read everything that was asked for."""
    os.environ["PATH"] = PATH
    netns = sorted(os.listdir("/run/netns")) if os.path.isdir("/run/netns") else []
    patterns = given.get("netns", [])
    wanted = [name for name in netns if any(fnmatch.fnmatchcase(name, each) for each in patterns)]
    for words in (SWITCH, FDB, *map(dump, given.get("bridges", []))):
        begin(*words)
    for name in ["", *wanted]:
        for words in commands(name).values():
            begin(*words)
    switch = openvswitch()
    return {
        "programs": {name: shutil.which(name) or "" for name in given.get("programs", [])},
        "files": {path: file(path) for path in given.get("files", [])},
        "netns": netns,
        "namespaces": {name: namespace(name) for name in ["", *wanted]},
        "drivers": drivers(),
        "fdb": json.loads(output(*FDB) or "[]"),
        "openvswitch": switch,
        "learned": learned(["", *wanted], list((switch or {}).get("bridges", {})))
        if given.get("learned")
        else {},
        # The kernel's own datapath: its module is loaded, and all of the machine's ids are ours.
        "openvswitch_module": os.path.isdir("/sys/module/openvswitch")
        and (file("/proc/self/uid_map") or "").split()[:1] == ["0"]
        and (file("/proc/self/uid_map") or "").split()[2:] == ["4294967295"],
        "tun": opens("/dev/net/tun"),
        "systemd": os.path.isdir("/run/systemd/system"),
        "dpkg": os.path.exists("/var/lib/dpkg/status"),
        "netplan": os.path.isdir("/etc/netplan") and bool(shutil.which("netplan")),
        "ifupdown": bool(shutil.which("ifup")),
        "cloud_init": os.path.isdir("/etc/cloud"),
        "ec2_net_utils": os.path.exists("/lib/systemd/network/80-ec2.network")
        or os.path.exists("/usr/lib/systemd/network/80-ec2.network"),
    }


if __name__ == "__main__":
    print(json.dumps(main(GIVEN)))  # type: ignore[name-defined]  # noqa: F821, T201
