"""The API as a client meets it: signatures, services, failures, threads, replay."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from osawslab.errors import RegionGone
from osawslab.region.ec2 import serve

AMI = "ami-0d13a6d64d13a6d64"
Lab = Region = Any  # conftest's


READS: dict[str, Callable[[Any], Any]] = {
    "ec2": lambda client: client.describe_vpcs(),
    "sts": lambda client: client.get_caller_identity(),
    "ssm": lambda client: client.get_parameter(Name="/aws/service/debian/release/13/latest/amd64"),
}
STRANGERS = {
    "ec2": ("AuthFailure", "AWS was not able to validate the provided access credentials", 401),
    "sts": ("InvalidClientTokenId", "The security token included in the request is invalid.", 403),
    "ssm": (
        "UnrecognizedClientException",
        "The security token included in the request is invalid.",
        400,
    ),
}


@pytest.mark.parametrize("service", READS)
@pytest.mark.parametrize(("key", "secret"), [("AKIALAB", "other"), ("AKIAOTHER", "secret")])
def test_strangers_are_refused(region: Region, service: str, key: str, secret: str) -> None:
    READS[service](region.client(service))
    with pytest.raises(ClientError) as caught:
        READS[service](region.client(service, key, secret))
    code, message, status = STRANGERS[service]
    assert caught.value.response["Error"]["Code"] == code
    assert caught.value.response["Error"]["Message"] == message
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == status


def test_another_region_is_refused(region: Region) -> None:
    with pytest.raises(ClientError, match="should be scoped to a valid region, not 'eu-west-1'"):
        region.client(region="eu-west-1").describe_vpcs()


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/", b""),
        ("GET", "/moto-api/", b""),
        ("POST", "/moto-api/reset", b""),
        ("POST", "/", b"Action=DescribeVpcs"),
        ("POST", "/", b"\xff\xfe\x00"),
        ("PUT", "/bucket", b"x"),
    ],
)
def test_unsigned_requests_get_an_ec2_error(
    region: Region, method: str, path: str, body: bytes
) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", region.port, timeout=10)
    connection.request(method, path, body)
    answer = connection.getresponse()
    text = answer.read().decode()
    assert answer.status == 401
    assert "<Code>AuthFailure</Code>" in text
    assert "html" not in text.lower()


def test_a_body_changed_on_the_way_is_refused(region: Region) -> None:
    client = region.client()

    def change(request: Any, **_: Any) -> None:
        request.body = request.body.replace("DescribeVpcs", "DescribeTags")

    client.meta.events.register("before-send.ec2", change)
    with pytest.raises(ClientError, match="AuthFailure"):
        client.describe_vpcs()


POOL = [{"Name": "ipv6-cidr-block-association.ipv6-pool", "Values": ["Amazon"]}]
NOT_SERVED: dict[str, tuple[str, Callable[[Any], Any], str]] = {
    "a call of EC2": ("ec2", lambda c: c.describe_ipam_pools(), "InvalidAction"),
    "a filter of EC2": ("ec2", lambda c: c.describe_vpcs(Filters=POOL), "UnsupportedOperation"),
    "a call of STS": ("sts", lambda c: c.get_session_token(), "InvalidAction"),
    "a call of SSM": ("ssm", lambda c: c.describe_parameters(), "UnknownOperationException"),
    "a parameter": ("ssm", lambda c: c.get_parameter(Name="/nothing"), "ParameterNotFound"),
    "a service": ("iam", lambda c: c.list_users(), "InvalidAction"),
}


@pytest.mark.parametrize("name", NOT_SERVED)
def test_what_is_not_served_is_said(region: Region, name: str) -> None:
    service, call, code = NOT_SERVED[name]
    with pytest.raises(ClientError) as caught:
        call(region.client(service))
    assert caught.value.response["Error"]["Code"] == code
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400


def test_the_identity_and_the_images(region: Region) -> None:
    assert region.client("sts").get_caller_identity()["Account"] == "123456789012"
    names = [
        f"/aws/service/debian/release/{release}/latest/{kind}"
        for release in ("13", "trixie", "12", "bookworm")
        for kind in ("amd64", "arm64")
    ]
    told = region.client("ssm").get_parameters(Names=[*names, "/nothing"])
    assert told["InvalidParameters"] == ["/nothing"]
    ids = {each["Name"]: each["Value"] for each in told["Parameters"]}
    assert list(ids) == names
    ec2 = region.client()
    newest = ec2.describe_images(
        Owners=["136693071363"],
        Filters=[
            {"Name": "name", "Values": ["debian-13-*"]},
            {"Name": "architecture", "Values": ["x86_64"]},
        ],
    )["Images"]
    assert [each["ImageId"] for each in newest] == [ids[names[0]]] == [AMI]
    assert newest[0]["RootDeviceName"] == "/dev/xvda"
    assert ec2.describe_images(Owners=["099720109477"])["Images"]


def test_reads_change_nothing(region: Region) -> None:
    ec2 = region.client()
    made = region.build(ec2)
    before, length = len(region.changes), region.journal.stat().st_size
    ec2.describe_instances(InstanceIds=[made["i"]])
    ec2.describe_network_interfaces()
    ec2.get_console_output(InstanceId=made["i"])
    assert (len(region.changes), region.journal.stat().st_size) == (before, length)


def test_a_change_that_fails_is_undone(region: Region) -> None:
    ec2 = region.client()
    made = region.build(ec2)
    before, length = region.app.state(), region.journal.stat().st_size
    region.failure = RuntimeError("ip: <no> such & device")
    with pytest.raises(ClientError) as caught:
        ec2.terminate_instances(InstanceIds=[made["i"]])
    assert caught.value.response["Error"]["Code"] == "InternalError"
    assert "ip: <no> such & device" in caught.value.response["Error"]["Message"]
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 500
    assert (region.app.state(), region.journal.stat().st_size) == (before, length)
    region.failure = None
    ec2.terminate_instances(InstanceIds=[made["i"]])
    assert region.app.state().instances == {}


def test_whatever_breaks_is_an_ec2_error(region: Region, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("in moto")

    monkeypatch.setattr("osawslab.region.motoadapter.Moto.call", broken)
    with pytest.raises(ClientError, match="ZeroDivisionError: in moto") as caught:
        region.client().describe_vpcs()
    assert caught.value.response["Error"]["Code"] == "InternalError"


def test_an_inherited_socket_is_served(region: Region) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=serve, args=(region.app, listener), daemon=True).start()
    region.port = listener.getsockname()[1]
    assert region.client().describe_vpcs()["Vpcs"]


def test_a_full_disk_undoes_the_change(region: Region, monkeypatch: pytest.MonkeyPatch) -> None:
    ec2 = region.client()

    def fail(descriptor: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(ClientError, match="no space left"):
        ec2.create_vpc(CidrBlock="10.0.0.0/16")
    monkeypatch.undo()
    assert len(ec2.describe_vpcs()["Vpcs"]) == 1


def all_of(ec2: Any) -> list[Any]:
    """Describe everything that has ids, addresses or times."""
    calls = ("instances", "network_interfaces", "addresses", "subnets", "vpcs", "route_tables",
             "security_groups", "internet_gateways", "key_pairs", "volumes", "tags")  # fmt: skip
    answers = [getattr(ec2, f"describe_{call}")() for call in calls]
    for answer in answers:
        answer.pop("ResponseMetadata")
    return answers


def test_a_replay_gives_exactly_what_was(region: Region) -> None:
    ec2 = region.client()
    region.build(ec2)
    made = len(region.changes)
    before, told = region.app.state(), all_of(ec2)
    region.changes.clear()
    again = region.again()
    assert again.replay() == made
    booted = {i: replace(each, boots=each.boots + 1) for i, each in before.instances.items()}
    assert again.state() == replace(before, instances=booted) == region.changes[0]
    assert len(region.changes) == 1
    region.server.app = again
    assert all_of(ec2) == told
    assert ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"] not in str(told)


def test_a_repeated_token_survives_a_replay(region: Region) -> None:
    ec2 = region.client()
    made = region.build(ec2)
    how: dict[str, Any] = {"SubnetId": made["subnet"], "ClientToken": "t"}
    first = ec2.create_network_interface(**how)["NetworkInterface"]
    region.server.app = region.again()
    region.server.app.replay()
    assert ec2.create_network_interface(**how)["NetworkInterface"] == first
    with pytest.raises(ClientError, match="IdempotentParameterMismatch"):
        ec2.create_network_interface(**how, Description="another")


def test_ids_follow_from_the_name(region: Region, tmp_path: Path) -> None:
    def ids(name: str, folder: str, reads: int) -> list[Any]:
        region.journal = tmp_path / folder
        region.server.app = region.again(name)
        ec2 = region.client()
        vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        for _ in range(reads):
            ec2.describe_vpcs()
        with pytest.raises(ClientError):
            ec2.create_subnet(VpcId=vpc, CidrBlock="10.9.0.0/8")  # refused by moto itself
        subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.1.0/24")["Subnet"]["SubnetId"]
        nic = ec2.create_network_interface(SubnetId=subnet)["NetworkInterface"]
        return [vpc, subnet, nic["NetworkInterfaceId"], nic["MacAddress"]]

    first = ids("one", "a", 0)
    assert ids("one", "b", 3) == first
    other = ids("two", "c", 0)
    assert not set(other) & set(first)
    assert first[3].startswith("02:")


def test_a_journal_that_cannot_be_followed_is_said(region: Region) -> None:
    ec2 = region.client()
    region.build(ec2)
    lines = region.journal.read_bytes().splitlines(keepends=True)
    lines[1] = lines[1].replace(b"CreateSubnet", b"DeleteSubnet")
    region.journal.write_bytes(b"".join(lines))
    with pytest.raises(RegionGone, match="past call 2"):
        region.again().replay()


def test_many_clients_at_once(region: Region) -> None:
    ec2 = region.client()
    made = region.build(ec2)

    def work(number: int) -> str:
        nic = ec2.create_network_interface(SubnetId=made["subnet"], Description=str(number))
        ec2.describe_instances()
        return str(nic["NetworkInterface"]["PrivateIpAddress"])

    with ThreadPoolExecutor(8) as pool:
        got = sorted(pool.map(work, range(24)))
    assert len(set(got)) == 24
    assert len(region.app.state().enis) == 2
    again = region.again()
    again.replay()
    assert again.state().enis == region.app.state().enis


def test_a_created_key_is_in_no_file(region: Region) -> None:
    made = region.client().create_key_pair(KeyName="k", KeyType="rsa")
    assert made["KeyMaterial"].startswith("-----BEGIN RSA PRIVATE KEY-----")
    assert len(made["KeyFingerprint"]) == 59
    assert "PRIVATE" not in region.journal.read_text()
    again = region.again()
    again.replay()
    region.server.app = again
    found = region.client().describe_key_pairs(IncludePublicKey=True)["KeyPairs"][0]
    assert found["KeyFingerprint"] == made["KeyFingerprint"]
    assert found["PublicKey"].startswith("ssh-rsa ")


DRY = {
    "run_instances": lambda lab: {
        "ImageId": AMI,
        "MinCount": 1,
        "MaxCount": 1,
        "InstanceType": "t2.large",
        "SubnetId": lab.a,
    },
    "create_vpc": lambda lab: {"CidrBlock": "10.0.0.0/16"},
    "create_subnet": lambda lab: {"VpcId": lab.vpc, "CidrBlock": "172.16.40.0/24"},
    "create_network_interface": lambda lab: {"SubnetId": lab.a},
    "create_internet_gateway": lambda lab: {},
    "allocate_address": lambda lab: {"Domain": "vpc"},
    "terminate_instances": lambda lab: {"InstanceIds": [lab.i]},
    "create_key_pair": lambda lab: {"KeyName": "k", "KeyType": "ed25519"},
    "create_tags": lambda lab: {"Resources": [lab.i], "Tags": [{"Key": "a", "Value": "b"}]},
    "describe_instances": lambda lab: {},
}


@pytest.mark.parametrize("name", DRY)
def test_a_dry_run_changes_nothing(lab: Lab, name: str) -> None:
    before, changes = lab.app.state(), len(lab.changes)
    with pytest.raises(ClientError) as caught:
        getattr(lab.ec2, name)(DryRun=True, **DRY[name](lab))
    assert caught.value.response["Error"] == {
        "Code": "DryRunOperation",
        "Message": "Request would have succeeded, but DryRun flag is set.",
    }
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 412
    assert (lab.app.state(), len(lab.changes)) == (before, changes)
    assert lab.ec2.describe_key_pairs()["KeyPairs"] == []
    assert len(lab.ec2.describe_vpcs()["Vpcs"]) == 2


def test_a_repeated_token_gives_the_same_answer(lab: Lab) -> None:
    first = lab.run(SubnetId=lab.a, ClientToken="t")
    assert lab.run(SubnetId=lab.a, ClientToken="t") == first
    assert set(lab.app.state().instances) == {lab.i, first}
