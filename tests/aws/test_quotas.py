"""What the quotas leave for many labs at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from account import Account

from osawslab.aws import quotas
from osawslab.aws.facts import Facts
from osawslab.aws.inquiry import Inquiry, Row
from osawslab.settings import Settings


@pytest.mark.parametrize(
    ("settings", "have", "needed"),
    [
        ({}, Facts(), 2),
        ({"cloud": "openstack"}, Facts(), 3),
        ({"cloud": "openstack"}, Facts(addresses={"management": {}}), 2),
        ({"cloud": "openstack"}, Facts(addresses={"management": {}}, further=({},)), 1),
        ({}, Facts(addresses={"management": {}, "provider": {}}, further=({},)), 0),
    ],
)
def test_all_addresses_of_a_lab_are_counted(
    settings: dict[str, Any], have: Facts, needed: int
) -> None:
    room = quotas.addresses(Inquiry(Account().target(), Settings(**settings), have))
    assert isinstance(room, quotas.Room)
    assert room.needed == needed


@pytest.mark.parametrize(
    ("ask", "count", "needed", "left", "ok"),
    [
        (quotas.vcpus, 8, 32, 32, True),  # of 4 each
        (quotas.vcpus, 9, 36, 32, False),
        (quotas.vpcs, 5, 5, 5, True),
        (quotas.vpcs, 6, 6, 5, False),
        (quotas.addresses, 6, 6, 5, False),
    ],
)
def test_room_for_many(
    ask: Callable[[Inquiry, int], Row], count: int, needed: int, left: int, ok: bool
) -> None:
    room = ask(Inquiry(Account().target(), Settings(), Facts()), count)
    assert isinstance(room, quotas.Room)
    assert (room.needed, room.left, bool(room)) == (needed, left, ok)
    assert room.fatal
    assert f"--desired-value {needed}" in room.next
