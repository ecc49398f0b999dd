"""Many facts of a Linux host in one round trip.

This file's text is sent to the host and run there by its own python3 as root (`read`); on the
host only the standard library is used, and only machine formats are read.
"""

# The part below runs on the host. GIVEN comes from `SshHost.script`.
from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from typing import Any

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def output(*words: str) -> str:
    """Run a program; its output, "" when it fails or is not there."""
    try:
        return subprocess.run(words, capture_output=True, text=True, check=False).stdout
    except FileNotFoundError:
        return ""


def namespace(name: str) -> dict[str, Any]:
    """Read links, addresses, routes and firewall of a network namespace ("" is the host's)."""
    ip = ["ip", *(["-n", name] if name else [])]
    inside = ["ip", "netns", "exec", name] if name else []
    facts = {
        "links": json.loads(output(*ip, "-j", "-d", "addr", "show") or "[]"),
        "routes": json.loads(output(*ip, "-j", "route", "show") or "[]"),
    }
    if name:
        facts["iptables"] = output(*inside, "iptables-save")
        facts["forward"] = output(*inside, "cat", "/proc/sys/net/ipv4/ip_forward").strip()
    return facts


def openvswitch() -> dict[str, Any] | None:
    """Read Open vSwitch's database: bridges and their ports; None where it does not run."""
    listed = output(
        "ovs-vsctl",
        "--timeout=5",
        "-f",
        "json",
        "--columns=name,ports,datapath_type",
        "list",
        "Bridge",
    )
    if not listed:
        return None
    tables = {}
    for table, columns in (("Port", "_uuid,name,tag"), ("Interface", "name,type,options")):
        text = output(
            "ovs-vsctl", "--timeout=5", "-f", "json", "--columns=" + columns, "list", table
        )
        tables[table] = json.loads(text)["data"]
    ports = {
        row[0][1]: (row[1], row[2] if isinstance(row[2], int) else 0) for row in tables["Port"]
    }
    bridges = {}
    for name, members, datapath in json.loads(listed)["data"]:
        ids = members[1] if members[0] == "set" else [members]
        found = dict(ports[key[1]] for key in ids)
        found.pop(name, None)
        bridges[name] = {"ports": found, "datapath": datapath, "flows": flows(name)}
    return {"bridges": bridges, "types": {row[0]: row[1] for row in tables["Interface"]}}


def flows(bridge: str) -> list[str]:
    """Read a bridge's flows without what changes by itself."""
    text = output("ovs-ofctl", "dump-flows", "--names", "--no-stats", bridge)
    return sorted(line.strip() for line in text.splitlines() if "actions" in line)


def driver(nic: str) -> str:
    """Name a NIC's driver; "" for what has none."""
    path = f"/sys/class/net/{nic}/device/driver"
    if os.path.exists(path):
        return os.path.basename(os.path.realpath(path))
    found = re.search(r"^driver: (\S+)", output("ethtool", "-i", nic), re.M)
    return found.group(1) if found else ""


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


def listens(netns: str) -> bool:
    """Say whether an SSH server listens in a namespace."""
    found = output("ip", "netns", "exec", netns, "ss", "-H", "-l", "-t", "-n", "sport", "= :22")
    return bool(found.strip())


def main(given: dict[str, Any]) -> dict[str, Any]:
    """Read everything that was asked for."""
    os.environ["PATH"] = PATH
    netns = sorted(os.listdir("/run/netns")) if os.path.isdir("/run/netns") else []
    wanted = [name for name in given.get("netns", []) if name in netns]
    return {
        "programs": {name: shutil.which(name) or "" for name in given.get("programs", [])},
        "files": {path: file(path) for path in given.get("files", [])},
        "netns": netns,
        "namespaces": {name: namespace(name) for name in ["", *wanted]},
        "fdb": json.loads(output("bridge", "-j", "fdb", "show") or "[]"),
        "openvswitch": openvswitch() if given.get("openvswitch") else None,
        # The kernel's own datapath: its module is loaded, and all of the machine's ids are ours.
        "openvswitch_module": os.path.isdir("/sys/module/openvswitch")
        and (file("/proc/self/uid_map") or "").split()[:1] == ["0"]
        and (file("/proc/self/uid_map") or "").split()[2:] == ["4294967295"],
        "tun": opens("/dev/net/tun"),
        "drivers": {nic: driver(nic) for nic in given.get("drivers", [])},
        "listening": {name: listens(name) for name in wanted},
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
