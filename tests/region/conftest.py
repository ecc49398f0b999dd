"""A region's EC2 in this process, and boto3 on it: `lab` without a socket, `region` with one."""

from __future__ import annotations

import io
import re
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from botocore.config import Config
from botocore.exceptions import ClientError
from werkzeug.serving import make_server

from osawslab.region.ec2 import Ec2, Handler
from osawslab.region.state import State

AMI = "ami-0d13a6d64d13a6d64"
SESSION = boto3.Session()  # keeps EC2's model between the clients


class Lab:
    """A region with a VPC, two subnets, an instance of type t2.large, and boto3 on it."""

    def __init__(self, app: Ec2, changes: list[State], ec2: Any) -> None:
        self.app, self.changes, self.ec2 = app, changes, ec2
        ec2.meta.events.register("before-send.ec2", self.send, "lab")
        self.vpc = self.ec2.create_vpc(CidrBlock="172.16.0.0/16")["Vpc"]["VpcId"]
        self.a = self.subnet("172.16.10.0/24")
        self.b = self.subnet("172.16.20.0/24")
        self.igw = self.ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
        self.ec2.attach_internet_gateway(InternetGatewayId=self.igw, VpcId=self.vpc)
        self.i = self.run(PrivateIpAddress="172.16.10.101", SubnetId=self.a)
        self.nic = self.app.state().enis and next(iter(self.app.state().enis))

    def send(self, request: Any, **_: Any) -> AWSResponse:
        told: list[Any] = []
        content = request.body.encode() if isinstance(request.body, str) else request.body
        environ = {
            "REQUEST_METHOD": request.method,
            "PATH_INFO": "/",
            "QUERY_STRING": "",
            "HTTP_HOST": "127.0.0.1:1",
            "CONTENT_LENGTH": str(len(content)),
            "wsgi.input": io.BytesIO(content),
        }
        for name, value in request.headers.items():
            key = name.upper().replace("-", "_")
            text = value.decode() if isinstance(value, bytes) else value
            environ[key if key.startswith("CONTENT_") else f"HTTP_{key}"] = text
        body = b"".join(self.app(environ, lambda *got: told.extend(got)))
        raw = io.BytesIO(body)
        raw.stream = lambda: iter([raw.read()])  # type: ignore[attr-defined]
        return AWSResponse(request.url, int(told[0].split()[0]), dict(told[1]), raw)

    def subnet(self, cidr: str, **more: Any) -> str:
        made = self.ec2.create_subnet(VpcId=self.vpc, CidrBlock=cidr, **more)
        return str(made["Subnet"]["SubnetId"])

    def run(self, **how: Any) -> str:
        how = {"ImageId": AMI, "InstanceType": "t2.large", "MinCount": 1, "MaxCount": 1, **how}
        return str(self.ec2.run_instances(**how)["Instances"][0]["InstanceId"])

    def eni(self, subnet: str = "", **how: Any) -> str:
        made = self.ec2.create_network_interface(SubnetId=subnet or self.b, **how)
        return str(made["NetworkInterface"]["NetworkInterfaceId"])

    def attach(self, nic: str, index: int = 1) -> str:
        made = self.ec2.attach_network_interface(
            NetworkInterfaceId=nic, InstanceId=self.i, DeviceIndex=index
        )
        return str(made["AttachmentId"])

    def eip(self) -> str:
        return str(self.ec2.allocate_address(Domain="vpc")["AllocationId"])

    def associate(self, **how: Any) -> str:
        return str(self.ec2.associate_address(**how)["AssociationId"])

    def refuses(self, call: Callable[[Lab], object], code: str, message: str) -> None:
        """Check a refusal; only `.*` in its message is a regular expression."""
        with pytest.raises(ClientError) as caught:
            call(self)
        told = caught.value.response
        assert told["Error"]["Code"] == code
        assert re.fullmatch(re.escape(message).replace(r"\.\*", ".*"), told["Error"]["Message"])
        assert told["ResponseMetadata"]["HTTPStatusCode"] == 400

    def nics(self) -> dict[str, Any]:
        found = self.ec2.describe_network_interfaces()["NetworkInterfaces"]
        return {each["NetworkInterfaceId"]: each for each in found}


@pytest.fixture(scope="session")
def boto() -> Any:
    return boto3.Session("AKIALAB", "secret", region_name="us-east-1").client(
        "ec2",
        endpoint_url="http://127.0.0.1:1",
        config=Config(retries={"total_max_attempts": 1}, parameter_validation=False),
    )


@pytest.fixture
def lab(tmp_path: Path, boto: Any) -> Iterator[Lab]:
    changes: list[State] = []
    app = Ec2(
        name="lab",
        journal=tmp_path / "journal",
        access_key="AKIALAB",
        secret_key="secret",
        region="us-east-1",
        on_change=changes.append,
    )
    made = Lab(app, changes, boto)
    yield made
    boto.meta.events.unregister("before-send.ec2", made.send, "lab")


@dataclass
class Region:
    """A region served on a loopback socket."""

    journal: Path
    changes: list[State] = field(default_factory=list)
    failure: Exception | None = None

    def __post_init__(self) -> None:
        self.app = self.again()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.server = make_server(
            "127.0.0.1",
            self.port,
            self.app,
            threaded=True,
            request_handler=Handler,
            fd=self.listener.fileno(),
        )
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def again(self, name: str = "lab") -> Ec2:
        return Ec2(
            name=name,
            journal=self.journal,
            access_key="AKIALAB",
            secret_key="secret",
            region="us-east-1",
            on_change=self.changed,
        )

    def changed(self, state: State) -> None:
        if self.failure:
            raise self.failure
        self.changes.append(state)

    def client(
        self, service: str = "ec2", key: str = "AKIALAB", secret: str = "secret", **how: Any
    ) -> Any:
        return SESSION.client(
            service,
            how.get("region", "us-east-1"),
            aws_access_key_id=key,
            aws_secret_access_key=secret,
            endpoint_url=f"http://127.0.0.1:{self.port}",
            config=Config(retries={"total_max_attempts": 1}),
        )

    def build(self, ec2: Any) -> dict[str, str]:
        """Make a VPC with an instance of two interfaces and an Elastic IP on each."""
        vpc = ec2.create_vpc(CidrBlock="172.16.0.0/16")["Vpc"]["VpcId"]
        subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="172.16.10.0/24")["Subnet"]["SubnetId"]
        gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
        ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
        ec2.create_key_pair(KeyName="k", KeyType="ed25519")
        made = ec2.run_instances(
            ImageId=AMI,
            MinCount=1,
            MaxCount=1,
            InstanceType="t2.large",
            KeyName="k",
            UserData="#!/bin/sh",
            SubnetId=subnet,
        )["Instances"][0]
        second = ec2.create_network_interface(SubnetId=subnet)["NetworkInterface"]
        second = second["NetworkInterfaceId"]
        ec2.attach_network_interface(
            NetworkInterfaceId=second, InstanceId=made["InstanceId"], DeviceIndex=1
        )
        first = made["NetworkInterfaces"][0]["NetworkInterfaceId"]
        for nic in (first, second):
            eip = ec2.allocate_address(Domain="vpc")["AllocationId"]
            ec2.associate_address(AllocationId=eip, NetworkInterfaceId=nic)
        return {"vpc": vpc, "subnet": subnet, "gateway": gateway, "i": made["InstanceId"]}


@pytest.fixture
def region(tmp_path: Path) -> Iterator[Region]:
    made = Region(tmp_path / "journal")
    yield made
    made.server.shutdown()
    made.listener.close()
