"""Hold the tables of state against what the tools told; who has a MAC follows from facts alone."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from sights import CALLED, MANAGEMENT, OTHER, REGISTERED, ROUTER, books, real, seen, told

from osawslab.errors import LabError, StepFailed
from osawslab.observe import forwarding, live, state
from osawslab.observe.difference import State
from osawslab.observe.state import Sight
from osawslab.settings import Settings
from osawslab.steps import sight

TABLES: dict[str, Callable[[Sight], State]] = {
    "arp": state.arp,
    "links": state.links,
    "fdb": forwarding.fdb,
    "routes": forwarding.routes,
    "nat": forwarding.nat,
}
GATEWAY = CALLED.gateway_mac


def test_arp_has_the_books_each_places_own_and_what_it_learned() -> None:
    assert state.arp(seen()).rows == (
        ("VPC", "172.16.10.101", "management NIC", MANAGEMENT, "management NIC", "registered"),
        ("VPC", "172.16.20.101", "router gateway", REGISTERED, "provider NIC", "registered"),
        ("host", "172.16.10.101", "management NIC", MANAGEMENT, "management NIC", "own"),
        ("host", "172.16.10.1", "VPC router", ROUTER, "VPC router", "usable"),
        ("router", "172.16.20.101", "router gateway", GATEWAY, "router gateway", "own"),
        ("router", "192.168.20.1", "router tenant port", CALLED.inner_mac, "router tenant port",
         "own"),
        ("router", "172.16.20.1", "VPC router", "", "", "missing"),
        ("vm1", "192.168.20.5", "vm1", CALLED.vm_mac, "vm1", "own"),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("states", "mac", "shown"),
    [
        (["REACHABLE"], ROUTER, "usable"),
        (["STALE"], ROUTER, "usable"),
        (["PROBE"], ROUTER, "usable"),
        (["PERMANENT"], ROUTER, "usable"),
        (["FAILED"], "", "missing"),
        (["INCOMPLETE"], "", "missing"),
        (["FAILED"], ROUTER, "missing"),
        ([], "", "missing"),
        (["NOARP"], "", "missing"),
    ],
)
def test_how_fresh_a_neighbour_is_stands_in_the_frame_alone(
    states: list[str], mac: str, shown: str
) -> None:
    given = told()
    entry = {
        "dst": "172.16.10.1",
        "dev": "eth0",
        "state": states,
        **({"lladdr": mac} if mac else {}),
    }
    given["learned"]["neighbours"][""] = json.dumps([entry])
    table = state.arp(seen(given))
    [row] = [row for row in table.rows if row[:2] == ("host", "172.16.10.1")]
    assert row[-1] == shown
    frame = table.frame
    assert list(frame[frame["address"] == "172.16.10.1"]["kernel_state"]) == [" ".join(states)]


def test_links_say_for_which_nic_aws_has_a_mac_registered() -> None:
    before, after = state.links(seen()), state.links(seen(told(nic=OTHER, gateway=REGISTERED)))
    assert ("host", "eth1", "provider NIC", REGISTERED, "provider NIC", "", "up", "br-example") in (
        before.rows
    )
    assert "lo" not in list(before.frame["name"])
    assert list(before.diff(after).frame.itertuples(index=False, name=None)) == [
        ("~ changed", "host", "eth1", "MAC", REGISTERED, OTHER),
        ("~ changed", "host", "eth1", "registered for", "provider NIC", ""),
        ("~ changed", "router", CALLED.gateway, "MAC", GATEWAY, REGISTERED),
        ("~ changed", "router", CALLED.gateway, "registered for", "", "provider NIC"),
    ]


def test_the_swap_moves_the_registered_pair_and_nothing_else() -> None:
    before, after = state.arp(seen()), state.arp(seen(told(nic=OTHER, gateway=REGISTERED)))
    assert before.diff(after).rows == (
        ("~ changed", "VPC", "172.16.20.101", "router gateway", REGISTERED,
         "provider NIC → router gateway", "registered"),
        ("~ changed", "router", "172.16.20.101", "router gateway", f"{GATEWAY} → {REGISTERED}",
         "router gateway", "own"),
    )  # fmt: skip
    assert not before.diff(state.arp(seen()))


@pytest.mark.parametrize(
    ("nic", "gateway", "owners"),
    [
        (REGISTERED, GATEWAY, {REGISTERED: "provider NIC", GATEWAY: "router gateway"}),
        (OTHER, REGISTERED, {REGISTERED: "router gateway", OTHER: "provider NIC"}),
        (REGISTERED, REGISTERED, {REGISTERED: "router gateway", GATEWAY: "unknown"}),
        (OTHER, "fa:16:3e:00:00:01", {REGISTERED: "unknown", GATEWAY: "unknown"}),
        (OTHER, OTHER.upper(), {OTHER: "router gateway"}),
    ],
)
def test_a_mac_changed_by_hand_has_another_owner(
    nic: str, gateway: str, owners: dict[str, str]
) -> None:
    found = seen(told(nic=nic, gateway=gateway)).owners
    for mac, owner in owners.items():
        shared = nic.lower() == gateway.lower() == mac.lower()
        assert found.mac(mac) == (f"provider NIC, {owner}" if shared else owner)


def test_only_the_vpcs_router_is_called_so() -> None:
    given = told()
    given["learned"]["neighbours"][""] = json.dumps(
        [{"dst": "172.16.10.9", "dev": "eth0", "lladdr": ROUTER, "state": ["STALE"]}]
    )
    assert seen(given).owners.mac(ROUTER) == "unknown"


def test_a_port_without_a_number_does_not_hide_the_others() -> None:
    given = told()
    data = [["phy", 2], ["eth1", ["set", []]], [CALLED.gateway, 2]]
    given["learned"]["ofports"][""] = json.dumps({"data": data})
    assert forwarding.fdb(seen(given)).rows == forwarding.fdb(seen()).rows


def test_fdb_of_both_kinds_of_bridge() -> None:
    table = forwarding.fdb(seen())
    assert table.rows == (
        ("br-example", OTHER, "unknown", "", "br-example", "bridge br-example", "learned"),
        ("br-example", GATEWAY, "router gateway", "", "phy", "", "learned"),
        ("br-int", ROUTER, "VPC router", "", "port 9", "", "learned"),
        ("br-int", GATEWAY, "router gateway", "1", CALLED.gateway, "router gateway", "static"),
        ("br-l", REGISTERED, "provider NIC", "1", "tap1", "", "static"),
        ("br-l", ROUTER, "VPC router", "", "eth1", "provider NIC", "learned"),
        ("br-l", "aa:00:00:00:00:03", "unknown", "", "eth1", "provider NIC", "own"),
    )
    frame = table.frame
    assert [None if age != age else int(age) for age in frame["age"].astype("float")] == [
        1, 7, 0, None, None, None, None
    ]  # fmt: skip


def test_routes_of_the_vpc_and_of_each_place() -> None:
    rows = forwarding.routes(seen()).rows
    assert rows == (
        ("VPC", "172.16.0.0/16", "VPC", "local", "inside the VPC", ""),
        ("VPC", "default", "", "igw-1", "internet gateway", ""),
        ("host", "default", "", "172.16.10.1", "VPC router", "eth0"),
        ("router", "default", "", "172.16.20.1", "VPC router", CALLED.gateway),
        ("router", "172.16.20.0/24", "provider subnet", "", "the network itself", CALLED.gateway),
        ("vm1", "default", "", "192.168.20.1", "router tenant port", "eth0"),
    )


def test_routes_that_lead_to_nobody_or_to_several() -> None:
    sight = seen()
    router = next(name for name, words in sight.places.items() if words == "router")
    spaces = sight.host.namespaces
    hops = [{"gateway": "172.16.20.1", "dev": "a"}, {"gateway": "172.16.20.9", "dev": "b"}]
    ways = (
        {"dst": "10.1.0.0/16", "type": "blackhole", "flags": []},
        {"dst": "10.2.0.0/16", "type": "unreachable", "flags": []},
        {"dst": "10.3.0.0/16", "nexthops": hops, "flags": []},
    )
    told_router = replace(spaces[router], routes=ways)
    host = replace(sight.host, namespaces={**spaces, router: told_router})
    vpc = (("10.4.0.0/16", "blackhole nat-1"), ("10.5.0.0/16", "nat-2"), ("10.6.0.0/16", "eni-1"))
    rows = [row for row in forwarding.routes(replace(sight, host=host, routes=vpc)).rows]
    assert [row for row in rows if row[0] in ("VPC", "router")] == [
        ("VPC", "10.4.0.0/16", "unknown", "blackhole nat-1",
         "blackhole: the NAT gateway is gone", ""),
        ("VPC", "10.5.0.0/16", "unknown", "nat-2", "NAT gateway", ""),
        ("VPC", "10.6.0.0/16", "unknown", "eni-1", "network interface", ""),
        ("router", "10.1.0.0/16", "unknown", "blackhole", "dropped, and nobody is told", ""),
        ("router", "10.2.0.0/16", "unknown", "unreachable", "refused: host unreachable", ""),
        ("router", "10.3.0.0/16", "unknown", "172.16.20.1, 172.16.20.9", "VPC router, unknown",
         "a, b"),
    ]  # fmt: skip


def test_nat_of_the_vpc_and_of_the_router() -> None:
    table = forwarding.nat(seen())
    assert table.rows == (
        ("VPC", "DNAT", "to 203.0.113.11", "to 172.16.20.101", "router gateway"),
        ("VPC", "SNAT", "from 172.16.20.101", "from 203.0.113.11", "provider NIC's Elastic IP"),
        ("router", "DNAT", "-d 172.16.20.101/32 -p tcp --dport 522", "to 192.168.20.5:22", "vm1"),
        ("router", "SNAT", f"-o {CALLED.gateway}", "from 172.16.20.101", "router gateway"),
        ("router", "MASQUERADE", "everything", "from the interface's own address", ""),
    )
    assert "neutron-l3-agent-snat" in list(table.frame["chain"])


def test_a_real_openstack_by_the_names_that_neutron_gave() -> None:
    given, called = real()
    found = seen(given, called, cloud="openstack")
    assert found.owners.mac(CALLED.vm_mac) == "vm1"  # no interface of the host tells
    assert found.owners.address("192.168.20.5") == "vm1"
    assert found.owners.mac(OTHER) == "DHCP server"
    assert [row[0] for row in state.arp(found).rows if row[1] == "192.168.20.2"] == ["DHCP"]
    assert {row[0] for row in state.links(found).rows} == {"host", "router", "DHCP", "qrouter-2"}


def test_drops_show_whether_and_keep_how_many() -> None:
    before, after = (
        state.drops({"mac": n, "arp": 0, "ip": ip, "acl": 0, "group": ip, "no_eip": 0})
        for n, ip in ((2, 0), (5, 1))
    )
    assert [row[-1] for row in before.rows] == ["some", *["none"] * 5]
    assert list(before.frame["frames"]) == [2, 0, 0, 0, 0, 0]
    assert [(row[1], row[-1]) for row in before.diff(after).rows] == [
        ("mac", "some → more"),
        ("ip", "none → some"),
        ("group", "none → some"),
    ]
    assert [row[-1] for row in after.diff(before).rows] == [
        "some → fewer", "some → none", "some → none",
    ]  # fmt: skip
    assert not before.diff(before)


def test_drops_have_every_reason_that_a_capture_shows() -> None:
    assert state.REASONS.keys() == live.REASONS.keys()


def test_where_nobody_can_count_the_table_is_empty_and_says_why() -> None:
    table = state.drops(None)
    assert table.rows == ()
    assert "here nobody can count them" in table.caption
    assert table.frame.empty
    assert not table.diff(table)


def test_before_there_is_a_router_the_tables_have_what_there_is() -> None:
    given = told()
    given["namespaces"] = {"": given["namespaces"][""]}
    given["learned"], given["openvswitch"], given["fdb"] = {}, None, []
    found = seen(given)
    assert [row[0] for row in state.arp(found).rows] == ["VPC", "VPC", "host"]
    assert found.owners.address("172.16.20.101") == "provider NIC"
    assert forwarding.fdb(found).rows == ()


@pytest.mark.parametrize("text", ["<html>", "{", '"words"', "[1]", "[[]]", "{}x", "\x00", "null"])
def test_neighbours_that_cannot_be_read_are_an_error_that_says_which(text: str) -> None:
    given = told()
    given["learned"]["neighbours"][CALLED.router_netns] = text
    with pytest.raises(StepFailed, match="cannot be read") as caught:
        seen(given)
    assert f"-n {CALLED.router_netns} -4 -j neigh" in caught.value.next


@pytest.mark.parametrize(
    ("kind", "name", "text"),
    [
        ("switches", "br-int", "head\nno table\n"),
        ("switches", "br-int", "head\n 1 0 02:00:00:00:00 3\n"),
        ("switches", "br-int", "head\n x 0 02:00:00:00:00:01 3\n"),
        ("ofports", "", "{"),
        ("ofports", "", '{"data": [1]}'),
        ("ofports", "", "[3]"),
    ],
)
def test_a_switch_that_cannot_be_read_is_an_error(kind: str, name: str, text: str) -> None:
    given = told()
    given["learned"][kind][name] = text
    with pytest.raises(StepFailed, match="cannot be read"):
        forwarding.fdb(seen(given))


def test_a_rule_that_cannot_be_read_is_an_error() -> None:
    given = told()
    given["namespaces"][CALLED.router_netns]["iptables"] = "*nat\n-A X -j SNAT --comment 'open\n"
    with pytest.raises(StepFailed, match="iptables-save"):
        forwarding.nat(seen(given))


def site(answer: Any) -> Any:
    """Give a site whose instance's probe tells so."""
    host = SimpleNamespace(script=lambda *_, **__: copy.deepcopy(answer))
    return SimpleNamespace(settings=Settings(), instance=SimpleNamespace(host=host, ec2=books()))


