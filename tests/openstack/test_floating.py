"""Floating IPs of Neutron's, and each strategy of the MAC swap, on the real OpenStack."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from osawslab import Lab
from osawslab.errors import BadSetting, StepNotReady
from osawslab.steps import openstack_floating

BEFORE = ("provision", "install_cloud", "provider_nic", "networks")
LEFT = """
ovs-vsctl list-br
ovs-vsctl list-ports br-example | sort
ovs-vsctl get bridge br-example other_config
ovs-ofctl dump-flows --no-stats br-example | sed 's/cookie=[^,]*, //' | sort
bridge fdb show | grep permanent | sort
ls /var/lib/osawslab
"""


@pytest.fixture(scope="module")
def ready(lab: Lab) -> Lab:
    """Give the lab up to its networks, whatever came before."""
    for step in BEFORE:
        report = lab.run(step)
        assert report.ok, report.text
    lab.reset("swap_mac")
    return lab


def of(lab: Lab, **settings: str) -> Lab:
    """Give the same lab with other settings."""
    return Lab(**{**vars(lab.settings), **settings})


def banner(lab: Lab, address: str) -> bytes:
    """Read what answers on port 22 of an address, from the internet."""
    socket = lab._site().target.open_socket(address, 22, 10)
    assert socket is not None
    with socket:
        socket.settimeout(10)
        return socket.recv(4)


@pytest.fixture(params=["share", "mac-nat"])
def made(request: pytest.FixtureRequest, ready: Lab) -> Iterator[Lab]:
    """Give the lab, with one strategy, up to the swap."""
    with of(ready, strategy=request.param) as lab:
        assert lab.swap_mac().ok
        yield lab


def unregistered(lab: Lab) -> dict[str, int]:
    """Count what the VPC dropped for breaking AWS's rule of a source."""
    found = lab._site().target.vantage.drops() or {}
    return {reason: found[reason] for reason in ("mac", "arp", "ip")}


def test_neutrons_floating_ip_answers_and_is_given_back(made: Lab) -> None:
    drops = unregistered(made)
    report = made.add_floating_ip("vm1")
    assert report.ok, report.text
    assert "openstack" in {action.where for action in report.actions}
    [row] = report.data["floating_ips"]
    assert row["floating IP"] == "172.16.20.103"  # the one before is for `make_it_last`
    assert banner(made, row["Elastic IP"]) == b"SSH-"
    assert not made.add_floating_ip().changed
    for step in ("networks", "swap_mac"):
        assert made.check(step)
        assert not made.plan(step).actions
    with pytest.raises(BadSetting, match="no port with"):
        made.add_floating_ip("192.168.20.77")
    told = openstack_floating.read(made._site()).openstack
    told.network.delete_ip(next(told.network.ips(floating_ip_address="172.16.20.103")))
    again = made.add_floating_ip()
    assert again.ok, again.text
    assert {action.where for action in again.actions} <= {"openstack", "instance"}
    assert unregistered(made) == drops
    gone = made.remove_floating_ip("172.16.20.103")
    assert gone.ok, gone.text
    assert not list(told.network.ips())
    assert made.check("swap_mac")
    assert len(made.client("ec2").describe_addresses()["Addresses"]) == 2


def test_a_router_with_dvr_or_ha_is_refused(made: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    read = openstack_floating.read

    def distributed(site: object) -> object:
        there = read(site)  # type: ignore[arg-type]
        router = SimpleNamespace(is_distributed=True, is_ha=True, name="router1")
        assert there.project is not None
        project = SimpleNamespace(**{**vars(there.project), "router": router})
        return SimpleNamespace(ground=there.ground, openstack=there.openstack, project=project)

    monkeypatch.setattr(openstack_floating, "read", distributed)
    with pytest.raises(StepNotReady, match="one gateway port") as error:
        made.add_floating_ip()
    assert "distributed (DVR) and highly available (HA)" in error.value.seen
    assert len(made.client("ec2").describe_addresses()["Addresses"]) == 2


def test_from_each_strategy_to_another_nothing_of_the_first_is_left(ready: Lab) -> None:
    found: dict[str, str] = {}
    for strategy in ("share", "mac-nat", "share", "mac-nat"):
        with of(ready, strategy=strategy) as lab:
            drops = unregistered(lab)
            for step in ("swap_mac", "verify", "publish_vm"):
                report = lab.run(step)
                assert report.ok, report.text
            assert not lab.plan("swap_mac").actions
            assert unregistered(lab) == drops
            left = lab.shell(LEFT).output
            assert found.setdefault(strategy, left) == left
    assert "br-mac-nat" not in found["share"]
    assert "hwaddr" not in found["mac-nat"]


def test_neutrons_agent_begun_anew_leaves_the_flows(ready: Lab) -> None:
    with of(ready, strategy="mac-nat") as lab:
        assert lab.swap_mac().ok
        lab.shell("systemctl restart neutron-openvswitch-agent neutron-l3-agent")
        assert lab.check("swap_mac")
        assert lab.verify().ok


def test_the_swap_is_undone_to_what_was_before(ready: Lab) -> None:
    with of(ready, strategy="auto") as lab:
        lab.reset("swap_mac")
        assert "br-mac-nat" not in lab.shell("ovs-vsctl list-br").output
        assert lab.run("swap_mac").ok
