"""The internet gateway, held by real packets: Elastic IPs, sizes, and no way beyond."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from wire import FREE, PUBLIC, Machine, Net, echo_reply, ethernet, ipv4

from osawslab.region import network

TALK = """
import ctypes, os, socket, sys
libc = ctypes.CDLL(None)
def made(place, address):
    fd = os.open("/run/netns/" + place, os.O_RDONLY)
    assert libc.setns(fd, 0x40000000) == 0
    os.close(fd)
    each = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    each.settimeout(2)
    each.bind((address, 5353))
    return each
server, client = made("internet", "8.8.8.8"), made(sys.argv[1], sys.argv[2])
client.sendto(b"who am I?", ("8.8.8.8", 5353))
_, who = server.recvfrom(100)
server.sendto(who[0].encode(), who)
print(client.recv(100).decode())
"""


def test_what_leaves_has_the_elastic_ip_and_the_answer_comes_back(net: Net) -> None:
    place = net.world.netns(net.one)
    said = net.world.must("internet", "python3", "-c", TALK, place, net.one.address)
    assert said.strip() == net.eip


def test_what_comes_to_the_elastic_ip_arrives(net: Net) -> None:
    assert net.reaches("internet", net.eip)
    net.world.host(net.eip).wait(10)
    with net.world.region.connect(net.eip, 22) as made:
        assert made.recv(100).startswith(b"SSH-2.0-osawslab")


def test_without_an_elastic_ip_there_is_no_internet(net: Net) -> None:
    before = net.world.region.drops()["no_eip"]
    assert net.fails(net.two, PUBLIC)
    assert net.world.region.drops()["no_eip"] == before + 1
    assert net.reaches(net.one, PUBLIC)


def test_an_elastic_ip_that_leads_nowhere_does_not_answer(net: Net) -> None:
    ec2 = net.world.ec2
    spare = ec2.allocate_address(Domain="vpc")
    with pytest.raises(OSError, match="unreachable"):
        net.world.region.connect(spare["PublicIp"], 22)
    led = ec2.associate_address(AllocationId=spare["AllocationId"], NetworkInterfaceId=net.two.nic)
    assert net.reaches("internet", spare["PublicIp"])
    ec2.disassociate_address(AssociationId=led["AssociationId"])
    with pytest.raises(OSError, match="unreachable"):
        net.world.region.connect(spare["PublicIp"], 22)
    ec2.release_address(AllocationId=spare["AllocationId"])


def test_an_elastic_ip_leads_where_it_is_moved_to(net: Net) -> None:
    ec2 = net.world.ec2
    (about,) = ec2.describe_addresses(PublicIps=[net.eip])["Addresses"]

    def lead(machine: Machine) -> None:
        ec2.associate_address(
            AllocationId=about["AllocationId"],
            NetworkInterfaceId=machine.nic,
            AllowReassociation=True,
        )

    lead(net.two)
    assert net.reaches(net.two, PUBLIC)
    assert net.fails(net.one, PUBLIC)
    assert net.world.host(net.eip).plain("hostname") == "ip-172-16-10-102\n"
    lead(net.one)
    assert net.reaches(net.one, PUBLIC)
    assert net.world.host(net.eip).plain("hostname") == "ip-172-16-10-101\n"


def test_a_spoofed_public_source_does_not_reach_the_internet(net: Net, unchecked: None) -> None:
    """Past the source check there is still the gateway: no Elastic IP, no way out."""
    before = net.world.region.drops()["no_eip"]
    packet = ipv4(FREE, PUBLIC, echo_reply(b"hello"))
    net.send(ethernet(net.one.mac, net.router, 0x800, packet), watch=(net.one,))
    assert net.world.region.drops()["no_eip"] == before + 1


def test_inside_a_vpc_frames_are_large_and_its_gateway_passes_1500(net: Net) -> None:
    def size(source: Machine, address: str, data: int) -> str:
        place = net.world.netns(source)
        words = ("ping", "-n", "-c", "1", "-W", "1", "-M", "do", "-s", str(data), address)
        done = net.world.run(place, *words)
        return str(done.stdout + done.stderr) if done.returncode else "answered"

    for target in (net.two, net.far):
        assert size(net.one, target.address, 9001 - 28) == "answered"
    assert "message too long" in size(net.one, net.two.address, 9002 - 28)
    assert size(net.one, PUBLIC, 1500 - 28) == "answered"
    refused = size(net.one, PUBLIC, 1501 - 28)
    assert re.search(r"From 172\.16\.10\.1 .*Frag needed and DF set \(mtu = 1500\)", refused)


def test_a_vpc_with_the_same_addresses_is_another_world(net: Net) -> None:
    world = net.world
    ec2 = world.ec2
    vpc = ec2.create_vpc(CidrBlock="172.16.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="172.16.10.0/24")["Subnet"]["SubnetId"]
    made = ec2.run_instances(
        ImageId=world.image, InstanceType="t2.large", MinCount=1, MaxCount=1,
        SubnetId=subnet, PrivateIpAddress=net.one.address,
    )["Instances"][0]["InstanceId"]  # fmt: skip
    place = world.netns(made)
    world.must(f"vpc-{vpc[-8:]}", "ping", "-i", "0.05", "-c", "1", "-w", "10", net.one.address)
    assert net.fails(place, net.two.address)
    assert net.reaches(place, "172.16.10.1")
    assert net.reaches(net.one, net.two.address)
    assert net.reaches("internet", net.eip)
    for _ in range(3):  # its only instance, so the whole VPC goes and comes back
        ec2.stop_instances(InstanceIds=[made])
        assert network.leg(vpc) not in world.must("internet", "ip", "link")
        ec2.start_instances(InstanceIds=[made])
        assert network.leg(vpc) in world.must("internet", "ip", "link")
    ec2.terminate_instances(InstanceIds=[made])
    assert f"vpc-{vpc[-8:]}" not in world.region.places()
    assert network.leg(vpc) not in world.must("internet", "ip", "link")


def test_a_region_has_no_way_to_the_machine_or_beyond(net: Net) -> None:
    """Every device is a cable to another place of the region; no default route leaves it."""
    region = net.world.region
    own = Path(f"/proc/{region.pid}/net")
    assert re.findall(r"^\s*(\S+):", (own / "dev").read_text(), re.M) == ["lo"]
    assert (own / "route").read_text().count("\n") <= 1  # its headline
    for place in region.places():
        for link in json.loads(net.world.must(place, "ip", "-j", "-d", "link")):
            kind = link.get("linkinfo", {}).get("info_kind", "loopback")
            assert kind in ("loopback", "veth", "bridge"), f"{place}: {link}"
            if kind == "veth":
                assert link["link_netnsid"] is not None
    assert "default" not in net.world.must("internet", "ip", "route")
    with pytest.raises(OSError, match="unreachable"):
        region.connect("192.0.2.1", 53)
