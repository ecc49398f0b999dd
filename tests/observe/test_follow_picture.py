"""The picture of a followed packet: the table's words, by words and shapes, the same each time."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest
from wayfarer import back, capture, login, there, who_has

from osawslab.observe.follow import NO_MORE, TWICE, Followed
from osawslab.observe.shapes import SHAPES, WIDTH
from osawslab.observe.way import mark

DROP = "dropped by the VPC: MAC not registered"
DIED = [*there()[:3], *(each.but(verdict=DROP) for each in there()[3:5])]


def texts(svg: str) -> list[str]:
    return ["".join(each.itertext()) for each in ET.fromstring(svg).iter() if "text" in each.tag]


@pytest.mark.parametrize(
    ("frames", "marks"),
    [
        ([*there(), *back()], ["good"] * 12),
        (DIED, ["good"] * 3 + ["bad"] * 2),
        (there()[:2], ["good", "note"]),
        ([there()[0], there()[0]], ["note", "note"]),
        ([*there()[:2], *who_has(["router gateway", "VPC"], DROP)],
         ["good", "note", "good", "bad"]),
    ],
)  # fmt: skip
def test_each_hop_has_its_shape_and_the_words_that_say_the_same(
    frames: list[object], marks: list[str]
) -> None:
    followed = capture(frames).follow()  # type: ignore[arg-type]
    assert [mark(hop) for hop in followed.hops] == marks
    svg = followed.picture.svg
    for kind, (colour, shape) in SHAPES.items():
        assert svg.count(shape) == marks.count(kind)
        assert (colour in svg) or kind not in marks
    said = " ".join(texts(svg))
    for hop, kind in zip(followed.hops, marks, strict=True):
        assert hop.at in said
        if kind != "good":
            assert hop.verdict in said


def test_the_words_beside_it_say_all_that_the_table_says() -> None:
    followed = capture(DIED).follow()
    for hop in followed.hops:
        for words in (hop.at, hop.source, hop.destination, *hop.changed, hop.verdict):
            assert words in followed.picture.alt
    assert followed.outcome in followed.picture.alt
    assert repr(followed.picture) == followed.picture.alt


def test_nothing_leaves_the_picture() -> None:
    long = "another name that is very long indeed " * 8
    frames = [each.but(verdict=f"dropped {long}") for each in login()]
    root = ET.fromstring(capture(frames).follow().picture.svg)
    bottom = float(root.attrib["height"])
    for each in root.iter():
        if each.tag.endswith("rect"):
            right = float(each.get("x", 0)) + float(each.attrib["width"])
            assert right <= WIDTH
            assert float(each.get("y", 0)) + float(each.attrib["height"]) <= bottom
        if each.tag.endswith("text"):
            assert len("".join(each.itertext())) <= 98
            assert float(each.attrib["y"]) < bottom


def test_a_notebook_shows_both_as_an_image_and_a_table() -> None:
    followed: Followed = capture(DIED).follow()
    html = followed._repr_html_()
    assert html.startswith('<img alt="')
    assert "<table" in html
    assert "<script" not in html
    assert "<svg" not in html  # an untrusted notebook shows no inline SVG
    assert followed.picture.svg.encode() == capture(DIED).follow().picture.svg.encode()


def test_what_a_file_says_cannot_leave_its_place() -> None:
    evil = "dropped <script>alert(1)</script> & \x1b[2J"
    followed = capture([each.but(verdict=evil) for each in there()]).follow()
    ET.fromstring(followed.picture.svg)
    assert "<script" not in followed._repr_html_() + followed.picture.svg
    assert "\x1b" not in repr(followed) + followed.picture.alt


def test_the_words_for_what_nobody_knows_differ_from_each_other() -> None:
    assert len({NO_MORE, TWICE, DROP}) == 3
