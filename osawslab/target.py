"""Where a lab runs: a boto3 session, a way to connect, and what this place can show besides.

Nothing behind the target knows which one it is.
"""

from __future__ import annotations

import functools
import importlib
import os
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from osawslab.errors import BadSetting
from osawslab.region import folders, local, machine, network
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
        """Count the frames the VPC dropped, by reason (mac, arp, ip); None where unknown."""
        ...


@dataclass(frozen=True)
class Target:
    """A boto3 client by service name, a TCP connection to an address, and the vantage.

    `open_socket(address, port, timeout)` gives a socket, or None where an ordinary connection
    from this machine is the way; it raises OSError when nobody answers.
    """

    client: Callable[[str], Any]
    open_socket: Callable[[str, int, float], socket.socket | None]
    vantage: Vantage
    keys: Path  # the folder of the lab's own keys
    identity: str  # changes when connections made before are worth nothing any more
    pace: Path | None = None  # the file that keeps how long things took at this place
    caller_address: Callable[[], str] = address_outside  # where we come from, for that place


class LocalVantage:
    """The drop counters of the local region."""

    def __init__(self, region: local.Region) -> None:
        self._region = region

    def drops(self) -> dict[str, int] | None:
        """Count what the VPC dropped for breaking AWS's MAC/IP rule."""
        found = self._region.drops()
        return {reason: found[reason] for reason in ("mac", "arp", "ip")}


def open_target(settings: Settings) -> Target:
    """Open the place the settings name; starts the local region where it does not run."""
    if settings.target != "local":
        raise BadSetting("there is no such target", seen=settings.target, next='target = "local"')
    if local.find(settings.name) is None:
        # boto3's import takes as long as the region's start: do both at once.
        threading.Thread(target=importlib.import_module, args=("boto3",), daemon=True).start()
    return _local(region_of(settings))


def region_of(settings: Settings) -> local.Region:
    """Find or start the local region that the settings ask for.

    A real OpenStack wants instances that are a whole operating system. Raises NoPlaceToRun.
    """
    whole = settings.cloud == "openstack"
    return local.ensure(
        settings.name, settings.region, whole=whole, releases=(str(settings.debian),)
    )


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

    @functools.cache
    def client(service: str) -> Any:
        return session.client(service, endpoint_url=region.endpoint, config=config)

    return Target(
        client,
        region.connect,
        LocalVantage(region),
        folders.state_folder(region.name),
        f"{region.pid} {region.endpoint}",
        machine.cache() / "pace.json",
        caller_address=lambda: network.USER_ADDRESS,
    )
