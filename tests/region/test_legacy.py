"""The router of a kernel whose nftables know bridges only; with packets in `test_uml`."""

from __future__ import annotations

import pytest

from osawslab.region import legacy
from osawslab.region.state import Eni, Entry, Group, Rule

ACL = (
    Entry(False, False, "tcp", 522, 522, "198.51.100.0/24"),
    Entry(False, False, "icmp", 8, 0, "0.0.0.0/0"),
    Entry(True, True, "47", -1, -1, "0.0.0.0/0"),
    Entry(True, False, "-1", -1, -1, "0.0.0.0/0"),
)


def nic(subnet: str, address: str, eip: str = "") -> Eni:
    return Eni(
        id=f"eni-{address}", subnet=subnet, mac="02:00:00:00:00:01", addresses=(address,),
        eips={address: eip} if eip else {}, source_dest_check=True, groups=("sg",),
        instance="i-1", device_index=0,
    )  # fmt: skip


def rules(*ingress: Rule, online: bool = True) -> list[str]:
    group = Group("sg", ingress, (Rule("-1", 0, 65535, "0.0.0.0/0"),))
    enis = [nic("s", "10.0.0.5", "203.0.113.10"), nic("s", "10.0.0.6")]
    return legacy.router(
        enis, {"s"} if online else set(), {"sg": group}, {"sn-s": ACL}
    ).splitlines()


@pytest.mark.parametrize(
    ("rule", "line"),
    [
        (Rule("tcp", 22, 22, "0.0.0.0/0"), "-d 10.0.0.5 -s 0.0.0.0/0 -p tcp --dport 22"),
        (Rule("udp", 20, 30, "10.0.0.0/8"), "-d 10.0.0.5 -s 10.0.0.0/8 -p udp --dport 20:30"),
        (Rule("icmp", -1, -1, "10.0.0.0/8"), "-d 10.0.0.5 -s 10.0.0.0/8 -p icmp"),
        (Rule("-1", 0, 65535, "10.1.0.0/16"), "-d 10.0.0.5 -s 10.1.0.0/16"),
    ],
)
def test_a_rule_lets_in_what_it_names(rule: Rule, line: str) -> None:
    assert f"-A inbound {line} -j ACCEPT" in rules(rule)


def test_an_acl_is_tried_in_its_order_before_connections_are() -> None:
    lines = rules()
    assert [line for line in lines if line.startswith("-A acl_")] == [
        "-A acl_in -o sn-s -s 198.51.100.0/24 -p tcp --dport 522:522 -j drop_acl",
        "-A acl_in -o sn-s -s 0.0.0.0/0 -p icmp --icmp-type 8/0 -j drop_acl",
        "-A acl_out -i sn-s -d 0.0.0.0/0 -p 47 -j RETURN",
        "-A acl_out -i sn-s -d 0.0.0.0/0 -j drop_acl",
    ]
    known = next(number for number, line in enumerate(lines) if "ESTABLISHED" in line)
    assert lines[known - 2 : known] == ["-A FORWARD -j acl_out", "-A FORWARD -j acl_in"]


def test_what_no_rule_names_is_dropped_last_in_a_chain() -> None:
    lines = rules(Rule("tcp", 22, 22, "0.0.0.0/0"))
    for chain, last in (("inbound", "group"), ("outbound", "group"), ("leaving", "no_eip")):
        assert [line for line in lines if f"-A {chain}" in line][-1].endswith(f"-j drop_{last}")


@pytest.mark.parametrize("online", [True, False])
def test_an_elastic_ip_is_translated_where_the_subnet_has_a_way_out(online: bool) -> None:
    lines = rules(online=online)
    for line in (
        "-A PREROUTING -i igw -d 203.0.113.10 -j DNAT --to-destination 10.0.0.5",
        "-A POSTROUTING -o igw -s 10.0.0.5 -j SNAT --to-source 203.0.113.10",
        "-A leaving -s 10.0.0.5 -j RETURN",
    ):
        assert (line in lines) is online
    assert "-A leaving -s 10.0.0.6 -j RETURN" not in lines


def test_the_chains_that_count_are_made_once() -> None:
    assert "drop_group - " in legacy.birth()
    assert not any(line.startswith(":drop_") for line in rules())


def test_counters_are_read_from_what_the_kernel_saved() -> None:
    saved = """\
*filter
:FORWARD DROP [7:1]
[5:420] -A drop_group -j NFLOG --nflog-prefix group --nflog-group 5
[5:420] -A drop_group -j DROP
[0:0] -A drop_no_eip -j DROP
COMMIT
"""
    assert legacy.drops(saved) == {"group": 5, "no_eip": 0}
