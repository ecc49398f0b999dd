"""Network ACLs, held by real packets: at a subnet's edge only, each packet, in their order."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from botocore.exceptions import ClientError
from wire import PUBLIC, Net

ALL = "0.0.0.0/0"
WEB, ANSWERS = {"From": 80, "To": 80}, {"From": 1024, "To": 65535}


def acl_of(net: Net) -> dict[str, Any]:
    """Give the VPC's ACL, which both subnets have."""
    own = [{"Name": "vpc-id", "Values": [net.world.vpc]}]
    return dict(net.world.ec2.describe_network_acls(Filters=own)["NetworkAcls"][0])


@contextmanager
def entry(
    net: Net, number: int, action: str, *, egress: bool = False, **given: Any
) -> Iterator[None]:
    """Have the VPC's ACL hold one rule more: for all, unless told."""
    which = {
        "NetworkAclId": acl_of(net)["NetworkAclId"], "RuleNumber": number, "Egress": egress,
    }  # fmt: skip
    rule = {"Protocol": "-1", "CidrBlock": ALL, **given}
    net.world.ec2.create_network_acl_entry(**which, RuleAction=action, **rule)
    try:
        yield
    finally:
        net.world.ec2.delete_network_acl_entry(**which)


def test_the_first_rule_that_fits_decides(net: Net) -> None:
    net.world.allow("tcp", 80)
    assert net.tried(80) == "open"
    before = net.world.region.drops()["acl"]
    with entry(net, 90, "deny", Protocol="6", PortRange=WEB):
        assert net.tried(80) == "timed out"
        assert net.world.region.drops()["acl"] > before
        assert net.reaches("internet", net.eip)
        with entry(net, 80, "allow", Protocol="6", CidrBlock="198.51.100.0/24", PortRange=WEB):
            assert net.tried(80) == "open"
        with entry(net, 95, "allow", Protocol="6", PortRange=WEB):
            assert net.tried(80) == "timed out"
    assert net.tried(80) == "open"
    net.world.revoke("tcp", 80)


def test_no_connection_is_remembered(net: Net) -> None:
    """What a group that keeps state lets back out, an ACL does not."""
    net.world.allow("tcp", 80)
    with entry(net, 90, "deny", egress=True, Protocol="6", PortRange=ANSWERS):
        assert net.tried(80) == "timed out"
        assert net.reaches("internet", net.eip)
    assert net.tried(80) == "open"
    net.world.revoke("tcp", 80)


def test_a_type_of_icmp_may_be_denied(net: Net) -> None:
    request = {"Type": 8, "Code": 0}
    with entry(net, 90, "deny", Protocol="1", IcmpTypeCode=request):
        assert net.fails("internet", net.eip)
        assert net.reaches(net.one, PUBLIC)  # the answer is of another type
    with entry(net, 90, "deny", Protocol="1", IcmpTypeCode={"Type": -1, "Code": -1}):
        assert net.fails(net.one, PUBLIC)


def test_a_rule_that_is_not_there_is_refused_by_its_number(net: Net) -> None:
    which = {"NetworkAclId": acl_of(net)["NetworkAclId"], "RuleNumber": 77, "Egress": True}
    with pytest.raises(ClientError) as refused:
        net.world.ec2.delete_network_acl_entry(**which)
    assert refused.value.response["Error"]["Code"] == "InvalidNetworkAclEntry.NotFound"
    assert "egress rule number 77" in str(refused.value)


def test_inside_a_subnet_an_acl_holds_nothing(net: Net) -> None:
    with entry(net, 90, "deny"), entry(net, 90, "deny", egress=True):
        assert net.reaches(net.one, net.two.address)
        assert net.fails(net.one, net.far.address)
        assert net.fails(net.one, PUBLIC)
    assert net.reaches(net.one, net.far.address)


def test_an_acl_of_its_own_denies_all_that_it_does_not_name(net: Net) -> None:
    ec2 = net.world.ec2
    of_vpc = acl_of(net)
    [link] = [each for each in of_vpc["Associations"] if each["SubnetId"] == net.world.a]
    own = ec2.create_network_acl(VpcId=net.world.vpc)["NetworkAcl"]["NetworkAclId"]
    made = ec2.replace_network_acl_association(
        AssociationId=link["NetworkAclAssociationId"], NetworkAclId=own
    )["NewAssociationId"]
    assert net.fails("internet", net.eip)
    for egress in (True, False):
        ec2.create_network_acl_entry(
            NetworkAclId=own, RuleNumber=1, Egress=egress, Protocol="1", CidrBlock=ALL,
            RuleAction="allow", IcmpTypeCode={"Type": -1, "Code": -1},
        )  # fmt: skip
    assert net.reaches("internet", net.eip)
    assert net.tried(22) == "timed out"
    ec2.replace_network_acl_association(AssociationId=made, NetworkAclId=of_vpc["NetworkAclId"])
    ec2.delete_network_acl(NetworkAclId=own)
    assert net.reaches(net.one, PUBLIC)
