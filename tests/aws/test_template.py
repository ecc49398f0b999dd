"""The template: cfn-lint passes it, and it asks for what provision makes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from osawslab import Lab
from osawslab.aws.facts import MADE, Facts
from osawslab.aws.template import REFERENCES, template
from osawslab.region import local
from osawslab.settings import Settings
from osawslab.steps import bill, host_key, provision

OTHERS = {
    "name": "other", "vpc_cidr": "10.0.0.0/16", "management_cidr": "10.0.1.0/24",
    "management_address": "10.0.1.10", "provider_cidr": "10.0.2.0/24", "zone": "b",
    "provider_address": "10.0.2.20", "instance_type": "m5.large", "published_port": 2222,
    "allow_from": "198.51.100.7/32", "debian": 12,
}  # fmt: skip
OSAWSLAB = (sys.executable, "-P", "-m", "osawslab.cli")
Properties = Callable[[str], dict[str, Any]]


@pytest.fixture(scope="module")
def lab(home: Path) -> Iterator[Lab]:
    """Give a lab with what the step's calls make, but for the proof over SSH."""
    with Lab("drift", instance_type="t3.large", allow_from="198.51.100.0/24") as made:
        site = made._site()
        for action in provision.plan(site, provision.Seen(Facts())):
            if action.command != host_key.PROVE:
                action.do()
        yield made
        local.remove("drift")


@pytest.fixture(scope="module")
def seen(lab: Lab) -> Facts:
    return lab._site().read_ec2()


@pytest.fixture(scope="module")
def properties(lab: Lab) -> Properties:
    found = template(lab.settings, bill.gigabytes(lab.settings))["Resources"]
    return lambda name: dict(found[name]["Properties"])


@pytest.mark.parametrize("settings", [{}, {"instance_type": "t3.xlarge"}, OTHERS])
def test_cfn_lint_passes_it(tmp_path: Path, settings: dict[str, Any]) -> None:
    path = tmp_path / "lab.json"
    path.write_text(json.dumps(template(Settings(**settings), 8)))
    program = Path(sys.executable).with_name("cfn-lint")
    done = subprocess.run([program, path], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_command_needs_no_account(home: Path) -> None:
    done = subprocess.run(
        [*OSAWSLAB, "export", "--name", "a", "--target", "aws"],
        capture_output=True, text=True, timeout=60,
        env={"PATH": "/nowhere", "HOME": str(home), "PYTHONPATH": ":".join(sys.path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == template(Settings(name="a", target="aws"), 8)
    assert list(home.glob("state/osawslab/*")) == []


def tags(each: dict[str, Any]) -> dict[str, str]:
    told = each.get("Tags", each.get("TagSet", []))
    return {tag["Key"]: tag["Value"] for tag in told if tag["Key"] != MADE}


def test_every_resource_has_the_tags_it_has_in_ec2(seen: Facts, properties: Properties) -> None:
    pairs = {
        "Vpc": seen.vpc, "Gateway": seen.gateway, "Group": seen.group, "Instance": seen.instance,
        **{f"{role.title()}Subnet": each for role, each in seen.subnets.items()},
        **{f"{role.title()}Nic": each for role, each in seen.nics.items()},
        **{f"{role.title()}Address": each for role, each in seen.addresses.items()},
    }  # fmt: skip
    assert len(pairs) == 10
    assert {name: tags(properties(name)) for name in pairs} == {
        name: tags(dict(each or {})) for name, each in pairs.items()
    }


def test_the_network_is_the_one_in_ec2(seen: Facts, properties: Properties) -> None:
    assert seen.vpc
    assert properties("Vpc")["CidrBlock"] == seen.vpc["CidrBlock"]
    for role, subnet in seen.subnets.items():
        made = properties(f"{role.title()}Subnet")
        assert made["CidrBlock"] == subnet["CidrBlock"]
        zone = made["AvailabilityZone"]["Fn::Sub"].replace("${AWS::Region}", "us-east-1")
        assert zone == subnet["AvailabilityZone"]
    assert seen.group
    assert {
        (rule["IpProtocol"], rule["FromPort"], rule["ToPort"], "198.51.100.0/24")
        for rule in properties("Group")["SecurityGroupIngress"]
        if rule["CidrIp"] == {"Ref": "AllowFrom"}
    } == {
        (rule["IpProtocol"], rule["FromPort"], rule["ToPort"], each["CidrIp"])
        for rule in seen.group["IpPermissions"]
        for each in rule["IpRanges"]
    }
    for role, nic in seen.nics.items():
        made = properties(f"{role.title()}Nic")
        assert made["PrivateIpAddress"] == nic["PrivateIpAddress"]
        assert made["SubnetId"] == {"Ref": f"{role.title()}Subnet"}
        assert len(made["GroupSet"]) == len(nic["Groups"]) == 1
        leads = properties(f"{role.title()}AddressLeads")
        assert leads["NetworkInterfaceId"] == {"Ref": f"{role.title()}Nic"}
        assert leads["PrivateIpAddress"] == seen.addresses[role]["PrivateIpAddress"]
    plug, attachment = properties("Plug"), seen.nics["provider"]["Attachment"]
    assert int(plug["DeviceIndex"]) == attachment["DeviceIndex"] == 1
    assert plug["DeleteOnTermination"] is attachment["DeleteOnTermination"] is True


def test_the_instance_is_the_one_in_ec2(lab: Lab, seen: Facts, properties: Properties) -> None:
    made, there = properties("Instance"), dict(seen.instance or {})
    assert made["InstanceType"] == there["InstanceType"]
    for name, value in made["MetadataOptions"].items():
        assert there["MetadataOptions"][name] == value
    assert made["MetadataOptions"]["HttpTokens"] == "required"
    ec2 = lab.client("ec2")
    [disk] = made["BlockDeviceMappings"]
    [held] = there["BlockDeviceMappings"]
    assert disk["DeviceName"] == held["DeviceName"]
    [volume] = ec2.describe_volumes(VolumeIds=[held["Ebs"]["VolumeId"]])["Volumes"]
    assert (disk["Ebs"]["VolumeSize"], disk["Ebs"]["VolumeType"], disk["Ebs"]["Encrypted"]) == (
        volume["Size"], volume["VolumeType"], volume["Encrypted"],
    )  # fmt: skip
    assert disk["Ebs"]["Encrypted"] is True
    assert disk["Ebs"]["DeleteOnTermination"] is held["Ebs"]["DeleteOnTermination"] is True
    end = ec2.describe_instance_attribute(
        InstanceId=there["InstanceId"], Attribute="instanceInitiatedShutdownBehavior"
    )["InstanceInitiatedShutdownBehavior"]["Value"]
    assert made.get("InstanceInitiatedShutdownBehavior", "stop") == end
    image = template(lab.settings, 8)["Parameters"]["Image"]["Default"]
    told = lab.client("ssm").get_parameter(Name=image)["Parameter"]["Value"]
    assert told == there["ImageId"]


def test_every_call_of_the_step_is_in_it(properties: Properties) -> None:
    text = json.dumps([properties(name) for name in ("Instance", "ProviderNic", "Route")])
    assert set(REFERENCES) >= {"Vpc", "Gateway", "ProviderNic"}
    assert "UserData" not in text
    assert "ClientToken" not in text
