"""Instances that are a whole operating system: booted, entered, filled, rebooted, ended."""

from __future__ import annotations

import os
import re
import select
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from mirrors import kill, mirrors
from world import Machine, World

from osawslab.aws.ending import putting_off
from osawslab.aws.userdata import user_data
from osawslab.errors import StepFailed
from osawslab.host.proof import proved
from osawslab.host.ssh import SshHost
from osawslab.region import cgroup, local, machine, rootfs, whole
from osawslab.settings import Settings
from osawslab.target import open_target

BOOT_SECONDS = 60.0


@dataclass(frozen=True)
class Deep:
    """A world of whole instances, two of them, and the ways in."""

    world: World
    one: Machine
    two: Machine
    host: SshHost
    other: SshHost

    def group(self, of: Machine) -> str:
        return f"{cgroup.name(self.world.name)}/{self.world.netns(of)}"


@pytest.fixture(scope="module")
def deep(home: Path) -> Deep:
    if os.geteuid():
        pytest.fail("NOT RUN: only root can try this")
    world = World("whole", whole=True)
    one, two = map(world.machine, ("172.16.10.101", "172.16.10.102"))
    hosts = [world.host(world.eip(each)) for each in (one, two)]
    for each in hosts:
        each.wait(BOOT_SECONDS)
    return Deep(world, one, two, *hosts)


@pytest.fixture
def up(deep: Deep) -> Deep:
    """Give the world with its first instance reachable, as a test before may have left it."""
    deep.host.close()
    deep.host.wait(BOOT_SECONDS)
    return deep


