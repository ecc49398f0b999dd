"""Where a lab runs: a boto3 session, a way to connect, and what this place can show besides.

Nothing behind the target knows which one it is.
"""

from __future__ import annotations

import errno
import functools
import importlib
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from osawslab.errors import BadSetting
from osawslab.region import firewall, folders, local, machine, network
from osawslab.settings import Settings


def address_outside() -> str:
    """Ask AWS's own service which address this machine comes from. Raises OSError."""
    import http.client
    import urllib.request

    try:
        with urllib.request.urlopen("https://checkip.amazonaws.com", timeout=3) as answer:
            return str(answer.read(64).decode("ascii", "replace")).strip()
    except http.client.HTTPException as error:
        raise OSError(f"no answer: {error}") from error


class Vantage(Protocol):
    """What a place can show that the instance cannot see: on AWS, nothing."""

    def drops(self) -> dict[str, int] | None:
        """Count the frames the VPC dropped, by reason (`observe.state`); None where unknown."""
        ...

    def points(self, vpc: str, nics: Mapping[str, str]) -> Mapping[str, tuple[str, str]]:
        """Name where this place can capture besides the instance: its namespace and interface.

        `nics` are the ids of the instance's by role. Interface `nflog:N` is what is dropped.
        """
        ...

    def owners(self, vpc: str, subnets: Iterable[str]) -> Mapping[str, str]:
        """Name the owners of the MACs that are seen only there."""
        ...

    def program(self, text: str, *words: str) -> socket.socket:
        """Start a Python program there; its standard input and output. Raises OSError."""
        ...


class Client(Protocol):
    """Give the boto3 client of a service; in the region of the settings, or in another."""

    def __call__(self, service: str, region_name: str = "") -> Any:
        """Raises BadSetting where the place has no such region."""
        ...


class Course:
    """What a place is told of a lab's course; most need not know."""

    def opens(self, step: str, before: str) -> None:
        """A notebook begins with this step; `before` is the last one before it, "" for none."""

    def changes(self, step: str) -> None:
        """A step is about to change something."""


@dataclass(frozen=True)
class Target:
    """A boto3 client by service name, a TCP connection to an address, and the vantage.

    `open_socket(address, port, timeout)` gives a socket, or None where an ordinary connection
    from this machine is the way; it raises OSError when nobody answers.
    """

    client: Client
    open_socket: Callable[[str, int, float], socket.socket | None]
    vantage: Vantage
    keys: Path  # the folder of the lab's own keys
    identity: str  # changes when connections made before are worth nothing any more
    pace: Path | None = None  # the file that keeps how long things took at this place
    proxy: str = ""  # the same way for OpenSSH: a ProxyCommand with %h and %p; "": none is needed
    course: Course = field(default_factory=Course)
    host: Callable[..., Any] | None = None  # how one logs in, where that is not by SSH
    charges: bool = False  # what is made here costs money
    caller_address: Callable[[], str] = address_outside  # where we come from, for that place


class LocalVantage:
    """The drop counters of the local region."""

    def __init__(self, region: local.Region) -> None:
        self._region = region

    def drops(self) -> dict[str, int] | None:
        """Count what the VPC dropped, but what it drops without a word: IPv6 and groups' own."""
        found = self._region.drops()
        return {reason: count for reason, count in found.items() if reason != "other"}

    def points(self, vpc: str, nics: Mapping[str, str]) -> Mapping[str, tuple[str, str]]:
        """Name the far end of each NIC's cable, what the VPC drops, and the internet."""
        netns = network.vpc_netns(vpc)
        return {
            "VPC": (netns, network.port_name(nics["provider"])),
            "VPC management": (netns, network.port_name(nics["management"])),
            "VPC drops": (netns, f"nflog:{firewall.LOG_GROUP}"),
            "internet": (network.INTERNET, network.leg(netns)),
        }

    def owners(self, vpc: str, subnets: Iterable[str]) -> Mapping[str, str]:
        """Name the VPC's router, by the MACs that it has, and the internet."""
        netns = network.vpc_netns(vpc)
        return {
            **{network.router_mac(subnet): "VPC router" for subnet in subnets},
            network.leg_mac(netns, network.EDGE): "VPC router",
            network.leg_mac(netns, network.OUTSIDE): "internet",
        }

    def program(self, text: str, *words: str) -> socket.socket:
        """Start a Python program inside the region."""
        return self._region.program(text, *words)


class NoVantage:
    """Where nobody but the instance can look."""

    def drops(self) -> None:
        """Say that nobody can tell."""

    def points(self, vpc: str, nics: Mapping[str, str]) -> Mapping[str, tuple[str, str]]:
        """Name none."""
        return {}

    def owners(self, vpc: str, subnets: Iterable[str]) -> Mapping[str, str]:
        """Name none."""
        return {}

    def program(self, text: str, *words: str) -> socket.socket:
        """Refuse: there is nowhere to start it."""
        raise OSError(errno.EOPNOTSUPP, "nobody but the instance can look")


def open_target(settings: Settings) -> Target:
    """Open the place the settings name; starts the local region where it does not run."""
    if settings.target == "aws":
        return _aws(settings)
    if local.find(settings.name) is None:
        # boto3's import takes as long as the region's start: do both at once.
        threading.Thread(target=importlib.import_module, args=("boto3",), daemon=True).start()
    return _local(region_of(settings))


def start(settings: Settings) -> local.Region | None:
    """Start what the place needs on this machine: its region, or nothing."""
    return region_of(settings) if settings.target == "local" else None


def end(settings: Settings) -> None:
    """End what this machine has of a lab whose resources are all given back."""
    if settings.target == "aws":
        shutil.rmtree(aws_folder(settings.name), ignore_errors=True)
    else:
        local.remove(settings.name)


