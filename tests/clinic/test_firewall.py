"""Packets led through rules and flows, and frames told; without a lab."""

from __future__ import annotations

import pytest

from osawslab.clinic import firewall, hear
from osawslab.clinic.firewall import Packet
from osawslab.clinic.seen import Said
from osawslab.clinic.traces import dropper, reaches

RULES = firewall.read(
    "*mangle\n:PREROUTING ACCEPT [0:0]\n:scope - [0:0]\n-A PREROUTING -j scope\n"
    "-A scope -i qg-1 -j MARK --set-xmark 0x2/0xffff\nCOMMIT\n*filter\n:FORWARD DROP [0:0]\n"
    "-A FORWARD ! -s 10.0.0.0/8 -p tcp -m tcp --dport 22:25 -j ACCEPT\n"
    "-A FORWARD -m mark ! --mark 0x2/0xffff -j ACCEPT\nCOMMIT\n"
)


@pytest.mark.parametrize(
    ("packet", "dropped"),
    [
        (Packet("192.0.2.1", "10.0.0.1", "qg-1", protocol="tcp", port=23), False),
        (Packet("192.0.2.1", "10.0.0.1", "qg-1", protocol="tcp", port=26), True),
        (Packet("10.0.0.9", "10.0.0.1", "qg-1", protocol="tcp", port=23), True),
        (Packet("10.0.0.9", "192.0.2.1", "qr-1"), False),
    ],
)
def test_a_packet_is_led_through_the_rules(packet: Packet, dropped: bool) -> None:
    hooks = (("mangle", "PREROUTING"), ("filter", "FORWARD"))
    assert RULES.passes(packet, *hooks).dropped is dropped


UNSURE = firewall.read(
    "*filter\n:FORWARD ACCEPT [0:0]\n"
    "-A FORWARD -s 10.0.0.0/8 -m set --match-set good src -j ACCEPT\n"
    "-A FORWARD -p tcp -m connmark --mark 0x1 -j LOG\n"
    "-A FORWARD -p tcp -m tcp --sport 80 -m comment --comment -i -j DROP\nCOMMIT\n"
)


@pytest.mark.parametrize(
    ("packet", "dropped", "unsure"),
    [
        (Packet("10.0.0.9", "192.0.2.1", protocol="tcp", source=80), True, 1),
        (Packet("192.0.2.9", "192.0.2.1", protocol="tcp", source=80), True, 0),
        (Packet("10.0.0.9", "192.0.2.1", protocol="tcp", source=81), False, 1),
        (Packet("192.0.2.9", "192.0.2.1"), False, 0),
    ],
)
def test_what_cannot_be_judged_is_told(packet: Packet, dropped: bool, unsure: int) -> None:
    found = UNSURE.passes(packet, ("filter", "FORWARD"))
    assert (found.dropped, len(found.unsure)) == (dropped, unsure)


def test_a_trace_tells_who_gets_a_frame_without_a_tag() -> None:
    trace = Said("", 0, "Datapath actions: push_vlan(vid=1,pcp=0),a,pop_vlan,eth1", "")
    assert reaches(trace) == ["eth1"]
    lost = 'bridge("br-x")\n---\n 0. in_port="e",dl_vlan=1, priority 9\n    drop\n'
    assert dropper(lost) == ("br-x", "priority=9,in_port=e,dl_vlan=1")


def test_a_frame_is_told() -> None:
    arp = bytes.fromhex("ffffffffffff0200000000050806000108000604000102000000000" "5" "0a000209"
                        "000000000000" "0a000201")  # fmt: skip
    assert hear.told(arp) == [
        "02:00:00:00:00:05",
        "ff:ff:ff:ff:ff:ff",
        "arp who-has",
        "10.0.2.9",
        "10.0.2.1",
    ]


def test_who_knocks_is_told() -> None:
    head = bytes.fromhex("020000000005020000000001" "0800" "46" + 8 * "00" + "06" + 4 * "00"
                         )[:24] + bytes.fromhex("0000")  # fmt: skip
    addresses = bytes.fromhex("c000024d0a000209" + 8 * "0")  # and an option
    asks = bytes.fromhex("c350020a" + 16 * "0" + "5002")
    assert hear.told(head + addresses + asks)[2:] == ["tcp syn 522", "192.0.2.77", "10.0.2.9"]
    answers = bytes.fromhex("020ac350" + 16 * "0" + "5012")
    assert hear.told(head + addresses + answers)[2] == "tcp syn-ack 522"
