"""OpenStack's APIs by openstacksdk, through the SSH connection that the lab has anyway.

No API port is open to the world: each TCP connection of the SDK is a channel (`direct-tcpip`,
RFC 4254 7.2) of the instance's SSH connection, and nothing listens on this machine.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Any

import openstack
import paramiko
import requests
from fabric.tunnels import Tunnel
from keystoneauth1 import session
from keystoneauth1.exceptions import ClientException
from keystoneauth1.identity.v3 import Password
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection
from urllib3.connectionpool import HTTPConnectionPool
from urllib3.exceptions import NewConnectionError

from osawslab.errors import CannotReach, StepNotReady
from osawslab.host.ssh import SshHost

TIMEOUT_SECONDS = 60.0


def connect(host: SshHost, address: str, password: str) -> Any:
    """Give an openstack.connection.Connection as admin. Raises CannotReach when first used."""
    plain = requests.Session()
    plain.trust_env = False  # no proxy of this machine's
    plain.mount("http://", _Adapter(host))
    login = Password(
        auth_url=f"http://{address}:5000/v3",
        username="admin",
        password=password,
        project_name="admin",
        user_domain_id="default",
        project_domain_id="default",
    )
    return openstack.connection.Connection(
        session=session.Session(auth=login, session=plain, timeout=TIMEOUT_SECONDS),
        region_name="RegionOne",
        # From 2.88 on each list of hypervisors asks every nova-compute for its uptime: a minute
        # is lost on one that has only just started (Nova, "REST API Version History").
        compute_default_microversion="2.87",
    )


class _Adapter(HTTPAdapter):
    """Have requests open its connections on the instance."""

    def __init__(self, host: SshHost) -> None:
        self._host = host
        super().__init__()

    def init_poolmanager(self, *given: Any, **more: Any) -> None:
        """Make urllib3's pools with our kind of connection."""
        super().init_poolmanager(*given, **more)
        host = self._host

        class Connection(HTTPConnection):
            # uWSGI closes after each answer without saying so: none is used a second time.
            is_connected = False

            def _new_conn(self) -> socket.socket:
                try:
                    return open_socket(host, self.host, int(self.port or 80))
                except (paramiko.SSHException, OSError) as error:
                    raise NewConnectionError(self, str(error)) from error

        class Pool(HTTPConnectionPool):
            ConnectionCls = Connection

        self.poolmanager.pool_classes_by_scheme = {"http": Pool}


def open_socket(host: SshHost, address: str, port: int) -> socket.socket:
    """Open a TCP connection from a host to an address, through its SSH connection.

    Raises OSError and paramiko.SSHException.
    """
    channel = host.channel(address, port)
    ours, theirs = socket.socketpair()
    Tunnel(channel=channel, sock=theirs, finished=threading.Event()).start()
    return ours


@contextlib.contextmanager
def own_errors() -> Iterator[None]:
    """Turn errors of the SDK into ours, with what OpenStack said.

    Raises StepNotReady where OpenStack refused, CannotReach where it did not answer.
    """
    try:
        yield
    except openstack.exceptions.HttpException as error:
        raise StepNotReady(
            "OpenStack refused", seen=_words(error), next='lab.check("install_cloud")'
        ) from error
    except (openstack.exceptions.SDKException, ClientException) as error:
        raise CannotReach(
            "OpenStack's API does not answer", seen=_words(error), next="lab.install_cloud()"
        ) from error


def _words(error: Exception) -> str:
    return str(getattr(error, "details", "") or error)
