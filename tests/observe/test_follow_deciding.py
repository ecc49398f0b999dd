"""The entry that decided about a frame: the right one of each table, and none where none tells."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sights import CALLED, MANAGEMENT, REGISTERED, ROUTER, seen, told
from wayfarer import REFUSED, Frame, capture, login, there, welcome, who_has

from osawslab.observe import tracked
from osawslab.observe.deciding import Facts, decide
from osawslab.observe.natrules import Meeting, fits
from osawslab.observe.seen import Seen, of_capture, of_row
from osawslab.observe.tracked import Flow

VM, TENANT, GATEWAY = CALLED.vm_mac, CALLED.inner_mac, CALLED.gateway_mac
EVERYBODY = "ff:ff:ff:ff:ff:ff"
OUT = Seen("", "", GATEWAY, ROUTER, "ICMP", "172.16.20.101", "8.8.8.8", 9, 9)
IN = OUT._replace(src="8.8.8.8", dst="172.16.20.101", src_mac=ROUTER, dst_mac=REGISTERED,
                  opens=False)  # fmt: skip
INNER = OUT._replace(src="192.168.20.5", src_mac=VM, dst_mac=TENANT, sport=7, dport=7)
SSH = IN._replace(protocol="TCP", src="198.51.100.7", sport=40501, dport=522, opens=True)
ASKS = OUT._replace(protocol="ARP", dst="172.16.20.1", dst_mac=EVERYBODY, sport=None, dport=None)
WELCOME = SSH._replace(src="192.168.20.5", dst="198.51.100.7", sport=22, dport=40501, src_mac=VM,
                       opens=False)  # fmt: skip
TRACKED = tracked.read(
    {
        CALLED.router_netns: "ipv4 2 icmp 1 22 src=192.168.20.5 dst=8.8.8.8 type=8 code=0 id=7"
        " src=8.8.8.8 dst=172.16.20.101 type=0 code=0 id=9 mark=0 zone=0 use=2\n"
        "tcp      6 118 TIME_WAIT src=198.51.100.7 dst=172.16.20.101 sport=40501 dport=522"
        " src=192.168.20.5 dst=198.51.100.7 sport=22 dport=40501 [ASSURED] mark=0 use=2\n"
    }
)

ALL, HIGH = "0.0.0.0/0", {"From": 1024, "To": 65535}
ACL = [
    {"RuleNumber": number, "Egress": egress, "RuleAction": action, "Protocol": protocol,
     "CidrBlock": to, **more}
    for number, egress, action, protocol, to, more in (
        (32767, True, "deny", "-1", ALL, {}),
        (32767, False, "deny", "-1", ALL, {}),
        (100, True, "allow", "-1", ALL, {}),
        (95, False, "allow", "6", ALL, {"PortRange": HIGH}),
        (95, False, "allow", "1", ALL, {"IcmpTypeCode": {"Type": -1, "Code": -1}}),
        (90, True, "deny", "1", "8.0.0.0/8", {}),
        (80, True, "allow", "1", "8.0.0.0/8", {"IcmpTypeCode": {"Type": 0, "Code": -1}}),
        (70, True, "allow", "1", "9.0.0.0/8", {}),
    )
]  # fmt: skip


def lab(swapped: bool = False, **learned: Any) -> Facts:
    given = told(gateway=REGISTERED if swapped else GATEWAY)
    router = given["namespaces"][CALLED.router_netns]
    router["forward"] = "1"
    given["learned"]["neighbours"][CALLED.router_netns] = json.dumps(
        [{"dst": "172.16.20.1", "dev": CALLED.gateway, "lladdr": ROUTER, "state": ["STALE"]}]
        if swapped
        else [{"dst": "172.16.20.1", "dev": CALLED.gateway, "state": ["FAILED"]}]
    )
    return Facts(seen(given), TRACKED, {"provider NIC": ACL})


@pytest.mark.parametrize(
    ("frame", "swapped", "where", "entry", "so"),
    [
        (INNER._replace(point="vm1", direction="out"), True,
         "vm1, routes", "default via 192.168.20.1 dev eth0", "goes to 192.168.20.1"),
        (INNER._replace(point="router tenant port", direction="in"), True,
         "router, NAT rules", "SNAT from 172.16.20.101", "source becomes 172.16.20.101"),
        (OUT._replace(point="router gateway", direction="out"), True,
         "router, neighbours (ARP)", f"172.16.20.1 is at {ROUTER}", "sent to VPC router"),
        (OUT._replace(point="provider NIC", direction="out", src_mac=REGISTERED), True,
         "VPC, registered pairs", f"provider NIC: {REGISTERED} with 172.16.20.101",
         "MAC and address are registered: let through"),
        (OUT._replace(point="provider NIC", direction="out"), False,
         "VPC, registered pairs", f"provider NIC: {REGISTERED} with 172.16.20.101",
         f"MAC {GATEWAY} is not registered: AWS drops it, and tells nobody"),
        (OUT._replace(point="VPC", direction="in", verdict="dropped by the VPC: MAC"), False,
         "VPC, registered pairs", REGISTERED, f"MAC {GATEWAY} is not registered: dropped"),
        (OUT._replace(point="VPC drops", verdict="dropped by the VPC: MAC"), False,
         "VPC, registered pairs", REGISTERED, f"MAC {GATEWAY} is not registered: dropped"),
        (OUT._replace(point="VPC drops", src_mac=REGISTERED, src="172.16.20.9",
                      verdict="dropped by the VPC: source address not registered"), True,
         "VPC, registered pairs", REGISTERED, "address 172.16.20.9 is not registered: dropped"),
        (OUT._replace(point="VPC drops", src_mac=REGISTERED,
                      verdict="dropped by the VPC: no rule of a security group lets it through"),
         True, "VPC, security group", "no rule", "dropped by the VPC"),
        (OUT._replace(point="provider NIC", direction="out", src_mac=REGISTERED,
                      verdict="dropped by the VPC: the subnet's network ACL denies it"),
         True, "VPC, network ACL", "rule 90 out: deny ICMP to 8.0.0.0/8", "ACL denies it"),
        (SSH._replace(point="VPC drops", direction="", src_mac=ROUTER,
                      verdict="dropped by the VPC: the subnet's network ACL denies it"),
         True, "VPC, network ACL", "rule * in: deny everything from 0.0.0.0/0", "ACL denies it"),
        (ASKS._replace(point="provider NIC", direction="out", src_mac=REGISTERED,
                       src="172.16.20.9"), True,
         "VPC, registered pairs", REGISTERED, "ARP speaks for 172.16.20.9: AWS drops it"),
        (ASKS._replace(point="router gateway", direction="out"), False,
         "router, neighbours (ARP)", "172.16.20.1 has no MAC yet", "everybody is asked"),
        (OUT._replace(point="VPC", direction="in", src_mac=REGISTERED), True,
         "VPC, Elastic IPs", "203.0.113.11 is 172.16.20.101", "becomes 203.0.113.11"),
        (OUT._replace(point="VPC", direction="in", src_mac=REGISTERED, dst="172.16.10.101"), True,
         "VPC, routes", "172.16.0.0/16 local", "its network is here"),
        (OUT._replace(point="VPC management", direction="in", src_mac=MANAGEMENT,
                      src="172.16.10.101"), True,
         "VPC, Elastic IPs", "none for 172.16.10.101", "no way to the internet: dropped"),
        (OUT._replace(point="management NIC", direction="out", src_mac=MANAGEMENT,
                      src="172.16.10.101", verdict="dropped by the VPC: no Elastic IP"), True,
         "VPC, Elastic IPs", "none for 172.16.10.101", "no way to the internet: dropped"),
        (OUT._replace(point="VPC drops", src_mac=MANAGEMENT, src="172.16.10.101",
                      verdict="dropped by the VPC: no Elastic IP"), True,
         "VPC, Elastic IPs", "none for 172.16.10.101", "no way to the internet: dropped"),
        (SSH._replace(point="internet", direction="out", dst="203.0.113.11"), True,
         "VPC, Elastic IPs", "203.0.113.11 is 172.16.20.101", "becomes 172.16.20.101"),
        (SSH._replace(point="VPC", direction="out"), True,
         "VPC, registered pairs", REGISTERED, "handed to the provider NIC"),
        (SSH._replace(point="router gateway", direction="in"), True,
         "router, NAT rules", "--dport 522 DNAT to 192.168.20.5:22", "becomes 192.168.20.5:22"),
        (IN._replace(point="router gateway", direction="in"), True,
         "router, NAT rules", "SNAT from 172.16.20.101", "undone for the answer"),
        (WELCOME._replace(point="router tenant port", direction="in"), True,
         "router, NAT rules", "--dport 522 DNAT to 192.168.20.5:22", "undone for the answer"),
        (IN._replace(point="provider NIC", direction="in"), True,
         "host, FDB of br-example", f"{REGISTERED} at phy (learned)", "handed to phy"),
        (IN._replace(point="provider NIC", direction="in", dst_mac="02:00:00:00:00:99"), True,
         "host, FDB of br-example", "none for 02:00:00:00:00:99", "handed to all ports"),
        (ASKS._replace(point="eth1", direction="in"), True,
         "host, FDB of br-example", "a frame to a group", "handed to all ports"),
        (IN._replace(point="vm1", direction="in", dst="192.168.20.5", dst_mac=VM), True,
         "vm1, addresses", "192.168.20.5/24 on eth0", "it has arrived"),
        (ASKS._replace(point=CALLED.gateway, direction="in", dst="172.16.20.101"), True,
         "router, addresses", "172.16.20.101/24", "it is for this interface"),
    ],
)  # fmt: skip
def test_the_one_entry(frame: Seen, swapped: bool, where: str, entry: str, so: str) -> None:
    found = decide(lab(swapped), frame)
    assert found is not None
    assert f"{found.where}, {found.table}" == where
    assert entry in found.entry
    assert so in found.so
    assert "40501" not in str(found)


def test_a_network_acl_that_nobody_has_read_is_named_without_its_rule() -> None:
    verdict = "dropped by the VPC: the subnet's network ACL denies it"
    frame = OUT._replace(point="provider NIC", direction="out", src_mac=REGISTERED, verdict=verdict)
    found = decide(Facts(lab(True).sight), frame)
    assert found == ("VPC", "network ACL", "a rule of the subnet's denies it", verdict)


@pytest.mark.parametrize(
    "frame",
    [
        OUT._replace(point="internet", direction="in"),
        OUT._replace(point="nobody knows it", direction="in"),
        OUT._replace(point="VPC", direction="out"),
        OUT._replace(point="cable to vm1", direction="out"),
        OUT._replace(point=""),
    ],
)
def test_none_where_no_fact_tells(frame: Seen) -> None:
    assert decide(lab(True), frame) is None


def test_an_answer_that_nobody_tracked_is_told_from_what_it_became() -> None:
    facts = Facts(lab(True).sight)
    answer = WELCOME._replace(point="router tenant port", direction="in")
    found = decide(facts, answer)
    assert found is not None
    assert found.table == "routes"  # not the SNAT rule, which fits its addresses
    found = decide(facts, answer, Flow("172.16.20.101", 522, "198.51.100.7", 40501))
    assert found is not None
    assert "DNAT to 192.168.20.5:22" in found.entry
    first = decide(facts, INNER._replace(point="router tenant port", direction="in"))
    assert first is not None
    assert "SNAT" in first.entry  # an echo request is nobody's answer


def test_of_two_rules_that_fit_it_is_the_one_whose_port_came_out() -> None:
    given = told()
    space = given["namespaces"][CALLED.router_netns]
    space["forward"] = "1"
    first = "-A PREROUTING -d 172.16.20.101/32 -p tcp -j DNAT --to-destination 192.168.20.5:23\n"
    space["iptables"] = space["iptables"].replace("*nat\n", f"*nat\n{first}")
    facts = Facts(seen(given))
    ssh = SSH._replace(point="router gateway", direction="in")
    found = decide(facts, ssh, Flow("198.51.100.7", 40501, "192.168.20.5", 22))
    assert found is not None
    assert found.entry.endswith("to 192.168.20.5:22")
    found = decide(facts, ssh)
    assert found is not None
    assert found.entry.endswith("to 192.168.20.5:23")  # the first one counts


@pytest.mark.parametrize(
    ("matches", "holds"),
    [
        ("everything", True),
        ("-s 192.168.20.0/24", True),
        ("! -s 192.168.20.0/24", False),
        ("-s 192.168.20.0/24 -d 10.0.0.0/8", False),
        ("-p tcp -m tcp --sport 1024:65535 --dport 522", True),
        ("-p udp -m udp --dport 522", False),
        ("-o qg-1 -m comment --comment \"a 'b' c\"", True),
        ("-o qg+", True),
        ("-i qg-1", False),
        ("! -i qg-1", True),
        ("-m mark ! --mark 0x2/0xffff", False),
        ("-m conntrack --ctstate DNAT", False),
        ("-d", False),
    ],
)
def test_rules_fit(matches: str, holds: bool) -> None:
    met = Meeting("192.168.20.5", "198.51.100.7", "tcp", "40501", "522", "qr-1", "qg-1")
    assert fits(matches, met) is holds


def test_tracking_is_read_as_the_kernel_and_the_program_print_it() -> None:
    ping, ssh = TRACKED
    inside, outside = Flow("192.168.20.5", 7, "8.8.8.8", 7), Flow("172.16.20.101", 9, "8.8.8.8", 9)
    assert (ping.before, ping.after) == (inside, outside)
    assert ping.other(inside) == outside
    assert ping.other(outside.back) == inside.back
    assert ping.other(ssh.before) is None
    assert ssh.after == Flow("198.51.100.7", 40501, "192.168.20.5", 22)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "conntrack v1.4.7 (conntrack-tools): 3 flow entries have been shown.",
        "udp 17 20 src=1.1.1.1 dst=2.2.2.2 sport=1 dport=53 src=2.2.2.2 dst=1.1.1.1 sport=53",
        "tcp 6 1 SYN_SENT src=1.1.1.1 dst=2.2.2.2 sport=x dport=53 src=2.2.2.2 dst=1.1.1.1"
        " sport=53 dport=9",
        "icmp 1 src=1.1.1.1",
    ],
)
def test_what_is_no_entry_is_left_out(line: str) -> None:
    assert tracked.read({"router": line}) == ()


def test_tracking_decides_where_two_fit() -> None:
    other = [each.but(src="192.168.20.6", ports=(8, 8)) for each in there()[:2]]
    made = capture([*there()[:2], *other, *there()[2:]])
    assert made.follow(0).ambiguous
    assert made.follow(0).caption.endswith("connection tracking might, and none was to be read")
    assert not made.knowing(Facts(lab(True).sight)).follow(0).tracked
    followed = made.knowing(lab(True)).follow(0)
    assert followed.tracked
    assert not followed.ambiguous
    assert [hop.row for hop in followed.hops if hop.way == "asks"] == [0, 1, 4, 5, 6, 7]


def test_another_identification_is_another_packet_whatever_tracking_says() -> None:
    far = [each.but(ip_id=1234) for each in there()[2:]]
    made = capture([*there()[:2], *far])
    assert len(made.follow(0).hops) == 2
    assert len(made.knowing(lab(True)).follow(0).hops) == 2


def test_a_followed_packet_says_what_decided_at_each_hop() -> None:
    followed = capture([*login(), *welcome()]).knowing(lab(True)).follow()
    decided = {(hop.way, hop.at): str(hop.decided or "") for hop in followed.hops}
    assert "DNAT to 192.168.20.5:22" in decided["asks", "router gateway"]
    assert "Elastic IPs: 203.0.113.11" in decided["asks", "internet"]
    assert "DNAT to 192.168.20.5:22" in decided["answers", "router tenant port"]
    assert followed.columns[-1] == "decided by"
    assert followed.rows[0][-1].endswith("203.0.113.11 becomes 172.16.20.101")


def test_where_nobody_records_drops_the_books_tell_why_there_is_no_answer() -> None:
    """As on AWS: the NIC is the last point, and no frame has a verdict."""
    points = ["router gateway", "provider NIC"]
    asks = [each.but(macs=(GATEWAY, EVERYBODY)) for each in who_has(points)]
    words = f"MAC {GATEWAY} is not registered: AWS drops it, and tells nobody"
    asked = "no answer: who-has 172.16.20.1 tell 172.16.20.101, and nobody says"
    assert capture(asks).knowing(lab()).follow().outcome == f"{asked}; {words}"
    assert capture(asks).follow().outcome == asked
    assert capture([*there()[:2], *asks]).knowing(lab()).follow().outcome == f"{asked}; {words}"


@pytest.mark.parametrize("teller", ["192.168.20.1", "172.16.20.101"])
def test_an_error_of_our_router_says_whose_mac_it_had_asked_for(teller: str) -> None:
    """The kernel asks three times, then tells: a capture may begin after the last one."""
    error = REFUSED.but(src=teller)
    names = "" if teller == "192.168.20.1" else " (router gateway)"
    told = f"an error from {teller}{names}: destination unreachable: host"
    waits = capture([*there()[:2], error])
    assert waits.knowing(lab()).follow().outcome == (
        "the next hop's MAC is not learned: who-has 172.16.20.1,"
        f" asked before this capture, and nobody says; {told}"
    )
    assert waits.follow().outcome == f"no answer, but {told}"
    assert waits.knowing(lab(True)).follow().outcome == f"no answer, but {told}"  # it is known
    far = capture([*there()[:2], error.but(src="10.9.9.9")])
    assert far.knowing(lab()).follow().outcome.startswith("no answer, but an error from 10.9.9.9")


def test_a_neighbour_itself_may_be_waited_for() -> None:
    asks = [each.but(dst="172.16.20.9") for each in there()[:2]]
    arp = who_has(["router gateway"], dst="172.16.20.9")
    assert (
        capture([*asks, *arp])
        .knowing(lab())
        .follow()
        .outcome.startswith("no answer: who-has 172.16.20.9 tell 172.16.20.101, and nobody says")
    )


def test_a_row_of_the_frame_says_the_same_as_the_capture() -> None:
    arp = Frame("VPC", "in", (GATEWAY, EVERYBODY), "172.16.20.101", "172.16.20.1", kind=1,
                protocol="ARP")  # fmt: skip
    made = capture([*there(), *login(), *welcome(), arp])
    for row in range(len(made)):
        assert of_row(made.frame.iloc[row]) == of_capture(made, row)
    assert of_capture(made, 0).opens
    assert not of_capture(made, 12).opens
