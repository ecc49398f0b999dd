"""The proof hangs on the VPC's rules: flip one, and report and proof turn red."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from osawslab import Lab
from osawslab.region import local
from osawslab.region.local import Region

pytestmark = pytest.mark.kernel

NAME = "flip"
BEFORE = ("provision", "install_cloud", "provider_nic", "networks")


@pytest.fixture(scope="module")
def lab(home: Path) -> Iterator[Lab]:
    """A lab made up to the drop."""
    with Lab(NAME, bridge="linux") as made:
        for step in BEFORE:
            report = made.run(step)
            assert report.ok, report.text
        yield made
        local.remove(NAME)


@pytest.fixture
def region(lab: Lab) -> Region:
    """The lab's region."""
    found = local.find(NAME)
    assert found is not None
    return found


def router(region: Region) -> str:
    [found] = [place for place in region.places() if place.startswith("vpc-")]
    return found


def mended(lab: Lab) -> None:
    """Have the region write its rules anew: any change does."""
    ec2 = lab.client("ec2")
    [vpc] = ec2.describe_vpcs(Filters=[{"Name": "tag:osawslab:lab", "Values": [NAME]}])["Vpcs"]
    made = ec2.create_subnet(VpcId=vpc["VpcId"], CidrBlock="172.16.99.0/24")["Subnet"]
    ec2.delete_subnet(SubnetId=made["SubnetId"])


def test_without_the_mac_rule_nothing_is_dropped_and_the_drop_is_red(
    lab: Lab, region: Region
) -> None:
    done = region.execute(
        router(region), ["nft", "insert", "rule", "bridge", "guard", "sent", "accept"]
    )
    assert done.returncode == 0, done.stderr
    seen = lab.see_the_drop()
    assert not seen.ok
    wrong = {check.what for check in seen.checks if not check}
    assert "frames the VPC dropped because of their MAC" in wrong
    mended(lab)
    lab.reset("see_the_drop")
    assert lab.see_the_drop().ok


def test_with_no_registered_mac_the_proof_is_red(lab: Lab, region: Region) -> None:
    assert lab.swap_mac().ok
    assert lab.verify().ok
    done = region.execute(router(region), ["nft", "flush", "set", "bridge", "guard", "macs"])
    assert done.returncode == 0, done.stderr
    lab.close()  # the SSH connection is cut as well: the management NIC's frames are dropped too
    with pytest.raises(Exception, match=r"SSH") as caught:
        lab.verify()
    assert type(caught.value).__name__ in ("CannotReach", "LabTimeout")
    mended(lab)
    lab.close()
    assert lab.verify().ok


def test_with_one_nic_unregistered_the_ping_is_red(lab: Lab, region: Region) -> None:
    lab.swap_mac()
    mac = lab.shell("cat /var/lib/osawslab/registered-mac").output
    listed = region.execute(router(region), ["nft", "list", "set", "bridge", "guard", "macs"])
    [port] = [
        part.split('"')[1] for part in listed.stdout.split(",") if mac in part and '"p-' in part
    ]
    element = f'{{ "{port}" . {mac} }}'
    done = region.execute(
        router(region), ["nft", "delete", "element", "bridge", "guard", "macs", element]
    )
    assert done.returncode == 0, done.stderr
    report = lab.verify()
    assert not report.ok
    assert report.data["ping_after"]["received"] == 0
    mended(lab)
    assert lab.verify().ok


def test_an_elastic_ip_led_to_the_other_nic_is_red(lab: Lab) -> None:
    for step in ("swap_mac", "publish_vm"):
        assert lab.run(step).ok
    ec2 = lab.client("ec2")
    found = {a["PrivateIpAddress"]: a for a in ec2.describe_addresses()["Addresses"]}
    provider = found["172.16.20.101"]
    ec2.disassociate_address(AssociationId=provider["AssociationId"])
    assert not lab.check("publish_vm")
    assert not lab.check("provision")
    assert lab.provision().ok
    assert lab.check("publish_vm")


def test_a_renamed_nic_is_found_by_its_note(lab: Lab) -> None:
    lab.swap_mac()
    lab.shell("ip link set eth1 down; ip link set eth1 name ens9; ip link set ens9 up")
    check = lab.check("provider_nic")
    assert [each.what for each in check.checks if not each] == []
    assert lab.verify().ok
    lab.shell("ip link set ens9 down; ip link set ens9 name eth1; ip link set eth1 up")
