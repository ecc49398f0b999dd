"""Captures of a lab with real packets, while the swap turns drops into answers."""

from __future__ import annotations

import gc
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from oracle import differences

from osawslab import Lab, target
from osawslab.errors import BadSetting, LabBusy, LabError
from osawslab.observe.live import DELIVERED, REASONS
from osawslab.region import local

STORY = (
    "vm1", "router tenant port", "router gateway", "provider NIC", "VPC", "VPC drops", "internet",
)  # fmt: skip
pytestmark = pytest.mark.kernel


@pytest.fixture(scope="module")
def lab(home: object) -> Iterator[Lab]:
    """A lab up to the swap."""
    with Lab("seen") as made:
        try:
            made.catch_up("see_the_drop")
            yield made
        finally:
            local.remove("seen")


def ping(lab: Lab, count: int = 1) -> None:
    """Ping from the router, answered or not."""
    router = "$(ip netns list | grep -o '^qrouter-[^ ]*')"
    lab.shell(
        f"ip -n {router} neigh flush all; ip netns exec {router}"
        f" ping -n -i 0.05 -c {count} -W 1 8.8.8.8 || true"
    )


def captures(lab: Lab) -> int:
    """Count the captures that run on the instance."""
    told = lab.shell("for each in /proc/[0-9]*/cmdline; do tr '\\0' ' ' < $each; echo; done")
    return sum("exec(zlib" in line for line in told.output.splitlines())


def none_runs(lab: Lab) -> bool:
    """Wait until no capture runs on the instance."""
    end = time.monotonic() + 20
    while captures(lab) and time.monotonic() < end:
        time.sleep(0.05)
    return captures(lab) == 0


def test_the_drop_and_the_answer(lab: Lab, tmp_path: Path) -> None:
    with lab.capture(filter="icmp or arp") as before:
        ping(lab)
    assert tuple(point.name for point in before.points) == STORY
    frame = before.frame
    asked = frame[frame["says"].str.startswith("who-has 172.16.20.1 ").fillna(False)]
    assert set(asked["src_owner"]) == {"router gateway"}
    for point in ("provider NIC", "VPC", "VPC drops"):
        assert set(asked[asked["point"] == point]["verdict"]) == {REASONS["mac"]}, point
    assert "internet" not in set(frame["point"])

    assert lab.swap_mac().ok
    with lab.capture(filter="icmp or arp") as after:
        ping(lab)
    frame = after.frame
    echo = frame[frame["says"] == "echo request"]
    assert list(echo["point"]) == ["router gateway", "provider NIC", "VPC", "internet"]
    assert list(echo["verdict"].astype(object).fillna("")) == ["", DELIVERED, DELIVERED, ""]
    answer = frame[frame["says"] == "echo reply"]
    assert list(answer["point"]) == ["internet", "VPC", "provider NIC", "router gateway"]
    assert list(echo["direction"]) == ["out", "out", "in", "in"]
    assert frame["time"].is_monotonic_increasing
    assert after.lost == {}
    assert lab.reset("swap_mac")

    assert differences(after.save(tmp_path / "after.pcapng")) == []
    saved = before.save(tmp_path / "before.pcapng")
    assert differences(saved) == []
    assert names_and_warnings(saved.read_bytes()) == (["provider NIC", "router gateway"], "")


def names_and_warnings(data: bytes) -> tuple[list[str], str]:
    """Have tshark read a capture from a pipe: the interfaces it saw, and what it complained of."""
    done = subprocess.run(
        ["tshark", "-r", "-", "-T", "fields", "-e", "frame.interface_name"],
        input=data, capture_output=True, check=True,
    )  # fmt: skip
    words = [line for line in done.stderr.decode().splitlines() if "as user" not in line]
    names = {line for line in done.stdout.decode().splitlines() if line}
    return sorted(names & {"provider NIC", "router gateway"}), "\n".join(words)


def test_a_frame_of_the_nic_alone_has_its_verdict(lab: Lab) -> None:
    with lab.capture(["provider NIC"], filter="arp") as cap:
        ping(lab)
    assert [point.name for point in cap.points] == ["provider NIC"]
    assert set(cap.frame["verdict"]) == {REASONS["mac"]}