def until(what: str, done: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait until `done()` is true."""
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, f"{what}: not within {seconds:.0f} s"
        time.sleep(0.02)


def groups(name: str, below: str = "") -> list[Path]:
    """List the control groups of a lab, or those of one instance."""
    tops = [top / cgroup.name(name) for top in cgroup.hierarchies()]
    if not below:
        return [top for top in tops if top.exists()]
    return [path for top in tops for path in top.glob(f"{below}*")]


def test_it_is_the_amis_system(deep: Deep) -> None:
    run = deep.host.plain
    assert run("sudo systemctl is-system-running --wait") == "running\n"
    assert run("sudo cat /proc/1/comm; id -un; hostname") == "systemd\nadmin\nip-172-16-10-101\n"
    assert run(". /etc/os-release; echo $VERSION_CODENAME") == "trixie\n"
    assert run("ip -4 route show default").startswith("default via 172.16.10.1 dev eth0 proto dhcp")
    lease = run("cat /run/systemd/netif/leases/*").split()
    assert {"ADDRESS=172.16.10.101", "SERVER_ADDRESS=172.16.10.1", "LIFETIME=1h"} <= {*lease}
    assert {"DNS=172.16.0.2", "MTU=9001", "DOMAINNAME=ec2.internal"} <= {*lease}
    assert run("cat /sys/class/net/eth0/mtu") == "9001\n"
    assert run("ls /etc/ssh/ssh_host_*_key").split() == ["/etc/ssh/ssh_host_ed25519_key"]
    assert run("test -c /dev/net/tun && grep -c CapEff:.*ffff /proc/self/status || true") == "0\n"


def test_it_proves_the_host_key_that_it_has_made(deep: Deep) -> None:
    """By the script of its user data, which reloads its sshd, and runs once."""
    world, data = deep.world, user_data()
    machine = world.machine("172.16.10.104", user_data=data)
    [secret] = re.findall('SECRET = "(.*)"', data)
    eip = world.eip(machine)
    key = proved(world.target, eip, "admin", secret, BOOT_SECONDS)
    assert key != " ".join(world.host_public.split()[:2])
    host = world.host(eip, key=key)
    banner = host.run("cat /etc/issue.net")
    assert host.plain("sudo systemctl is-system-running --wait") == "running\n"
    host.run("echo mine > /etc/issue.net")
    world.ec2.reboot_instances(InstanceIds=[machine.id])
    host.close()
    host.wait(BOOT_SECONDS)  # with the same key
    assert host.plain("sudo systemctl is-system-running --wait") == "running\n"
    assert host.plain("cat /etc/issue.net") == "mine\n"
    assert banner.startswith("osawslab-host-key-proof ")
    world.ec2.terminate_instances(InstanceIds=[machine.id])


def test_it_ends_itself_when_its_time_is_over(deep: Deep) -> None:
    """Also after a reboot, and an end that is put off is a later one."""
    world = deep.world
    data = user_data(datetime.now(UTC) + timedelta(hours=1))
    keys = {"InstanceInitiatedShutdownBehavior": "terminate"}
    machine = world.machine("172.16.10.105", user_data=data, **keys)
    [secret] = re.findall('SECRET = "(.*)"', data)
    eip = world.eip(machine)
    host = world.host(eip, key=proved(world.target, eip, "admin", secret, BOOT_SECONDS))
    host.wait(BOOT_SECONDS)
    assert host.plain("systemctl is-active osawslab-end") == "active\n"
    world.ec2.reboot_instances(InstanceIds=[machine.id])
    host.close()
    host.wait(BOOT_SECONDS)
    assert host.plain("sudo systemctl is-system-running --wait") == "running\n"
    assert host.plain("systemctl is-active osawslab-end") == "active\n"
    host.run(putting_off(datetime.now(UTC) + timedelta(seconds=2)))
    host.close()
    ids = {"InstanceIds": [machine.id]}
    world.ec2.get_waiter("instance_terminated").wait(**ids, WaiterConfig={"Delay": 1})
    [[found]] = [r["Instances"] for r in world.ec2.describe_instances(**ids)["Reservations"]]
    assert found["StateReason"]["Code"] == "Client.InstanceInitiatedShutdown"


def test_its_kernel_settings_of_the_network_are_its_own(deep: Deep) -> None:
    before = Path("/proc/sys/net/ipv4/ip_forward").read_text()
    deep.host.plain("sudo sysctl -q -w net.ipv4.ip_forward=1")
    assert deep.host.plain("cat /proc/sys/net/ipv4/ip_forward") == "1\n"
    assert deep.other.plain("cat /proc/sys/net/ipv4/ip_forward") == "0\n"
    assert Path("/proc/sys/net/ipv4/ip_forward").read_text() == before


def test_a_package_comes_from_the_mirror_and_is_kept(deep: Deep) -> None:
    deep.host.run("apt-get -q update")
    deep.host.run("apt-get -qy install hello")
    assert deep.host.plain("hello") == "Hello, world!\n"
    assert list((machine.cache() / "archives/deb.debian.org").rglob("hello_*.deb"))


@pytest.mark.parametrize(
    "words",
    [
        "-x http://198.51.100.80:3142 http://example.com/",
        "-x http://198.51.100.80:3142 http://deb.debian.org/",
        "-x http://198.51.100.80:3142 https://deb.debian.org/debian/dists/trixie/InRelease",
        "http://198.51.100.80:3142/debian/dists/trixie/InRelease",
        "http://deb.debian.org/debian/dists/trixie/InRelease",
        "http://1.1.1.1/",
    ],
)
def test_nothing_else_is_reached(words: str, deep: Deep) -> None:
    with pytest.raises(StepFailed):
        deep.host.plain(f"curl --fail --silent --show-error --max-time 2 --noproxy '' {words}")


def test_two_share_the_image_and_not_what_they_write(deep: Deep) -> None:
    deep.host.run("echo mine > /etc/motd; rm /usr/bin/less")
    assert "mine" not in deep.other.plain("cat /etc/motd; ls /usr/bin/less")
    assert (rootfs.root("13") / "usr/bin/less").exists()
    ids = [host.plain("cat /etc/machine-id") for host in (deep.host, deep.other)]
    assert len(set(ids)) == 2


def test_a_second_nic_appears_in_it(deep: Deep) -> None:
    deep.world.plug(deep.one, deep.world.b, "172.16.20.101")
    told = deep.host.plain("cat /sys/class/net/eth1/operstate; ip -4 addr show eth1")
    assert told == "down\n"  # nobody has configured it


def test_it_reads_its_metadata(up: Deep) -> None:
    token = "http://169.254.169.254/latest/api/token"
    said = up.host.plain(
        "python3 -c '"
        "from urllib.request import Request, urlopen\n"
        f'put = Request("{token}", headers={{"X-aws-ec2-metadata-token-ttl-seconds": "9"}},'
        ' method="PUT")\n'
        'has = {"X-aws-ec2-metadata-token": urlopen(put, timeout=5).read().decode()}\n'
        f'get = Request("{token[:-9]}meta-data/instance-id", headers=has)\n'
        "print(urlopen(get, timeout=5).read().decode())'"
    )
    assert said.strip() == up.one.id


def test_its_memory_is_counted(deep: Deep) -> None:
    used = [cgroup.used(deep.group(each)) for each in (deep.one, deep.two)]
    assert all(each and each > 10 << 20 for each in used), used


def test_a_reboot_is_a_reboot(up: Deep) -> None:
    up.host.run("touch /root/kept /run/lost; ip link add lost0 type veth peer name lost1")
    before = up.world.netns(up.one)
    up.world.ec2.reboot_instances(InstanceIds=[up.one.id])
    up.host.close()
    up.host.wait(BOOT_SECONDS)
    assert up.host.run("ls /root/kept; ls /run/lost /sys/class/net/lost0 2>&1 | wc -l").split() == [
        "/root/kept",
        "2",
    ]
    assert up.world.netns(up.one) != before
    assert "poweroff.target" in up.host.run("journalctl -b -1 -o cat -n 40")  # it ended in order


def test_it_can_reboot_itself(up: Deep) -> None:
    before = up.world.netns(up.one)
    up.host.run("touch /run/lost; systemd-run --quiet systemctl reboot")
    until("a new boot", lambda: before not in up.world.region.places())
    up.host.close()
    up.host.wait(BOOT_SECONDS)
    assert up.host.run("ls /run/lost 2>&1 || true").startswith("ls: cannot access")


def test_one_that_powered_itself_off_stays_off_until_it_is_started(up: Deep) -> None:
    netns = up.world.netns(up.one)
    up.host.run("systemd-run --quiet systemctl poweroff")
    ids = [up.one.id]
    up.world.ec2.get_waiter("instance_stopped").wait(InstanceIds=ids, WaiterConfig={"Delay": 1})
    with pytest.raises(OSError, match="unreachable"):
        up.world.region.connect(up.host.address, 22, 0.5)
    assert not groups("whole", netns)
    up.world.ec2.start_instances(InstanceIds=ids)
    up.host.close()
    up.host.wait(BOOT_SECONDS)


def test_stopped_and_started_it_has_its_files(up: Deep) -> None:
    up.host.run("echo kept > /root/stopped")
    up.world.ec2.stop_instances(InstanceIds=[up.one.id])
    assert not [p for p in up.world.region.ask("places")[0]["running"] if p.startswith(up.one.id)]
    up.world.ec2.start_instances(InstanceIds=[up.one.id])
    up.host.close()
    up.host.wait(BOOT_SECONDS)
    assert up.host.run("cat /root/stopped") == "kept\n"


def test_one_whose_first_process_dies_boots_again(up: Deep) -> None:
    netns = up.world.netns(up.one)
    time.sleep(3)  # one that has hardly begun is not begun again
    pid = up.world.region.ask("places")[0]["running"][netns]
    up.world.run("internet", "kill", "-9", str(pid))
    until("its end", lambda: netns not in up.world.region.ask("places")[0]["running"])
    up.host.close()
    up.host.wait(BOOT_SECONDS)
    assert up.world.netns(up.one) != netns


def test_killed_the_region_leaves_the_disks_and_comes_back(up: Deep) -> None:
    up.host.run("echo kept > /root/killed; sync")
    (mirror,) = mirrors("whole")
    watch = os.pidfd_open(mirror)
    os.kill(up.world.region.pid, signal.SIGKILL)
    assert select.select([watch], [], [], 10)[0], "the mirror outlives its region"
    os.close(watch)
    region = local.ensure("whole")
    assert region.whole
    assert region.tier == "root"
    object.__setattr__(up.host, "_target", open_target(Settings(name="whole")))
    up.host.close()
    up.host.wait(BOOT_SECONDS)
    assert up.host.run("cat /root/killed") == "kept\n"
    up.host.run("apt-get -q update")
    up.world.region = region
    up.world.target = open_target(Settings(name="whole"))
    up.world.ec2 = up.world.target.client("ec2")


def test_a_mirror_that_died_is_started_again(deep: Deep) -> None:
    index = "http://deb.debian.org/debian/dists/trixie/InRelease"
    ask = f"curl -fsSo /dev/null --retry 20 --retry-all-errors --retry-delay 1 {index}"
    kill("whole")
    assert local.ensure("whole") == deep.world.region
    until("a new mirror", lambda: len(mirrors("whole")) == 1)
    deep.host.plain(f"http_proxy=http://198.51.100.80:3142 {ask}")


def test_terminated_it_leaves_nothing(deep: Deep) -> None:
    netns = deep.world.netns(deep.two)
    disk = local.state_folder("whole") / "disks" / deep.two.id
    assert whole.kept(disk) == (rootfs.root("13"),)
    assert cgroup.processes(deep.group(deep.two))
    assert groups("whole", netns)
    deep.world.ec2.terminate_instances(InstanceIds=[deep.two.id])
    assert not disk.exists()
    assert netns not in deep.world.region.places()
    assert not groups("whole", netns)
    assert netns not in deep.world.must("internet", "cat", "/proc/self/mounts")


def test_stopped_the_region_leaves_nothing(deep: Deep) -> None:
    assert mirrors("whole")
    local.stop("whole")
    assert not mirrors("whole")
    assert not groups("whole")
    assert "/run/osawslab" not in Path("/proc/self/mounts").read_text()


def test_an_older_release_has_its_own_network_system(root: None, home: Path) -> None:
    local.ensure("older", whole=True, releases=["12"])
    world = World("older")
    world.image = world.target.client("ssm").get_parameter(
        Name="/aws/service/debian/release/12/latest/amd64"
    )["Parameter"]["Value"]
    host = world.host(world.eip(world.machine("172.16.10.101", "t3.large")))
    host.wait(BOOT_SECONDS)
    assert host.plain("sudo systemctl is-system-running --wait") == "running\n"
    assert host.plain(". /etc/os-release; echo $VERSION_CODENAME") == "bookworm\n"
    assert host.plain("sudo ifquery --state ens5") == "ens5=ens5\n"
    local.remove("older")


def test_a_lab_that_has_run_in_another_tier_is_started_again(
    root: None, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OSAWSLAB_TIER", "userns")
    light = local.ensure("grown")
    assert (light.tier, light.whole) == ("userns", False)
    grown = local.ensure("grown", whole=True)
    assert (grown.tier, grown.whole) == ("root", True)
    assert local.ensure("grown") == local.ensure("grown", whole=True) == grown
    assert local.remove("grown")
    assert not mirrors("grown")
