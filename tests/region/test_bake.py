"""CreateImage of an instance that is a whole operating system: by one lab, for every lab here."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from world import Machine, World

from osawslab.errors import LabTimeout
from osawslab.host.ssh import SshHost
from osawslab.region import local, rootfs, whole
from osawslab.region.local import Region
from osawslab.settings import Settings
from osawslab.target import open_target

BOOT_SECONDS = 60.0
NAME = "osawslab-test/bake"
MINE = {"Name": "name", "Values": [NAME]}  # the machine's cache may hold others
TAGS = [{"Key": "osawslab:recipe", "Value": "a b"}]
SPECS = [{"ResourceType": "image", "Tags": TAGS}]


@dataclass
class Bake:
    """A world with a prepared instance, and the image that was made of it."""

    world: World
    machine: Machine
    host: SshHost
    image: str
    seconds: float

    def described(self) -> dict[str, Any]:
        [image] = self.world.ec2.describe_images(Owners=["self"], Filters=[MINE])["Images"]
        return dict(image)


def empty() -> None:
    for folder in rootfs.baked().glob("osawslab-test*"):
        shutil.rmtree(folder)


def kill(region: Region) -> None:
    """Kill a region, and wait until its processes have given its lock back."""
    os.kill(region.pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while local.find(region.name):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def again(bake: Bake) -> None:
    """Use the region that has come back."""
    bake.world.region = local.ensure(bake.world.name)
    bake.world.target = open_target(Settings(name=bake.world.name))
    bake.world.ec2 = bake.world.target.client("ec2")
    object.__setattr__(bake.host, "_target", bake.world.target)
    bake.host.close()
    bake.host.wait(BOOT_SECONDS)


@pytest.fixture(scope="module")
def bake(home: Path) -> Iterator[Bake]:
    if os.geteuid():
        pytest.fail("NOT RUN: only root can try this")
    empty()
    world = World("baker", whole=True)
    machine = world.machine("172.16.10.101")
    host = world.host(world.eip(machine))
    host.wait(BOOT_SECONDS)
    host.run("echo prepared > /root/prepared; rm /usr/bin/less; touch /run/lost")
    host.run("rm /etc/machine-id /home/admin/.ssh/authorized_keys")
    begun = time.monotonic()
    image = world.ec2.create_image(
        InstanceId=machine.id, Name=NAME, Description="for tests", TagSpecifications=SPECS
    )["ImageId"]
    seconds = time.monotonic() - begun
    host.close()
    host.wait(BOOT_SECONDS)
    yield Bake(world, machine, host, image, seconds)
    empty()


def test_it_is_available_with_its_name_and_tags(bake: Bake) -> None:
    told = bake.described()
    wanted = {"ImageId": bake.image, "Name": NAME, "Description": "for tests", "Tags": TAGS}
    wanted |= {"State": "available", "OwnerId": "123456789012", "Architecture": "x86_64"}
    wanted |= {"RootDeviceName": "/dev/xvda", "RootDeviceType": "ebs", "Public": False}
    assert {key: told[key] for key in wanted} == wanted
    for name, value in (("tag:osawslab:recipe", "a b"), ("name", NAME), ("state", "available")):
        found = bake.world.ec2.describe_images(
            Owners=["self"], Filters=[MINE, {"Name": name, "Values": [value]}]
        )["Images"]
        assert [each["ImageId"] for each in found] == [bake.image]
    bake.world.ec2.get_waiter("image_available").wait(ImageIds=[bake.image])


def test_it_leaves_no_volume_and_no_snapshot(bake: Bake) -> None:
    ec2 = bake.world.ec2
    owners = {each["OwnerId"] for each in ec2.describe_snapshots()["Snapshots"]}
    assert bake.described()["OwnerId"] not in owners
    volumes = ec2.describe_volumes()["Volumes"]
    assert [each["Attachments"][0]["InstanceId"] for each in volumes] == [bake.machine.id]


def test_its_instance_was_rebooted_and_goes_on(bake: Bake) -> None:
    run = bake.host.run
    assert run("cat /root/prepared; ls /run/lost /usr/bin/less 2>&1 | wc -l") == "prepared\n2\n"
    assert "poweroff.target" in run("journalctl -m -o cat")
    run("echo after > /root/after")
    disk = local.state_folder("baker") / "disks" / bake.machine.id
    top, *below = whole.kept(disk)
    assert top.parent.parent == rootfs.baked()
    assert below == [rootfs.root("13")]
    assert (disk / "upper/root/after").exists()
    assert not (top / "root/after").exists()


def launched(world: World, image: str, address: str) -> tuple[Machine, SshHost]:
    world.image = image
    made = world.machine(address)
    host = world.host(world.eip(made))
    host.wait(BOOT_SECONDS)
    return made, host


def test_an_instance_of_it_has_the_file_and_an_identity_of_its_own(bake: Bake) -> None:
    _, host = launched(bake.world, bake.image, "172.16.10.102")
    look = "cat /root/prepared /etc/hostname; ls /root/after /usr/bin/less 2>&1 | wc -l"
    assert host.run(look).split() == ["prepared", "ip-172-16-10-102", "2"]
    assert host.plain("sudo systemctl is-system-running --wait; id -un") == "running\nadmin\n"
    ids = [each.plain("cat /etc/machine-id").strip() for each in (host, bake.host)]
    assert len(set(ids)) == 2
    assert all(len(each) == 32 for each in ids)


def test_without_a_key_in_its_user_data_it_makes_its_own(bake: Bake) -> None:
    world = bake.world
    made = world.ec2.run_instances(
        ImageId=bake.image, InstanceType="t3.large", KeyName="test", MinCount=2, MaxCount=2,
        SubnetId=world.a, SecurityGroupIds=[world.group],
    )["Instances"]  # fmt: skip
    disks = [local.state_folder("baker") / "disks" / each["InstanceId"] for each in made]
    paths = [disk / "upper/etc/ssh/ssh_host_ed25519_key" for disk in disks]
    deadline = time.monotonic() + BOOT_SECONDS
    while not all(path.exists() for path in paths):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert len({world.host_private, *(path.read_text() for path in paths)}) == 3
    world.ec2.terminate_instances(InstanceIds=[each["InstanceId"] for each in made])


@pytest.mark.parametrize(
    ("name", "code"),
    [
        (NAME, "InvalidAMIName.Duplicate"),
        ("no:colon", "InvalidAMIName.Malformed"),
    ],
)
def test_a_name_is_refused_and_nothing_happens(name: str, code: str, bake: Bake) -> None:
    netns = bake.world.netns(bake.machine)
    with pytest.raises(ClientError) as caught:
        bake.world.ec2.create_image(InstanceId=bake.machine.id, Name=name)
    assert caught.value.response["Error"]["Code"] == code
    assert bake.world.netns(bake.machine) == netns


def test_killed_the_region_has_the_same_images_and_the_instances_their_files(bake: Bake) -> None:
    bake.host.run("echo mine > /root/mine; sync")
    before = bake.described()
    kill(bake.world.region)
    again(bake)
    assert bake.described() == before
    assert bake.host.run("cat /root/prepared /root/mine") == "prepared\nmine\n"


def test_without_a_reboot_what_is_written_is_copied(bake: Bake) -> None:
    netns = bake.world.netns(bake.machine)
    bake.host.run("echo copied > /root/copied; sync")
    image = bake.world.ec2.create_image(
        InstanceId=bake.machine.id, Name=f"{NAME} copy", NoReboot=True
    )["ImageId"]
    assert bake.world.netns(bake.machine) == netns
    made, host = launched(bake.world, image, "172.16.10.103")
    assert host.run("cat /root/prepared /root/copied") == "prepared\ncopied\n"
    bake.world.ec2.terminate_instances(InstanceIds=[made.id])
    bake.world.ec2.deregister_image(ImageId=image)
    assert bake.described()["ImageId"] == bake.image


def test_another_lab_finds_it_and_lives_on_when_it_is_gone(bake: Bake) -> None:
    other = World("eater", whole=True)
    [image] = other.ec2.describe_images(
        Owners=["self"], Filters=[{"Name": "tag:osawslab:recipe", "Values": ["a b"]}]
    )["Images"]
    wanted = bake.described()
    assert wanted.pop("SourceInstanceId") == bake.machine.id  # is not of this lab
    assert image == wanted
    with pytest.raises(ClientError, match="already in use"):
        other.ec2.create_image(InstanceId=other.machine("172.16.10.101").id, Name=NAME)
    made, host = launched(other, bake.image, "172.16.10.102")
    assert host.run("cat /root/prepared; hostname").split() == ["prepared", "ip-172-16-10-102"]
    host.run("echo eaten > /root/eaten; sync")

    bake.world.ec2.deregister_image(ImageId=bake.image)
    gone = other.ec2.describe_images(
        Owners=["self"], Filters=[MINE, {"Name": "state", "Values": ["available"]}]
    )
    assert not gone["Images"]
    with pytest.raises(ClientError, match="does not exist"):
        other.machine("172.16.10.103")
    kill(other.region)
    other.region = local.ensure("eater")
    object.__setattr__(host, "_target", open_target(Settings(name="eater")))
    host.close()
    host.wait(BOOT_SECONDS)
    assert host.run("cat /root/prepared /root/eaten").split() == ["prepared", "eaten"]
    kill(bake.world.region)
    again(bake)
    assert not bake.world.ec2.describe_images(Owners=["self"], Filters=[MINE])["Images"]
    assert bake.host.run("cat /root/mine") == "mine\n"

    empty()  # the cache is lost: the rest of the lab comes back all the same
    kill(other.region)
    local.ensure("eater")
    assert [each for each in whole.kept(local.state_folder("eater") / "disks" / made.id)]
    object.__setattr__(host, "_target", open_target(Settings(name="eater")))
    host.close()
    with pytest.raises(LabTimeout):
        host.wait(1)
    log = (local.state_folder("eater") / "region.log").read_text()
    assert f"{made.id} stays off: a part of the image that {made.id} was made of is gone" in log
    local.remove("eater")
