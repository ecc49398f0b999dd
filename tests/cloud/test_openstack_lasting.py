"""What lasts on the real OpenStack: Neutron is told in the one order that it takes."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from osawslab.cloud import floating, mac_nat
from osawslab.cloud.floating import Floating
from osawslab.cloud.names import names
from osawslab.cloud.openstack import lasting
from osawslab.errors import StepNotReady
from osawslab.host.facts import Bridge, Link
from osawslab.settings import Settings
from osawslab.steps import openstack_floating

MAC = "02:00:00:00:00:01"
NAMES = names("lab", "vm1")


class Neutron:
    """A port, and the rules by which Neutron refuses to change its MAC."""

    def __init__(self, **port: str) -> None:
        self.port = {
            "device_owner": lasting.GATEWAY, "binding:host_id": "here", "mac_address": "old",
            **port,
        }  # fmt: skip

    def get_port(self, _: str) -> Any:
        """Give the port, which the agents have taken up meanwhile."""
        return SimpleNamespace(status="ACTIVE")

    def put(self, path: str, json: dict[str, dict[str, str]]) -> Any:
        [(key, value)] = json["port"].items()
        bound, owner = self.port["binding:host_id"], self.port["device_owner"]
        refused = key == "mac_address" and (bound or owner.startswith("network:"))
        if not refused:
            self.port[key] = value
        return SimpleNamespace(
            status_code=409 if refused else 200, headers={}, text="", url=path, reason="",
            json=dict, request=SimpleNamespace(method="PUT"), content=b"",
        )  # fmt: skip


def seen(neutron: Neutron) -> Any:
    """Give the port as the SDK does."""
    return SimpleNamespace(
        **{key.replace("binding:", "binding_"): value for key, value in neutron.port.items()}
    )


@pytest.mark.parametrize(
    "half",
    [
        {},
        {"binding:host_id": ""},
        {"binding:host_id": "", "device_owner": lasting.MEANWHILE},
        {"binding:host_id": "", "device_owner": lasting.MEANWHILE, "mac_address": MAC},
        {"binding:host_id": "", "mac_address": MAC},
    ],
)
def test_the_mac_is_changed_from_wherever_a_run_was_cut_off(half: dict[str, str]) -> None:
    neutron = Neutron(**half)
    cloud = SimpleNamespace(network=neutron)
    assert not lasting.settled(seen(neutron), MAC)
    lasting.give_mac(cloud, SimpleNamespace(id="port"), MAC, "here").do()
    assert lasting.settled(seen(neutron), MAC)
    assert neutron.port == {
        "device_owner": lasting.GATEWAY, "binding:host_id": "here", "mac_address": MAC,
    }  # fmt: skip


def test_a_gateway_port_that_is_nobodys_for_the_moment_is_found() -> None:
    port = SimpleNamespace(device_owner=lasting.MEANWHILE)
    network = SimpleNamespace(ports=lambda device_id: [SimpleNamespace(device_owner="x"), port])
    found: Any = SimpleNamespace(gateway=None, router=SimpleNamespace(id="router"))
    assert lasting.port_of_gateway(SimpleNamespace(network=network), found) is port


@pytest.mark.parametrize(
    ("distributed", "ha", "said"),
    [(True, False, "DVR"), (False, True, "HA"), (True, True, "DVR"), (False, False, "")],
)
def test_a_router_with_more_than_one_gateway_port_is_refused(
    distributed: bool, ha: bool, said: str
) -> None:
    router = SimpleNamespace(name="router1", is_distributed=distributed, is_ha=ha)
    if not said:
        lasting.require_plain(router)
        return
    with pytest.raises(StepNotReady) as caught:
        lasting.require_plain(router)
    assert said in caught.value.seen
    assert "router1" in caught.value.next


@pytest.mark.parametrize(
    ("address", "second"), [("172.16.20.101", "172.16.20.102"), ("172.16.20.254", "172.16.20.253")]
)
def test_the_second_address_is_a_neighbour_and_not_reserved(address: str, second: str) -> None:
    assert lasting.second_address(Settings(provider_address=address)) == second


def files(strategy: str) -> dict[str, str]:
    return lasting.files(NAMES, "br-example", MAC, strategy)


def alone(tmp_path: Path, before: str, script: str, after: str = "true") -> str:
    """Run a program between two others in a network namespace of its own; what all have said."""
    (tmp_path / "program").write_text(script)
    run = f"mount -t tmpfs none /run; {before}; sh {tmp_path}/program; {after}"
    words = ["unshare", "--user", "--map-root-user", "--net", "--mount", "sh", "-c", run]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=20)
    return done.stdout + done.stderr


def translated(*floats: str, lasts: str = "mac-nat") -> Any:
    """Give a cloud with `mac-nat`, whose router has these floating IPs."""
    port = Link(
        NAMES.gateway, NAMES.gateway_mac, True, "", ("172.16.20.101/24", *floats), 0, "", "", ""
    )
    space = SimpleNamespace(links={NAMES.gateway: port})
    return SimpleNamespace(
        settings=Settings(), names=NAMES, registered_mac=MAC, lasts=lasts, translates=True,
        gateway=port, host=SimpleNamespace(namespaces={NAMES.router_netns: space}),
        bridge=lambda _: None, require_provider_nic=lambda: SimpleNamespace(name="eth1"),
    )  # fmt: skip


def addresses(text: str) -> list[str]:
    """List the addresses whose packets leave by the flows of a file."""
    return re.findall(r"nw_src=([0-9.]+)", text)


def test_mac_nat_has_a_unit_more_and_the_flows_of_all_addresses() -> None:
    cloud = translated("172.16.20.103/32")
    text = lasting.flows(cloud, mac_nat.pairs(cloud))
    assert addresses(text) == ["172.16.20.101", "172.16.20.102", "172.16.20.103"]
    assert len(text.splitlines()) == 12
    made = lasting.files(NAMES, "br-example", MAC, "mac-nat", text)
    assert made[lasting.FLOWS] == text
    assert len(lasting.units(made)) == 3
    assert (
        f"add-flows br-mac-nat {lasting.FLOWS}\n" in made[f"{lasting.UNITS}/{lasting.FLOWS_UNIT}"]
    )
    assert len(lasting.units(files("swap"))) == 2
    assert not {lasting.FLOWS, lasting.FLOWS_UNIT} & {*files("swap")}


@pytest.mark.parametrize(("lasts", "told"), [("mac-nat", True), ("", False)])
def test_a_floating_ips_flows_last_as_the_others_do(lasts: str, told: bool) -> None:
    one, cloud = Floating("172.16.20.103", "192.168.20.5"), translated(lasts=lasts)
    there: Any = SimpleNamespace(ground=SimpleNamespace(cloud=cloud, host=None))
    made = openstack_floating.flows(there, floating.flows, one, cloud.gateway)
    assert len(made) == 4 + told
    assert (addresses(made[-1].command) == [f"172.16.20.10{n}" for n in (1, 2, 3)]) == told
    cloud = translated("172.16.20.103/32", lasts=lasts)
    flows = mac_nat.wanted(cloud, mac_nat.pairs(cloud))
    lines = tuple(f"{each.match} actions={each.actions}" for each in flows)
    cloud.bridge = lambda _: Bridge({}, "netdev", lines)
    there = SimpleNamespace(ground=SimpleNamespace(cloud=cloud, host=None))
    assert not openstack_floating.flows(there, floating.flows, one, cloud.gateway)
    gone = openstack_floating.flows(there, floating.no_flows, one, cloud.gateway)
    assert len(gone) == 4 + told
    assert (addresses(gone[-1].command) == [f"172.16.20.10{n}" for n in (1, 2)]) == told


NIC = f"ip link add eth1 address {MAC} type veth peer name far"
ALIAS = f"alias osawslab provider {MAC}"


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("strategy", "mac"), [("swap", NAMES.other_mac), ("share", MAC), ("mac-nat", MAC)]
)
def test_after_a_boot_the_nic_has_its_note_and_the_strategys_mac(
    strategy: str, mac: str, tmp_path: Path
) -> None:
    said = alone(tmp_path, NIC, files(strategy)[lasting.NIC], "ip -o link show eth1")
    assert ALIAS in said
    assert f"link/ether {mac}" in said


@pytest.mark.kernel
def test_a_mac_that_another_has_changed_is_left_as_it_is(tmp_path: Path) -> None:
    program = files("swap")[lasting.NIC]
    before = f"{NIC}; ip link set eth1 alias '{ALIAS[6:]}'"
    said = alone(tmp_path, before, program, "ip -o link show eth1")
    assert f"link/ether {MAC}" in said


@pytest.mark.kernel
def test_a_driver_that_refuses_leaves_the_nic_up_and_without_a_note(tmp_path: Path) -> None:
    refuses = tmp_path / "ip"
    refuses.write_text(
        '#!/bin/sh\ncase "$*" in "link set eth1 address"*) exit 2 ;; esac\n'
        'PATH=${PATH#*:} exec ip "$@"\n'
    )
    refuses.chmod(0o700)
    program = files("swap")[lasting.NIC]
    said = alone(tmp_path, f"{NIC}; PATH={tmp_path}:$PATH", program, "ip -o link show eth1")
    assert "takes no other MAC" in said
    assert "UP" in said
    assert f"link/ether {MAC}" in said
    assert ALIAS not in said


@pytest.mark.kernel
def test_at_the_wrong_moment_nothing_is_done(tmp_path: Path) -> None:
    assert "nothing is done" in alone(tmp_path, "true", files("swap")[lasting.NIC])
    taps = files("swap")[lasting.TAPS]
    assert alone(tmp_path, "true", taps) == ""
    # A port that lives: it is in the namespace, and in no other.
    lives = "ip netns add qrouter-1; ip -n qrouter-1 link add qg-1 type veth peer name far"
    assert alone(tmp_path, lives, taps, "ip -n qrouter-1 -br link | grep -c ^qg-1") == "1\n"
