"""Translating MACs costs little, and its flows grow as the addresses do."""

from __future__ import annotations

import pytest

from osawslab import bench, bench_text, throughput
from osawslab.region import local

pytestmark = pytest.mark.kernel


def test_mac_nat_is_measured_beside_normal_and_leaves_nothing(
    home: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(throughput, "ROUNDS", 5)
    found = bench.run(["mac-nat"])["mac-nat"]
    assert found["flows"] == {str(count): 4 * count for count in throughput.ADDRESSES}
    for figures in (found["bits_per_second"], found["round_trip"]):
        assert set(figures) == {"normal", "mac-nat"}
        assert all(value > 0 for value in figures.values())
    # The figure itself is the bench's, and on a busy machine it is anybody's: here only that no
    # frame went by ovs-vswitchd's slow path, which is many times as slow.
    assert found["throughput_ratio"] > 0.2
    assert found["latency_ratio"] < 5
    said = bench_text.text({"mac-nat": found})
    assert "throughput_ratio" in said
    assert "flows, 15" in said
    assert local.find("bench") is None
