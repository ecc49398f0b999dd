"""Hold the picture of what is against its words, its shapes and its width."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace
from typing import Any

import pytest

from osawslab.errors import BadSetting
from osawslab.observe.drawing import draw
from osawslab.observe.shapes import SHAPES
from osawslab.observe.topology import (
    Nic,
    Port,
    Topology,
    before_after,
    border_mark,
    gateway_mark,
    nic_mark,
    picture,
)

REGISTERED, OTHER, VIRTUAL = "02:5a:11:7c:40:9e", "02:9c:00:ab:cd:ef", "fa:16:3e:4b:11:02"
NIC = Nic("eth1", REGISTERED, REGISTERED, ("172.16.20.101",), "203.0.113.12")
GATEWAY = Port("qg-5f0c2b7e-9a", VIRTUAL, ("172.16.20.101",))
BEFORE = Topology(
    vpc_cidr="172.16.0.0/16",
    instance="i-0d3c5e9f1a2b4c6d8",
    instance_type="t2.large",
    management=Nic("eth0", "02:01:00:00:00:01", "02:01:00:00:00:01", ("172.16.10.101",)),
    provider=NIC,
    bridge="br-example",
    bridge_kind="Open vSwitch",
    router="qrouter-5f0c2b7e-9a41-4c1d-8e55-1b2c3d4e5f60",
    gateway=GATEWAY,
    tenant_port=Port("qr-77aa01bc-1d", "fa:16:3e:4b:11:03", ("192.168.20.1",)),
    tenant_cidr="192.168.20.0/24",
    vm=Port("vm1", "fa:16:3e:4b:11:04", ("192.168.20.5",)),
    passes=False,
)
AFTER = replace(
    BEFORE,
    provider=replace(NIC, mac=OTHER),
    gateway=replace(GATEWAY, mac=REGISTERED),
    published=("203.0.113.12", 522),
    passes=True,
)
DROPPED = ("bad", "MAC not registered: dropped")
UNPLUGGED = ("bad", "eth1 is not plugged in: nothing passes")


def texts(svg: str) -> list[str]:
    return ["".join(each.itertext()) for each in ET.fromstring(svg).iter() if "text" in each.tag]


@pytest.mark.parametrize(
    ("change", "nic", "gateway", "border"),
    [
        ({}, ("good", "registered"), DROPPED, DROPPED),
        ({"passes": None}, ("good", "registered"), DROPPED, None),
        (
            {"passes": True},  # MAC NAT
            ("good", "registered"),
            ("note", "not registered: rewritten"),
            ("good", "passes"),
        ),
        (
            {"gateway": replace(GATEWAY, mac=REGISTERED), "passes": True},  # a shared MAC
            ("good", "registered"),
            ("good", "registered"),
            ("good", "passes"),
        ),
        (
            {"gateway": replace(GATEWAY, mac=REGISTERED, addresses=("172.16.20.9",))},
            ("good", "registered"),
            ("bad", "IP not registered: dropped"),
            ("bad", "IP not registered: dropped"),
        ),
        (
            {"gateway": replace(GATEWAY, mac=REGISTERED, addresses=()), "passes": None},
            ("good", "registered"),
            ("bad", "no IP: sends nothing"),
            None,
        ),
        ({"plugged": False}, ("good", "registered"), DROPPED, UNPLUGGED),
        ({"plugged": False, "passes": None}, ("good", "registered"), DROPPED, None),
        (
            {"gateway": replace(GATEWAY, mac=REGISTERED)},
            ("good", "registered"),
            ("good", "registered"),
            ("bad", "dropped"),
        ),
        (
            {"provider": AFTER.provider, "gateway": AFTER.gateway, "passes": True},
            ("note", "not registered, not used to send"),
            ("good", "registered"),
            ("good", "passes"),
        ),
        ({"provider": AFTER.provider}, DROPPED, DROPPED, DROPPED),
        ({"provider": AFTER.provider, "gateway": None}, DROPPED, None, DROPPED),
        ({"provider": None}, None, None, None),
    ],
)
def test_marks(change: dict[str, Any], nic: Any, gateway: Any, border: Any) -> None:
    t = replace(BEFORE, **change)
    found = [
        mark and (mark.kind, mark.words) for mark in (nic_mark(t), gateway_mark(t), border_mark(t))
    ]
    assert found == [nic, gateway, border]


@pytest.mark.parametrize(
    ("state", "dropped", "shape"), [(BEFORE, 2, "bad"), (AFTER, 0, "note")], ids=["before", "after"]
)
def test_a_wrong_mac_is_said_in_words_and_shown_as_a_shape(
    state: Topology, dropped: int, shape: Any
) -> None:
    shown = picture(state)
    assert texts(shown.svg).count("MAC not registered: dropped") == dropped
    assert shown.alt.count("MAC not registered: dropped") == dropped
    assert SHAPES[shape][1] in shown.svg
    assert (
        len({colour for colour, _ in SHAPES.values()}) == len({s for _, s in SHAPES.values()}) == 3
    )


@pytest.mark.parametrize("state", [BEFORE, AFTER], ids=["before", "after"])
def test_the_alt_text_says_every_word_of_the_picture(state: Topology) -> None:
    for drawing in (picture(state), before_after(BEFORE, state)):
        assert [words for words in texts(drawing.svg) if words not in drawing.alt] == []


@pytest.mark.parametrize(
    ("missing", "absent", "present"),
    [
        (("management",), "eth0", "eth1"),
        (("bridge",), "br-example", "eth1"),
        (("gateway",), "qg-", "qr-"),
        (("tenant_port",), "qr-", "qg-"),
        (("router", "gateway", "tenant_port"), "router", "br-example"),
        (("tenant_cidr", "vm"), "192.168.20.5", "qr-"),
        (("vm",), "vm1", "192.168.20.0/24"),
        (("provider", "gateway", "passes"), "eth1", "eth0"),
        (("instance",), "eth1", "172.16.0.0/16"),
    ],
)
def test_what_does_not_exist_is_left_out(
    missing: tuple[str, ...], absent: str, present: str
) -> None:
    t: Topology = replace(BEFORE, **dict.fromkeys(missing))
    for drawing in (picture(t), before_after(t, t)):
        assert absent not in drawing.svg + drawing.alt
    assert present in picture(t).svg
    assert present in picture(t).alt


def wires(svg: str) -> int:
    return sum("V" in each.get("d", "") for each in ET.fromstring(svg) if "path" in each.tag)


def test_a_nic_that_is_not_plugged_in_has_no_wire_and_a_mark_that_says_so() -> None:
    apart = replace(BEFORE, plugged=False, passes=None)
    for whole, parted in (
        (picture(BEFORE), picture(apart)),
        (before_after(BEFORE, BEFORE), before_after(BEFORE, apart)),
    ):
        assert wires(whole.svg) == wires(parted.svg) + 1
        assert texts(parted.svg).count(UNPLUGGED[1]) == parted.alt.count(UNPLUGGED[1]) == 1
        assert UNPLUGGED[1] not in whole.alt
    gone = replace(BEFORE, bridge=None)
    assert wires(picture(BEFORE).svg) == wires(picture(gone).svg) + 2  # nor to the router


def test_an_empty_vpc_is_a_picture() -> None:
    assert picture(Topology("172.16.0.0/16")).alt == "VPC 172.16.0.0/16"


def test_equal_facts_give_equal_bytes_and_two_states_are_in_order() -> None:
    assert picture(BEFORE) == picture(replace(BEFORE))
    both = before_after(BEFORE, AFTER)
    assert both == before_after(BEFORE, AFTER) != before_after(AFTER, BEFORE)
    assert [words for words in both.alt.splitlines() if words.endswith(":")] == [
        "before:",
        "after:",
    ]
    assert "eth0" not in both.alt


def test_everything_is_inside_and_no_wider_than_a_cell() -> None:
    for drawing in (picture(BEFORE), before_after(BEFORE, AFTER)):
        root = ET.fromstring(drawing.svg)
        width, height = int(root.get("width", 0)), int(root.get("height", 0))
        assert width == 760
        boxes = [each for each in root.iter() if each.tag.endswith("rect") and each.get("x")]
        for box in boxes:
            assert (
                0 < int(box.get("x", 0)) < int(box.get("x", 0)) + int(box.get("width", 0)) < width
            )
            assert 0 < int(box.get("y", 0)) + int(box.get("height", 0)) < height


def test_names_are_escaped_and_long_ones_shortened() -> None:
    t = replace(BEFORE, vm=Port("<b>&" + "a" * 59), published=None)
    drawing = picture(t)
    assert "<b>" not in drawing.svg
    (shown,) = (words for words in texts(drawing.svg) if words.startswith("<b>&"))
    assert shown.endswith("a…")
    assert t.vm is not None
    assert t.vm.name in drawing.alt


def test_the_picture_is_an_image_with_words_and_its_own_background() -> None:
    html = picture(BEFORE)._repr_html_()
    assert html.startswith('<img alt="VPC 172.16.0.0/16')
    svg = picture(BEFORE).svg
    assert "currentColor" not in svg
    assert "fill='#ffffff'" in svg[: svg.index("</svg>")]


@pytest.mark.parametrize("other", [BEFORE, picture(BEFORE), None])
def test_only_two_pictures_of_a_lab_are_put_side_by_side(other: Any) -> None:
    assert draw(BEFORE).beside(draw(AFTER)) == before_after(BEFORE, AFTER)
    with pytest.raises(BadSetting, match="side by side") as caught:
        draw(BEFORE).beside(other)
    assert "lab.topology()" in caught.value.next
