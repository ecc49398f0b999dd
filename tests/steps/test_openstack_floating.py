"""Neutron's floating IPs, and what of Neutron's is refused, without a Neutron."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from osawslab.cloud.floating import Floating
from osawslab.errors import StepNotReady
from osawslab.settings import Settings
from osawslab.steps import openstack_floating, openstack_networks

PLAIN = SimpleNamespace(id="own", name="router1", is_distributed=False, is_ha=False)
HA = SimpleNamespace(id="second", name="router2", is_distributed=False, is_ha=True)
DVR = SimpleNamespace(id="own", name="router1", is_distributed=True, is_ha=False)


def there(router: Any = PLAIN, **network: Any) -> Any:
    """Give what is read of Neutron, with this router of the lab's own."""
    return SimpleNamespace(
        openstack=SimpleNamespace(network=SimpleNamespace(**network)),
        project=SimpleNamespace(router=router),
        ground=SimpleNamespace(cloud=None),
    )


def test_the_router_that_is_named_is_the_one_that_must_be_plain() -> None:
    routers = {"second": HA}
    one = Floating("172.16.20.103", "192.168.30.5", "second")
    with pytest.raises(StepNotReady, match="one gateway port") as caught:
        openstack_floating.made(None, there(get_router=routers.get), one)  # type: ignore[arg-type]
    assert caught.value.seen == "router2 is highly available (HA)"


@pytest.mark.parametrize("router", [DVR, HA])
def test_the_networks_refuse_a_router_with_dvr_or_ha(router: Any) -> None:
    site: Any = SimpleNamespace(settings=Settings())
    with pytest.raises(StepNotReady, match="one gateway port"):
        openstack_networks.plan(site, there(router))
