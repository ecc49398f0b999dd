"""Stills: where a frame is drawn, which way, and what it says of what became of it."""

from __future__ import annotations

import io
from dataclasses import replace
from xml.etree import ElementTree

import pytest
from wire import arp, ethernet

from osawslab.errors import BadCapture
from osawslab.observe import pcapng, stills
from osawslab.observe.capture import Capture, load_capture
from osawslab.observe.container import Point
from osawslab.observe.live import Catch, Spot
from osawslab.observe.ring import IN, OUT, Seen

GATEWAY, ROUTER = "fa:16:3e:00:00:01", "0a:00:00:00:00:03"
ASKS = ethernet(GATEWAY, "ff:ff:ff:ff:ff:ff", 0x806, arp(GATEWAY, "172.16.20.101", "172.16.20.1"))
SPOTS = (
    Spot("router gateway", "qrouter", "qg-1", 3, "out"),
    Spot("provider NIC", "", "eth1", 5, "out"),
    Spot("VPC drops", "vpc", "nflog:5", 7, "in"),
    Spot("a bridge's own", "", "br", 8, ""),
)
FRAMES = [
    Seen(1, 0, OUT, 42, ASKS, ""),
    Seen(2, 1, OUT, 42, ASKS, ""),
    Seen(2, 2, 0, 42, ASKS, "mac"),
    Seen(3, 1, IN, 42, ASKS, ""),
    Seen(4, 3, IN, 42, ASKS, ""),
]
UP, DOWN = "towards the internet", "towards the VM"
DROPPED = "dropped by the VPC: MAC not registered"


@pytest.fixture
def capture() -> Capture:
    return Catch(SPOTS, {}, FRAMES, {}).capture({GATEWAY: "router gateway"})


def in_file(*names: str, at: int) -> Capture:
    """Make a capture of one frame, as of a file: it knows no way."""
    file = io.BytesIO()
    pcapng.begin(file, [Point(name, 1) for name in names])
    pcapng.write(file, ASKS, point=at, time=1, length=42, direction=2, comments=[])
    return load_capture(file.getvalue())


def facts(still: stills.Still) -> dict[str, str]:
    return dict(still.row.rows)  # type: ignore[arg-type]


def places(still: stills.Still) -> dict[str, float]:
    """Find the words of a picture and how far down they are."""
    texts = ElementTree.fromstring(still.picture.svg).iter("{http://www.w3.org/2000/svg}text")
    return {str(each.text): float(each.attrib["y"]) for each in texts}


@pytest.mark.parametrize(
    ("row", "at", "way", "drawn", "verdict"),
    [
        (0, "router gateway", f"out {UP}", stills.ARROWS["up"], None),
        (1, "provider NIC", f"out {UP}", stills.STOPPED["up"], DROPPED),
        (2, "VPC drops", UP, stills.STOPPED["up"], DROPPED),
        (3, "provider NIC", f"in {DOWN}", stills.ARROWS["down"], "delivered"),
        (4, "a bridge's own", "in", stills.ARROWS["in"], None),
    ],
)
def test_a_frame_is_at_its_point_and_its_arrow_goes_its_way(
    capture: Capture, row: int, at: str, way: str, drawn: str, verdict: str | None
) -> None:
    still = capture.stills[row]
    told = facts(still)
    assert (told["at"], told["direction"], told.get("verdict")) == (at, way, verdict)
    assert told["from"] == f"{GATEWAY} (router gateway)"
    assert still.row.caption == f"Frame {row} (of 0 to 4)"
    assert still.picture.alt.startswith(f"At {at}, ")
    assert f"d='{drawn}'" in still.picture.svg
    cross, tick = stills.SHAPES["bad"][1], stills.SHAPES["good"][1]
    assert still.picture.svg.count(cross) == (2 if verdict == DROPPED else 0)
    assert still.picture.svg.count(tick) == (1 if verdict == "delivered" else 0)
    found = places(still)
    assert f"from {GATEWAY} (router gateway)" in found
    # The internet's end is on top; the frame's lines are below its point and above the next.
    names = [spot.name for spot in reversed(SPOTS)]
    assert sorted(names, key=found.__getitem__) == names
    below = [found[name] for name in names if found[name] > found[at]]
    lines = found[f"from {GATEWAY} (router gateway)"]
    assert found[at] < lines < min(below, default=lines + 1)


def test_what_it_shows_is_an_image_with_words_and_a_table(capture: Capture) -> None:
    still = capture.stills[1]
    html = still._repr_html_()
    assert html.count("<img alt=") == html.count("<caption") == 1
    assert DROPPED in still.picture.alt
    assert "<svg" not in html
    assert still._repr_html_() == capture.stills[1]._repr_html_()
    assert DROPPED in repr(still)


def test_a_file_knows_no_way_but_the_direction() -> None:
    still = in_file("eth\x1b0", "", at=1).stills[0]
    assert facts(still)["at"] == "interface 1"
    assert facts(still)["direction"] == "out"
    assert f"d='{stills.ARROWS['out']}'" in still.picture.svg
    assert r"eth\x1b0" in places(still)


def test_of_many_points_those_around_are_drawn() -> None:
    found = places(in_file(*(f"p{n}" for n in range(1000)), at=500).stills[0])
    assert {"491 more above", "492 more below", "p492", "p500", "p508"} <= found.keys()
    assert not {"p491", "p509"} & found.keys()


def test_one_is_made_when_it_is_asked_for(
    capture: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []
    draw = stills.draw
    monkeypatch.setattr(stills, "draw", lambda *given: (made.append(1), draw(*given))[1])
    many = capture.take([0, 1] * 50_000)
    assert (len(many.stills), made) == (100_000, [])
    assert facts(many.stills[-1])["at"] == "provider NIC"
    assert [facts(each)["at"] for each in many.stills[1:3]] == ["provider NIC", "router gateway"]
    assert len(made) == 3


@pytest.mark.parametrize("at", [5, -6])
def test_there_is_none_beyond(capture: Capture, at: int) -> None:
    with pytest.raises(BadCapture, match="no frame"):
        capture.stills[at]
    with pytest.raises(BadCapture, match="no frame"):
        capture.take([]).stills[0]


def test_a_frame_of_no_point_says_so(capture: Capture) -> None:
    column = capture.columns["_point"]
    lost = replace(column, values=column.values * 0 - 1)
    nowhere = {"_point": lost, "point": capture.columns["point"].translated(lambda _: "")}
    still = replace(capture, columns={**capture.columns, **nowhere}).stills[0]
    assert facts(still)["at"] == "an unknown point"
    assert "an unknown point" in places(still)
