"""Hold tables of frames and neighbours against what may and may not be seen in them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from osawslab.observe.conversation import COLUMNS, conversation, frame, neighbours, owner
from osawslab.observe.pcap import BROADCAST, Frame

NIC, GATEWAY, ROUTER = "02:aa:00:00:00:01", "fa:16:3e:00:00:01", "02:00:00:00:00:01"
OWNERS = {NIC: "provider NIC", GATEWAY: "router gateway", ROUTER.upper(): "VPC router"}
ASK = Frame(1.0, 42, GATEWAY, BROADCAST, "ARP", "172.16.20.101", "172.16.20.1", says="who-has")
PING = Frame(2.0, 98, GATEWAY, ROUTER, "ICMP", "172.16.20.101", "8.8.8.8", says="echo request")
SYN = Frame(
    3.0, 74, ROUTER, NIC, "TCP", "203.0.113.250", "172.16.20.101", 40000, 522, "SYN", None, 77
)


def test_equal_frames_are_one_row_in_order_of_first_appearance() -> None:
    again = [replace(PING, time=each, ident=each, seq=each, length=each) for each in range(3, 6)]
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
        ({"time": 9.0}, 1),
        ({"length": 1}, 1),
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
    ],
)
def test_what_makes_another_row(change: dict[str, Any], rows: int) -> None:
    table = conversation([SYN, replace(SYN, **change)], owners=OWNERS, caption="")
    assert len(table.rows) == rows


def test_ports_of_services_are_shown_and_ports_by_chance_are_not() -> None:
    ((*_, source, destination, says),) = conversation([SYN], owners={}, caption="").rows
    assert (source, destination, says) == ("203.0.113.250", "172.16.20.101:522", "SYN")


def test_a_push_is_no_other_word() -> None:
    said = [replace(SYN, says=says) for says in ("ACK", "PSH ACK", "FIN PSH ACK", "FIN ACK")]
    rows = conversation(said, owners={}, caption="").rows
    assert [row[-1] for row in rows] == ["ACK", "FIN ACK"]


def test_verdicts_are_a_column_and_part_of_what_is_equal() -> None:
    table = conversation(
        [PING, PING, replace(PING, seq=2)],
        owners=OWNERS,
        verdicts=lambda each: "passes" if each.seq == 2 else "dropped: mac",
        caption="",
    )
    assert table.columns[-1] == "verdict"
    assert [row[-1] for row in table.rows] == ["dropped: mac", "passes"]


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
    ((*_, to, _, _, _, _),) = conversation([replace(PING, dst_mac="")], owners={}, caption="").rows
    assert to == ""


def test_frame_has_everything() -> None:
    shown = frame([ASK, SYN], OWNERS)
    assert tuple(shown.columns) == COLUMNS
    row = shown.iloc[1]
    assert (row["time"], row["length"], row["sport"], row["seq"]) == (3.0, 74, 40000, 77)
    assert (row["src_owner"], row["dst_owner"]) == ("VPC router", "provider NIC")
    assert str(shown["seq"].dtype) == "Int64"
    assert shown["sport"].isna().tolist() == [True, False]


def test_frame_of_nothing_has_the_same_columns_and_types() -> None:
    none, some = frame([], OWNERS), frame([ASK], OWNERS)
    assert tuple(none.columns) == COLUMNS
    assert none.dtypes[["time", "seq"]].equals(some.dtypes[["time", "seq"]])


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
