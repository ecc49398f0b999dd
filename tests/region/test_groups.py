"""Security groups, held by real packets from the internet and from other instances."""

from __future__ import annotations

import pytest
from wire import PUBLIC, Net


def test_a_security_group_opens_and_closes_a_port(net: Net) -> None:
    before = net.world.region.drops()["group"]
    assert net.tried(80) == "timed out"
    assert net.world.region.drops()["group"] > before
    net.world.allow("tcp", 80)
    assert net.tried(80) == "open"
    assert net.tried(81) == "timed out"
    net.world.revoke("tcp", 80)
    assert net.tried(80) == "timed out"


def test_a_security_group_opens_and_closes_ping(net: Net) -> None:
    assert net.reaches("internet", net.eip)
    assert net.reaches(net.two, net.one.address)
    assert net.reaches(net.far, net.one.address)
    net.world.revoke("icmp", -1)
    assert net.fails("internet", net.eip)
    assert net.fails(net.two, net.one.address)
    assert net.fails(net.far, net.one.address)
    assert net.reaches(net.one, PUBLIC)  # the way out is open, and the answer belongs to it
    net.world.allow("icmp", -1)
    assert net.reaches("internet", net.eip)
    assert net.reaches(net.two, net.one.address)


KNOCK = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), 0.5)
    print("served")
except ConnectionRefusedError:
    print("open")
except TimeoutError:
    print("closed")
"""


@pytest.mark.parametrize("source", ["two", "far"])
def test_a_security_group_holds_between_instances_too(source: str, net: Net) -> None:
    def knock(port: int) -> str:
        place = net.world.netns(getattr(net, source))
        words = ("python3", "-c", KNOCK, net.one.address, str(port))
        return str(net.world.must(place, *words).strip())

    assert knock(80) == "closed"
    net.world.allow("tcp", 80)
    assert knock(80) == "open"
    net.world.revoke("tcp", 80)
    assert knock(80) == "closed"


def test_a_group_may_let_in_the_members_of_a_group(net: Net) -> None:
    members = [
        {
            "IpProtocol": "tcp",
            "FromPort": 80,
            "ToPort": 80,
            "UserIdGroupPairs": [{"GroupId": net.world.group}],
        }
    ]
    ec2, group = net.world.ec2, net.world.group
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=members)
    words = ("python3", "-c", KNOCK, net.one.address, "80")
    assert net.world.must(net.world.netns(net.two), *words) == "open\n"
    assert net.tried(80) == "timed out"
    ec2.revoke_security_group_ingress(GroupId=group, IpPermissions=members)


def test_permissions_may_overlap(net: Net) -> None:
    """What lets somebody in is not less where it is said twice."""
    ec2, group = net.world.ec2, net.world.group
    overlapping = [
        {"IpProtocol": protocol, "FromPort": low, "ToPort": high, "IpRanges": [{"CidrIp": cidr}]}
        for protocol, low, high, cidr in (
            ("tcp", 20, 30, "198.51.100.0/24"),
            ("tcp", 25, 90, "0.0.0.0/0"),
            ("icmp", -1, -1, "198.51.100.0/25"),
            ("-1", -1, -1, "172.16.10.0/24"),
            ("-1", -1, -1, "172.16.10.102/32"),
        )
    ]
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=overlapping)
    assert [net.tried(port) for port in (20, 25, 90, 91)] == ["open"] * 3 + ["timed out"]
    assert net.reaches("internet", net.eip)
    ec2.revoke_security_group_ingress(GroupId=group, IpPermissions=overlapping)
    assert net.tried(90) == "timed out"


def test_what_no_egress_rule_allows_does_not_leave(net: Net) -> None:
    everything = [{"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]
    ec2, group = net.world.ec2, net.world.group
    ec2.revoke_security_group_egress(GroupId=group, IpPermissions=everything)
    assert net.fails(net.one, PUBLIC)
    assert net.fails(net.one, net.far.address)
    assert net.fails(net.one, net.two.address)
    assert net.reaches("internet", net.eip)  # what is let in is answered
    ec2.authorize_security_group_egress(GroupId=group, IpPermissions=everything)
    assert net.reaches(net.one, PUBLIC)
