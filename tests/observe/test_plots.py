"""Plots of a capture: what they draw, what they say in words, and what they refuse."""

from __future__ import annotations

import io
import struct

import pytest
from wire import BROADCAST, arp, ethernet, ipv4

from osawslab.errors import BadCapture
from osawslab.observe import pcapng, plots
from osawslab.observe.capture import Capture, load_capture
from osawslab.observe.container import Point
from osawslab.observe.figures import Chart

GATEWAY, NIC, ROUTER = "fa:16:3e:00:00:01", "02:00:00:00:00:02", "0a:00:00:00:00:03"
US, THERE, WAY = "172.16.20.101", "8.8.8.8", "172.16.20.1"
OWNERS = {GATEWAY: "router gateway", NIC: "provider NIC", ROUTER: "VPC router"}
DROPPED = "dropped by the VPC: MAC not registered"
POINTS = ("router gateway", "provider NIC")


def echo(kind: int, ident: int, number: int) -> bytes:
    return struct.pack("!BBHHH", kind, 0, 0, ident, number) + b"x" * 24


def ask(number: int, ident: int = 7, source: str = NIC) -> bytes:
    return ethernet(source, ROUTER, 0x800, ipv4(US, THERE, echo(8, ident, number)))


def tell(number: int, ident: int = 7) -> bytes:
    return ethernet(ROUTER, NIC, 0x800, ipv4(THERE, US, echo(0, ident, number)))


def who(source: str) -> bytes:
    return ethernet(source, BROADCAST, 0x806, arp(source, US, WAY))


def capture(*frames: tuple[float, int, bytes, str]) -> Capture:
    """Make a capture of (milliseconds, point, frame, verdict)."""
    file = io.BytesIO()
    pcapng.begin(file, [Point(name, 1, ticks=10**9) for name in POINTS])
    for time, point, data, verdict in frames:
        pcapng.write(
            file, data, point=point, time=int((1000 + time) * 10**6), length=len(data),
            direction=0, comments=pcapng.words(verdict, ""),
        )  # fmt: skip
    return load_capture(file.getvalue(), OWNERS)


SWAP = (
    (0, 0, who(GATEWAY), ""),
    (0, 1, who(GATEWAY), DROPPED),
    (1000, 1, who(GATEWAY), DROPPED),
    (3000, 1, who(NIC), "delivered"),
    (3001, 1, ask(1), "delivered"),
    (3003, 1, tell(1), "delivered"),
    (4000, 1, ask(2), "delivered"),
    (4500, 1, ask(3, 9), "delivered"),
    (4505, 1, tell(3, 8), "delivered"),
)


def words(chart: Chart) -> list[str]:
    return str(chart.figure.get_label()).splitlines()


def test_the_sequence_says_each_message_once_in_order_and_marks_what_was_dropped() -> None:
    chart = capture(*SWAP).plot.sequence()
    asked = f"who-has {WAY} tell {US}"
    assert words(chart) == [
        "ARP and ICMP at provider NIC, in order:",
        f"router gateway to everybody: {asked}, {DROPPED}",
        f"provider NIC to everybody: {asked}, delivered",
        "provider NIC to VPC router: echo request, delivered",
        "VPC router to provider NIC: echo reply, delivered",
    ]
    [axes] = chart.figure.axes
    crosses = [line for line in axes.lines if line.get_marker() == "x"]
    assert len(crosses) == 1
    drawn = {text.get_text() for text in axes.texts}
    assert {asked, DROPPED, "router gateway", "VPC router", "echo reply"} <= drawn


def test_equal_conversations_give_equal_pictures() -> None:
    later = [(time * 1.7 + 5, point, data, verdict) for time, point, data, verdict in SWAP]
    first, second = (capture(*each).plot.sequence()._repr_png_()[0] for each in (SWAP, later))
    assert first == second


