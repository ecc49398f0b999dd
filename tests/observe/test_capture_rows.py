"""Hold what is taken of a capture apart from the capture itself."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest

from osawslab.errors import BadCapture
from osawslab.observe.capture import Capture, load_capture


def three() -> Capture:
    data = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 147)
    for second in range(3):
        data += struct.pack("<IIII", second, 0, 1, 1) + bytes([second])
    return load_capture(data)


@pytest.mark.parametrize(
    ("rows", "taken"),
    [
        ([2, 0], [2, 0]),
        ([], []),
        ([False, False, True], [2]),
        (np.array([True, False, True]), [0, 2]),
    ],
)
def test_take_knows_places_from_masks(rows: list[int], taken: list[int]) -> None:
    some = three().take(rows)
    assert [some.raw(row)[0] for row in range(len(some))] == taken


def test_a_mask_of_the_frame_takes_its_rows() -> None:
    capture = three()
    assert capture.take(capture.frame["time"].dt.second == 1).raw(0) == b"\x01"


def test_what_is_done_to_the_frame_is_not_done_to_the_capture() -> None:
    capture = three()
    with pytest.raises(ValueError, match="read-only"):
        capture.frame.loc[0, "length"] = 99
    with pytest.raises(ValueError, match="read-only"):
        capture.frame["captured"].to_numpy()[:] = 99
    assert capture.columns["length"].values.tolist() == [1, 1, 1]
    assert capture.columns["captured"].values.tolist() == [1, 1, 1]


def test_captures_are_equal_only_to_themselves() -> None:
    one = three()
    assert one == one
    assert one != three()
    assert len({one, three()}) == 2


@pytest.mark.parametrize("row", [3, -4, 99, "first", None])
def test_a_frame_that_is_not_there_is_our_own_error(row: Any) -> None:
    with pytest.raises(BadCapture, match=f"no frame {row} in this capture") as caught:
        three().raw(row)
    assert caught.value.next == "a number from 0 to 2"
    with pytest.raises(BadCapture):
        list(three().raws([0, row]))
    assert three().raw(-1) == three().raw(2)


@pytest.mark.parametrize("rows", [[0, 3], [-4], [False, False, False, True]])
def test_frames_that_are_not_there_are_not_taken(rows: list[int]) -> None:
    with pytest.raises(BadCapture, match="no frame"):
        three().take(rows)
