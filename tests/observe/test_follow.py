"""One packet at every point: found by what hops along, followed to where it died."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from wayfarer import FAR, REFUSED, Frame, back, capture, login, there, welcome, who_has

from osawslab.errors import BadCapture, BadSetting
from osawslab.observe.capture import Capture
from osawslab.observe.follow import TWICE, Followed

DROP = "dropped by the VPC: MAC not registered"


def ways(followed: Followed) -> list[tuple[str, str]]:
    return [(hop.way, hop.at) for hop in followed.hops]


def changed(followed: Followed, way: str, at: str) -> str:
    [hop] = [hop for hop in followed.hops if (hop.way, hop.at) == (way, at)]
    return "; ".join(hop.changed)


def test_a_ping_there_and_back_at_every_point() -> None:
    followed = capture([*there(), *back()]).follow()
    out = ["vm1", "router tenant port", "router gateway", "provider NIC", "VPC", "internet"]
    assert ways(followed) == [*(("asks", each) for each in out),
                              *(("answers", each) for each in reversed(out))]  # fmt: skip
    assert followed.answered
    assert not followed.ambiguous
    assert followed.caption == "echo request, 192.168.20.5 (vm1) to 8.8.8.8: answered"


@pytest.mark.parametrize(
    ("way", "at", "words"),
    [
        ("asks", "router tenant port", ""),
        (
            "asks",
            "router gateway",
            "source 192.168.20.5 (vm1) → 172.16.20.101 (router gateway) (SNAT);"
            " id of the echo, for another one; TTL 1 less: routed;"
            " from MAC 02:00:00:00:01:02 (router gateway); to MAC 02:00:00:00:01:03 (VPC router)",
        ),
        ("asks", "provider NIC", ""),
        (
            "asks",
            "internet",
            "source 172.16.20.101 (router gateway) → 203.0.113.11 (provider NIC's Elastic IP)"
            " (Elastic IP); TTL 1 less: routed; from MAC 02:00:00:00:01:04 (unknown);"
            " to MAC 02:00:00:00:01:05 (unknown)",
        ),
        (
            "answers",
            "router tenant port",
            "destination 172.16.20.101 (router gateway) → 192.168.20.5 (vm1) (SNAT undone);"
            " id of the echo, for another one; TTL 1 less: routed;"
            " from MAC 02:00:00:00:01:01 (router tenant port); to MAC 02:00:00:00:01:00 (vm1)",
        ),
    ],
)
def test_what_a_hop_changed_on_a_ping(way: str, at: str, words: str) -> None:
    followed = capture([*there(), *back()]).follow()
    assert changed(followed, way, at) == words


def test_a_published_port_from_the_internet() -> None:
    followed = capture([*login(), *welcome()]).follow()
    assert followed.answered
    assert changed(followed, "asks", "VPC").startswith(
        "destination 203.0.113.11:522 (provider NIC's Elastic IP) →"
        " 172.16.20.101:522 (router gateway) (Elastic IP)"
    )
    assert changed(followed, "asks", "router tenant port").startswith(
        "destination 172.16.20.101:522 (router gateway) → 192.168.20.5:22 (vm1) (DNAT)"
    )
    assert changed(followed, "answers", "router gateway").startswith(
        "source 192.168.20.5:22 (vm1) → 172.16.20.101:522 (router gateway) (DNAT undone)"
    )
    assert followed.caption.startswith("SYN, 198.51.100.7 to 203.0.113.11:522")


def test_a_source_port_by_chance_is_not_told() -> None:
    inner = login()[-2:]
    other = [each.but(ports=(51000, 22)) for each in inner]
    followed = capture([*login()[:-2], *other]).follow()
    assert "source port, for another one" in changed(followed, "asks", "router tenant port")
    assert "51000" not in repr(followed) + followed.picture.svg
    assert "40501" not in repr(followed) + followed.picture.svg


def test_two_runs_give_the_same_table_and_picture() -> None:
    one = capture([*there(), *back()]).follow()
    other = capture(
        [
            *there(30001, 30002, ip_id=9, payload=b"another time of the day, same length.."),
            *back(30001, 30002, payload=b"another time of the day, same length.."),
        ]
    ).follow()
    assert repr(one) == repr(other)
    assert one.picture == other.picture
    assert one.rows == other.rows


def fate(frames: list[Frame]) -> str:
    return capture(frames).follow().outcome


@pytest.mark.parametrize(
    ("frames", "outcome"),
    [
        (there()[:1], "no answer is seen; seen last at vm1"),
        (there()[:2], "no answer is seen; seen last at router tenant port"),
        (there()[:3], "no answer is seen; seen last at router gateway"),
        (
            [*there()[:3], *(each.but(verdict=DROP) for each in there()[3:5])],
            f"died after provider NIC, {DROP}",
        ),
        (there(), "no answer is seen; seen last at internet"),
        (
            [*there(), *back()[:1]],
            "the answer is seen last at internet, not at vm1",
        ),
        ([*there(), *back()[:4]], "the answer is seen last at router gateway, not at vm1"),
        (
            [*there(), *(each.but(verdict=DROP) for each in back()[:2])],
            f"the answer died after internet, {DROP}",
        ),
        (
            [*there()[:2], REFUSED],
            "no answer, but an error from 192.168.20.1: destination unreachable: host",
        ),
        (
            [*there()[:2], *who_has(["router gateway", "provider NIC", "VPC"], DROP)],
            "the next hop's MAC is not learned: who-has 172.16.20.1 tell 172.16.20.101"
            f" died after provider NIC, {DROP}",
        ),
        (
            [*there()[:2], *who_has(["router gateway", "provider NIC"], DROP), REFUSED],
            "the next hop's MAC is not learned: who-has 172.16.20.1 tell 172.16.20.101"
            f" died after provider NIC, {DROP}",
        ),
        (
            [*there()[:2], *who_has(["router gateway"])],
            "no answer: who-has 172.16.20.1 tell 172.16.20.101, and nobody says",
        ),
        (who_has(["router gateway", "provider NIC"], DROP), f"died after provider NIC, {DROP}"),
        (login()[:3], "no answer is seen; seen last at provider NIC"),
        ([*login(), *welcome(0x14)], "refused"),
        ([*login(), *welcome()[:3]], "the answer is seen last at router gateway, not at internet"),
    ],
)
def test_where_it_died(frames: list[Frame], outcome: str) -> None:
    assert fate(frames) == outcome


@pytest.mark.parametrize("other", [there(8)[0], there(seq=2)[0]])
def test_an_error_of_another_packet_is_not_its_own(other: Frame) -> None:
    other = REFUSED.but(payload=other.data[14:42])
    assert fate([*there()[:2], other]) == "no answer is seen; seen last at router tenant port"


def test_two_that_ask_by_arp_are_nobodys_waiting() -> None:
    frames = [*there()[:2], *who_has(["router gateway"]), *who_has(["vm1"], dst="192.168.20.9")]
    assert fate(frames) == "no answer is seen; seen last at router tenant port"


def test_two_identical_pings_are_ambiguous() -> None:
    twice = [each for each in there() for _ in (1, 2)]
    followed = capture([*twice, *back()]).follow()
    assert followed.ambiguous
    assert followed.outcome.startswith(TWICE)
    assert len(followed.hops) == len(twice) + len(back())
    assert {hop.verdict for hop in followed.hops} == {TWICE}
    assert not followed.answered


def test_two_that_only_look_alike_are_told_apart_by_their_identification() -> None:
    frames = [*there(), *there(7, 10, ip_id=78), *back(), *back(7, 10)]
    followed = capture(frames).follow(6)
    assert not any(hop.row < 6 for hop in followed.hops if hop.way == "asks")
    assert len([hop for hop in followed.hops if hop.way == "asks"]) == 6


def test_pings_of_one_program_are_told_apart_by_number_and_payload() -> None:
    frames = [*there(), *there(seq=2), *back(), *back(seq=2)]
    followed = capture(frames).follow(8)
    assert followed.answered
    assert [hop.row for hop in followed.hops] == [*range(6, 12), *range(18, 24)]
    other = there()[0].payload.swapcase()
    followed = capture([*there(), *there(payload=other), *back()]).follow(6)
    assert [hop.row for hop in followed.hops] == [*range(6, 12)]
    assert not followed.ambiguous


def test_two_inside_one_outside_are_ambiguous_until_tracking_tells() -> None:
    one, two = there()[:2], there(8)[:2]
    two = [each.but(src="192.168.20.6") for each in two]
    followed = capture([*one, *two, *there()[2:]]).follow(0)
    assert followed.ambiguous


def test_a_syn_that_is_sent_again_is_one() -> None:
    again = [each.but(ip_id=78) for each in login()]
    followed = capture([*login()[:3], *again, *welcome()]).follow()
    assert followed.answered
    assert len(followed.hops) == 12
    assert repr(followed) == repr(capture([*login(), *welcome()]).follow())


def test_two_connections_with_the_same_number_are_ambiguous() -> None:
    other = [each.but(ports=(40502, each.ports[1])) for each in login()]
    assert capture([*login(), *other]).follow(0).ambiguous


def test_a_port_that_is_used_again_is_another_connection() -> None:
    later = [each.but(seq=17) for each in login()]
    followed = capture([*login(), *welcome(), *later]).follow(12)
    assert {hop.row for hop in followed.hops} == set(range(12, 18))
    assert not followed.answered
    assert {hop.row for hop in capture([*login(), *welcome(), *later]).follow(7).hops} == set(
        range(12)
    )


def test_arp_that_is_answered_is_not_what_a_packet_waits_for() -> None:
    asks = who_has(["router gateway"])
    says = asks[0].but(direction="in", kind=2, src="172.16.20.1", dst="172.16.20.101")
    assert len(capture([*there()[:2], *asks, says]).follow("icmp").hops) == 2
    followed = capture([*asks, says]).follow()
    assert followed.answered
    assert ways(followed) == [("ARP", "router gateway"), ("ARP answers", "router gateway")]
    assert capture([*asks, says]).follow(1).rows == followed.rows


def test_any_frame_of_a_connection_leads_to_its_beginning() -> None:
    data = [each.but(kind=0x18, seq=4_000_000_001, payload=b"SSH-2.0") for each in login()]
    whole = capture([*login(), *welcome(), *data])
    for row in (0, 3, 7, 13, 17):
        assert whole.follow(row).rows == whole.follow("tcp").rows


def test_a_connection_whose_beginning_is_not_there() -> None:
    data = [each.but(kind=0x18, seq=100, ack=1, payload=b"SSH-2.0") for each in login()]
    acks = [each.but(kind=0x10, ack=107) for each in welcome()]
    followed = capture([*data, *acks]).follow()
    assert followed.answered
    assert len(followed.hops) == 12


@pytest.mark.parametrize("offset", [0x2000, 0x00B9])
def test_fragments_are_not_claimed(offset: int) -> None:
    pieces = [each.but(fragment=offset) for each in there()]
    with pytest.raises(BadCapture):
        capture(pieces).follow("icmp")
    with pytest.raises(BadSetting):
        capture(pieces).follow(0)
    assert len(capture([*pieces, *there(), *back()]).follow("icmp").hops) == 12


@pytest.mark.parametrize("point", ["provider NIC", "vm1"])
def test_a_single_point(point: str) -> None:
    frames = [each for each in [*there(), *back()] if each.point == point]
    followed = capture(frames, [point]).follow()
    assert followed.answered
    assert ways(followed) == [("asks", point), ("answers", point)]
    alone = capture(frames[:1], [point]).follow()
    assert alone.outcome == f"no answer is seen; seen last at {point}"


def test_cut_frames_and_vlans_are_followed() -> None:
    tagged = [each.but(vlan=2) if each.point == "vm1" else each for each in [*there(), *back()]]
    assert len(capture(tagged).follow().hops) == 12
    cut = [each.but(cut=60) if each.point != "VPC" else each for each in [*there(), *back()]]
    followed = capture(cut).follow()
    assert followed.answered
    assert len(followed.hops) == 12


def test_the_order_of_the_way_is_that_of_the_hops_where_clocks_differ() -> None:
    followed = capture([*there()[2:], *there()[:2]]).follow("icmp")
    assert [hop.at for hop in followed.hops] == [each.point for each in there()]


def test_a_frame_that_does_not_pass_by_time_alone() -> None:
    stranger = there()[2].but(dst="9.9.9.9", ip_id=5, payload=b"x", seq=4)
    followed = capture([*there()[:2], stranger]).follow(0)
    assert [hop.row for hop in followed.hops] == [0, 1]


@pytest.mark.parametrize(
    ("choose", "says"),
    [
        (lambda each: each.follow(), "SYN"),  # dropped
        (lambda each: each.follow("icmp"), "echo request"),
        (lambda each: each.follow("arp"), "who-has 172.16.20.1 tell 172.16.20.101"),
        (lambda each: each.follow(1), "echo request"),
        (lambda each: each.follow(each.frame.iloc[12]), "SYN"),
        (lambda each: each.follow(each.frame[each.frame["src_mac"] == FAR].iloc[-1]), "SYN"),
    ],
)
def test_what_is_followed(choose: Callable[[Capture], Followed], says: str) -> None:
    syn = [each.but(verdict=DROP if each.point == "VPC" else each.verdict) for each in login()[:2]]
    made = capture([*there(), *back(), *syn, *who_has(["router gateway"])])
    assert choose(made).hops[0].says == says


@pytest.mark.parametrize("what", ["udp", -99, 99, 2.5j, object(), "icmp "])
def test_what_nobody_can_follow(what: object) -> None:
    with pytest.raises(BadSetting):
        capture(there()).follow(what)


def test_nothing_to_follow() -> None:
    with pytest.raises(BadCapture):
        capture([]).follow()
    with pytest.raises(BadCapture):
        capture(there()).follow("tcp")


def test_the_frame_has_everything_of_its_rows() -> None:
    made = capture([*there(), *back()])
    frame = made.follow().frame
    assert list(frame["way"]) == ["asks"] * 6 + ["answers"] * 6
    assert set(made.frame.columns) < set(frame.columns)
    assert list(frame["ident"])[:3] == [7, 7, 9]


def test_a_packet_between_others_is_not_claimed_though_it_looks_alike() -> None:
    stranger = there()[2].but(src="10.0.0.1", dst="9.9.9.9")
    followed = capture([*there()[:2], stranger]).follow(0)
    assert [hop.row for hop in followed.hops] == [0, 1]


def test_a_connection_with_the_same_number_and_another_identification_is_another() -> None:
    stranger = login()[4].but(dst="192.168.20.7", ip_id=5)
    followed = capture([*login()[:2], stranger]).follow(0)
    assert [hop.row for hop in followed.hops] == [0, 1]
