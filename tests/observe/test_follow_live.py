"""One packet followed through a real lab: before the swap, after it, and from the internet."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from osawslab import Lab
from osawslab.errors import BadSetting
from osawslab.observe.follow import Followed
from osawslab.region import local

OUT = ["vm1", "router tenant port", "router gateway", "provider NIC", "VPC", "internet"]
ENTER = "ip netns exec $(ip netns | grep -o '{}[^ ]*') "


@pytest.fixture(params=["openvswitch", "linux"])
def lab(request: pytest.FixtureRequest, home: object) -> Iterator[Lab]:
    """A lab up to the swap, on either kind of bridge."""
    with Lab("follow", bridge=request.param) as made:
        try:
            made.catch_up("swap_mac")
            yield made
        finally:
            local.remove("follow")


def ping(lab: Lab, where: str, seconds: int = 1, count: int = 2) -> Followed:
    with lab.capture(filter="icmp or arp") as capture:
        words = f"ping -n -c {count} -i 0.3 -W {seconds} 8.8.8.8 || true"
        lab.shell(ENTER.format(where) + words)
    return capture.follow()


def tables(followed: Followed) -> dict[tuple[str, str], str]:
    return {(hop.way, hop.at): hop.decided.table if hop.decided else "" for hop in followed.hops}


@pytest.mark.kernel
def test_the_lab(lab: Lab) -> None:
    died = ping(lab, "qrouter-")
    where = ["router gateway", "provider NIC", "VPC", "VPC drops"]
    assert [hop.at for hop in died.hops] == where
    drop = "dropped by the VPC: MAC not registered"
    assert died.outcome == f"died after provider NIC, {drop}"
    registered = lab.links().frame.query("what == 'provider NIC'")["mac"].item()
    gateway = lab.links().frame.query("what == 'router gateway'")["mac"].item()
    assert lab.why(died.hops[1]).rows == (
        ("VPC", "registered pairs", f"provider NIC: {registered} with 172.16.20.101",
         f"MAC {gateway} is not registered: dropped"),
    )  # fmt: skip
    waits = ping(lab, "vm-", seconds=4, count=1)
    assert waits.outcome.startswith("the next hop's MAC is not learned: who-has 172.16.20.1")
    asked = any(hop.way == "ARP" for hop in waits.hops)  # else before the capture had begun
    assert waits.outcome.endswith(drop if asked else "destination unreachable: host")

    assert lab.swap_mac().ok
    passed = ping(lab, "vm-")
    assert passed.answered
    assert [hop.at for hop in passed.hops] == [*OUT, *OUT[::-1]]
    assert tables(passed) == {
        ("asks", "vm1"): "routes",
        ("asks", "router tenant port"): "NAT rules",
        ("asks", "router gateway"): "neighbours (ARP)",
        ("asks", "provider NIC"): "registered pairs",
        ("asks", "VPC"): "Elastic IPs",
        ("asks", "internet"): "",
        ("answers", "internet"): "Elastic IPs",
        ("answers", "VPC"): "registered pairs",
        ("answers", "provider NIC"): "FDB of br-example",
        ("answers", "router gateway"): "NAT rules",
        ("answers", "router tenant port"): "neighbours (ARP)",
        ("answers", "vm1"): "addresses",
    }
    again = ping(lab, "vm-")
    assert again.rows == passed.rows
    assert again.picture == passed.picture

    with lab.capture(filter="tcp port 522 or tcp port 22") as capture:
        assert lab.publish_vm().ok
    login = capture.follow("tcp")
    assert login.answered
    assert login.tracked
    assert capture.facts is not None
    inward = [each for each in capture.facts.tracked if each.before.dport == 522]
    becomes = {(each.protocol, each.after.dst, each.after.dport) for each in inward}
    assert becomes == {("TCP", "192.168.20.5", 22)}
    assert [hop.at for hop in login.hops] == [*OUT[::-1], *OUT]
    kinds = {hop.at: " ".join(hop.changed) for hop in login.hops if hop.way == "asks"}
    assert "(Elastic IP)" in kinds["VPC"]
    assert (
        "172.16.20.101:522 (router gateway) → 192.168.20.5:22 (vm1) (DNAT)"
        in (kinds["router tenant port"])
    )
    [row] = lab.why(login.frame.query("point == 'router gateway' and way == 'asks'").iloc[0]).rows
    assert row[1] == "NAT rules"
    assert "--dport 522 DNAT to 192.168.20.5:22" in row[2]
    [row] = lab.why(login.frame.query("point == 'internet' and way == 'asks'").iloc[0]).rows
    assert row[1] == "Elastic IPs"

    with pytest.raises(BadSetting):
        lab.why(7)
