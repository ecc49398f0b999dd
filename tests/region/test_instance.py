"""An instance as its user meets it: a small Debian, reached by SSH through its Elastic IP."""

from __future__ import annotations

import io
import os
import socket
from pathlib import Path

import pytest
from world import Box

from osawslab.errors import CannotReach, StepFailed
from osawslab.host import interfaces
from osawslab.keys import key_file
from osawslab.observe.capture import load_capture
from osawslab.region import local

BIG = 3_000_000


def test_it_has_a_name_of_its_own(box: Box) -> None:
    assert (
        box.host.plain("hostname; cat /etc/hostname; uname -n").split() == ["ip-172-16-10-101"] * 3
    )
    assert box.host.plain("getent hosts ip-172-16-10-101").split()[0] == "172.16.10.101"
    assert socket.gethostname() != "ip-172-16-10-101"


def test_its_first_nic_has_the_registered_pair_and_the_way_out(box: Box) -> None:
    assert box.machine.mac in box.host.plain("ip link show eth0")
    assert "172.16.10.101/24" in box.host.plain("ip -4 addr show eth0")
    assert box.host.plain("ip route show default").startswith("default via 172.16.10.1 dev eth0")
    assert "172.16.20.101" not in box.host.plain("ip addr")  # the second one is nobody's yet


def test_etc_is_its_own_and_usr_is_not(box: Box) -> None:
    box.host.plain(
        "echo mine > /etc/mine; mkdir /etc/folder; mv /etc/mine /etc/mine2; mv /etc/mine2 /etc/mine"
    )
    assert box.host.plain("cat /etc/mine") == "mine\n"
    assert not Path("/etc/mine").exists()
    with pytest.raises(StepFailed, match="exit status 1") as caught:
        box.host.plain("touch /usr/bin/osawslab-test")
    assert "Read-only file system" in caught.value.seen


def test_nothing_of_the_machines_own_is_in_its_tree(box: Box, tmp_path: Path) -> None:
    (tmp_path / "secret").touch()
    for path in (tmp_path / "secret", local.state_folder(box.world.name), Path(__file__)):
        with pytest.raises(StepFailed):
            box.host.plain(f"ls {path}")
    names = set(box.host.plain("ls /").split())
    assert names <= {
        "bin", "dev", "etc", "home", "lib", "lib32", "lib64", "libx32", "mnt", "opt", "proc",
        "root", "run", "sbin", "srv", "sys", "tmp", "usr", "var",
    }  # fmt: skip
    assert box.host.plain("ls /home") == "admin\n"


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("sudo whoami", "root\n"),
        ("sudo -n id -u", "0\n"),
        ("sudo -u root -H id -u", "0\n"),
        ("sudo A=b sh -c 'echo $A'", "b\n"),
        ("sudo -- echo -n x", "x"),
        ("sudo sh -c 'exit 3' || echo $?", "3\n"),
        ("echo whoami | sudo -i", "root\n"),
        ("echo $HOME $USER; pwd", "/home/admin admin\n/home/admin\n"),
        ("cat /etc/os-release | grep -c ^ID=", "1\n"),
        ("su admin -c 'echo su'", "su\n"),
        ("chown nobody /tmp && echo chown", "chown\n"),
        ("echo x > /dev/null && head -c 4 /dev/urandom | wc -c", "4\n"),
        ("ip -br link show lo", "lo               UNKNOWN        00:00:00:00:00:00"
         " <LOOPBACK,UP,LOWER_UP> \n"),
        ("sudo ip netns add x && sudo ip netns exec x ip -br link && sudo ip netns del x",
         "lo               DOWN           00:00:00:00:00:00 <LOOPBACK> \n"),
    ],
)  # fmt: skip
def test_a_command_does_what_it_does_on_debian(command: str, said: str, box: Box) -> None:
    assert box.host.plain(command) == said


PROGRAMS = (
    "sudo tcpdump ping ifconfig macchanger ip bridge ss ethtool iptables iptables-save ifup ifdown"
    " ovs-vsctl ovs-ofctl ovs-vswitchd dropbear dropbearkey python3 service"
)


@pytest.mark.parametrize("program", PROGRAMS.split())
def test_a_program_is_there(program: str, box: Box) -> None:
    assert box.host.plain(f"command -v {program}").startswith("/")


def test_ifconfig_and_macchanger_say_what_is(box: Box) -> None:
    assert f"ether {box.machine.mac}" in box.host.plain("sudo ifconfig eth0")
    assert box.second.mac in box.host.plain("sudo macchanger --show eth1")


def test_tcpdump_writes_a_capture(box: Box) -> None:
    box.host.run(
        "tcpdump -i lo -n -U --immediate-mode -c 2 -w /tmp/seen.pcap icmp 2>/tmp/said & "
        "until grep -q listening /tmp/said; do sleep 0.02; done; "
        "ping -n -c 1 127.0.0.1 >/dev/null; wait"
    )
    got = io.BytesIO()
    box.host.connection().get("/tmp/seen.pcap", got)
    assert load_capture(got.getvalue()).columns["protocol"].texts() == ["ICMP", "ICMP"]


