"""The second address of the real OpenStack: both quotas are looked at before it is made."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from account import Account, kind

from osawslab.aws.facts import Facts
from osawslab.aws.inquiry import Inquiry
from osawslab.errors import StepNotReady
from osawslab.settings import Settings
from osawslab.steps import openstack_last

PLAIN = SimpleNamespace(name="router1", is_distributed=False, is_ha=False)


def small(asked: dict[str, Any]) -> Any:
    """Give instance types whose NICs can have two addresses."""
    made = [kind(name) for name in asked["InstanceTypes"]]
    for each in made:
        each["NetworkInfo"]["Ipv4AddressesPerInterface"] = 2
    return {"InstanceTypes": made}


def seen(addresses: int, private: tuple[str, ...], eip: dict[str, Any]) -> Any:
    """Give the facts: so many Elastic IPs, these private addresses, and the second's Elastic IP."""
    account = Account(
        DescribeInstanceTypes=small,
        DescribeAddresses={"Addresses": [{"AllocationId": f"e{n}"} for n in range(addresses)]},
    )
    ec2 = replace(Facts(), instance={"InstanceType": "t2.large"})
    inquiry = Inquiry(account.target(), Settings(), ec2)
    nic = {"PrivateIpAddresses": [{"PrivateIpAddress": each} for each in private]}
    ground = SimpleNamespace(cloud=SimpleNamespace(swapped=True, settings=Settings()))
    project = SimpleNamespace(router=PLAIN, port="port")
    return SimpleNamespace(
        there=SimpleNamespace(project=project), ground=ground, port="port", stranger="",
        room=openstack_last._room(inquiry, nic, eip),
    )  # fmt: skip


FIRST, SECOND, THIRD = "172.16.20.101", "172.16.20.102", "172.16.20.103"
EIP = {"PublicIp": "203.0.113.9"}


@pytest.mark.parametrize(
    ("addresses", "private", "eip", "said"),
    [
        (2, (FIRST,), {}, ""),
        (5, (FIRST,), {}, "Elastic IPs"),
        (5, (FIRST,), EIP, ""),  # it is there already
        (2, (FIRST, THIRD), {}, "a NIC of t2.large can have 2 private addresses"),
        (2, (FIRST, THIRD), EIP, "a NIC of t2.large can have 2 private addresses"),
        (2, (FIRST, SECOND), {}, ""),
    ],
)
def test_both_quotas_are_held_before_the_second_address_is_made(
    addresses: int, private: tuple[str, ...], eip: dict[str, Any], said: str
) -> None:
    facts = seen(addresses, private, eip)
    if not said:
        openstack_last._require(facts)
        return
    with pytest.raises(StepNotReady, match="no room for the second address") as caught:
        openstack_last._require(facts)
    assert said in caught.value.what
    assert caught.value.next
