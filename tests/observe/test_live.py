"""What is made of frames from several points: their order, and what became of each."""

from __future__ import annotations

import pytest

from osawslab.observe.live import DELIVERED, REASONS, Catch, Spot, judge, ordered, placed
from osawslab.observe.ring import IN, OUT, Seen

SPOTS = (
    Spot("router gateway", "qrouter", "qg-1", 3, "out"),
    Spot("provider NIC", "", "eth1", 5, "out"),
    Spot("VPC", "vpc", "p-1", 6, "in", vantage=True),
    Spot("VPC drops", "vpc", "nflog:5", 7, "in", vantage=True),
)
GATEWAY, NIC, VPC, DROPS = range(4)
HEAD = bytes(12) + b"\x08\x00"
IP = bytes.fromhex("4500 001c 0001 0000 40 01 1234") + bytes(12)  # TTL 64, and its checksum
ONE, TWO = HEAD + IP, HEAD + IP + b"2"
LATER = b"\7" * 12 + b"\x08\x00" + IP[:8] + b"\x3f" + IP[9:10] + b"\x13\x34" + IP[12:]
MAC, GROUP = REASONS["mac"], REASONS["group"]


def seen(time: int, point: int, data: bytes = ONE, direction: int = 0, reason: str = "") -> Seen:
    return Seen(time, point, direction or SPOTS_OUT[point], len(data), data, reason)


SPOTS_OUT = (OUT, OUT, IN, 0)  # the direction that leads out


def test_frames_of_one_moment_are_in_the_order_of_their_way() -> None:
    out = [seen(1, point) for point in (VPC, NIC, DROPS, GATEWAY)]
    back = [seen(2, GATEWAY, direction=IN), seen(2, VPC, direction=OUT), seen(2, NIC, direction=IN)]
    points = [each.point for each in ordered(back + out, SPOTS)]
    assert points == [GATEWAY, NIC, VPC, DROPS, VPC, NIC, GATEWAY]


@pytest.mark.parametrize(
    ("frames", "sure", "verdicts"),
    [
        # The frame with the same bytes is the dropped one, however near another is.
        (
            [seen(1, NIC), seen(2, NIC, TWO), seen(3, DROPS, ONE, reason="mac")],
            True,
            [MAC, DELIVERED, MAC],
        ),
        # At each point that it passed; before the NIC nobody can say.
        ([seen(1, GATEWAY), seen(2, NIC), seen(3, VPC)], True, ["", DELIVERED, DELIVERED]),
        (
            [seen(1, NIC), seen(2, VPC), seen(3, DROPS, reason="mac"), seen(4, NIC), seen(5, VPC),
             seen(6, DROPS, reason="arp")],
            True,
            [MAC, MAC, MAC, REASONS["arp"], REASONS["arp"], REASONS["arp"]],
        ),
        # Of equal ones, the last before the drop.
        (
            [seen(1, NIC), seen(2, NIC), seen(3, DROPS, reason="mac"), seen(4, NIC)],
            True,
            [DELIVERED, MAC, MAC, DELIVERED],
        ),
        # Where drops are missing, nobody can say what became of the others.
        ([seen(1, NIC), seen(2, NIC, TWO), seen(3, DROPS, reason="mac")], False, [MAC, "", MAC]),
        # The router has counted the hop.
        ([seen(1, NIC), seen(2, DROPS, LATER, reason="group")], True, [GROUP, GROUP]),
        ([seen(1, NIC), seen(2, DROPS, LATER, reason="mac")], True, [DELIVERED, MAC]),
        # What came in was delivered; IPv6 is dropped in silence.
        ([seen(1, NIC, direction=IN)], False, [DELIVERED]),
        ([seen(1, NIC, bytes(12) + b"\x86\xdd" + bytes(40))], True, [""]),
    ],
)  # fmt: skip
def test_what_became_of_a_frame_follows_from_its_bytes(
    frames: list[Seen], sure: bool, verdicts: list[str]
) -> None:
    assert judge(frames, SPOTS, sure) == verdicts


def test_where_nobody_records_drops_only_what_came_in_is_known() -> None:
    frames = [seen(1, NIC), seen(2, NIC, direction=IN)]
    assert judge(frames, SPOTS[:2], sure=True) == ["", DELIVERED]


def test_a_drop_has_the_time_of_the_frame_that_it_is() -> None:
    frames = [seen(5, VPC), seen(6, VPC, TWO), seen(9, DROPS, reason="mac"), seen(99, VPC)]
    assert [each.time for each in placed(frames, SPOTS)] == [5, 6, 5, 99]


def test_it_is_one_capture_with_points_names_and_verdicts() -> None:
    frames = [seen(9, DROPS, reason="mac"), seen(2, NIC), seen(3, VPC), seen(1, GATEWAY)]
    catch = Catch(SPOTS, {}, frames, {"VPC": 1234}, ended="100 frames were there")
    made = catch.capture({"00:00:00:00:00:00": "somebody"})
    assert [point.name for point in made.points] == [spot.name for spot in SPOTS]
    table = made.frame[["point", "direction", "src_owner", "verdict"]].astype(object)
    assert table.where(table.notna(), "").to_numpy().tolist() == [
        ["router gateway", "out", "somebody", ""],
        ["provider NIC", "out", "somebody", MAC],
        ["VPC", "in", "somebody", MAC],
        ["VPC drops", "", "somebody", MAC],
    ]
    assert made.caption.endswith(
        "; frames lost: 1,234 at VPC; it ended by itself: 100 frames were there"
    )


def test_what_was_seen_before_all_points_were_there_or_after_is_left_out() -> None:
    frames = [seen(time, NIC) for time in (1, 2, 3, 4)] + [seen(5, DROPS, reason="mac")]
    made = Catch(SPOTS, {}, frames, {}, since=2, until=3).capture({})
    assert made.frame["time"].astype("int64").tolist() == [2, 3]
    assert set(made.frame["verdict"]) == {DELIVERED}  # the drop is that of the last one


@pytest.mark.parametrize(
    ("limits", "kept", "ended"),
    [
        ({"frames": 3}, 3, "3 frames were there"),
        ({"bytes": 3 * len(ONE)}, 3, f"{3 * len(ONE)} bytes were there"),
        ({"bytes": 3 * len(ONE) - 1}, 2, f"{3 * len(ONE) - 1} bytes were there"),  # none in part
        ({"frames": 4, "bytes": 4 * len(ONE)}, 4, ""),
    ],
)
def test_a_bound_is_that_of_all_points_and_cuts_what_has_its_verdict(
    limits: dict[str, float], kept: int, ended: str
) -> None:
    # The drop is read last, and is that of the first.
    frames = [
        seen(1, NIC),
        seen(2, VPC),
        seen(7, VPC, direction=OUT),
        seen(99, DROPS, reason="mac"),
    ]
    made = Catch(SPOTS, {}, frames, {}, limits=limits).capture({})
    assert made.frame["verdict"].tolist() == [MAC, MAC, MAC, DELIVERED][:kept]
    assert made.caption.partition("; it ended by itself: ")[2] == ended


def test_a_hidden_point_tells_and_is_not_shown() -> None:
    hidden = Spot("VPC drops", "vpc", "nflog:5", 7, "in", vantage=True, hidden=True)
    made = Catch(
        (*SPOTS[:3], hidden), {}, [seen(1, NIC), seen(2, DROPS, reason="mac")], {}
    ).capture({})
    assert made.frame["verdict"].tolist() == [MAC]
    assert "VPC drops" not in made.caption
    assert len(made.points) == 3
