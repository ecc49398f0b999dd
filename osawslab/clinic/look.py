"""Look at a host in one go: what its tools print, its metadata, and what a few pings meet.

The text of this file, `hear` and `tries` is sent to the host (`source`) and run there by its
python3 (3.7 or newer), as root where that is possible; only the standard library is used. It
writes no file and changes no setting. What cannot be read is told with the tool's own words.
"""

# What is below runs on the host. GIVEN comes from whoever sends it.
from __future__ import annotations

import glob
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from osawslab.clinic.hear import Ear
from osawslab.clinic.tries import classes, parsed, silent, traces, trials

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
TOOLS = ("ip", "bridge", "ovs-vsctl", "ovs-appctl", "iptables-save", "nft", "ping", "tc", "ss")
UNITS = ("neutron*.service", "nova*.service", "openvswitch*.service", "ovs*.service",
         "ovn*.service", "libvirt*.service", "rabbitmq*.service", "mariadb*.service",
         "mysql*.service", "apache2.service", "httpd.service", "glance*.service",
         "placement*.service", "keystone*.service",
         # by name, for a pattern fits only what systemd has in memory
         "neutron-openvswitch-agent.service", "neutron-l3-agent.service",
         "neutron-dhcp-agent.service", "neutron-metadata-agent.service",
         "nova-compute.service")  # fmt: skip
SHOWN = "Id,LoadState,ActiveState,SubState,UnitFileState,Type,Result"
CLIENTS = ("dhclient", "dhcpcd", "udhcpc", "pump", "dhcp6c", "wicked")
SECONDS = 4.0  # for any one tool
SPACES = 24  # namespaces that are looked into
IMDS = "http://169.254.169.254/latest/"
LEAVES = ("device-number", "interface-id", "local-ipv4s", "public-ipv4s", "subnet-id",
          "subnet-ipv4-cidr-block", "vpc-id", "vpc-ipv4-cidr-blocks", "security-group-ids",
          "ipv4-associations/")  # fmt: skip


def shown(words: list[str]) -> str:
    """Write a command as a person types it."""
    return " ".join(map(shlex.quote, words))


