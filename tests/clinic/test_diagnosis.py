"""Each station, broken by hand: named first, and mended by the printed command, run as printed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import pytest
from box import ssh_config

from osawslab import Lab, access, confusion
from osawslab.clinic import stranger
from osawslab.clinic.source import listening
from osawslab.clinic.station import Diagnosis
from osawslab.cloud import handbuilt
from osawslab.region import local

sys.path.insert(0, str(Path(__file__).parent))

from faults import HOST, LINUX, SWITCH

pytestmark = pytest.mark.kernel

STEPS = ("provision", "install_cloud", "provider_nic", "networks")


def make(name: str, **settings: str) -> Lab:
    lab = Lab(name, **settings)
    for step in STEPS:
        assert lab.run(step).ok
    early = lab.diagnose()  # the tutorial's own fault
    assert early.cause is not None
    assert early.cause.key == "gateway-mac", early.text
    for step in ("swap_mac", "publish_vm"):
        assert lab.run(step).ok
    return lab


@pytest.fixture(scope="module")
def switched(home: Path) -> Iterator[Lab]:
    with make("clinic", bridge="openvswitch") as lab:
        yield lab
    local.remove("clinic")


@pytest.fixture(scope="module")
def bridged(home: Path) -> Iterator[Lab]:
    with make("bridged", bridge="linux", instance_type="t3.large") as lab:
        yield lab
    local.remove("bridged")


def healthy(lab: Lab) -> Diagnosis:
    found = lab.diagnose()
    assert found.ok, found.text
    return found


def typed(lab: Lab, command: str) -> None:
    """Run a command as printed: on the instance as its user, or here where it is the AWS CLI's."""
    if not command.startswith("aws "):
        lab.host().plain(command)
        return
    region = local.find(lab.settings.name)
    assert region is not None
    folder = os.path.dirname(access.aws_program())
    environ = {**access.without_clouds(), **access.variables(region)}
    environ["PATH"] = f"{folder}:{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-c", command.replace("$(curl -s https://checkip.amazonaws.com)", "198.51.100.7")],
        env=environ, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, f"{command}\n{done.stderr}"


def named(lab: Lab, key: str) -> Diagnosis:
    found = lab.diagnose()
    assert found.cause is not None, f"nothing was found of {key}"
    assert found.cause.key == key, found.text
    assert [each.key for each in found.findings if not each.causes] == [key], found.text
    assert found.cause.evidence
    return found


def by_hand(lab: Lab, command: str) -> None:
    called = handbuilt.names(lab.settings.name, lab.settings.vm_name)
    words = {
        "QR": called.router_netns, "QG": called.gateway, "QINNER": called.inner,
        "VM": called.vm_netns, "TAP": called.tap, "CABLE": f"tap{called.gateway[3:]}",
        "INNERCABLE": f"tap{called.inner[3:]}", "MAC": lab._site().read_ec2().registered_mac,
        "NIC": "ens6" if lab.settings.instance_type == "t3.large" else "eth1",
    }  # fmt: skip
    for word, value in words.items():
        command = command.replace(f"{{{word}}}", value)
    lab.host().run(command)


def broken(lab: Lab, key: str, command: str) -> None:
    """Break, look, mend, look."""
    by_hand(lab, command)
    found = named(lab, key)
    assert found.cause is not None
    typed(lab, found.cause.mend)
    healthy(lab)


def marks(faults: list[tuple[str, str]]) -> list[Any]:
    return [pytest.param(*each, id=f"{each[0]}-{at}") for at, each in enumerate(faults)]


@pytest.mark.parametrize(("key", "command"), marks(HOST))
def test_on_the_host_and_in_the_router(switched: Lab, key: str, command: str) -> None:
    broken(switched, key, command)


@pytest.mark.parametrize(("key", "command"), marks(SWITCH))
def test_in_open_vswitch(switched: Lab, key: str, command: str) -> None:
    broken(switched, key, command)


@pytest.mark.parametrize(("key", "command"), marks(LINUX))
def test_in_linux_bridges(bridged: Lab, key: str, command: str) -> None:
    broken(bridged, key, command)


def no_address(ec2: Any, facts: Any) -> None:
    ec2.disassociate_address(AssociationId=facts.addresses["provider"]["AssociationId"])


def no_way_in(ec2: Any, facts: Any) -> None:
    ec2.disassociate_address(AssociationId=facts.addresses["management"]["AssociationId"])


def no_route(ec2: Any, facts: Any) -> None:
    ec2.delete_route(RouteTableId=facts.route_table, DestinationCidrBlock="0.0.0.0/0")


def shut(port: int) -> Callable[[Any, Any], None]:
    def close(ec2: Any, facts: Any) -> None:
        rules = [each for each in facts.group["IpPermissions"] if each.get("FromPort") == port]
        ec2.revoke_security_group_ingress(GroupId=facts.group["GroupId"], IpPermissions=rules)

    return close


def narrowed(ec2: Any, facts: Any) -> None:
    """Let in only others to the published port."""
    shut(522)(ec2, facts)
    other = {"IpProtocol": "tcp", "FromPort": 522, "ToPort": 522,
             "IpRanges": [{"CidrIp": "192.0.2.0/24"}]}  # fmt: skip
    ec2.authorize_security_group_ingress(GroupId=facts.group["GroupId"], IpPermissions=[other])


