#!/usr/bin/env python3
"""Run a part of Tempest, OpenStack's own tests, against a lab, through its SSH connection alone.

`tempest.txt` says which tests. The exit status is 0 when all that ran have passed. Tempest runs on
this machine; its requests go through the lab's proxy. The scenario logs in to a VM at a floating
IP: the lab has none, so it gets a second range outside here, which only the instance reaches, and
what Tempest opens to that range goes through a proxy too (its SSH) or runs on the instance (ping).
"""

from __future__ import annotations

import configparser
import functools
import os
import re
import shlex
import stat
import subprocess
import sys
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from osawslab import Lab, access
from osawslab.cloud.openstack import api, project, proxy
from osawslab.steps import openstack_install
from osawslab.target import open_target
from osawslab.testing import fresh_home

HERE = Path(__file__).parent
# RFC 5737, TEST-NET-1: floating IPs, of which the VPC knows nothing. The first is the instance's.
OUTSIDE = IPv4Network("192.0.2.0/24")
WORKERS = 1  # two take as long on two cores, and meet in Keystone's role assignments
# Python runs this at its start. Tempest's SSH knows no proxy, and of its requests those for the
# accounts that it makes for itself do not mind `proxy_url`.
CUSTOM = """
import ipaddress, socket

WAYS = [(ipaddress.ip_network(network), proxy) for network, proxy in {ways!r}]

class Socket(socket.socket):
    def connect(self, address):
        way = None
        if self.family == socket.AF_INET:
            there = ipaddress.ip_address(address[0])
            way = next((proxy for network, proxy in WAYS if there in network), None)
        super().connect(way or address)
        if way:
            self.sendall("CONNECT {{}}:{{}} HTTP/1.1\\r\\n\\r\\n".format(*address).encode())
            answer = b""
            while not answer.endswith(b"\\r\\n\\r\\n"):
                piece = self.recv(1)
                if not piece:
                    break
                answer += piece
            if b" 200 " not in answer.partition(b"\\r\\n")[0]:
                raise ConnectionRefusedError(answer.decode())

socket.socket = Socket
"""


def main(words: list[str]) -> int:
    """Make a lab of its own, run the tests in it, end it."""
    with fresh_home() as home, Lab("tempest", cloud="openstack") as lab:
        os.chdir(home)
        lab.catch_up("see_the_drop")
        return run(lab, home, words)


def run(lab: Lab, home: Path, words: list[str]) -> int:
    """Run the tests in a lab with a VM; the exit status."""
    refs = outside(lab)
    here, custom = home / "tempest", home / "custom"
    custom.mkdir()
    environ = {
        **access.without_clouds(), "HOME": str(home), "PYTHONPATH": str(custom),
        "PATH": f"{custom}:{os.environ['PATH']}", "TEMPEST_CONFIG_DIR": str(here / "etc"),
    }  # fmt: skip
    tempest = Path(sys.executable).parent / "tempest"
    subprocess.run([tempest, "init", here], env=environ, check=True, stdout=subprocess.DEVNULL)
    program(custom / "ping", ping(lab))

    def leads(address: str, port: int) -> bool:
        return IPv4Address(address) in OUTSIDE and port == 22

    with (
        lab.openstack() as found,
        proxy.serve(functools.partial(api.open_socket, lab.host()), leads) as to_vms,
    ):
        apis = (lab.settings.management_address, found["http_proxy"])
        ways = [(network, pair(url)) for network, url in (apis, (str(OUTSIDE), to_vms))]
        (custom / "sitecustomize.py").write_text(CUSTOM.format(ways=ways))
        write(here / "etc" / "tempest.conf", configuration(found, refs, here))
        chosen = words or ["--include-list", str(HERE / "tempest.txt")]
        command = [tempest, "run", "--concurrency", str(WORKERS), *chosen]
        return tell(subprocess.Popen(command, cwd=here, env=environ, stdout=subprocess.PIPE))


