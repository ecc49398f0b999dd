"""The flows that translate MACs: four for each address, and read as any ovs-ofctl prints them."""

from __future__ import annotations

import pytest

from osawslab.cloud import mac_nat
from osawslab.host.facts import Bridge

NIC, MAC = "eth1", "02:00:00:00:20:65"
PAIRS = [(f"172.16.20.{101 + n}", f"fa:16:3e:00:00:0{n // 2}") for n in range(6)]


@pytest.mark.parametrize("count", [0, 1, 2, 6])
def test_flows_grow_linearly_with_addresses(count: int) -> None:
    found = mac_nat.flows(PAIRS[:count], MAC, NIC)
    assert len({flow.key for flow in found}) == len(found) == 4 * count


def test_each_address_has_the_mac_of_its_own_router() -> None:
    for address, mac in PAIRS:
        home = [
            flow
            for flow in mac_nat.flows(PAIRS, MAC, NIC)
            if f"nw_dst={address}" in flow.match.split(",")
            or f"arp_tpa={address}" in flow.match.split(",")
        ]
        assert len(home) == 2
        assert all(f"mod_dl_dst:{mac}," in flow.actions for flow in home)


@pytest.mark.parametrize(
    ("near", "nic", "sha"),
    [
        ('"nat-ex"', "eth1", "load:0x20000002065->NXM_NX_ARP_SHA[]"),
        ("nat-ex", '"eth1"', f"set_field:{MAC}->arp_sha"),
        ("2", "1", "load:0x20000002065->NXM_NX_ARP_SHA[]"),  # the ports are gone for a moment
    ],
)
def test_a_flow_is_known_in_each_way_it_is_printed(near: str, nic: str, sha: str) -> None:
    line = (
        f" cookie=0x0, table=0, priority=20,arp,in_port={near},arp_spa=172.16.20.101"
        f" actions=mod_dl_src:{MAC},{sha},output:{nic}"
    )
    [found] = mac_nat.read(Bridge({}, "netdev", (line,)), {"1": NIC, "2": mac_nat.NEAR})
    wanted = {flow.key for flow in mac_nat.flows(PAIRS[:1], MAC, NIC)}
    assert found.key in wanted
    wrong = Bridge({}, "netdev", (line.replace("20.101", "20.109"),))
    assert mac_nat.read(wrong, {"1": NIC, "2": mac_nat.NEAR})[0].key not in wanted


def test_arp_is_rewritten_inside_too() -> None:
    flows = mac_nat.flows(PAIRS[:1], MAC, NIC)
    arp = [flow.actions for flow in flows if ",arp," in flow.match]
    assert [part for each in arp for part in each.split(",") if "arp_" in part] == [
        f"set_field:{MAC}->arp_sha",
        f"set_field:{PAIRS[0][1]}->arp_tha",
    ]