def test_its_processes_are_its_own(box: Box) -> None:
    told = box.host.plain("ps -eo pid,args")
    assert int(told.splitlines()[1].split()[0]) == 1
    assert len(told.splitlines()) < 10
    box.host.plain("sleep 1000 >/dev/null 2>&1 &")
    assert "sleep 1000" in box.host.plain("ps -eo args")
    with pytest.raises(StepFailed):
        box.host.plain(f"test -d /proc/{os.getpid()} && grep -q pytest /proc/{os.getpid()}/cmdline")


def test_open_vswitch_runs_as_the_package_runs_it(box: Box) -> None:
    box.host.run("service openvswitch-switch start && service openvswitch-switch status")
    box.host.run("ovs-vsctl add-br br0 -- set bridge br0 datapath_type=netdev")
    assert box.host.run("ovs-vsctl list-br") == "br0\n"
    box.host.run("service openvswitch-switch restart")
    assert box.host.run("ovs-vsctl list-br; ip -br link show br0").startswith("br0\nbr0 ")
    box.host.run("ovs-vsctl del-br br0; service openvswitch-switch stop")
    with pytest.raises(StepFailed):
        box.host.run("service openvswitch-switch status")


def test_no_secret_stands_in_a_command_line_or_an_environment(box: Box) -> None:
    box.host.plain("true")
    secrets = [
        box.world.region.secret_key,
        box.world.host_private.splitlines()[2],
        key_file(box.world.target.keys).read_text().splitlines()[2],
    ]
    for entry in Path("/proc").glob("[0-9]*"):
        for name in ("cmdline", "environ"):
            try:
                text = (entry / name).read_text(errors="replace")
            except OSError:
                continue
            assert not [secret for secret in secrets if secret in text], entry


# Reboot, stop, start, terminate.


def test_a_reboot_keeps_the_disk_and_nothing_else(box: Box) -> None:
    box.host.run(
        "touch /etc/kept /root/kept /var/lib/kept ~admin/kept /tmp/lost /run/lost"
        " && ip netns add lost && hostname lost && echo 1 > /proc/sys/net/ipv4/ip_forward"
        " && ip link set eth1 up && ip addr add 10.9.9.9/24 dev eth1"
        " && macchanger --mac=02:0b:ad:00:00:01 eth1 && ip link add lost0 type veth peer name lost1"
        " && { sleep 12345 >/dev/null 2>&1 & }"
    )
    key = box.host.plain("cat /etc/ssh/ssh_host_ed25519_key.pub")
    before = box.world.netns(box.machine)
    box.reboot()
    assert box.world.netns(box.machine) != before
    box.host.plain("ls /etc/kept /root/kept /var/lib/kept /home/admin/kept")
    assert "lost" not in box.host.plain("ls /tmp /run; ip netns; hostname; ip -br link")
    assert "sleep 12345" not in box.host.plain("ps -eo args")
    assert box.host.plain("cat /proc/sys/net/ipv4/ip_forward") == "0\n"
    assert box.second.mac in box.host.plain("ip link show eth1")
    assert "10.9.9.9" not in box.host.plain("ip addr")
    assert box.host.plain("cat /etc/ssh/ssh_host_ed25519_key.pub") == key
    assert box.host.plain("hostname") == "ip-172-16-10-101\n"


def test_the_stanza_of_the_install_guide_brings_the_nic_up(box: Box) -> None:
    """And nothing else does: without it the NIC is down after a reboot."""
    box.reboot()
    assert " DOWN " in box.host.plain("ip -br link show eth1")
    box.host.run(f"cat > {interfaces.IFUPDOWN}", interfaces.ifupdown("eth1"))
    box.reboot()
    assert " UP " in box.host.plain("ip -br link show eth1")
    assert box.host.plain("ip -4 -br addr show eth1") == ""
    box.host.run(f"ifdown eth1 && rm {interfaces.IFUPDOWN}")
    assert " DOWN " in box.host.plain("ip -br link show eth1")


def test_open_vswitch_comes_back_with_its_bridges(box: Box) -> None:
    box.host.run("service openvswitch-switch start")
    box.host.run("ovs-vsctl add-br br1 -- set bridge br1 datapath_type=netdev")
    box.reboot()
    assert box.host.run("ovs-vsctl list-br") == "br1\n"
    box.host.run("ovs-vsctl del-br br1; service openvswitch-switch stop")


def test_stop_and_start_keep_disk_addresses_and_host_key(box: Box) -> None:
    ec2, key = box.world.ec2, {"InstanceIds": [box.machine.id]}
    box.host.run("touch /etc/through-the-stop")
    ec2.stop_instances(**key)
    ec2.get_waiter("instance_stopped").wait(**key)
    with pytest.raises(CannotReach):
        box.world.host(box.eip).connection()
    ec2.start_instances(**key)
    ec2.get_waiter("instance_running").wait(**key)
    box.host.wait(20)
    assert box.host.plain("ls /etc/through-the-stop") == "/etc/through-the-stop\n"
    assert box.machine.mac in box.host.plain("ip link show eth0")
    assert box.second.mac in box.host.plain("ip link show eth1")


def test_one_that_ends_takes_nothing_of_another_with_it(box: Box) -> None:
    world = box.world
    other = world.machine("172.16.10.150")
    eip = world.eip(other)
    world.host(eip).wait(20)
    disk = local.state_folder(world.name) / "disks" / other.id
    world.ec2.terminate_instances(InstanceIds=[other.id])
    with pytest.raises(CannotReach):
        world.host(eip).connection()
    assert not disk.exists()
    assert box.host.plain("hostname") == "ip-172-16-10-101\n"
