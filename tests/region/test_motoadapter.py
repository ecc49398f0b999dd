"""One test for each of moto's own names, so that another moto is noticed at once."""

from __future__ import annotations

import inspect
import pickle
import re
from dataclasses import replace
from datetime import datetime
from importlib import import_module
from importlib.metadata import version
from typing import Any
from urllib.parse import urlencode

import pytest
from botocore.session import get_session

from osawslab.region import motoadapter, motoanswers, motomodels
from osawslab.region.motoadapter import Moto

AMI = "ami-0d13a6d64d13a6d64"
NOW = datetime(2026, 9, 7, 22, 30)

NAMES = {
    "moto.core.request": ["Request"],
    "moto.core.responses": ["ActionResult", "EmptyResult"],
    "moto.core.types": ["Base64EncodedString.from_raw_string"],
    "moto.core.utils": ["camelcase_to_underscores", "get_service_model", "utcnow"],
    "moto.ec2.models": ["EC2Backend"],
    "moto.ec2.models.amis": ["utcnow", "AMIS", "Ami", "Ami.add_tags", "Ami.get_tags"],
    "moto.ec2.models.elastic_block_store": ["utcnow"],
    "moto.ec2.models.elastic_ip_addresses": ["ElasticAddress.get_filter_value"],
    "moto.ec2.models.elastic_network_interfaces": [
        "NetworkInterface.associated",
        "NetworkInterface.check_auto_public_ip",
        "NetworkInterface.instance_private_ip_address_list",
        "NetworkInterface.start",
    ],
    "moto.ec2.models.instance_types": ["INSTANCE_TYPES", "INSTANCE_TYPE_OFFERINGS"],
    "moto.ec2.models.instances": [
        "Instance.attach_eni",
        "Instance.detach_eni",
        "Instance.is_running",
        "Instance.reboot",
        "Instance.start",
        "utcnow",
    ],
    "moto.ec2.models.key_pairs": ["KeyPair.public_key", "utcnow"],
    "moto.ec2.models.subnets": ["Subnet.get_available_subnet_ip", "Subnet.request_ip"],
    "moto.ec2.responses": [
        "EC2Response.dispatch",
        "EC2Response._get_param",
        "EC2Response._parse_tag_specification",
        "EC2Response._security_grp_instance_attribute_handler",
        "EC2Response.associate_address",
        "EC2Response.assign_private_ip_addresses",
        "EC2Response.create_key_pair",
        "EC2Response.disassociate_address",
        "EC2Response.ec2_backend",
        "EC2Response.get_console_output",
        "EC2Response.modify_instance_metadata_options",
        "EC2Response.modify_network_interface_attribute",
        "EC2Response.release_address",
        "EC2Response.run_instances",
        "EC2Response.terminate_instances",
        "EC2Response.unassign_private_ip_addresses",
    ],
    "moto.ec2.utils": [
        "EC2_PREFIX_TO_RESOURCE",
        "convert_tag_spec",
        "filter_dict_attribute_mapping",
        "random_eip_association_id",
    ],
    "moto.moto_api._internal": ["mock_random.seed"],
    "moto.utilities.utils": ["load_resource"],
}
HELD = {  # attributes of the models' objects
    "backend": (
        "addresses amis default_vpc enis groups internet_gateways key_pairs reservations "
        "route_tables subnets vpcs"
    ),
    "nic": (
        "_group_set attachment_id availability_zone delete_on_termination device_index "
        "ec2_backend id instance mac_address private_ip_address private_ip_addresses public_ip "
        "public_ip_auto_assign source_dest_check subnet subnet_id vpc_id"
    ),
    "machine": (
        "_placement _subnet_id availability_zone id image_id instance_type key_name launch_time "
        "metadata_options nics security_groups state state_code user_data"
    ),
    "eip": "allocation_id association_id eni public_ip",
    "subnet": "availability_zone cidr cidr_block default_for_az id vpc_id",
    "table": "_associations id main_association_id routes vpc_id",
    "route": "destination_cidr_block gateway_id",
    "group": "egress_rules id ingress_rules name vpc_id",
    "rule": "cidr_ipv4 from_port ip_protocol source_group to_port",
    "gateway": "id vpc",
    "image": "id name",
}


