"""The router's frames pass on each NIC and each bridge, and the refused way says what to do."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from osawslab import Lab
from osawslab.errors import Refused
from osawslab.region import local

pytestmark = pytest.mark.kernel

BEFORE = ("provision", "install_cloud", "provider_nic", "networks", "see_the_drop")


@pytest.fixture
def made(request: pytest.FixtureRequest, home: object) -> Iterator[Lab]:
    """A lab of the wanted kind, made up to the swap."""
    with Lab("kinds", **request.param) as lab:
        try:
            for step in BEFORE:
                report = lab.run(step)
                assert report.ok, report.text
            yield lab
        finally:
            local.remove("kinds")


KINDS = [
    ({"instance_type": "t2.large", "bridge": "openvswitch"}, "swap"),
    ({"instance_type": "t2.large", "bridge": "linux"}, "swap"),
    ({"instance_type": "t2.large", "bridge": "linux", "strategy": "share"}, "share"),
    ({"instance_type": "t3.large", "bridge": "openvswitch"}, "share"),
    ({"instance_type": "t3.large", "bridge": "linux"}, "share"),
]


@pytest.mark.parametrize(("made", "strategy"), KINDS, indirect=["made"])
def test_the_ping_passes_after_the_swap_and_not_before(made: Lab, strategy: str) -> None:
    swapped = made.swap_mac()
    assert swapped.ok, swapped.text
    assert swapped.notes[0].startswith(f"strategy {strategy}:")
    verified = made.verify()
    assert verified.ok, verified.text
    assert not made.swap_mac().changed
    made.reset("swap_mac")
    again = made.see_the_drop()
    assert again.ok, again.text
    assert again.data["evidence"] == "live"


@pytest.mark.parametrize("made", [KINDS[3][0]], indirect=True)
def test_an_ena_nic_refuses_another_mac_in_the_drivers_own_words(made: Lab) -> None:
    said = made.shell("ip link set ens6 address 02:00:00:00:00:09 2>&1; true").output
    assert "Operation not supported" in said
    report = made.swap_mac()
    assert any("Operation not supported" in note for note in report.notes)


@pytest.mark.parametrize(
    "made", [{"instance_type": "t3.large", "strategy": "swap", "bridge": "linux"}], indirect=True
)
def test_the_tutorials_way_forced_on_an_ena_nic_names_the_other(made: Lab) -> None:
    with pytest.raises(Refused) as caught:
        made.swap_mac()
    assert "Operation not supported" in caught.value.seen
    assert "share" in caught.value.next
    assert made.check("provider_nic")  # the NIC is up again


@pytest.mark.parametrize(
    "made", [{"instance_type": "t2.large", "strategy": "share", "bridge": "linux"}], indirect=True
)
def test_without_its_fdb_entry_a_linux_bridge_keeps_the_answers(made: Lab) -> None:
    assert made.swap_mac().ok
    mac = made.verify().data["gateway_mac_after"]
    made.shell(
        f"tap=$(bridge fdb show | grep {mac} | grep static | cut -d' ' -f3);"
        f" bridge fdb del {mac} dev $tap master;"
        f" bridge fdb replace {mac} dev eth1 master permanent"
    )
    assert made.verify().data["ping_after"]["received"] == 0
    planned = [action.command.split()[:3] for action in made.plan("swap_mac").actions]
    assert planned == [["bridge", "fdb", "del"], ["bridge", "fdb", "replace"]]
    assert made.swap_mac().ok
    assert made.verify().ok