def ask(asked: dict[str, list[str]]) -> dict[str, Any]:
    """Run programs, all at once; what each printed, by its key."""
    running: dict[str, Any] = {}
    for key, words in asked.items():
        try:
            running[key] = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
        except OSError as error:
            running[key] = error
    end, told = time.monotonic() + SECONDS, {}

    def one(key: str) -> dict[str, Any]:
        found, command = running[key], shown(asked[key])
        if isinstance(found, OSError):
            return {"command": command, "status": 127, "out": "", "err": str(found)}
        try:
            out, err = found.communicate(timeout=max(0.05, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            found.kill()
            found.communicate()
            err = f"no answer within {SECONDS:.0f} s".encode()
            return {"command": command, "status": 124, "out": "", "err": err.decode()}
        return {"command": command, "status": found.returncode,
                "out": out.decode(errors="replace"),
                "err": err.decode(errors="replace").strip()}  # fmt: skip

    with ThreadPoolExecutor(max_workers=max(1, len(asked))) as pool:
        for key, said in zip(asked, pool.map(one, asked)):  # noqa: B905  (Python 3.9 and older)
            told[key] = said
    return told


def read(path: str, most: int = 4096) -> str:
    """Read a text file; "" where that cannot be."""
    try:
        with open(path, errors="replace") as opened:
            return opened.read(most)
    except OSError:
        return ""


def metadata() -> dict[str, Any]:
    """Ask the instance's metadata service who it is; IMDSv2, else without a token."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    headers: dict[str, str] = {}

    def get(path: str) -> str:
        asked = urllib.request.Request(IMDS + path, headers=headers)
        with opener.open(asked, timeout=1) as answer:
            return str(answer.read(65536).decode(errors="replace"))

    def leaf(path: str) -> str:
        try:
            return get(path)
        except OSError:
            return ""

    try:
        asked = urllib.request.Request(
            IMDS + "api/token", method="PUT",
            headers={"X-aws-ec2-metadata-token-ttl-seconds": "60"},
        )  # fmt: skip
        with opener.open(asked, timeout=1) as answer:
            headers["X-aws-ec2-metadata-token"] = answer.read(4096).decode()
    except urllib.request.HTTPError:
        headers = {}
    except OSError as error:
        return {"error": str(getattr(error, "reason", error))}
    top = "meta-data/network/interfaces/macs/"
    try:
        macs = [line.strip("/") for line in get(top).split()]
        about = {
            "instance": leaf("meta-data/instance-id"), "type": leaf("meta-data/instance-type"),
            "region": leaf("meta-data/placement/region"),
        }  # fmt: skip
    except OSError as error:
        return {"error": str(getattr(error, "reason", error))}
    paths = [(mac, name) for mac in macs for name in LEAVES]
    with ThreadPoolExecutor(max_workers=8) as pool:
        values = list(pool.map(lambda pair: leaf(f"{top}{pair[0]}/{pair[1]}"), paths))
        found: dict[str, dict[str, Any]] = {mac: {} for mac in macs}
        for (mac, name), value in zip(paths, values):  # noqa: B905
            found[mac][name] = value.split()
        for each in found.values():
            publics = each.pop("ipv4-associations/")
            each["leads"] = {}
            mac = next(mac for mac in macs if found[mac] is each)
            for public in publics:
                each["leads"][public] = leaf(f"{top}{mac}/ipv4-associations/{public}").strip()
    return {"error": "", "macs": found, **about}


def space(name: str) -> dict[str, list[str]]:
    """List what tells of a network namespace ("" is the host's)."""
    ip = ["ip", "-n", name] if name else ["ip"]
    enter = ["ip", "netns", "exec", name] if name else []
    return {
        f"{name}|links": [*ip, "-j", "-d", "addr", "show"],
        f"{name}|routes": [*ip, "-j", "route", "show", "table", "all"],
        f"{name}|rules": [*ip, "-j", "rule", "show"],
        f"{name}|iptables": [*enter, "iptables-save"],
        f"{name}|nft": [*enter, "nft", "-j", "list", "ruleset"],
        f"{name}|sysctl": [*enter, "sysctl", "net.ipv4.ip_forward", "net.ipv4.conf.all.rp_filter",
                           "net.ipv4.icmp_echo_ignore_all"],
        f"{name}|listening": [*enter, "ss", "-H", "-l", "-t", "-n", "-p"],
        f"{name}|qdisc": [*enter, "tc", "-j", "qdisc", "show"],
    }  # fmt: skip


def host() -> dict[str, list[str]]:
    """List what tells of the whole host."""
    db = ["ovs-vsctl", "--timeout=3", "-f", "json"]
    return {
        "ovs|bridges": [*db, "--columns=name,ports,datapath_type,fail_mode,other_config", "list",
                        "Bridge"],
        "ovs|ports": [*db, "--columns=_uuid,name,tag,interfaces", "list", "Port"],
        "ovs|interfaces": [*db, "--columns=name,type,options,ofport,error,external_ids", "list",
                           "Interface"],
        "ovs|version": ["ovs-appctl", "-T", "3", "version"],
        "packets": ["cat", "/proc/net/packet"],
        "netns": ["ip", "-j", "netns", "list"],
        "units": ["systemctl", "show", "--all", f"--property={SHOWN}", *UNITS],
        "nmcli": ["nmcli", "-t", "-f", "DEVICE,STATE,CONNECTION", "device"],
    }  # fmt: skip


def processes(names: list[str]) -> list[dict[str, Any]]:
    """List DHCP clients, and what names one of these interfaces in its words."""
    found = []
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        words = [word for word in read(path).split("\0") if word]
        pid = int(path.split("/")[2])
        if not words or pid in (os.getpid(), os.getppid()):
            continue
        client = os.path.basename(words[0].split()[0]).startswith(CLIENTS)
        text = " ".join(words)
        named = [
            name for name in names if re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", text)
        ]
        if client or named:
            found.append({"pid": pid, "words": text[:200], "client": client, "names": named,
                          "leads": leads(pid)})  # fmt: skip
    return sorted(found, key=lambda each: int(str(each["pid"])))


def leads(pid: int) -> bool:
    """Say whether a process leads its group."""
    try:
        return os.getpgid(pid) == pid
    except OSError:  # it has ended
        return False


def stopped() -> dict[str, list[str]]:
    """Map the processes that were stopped, as by Ctrl-Z (proc(5): state T), to MACs they name."""
    found = {}
    for path in glob.glob("/proc/[0-9]*/stat"):
        if re.search(r"\) [Tt] ", read(path)):
            words = read(path.replace("/stat", "/cmdline"))
            found[path.split("/")[2]] = re.findall(r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}", words)
    return dict(sorted(found.items()))


def configured() -> dict[str, str]:
    """Read what network systems were told, without lines that may hold a secret."""
    found = {}
    for pattern in ("/etc/network/interfaces", "/etc/network/interfaces.d/*",
                    "/etc/netplan/*.yaml", "/run/systemd/netif/links/*",
                    "/run/systemd/netif/leases/*",
                    "/etc/sysconfig/network-scripts/ifcfg-*",
                    "/var/lib/neutron/dhcp/*/opts"):  # fmt: skip
        for path in sorted(glob.glob(pattern))[:40]:
            lines = read(path).splitlines()
            kept = [each for each in lines if not re.search("pass|psk|secret|key", each, re.I)]
            found[path] = "\n".join(kept)
    return found


def main(given: dict[str, Any]) -> dict[str, Any]:
    """Look at everything, try, and look again at what others may change meanwhile."""
    os.environ["PATH"] = PATH
    os.environ["LC_ALL"] = "C"
    netns = sorted(os.listdir("/run/netns")) if os.path.isdir("/run/netns") else []
    ranked = sorted(netns, key=lambda name: (not name.startswith(("qrouter-", "snat-")), name))
    spaces = ["", *ranked[:SPACES]]
    asked = host()
    for name in spaces:
        asked.update(space(name))
    with ThreadPoolExecutor(max_workers=1) as pool:
        about = pool.submit(metadata)
        seen = ask(asked)
        told = about.result()
    names = sorted({link["ifname"] for name in spaces for link in parsed(seen[f"{name}|links"])
                    if link.get("ifname", "lo") != "lo"})  # fmt: skip
    ear = Ear()
    asked = trials(spaces, seen, given["outside"])
    tried = ask({**asked, **traces(seen, spaces, given["outside"]), **classes(seen, spaces)})
    tried.update(ask({key: asked[key] for key in silent(tried)}))
    after: dict[str, list[str]] = {"fdb": ["bridge", "-j", "fdb", "show"]}
    for name in spaces:
        ip = ["ip", "-n", name] if name else ["ip"]
        after[f"{name}|neighbours"] = [*ip, "-4", "-j", "neigh", "show"]
        after[f"{name}|again"] = [*ip, "-j", "-d", "addr", "show"]
    return {
        "root": os.geteuid() == 0,
        "user": os.environ.get("USER", "") or str(os.geteuid()),
        "client": "".join("".join(sys.argv[1:2]).split()[:1]),
        "programs": {name: shutil.which(name) or "" for name in TOOLS},
        "system": next((line[13:-1] for line in read("/etc/os-release").splitlines()
                        if line.startswith("PRETTY_NAME=")), "unknown"),
        "netns": netns, "spaces": spaces, "said": {**seen, **tried, **ask(after)},
        "metadata": told, "heard": ear.heard(), "files": configured(),
        "processes": processes(names), "stopped": stopped(),
        "bridge_filter": read("/proc/sys/net/bridge/bridge-nf-call-iptables").strip(),
        "systemd": os.path.isdir("/run/systemd/system"),
    }  # fmt: skip


if __name__ == "__main__":
    print(json.dumps(main(GIVEN)))  # type: ignore[name-defined]  # noqa: F821, T201
