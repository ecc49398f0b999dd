"""Floating IPs answer from the internet, with every strategy, and are given back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from osawslab import Lab
from osawslab.aws.inquiry import Inquiry
from osawslab.cloud import floating, router
from osawslab.cloud.floating import Floating
from osawslab.errors import BadSetting, LabError, Refused, StepFailed, StepNotReady
from osawslab.region import local
from osawslab.region.faults import Fault
from osawslab.steps import work

pytestmark = pytest.mark.kernel

BEFORE = ("provision", "install_cloud", "provider_nic", "networks", "see_the_drop", "swap_mac")
KINDS = [
    {"bridge": "openvswitch", "strategy": "swap"},
    {"bridge": "openvswitch", "strategy": "share"},
    {"bridge": "openvswitch", "strategy": "mac-nat"},
    {"bridge": "linux", "strategy": "swap"},
    {"bridge": "linux", "strategy": "share"},
]


@pytest.fixture
def lab(request: pytest.FixtureRequest, home: object) -> Iterator[Lab]:
    """A lab of the wanted kind, made up to the swap."""
    with Lab("floating", **request.param) as lab:
        try:
            for step in BEFORE:
                report = lab.run(step)
                assert report.ok, report.text
            yield lab
        finally:
            local.remove("floating")


def banner(lab: Lab, address: str) -> bytes:
    """Read what answers on port 22 of an address, from the internet."""
    socket = lab._site().target.open_socket(address, 22, 10)
    assert socket is not None
    with socket:
        socket.settimeout(10)
        return socket.recv(4)


def private(lab: Lab) -> tuple[set[str], int]:
    """Give the provider NIC's private addresses, and how many Elastic IPs there are."""
    ec2 = lab._site().read_ec2()
    nic = ec2.nics["provider"]
    found = lab.client("ec2").describe_addresses()["Addresses"]
    return {str(each["PrivateIpAddress"]) for each in nic["PrivateIpAddresses"]}, len(found)


@pytest.mark.parametrize("lab", KINDS[-1:], indirect=True)
def test_answers_that_are_lost_leave_nothing_twice_and_nothing_behind(lab: Lab) -> None:
    before, region = private(lab), local.find("floating")
    assert region
    region.faults(Fault("refuse", "InternalError", after=True))
    report = lab.add_floating_ip()
    assert report.ok, report.text
    assert len(lab.client("ec2").describe_addresses()["Addresses"]) == before[1] + 1
    report = lab.remove_floating_ip("172.16.20.102")
    assert report.ok, report.text
    assert region.struck().keys() >= {
        "AllocateAddress", "AssignPrivateIpAddresses", "AssociateAddress", "ReleaseAddress",
        "DisassociateAddress", "UnassignPrivateIpAddresses",
    }  # fmt: skip
    assert private(lab) == before


@pytest.mark.parametrize("lab", KINDS, indirect=True)
def test_it_answers_is_made_once_and_is_given_back(lab: Lab) -> None:
    before, drops = private(lab), lab._site().target.vantage.drops()
    with pytest.MonkeyPatch.context() as patch:
        small = {"NetworkInfo": {"Ipv4AddressesPerInterface": 1}}
        patch.setattr(Inquiry, "kind", lambda *_: small)
        with pytest.raises(Refused, match="can have 1 private addresses"):
            lab.add_floating_ip()
    assert private(lab) == before
    report = lab.add_floating_ip("vm1")
    assert report.ok, report.text
    [row] = report.data["floating_ips"]
    assert row["floating IP"] == "172.16.20.102"
    assert banner(lab, row["Elastic IP"]) == b"SSH-"
    drawn = lab.topology().alt
    assert f"floating IP 172.16.20.102, {row['Elastic IP']}" in drawn
    assert "published at" not in drawn
    assert ("floating IP", "172.16.20.102 for 192.168.20.5") in {
        (what, whose) for what, _, _, whose in lab.status().rows
    }
    translated = {(each["matches"], each["becomes"]) for each in lab.nat().frame.to_dict("records")}
    assert (f"to {row['Elastic IP']}", "to 172.16.20.102") in translated
    wrong: tuple[tuple[str, str, type[LabError], str], ...] = (
        ("vm2", "", BadSetting, "no such VM"),
        ("10.9.9.9", "", BadSetting, "no network with"),
        ("192.168.20.1", "", BadSetting, "no network with"),
        ("vm1", "second", StepNotReady, "no router 'second'"),
    )
    for vm, where, kind, words in wrong:
        with pytest.raises(kind, match=words):
            lab.add_floating_ip(vm, where)
    assert len(lab.floating_ips().rows) == 1
    assert not lab.add_floating_ip().changed
    assert lab.check("networks")
    assert lab.check("swap_mac")
    assert not lab.plan("networks").actions
    assert not lab.plan("swap_mac").actions
    called = work.read(lab._site()).cloud.names
    enter = f"ip netns exec {called.router_netns}"
    lab.shell(f"{enter} ip addr del 172.16.20.102/32 dev {called.gateway}")
    lab.shell(f"{enter} iptables -t nat -F neutron-l3-agent-float-snat")
    assert lab.floating_ips().rows[0][-1] != "works"
    again = lab.add_floating_ip()
    assert again.ok, again.text
    assert {action.where for action in again.actions} == {"instance"}
    # The VM's own connections leave with its address; the published port goes on.
    netns = "ip netns exec vm-vm1"
    assert " 2 received" in lab.shell(f"{netns} ping -n -c 2 -i 0.2 -W 2 8.8.8.8").output
    assert lab.publish_vm().ok
    assert lab._site().target.vantage.drops() == drops
    gone = lab.remove_floating_ip(row["Elastic IP"])
    assert gone.ok, gone.text
    assert private(lab) == before
    assert not lab.floating_ips().rows
    assert lab.check("swap_mac")
    assert lab.verify().ok
    with pytest.raises(StepNotReady, match="no floating IP"):
        lab.remove_floating_ip("172.16.20.102")


