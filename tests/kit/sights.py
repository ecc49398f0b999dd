"""What the probe tells of an instance, and EC2 of its NICs: a router before the swap."""

from __future__ import annotations

import json
from typing import Any

from osawslab.aws.facts import Facts
from osawslab.cloud.handbuilt import ALIAS, NAMES, Cloud
from osawslab.cloud.names import Names, names
from osawslab.host import facts as host_facts
from osawslab.observe.state import Sight
from osawslab.settings import Settings
from osawslab.steps import sight

MANAGEMENT, REGISTERED, ROUTER = "02:00:00:00:00:0a", "02:00:00:00:00:14", "0a:00:00:00:00:01"
OTHER = "02:0b:ad:00:00:01"
CALLED = names("lab", "vm1")
SWITCH = " port  VLAN  MAC                Age\n"
NAT = (
    "*mangle\n-A PREROUTING -j DNAT --to-destination 10.0.0.1\nCOMMIT\n*nat\n:OUTPUT ACCEPT [0:0]\n"
    "-A POSTROUTING -j neutron-l3-agent-POSTROUTING\n"
    f"-A PREROUTING -d 172.16.20.101/32 -p tcp --dport 522 -j DNAT --to-destination"
    " 192.168.20.5:22\n"
    f"-A neutron-l3-agent-snat -o {CALLED.gateway} -j SNAT --to-source 172.16.20.101"
    " --random-fully -m comment --comment \"a 'b' c\"\n"
    "-A POSTROUTING -j MASQUERADE\nCOMMIT\n"
)


def link(name: str, mac: str, *addresses: str, **more: Any) -> dict[str, Any]:
    """Give a link as `ip -j -d addr` does."""
    found = [
        {"family": "inet", "local": each.split("/")[0], "prefixlen": int(each.split("/")[1])}
        for each in addresses
    ]
    return {"ifname": name, "address": mac, "flags": ["UP"], "addr_info": found, **more}


def told(*, nic: str = REGISTERED, gateway: str = CALLED.gateway_mac) -> dict[str, Any]:
    """Give what the probe tells; `nic` and `gateway` are the MACs they have now."""
    router, vm = CALLED.router_netns, CALLED.vm_netns
    eth1 = link("eth1", nic, ifalias=ALIAS + REGISTERED, permaddr=REGISTERED)
    none = {"iptables": "", "forward": "", "listening": ""}
    return {
        "programs": {"ovs-vsctl": "/usr/bin/ovs-vsctl"},
        "files": {},
        "netns": [router, vm],
        "namespaces": {
            "": {
                "links": [
                    link("lo", "00:00:00:00:00:00", "127.0.0.1/8"),
                    link("eth0", MANAGEMENT, "172.16.10.101/24"),
                    eth1,
                    link("br-example", "aa:00:00:00:00:01"),
                    link(CALLED.tap, "aa:00:00:00:00:02"),
                ],
                "routes": [{"dst": "default", "gateway": "172.16.10.1", "dev": "eth0"}],
            },
            router: {
                "links": [
                    link(CALLED.gateway, gateway, "172.16.20.101/24"),
                    link(CALLED.inner, CALLED.inner_mac, "192.168.20.1/24"),
                ],
                "routes": [
                    {"dst": "default", "gateway": "172.16.20.1", "dev": CALLED.gateway},
                    {"dst": "172.16.20.0/24", "dev": CALLED.gateway, "prefsrc": "172.16.20.101"},
                ],
                **none,
                "iptables": NAT,
            },
            vm: {
                "links": [link("eth0", CALLED.vm_mac, "192.168.20.5/24")],
                "routes": [{"dst": "default", "gateway": "192.168.20.1", "dev": "eth0"}],
                **none,
            },
        },
        "fdb": [
            {"mac": "33:33:00:00:00:01", "ifname": "eth0", "flags": ["self"]},
            {"mac": "aa:00:00:00:00:03", "ifname": "eth1", "master": "br-l", "state": "permanent"},
            {"mac": REGISTERED, "ifname": "tap1", "master": "br-l", "state": "static", "vlan": 1},
            {"mac": ROUTER, "ifname": "eth1", "master": "br-l", "state": ""},
        ],
        "openvswitch": {
            "bridges": {
                "br-example": {"ports": {"eth1": 0, "phy": 0}, "datapath": "netdev", "flows": []},
                "br-int": {"ports": {CALLED.gateway: 1}, "datapath": "netdev", "flows": []},
            },
            "types": {},
        },
        "learned": {
            "neighbours": {
                "": json.dumps(
                    [{"dst": "172.16.10.1", "dev": "eth0", "lladdr": ROUTER, "state": ["STALE"]}]
                ),
                router: json.dumps(
                    [{}, {"dst": "172.16.20.1", "dev": CALLED.gateway, "state": ["FAILED"]}]
                ),
                vm: "",
            },
            "switches": {
                "br-example": f"{SWITCH}    2     0  {gateway}    7\n LOCAL     0  {OTHER}    1\n",
                "br-int": f"{SWITCH}    2     1  {gateway}  static\n    9     0  {ROUTER}    0\n",
            },
            "ofports": {"": json.dumps({"data": [["phy", 2], ["eth1", 1], [CALLED.gateway, 2]]})},
        },
        **dict.fromkeys(
            ("openvswitch_module", "tun", "systemd", "dpkg", "netplan", "ifupdown"), True
        ),
        **dict.fromkeys(("cloud_init", "ec2_net_utils"), False),
    }


def books() -> Facts:
    """Give what EC2 has of both NICs, their Elastic IPs and the VPC's routes."""
    nics = {
        role: {"MacAddress": mac, "PrivateIpAddresses": [{"PrivateIpAddress": address}]}
        for role, mac, address in (
            ("management", MANAGEMENT, "172.16.10.101"),
            ("provider", REGISTERED, "172.16.20.101"),
        )
    }
    return Facts(
        nics=nics,
        addresses={"provider": {"PublicIp": "203.0.113.11", "AssociationId": "eipassoc-1"}},
        routes=(
            {"DestinationCidrBlock": "172.16.0.0/16", "GatewayId": "local"},
            {"DestinationCidrBlock": "0.0.0.0/0", "GatewayId": "igw-1"},
            {"DestinationPrefixListId": "pl-1", "GatewayId": "vpce-1"},
        ),
    )


def seen(given: dict[str, Any] | None = None, called: Names = CALLED, **settings: Any) -> Sight:
    """Give the sight of what was told."""
    facts = host_facts.parse(told() if given is None else given)
    return sight.of(Cloud(Settings(**settings), called, REGISTERED, facts), books())


def real() -> tuple[dict[str, Any], Names]:
    """Give what is told of a real OpenStack: its own names, and the VM is a process on a tap."""
    found = told()
    spaces = found["namespaces"]
    server = {**spaces.pop(CALLED.vm_netns), "links": [link("tap2", OTHER, "192.168.20.2/24")]}
    spaces["qdhcp-1"] = server
    spaces["qrouter-2"] = {**server, "links": [link("qr-2", "fa:16:3e:00:00:02", "10.0.0.1/24")]}
    called = Names(**{**vars(CALLED), "vm_netns": ""})
    found["files"] = {NAMES: json.dumps(vars(called))}
    return found, called