def test_what_the_vpcs_router_drops_has_its_reason(lab: Lab) -> None:
    assert lab.swap_mac().ok
    ec2 = lab.client()
    found = ec2.describe_network_interfaces(
        Filters=[{"Name": "private-ip-address", "Values": ["172.16.20.101"]}]
    )
    group = found["NetworkInterfaces"][0]["Groups"][0]["GroupId"]
    rule = {"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
    ec2.revoke_security_group_egress(GroupId=group, IpPermissions=[rule])
    try:
        with lab.capture(["provider NIC", "VPC drops"], filter="icmp") as cap:
            ping(lab)
    finally:
        ec2.authorize_security_group_egress(GroupId=group, IpPermissions=[rule])
        lab.reset("swap_mac")
    assert set(cap.frame["point"]) == {"provider NIC", "VPC drops"}
    assert set(cap.frame["verdict"]) == {REASONS["group"]}


def test_the_rule_of_a_network_acl_that_drops_is_named(lab: Lab) -> None:
    assert lab.swap_mac().ok
    ec2 = lab.client()
    [vpc] = ec2.describe_vpcs(Filters=[{"Name": "tag:osawslab:lab", "Values": ["seen"]}])["Vpcs"]
    own = [{"Name": "vpc-id", "Values": [vpc["VpcId"]]}]
    acl = ec2.describe_network_acls(Filters=own)["NetworkAcls"][0]["NetworkAclId"]
    rule, drops = {"NetworkAclId": acl, "RuleNumber": 77, "Egress": True}, lab.drops()
    ec2.create_network_acl_entry(
        **rule, Protocol="1", CidrBlock="8.8.8.8/32", RuleAction="deny",
        IcmpTypeCode={"Type": -1, "Code": -1},
    )  # fmt: skip
    try:
        with lab.capture(["provider NIC", "VPC drops"], filter="icmp") as cap:
            ping(lab)
        [row] = lab.why(cap.frame.iloc[0]).rows
    finally:
        ec2.delete_network_acl_entry(**rule)
        lab.reset("swap_mac")
    assert set(cap.frame["verdict"]) == {REASONS["acl"]}
    assert [each[1] for each in drops.diff(lab.drops()).rows] == ["acl"]
    assert row[1:3] == ("network ACL", "rule 77 out: deny ICMP to 8.8.8.8/32")
    assert "network ACL" in str(cap.follow("icmp").hops[-1].decided)


def test_a_point_by_any_of_its_names(lab: Lab) -> None:
    device = next(row[1] for row in lab.links().rows if "router gateway" in row)
    for words in (["qg-"], ["router gateway"], [device], ["qg-", device]):
        with lab.capture(words) as cap:
            pass
        assert [point.name for point in cap.points] == ["router gateway"]
    with lab.capture(["br-example ports", "VM", "br-example"]) as cap:
        pass
    assert [point.name for point in cap.points] == ["vm1", "br-example", "provider NIC"]


def test_a_point_that_is_not_there_is_refused_with_those_that_are(lab: Lab) -> None:
    with pytest.raises(BadSetting, match="no point 'eth9'") as caught:
        lab.capture(["provider NIC", "eth9"])
    assert all(name in caught.value.next for name in STORY)


@pytest.mark.parametrize("bound", ["seconds", "frames", "bytes"])
def test_a_bound_is_a_number_above_0(lab: Lab, bound: str) -> None:
    for wrong in (0, float("inf"), float("nan")):
        with pytest.raises(BadSetting, match=bound):
            lab.capture(**{bound: wrong})  # type: ignore[arg-type]


def test_it_says_that_it_ended_before_the_block(lab: Lab) -> None:
    with lab.capture(["router gateway"], frames=2) as cap:
        ping(lab, 3)
        assert none_runs(lab)
    assert len(cap) == 2
    assert cap.caption.endswith("it ended by itself: 2 frames were there")


def test_its_bytes_are_those_of_all_points(lab: Lab) -> None:
    with lab.capture(["VM", "qr-"], filter="icmp", bytes=9000) as cap:
        lab.shell("ip netns exec vm-vm1 ping -q -l 20 -c 20 -s 1000 192.168.20.1")  # all at once
        assert none_runs(lab)
    assert 7000 < cap.frame["captured"].sum() <= 9000
    assert cap.caption.endswith("it ended by itself: 9,000 bytes were there")


def test_where_the_places_program_dies_nobody_knows_what_was_delivered(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends: list[socket.socket] = []
    begin = target.LocalVantage.program

    def program(*words: Any) -> socket.socket:
        ends.append(begin(*words))
        return ends[0]

    monkeypatch.setattr(target.LocalVantage, "program", program)
    with lab.capture(["provider NIC"], filter="arp") as cap:
        ends[0].shutdown(socket.SHUT_RDWR)
        ping(lab)
    assert len(cap) > 0
    assert set(cap.frame["verdict"].astype(object).fillna("")) == {""}
    assert cap.caption.endswith("it ended by itself: the connection broke")


def test_of_two_at_once_one_is_told_of_the_drops(lab: Lab) -> None:
    with lab.capture() as cap:
        with lab.capture() as other:
            ping(lab)
        with pytest.raises(LabBusy, match="VPC drops"):
            lab.capture("VPC drops")
        with lab.capture("provider NIC") as third:
            ping(lab)
    unknown = "what was dropped is unknown: VPC drops is another capture's just now"
    assert third.caption == f"Captured at provider NIC; {unknown}"
    assert "VPC drops is another capture's just now" in other.caption
    assert set(cap.frame[cap.frame["point"] == "VPC drops"]["verdict"]) == {REASONS["mac"]}
    at_nic = other.frame[other.frame["point"] == "provider NIC"]
    assert set(at_nic["verdict"].astype(object).fillna("")) == {""}


def test_its_own_connection_is_left_out_and_others_are_not(lab: Lab, tmp_path: Path) -> None:
    points = ["management NIC", "VPC management", "internet"]
    with lab.capture(points, filter="tcp port 22") as cap:
        lab.shell("true")
    assert len(cap) == 0
    with Lab("seen") as other, lab.capture(points, filter="tcp port 22") as cap:
        other.shell("true")
    assert set(cap.frame["point"]) == set(points)
    assert differences(cap.save(tmp_path / "login.pcapng")) == []
    assert cap.frame["payload"].max() > 500  # keys are exchanged


def test_an_error_in_the_block_ends_it(lab: Lab) -> None:
    cap = lab.capture(["router gateway"])

    def stopped() -> None:
        with cap:
            ping(lab)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert none_runs(lab)
    assert len(cap) > 0


def test_one_that_nobody_has_any_more_ends(lab: Lab) -> None:
    cap = lab.capture()
    assert captures(lab) == 1
    del cap
    gc.collect()
    assert none_runs(lab)


def test_a_cut_connection_ends_it(lab: Lab) -> None:
    with Lab("seen") as other:
        cap = other.capture(["router gateway"])
        assert captures(lab) == 1
        other.connection().transport.sock.close()
    assert none_runs(lab)
    cap.stop()
    assert cap.caption.endswith("it ended by itself: the connection broke")


DIES = """
import os, signal
from osawslab import Lab, target
lab = Lab("seen")
cap = lab.capture()
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_laptop_that_dies_ends_it(lab: Lab) -> None:
    done = subprocess.run([sys.executable, "-c", DIES], check=False, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert none_runs(lab)
    with lab.capture(["VPC drops"]):  # the place's has ended too: it is free again
        pass


def test_wireshark_reads_it_while_it_goes_on(lab: Lab) -> None:
    words = ["wireshark", "--name", "seen", "--filter", "icmp or arp", "--write", "-"]
    with subprocess.Popen(
        [sys.executable, "-m", "osawslab.cli", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        first = os.read(child.stdout.fileno(), 1 << 16)  # it captures
        ping(lab)
        data = os.read(child.stdout.fileno(), 1 << 16)  # before its end
        assert data
        child.send_signal(signal.SIGINT)
        rest, said = child.stdout.read(), child.stderr.read().decode()
        assert child.wait(20) == 0, said
    names, warnings = names_and_warnings(first + data + rest)
    assert names == ["provider NIC", "router gateway"]
    assert warnings == ""
    assert "frames; captured at vm1" in said


def test_without_wireshark_it_says_what_to_type(lab: Lab, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "osawslab.cli", "wireshark", "--name", "seen"],
        env={**os.environ, "PATH": str(tmp_path)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "wireshark --write - | tshark -r -" in done.stderr


def test_it_wants_a_lab(new_lab: object) -> None:
    with pytest.raises(LabError, match="running instance"), Lab("none") as lab:
        lab.capture()
    local.remove("none")


def test_where_nobody_else_can_look_the_verdict_is_what_can_be_known(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(target.LocalVantage, "points", target.NoVantage.points)
    monkeypatch.setattr(target.LocalVantage, "owners", target.NoVantage.owners)
    verdicts = {}
    for when in ("before", "after"):
        with lab.capture(filter="icmp or arp") as cap:
            ping(lab)
        assert [point.name for point in cap.points] == list(STORY[:4])
        at_nic = cap.frame[cap.frame["point"] == "provider NIC"]
        told = zip(at_nic["says"].astype(str), at_nic["verdict"].astype(object), strict=True)
        verdicts[when] = {says.split(" 172")[0]: verdict for says, verdict in told}
        assert (lab.swap_mac if when == "before" else lambda: lab.reset("swap_mac"))()
    assert list(map(str, verdicts["before"].values())) == ["nan"]
    assert set(verdicts["after"].values()) == {DELIVERED}
    assert {"echo request", "echo reply"} <= verdicts["after"].keys()
