"""A capture as an object: its frame, its owners, what it shows, what it saves."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from captures import GATEWAY, SAID, US, A, B, capture, recorded

from osawslab.errors import BadCapture
from osawslab.observe.capture import Capture, load_capture
from osawslab.observe.columns import COLUMNS
from osawslab.observe.conversation import BROADCAST


def mixed() -> Capture:
    return load_capture(recorded("ether"), {A.upper(): "provider NIC", GATEWAY: "VPC router"}, "On")


def test_the_frame_has_the_types_that_are_documented() -> None:
    for capture_ in (mixed(), load_capture(capture())):
        assert {name: str(each) for name, each in capture_.frame.dtypes.items()} == {
            name: each.dtype for name, each in COLUMNS.items()
        }
    assert [row[:2] for row in mixed().meaning.rows] == [
        (name, each.dtype) for name, each in COLUMNS.items()
    ]
    assert all(each.words for each in COLUMNS.values())


def test_owners_are_beside_addresses() -> None:
    frame = mixed().frame
    assert frame["src_owner"].tolist()[:2] == ["provider NIC", "unknown"]
    assert frame["dst_owner"].tolist()[:2] == ["everybody", "provider NIC"]
    assert frame["dst_name"].iloc[0] == "VPC router"
    assert frame["src_name"].isna().iloc[0]
    assert mixed().named({B: "somebody"}).frame["src_owner"].tolist()[:2] == ["unknown", "somebody"]
    assert mixed().sent(A)
    assert not mixed().sent(BROADCAST)


def test_a_capture_shows_the_conversation() -> None:
    lines = repr(mixed()).splitlines()
    assert lines[0] == "On"
    assert lines[2].split("  ")[0] == f"{A} (provider NIC)"
    assert len(lines) == 2 + len(SAID)
    assert mixed()._repr_html_().count("<tr>") == 1 + len(SAID)


def test_what_was_saved_is_read_again(tmp_path: Path) -> None:
    said = ["dropped: mac", "", "delivered"] + [""] * 5
    first = mixed().judged(said)
    path = first.save(tmp_path / "seen.pcapng")
    again = load_capture(path, {A: "provider NIC", GATEWAY: "VPC router"}, "On")
    assert again.frame["verdict"].tolist()[0:3:2] == ["dropped: mac", "delivered"]
    assert first.frame.drop(columns="point").equals(again.frame.drop(columns="point"))
    assert [again.raw(row) for row in range(8)] == [first.raw(row) for row in range(8)]
    assert os.listdir(tmp_path) == ["seen.pcapng"]
    assert "verdict" in repr(again).splitlines()[1]


def test_some_frames_in_another_order(tmp_path: Path) -> None:
    some = mixed().take([3, 0])
    assert some.frame["says"].tolist() == ["echo reply", f"who-has {GATEWAY} tell {US}"]
    assert some.raw(1) == mixed().raw(0)
    again = load_capture(some.save(tmp_path / "some.pcapng"))
    assert again.frame["says"].tolist() == some.frame["says"].tolist()
    assert again.take(again.frame["time"].argsort(kind="stable")).raw(0) == mixed().raw(0)


def test_a_file_that_has_changed_is_not_read_as_if_it_had_not(tmp_path: Path) -> None:
    path = tmp_path / "seen.pcap"
    path.write_bytes(recorded("ether"))
    seen = load_capture(str(path))
    path.write_bytes(recorded("nano"))
    with pytest.raises(BadCapture, match="changed"):
        seen.raw(0)
    with pytest.raises(BadCapture, match="changed"):
        seen.save(tmp_path / "other.pcapng")
    assert os.listdir(tmp_path) == ["seen.pcap"]


def test_what_cannot_be_read_or_written_says_so(tmp_path: Path) -> None:
    with pytest.raises(BadCapture, match="cannot be read") as caught:
        load_capture(tmp_path / "none.pcap")
    assert caught.value.seen == "No such file or directory"
    with pytest.raises(BadCapture, match="cannot be read"):
        load_capture(tmp_path)
    with pytest.raises(BadCapture, match="cannot be written"):
        mixed().save(tmp_path / "none" / "seen.pcapng")
