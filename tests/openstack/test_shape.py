"""The hand-built cloud, held against the real one: what differs has a reason, or is a bug."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from osawslab import Lab
from osawslab.steps import work

# What only the real one has: a pattern of its lines, and why the hand-built one does without.
ONLY_REAL = {
    r"iptables (\*filter|\*raw|.*(filter-top|-local|FORWARD|INPUT)\b.*)": (
        "the filter table guards nothing here: all that passes the router was let in by EC2"
    ),
    r"iptables .*169\.254\.169\.254.*": "a namespace that is a VM asks for no metadata",
    r"iptables .*(scope|0xffff0000|floatingip).*": (
        "address scopes and floating IPs, of which the tutorial has none"
    ),
    r"iptables -A neutron-l3-agent-PREROUTING -j neutron-l3-agent-mark": (
        "Neutron marks in its own chain of mangle; by hand the mark is jumped to directly"
    ),
    r"route default .* static": "the agent writes who made the route",
    r"link QR mtu 1450": "the tenant network is VXLAN, whose headers take 50 bytes",
    r"netns qdhcp-ID": "a VM of Nova's asks for its address; the hand-built one has it",
    r"port br-int tap\S+ tenant internal": "the DHCP server's port",
    r"port br-(int|tun) patch-(tun|int) 0 patch": "the way to other hosts, of which there are none",
    r"bridge br-tun .*": "the bridge for them",
}
# The chain of port forwardings stays, and is empty, where there was one: only perhaps there.
LEFT = "neutron-l3-agent-fip-pf"
ONLY_BY_HAND = {
    r"iptables -A PREROUTING -j neutron-l3-agent-mark": (
        "the mark is jumped to directly, without a chain between"
    ),
    r"route default .* -": "written by ip, which leaves no mark of its own",
    r"link QR mtu 1500": "its tenant network is a VLAN on one bridge",
    r"netns vm-vm1": "the VM is a namespace",
}


@pytest.fixture(scope="module")
def by_hand(home: Path) -> Iterator[Lab]:
    with Lab("by-hand", cloud="handbuilt", bridge="openvswitch") as lab:
        for step in lab.steps:
            assert lab.run(step).ok
        yield lab


def shape(lab: Lab) -> set[str]:
    """Write what there is as lines in which only what should differ differs."""
    cloud = work.read(lab._site()).cloud
    called = cloud.names
    known = {
        called.gateway: "QG", called.inner: "QR", called.tap: "TAP",
        called.router: "ID",
    }  # fmt: skip

    def named(text: str) -> str:
        for name, plain in known.items():
            text = text.replace(name, plain)
        return re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "ID", text)

    lines = set()
    for line in cloud.router.iptables.splitlines():
        if line.startswith(("*", ":", "-A")) and LEFT not in line:
            lines.add(f"iptables {named(line.partition(' [')[0])}")
    for route in cloud.router.routes:
        way = f"{route['dst']} {route.get('gateway', '-')} {named(route['dev'])}"
        lines.add(f"route {way} {route.get('protocol') or '-'}")
    for link in cloud.router.links.values():
        lines.add(f"link {named(link.name)} {link.kind} {link.mac[:8]} {' '.join(link.addresses)}")
        lines.add(f"link {named(link.name)} mtu {link.mtu}")
    for name in cloud.host.netns:
        lines.add(f"netns {named(name)}")
    bridges = cloud.host.bridges or {}
    inner = bridges[called.integration].ports
    # The agent numbers its local VLANs in the order in which it meets the networks.
    vlans = {inner[called.gateway]: "provider", inner[called.inner]: "tenant"}
    for name, bridge in bridges.items():
        lines.add(f"bridge {name} {bridge.datapath}")
        for port, tag in bridge.ports.items():
            kind = cloud.host.port_types.get(port) or "system"
            lines.add(f"port {name} {named(port)} {vlans.get(tag, tag)} {kind}")
    return lines


def test_each_difference_has_a_reason_and_each_reason_a_difference(
    toured: Lab, by_hand: Lab
) -> None:
    toured.reset("make_it_last")  # which is Neutron's own doing there, and a program's here
    for step in ("swap_mac", "publish_vm"):
        assert toured.run(step).ok
    real, made = shape(toured), shape(by_hand)
    assert len(real & made) > 20
    for lines, reasons in ((real - made, ONLY_REAL), (made - real, ONLY_BY_HAND)):
        patterns = {pattern: re.compile(pattern) for pattern in reasons}
        unexplained = {
            line for line in lines if not any(each.fullmatch(line) for each in patterns.values())
        }
        assert unexplained == set()
        idle = {
            pattern for pattern, each in patterns.items() if not any(map(each.fullmatch, lines))
        }
        assert idle == set()
