"""What becomes of an instance that powers itself off: as EC2 was told when it was made."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from botocore.exceptions import ClientError
from world import Box, Machine, World

from osawslab.region import local
from osawslab.settings import Settings
from osawslab.target import open_target

QUICK = {"Delay": 1, "MaxAttempts": 20}
NUMBERS = itertools.count(140)


def boxed(world: World, **more: Any) -> Box:
    """Run an instance with two NICs, which lets us in."""
    number = next(NUMBERS)
    first = world.machine(f"172.16.10.{number}", **more)
    second = world.plug(first, world.b, f"172.16.20.{number}")
    eip = world.eip(first)
    host = world.host(eip)
    host.wait(20)
    return Box(world, first, second, eip, host)


def told(world: World, machine: Machine) -> dict[str, Any]:
    [found] = world.ec2.describe_instances(InstanceIds=[machine.id])["Reservations"]
    return dict(found["Instances"][0])


def poweroff(box: Box) -> None:
    box.host.run("(sleep 0.2; poweroff) > /dev/null 2>&1 &")
    box.host.close()


def test_one_of_behaviour_stop_is_stopped(world: World) -> None:
    box = boxed(world)
    box.host.run("echo kept > /root/kept")
    poweroff(box)
    ids = {"InstanceIds": [box.machine.id]}
    world.ec2.get_waiter("instance_stopped").wait(**ids, WaiterConfig=QUICK)
    reason = {
        "Code": "Client.InstanceInitiatedShutdown",
        "Message": "Client.InstanceInitiatedShutdown: Instance initiated shutdown",
    }
    assert told(world, box.machine)["StateReason"] == reason
    world.ec2.start_instances(**ids)
    box.host.wait(20)
    assert box.host.run("cat /root/kept") == "kept\n"
    assert not told(world, box.machine).get("StateReason", {}).get("Code")
    world.ec2.stop_instances(**ids)
    assert told(world, box.machine)["StateReason"]["Code"] == "Client.UserInitiatedShutdown"


def test_one_of_behaviour_terminate_is_gone_with_what_goes_with_it(world: World) -> None:
    box = boxed(world, InstanceInitiatedShutdownBehavior="terminate")
    netns, ec2 = world.netns(box.machine), world.ec2
    poweroff(box)
    ids = {"InstanceIds": [box.machine.id]}
    ec2.get_waiter("instance_terminated").wait(**ids, WaiterConfig=QUICK)
    found = told(world, box.machine)
    assert found["StateReason"]["Code"] == "Client.InstanceInitiatedShutdown"
    assert netns not in world.region.places()
    assert not (local.state_folder(world.name) / "disks" / box.machine.id).exists()
    with pytest.raises(ClientError, match="NotFound"):
        ec2.describe_network_interfaces(NetworkInterfaceIds=[box.machine.nic])
    [kept] = ec2.describe_network_interfaces(NetworkInterfaceIds=[box.second.nic])[
        "NetworkInterfaces"
    ]
    assert kept["Status"] == "available"  # hot-plugged, and nobody has asked for more
    filters = [{"Name": "attachment.instance-id", "Values": [box.machine.id]}]
    assert ec2.describe_volumes(Filters=filters)["Volumes"] == []
    [address] = ec2.describe_addresses(PublicIps=[box.eip])["Addresses"]
    assert "AssociationId" not in address


def test_a_region_that_is_started_again_knows_what_has_ended(world: World) -> None:
    stopped, gone = boxed(world), boxed(world, InstanceInitiatedShutdownBehavior="terminate")
    for box, waiter in ((stopped, "instance_stopped"), (gone, "instance_terminated")):
        poweroff(box)
        ids = [box.machine.id]
        world.ec2.get_waiter(waiter).wait(InstanceIds=ids, WaiterConfig=QUICK)
    before = [told(world, box.machine)["StateReason"] for box in (stopped, gone)]
    local.stop(world.name)
    world.region = local.ensure(world.name)
    world.target = open_target(Settings(name=world.name))
    world.ec2 = world.target.client("ec2")
    after = [told(world, box.machine) for box in (stopped, gone)]
    assert [each["State"]["Name"] for each in after] == ["stopped", "terminated"]
    assert [each["StateReason"] for each in after] == before


def test_nobody_else_says_that_it_was_shut_down_from_inside(world: World) -> None:
    box = world.machine("172.16.10.139")
    request = world.ec2.meta.events

    def forge(params: dict[str, Any], **_: Any) -> None:
        params["body"]["InstanceInitiated"] = "true"

    request.register("before-call.ec2.StopInstances", forge)
    try:
        with pytest.raises(ClientError, match="InstanceInitiated"):
            world.ec2.stop_instances(InstanceIds=[box.id])
    finally:
        request.unregister("before-call.ec2.StopInstances", forge)


def test_scripts_for_each_boot_run_at_each(world: World) -> None:
    box = boxed(world)
    each = "/var/lib/cloud/scripts/per-boot"
    box.host.run(
        f"mkdir -p {each}; printf '#!/bin/sh\\necho again >> /root/boots\\n' > {each}/count"
    )
    box.reboot()
    assert box.host.run("cat /root/boots 2>&1 || true") != "again\n"  # not executable
    box.host.run(f"chmod +x {each}/count")
    for boots in (1, 2):
        box.reboot()
        look = f"until [ $(wc -l < /root/boots) = {boots} ]; do sleep 0.02; done"
        box.host.run(f"timeout 10 sh -c '{look}'")
