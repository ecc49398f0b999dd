"""The learner's own programs in the region: those of AWS and of OpenStack, and OpenSSH.

Nothing of the caller's own configuration of clouds comes along: not a key, a profile or a proxy.
"""

from __future__ import annotations

import os
import select
import shlex
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from osawslab.errors import CannotReach, LabError, MissingTool
from osawslab.keys import key_file
from osawslab.region import folders, machine
from osawslab.region.local import Region

if TYPE_CHECKING:
    from osawslab.host.ssh import SshHost

LEFT_OUT = ("AWS_PROFILE", "AWS_SESSION_TOKEN")  # either would lead AWS's tools elsewhere


def variables(region: Region) -> dict[str, str]:
    """Give the variables that lead AWS's own tools to the region ("AWS SDKs and Tools", settings).

    The file names keep `~/.aws` out, whose profiles may name another endpoint.
    """
    return {
        "AWS_ENDPOINT_URL": region.endpoint,
        "AWS_ACCESS_KEY_ID": region.access_key,
        "AWS_SECRET_ACCESS_KEY": region.secret_key,
        "AWS_DEFAULT_REGION": region.region,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": "127.0.0.1",
    }


def exports(found: Mapping[str, str]) -> str:
    """Write variables as lines for a POSIX shell to `eval`.

    With an endpoint, `aws` is a function that names it: before 2.13 and 1.29 the AWS CLI knows no
    `AWS_ENDPOINT_URL`, and would go to AWS.

    >>> print(exports({"AWS_DEFAULT_REGION": "us-east-1"}))
    unset AWS_PROFILE AWS_SESSION_TOKEN
    export AWS_DEFAULT_REGION=us-east-1
    """
    lines = [f"export {name}={shlex.quote(value)}" for name, value in found.items()]
    if "AWS_ENDPOINT_URL" in found:
        lines.append('aws() { command aws --endpoint-url "$AWS_ENDPOINT_URL" "$@"; }')
    return "\n".join([f"unset {' '.join(LEFT_OUT)}", *lines])


def aws_program() -> str:
    """Find the AWS CLI. Raises MissingTool."""
    program = shutil.which("aws")
    if program is None:
        raise MissingTool(
            "the AWS CLI is not installed",
            seen="no aws in PATH",
            next="install your distribution's package awscli, or pip install awscli in an"
            " environment of its own (here it would replace libraries of the lab)",
        )
    return program


def aws(region: Region, words: Sequence[str]) -> None:
    """Become the AWS CLI, led to the region. Raises MissingTool; does not return.

    By a word of the command too, see `exports`.
    """
    command = ["aws", "--endpoint-url", region.endpoint, *words]
    os.execve(aws_program(), command, {**without_clouds(), **variables(region)})


def without_clouds() -> dict[str, str]:
    """Give the caller's environment without what leads to clouds, or around the lab."""
    proxies = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AWS_", "OS_")) and name.lower() not in proxies
    }


def openstack_program() -> str:
    """Find python-openstackclient's program in this environment. Raises MissingTool."""
    program = Path(sys.executable).parent / "openstack"
    if not os.access(program, os.X_OK):
        raise MissingTool(
            "python-openstackclient is not installed",
            seen=f"no {program}",
            next="pip install python-openstackclient, in the lab's environment",
        )
    return str(program)


def openstack(words: Sequence[str], found: Mapping[str, str]) -> int:
    """Run OpenStack's client in an environment that leads it to a lab; its exit status."""
    command = [openstack_program(), *words]
    status = subprocess.run(command, env={**without_clouds(), **found}, check=False).returncode
    return status if status >= 0 else 128 - status


def ssh_command(host: SshHost, folder: Path, words: Sequence[str], proxy: str) -> list[str]:
    """Give the OpenSSH command that logs in to a host of a lab: own key, own known host.

    `folder` has the lab's key, and gets known_hosts; `proxy` is a ProxyCommand, "" for none.
    """
    known = folder / f"known_hosts.{host.port}"
    shown = host.address if host.port == 22 else f"[{host.address}]:{host.port}"
    folders.write_whole(known, f"{shown} {' '.join(host.host_key.split()[:2])}\n")
    options = {  # ssh_config(5); its values expand %
        "IdentitiesOnly": "yes",
        "IdentityAgent": "none",
        "UserKnownHostsFile": f'"{_literal(known)}"',
        "GlobalKnownHostsFile": os.devnull,
        "StrictHostKeyChecking": "yes",
        "UpdateHostKeys": "no",
        "LogLevel": "ERROR",
        "IdentityFile": f'"{_literal(key_file(folder))}"',
        "ProxyCommand": proxy or "none",
    }
    return [
        _program(),
        "-F",
        os.devnull,
        *(f"-o{key}={value}" for key, value in options.items()),
        "-p",
        str(host.port),
        f"{host.user}@{host.address}",
        *words,
    ]


def _literal(text: object) -> str:
    return str(text).replace("%", "%%")


def _program() -> str:
    found = machine.find("ssh")
    if found is None:
        raise MissingTool(
            "OpenSSH is not on this machine",
            seen="no ssh in PATH",
            next=machine.install_command(["openssh-client"]),
        )
    return str(found)


def join(region: Region, address: str, port: int) -> None:
    """Join standard input and output to an address in the region, until it or our caller is gone.

    An instance that is no more closes nothing.
    """
    try:
        made = region.connect(address, port)
    except LabError:
        raise
    except OSError as error:
        raise CannotReach(
            f"{address}:{port} does not answer in the region of lab {region.name!r}",
            seen=str(error),
        ) from None
    threading.Thread(target=_send, args=(made,), daemon=True).start()
    poll = select.poll()
    poll.register(made, select.POLLIN)
    poll.register(sys.stdout.fileno(), 0)  # POLLERR or POLLHUP: nobody reads any more
    with made:
        while {fd for fd, _ in poll.poll()} == {made.fileno()} and (data := made.recv(65536)):
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()


def _send(made: socket.socket) -> None:
    try:
        while data := os.read(0, 65536):
            made.sendall(data)
        made.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # the other end closed first, and `join` tells
