"""The tables of a lab's state with real packets: the swap moves what it moves, and nothing else."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from osawslab import Lab
from osawslab.errors import CannotReach, StepNotReady
from osawslab.region import local

BRIDGES = ("openvswitch", "linux")
TABLES = ("arp", "links", "fdb", "routes", "nat", "drops")


@pytest.fixture(params=BRIDGES)
def lab(request: pytest.FixtureRequest, home: object) -> Iterator[Lab]:
    """A lab up to the swap, on either kind of bridge."""
    with Lab("tables", bridge=request.param) as made:
        try:
            made.catch_up("swap_mac")
            yield made
        finally:
            local.remove("tables")


@pytest.mark.kernel
def test_before_and_after_the_swap(lab: Lab) -> None:
    before = {name: getattr(lab, name)() for name in TABLES}
    drawn = lab.topology()
    frame = before["links"].frame
    registered, gateway = (
        frame[frame["what"] == what]["mac"].item() for what in ("provider NIC", "router gateway")
    )
    assert lab.swap_mac().ok
    after = {name: getattr(lab, name)() for name in TABLES}
    assert before["arp"].diff(after["arp"]).rows == (
        ("~ changed", "VPC", "172.16.20.101", "router gateway", registered,
         "provider NIC → router gateway", "registered"),
        ("~ changed", "router", "172.16.20.101", "router gateway", f"{gateway} → {registered}",
         "router gateway", "own"),
    )  # fmt: skip
    changed = before["links"].diff(after["links"]).frame
    assert set(changed["change"]) == {"~ changed"}
    assert set(changed["column"]) == {"MAC", "registered for"}
    names = {"eth1", after["links"].frame.query("what == 'router gateway'")["name"].item()}
    # A Linux bridge takes the MAC of its port, one of Open vSwitch in user space keeps its own.
    if lab.settings.bridge == "linux":
        names.add("br-example")
    assert set(changed["interface"]) == names
    assert not before["routes"].diff(after["routes"])
    assert not before["nat"].diff(after["nat"])
    was, is_ = drawn.beside(lab.topology()).alt.split("after:")
    assert f"MAC now {gateway}" in was
    assert "MAC not registered: dropped" in was
    assert f"MAC now {registered}" in is_
    assert "dropped" not in is_
    old = after["fdb"].frame.query("mac == @gateway")
    assert set(old["mac_owner"]) == {"unknown"}  # learned before, and nobody has it any more

    assert lab.verify().ok
    new = lab.fdb().frame.query("mac == @registered and kind == 'learned'")
    assert set(new["mac_owner"]) == {"router gateway"}
    assert "br-example" in set(new["bridge"])

    ec2, nat = lab.client(), lab.nat()
    address = next(
        each for each in ec2.describe_addresses()["Addresses"]
        if each["PrivateIpAddress"] == "172.16.20.101"
    )  # fmt: skip
    ec2.disassociate_address(AssociationId=address["AssociationId"])
    gone = nat.diff(lab.nat()).rows
    assert {row[0] for row in gone} == {"- went"}
    assert len(gone) == 2  # there and back
    assert lab.provision().ok

    lab.reset("swap_mac")
    assert not before["arp"].diff(lab.arp())
    assert not before["links"].diff(lab.links())


@pytest.mark.kernel
def test_the_picture_draws_what_is_and_not_what_was_set(lab: Lab) -> None:
    healthy = lab.topology().alt
    assert lab.swap_mac().ok
    assert "gateway port" in healthy
    assert "not plugged in" not in healthy
    frame = lab.links().frame
    nic, port, inner, vm = (
        frame[frame["what"] == what].iloc[0]
        for what in ("provider NIC", "router gateway", "router tenant port", "vm1")
    )
    for each in (inner, vm):
        assert f"MAC {each['mac']}, IP {each['addresses'].partition('/')[0]}" in healthy
    router = port["namespace"]
    out, into = (
        (f"ovs-vsctl del-port {nic['name']}", f"ovs-vsctl add-port br-example {nic['name']}")
        if lab.settings.bridge == "openvswitch"
        else (f"ip link set {nic['name']} nomaster", f"ip link set {nic['name']} master br-example")
    )
    lab.shell(f"ip -n {router} addr del 172.16.20.101/24 dev {port['name']}")
    assert "no IP: sends nothing" in lab.topology().alt
    lab.shell(f"ip -n {router} addr add 172.16.20.9/24 dev {port['name']}")
    lab.shell(f"ip -n {router} addr del 192.168.20.1/24 dev {inner['name']}")
    lab.shell(f"ip -n {router} addr add 192.168.20.77/24 dev {inner['name']}")
    lab.shell(
        f"ip netns exec {router} iptables -t nat -A PREROUTING -d 172.16.20.101 -p tcp"
        " --dport 2222 -j DNAT --to-destination 192.168.20.5:22"
    )
    lab.shell(out)
    drawn = lab.topology().alt
    assert "IP 172.16.20.9: IP not registered: dropped" in drawn
    assert "IP 192.168.20.77" in drawn
    assert "published at 203.0.113.11 port 2222" in drawn
    assert "eth1 is not plugged in: nothing passes" in drawn
    lab.shell(into)
    assert "not plugged in" not in lab.topology().alt


@pytest.mark.kernel
def test_a_capture_has_the_names_of_now(lab: Lab, tmp_path: Path) -> None:
    frame = bytes(12) + b"\x88\xb5" + bytes(46)  # IEEE 802: an experimental ether type
    pairs = [("provider NIC", lab.links().frame.query("what == 'provider NIC'")["mac"].item())]
    pairs.append(("unknown", "0a:00:00:00:00:01"))
    path = tmp_path / "two.pcap"
    with path.open("wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
        for _, mac in pairs:
            source = bytes.fromhex(mac.replace(":", ""))
            file.write(struct.pack("<IIII", 0, 0, len(frame), len(frame)))
            file.write(frame[:6] + source + frame[12:])
    rows = lab.load_capture(path).conversation.rows
    assert [row[0] for row in rows] == [f"{mac} ({name})" for name, mac in pairs]
    with Lab("nobody") as other:
        rows = other.load_capture(path).conversation.rows
    assert "provider NIC" not in str(rows)
    assert len(rows) == 2


@pytest.mark.kernel
def test_what_is_changed_by_hand_is_seen(new_lab: Callable[..., Lab]) -> None:
    lab = new_lab("hand", bridge="linux")
    try:
        with pytest.raises(StepNotReady):
            lab.arp()
        with pytest.raises(StepNotReady):
            lab.drops()
        lab.run("provision")
        assert {row[0] for row in lab.arp().rows} == {"VPC", "host"}
        lab.catch_up("swap_mac")
        router = lab.shell("ip netns | grep -o 'qrouter-[^ ]*'").output
        drops, links, nat = lab.drops(), lab.links(), lab.nat()
        arp, routes = lab.arp(), lab.routes()

        gateway = links.frame.query("what == 'router gateway'")["name"].item()
        lab.shell(f"ip -n {router} link set {gateway} address fa:16:3e:00:00:01")
        frame = lab.links().frame
        assert frame[frame["mac"] == "fa:16:3e:00:00:01"]["what"].item() == "router gateway"

        lab.shell(f"ip -n {router} neigh replace 172.16.20.7 lladdr 0a:00:00:00:00:07"
                  f" dev {gateway}")  # fmt: skip
        [came] = arp.diff(lab.arp()).frame.query("change == '+ came' and column == 'MAC'")["after"]
        assert came == "0a:00:00:00:00:07"
        assert lab.arp().frame.query("mac == @came")["mac_owner"].item() == "unknown"

        lab.shell(f"ip -n {router} route add 10.9.0.0/16 via 192.168.20.5")
        [row] = routes.diff(lab.routes()).rows
        assert row[:2] == ("+ came", "router")
        assert row[4:6] == ("192.168.20.5", "vm1")

        lab.shell(
            f"ip netns exec {router} iptables -t nat -A PREROUTING -d 172.16.20.101 -p tcp"
            " --dport 522 -j DNAT --to-destination 192.168.20.5:22"
        )
        [row] = nat.diff(lab.nat()).rows
        assert row[:3] == ("+ came", "router", "DNAT")
        assert row[-2:] == ("to 192.168.20.5:22", "vm1")

        lab.shell(f"ip netns exec {router} ping -c 1 -W 1 8.8.8.8 || true")
        assert [row[1] for row in drops.diff(lab.drops()).rows] == ["mac"]
    finally:
        local.remove("hand")


@pytest.mark.kernel
def test_an_instance_that_does_not_answer_is_said(new_lab: Callable[..., Lab]) -> None:
    lab = new_lab("deaf", bridge="linux")
    try:
        lab.run("provision")
        host = lab.host()
        host.close()
        host.port = 9  # nobody listens there
        with pytest.raises(CannotReach):
            lab.arp()
    finally:
        local.remove("deaf")