def test_a_sequence_can_be_of_another_point() -> None:
    assert len(words(capture(*SWAP).plot.sequence("router gateway"))) == 2
    with pytest.raises(BadCapture, match="'moon'") as caught:
        capture(*SWAP).plot.sequence("moon")
    assert caught.value.seen == "provider NIC, router gateway"


def test_a_long_sequence_says_how_much_is_left_out() -> None:
    frames = [(n, 1, ethernet(NIC, BROADCAST, 0x806, arp(NIC, US, f"10.0.0.{n}")), "")
              for n in range(plots.SHOWN + 3)]  # fmt: skip
    assert words(capture(*frames).plot.sequence())[-1] == "and 3 more"


def test_round_trips_are_matched_by_identification_and_sequence_never_by_time() -> None:
    found = plots.echoes(capture(*SWAP).frame)
    assert found["number"].tolist() == [1, 2, 3]
    assert found["milliseconds"].round(3).fillna(-1).tolist() == [2.0, -1, -1]
    chart = capture(*SWAP).plot.round_trips()
    assert words(chart)[1:] == ["provider NIC: 1 of 3 answered, in 2.00 ms"]
    [axes] = chart.figure.axes
    assert [line.get_label() for line in axes.lines] == ["provider NIC", "provider NIC: no reply"]


def test_a_request_that_was_sent_again_keeps_its_first_time() -> None:
    found = plots.echoes(capture((0, 1, ask(1), ""), (5, 1, ask(1), ""), (6, 1, tell(1), "")).frame)
    assert found["milliseconds"].tolist() == [6.0]


def test_each_point_has_its_own_times() -> None:
    frames = [(0, 0, ask(1), ""), (1, 1, ask(1), ""), (3, 1, tell(1), ""), (4, 0, tell(1), "")]
    found = plots.echoes(capture(*frames).frame)
    assert dict(zip(found["point"], found["milliseconds"], strict=True)) == {
        "router gateway": 4.0,
        "provider NIC": 2.0,
    }


def test_many_pings_are_summed_up_in_words() -> None:
    frames = [(2 * n + each, 1, (ask, tell)[each](n), "") for n in range(20) for each in (0, 1)]
    assert words(capture(*frames).plot.round_trips())[1].endswith(
        "20 of 20 answered, in 1.00 to 1.00 ms, half of them within 1.00 ms"
    )


def test_drops_rise_and_stop() -> None:
    chart = capture(*SWAP).plot.drops()
    assert words(chart) == [
        "Frames dropped and delivered at provider NIC, over time, 4.5 s:",
        "6 delivered, from 3.0 s to 4.5 s",
        f"2 {DROPPED}, from 0.0 s to 1.0 s",
    ]
    [axes] = chart.figure.axes
    lines = {str(line.get_label()): line for line in axes.lines}
    dropped = lines[f"{DROPPED} (2)"]
    assert list(dropped.get_ydata()) == [0, 1, 2, 2]
    styles = {line.get_linestyle() for line in axes.lines}
    assert len(styles) == len(axes.lines)  # told apart without colour


@pytest.mark.parametrize(
    ("name", "what"),
    [("sequence", "ARP or ICMP"), ("round_trips", "an echo request"), ("drops", "a verdict")],
)
def test_where_there_is_nothing_to_draw_it_says_what_is_there(name: str, what: str) -> None:
    syn = struct.pack("!HHIIBBHHH", 40000, 22, 1, 0, 0x50, 2, 64000, 0, 0)
    frames = capture((0, 1, ethernet(NIC, ROUTER, 0x800, ipv4(US, THERE, syn, 6)), ""))
    for of in (frames, capture()):
        with pytest.raises(BadCapture, match=f"not {what}") as caught:
            getattr(of.plot, name)()
        assert caught.value.seen == ("1 frames: TCP" if len(of) else "0 frames: nothing")


def test_broken_frames_are_not_drawn() -> None:
    with pytest.raises(BadCapture):
        capture((0, 1, ask(1)[:38], "")).plot.round_trips()
    assert "sequence()" in repr(capture().plot)