def no_way_out(ec2: Any, facts: Any) -> None:
    group = facts.group
    ec2.revoke_security_group_egress(
        GroupId=group["GroupId"], IpPermissions=group["IpPermissionsEgress"]
    )


@pytest.mark.parametrize(
    ("key", "change"),
    [
        ("eip", no_address), ("eip", no_way_in), ("routes", no_route), ("group", shut(522)),
        ("group", shut(22)), ("group", no_way_out),
    ],
)  # fmt: skip
def test_in_awss_books(switched: Lab, key: str, change: Callable[[Any, Any], None]) -> None:
    site = switched._site()
    change(site.ec2, site.read_ec2())
    switched.close()  # an open connection outlives what leads to it
    found = named(switched, key)
    assert found.cause is not None
    typed(switched, found.cause.mend)
    healthy(switched)


def test_a_switch_that_died_is_named_and_what_it_leaves_behind(switched: Lab) -> None:
    switched.host().run("kill $(cat /run/openvswitch/ovs-vswitchd.pid)")
    keys = []
    for _ in range(6):  # its ports are made anew, on the host, and its flows are gone
        found = switched.diagnose()
        if found.cause is None:
            break
        keys.append(found.cause.key)
        typed(switched, found.cause.mend)
    assert keys[:2] == ["openvswitch", "gateway-plugged"]
    assert set(keys[2:]) == {"flows", "inner-plugged"}
    healthy(switched)


def test_what_no_station_knows_is_said_where_it_shows(switched: Lab) -> None:
    by_hand(switched, "ip netns exec {VM} iptables -A INPUT -j DROP")
    assert named(switched, "guest-filter").cause
    by_hand(switched, "ip netns exec {VM} iptables -F")
    pid = switched.shell("pgrep -x dropbear").output.split()[0]
    switched.host().run(f"kill -STOP {pid}")
    assert named(switched, "server").cause
    switched.host().run(f"kill -CONT {pid}")
    healthy(switched)


def test_nothing_is_changed_and_it_is_quick(switched: Lab) -> None:
    def facts() -> Any:
        settings = switched.settings
        told = handbuilt.read(switched.host(), settings, "").host
        rules = [
            # without the time, and without the packets that have been counted meanwhile
            [re.sub(r"\[\d+:\d+\]$", "", line) for line in each.iptables.splitlines()
             if not line.startswith("#")]
            for each in told.namespaces.values()
        ]  # fmt: skip
        ways = [(each.links, each.routes, each.forwards) for each in told.namespaces.values()]
        return rules, ways, told.fdb, told.bridges, told.files, told.netns

    before = facts()
    folders = "/etc /var /root /home /tmp /run"
    switched.host().run("touch /run/stamp")
    found = healthy(switched)
    written = switched.shell(f"find {folders} -xdev -type f -newer /run/stamp").output
    assert [line for line in written.splitlines() if not line.endswith(".log")] == []
    assert facts() == before
    assert found.seconds < 5


def test_a_healthy_lab_that_shares_its_mac(bridged: Lab) -> None:
    healthy(bridged)


def test_a_strangers_host(switched: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = switched._site()
    config, facts = ssh_config(switched, tmp_path), site.read_ec2()
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    found = stranger.run("box", config=config)
    assert found.ok, found.text
    unseen = {each.key: each.seen for each in found.stations if each.ok is None}
    assert unseen["routes"] == "not looked at: no credentials"
    by_hand(switched, "ip -n {QR} link set {QG} address fa:16:3e:00:00:07")
    found = stranger.run("box", config=config)
    assert found.cause is not None
    assert found.cause.key == "gateway-mac"
    assert facts.registered_mac in found.cause.mend
    [asked] = [each for each in found.cause.evidence if each.command.startswith("curl ")]
    assert switched.host().plain(asked.command).split() == asked.out.split()
    typed(switched, found.cause.mend)
    region = local.find("clinic")
    assert region is not None
    for name, value in access.variables(region).items():
        monkeypatch.setenv(name, value)
    no_address(site.ec2, facts)
    found = stranger.run("box", config=config)
    assert found.cause is not None
    assert found.cause.key == "eip", found.text
    typed(switched, found.cause.mend)
    narrowed(site.ec2, facts)
    found = stranger.run("box", config=config)
    assert found.cause is not None
    assert found.cause.key == "group", found.text
    assert f"not let in from {confusion.HERE}" in found.cause.seen
    shut(522)(site.ec2, site.read_ec2())
    typed(switched, found.cause.mend)
    site.forget()
    (tmp_path / "known").write_text("")
    found = stranger.run("box", config=config)
    assert found.cause is not None
    assert found.cause.key == "root"


def test_who_knocks_is_heard_on_the_nic(switched: Lab) -> None:
    site = switched._site()
    address = site.read_ec2().eip("provider")
    with ThreadPoolExecutor(1) as pool:
        heard = pool.submit(switched.host().script, listening(), seconds=3)
        while not heard.done():
            made = site.target.open_socket(address, 522, 2.0)
            assert made is not None
            made.close()
            wait([heard], 0.5)  # a server lets in only so many that do not log in
    rows = {(row[0], row[1], row[4], "172.16.20.101" in row[5:]) for row in heard.result()}
    assert {("eth1", "in", "tcp syn 522", True), ("eth1", "out", "tcp syn-ack 522", True)} <= rows
