"""The data plane's three verbs: apply a batch, execute in a namespace, connect to an address.

Plus `reconcile`, which brings the kernel to what `network` derives: the kernel is read, never
remembered. Another tier is another way to do the three verbs.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence

from osawslab.region import legacy, network
from osawslab.region.kernel import in_netns, user_mode
from osawslab.region.state import State

CONNECT_SECONDS = 5.0


class KernelRefused(RuntimeError):
    """The kernel (or a tool in front of it) refused a batch; carries its words."""


def run(argv: Sequence[str], given: str = "") -> str:
    """Run a program to its end and give its output; its failure is a KernelRefused."""
    done = subprocess.run(argv, input=given, text=True, capture_output=True, check=False)
    if done.returncode:
        raise KernelRefused(f"{' '.join(argv)}: {done.stdout}{done.stderr}".strip())
    return done.stdout


def batch(netns: str, lines: str) -> None:
    """Apply `ip` lines in a namespace ("" is the region's own)."""
    if lines:
        run(["ip", *(["-n", netns] if netns else []), "-batch", "-"], lines)


def execute(netns: str, argv: Sequence[str], given: str = "") -> subprocess.CompletedProcess[str]:
    """Run a program inside a namespace."""
    return subprocess.run(
        ["ip", "netns", "exec", netns, *argv],
        input=given,
        text=True,
        capture_output=True,
        check=False,
    )


def program(text: str, words: Sequence[str]) -> socket.socket:
    """Start a Python program in the region; the other end of its standard input and output."""
    ours, theirs = socket.socketpair()
    with theirs:
        child = subprocess.Popen(
            [sys.executable, "-I", "-c", text, *words],
            stdin=theirs.fileno(),
            stdout=theirs.fileno(),
            cwd="/",
        )
    threading.Thread(target=child.wait, daemon=True).start()
    return ours


def connect(address: str, port: int, timeout: float = CONNECT_SECONDS) -> socket.socket:
    """Open a TCP connection from the user's machine in the internet. Raises OSError."""

    def open_socket() -> socket.socket:
        made = socket.create_connection((address, port), timeout, (network.USER_ADDRESS, 0))
        made.settimeout(None)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made

    return in_netns(network.INTERNET, open_socket)


def listen(address: str, port: int) -> socket.socket:
    """Make a listening TCP socket in the internet."""
    return in_netns(network.INTERNET, lambda: socket.create_server((address, port), backlog=64))


def netns_list() -> set[str]:
    """Name the network namespaces that exist."""
    try:
        return set(os.listdir("/run/netns"))
    except FileNotFoundError:
        return set()


def _sysctl(netns: str, **values: int) -> None:
    """Set what a new namespace would otherwise have from this machine (ip-sysctl.rst)."""
    own = {
        "ipv6/conf/all/disable_ipv6": 1,
        "ipv6/conf/default/disable_ipv6": 1,
        "ipv4/conf/all/rp_filter": 0,
        "ipv4/conf/default/rp_filter": 0,
        "ipv4/ip_forward": 0,
        # Where Docker has loaded br_netfilter, bridged frames would meet the router's rules.
        "bridge/bridge-nf-call-iptables": 0,
        "bridge/bridge-nf-call-arptables": 0,
        **{key.replace("__", "/"): value for key, value in values.items()},
    }
    text = "".join(
        f"[ ! -e /proc/sys/net/{key} ] || echo {value} > /proc/sys/net/{key}\n"
        for key, value in own.items()
    )
    run(["ip", "netns", "exec", netns, "sh", "-ec", text])


def start() -> None:
    """Make the internet."""
    batch("", f"netns add {network.INTERNET}\n")
    _sysctl(network.INTERNET)
    batch(network.INTERNET, network.internet_birth())


def _links(netns: str) -> dict[str, str]:
    """Map the links of a namespace to their alias."""
    found = json.loads(run(["ip", "-n", netns, "-j", "link", "show"]) or "[]")
    return {link["ifname"]: link.get("ifalias", "") for link in found}


def _offloads_off(netns: str, ports: Sequence[str]) -> None:
    """Have complete checksums towards the instances.

    Open vSwitch in user space reads a veth through AF_PACKET and would pass the partial
    checksums of the kernel on, where they count as wrong.
    """
    lines = "".join(
        f"ethtool -K {port} tx off tso off gso off gro off >/dev/null\n" for port in ports
    )
    if ports:
        run(["ip", "netns", "exec", netns, "sh", "-ec", lines])


def reconcile(state: State) -> None:
    """Make the kernel's network what EC2 says; idempotent. Raises KernelRefused."""
    wanted = network.networks(state, legacy_router=user_mode())
    instances = {
        network.instance_netns(i.id, i.boots) for i in state.instances.values() if i.running
    }
    existing = netns_list()
    for netns in sorted((wanted.keys() | instances) - existing):
        batch("", f"netns add {netns}\n")
        if netns in wanted:
            outside, inside = network.birth(netns)
            batch(network.INTERNET, outside)
            _sysctl(
                netns,
                ipv4__ip_forward=1,
                ipv4__conf__all__send_redirects=0,
                ipv4__conf__default__send_redirects=0,
            )
            batch(netns, inside)
            if user_mode():
                run(["ip", "netns", "exec", netns, *legacy.RESTORE], legacy.birth())
        else:
            _sysctl(netns)
            batch(netns, "link set lo up\n")
    for netns, net in wanted.items():
        _reconcile_vpc(netns, net)
    routes = network.internet_routes(wanted)
    shown = json.loads(run(["ip", "-n", network.INTERNET, "-j", "route", "show"]) or "[]")
    old = {route["dst"] for route in shown if route["dst"].startswith("203.0.113.")}
    lines = [f"route del {eip}/32" for eip in sorted(old - routes.keys())] + list(routes.values())
    batch(network.INTERNET, "".join(line + "\n" for line in lines))
    gone = {name for name in existing if re.fullmatch(r"i-[0-9a-f]+\.\d+", name)} - instances
    vpcs = {name for name in existing if name.startswith("vpc-")} - wanted.keys()
    # A namespace goes when the kernel finds time; its leg must be gone before it can come back.
    batch(network.INTERNET, "".join(f"link del {network.leg(name)}\n" for name in sorted(vpcs)))
    gone |= vpcs
    batch("", "".join(f"netns del {name}\n" for name in sorted(gone)))


def _reconcile_vpc(netns: str, net: network.Network) -> None:
    have = _links(netns)
    ours = {name for name in have if name.startswith(("p-", "sn-"))}
    stale = {name for name in ours if name not in net.links}
    stale |= {name for name in ours & net.owners.keys() if have[name] != net.owners[name]}
    new = [name for name in net.links if name not in have or name in stale]
    remade = stale | set(new)
    lines = [
        f"link del {name}"
        for name in sorted({*stale, *map(network.ena_name, remade)})
        if name in have
    ]
    for name in new:
        lines += net.links[name]
    lines += net.settings
    batch(netns, "".join(line + "\n" for line in lines))
    joined = [line for name in new for line in net.filters.get(name, ())]
    if joined:
        run(["tc", "-n", netns, "-batch", "-"], "".join(line + "\n" for line in joined))
    _offloads_off(netns, [name for name in new if name.startswith("p-")])
    if net.fdb:
        run(["bridge", "-n", netns, "-batch", "-"], "".join(line + "\n" for line in net.fdb))
    run(["ip", "netns", "exec", netns, "nft", "-f", "-"], net.rules)
    if net.router:
        run(["ip", "netns", "exec", netns, *legacy.RESTORE], net.router)


def drops() -> dict[str, int]:
    """Count the frames that the VPCs of this region dropped, by reason."""
    total: dict[str, int] = {}
    for netns in sorted(netns_list()):
        if not netns.startswith("vpc-"):
            continue
        found = json.loads(run(["ip", "netns", "exec", netns, "nft", "-j", "list", "counters"]))
        for item in found["nftables"]:
            if "counter" in item:
                reason = item["counter"]["name"].removeprefix("drop_")
                total[reason] = total.get(reason, 0) + item["counter"]["packets"]
        if user_mode():
            saved = run(["ip", "netns", "exec", netns, *legacy.SAVE])
            for reason, packets in legacy.drops(saved).items():
                total[reason] = total.get(reason, 0) + packets
    return {
        reason: total.get(reason, 0)
        for reason in (*network.REASONS, "acl", "group", "no_eip", "other")
    }