def call(moto: Moto, action: str, **how: str) -> str:
    sequence = int(how.pop("sequence", "1"))
    body = urlencode({"Action": action, **how})
    status, answer = moto.call(body, sequence=sequence, now=NOW)
    assert status == 200, answer
    return answer.decode()


@pytest.fixture
def moto() -> Moto:
    """One instance with an Elastic IP, in the default VPC."""
    made = Moto("lab", "us-east-1")
    subnet = next(iter(made.inventory().subnets))
    call(made, "RunInstances", ImageId=AMI, MinCount="1", MaxCount="1", SubnetId=subnet,
         InstanceType="t2.large", sequence="1")  # fmt: skip
    call(made, "AllocateAddress", Domain="vpc", Address="203.0.113.10", sequence="2")
    inventory = made.inventory()
    nic = next(iter(inventory.nics.values()))
    call(made, "AssociateAddress", AllocationId=next(iter(inventory.eips)), sequence="3",
         NetworkInterfaceId=nic.id, PrivateIpAddress=nic.addresses[0])  # fmt: skip
    return made


def test_moto_is_the_one_that_was_read() -> None:
    assert version("moto") == "5.2.5"


@pytest.mark.parametrize(
    ("module", "name"), [(module, name) for module, names in NAMES.items() for name in names]
)
def test_moto_has_the_name(module: str, name: str) -> None:
    found: Any = import_module(module)
    for part in name.split("."):
        found = inspect.getattr_static(found, part) if part != "seed" else found.seed


def example(moto: Moto, kind: str) -> Any:
    backend = moto.backend
    nic = next(iter(backend.enis.values()))
    table = next(iter(backend.route_tables.values()))
    group = nic._group_set[0]
    return {
        "backend": backend,
        "nic": nic,
        "machine": nic.instance,
        "eip": backend.addresses[0],
        "subnet": nic.subnet,
        "table": table,
        "route": table.routes[0],
        "group": group,
        "rule": group.egress_rules[0],
        "gateway": next(iter(backend.internet_gateways.values())),
        "image": backend.amis[AMI],
    }[kind]


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind, names in HELD.items() for name in names.split()]
)
def test_moto_holds_the_attribute(moto: Moto, kind: str, name: str) -> None:
    assert hasattr(example(moto, kind), name)


def test_a_tag_tells_the_kind_of_its_resource_as_ec2_does(moto: Moto) -> None:
    shape = get_session().get_service_model("ec2").shape_for("ResourceType")
    kinds = ("nic", "machine", "subnet", "table", "group", "gateway")
    ids = [example(moto, kind).id for kind in kinds] + [example(moto, "eip").allocation_id]
    for each in ids:
        tag = {"ResourceId.1": each, "Tag.1.Key": "lab", "Tag.1.Value": "x"}
        call(moto, "CreateTags", **tag)
    told = re.findall("<resourceType>(.*?)<", call(moto, "DescribeTags"))
    assert len(told) == len(ids)
    assert set(told) <= {*shape.enum}


def test_the_mended_models_are_in_use(moto: Moto) -> None:
    assert type(example(moto, "nic")) is motomodels.NetworkInterface
    assert type(example(moto, "machine")) is motomodels.Instance
    assert type(example(moto, "eip")) is motomodels.ElasticAddress
    assert type(example(moto, "subnet")) is motomodels.Subnet


