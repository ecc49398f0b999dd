"""The figures of a tour: all there, and of a lab of its own."""

from __future__ import annotations

import pytest

from osawslab import bench
from osawslab.errors import BadSetting
from osawslab.region import local


def test_an_unknown_section_names_the_known_ones() -> None:
    with pytest.raises(BadSetting) as caught:
        bench.run(["speed"])
    assert "tour" in caught.value.next


@pytest.mark.kernel
def test_a_tour_is_measured_and_leaves_nothing(home: object) -> None:
    found = bench.run(["tour"])["tour"]
    assert set(found) == {
        "first_ssh", "tour", "unchanged", "teardown", "fabric_round_trip", "mininet",
    }  # fmt: skip
    assert all(value > 0 for key, value in found.items() if key != "mininet")
    assert found["first_ssh"] < found["tour"]
    assert found["unchanged"] < found["tour"]
    assert local.find("bench") is None
