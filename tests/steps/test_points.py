"""Where a lab can be captured: by facts, on the hand-built cloud and on the real one."""

from __future__ import annotations

import pytest
from sights import CALLED, real, seen

from osawslab.errors import BadSetting
from osawslab.settings import Settings
from osawslab.steps import points
from osawslab.steps.points import Points

VANTAGE = {"VPC": ("vpc-1", "p-1"), "VPC drops": ("vpc-1", "nflog:5"), "internet": ("out", "u-1")}
INSIDE = ["router tenant port", "router gateway", "provider NIC"]


def found(*, cloud: str = "handbuilt", vantage: bool = True) -> Points:
    given, called = real() if cloud == "openstack" else (None, CALLED)
    sight = seen(given, called, cloud=cloud)
    return points.read(sight, Settings(cloud=cloud), called, VANTAGE if vantage else {})


def names(of: Points, wanted: str | list[str] | None) -> list[str]:
    return [each.name for each in of.find(wanted)]


@pytest.mark.parametrize(
    ("cloud", "vantage", "story"),
    [
        ("handbuilt", True, ["vm1", *INSIDE, "VPC", "VPC drops", "internet"]),
        ("handbuilt", False, ["vm1", *INSIDE]),
        # A VM that is a process has no interface of the host's but its tap.
        ("openstack", True, ["cable to vm1", *INSIDE, "VPC", "VPC drops", "internet"]),
    ],
)
def test_without_a_word_they_are_those_of_a_packets_way(
    cloud: str, vantage: bool, story: list[str]
) -> None:
    assert names(found(cloud=cloud, vantage=vantage), None) == story


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("provider NIC", "provider NIC"),
        ("eth1", "provider NIC"),
        ("eth0", "management NIC"),  # the host's before the VM's
        ("qg-", "router gateway"),
        (CALLED.inner, "router tenant port"),
        ("VM", "vm1"),
        ("br-example", "br-example"),
        ("br-example ports", "provider NIC"),  # a patch port is no interface
    ],
)
def test_each_has_the_names_that_a_learner_may_type(word: str, name: str) -> None:
    assert names(found(), [word]) == names(found(), word) == [name]


@pytest.mark.parametrize("wanted", ["eth9", ["eth9"], ["provider NIC", "nowhere"], []])
def test_what_is_not_there_is_refused_with_what_is(wanted: str | list[str]) -> None:
    with pytest.raises(BadSetting) as caught:
        found().find(wanted)
    assert "router gateway, " in caught.value.next


def test_each_knows_which_direction_leads_to_the_internet() -> None:
    spots = found().spots
    way = [(spots[name].outward, spots[name].rank) for name in ("vm1", *INSIDE, "VPC", "internet")]
    assert [outward for outward, _ in way] == ["out", "in", "out", "out", "in", "in"]
    assert [rank for _, rank in way] == sorted(rank for _, rank in way)
    assert spots["cable to vm1"].outward == "in"
