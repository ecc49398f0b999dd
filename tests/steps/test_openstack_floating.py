"""Neutron's floating IPs, and what of Neutron's is refused, without a Neutron."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from osawslab.cloud.floating import Floating
from osawslab.errors import BadSetting, StepNotReady
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


def port(network: str, owner: str = "compute:nova", name: str = "") -> Any:
    """Give a port of Neutron's."""
    return SimpleNamespace(network_id=network, device_owner=owner, id=name or network)


OF_ROUTER = [port("outside", "network:router_gateway"), port("mine", "network:router_interface")]


@pytest.mark.parametrize(
    ("with_address", "found"),
    [
        ([port("other"), port("mine")], "mine"),  # two networks may have the same addresses
        ([port("mine", "network:dhcp"), port("mine", "", "bare")], "bare"),
        ([port("other")], ""),
        ([port("outside")], ""),
        ([], ""),
    ],
)
def test_a_port_is_looked_for_in_the_networks_of_its_router(
    with_address: list[Any], found: str
) -> None:
    def ports(device_id: str = "", fixed_ips: str = "") -> list[Any]:
        assert device_id == "own" or fixed_ips == "ip_address=192.168.20.5"
        return with_address if fixed_ips else OF_ROUTER

    seen = there(ports=ports)
    if found:
        assert openstack_floating._port(seen, PLAIN, "192.168.20.5").id == found
        return
    with pytest.raises(BadSetting, match=r"no port with .* in a network of router1"):
        openstack_floating._port(seen, PLAIN, "192.168.20.5")
