"""Which way is taken follows from NIC, bridge and routers; a refusal says what to take instead."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sights import CALLED, REGISTERED, books, link, told

from osawslab.cloud.handbuilt import NOTE
from osawslab.errors import Refused, StepFailed
from osawslab.host import probe
from osawslab.settings import Settings
from osawslab.steps import swap_mac

SUPPORTED, PERMITTED = (
    f"[ERROR] Could not change MAC: interface up or insufficient permissions: Operation not {why}"
    for why in ("supported", "permitted")
)


class Host:
    """Stands in for an instance: what its probe tells, and what it says to a command."""

    def __init__(self, told: dict[str, Any], said: dict[str, str]) -> None:
        self.told, self.said = told, said

    def script(self, source: str, **given: Any) -> dict[str, Any]:
        return self.told

    def run(self, command: str) -> str:
        for part, words in self.said.items():
            if part in command:
                raise StepFailed("a command failed", seen=words)
        return ""


def place(
    drivers: dict[str, str], needs: str, said: dict[str, str] | None = None, **settings: Any
) -> Any:
    """Give a lab's place; `needs` is what EC2 says of its type and ENA."""
    given = told()
    given["files"][NOTE] = REGISTERED
    given["programs"]["macchanger"] = "/usr/bin/macchanger"
    given["drivers"] = drivers
    kind = {"NetworkInfo": {"EnaSupport": needs}}
    ec2 = SimpleNamespace(describe_instance_types=lambda **_: {"InstanceTypes": [kind]})
    instance = replace(books(), instance={"InstanceType": "t2.large"})
    return SimpleNamespace(
        instance=SimpleNamespace(ec2=instance, host=Host(given, said or {})),
        settings=Settings(**settings),
        ec2=ec2,
    )


def planned(site: Any) -> tuple[str, Any]:
    """Give the strategy and the plan."""
    facts = swap_mac.read(site)
    return facts.strategy, swap_mac.plan(site, facts)


@pytest.mark.parametrize(
    ("drivers", "needs", "wanted"),
    [
        ({}, "unsupported", "swap"),  # as in the local region: a veth has no driver
        ({}, "required", "share"),
        ({"eth0": "ena"}, "unsupported", "swap"),  # the other NIC's
        ({"eth1": "ena"}, "unsupported", "share"),
        ({"eth1": "vif"}, "required", "swap"),
        ({"eth1": "ixgbevf"}, "unsupported", "share"),
    ],
)
def test_the_nic_tells_its_driver_and_else_ec2_does(
    drivers: dict[str, str], needs: str, wanted: str
) -> None:
    site = place(drivers, needs)
    facts = swap_mac.read(site)
    assert facts.strategy == wanted
    named = drivers.get("eth1") or ("ena" if needs == "required" else "vif")
    assert f"NIC driver, {named}, can change" in facts.reason
    asks = [action for action in swap_mac.plan(site, facts) if facts.change in action.command]
    assert len(asks) == 1
    assert ("mac-refusal" in asks[0].command) == (wanted == "share")


def test_drivers_are_read_where_there_are_some(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, driver in (("ens6", "../../../bus/pci/drivers/ena"), ("veth0", "")):
        (tmp_path / name / "device").mkdir(parents=True)
        if driver:
            (tmp_path / name / "device" / "driver").symlink_to(driver)
    (tmp_path / "bonding_masters").touch()
    monkeypatch.setattr(probe, "INTERFACES", str(tmp_path))
    assert probe.drivers() == {"ens6": "ena"}
    monkeypatch.setattr(probe, "INTERFACES", str(tmp_path / "none"))
    assert probe.drivers() == {}


@pytest.mark.parametrize("words", [SUPPORTED, PERMITTED])
@pytest.mark.parametrize("needs", ["unsupported", "required"])
def test_a_driver_that_refuses_names_the_other_way(words: str, needs: str) -> None:
    strategy, plan = planned(place({}, needs, {"macchanger --mac": words}, strategy="swap"))
    assert strategy == "swap"
    with pytest.raises(Refused) as caught:
        plan[0].do()
    assert caught.value.seen == words
    assert 'strategy = "share"' in caught.value.next


@pytest.mark.parametrize(
    "said",
    [
        {"macchanger --mac": "No such device"},
        {"link set qg-": "Operation not permitted"},  # the gateway port's, and no driver's
    ],
)
def test_what_is_no_refusal_of_the_driver_is_told_as_it_is(said: dict[str, str]) -> None:
    _, plan = planned(place({}, "unsupported", said))
    [words] = said
    [failing] = [action for action in plan if words in action.command]
    with pytest.raises(StepFailed) as caught:
        failing.do()
    assert caught.value.seen in said.values()


def routers(site: Any, *addresses: str, other: bool) -> Any:
    """Give the router more addresses, or another router one of them each."""
    spaces = site.instance.host.told["namespaces"]
    if other:
        link_of = link("qg-second", "fa:16:3e:00:00:22", *addresses)
        spaces["qrouter-second"] = {**spaces[CALLED.router_netns], "links": [link_of], "routes": []}
    else:
        own = spaces[CALLED.router_netns]["links"]
        own[0] = link(CALLED.gateway, CALLED.gateway_mac, "172.16.20.101/24", *addresses)
    return site


@pytest.mark.parametrize("needs", ["unsupported", "required"])
def test_several_routers_on_a_linux_bridge_are_refused(needs: str) -> None:
    site = routers(place({}, needs, bridge="linux"), "172.16.20.102/24", other=True)
    facts = swap_mac.read(site)
    with pytest.raises(Refused, match="several routers") as caught:
        swap_mac.plan(site, facts)
    assert "2 routers have gateway ports" in caught.value.seen
    assert 'bridge = "openvswitch"' in caught.value.next


@pytest.mark.parametrize("strategy", ["swap", "share"])
def test_who_forces_a_way_gets_it_with_several_routers_too(strategy: str) -> None:
    site = place({}, "unsupported", bridge="linux", strategy=strategy)
    assert planned(routers(site, "172.16.20.102/24", other=True))[0] == strategy


def test_several_addresses_of_one_router_take_any_way() -> None:
    site = place({}, "required", bridge="linux")
    assert planned(routers(site, "172.16.20.102/32", other=False))[0] == "share"


def test_several_routers_on_open_vswitch_are_translated() -> None:
    site = routers(place({}, "required", bridge="openvswitch"), "172.16.20.101/24", other=True)
    assert planned(site)[0] == "mac-nat"
