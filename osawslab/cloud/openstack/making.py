"""Make in OpenStack what the lab lacks there: by the SDK, shown as a person would type it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from osawslab.cloud.openstack import project
from osawslab.cloud.openstack.project import (
    DISK_GB,
    EXTERNAL,
    FLAVOR,
    GROUP,
    IMAGE,
    KEY,
    MEMORY_MB,
    ROUTER,
    RULES,
    TENANT,
    Project,
)
from osawslab.errors import LabTimeout, StepFailed, StepNotReady
from osawslab.settings import Settings

VM_SECONDS = 300.0  # an imitated processor boots a small kernel in some seconds
PAUSE_SECONDS = 0.5


@dataclass(frozen=True)
class Deed:
    """Something to make: why, what a person would type, and how it is done."""

    why: str
    command: str
    do: Callable[[], object]


class Maker:
    """Make one thing after another; what was found or made is handed on."""

    def __init__(self, cloud: Any, settings: Settings, found: Project, public_key: str) -> None:
        self.cloud = cloud
        self.settings = settings
        self.public_key = public_key
        self.have: dict[str, Any] = dict(vars(found))
        self.found = found

    def deeds(self) -> Iterator[Deed]:
        """List what is missing, in order."""
        settings, found = self.settings, self.found
        wants: tuple[tuple[str, bool, str, str, Callable[[], Any]], ...] = (
            (
                "external",
                bool(found.external),
                "the network outside: flat, on the provider bridge",
                "openstack network create --external --provider-network-type flat"
                f" --provider-physical-network provider {EXTERNAL}",
                lambda: self.cloud.network.create_network(
                    name=EXTERNAL,
                    is_router_external=True,
                    provider_network_type="flat",
                    provider_physical_network="provider",
                ),
            ),
            (
                "external_subnet",
                bool(found.external_subnet),
                "of its addresses exactly the registered one, and no DHCP: AWS has its own",
                f"openstack subnet create --network {EXTERNAL} --no-dhcp"
                f" --subnet-range {settings.provider_cidr} --gateway {settings.provider_gateway}"
                f" --allocation-pool start={settings.provider_address},"
                f"end={settings.provider_address} {EXTERNAL}",
                self._external_subnet,
            ),
            (
                "tenant",
                bool(found.tenant),
                "the tenant's own network",
                f"openstack network create {TENANT}",
                lambda: self.cloud.network.create_network(name=TENANT),
            ),
            (
                "tenant_subnet",
                bool(found.tenant_subnet),
                "its addresses; DHCP keeps away from the VM's",
                f"openstack subnet create --network {TENANT}"
                f" --subnet-range {settings.tenant_cidr} --gateway {settings.tenant_gateway}"
                + "".join(
                    f" --allocation-pool start={each['start']},end={each['end']}"
                    for each in project.pools(settings)
                )
                + f" {TENANT}",
                self._tenant_subnet,
            ),
            (
                "router",
                bool(found.router),
                "the router, with the registered IP that the NIC does not use",
                f"openstack router create {ROUTER} && openstack router set {ROUTER}"
                f" --external-gateway {EXTERNAL}"
                f" --fixed-ip subnet={EXTERNAL},ip-address={settings.provider_address}",
                self._router,
            ),
            (
                "inner",
                bool(found.inner),
                "its port in the tenant network",
                f"openstack router add subnet {ROUTER} {TENANT}",
                lambda: self.cloud.network.add_interface_to_router(
                    self.have["router"], subnet_id=self.have["tenant_subnet"].id
                ),
            ),
            (
                "group",
                bool(found.group),
                "who may reach the VM",
                f"openstack security group create {GROUP}",
                lambda: self.cloud.network.create_security_group(name=GROUP),
            ),
            *(
                (
                    f"rule {rule['protocol']}",
                    project.lets_in(found, rule),
                    f"{rule['protocol']} may come in",
                    f"openstack security group rule create --protocol {rule['protocol']}"
                    + (" --dst-port 22" if "port_range_min" in rule else "")
                    + f" {GROUP}",
                    lambda rule=rule: self.cloud.network.create_security_group_rule(
                        security_group_id=self.have["group"].id,
                        direction="ingress",
                        ethertype="IPv4",
                        **rule,
                    ),
                )
                for rule in RULES
            ),
            (
                "key",
                bool(found.key),
                "the lab's key opens the VM",
                f"openstack keypair create --public-key id_ed25519.pub {KEY}",
                lambda: self.cloud.compute.create_keypair(name=KEY, public_key=self.public_key),
            ),
            (
                "flavor",
                bool(found.flavor),
                "a small VM",
                f"openstack flavor create --ram {MEMORY_MB} --disk {DISK_GB} {FLAVOR}",
                lambda: self.cloud.compute.create_flavor(
                    name=FLAVOR, ram=MEMORY_MB, disk=DISK_GB, vcpus=1
                ),
            ),
            (
                "port",
                bool(found.port),
                "the VM's port, with its address",
                f"openstack port create --network {TENANT} --security-group {GROUP}"
                f" --fixed-ip ip-address={settings.vm_address} {project.vm_port(settings)}",
                self._port,
            ),
            (
                "server",
                found.server is not None and found.server.status == "ACTIVE",
                f"{settings.vm_name}, booted by Nova",
                f"openstack server create --wait --flavor {FLAVOR} --image {IMAGE}"
                f" --port {project.vm_port(settings)} --key-name {KEY} {settings.vm_name}",
                self._server,
            ),
            (
                "host_key",
                bool(found.host_key),
                "it is up, and says its SSH host key on its console",
                f"openstack console log show {settings.vm_name}",
                self._ready,
            ),
        )
        for name, holds, why, command, do in wants:
            if not holds:
                yield Deed(why, command, lambda name=name, do=do: self._keep(name, do))  # type: ignore[misc]

    def _keep(self, name: str, do: Callable[[], Any]) -> None:
        self.have[name] = do()

    def _external_subnet(self) -> Any:
        settings = self.settings
        return self.cloud.network.create_subnet(
            name=EXTERNAL,
            network_id=self.have["external"].id,
            ip_version=4,
            cidr=settings.provider_cidr,
            gateway_ip=settings.provider_gateway,
            is_dhcp_enabled=False,
            allocation_pools=[
                {"start": settings.provider_address, "end": settings.provider_address}
            ],
        )

    def _tenant_subnet(self) -> Any:
        settings = self.settings
        return self.cloud.network.create_subnet(
            name=TENANT,
            network_id=self.have["tenant"].id,
            ip_version=4,
            cidr=settings.tenant_cidr,
            gateway_ip=settings.tenant_gateway,
            allocation_pools=project.pools(settings),
        )

    def _router(self) -> Any:
        return self.cloud.network.create_router(
            name=ROUTER,
            external_gateway_info={
                "network_id": self.have["external"].id,
                "external_fixed_ips": [
                    {
                        "subnet_id": self.have["external_subnet"].id,
                        "ip_address": self.settings.provider_address,
                    }
                ],
            },
        )

    def _port(self) -> Any:
        return self.cloud.network.create_port(
            name=project.vm_port(self.settings),
            network_id=self.have["tenant"].id,
            fixed_ips=[
                {
                    "subnet_id": self.have["tenant_subnet"].id,
                    "ip_address": self.settings.vm_address,
                }
            ],
            security_group_ids=[self.have["group"].id],
        )

    def _server(self) -> Any:
        compute, name = self.cloud.compute, self.settings.vm_name
        if self.have["image"] is None:
            raise StepNotReady(
                "there is no image for a VM", seen="none", next="lab.install_cloud()"
            )
        server = self.have["server"]
        if server is not None and server.status in ("SHUTOFF", "BUILD"):
            if server.status == "SHUTOFF":
                compute.start_server(server)
        else:
            if server is not None:  # in error: Nova can do nothing with it any more
                compute.delete_server(server)
                compute.wait_for_delete(server, interval=PAUSE_SECONDS, wait=60)
                self.have["port"] = (
                    self.cloud.network.find_port(project.vm_port(self.settings)) or self._port()
                )
            server = compute.create_server(
                name=name,
                image_id=self.have["image"].id,
                flavor_id=self.have["flavor"].id,
                networks=[{"port": self.have["port"].id}],
                key_name=KEY,
            )
        deadline = time.monotonic() + VM_SECONDS
        while server.status != "ACTIVE":
            if server.status == "ERROR":
                fault = getattr(server, "fault", None) or {}
                raise StepFailed(
                    f"Nova could not boot {name}",
                    seen=str(fault.get("message", "status ERROR")),
                    next='lab.check("install_cloud")',
                )
            if time.monotonic() > deadline:
                raise LabTimeout(
                    f"{name} is not up after {VM_SECONDS:.0f} s",
                    seen=f"status {server.status}",
                    next="openstack server show " + name,
                )
            time.sleep(PAUSE_SECONDS)
            server = compute.get_server(server.id)
        return server

    def _ready(self) -> str:
        deadline = time.monotonic() + VM_SECONDS
        while True:
            said = project.console(self.cloud, self.have["server"])
            key = project.HOST_KEY.search(said)
            if key and project.READY.search(said):
                return key[1]
            if time.monotonic() > deadline:
                last = [line for line in said.splitlines() if line.strip()][-3:]
                raise LabTimeout(
                    f"{self.settings.vm_name} does not come up",
                    seen=" / ".join(last) or "nothing on its console",
                    next='lab.reset("networks"), then lab.networks(): another VM',
                )
            time.sleep(PAUSE_SECONDS)