@pytest.mark.parametrize("lab", KINDS[2:3], indirect=True)
def test_stopped_after_each_action_it_is_finished_by_the_same_call(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    from osawslab.steps import floating as step

    whole = step.apply
    before = private(lab)

    def stopping(after: int) -> Any:
        def some(site: Any, name: str, actions: Any) -> None:
            whole(site, name, actions[:after])
            if len(actions) > after:
                raise StepFailed("stopped", next="again")

        return some

    for after in (1, 2, 3, 5, 8):
        monkeypatch.setattr(step, "apply", stopping(after))
        with pytest.raises(StepFailed):
            lab.add_floating_ip()
        monkeypatch.setattr(step, "apply", whole)
        report = lab.add_floating_ip()
        assert report.ok, report.text
        assert len(report.data["floating_ips"]) == 1
        monkeypatch.setattr(step, "apply", stopping(after))
        with pytest.raises(StepFailed):
            lab.remove_floating_ip("172.16.20.102")
        monkeypatch.setattr(step, "apply", whole)
        assert lab.remove_floating_ip("172.16.20.102").ok
        assert private(lab) == before
        assert lab.check("swap_mac")


SECOND = """
ip netns add qrouter-second
ovs-vsctl add-port br-int qg-second -- set port qg-second tag=1 \
 -- set interface qg-second type=internal
ip link set qg-second netns qrouter-second
ip -n qrouter-second link set qg-second address fa:16:3e:00:00:22 up
ip -n qrouter-second addr add 172.16.20.102/24 dev qg-second
ip -n qrouter-second route add default via 172.16.20.1
ip netns exec qrouter-second sh -c 'echo 1 > /proc/sys/net/ipv4/ip_forward'
ip netns add vm-second
ip link add eth0 netns vm-second type veth peer name qr-second netns qrouter-second
ip netns exec vm-second ethtool -K eth0 tx off tso off gso off gro off > /dev/null
ip -n qrouter-second addr add 192.168.30.1/24 dev qr-second
ip -n qrouter-second link set qr-second up
ip -n vm-second addr add 192.168.30.5/24 dev eth0
ip -n vm-second link set eth0 up
ip -n vm-second route add default via 192.168.30.1
ip -n vm-vm1 addr add 192.168.20.6/24 dev eth0
ip netns exec vm-second setsid -f dropbear -F -s -j -k -r /var/lib/osawslab/vm/host_key \
 -P /run/vm-second.pid -p 22 < /dev/null > /run/vm-second.log 2>&1
"""


@pytest.mark.parametrize("lab", KINDS[2:3], indirect=True)
def test_two_routers_and_three_floating_ips_answer_at_once_within_five_elastic_ips(
    lab: Lab,
) -> None:
    eni = lab._site().read_ec2().nics["provider"]["NetworkInterfaceId"]
    lab.client("ec2").assign_private_ip_addresses(
        NetworkInterfaceId=eni, PrivateIpAddresses=["172.16.20.102"]
    )
    lab.shell(SECOND)
    cloud = work.read(lab._site()).cloud
    second = replace(
        cloud,
        names=replace(cloud.names, router_netns="qrouter-second", gateway="qg-second"),
        settings=replace(cloud.settings, provider_address="172.16.20.102"),
    )
    chains = router.restore(second)
    lab.shell(f"ip netns exec qrouter-second iptables-restore <<'END'\n{chains}END")
    assert lab.swap_mac().ok
    drops = lab._site().target.vantage.drops()
    for vm, where in (("vm1", ""), ("192.168.20.6", ""), ("192.168.30.5", "second")):
        report = lab.add_floating_ip(vm, router=where)
        assert report.ok, report.text
    assert lab.check("swap_mac")
    rows = report.data["floating_ips"]
    assert {row["state"] for row in rows} == {"works"}
    target, addresses = lab._site().target, [row["Elastic IP"] for row in rows]
    opened = [target.open_socket(address, 22, 10) for address in addresses]  # all at once
    for socket in opened:
        assert socket is not None
        with socket:
            socket.settimeout(10)
            assert socket.recv(4) == b"SSH-"
    assert len(set(addresses)) == 3
    assert lab.verify().ok
    ping = "ip netns exec {} ping -n -c 2 -i 0.2 -W 2 8.8.8.8"
    for netns in ("vm-second", "qrouter-second"):
        seen = lab.shell(ping.format(netns) + "; true").output
        # The second router's own address has no Elastic IP, so only its VM gets an answer.
        assert (" 2 received" in seen) == (netns == "vm-second"), seen
    assert target.vantage.drops() == {**drops, "no_eip": drops["no_eip"] + 2}
    flows = lab.shell("ovs-ofctl dump-flows --no-stats br-mac-nat").output.splitlines()
    assert len(flows) == 4 * 5  # grows linearly with addresses
    assert private(lab)[1] == 5
    with pytest.raises(Refused, match="no Elastic IP is left"):
        lab.add_floating_ip("192.168.20.7")
    assert private(lab)[1] == 5
    ended = lab.tear_down()
    assert ended.ok, ended.text
    assert not lab.client("ec2").describe_addresses()["Addresses"]


def test_each_address_has_three_rules_of_neutrons() -> None:
    found = floating.rules(Floating("172.16.20.102", "192.168.20.5"))
    assert [rule.split()[1] for rule in found] == [
        "neutron-l3-agent-PREROUTING", "neutron-l3-agent-OUTPUT", "neutron-l3-agent-float-snat",
    ]  # fmt: skip