def test_the_seed_decides_every_id() -> None:
    def ids(name: str, sequence: str) -> str:
        return call(Moto(name, "us-east-1"), "CreateVpc", CidrBlock="10.0.0.0/16",
                    sequence=sequence).split("<vpcId>")[1][:21]  # fmt: skip

    assert ids("a", "1") == ids("a", "1")
    assert len({ids("a", "1"), ids("a", "2"), ids("b", "1")}) == 3


def test_the_clock_decides_every_time(moto: Moto) -> None:
    for action in ("DescribeInstances", "DescribeVolumes"):
        assert "2026-09-07T22:30:00" in call(moto, action)
    assert example(moto, "machine").launch_time == NOW
    call(moto, "StopInstances", **{"InstanceId.1": example(moto, "machine").id})
    assert "2026-09-07 22:30:00" in example(moto, "machine")._reason


def test_a_snapshot_brings_everything_back(moto: Moto) -> None:
    before, snapshot = moto.inventory(), moto.snapshot()
    call(moto, "TerminateInstances", **{"InstanceId.1": next(iter(before.machines))})
    assert moto.inventory() != before
    moto.restore(snapshot)
    assert moto.inventory() == before
    assert len(snapshot) < 200_000  # a snapshot before each change stays cheap
    assert pickle.loads(snapshot).enis


def test_regions_do_not_share(moto: Moto) -> None:
    other = Moto("other", "eu-west-1")
    assert other.inventory().machines == {}
    assert all(subnet.zone.startswith("eu-west-1") for subnet in other.inventory().subnets.values())
    assert len(moto.inventory().machines) == 1


def test_an_image_is_the_same_for_the_lab_that_made_it_and_for_another(moto: Moto) -> None:
    [machine] = moto.inventory().machines.values()
    how = {"InstanceId": machine.id, "Name": "x y", "TagSpecification.1.ResourceType": "image"}
    how |= {"TagSpecification.1.Tag.1.Key": "k", "TagSpecification.1.Tag.1.Value": "v"}
    twin = Moto("lab", "us-east-1")
    twin.restore(moto.snapshot())
    call(moto, "CreateImage", **how, sequence="4")
    call(twin, "CreateImage", **how, sequence="9")
    [image] = moto.inventory().made.values()
    assert (image.name, image.tags, image.source) == ("x y", {"k": "v"}, machine.id)
    assert twin.inventory().made == {image.id: image}
    assert moto.inventory().machines[machine.id].boots == machine.boots + 1
    other = Moto("other", "us-east-1")
    other.show([image])
    assert other.inventory().made == {image.id: replace(image, source="")}
    assert image.id in other.inventory().images
    other.show([])
    assert not other.inventory().made
    assert image.id not in other.inventory().images
    other.show([image])
    call(other, "DeregisterImage", ImageId=image.id)
    other.show([image])
    assert image.id not in other.inventory().images


def test_the_limits_of_the_types() -> None:
    assert Moto.limits("t2.large") == (3, 12)  # EC2 guide, "IP addresses per network interface"
    assert Moto.limits("t3.medium") == (3, 6)
    assert Moto.limits("t2.vast") is None


def test_the_calls_that_are_answered() -> None:
    known = Moto.actions()
    assert {"RunInstances", "CreateVpc", "GetConsoleOutput"} <= known
    assert "DescribeIpamPools" not in known


def test_the_import_leaves_no_trace() -> None:
    import boto3

    assert "us-gov-east-1" in boto3.Session().get_available_regions("ec2", "aws-us-gov")
    assert motomodels.resources.load_resource.__module__ == "moto.utilities.utils"
    assert motoanswers.KeyPair.__module__ == "moto.ec2.models.key_pairs"
    assert motoadapter.mock_random.__class__.__name__ == "MotoRandom"


def test_the_default_vpc_has_its_gateway(moto: Moto) -> None:
    inventory = moto.inventory()
    table = next(iter(inventory.subnets.values())).table
    assert inventory.gateways[str(inventory.tables[table].gateway)] in inventory.vpcs
