"""The figures of a tour: all there, and of a lab of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from osawslab import bench, bench_text, peers, pouring
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


@pytest.mark.kernel
def test_a_live_capture_is_measured_and_leaves_nothing(
    home: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pouring, "FRAMES", 400)
    monkeypatch.setattr(pouring, "RATE", 4000)
    found = bench.run(["live-capture"])["live-capture"]
    assert set(found) == {"sent", "seen", "lost", "frames_per_second"}
    assert found["sent"] == 400
    assert found["seen"] == {"router gateway": 400, "provider NIC": 400}
    assert found["lost"] == 0
    assert 0 < found["frames_per_second"] < 4100  # it is paced
    said = bench_text.text({"live-capture": found}).splitlines()
    assert said[0].startswith("live-capture: ")
    assert said[-1].split() == ["lost,", "as", "the", "kernel", "says", "0"]
    assert local.find("bench") is None


def test_readers_of_captures_read_the_same_frames(tmp_path: Path) -> None:
    found = peers.measure(tmp_path / "mixed.pcap", 500)
    assert set(found) == {"frames", "frames_per_second", "bytes_per_frame"}
    speeds = found["frames_per_second"]
    assert list(speeds) == ["osawslab", "struct", "dpkt", "tshark", "scapy"]
    assert all(speed > 0 for name, speed in speeds.items() if peers.there(name))
    for name in filter(peers.there, speeds):
        assert peers.ask(name, tmp_path / "mixed.pcap", 500)["frames"] == 500
    assert found["bytes_per_frame"] > 0


def test_a_frame_more_of_a_capture_takes_no_more_than_200_bytes(tmp_path: Path) -> None:
    path, counts = tmp_path / "mixed.pcap", (100_000, 200_000)
    most = []
    for count in counts:
        peers.write(path, count)
        most.append(peers.ask("memory", path, count)["frames"])
    assert (most[1] - most[0]) / (counts[1] - counts[0]) <= 200  # the window is the same for both


def test_a_long_capture_is_measured_beside_a_short_one(tmp_path: Path) -> None:
    found = peers.linear(tmp_path / "mixed.pcap", 300)
    assert found["frames"] == 3000
    assert list(found["frames_per_second"]) == ["osawslab", "of 300 frames"]
    assert peers.ask("osawslab", tmp_path / "mixed.long", 3000)["frames"] == 3000
    assert found["bytes_per_frame"] > 0
    assert bench_text.text({"long-captures": found}).startswith("long-captures: 3,000 frames, ")


def test_a_reader_that_is_not_installed_is_null_and_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(peers, "there", lambda name: name == "osawslab")
    found = peers.measure(tmp_path / "mixed.pcap", 50)
    assert found["frames_per_second"]["dpkt"] is None
    said = bench_text.text({"captures": found})
    assert said.splitlines()[0].startswith("captures: 50 frames, ")
    assert said.count("not installed") == 4