@pytest.mark.parametrize("answer", [None, [], "words", {}, {"openvswitch": 3}])
def test_a_probe_that_tells_nonsense_is_our_own_error(answer: Any) -> None:
    with pytest.raises(StepFailed):
        sight.show(site(answer), state.arp)


def broken(value: Any, dice: random.Random) -> Any:
    """Put nonsense in one place of what was told."""
    if isinstance(value, dict) and value and dice.random() < 0.9:
        key = dice.choice(sorted(value))
        return {**value, key: broken(value[key], dice)}
    if isinstance(value, list) and value and dice.random() < 0.9:
        at = dice.randrange(len(value))
        return [*value[:at], broken(value[at], dice), *value[at + 1 :]]
    return dice.choice([None, 7, "", "words\x00<b>", [], {}, [1], {"x": []}, -1.5, True])


@pytest.mark.parametrize("name", TABLES)
def test_nonsense_in_any_place_is_a_table_or_our_own_error(name: str) -> None:
    for seed in range(100):
        answer = broken(told(), random.Random(seed))
        try:
            table = sight.show(site(answer), TABLES[name])
        except LabError:
            continue
        assert repr(table)
        assert len(table.frame) == len(table.rows)


@pytest.mark.parametrize("name", TABLES)
def test_the_frame_has_a_row_for_each_shown_and_says_its_columns(name: str) -> None:
    table = TABLES[name](seen())
    assert list(table.frame.columns) == list(table.wide)
    assert len(table.frame) == len(table.rows)
    assert repr(TABLES[name](seen())) == repr(table)
