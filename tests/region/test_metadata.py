"""What the metadata service answers, from values; no socket."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from osawslab.region import imds, metadata
from osawslab.region.state import About, Eni, Group, Instance, State, Subnet
from osawslab.region.wire import Ec2Error

ABOUT = About(
    ami="ami-1", zone="us-east-1a", key_name="k", reservation="r-1",
    launched="2026-09-07T22:30:00Z",
)  # fmt: skip
ONE = Instance("i-1", True, 1, "t2.large", "debian-13", "ssh-ed25519 AAAA k", b"#!\xff", ABOUT)
NIC = Eni(
    "eni-1", "02:00:00:00:00:01", ("10.0.0.5", "10.0.0.6"), "subnet-1", "i-1", 0, True, ("sg-1",),
    {"10.0.0.6": "203.0.113.7"},
)  # fmt: skip


def state(instance: Instance = ONE, *enis: Eni) -> State:
    return State(
        {"subnet-1": Subnet("subnet-1", "vpc-1", "10.0.0.0/24", True, "10.0.0.0/16")},
        {each.id: each for each in (NIC, *enis)},
        {"sg-1": Group("sg-1", (), (), "open")},
        {instance.id: instance},
    )


def service(instance: Instance = ONE) -> imds.Metadata:
    made = imds.Metadata("us-east-1", "123456789012")
    made.state = state(instance)
    return made


def get(path: str, instance: Instance = ONE, **headers: str) -> imds.Reply:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return service(instance).answer(instance, "GET", path, given)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/latest", "dynamic/\nmeta-data/\nuser-data"),
        ("/latest/meta-data/local-hostname", "ip-10-0-0-5.ec2.internal"),
        ("/latest/meta-data/placement/", "availability-zone\nregion"),
        ("/latest/meta-data/placement", "availability-zone\nregion"),
        ("/2021-03-23/meta-data/placement/availability-zone", "us-east-1a"),
        ("/latest/meta-data/public-keys/", "0=k"),
        ("/latest/meta-data/public-keys/0/", "openssh-key"),
        ("/latest/meta-data/public-keys/0/openssh-key", "ssh-ed25519 AAAA k\n"),
        ("/latest/meta-data/network/interfaces/macs/", "02:00:00:00:00:01/"),
        ("/latest/meta-data/network/interfaces/macs/02:00:00:00:00:01/local-ipv4s",
         "10.0.0.5\n10.0.0.6"),
        ("/latest/meta-data/network/interfaces/macs/02:00:00:00:00:01/public-ipv4s",
         "203.0.113.7"),
        ("/latest/meta-data/network/interfaces/macs/02:00:00:00:00:01/ipv4-associations/"
         "203.0.113.7", "10.0.0.6"),
    ],
)  # fmt: skip
def test_what_is_told(path: str, body: str) -> None:
    found = get(path)
    assert (found.status, found.body.decode(), found.kind) == (200, body, "text/plain")


@pytest.mark.parametrize(
    "path",
    [
        "/latest/meta-data/iam/",  # there is no instance profile
        "/latest/meta-data/iam/security-credentials/",
        "/latest/meta-data/public-ipv4",  # its first address has none
        "/latest/meta-data/tags/instance",
        "/latest/meta-data/placement/availability-zone/more",
        "/1999-01-01/meta-data/",
        "/favicon.ico",
    ],
)
def test_what_there_is_not(path: str) -> None:
    assert get(path).status == 404


def test_user_data_is_told_as_it_was_given() -> None:
    found = get("/latest/user-data")
    assert (found.status, found.body, found.kind) == (200, b"#!\xff", "application/octet-stream")
    without = replace(ONE, user_data=b"")
    assert get("/latest/user-data", without).status == 404
    assert get("/latest/", without).body == b"dynamic/\nmeta-data/"


def test_versions_are_listed_and_identity_is_a_document() -> None:
    assert get("/").body.decode().splitlines()[-1] == "latest"
    document = json.loads(get("/latest/dynamic/instance-identity/document").body)
    assert (document["accountId"], document["privateIp"]) == ("123456789012", "10.0.0.5")


PUT = "/latest/api/token"


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("PUT", PUT, {}, 400),
        ("PUT", PUT, {imds.TTL: "0"}, 400),
        ("PUT", PUT, {imds.TTL: "21601"}, 400),
        ("PUT", PUT, {imds.TTL: "-1"}, 400),
        ("PUT", PUT, {imds.TTL: "x"}, 400),
        ("PUT", PUT, {imds.TTL: "21600"}, 200),
        ("PUT", PUT, {imds.TTL: "60", "x-forwarded-for": "10.0.0.9"}, 403),
        ("PUT", "/latest/meta-data/", {imds.TTL: "60"}, 405),
        ("GET", "/latest/meta-data/", {"x-forwarded-for": "10.0.0.9"}, 403),
        ("GET", "/latest/meta-data/", {imds.TOKEN: "wrong"}, 401),  # though none were needed
        ("GET", "/latest/meta-data/", {imds.TOKEN: "AAAA\xff"}, 401),
        ("POST", "/latest/meta-data/", {}, 405),
        ("HEAD", "/latest/meta-data/", {}, 200),
    ],
)
def test_who_asks_how(method: str, path: str, headers: dict[str, str], status: int) -> None:
    assert service().answer(ONE, method, path, headers).status == status


def test_a_token_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    tokens, now = imds.Tokens(), 1e9
    monkeypatch.setattr(imds.time, "time", lambda: now)
    token = tokens.make("i-1", 60)
    assert tokens.left("i-1", token) == 60
    assert tokens.left("i-2", token) == 0
    assert imds.Tokens().left("i-1", token) == 0
    now += 59
    assert tokens.left("i-1", token) == 1
    now += 1
    assert tokens.left("i-1", token) == 0


def test_only_the_running_instance_of_that_vpc_is_known() -> None:
    assert service().whose("vpc-1", "10.0.0.6") == ONE
    assert service().whose("vpc-2", "10.0.0.6") is None
    assert service().whose("vpc-1", "10.0.0.7") is None
    assert service(replace(ONE, running=False)).whose("vpc-1", "10.0.0.6") is None


@pytest.mark.parametrize(
    ("options", "fine"),
    [
        ({"HttpTokens": "required", "HttpPutResponseHopLimit": "64"}, True),
        ({"HttpTokens": "no"}, False),
        ({"HttpPutResponseHopLimit": "0"}, False),
        ({"HttpPutResponseHopLimit": "65"}, False),
        ({"HttpEndpoint": "off"}, False),
    ],
)
def test_options_are_ec2s(options: dict[str, Any], fine: bool) -> None:
    if fine:
        metadata.check(options)
        return
    with pytest.raises(Ec2Error, match="Invalid value"):
        metadata.check(options)