def outside(lab: Lab) -> dict[str, Any]:
    """Give the network outside a second range, and the instance its first address there.

    Returns what Tempest's configuration names.
    """
    site = lab._site()
    cloud = openstack_install.cloud(site, lab.host())
    there = project.read(cloud, lab.settings)
    name = "tempest-outside"
    subnet = cloud.network.find_subnet(name) or cloud.network.create_subnet(
        name=name, network_id=there.external.id, ip_version=4, cidr=str(OUTSIDE),
        gateway_ip=str(OUTSIDE[1]), is_dhcp_enabled=False,
        allocation_pools=[{"start": str(OUTSIDE[10]), "end": str(OUTSIDE[-2])}],
    )  # fmt: skip
    # Tempest's VMs belong to projects of its own: the guest's image, its kernel and its initrd.
    for image in cloud.image.images():
        cloud.image.update_image(image, visibility="public")
    bridge = lab.settings.provider_bridge
    lab.shell(f"ip address replace {OUTSIDE[1]}/{OUTSIDE.prefixlen} dev {bridge}")
    lab.shell(f"ip link set {bridge} up")
    return {
        "network": there.external.id, "subnet": subnet.id,
        "image": there.image.id, "flavor": there.flavor.id,
        "extensions": ",".join(sorted(each.alias for each in cloud.network.extensions())),
    }  # fmt: skip


def pair(url: str) -> tuple[str, int]:
    """Give a proxy's address and port."""
    found = urlsplit(url)
    return str(found.hostname), int(found.port or 0)


def ping(lab: Lab) -> str:
    """Write a program that pings from the instance."""
    place = open_target(lab.settings)
    words = access.ssh_command(lab.host(), place.keys, ["sudo", "ping"], place.proxy)
    path = shlex.quote(os.environ.get("PYTHONPATH", ""))
    return f'#!/bin/sh\nexport PYTHONPATH={path}\nexec {shlex.join(words)} "$@"\n'


def program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o700)


def configuration(found: dict[str, str], refs: dict[str, Any], here: Path) -> dict[str, Any]:
    """Say what Tempest's configuration is, by section; names from its own documentation."""
    return {
        "DEFAULT": {"log_file": here / "tempest.log"},
        "oslo_concurrency": {"lock_path": here / "lock"},
        "auth": {
            "admin_username": found["OS_USERNAME"],
            "admin_password": found["OS_PASSWORD"],
            "admin_project_name": found["OS_PROJECT_NAME"],
            "admin_domain_name": "Default",
        },
        "identity": {
            "uri_v3": found["OS_AUTH_URL"],
            "region": found["OS_REGION_NAME"],
        },
        "service-clients": {"proxy_url": found["http_proxy"], "http_timeout": 180},
        "service_available": {
            "cinder": False, "swift": False, "glance": True, "nova": True, "neutron": True,
        },
        "compute": {
            "image_ref": refs["image"], "image_ref_alt": refs["image"],
            "flavor_ref": refs["flavor"], "flavor_ref_alt": refs["flavor"],
        },
        "network": {
            "public_network_id": refs["network"],
            "floating_network_name": project.EXTERNAL,
            "subnet_id": refs["subnet"],
        },
        "network-feature-enabled": {"api_extensions": refs["extensions"]},
        "validation": {"run_validation": True, "image_ssh_user": "root"},
    }  # fmt: skip


def write(path: Path, sections: dict[str, Any]) -> None:
    """Write an INI file for this user alone: a password is in it."""
    made = configparser.ConfigParser(interpolation=None)
    made.read_dict(sections)
    path.touch(stat.S_IRUSR | stat.S_IWUSR)
    with path.open("w") as file:
        made.write(file)


def tell(tempest: subprocess.Popen[bytes]) -> int:
    """Show what Tempest says; its exit status, or 1 when nothing ran."""
    assert tempest.stdout is not None
    passed = 0
    for line in tempest.stdout:
        sys.stderr.buffer.write(line)
        sys.stderr.buffer.flush()
        counted = re.match(rb" - Passed: (\d+)", line)
        passed = int(counted[1]) if counted else passed
    return tempest.wait() or int(passed == 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