def region_of(settings: Settings) -> local.Region:
    """Find or start the local region that the settings ask for.

    A real OpenStack wants instances that are a whole operating system. Raises NoPlaceToRun.
    """
    whole = settings.cloud == "openstack"
    return local.ensure(
        settings.name, settings.region, whole=whole, releases=(str(settings.debian),)
    )


@functools.cache
def _models() -> Any:
    """Give what reads botocore's models, and keeps them: seats of a class share them."""
    import botocore.loaders

    return botocore.loaders.create_loader()


@functools.lru_cache(maxsize=8)
def _local(region: local.Region) -> Target:
    """One Target for a region's life: clients keep their connections."""
    import boto3
    import botocore.config
    import botocore.session

    # Neither the environment nor ~/.aws may lead a local lab anywhere else: not their keys, not
    # their profile, not their proxy.
    plain = botocore.session.Session(
        session_vars={
            "profile": (None, None, None, None),
            "config_file": (None, None, os.devnull, None),
            "credentials_file": (None, None, os.devnull, None),
        }
    )
    plain.register_component("data_loader", _models())
    session = boto3.session.Session(
        aws_access_key_id=region.access_key,
        aws_secret_access_key=region.secret_key,
        region_name=region.region,
        botocore_session=plain,
    )
    config = botocore.config.Config(
        proxies={},
        retries={"mode": "standard", "total_max_attempts": 2},
        connect_timeout=5,
        read_timeout=60,
    )

    made = functools.cache(
        lambda service: session.client(service, endpoint_url=region.endpoint, config=config)
    )

    def client(service: str, region_name: str = "") -> Any:
        if region_name not in ("", region.region):
            raise BadSetting(
                "a lab on this machine has one region",
                seen=f"{region_name}, where {region.region} runs",
                next=f'region = "{region.region}"',
            )
        return made(service)

    us = shlex.join([sys.executable, "-P", "-m", "osawslab.cli"]).replace("%", "%%")
    return Target(
        client,
        region.connect,
        LocalVantage(region),
        folders.state_folder(region.name),
        f"{region.pid} {region.endpoint}",
        machine.cache() / "pace.json",
        f"{us} region connect %h %p --name {region.name}",
        caller_address=lambda: network.USER_ADDRESS,
    )


def _aws(settings: Settings) -> Target:
    """An account: the one that boto3's own search for credentials leads to.

    Raises BadSetting on a public machine: nobody is to type keys there.
    """
    if public := os.environ.get("OSAWSLAB_PUBLIC"):
        raise BadSetting(
            "AWS is not for a public machine: whoever runs it could read your keys, and no SSH"
            " leads out of it",
            seen=public,
            next='Lab() here, without an account; target = "aws" on a machine of your own',
        )

    def client(service: str, region_name: str = "") -> Any:
        return _client(service, region_name or settings.region, _chain())

    keys = aws_folder(settings.name)
    return Target(
        client,
        _proxied(settings.ssh_proxy, keys) if settings.ssh_proxy else lambda *_: None,
        NoVantage(),
        keys,
        f"aws {settings.region}",
        machine.cache() / "pace-aws.json",
        settings.ssh_proxy,
        charges=True,
        caller_address=functools.cache(lambda: address_outside()),
    )


def aws_folder(name: str) -> Path:
    """Name the folder of a lab on AWS: no lab's own name has a dot."""
    return folders.state_folder(f"{name}.aws")


def _chain() -> tuple[object, ...]:
    """Give what decides who asks AWS, so that a client is made anew when it changes."""
    home = Path("~/.aws").expanduser()
    files = [
        Path(os.environ.get(variable) or home / name).expanduser()
        for variable, name in (
            ("AWS_CONFIG_FILE", "config"),
            ("AWS_SHARED_CREDENTIALS_FILE", "credentials"),
        )
    ]
    changed = [file.stat().st_mtime_ns if file.is_file() else 0 for file in files]
    return (*sorted(item for item in os.environ.items() if item[0][:4] == "AWS_"), *changed)


@functools.lru_cache(maxsize=16)
def _client(service: str, region: str, chain: tuple[object, ...]) -> Any:
    import botocore.config
    from botocore.exceptions import NoCredentialsError

    session = _session(chain)
    if session.get_credentials() is None:  # else a client without any is what is kept
        raise NoCredentialsError
    config = botocore.config.Config(
        retries={"mode": "standard", "total_max_attempts": 5}, connect_timeout=5, read_timeout=60
    )
    return session.client(service, region_name=region, config=config)


@functools.lru_cache(maxsize=1)
def _session(chain: tuple[object, ...]) -> Any:
    import boto3

    return boto3.session.Session()


def _proxied(template: str, keys: Path) -> Callable[[str, int, float], socket.socket]:
    """Connect by a program's standard input and output, as OpenSSH's ProxyCommand does.

    A socket of our own, for paramiko's ProxyCommand does not notice that its program has ended.
    """

    def open_socket(address: str, port: int, timeout: float) -> socket.socket:
        given = {"%%": "%", "%h": address, "%p": str(port)}
        command = re.sub("%[%hp]", lambda found: given[found[0]], template)
        ours, theirs = socket.socketpair()
        folders.private_folder(keys)
        with theirs, (keys / "ssh_proxy.log").open("wb") as log:
            child = subprocess.Popen(
                ["sh", "-c", f"exec {command}"],
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                stderr=log,
                start_new_session=True,  # Ctrl-C ends a step, not the connection
            )
        threading.Thread(target=child.wait, daemon=True).start()
        return ours

    return open_socket
