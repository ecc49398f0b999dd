"""From EC2's state to links, neighbours and rules: values in, lines out."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from osawslab.region import network
from osawslab.region.state import Eni, Group, Instance, Rule, State, Subnet

ANYWHERE = "0.0.0.0/0"
VPC, NETNS = "vpc-0123456789abcdef0", "vpc-9abcdef0"
A, B = "subnet-00000000aaaaaaaa1", "subnet-00000000bbbbbbbb2"
ONE, TWO = "i-00000000000000001", "i-00000000000000002"
GROUP = Group(
    "sg-1",
    ingress=(Rule("tcp", 22, 22, ANYWHERE), Rule("icmp", -1, -1, "10.0.0.0/8")),
    egress=(Rule("-1", -1, -1, ANYWHERE),),
)


def eni(key: str, mac: str, *addresses: str, **more: Any) -> Eni:
    given = {
        "subnet": A,
        "instance": ONE,
        "device_index": 0,
        "source_dest_check": True,
        "groups": ("sg-1",),
        "eips": {},
        **more,
    }
    return Eni(id=key, mac=mac, addresses=addresses, **given)


FIRST = eni("eni-0000000a", "02:00:00:00:00:0a", "172.16.10.101", "172.16.10.102")
SECOND = eni(
    "eni-0000000b",
    "02:00:00:00:00:0b",
    "172.16.20.101",
    subnet=B,
    device_index=1,
    source_dest_check=False,
    eips={"172.16.20.101": "203.0.113.7"},
)


def state(*enis: Eni, group: Group = GROUP, internet: bool = True, **instance: Any) -> State:
    about = {"running": True, "boots": 3, "type": "t2.large", **instance}
    return State(
        subnets={
            A: Subnet(A, VPC, "172.16.10.0/24", internet),
            B: Subnet(B, VPC, "172.16.20.0/24", internet),
        },
        enis={each.id: each for each in enis},
        groups={group.id: group},
        instances={
            key: Instance(id=key, image="debian-13", public_key="", user_data=b"", **about)
            for key in (ONE, TWO)
        },
    )


def made(*enis: Eni, **more: Any) -> network.Network:
    return network.networks(state(*enis, **more))[NETNS]


def elements(rules: str, name: str) -> list[str]:
    """Read what a set or map of the bridge's or the router's table holds."""
    found = re.search(rf"^add element {name} \{{ (.*) \}}$", rules, re.M)
    return found.group(1).split(", ") if found else []


@pytest.mark.parametrize(
    ("kind", "index", "driver", "name"),
    [
        ("t2.large", 0, "vif", "eth0"),
        ("t2.micro", 1, "vif", "eth1"),
        ("m3.medium", 1, "vif", "eth1"),
        ("t3.large", 0, "ena", "ens5"),
        ("m5.xlarge", 1, "ena", "ens6"),
        ("c7i.2xlarge", 2, "ena", "ens7"),
    ],
)
def test_a_nic_is_named_as_its_driver_names_it(
    kind: str, index: int, driver: str, name: str
) -> None:
    assert network.driver(kind) == driver
    assert network.nic_name(kind, index) == name


def test_names_fit_into_the_kernels_fifteen_letters() -> None:
    names = [network.bridge_name(A), network.port_name(FIRST.id), f"u-{NETNS[-8:]}"]
    assert all(len(name) <= 15 for name in names), names
    assert len(set(names)) == len(names)


def test_the_routers_mac_follows_from_the_subnet_and_is_nobodys_else() -> None:
    mac = network.router_mac(A)
    assert mac == network.router_mac(A) != network.router_mac(B)
    assert re.fullmatch(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}", mac)
    assert int(mac[:2], 16) & 3 == 2  # locally administered, to one receiver


@pytest.mark.parametrize(
    "given",
    [
        state(),
        state(FIRST, running=False),
        state(replace(FIRST, instance="i-0000000000000dead")),
    ],
    ids=["no NIC", "stopped", "of no instance"],
)
def test_a_vpc_without_a_live_nic_is_nowhere(given: State) -> None:
    assert network.networks(given) == {}


def test_each_subnet_is_a_bridge_with_the_routers_first_address() -> None:
    links = made(FIRST, SECOND).links
    for subnet, address in ((A, "172.16.10.1/24"), (B, "172.16.20.1/24")):
        name = network.bridge_name(subnet)
        assert f"addr add {address} dev {name}" in links[name]
        assert f"link set {name} address {network.router_mac(subnet)} mtu 9001" in links[name]
    assert list(links)[:2] == [network.bridge_name(A), network.bridge_name(B)]  # before their ports


def test_an_empty_subnet_has_no_bridge() -> None:
    assert network.bridge_name(B) not in made(FIRST).links


def test_each_nic_is_a_cable_into_this_boot_of_its_instance() -> None:
    net = made(FIRST, SECOND)
    first, second = net.links["p-0000000a"], net.links["p-0000000b"]
    assert first[0] == (
        f"link add p-0000000a mtu 9001 type veth peer name eth0 netns {ONE}.3"
        " address 02:00:00:00:00:0a mtu 9001"
    )
    assert "peer name eth1 " in second[0]
    assert net.owners == {"p-0000000a": f"{ONE}.3", "p-0000000b": f"{ONE}.3"}


def test_a_port_floods_nothing_and_learns_nothing() -> None:
    (flags,) = [line for line in made(FIRST).links["p-0000000a"] if "bridge_slave" in line]
    for flag in ("learning off", "flood off", "mcast_flood off", "bcast_flood off", "proxy_arp on"):
        assert flag in flags


def test_the_mapping_service_knows_exactly_the_registered_pairs() -> None:
    net = made(FIRST, SECOND)
    bridge = network.bridge_name(A)
    assert sorted(net.settings) == sorted(
        [
            f"neigh replace 172.16.10.101 lladdr {FIRST.mac} dev {bridge} nud permanent",
            f"neigh replace 172.16.10.102 lladdr {FIRST.mac} dev {bridge} nud permanent",
            f"neigh replace 172.16.20.101 lladdr {SECOND.mac} dev {network.bridge_name(B)}"
            " nud permanent",
        ]
    )
    assert net.fdb == (
        f"fdb replace {FIRST.mac} dev p-0000000a master static",
        f"fdb replace {SECOND.mac} dev p-0000000b master static",
    )


def test_the_guard_knows_ports_macs_and_addresses() -> None:
    rules = made(FIRST, SECOND).rules
    first, second = f"p-0000000a . {FIRST.mac}", f"p-0000000b . {SECOND.mac}"
    assert elements(rules, "bridge guard ports") == ["p-0000000a", "p-0000000b"]
    assert elements(rules, "bridge guard macs") == [first, second]
    assert elements(rules, "bridge guard arps") == [
        f"{first} . 172.16.10.101",
        f"{first} . 172.16.10.102",
        f"{second} . 172.16.20.101",
    ]
    assert elements(rules, "bridge guard sources") == [
        "p-0000000a . 172.16.10.101",
        "p-0000000a . 172.16.10.102",
        "p-0000000b . 172.16.20.101",
    ]
    assert elements(rules, "bridge guard anysource") == ["p-0000000b"]


def test_reasons_are_tried_in_order_and_the_first_counts() -> None:
    sent = [line for line in made(FIRST).rules.splitlines() if " guard sent " in line]
    drops = re.findall(r"counter name drop_(\w+) drop", "\n".join(sent))
    assert drops == ["mac", "arp", "ip", "other"]
    assert tuple(drops[:3]) == network.REASONS


@pytest.mark.parametrize(("internet", "held"), [(True, 1), (False, 0)])
def test_an_elastic_ip_needs_a_route_to_a_gateway(internet: bool, held: int) -> None:
    net = made(SECOND, internet=internet)
    assert len(elements(net.rules, "ip router eip_in")) == held
    assert len(elements(net.rules, "ip router eip_out")) == held
    assert len(elements(net.rules, "ip router has_eip")) == held
    if held:
        assert elements(net.rules, "ip router eip_in") == ["203.0.113.7 : 172.16.20.101"]
        assert elements(net.rules, "ip router eip_out") == ["172.16.20.101 : 203.0.113.7"]


def test_the_internet_knows_the_way_to_each_elastic_ip() -> None:
    all_networks = network.networks(state(SECOND))
    assert network.internet_routes(all_networks) == {
        "203.0.113.7": "route replace 203.0.113.7/32 via 100.64.0.2 dev u-9abcdef0"
        " src 198.51.100.7 onlink"
    }


@pytest.mark.parametrize(
    ("rule", "name", "element"),
    [
        (Rule("tcp", 22, 22, ANYWHERE), "ports", f"172.16.10.101 . tcp . 22 . {ANYWHERE}"),
        (Rule("tcp", 80, 90, ANYWHERE), "ports", f"172.16.10.101 . tcp . 80-90 . {ANYWHERE}"),
        (Rule("udp", 53, 53, "10.0.0.0/8"), "ports", "172.16.10.101 . udp . 53 . 10.0.0.0/8"),
        (Rule("icmp", -1, -1, ANYWHERE), "icmp", f"172.16.10.101 . {ANYWHERE}"),
        (Rule("-1", -1, -1, "172.16.10.7/32"), "all", "172.16.10.101 . 172.16.10.7/32"),
    ],
)
def test_a_permission_becomes_an_element(rule: Rule, name: str, element: str) -> None:
    nic = replace(FIRST, addresses=("172.16.10.101",))
    for way, group in (
        ("in", Group("sg-1", (rule,), ())),
        ("out", Group("sg-1", (), (rule,))),
    ):
        rules = made(nic, group=group).rules
        for family in ("bridge guard", "ip router"):
            for each in ("ports", "icmp", "all"):
                for side in ("in", "out"):
                    held = elements(rules, f"{family} {side}_{each}")
                    assert held == ([element] if (each, side) == (name, way) else [])


def test_permissions_that_overlap_are_cut_apart() -> None:
    nic = replace(FIRST, addresses=("172.16.10.101",))
    group = Group(
        "sg-1",
        (
            Rule("tcp", 20, 30, "10.0.0.0/8"),
            Rule("tcp", 25, 40, ANYWHERE),
            Rule("icmp", -1, -1, "10.1.0.0/16"),
            Rule("icmp", -1, -1, "10.0.0.0/8"),
        ),
        (),
    )
    rules = made(nic, group=group).rules
    own = "172.16.10.101 ."
    assert elements(rules, "ip router in_icmp") == [f"{own} 10.0.0.0/8"]
    assert elements(rules, "ip router in_ports") == [
        f"{own} tcp . 20-24 . 10.0.0.0/8",
        f"{own} tcp . 25-30 . {ANYWHERE}",
        f"{own} tcp . 31-40 . {ANYWHERE}",
    ]


def test_a_set_that_got_empty_is_emptied() -> None:
    rules = made(replace(FIRST, groups=())).rules
    assert "flush set ip router in_ports\n" in rules
    assert elements(rules, "ip router in_ports") == []


def test_equal_states_give_equal_lines_in_whatever_order_they_are_kept() -> None:
    assert made(FIRST, SECOND) == made(SECOND, FIRST)


def test_a_change_of_one_nic_changes_no_line_of_another() -> None:
    before, after = made(FIRST, SECOND), made(FIRST)
    assert before.links["p-0000000a"] == after.links["p-0000000a"]
