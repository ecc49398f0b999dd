"""What stands in the way on the instance, and was put there by no step: found, and taken away.

The steps want what they make. What somebody has added besides, in the cloud's own namespaces and
bridges, is looked for here: what drops, what leads astray, what was stopped.
"""

from __future__ import annotations

from osawslab.cloud.handbuilt import Cloud, Want
from osawslab.host.ssh import SshHost
from osawslab.report import Check

NIC, ROUTER = "nic", "router"  # whose way is looked at
# Runs on the instance.
LOOK = r"""# What stands in the way, and was put there by no step.
import glob, json, os, re, subprocess

found = []

def said(*words):
    try:
        done = subprocess.run(words, capture_output=True, text=True)
    except OSError:  # there is no such tool
        return ""
    return done.stdout if done.returncode == 0 else ""

def rows(*words):
    try:
        return [each for each in json.loads(said(*words) or "[]") if each]
    except ValueError:
        return []

def flows(bridge, ports):
    for line in said("ovs-ofctl", "dump-flows", "--names", "--no-stats", bridge).splitlines():
        match, _, actions = line.strip().partition(" actions=")
        match = re.sub(r"cookie=\w+, ", "", match).replace(", ", ",").replace('"', "")
        if actions == "drop" and any(f"in_port={each}" in match.split(",") for each in ports):
            found.append((f"{bridge} drops nothing that comes in by a port of the way",
                          f"ovs-ofctl --names --strict del-flows {bridge} '{match}'"))

def programs(nic):
    sets = re.compile(rf"\bip (-\S+ )*a(ddr(ess)?)? (add|change|replace) .*\bdev {nic}\b"
                      rf"|\b(dhclient|dhcpcd|udhcpc|ifconfig)\b.* {nic}\b")
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            words = open(path, "rb").read().replace(b"\0", b" ").decode(errors="replace")
        except OSError:  # it has ended
            continue
        pid = path.split("/")[2]
        if sets.search(words) and int(pid) not in (os.getpid(), os.getppid()):
            leads = said("ps", "-o", "pgid=", "-p", pid).strip() == pid
            found.append((f"no other program gives {nic} an address",
                          f"kill -- -{pid}" if leads else f"kill {pid}"))

def twins(nic, mac):
    for link in rows("ip", "-j", "-d", "link", "show"):
        kind = link.get("linkinfo", {}).get("info_kind", "")
        if (link.get("address") == mac and link["ifname"] != nic and "master" not in link
                and kind in ("dummy", "macvlan", "tun", "veth")):
            other = f"06:{mac[3:12]}{link['ifindex'] % 256:02x}{mac[14:]}"
            found.append((f"nobody else has {nic}'s MAC",
                          f"ip link set {link['ifname']} address {other}"))

def fdb(bridge):
    for line in said("ovs-appctl", "-T", "3", "fdb/show", bridge).splitlines():
        words = line.split()
        if words[-1:] == ["static"]:
            found.append((f"{bridge} learns where {words[2]} is",
                          f"ovs-appctl fdb/del {bridge} {words[1]} {words[2]}"))

def space(name):
    ip, enter = ("ip", "-n", name, "-4", "-j"), f"ip netns exec {name}"
    for each in rows(*ip, "neigh", "show", "nud", "permanent"):
        found.append((f"the MAC of {each['dst']} is asked for",
                      f"ip -n {name} neigh del {each['dst']} dev {each['dev']}"))
    for each in rows(*ip, "rule", "show"):
        if each.get("action") in ("blackhole", "prohibit", "unreachable"):
            found.append(("no rule throws packets away",
                          f"ip -n {name} rule del pref {each['priority']}"))
    for each in rows(*ip, "route", "show"):
        if each.get("type") in ("blackhole", "prohibit", "unreachable"):
            found.append(("no route throws packets away",
                          f"ip -n {name} route del {each['type']} {each['dst']}"))
    table = ""
    for line in said(*enter.split(), "iptables-save").splitlines():
        table = line[1:] if line.startswith("*") else table
        chain = re.match(r":(INPUT|FORWARD|OUTPUT) DROP", line)
        if chain:
            found.append((f"{chain[1]} lets through", f"{enter} iptables -P {chain[1]} ACCEPT"))
        # A chain of the kernel's own has jumps in it, and the rule that publishes the VM.
        rule = re.match(r"-A ((?:PREROUTING|INPUT|FORWARD|OUTPUT|POSTROUTING)\b.*"
                        r"-j (DROP|REJECT|ACCEPT)\b.*)", line)
        if rule and (rule[2] != "ACCEPT" or table == "nat"):
            found.append(("no rule of the firewall is in the way",
                          f"{enter} iptables -t {table} -D {rule[1]}"))
    for line in said(*enter.split(), "nft", "list", "tables").splitlines():
        _, family, own = line.split()
        ours = family in ("ip", "ip6") and own in ("filter", "nat", "mangle", "raw", "security")
        held = "" if ours else said(*enter.split(), "nft", "list", "table", family, own)
        if re.search(r"\b(drop|reject)\b", held):
            found.append(("no other firewall is in the way",
                          f"{enter} nft delete table {family} {own}"))

def stopped(pids):
    for pid in pids:
        try:
            state = open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[0]
        except OSError:  # it has ended
            continue
        if state == "T":
            found.append(("what was stopped goes on", f"kill -CONT {pid}"))

nic, gateway = GIVEN["nic"], GIVEN["gateway"]
if GIVEN["way"] == "nic":
    programs(nic)
    twins(nic, GIVEN["mac"])
    for bridge in GIVEN["bridges"]:
        flows(bridge, (nic, gateway))
else:
    for bridge in GIVEN["bridges"]:
        fdb(bridge)
    for name in GIVEN["spaces"]:
        space(name)
        stopped(said("ip", "netns", "pids", name).split())
    stopped(said("pgrep", "^qemu-").split())
print(json.dumps(found))
"""


def look(host: SshHost, cloud: Cloud, way: str) -> tuple[Want, ...]:
    """List what stands in the way of the provider NIC, or of router and VM, as wants."""
    nic, called = cloud.provider_nic, cloud.names
    if nic is None:
        return ()
    told = host.script(
        LOOK,
        way=way,
        nic=nic.name,
        mac=cloud.registered_mac,
        gateway=called.gateway,
        bridges=sorted(cloud.host.bridges or ()),  # Open vSwitch lists them in no order
        spaces=[
            each for each in (called.router_netns, called.vm_netns) if each in cloud.host.netns
        ],
    )
    return tuple(Want(False, why, command) for why, command in told)


def checks(wants: tuple[Want, ...], next: str) -> tuple[Check, ...]:
    """Give a check for each; none where nothing stands in the way."""
    return tuple(Check(each.why, "so it is", each.command, False, next) for each in wants)
