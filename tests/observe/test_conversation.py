"""Hold tables of frames and neighbours against what may and may not be seen in them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from osawslab.observe.columns import COLUMNS, Column, Vocabulary
from osawslab.observe.conversation import BROADCAST, SHOWN, Conversation, neighbours, owner
from osawslab.report import Table

NIC, GATEWAY, ROUTER = "02:aa:00:00:00:01", "fa:16:3e:00:00:01", "02:00:00:00:00:01"
OWNERS = {NIC: "provider NIC", GATEWAY: "router gateway", ROUTER: "VPC router"}
Row = dict[str, Any]


def row(src_mac: str, dst_mac: str, protocol: str, src: str, dst: str, **more: Any) -> Row:
    return {"src_mac": src_mac, "dst_mac": dst_mac, "protocol": protocol, "src": src, "dst": dst,
            **more}  # fmt: skip


ASK = row(GATEWAY, BROADCAST, "ARP", "172.16.20.101", "172.16.20.1", says="who-has", time=1)
PING = row(GATEWAY, ROUTER, "ICMP", "172.16.20.101", "8.8.8.8", says="echo request", time=2)
SYN = row(
    ROUTER, NIC, "TCP", "203.0.113.250", "172.16.20.101", sport=40000, dport=522, says="SYN", seq=77
)


def conversation(rows: list[Row], owners: dict[str, str], caption: str = "") -> Table:
    """Show rows as load_capture would hand them over."""
    columns = {}
    for name, meaning in COLUMNS.items():
        values = [each.get(name) for each in rows]
        if name in ("src_owner", "dst_owner"):
            values = [owner(each.get(f"{name[:3]}_mac", ""), owners) for each in rows]
        if meaning.dtype == "category":
            made = Vocabulary()
            codes = [made.code(value) if value else -1 for value in values]
            columns[name] = Column(np.array(codes, np.int32), None, made.words)
        elif meaning.dtype.startswith("UInt"):
            missing = np.array([value is None for value in values], bool)
            numbers = np.array([value or 0 for value in values], meaning.dtype.lower())
            columns[name] = Column(numbers, missing)
    return Conversation(columns).table(caption)


def test_equal_frames_are_one_row_in_order_of_first_appearance() -> None:
    again = [{**PING, "time": each, "ident": each, "seq": each} for each in range(3, 6)]
    table = conversation([ASK, PING, *again, ASK], owners=OWNERS, caption="On eth1")
    assert table.caption == "On eth1"
    assert table.columns == ("from", "to", "protocol", "source", "destination", "says")
    assert table.rows == (
        (
            "fa:16:3e:00:00:01 (router gateway)",
            "ff:ff:ff:ff:ff:ff (everybody)",
            "ARP",
            "172.16.20.101",
            "172.16.20.1",
            "who-has",
        ),
        (
            "fa:16:3e:00:00:01 (router gateway)",
            "02:00:00:00:00:01 (VPC router)",
            "ICMP",
            "172.16.20.101",
            "8.8.8.8",
            "echo request",
        ),
    )


@pytest.mark.parametrize(
    ("change", "rows"),
    [
        ({"time": 9}, 1),
        ({"ident": 9}, 1),
        ({"seq": 9}, 1),
        ({"sport": 50000}, 1),
        ({"sport": 1023}, 2),
        ({"dport": 22}, 2),
        ({"src_mac": NIC}, 2),
        ({"dst_mac": GATEWAY}, 2),
        ({"protocol": "UDP"}, 2),
        ({"src": "203.0.113.251"}, 2),
        ({"dst": "172.16.20.102"}, 2),
        ({"says": "SYN ACK"}, 2),
        ({"point": "eth1"}, 2),
        ({"verdict": "dropped"}, 2),
        ({"inner_says": "SYN"}, 2),
    ],
)
def test_what_makes_another_row(change: dict[str, Any], rows: int) -> None:
    table = conversation([SYN, {**SYN, **change}], owners=OWNERS)
    assert len(table.rows) == rows


def test_ports_of_services_are_shown_and_ports_by_chance_are_not() -> None:
    ((*_, source, destination, says),) = conversation([SYN], owners={}).rows
    assert (source, destination, says) == ("203.0.113.250", "172.16.20.101:522", "SYN")


def test_a_push_is_no_other_word() -> None:
    said = [{**SYN, "says": says} for says in ("ACK", "PSH ACK", "FIN PSH ACK", "FIN ACK")]
    rows = conversation(said, owners={}).rows
    assert [row[-1] for row in rows] == ["ACK", "FIN ACK"]


def test_verdicts_are_a_column_and_part_of_what_is_equal() -> None:
    judged = [{**PING, "verdict": "dropped: mac"}] * 2 + [{**PING, "verdict": "passes"}]
    table = conversation(judged, owners=OWNERS)
    assert table.columns[-1] == "verdict"
    assert [row[-1] for row in table.rows] == ["dropped: mac", "passes"]


def test_where_a_frame_was_seen_is_shown_where_there_are_two_points() -> None:
    here, there = {**PING, "point": "eth1"}, {**PING, "point": "qg-1"}
    assert conversation([here, here], OWNERS).columns[0] == "from"
    table = conversation([here, there, here], OWNERS)
    assert [each[:2] for each in table.rows] == [
        ("eth1", f"{GATEWAY} (router gateway)"), ("qg-1", f"{GATEWAY} (router gateway)"),
    ]  # fmt: skip
    assert table.columns[0] == "at"


def test_what_is_inside_a_tunnel_is_told() -> None:
    inside = {"inner_src": "10.0.0.1", "inner_dst": "10.0.0.2", "inner_says": "PSH ACK"}
    ((*_, says),) = conversation([{**SYN, "says": "VXLAN 42", **inside}], {}).rows
    assert says == "VXLAN 42: 10.0.0.1 to 10.0.0.2 ACK"


def test_an_address_has_its_name_beside_it() -> None:
    ((*_, to, _),) = conversation([{**SYN, "dst_name": "VM"}], {}).rows
    assert to == "172.16.20.101:522 (VM)"


def test_a_long_table_ends_and_says_so() -> None:
    many = [{**PING, "dst": f"10.0.{each}"} for each in range(SHOWN + 5)]
    table = conversation(many, OWNERS, "On eth1")
    assert len(table.rows) == SHOWN
    assert table.caption == f"On eth1 (the first {SHOWN} kinds of {SHOWN + 5})"


def test_no_frames_is_an_empty_table() -> None:
    assert repr(conversation([], owners={}, caption="Nothing")).endswith("(none)")


@pytest.mark.parametrize(
    ("mac", "words"),
    [
        (NIC, "provider NIC"),
        (ROUTER, "VPC router"),
        (BROADCAST, "everybody"),
        ("01:00:5e:00:00:01", "a group"),
        ("0e:00:00:00:00:01", "unknown"),
        ("", ""),
    ],
)
def test_owner(mac: str, words: str) -> None:
    assert owner(mac, OWNERS) == words
    assert owner(mac.upper(), OWNERS) == words


def test_a_missing_mac_shows_nothing() -> None:
    ((*_, to, _, _, _, _),) = conversation([{**PING, "dst_mac": ""}], owners={}).rows
    assert to == ""


@pytest.mark.parametrize(
    ("state", "shown"),
    [
        ("REACHABLE", "usable"),
        ("STALE", "usable"),
        ("DELAY", "usable"),
        ("PROBE", "usable"),
        ("PERMANENT", "usable"),
        ("FAILED", "missing"),
        ("INCOMPLETE", "missing"),
        ("NONE", "missing"),
    ],
)
def test_neighbour_states(state: str, shown: str) -> None:
    row = {"dst": "172.16.20.1", "dev": "eth1", "lladdr": ROUTER, "state": [state]}
    assert neighbours([row], OWNERS).rows == (("172.16.20.1", ROUTER, "VPC router", shown),)


def test_neighbours_are_in_the_order_of_their_addresses() -> None:
    wanted = ["9.0.0.1", "172.16.20.1", "172.16.20.101", "fe80::1"]
    printed = [{"dst": address, "state": ["FAILED"]} for address in reversed(wanted)]
    table = neighbours([*printed, {}, printed[0]], caption="After the swap")
    assert [row[0] for row in table.rows] == wanted
    assert table.caption == "After the swap"
