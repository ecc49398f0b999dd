"""The metadata service, asked by instances over the VPC: its answers, and how far they go."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
from world import Box, World

IMDS = "http://169.254.169.254"
TTL = "x-aws-ec2-metadata-token-ttl-seconds"
ASK = """
import http.client, json, sys
method, path, headers, seconds = json.load(sys.stdin)
wire = http.client.HTTPConnection("169.254.169.254", timeout=seconds)
wire.request(method, path, headers=headers)
try:
    answer = wire.getresponse()
    told = [answer.status, answer.read().decode(), dict(answer.headers)]
except TimeoutError:
    told = [0, "", {}]
print(json.dumps(told))
"""


def ask(
    world: World, place: str, method: str, path: str, seconds: float = 5, **headers: str
) -> tuple[int, str, dict[str, str]]:
    """Ask from a namespace; status 0 where no answer comes."""
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    asked = json.dumps([method, path, given, seconds])
    said = world.must(place, "python3", "-c", ASK, given=asked)
    status, body, told = json.loads(said)
    return status, body, told


def token(world: World, place: str, **more: Any) -> str:
    status, body, told = ask(
        world, place, "PUT", "/latest/api/token", X_aws_ec2_metadata_token_ttl_seconds="60", **more
    )
    assert (status, told[TTL]) == (200, "60")
    return body


def options(world: World, instance: str, **wanted: Any) -> None:
    world.ec2.modify_instance_metadata_options(InstanceId=instance, **wanted)


@pytest.fixture
def one(box: Box) -> Iterator[str]:
    """Give the namespace of an instance; its options are as at its launch afterwards."""
    yield box.world.netns(box.machine)
    options(box.world, box.machine.id, HttpTokens="optional", HttpEndpoint="enabled",
            HttpPutResponseHopLimit=1)  # fmt: skip


@pytest.mark.kernel
def test_an_instance_reads_its_own_metadata(box: Box, one: str) -> None:
    world = box.world
    has = token(world, one)

    def read(path: str) -> str:
        status, body, told = ask(world, one, "GET", path, X_aws_ec2_metadata_token=has)
        assert status == 200, path
        assert 50 < int(told[TTL]) <= 60
        return body

    assert read("/latest/meta-data/instance-id") == box.machine.id
    assert read("/2009-04-04/meta-data/local-ipv4") == "172.16.10.101"
    assert read("/latest/meta-data/public-ipv4") == box.eip
    assert read("/latest/meta-data/mac") == box.machine.mac
    assert read("/latest/meta-data/public-keys/") == "0=test"
    assert read("/latest/meta-data/public-keys/0/openssh-key") == world.public + "\n"
    assert read("/latest/meta-data/security-groups") == "open"
    assert read("/latest/user-data").startswith("#cloud-config\n")
    macs = f"/latest/meta-data/network/interfaces/macs/{box.second.mac}"
    assert read(f"{macs}/device-number") == "1"
    assert read(f"{macs}/local-ipv4s") == "172.16.20.101"
    assert read(f"{macs}/vpc-ipv4-cidr-block") == "172.16.0.0/16"
    document = json.loads(read("/latest/dynamic/instance-identity/document"))
    assert document["instanceId"] == box.machine.id
    assert document["imageId"] == world.image == read("/latest/meta-data/ami-id")
    assert document["pendingTime"].endswith("Z")


@pytest.mark.kernel
def test_who_has_no_token_is_answered_as_the_instance_says(box: Box, one: str) -> None:
    world = box.world
    id = "/latest/meta-data/instance-id"
    assert ask(world, one, "GET", id)[:2] == (200, box.machine.id)
    options(world, box.machine.id, HttpTokens="required")
    assert ask(world, one, "GET", id)[0] == 401
    assert ask(world, one, "GET", id, X_aws_ec2_metadata_token=token(world, one))[0] == 200
    options(world, box.machine.id, HttpEndpoint="disabled")
    assert ask(world, one, "GET", id)[0] == 403
    [told] = world.ec2.describe_instances(InstanceIds=[box.machine.id])["Reservations"]
    found = told["Instances"][0]["MetadataOptions"]
    assert (found["HttpTokens"], found["HttpPutResponseHopLimit"]) == ("required", 1)


@pytest.mark.kernel
def test_a_token_is_its_instances_own(box: Box, one: str) -> None:
    world = box.world
    other = world.up(world.machine("172.16.20.77"))
    theirs, id = world.netns(other), "/latest/meta-data/instance-id"
    assert ask(world, theirs, "GET", id)[:2] == (200, other.id)
    foreign = token(world, theirs)
    assert ask(world, theirs, "GET", id, X_aws_ec2_metadata_token=foreign)[0] == 200
    assert ask(world, one, "GET", id, X_aws_ec2_metadata_token=foreign)[0] == 401


@pytest.mark.kernel
def test_the_hop_limit_is_the_time_to_live_of_a_token(box: Box, one: str) -> None:
    """A network behind the instance, as containers have one: a router further away."""
    world = box.world
    behind = "behind"
    inside = "; ".join(
        (
            f"ip link add b0 type veth peer name b1 netns {behind}",
            "ip addr add 10.9.9.1/24 dev b0",
            "ip link set b0 up",
            "echo 1 > /proc/sys/net/ipv4/ip_forward",
            "nft add table ip b",
            "nft add chain ip b out '{ type nat hook postrouting priority 100; }'",
            "nft add rule ip b out ip saddr 10.9.9.0/24 masquerade",
        )
    )
    assert world.region.ask("apply", place="", lines=f"netns add {behind}\n")
    try:
        world.must(one, "sh", "-ec", inside)
        for line in ("addr add 10.9.9.2/24 dev b1", "link set b1 up",
                     "route add default via 10.9.9.1"):  # fmt: skip
            world.must(behind, "ip", *shlex.split(line))
        put = ("PUT", "/latest/api/token")
        header = {"X_aws_ec2_metadata_token_ttl_seconds": "60"}
        options(world, box.machine.id, HttpTokens="required")
        assert ask(world, behind, *put, seconds=1, **header)[0] == 0
        assert ask(world, behind, "GET", "/latest/meta-data/")[0] == 401  # only a PUT stays near
        options(world, box.machine.id, HttpPutResponseHopLimit=2)
        assert ask(world, behind, *put, seconds=1, **header)[0] == 200
    finally:
        world.region.ask("apply", place="", lines=f"netns del {behind}\n")


@pytest.mark.kernel
def test_the_service_comes_and_goes_with_the_vpcs_router(box: Box) -> None:
    world = box.world
    ids = [
        each["InstanceId"]
        for found in world.ec2.describe_instances()["Reservations"]
        for each in found["Instances"]
        if each["State"]["Name"] == "running"
    ]
    world.ec2.stop_instances(InstanceIds=ids)
    assert world.router not in world.region.places()
    world.ec2.start_instances(InstanceIds=[box.machine.id])
    box.host.wait(20)
    one = world.netns(box.machine)
    assert ask(world, one, "GET", "/latest/meta-data/instance-id")[1] == box.machine.id
