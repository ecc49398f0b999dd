"""The router as Neutron has it, in one row."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from osawslab.steps.openstack_networks import _router

LEADS = {"enable_snat": True, "external_fixed_ips": [{"ip_address": "172.16.20.101"}]}
ROUTE = {"destination": "10.0.0.0/8", "nexthop": "192.168.20.9"}


@pytest.mark.parametrize(
    ("leads", "routes", "seen"),
    [
        (LEADS, [], ("172.16.20.101", "on", "its networks' alone")),
        ({**LEADS, "enable_snat": False}, [ROUTE],
         ("172.16.20.101", "off", "10.0.0.0/8 via 192.168.20.9")),
        (None, None, ("none", "off", "its networks' alone")),
    ],
)  # fmt: skip
def test_it_is_one_row(leads: Any, routes: Any, seen: tuple[str, ...]) -> None:
    router = SimpleNamespace(
        name="router1", status="ACTIVE", external_gateway_info=leads, routes=routes
    )
    assert _router(router).rows == (("router1", "ACTIVE", *seen),)
