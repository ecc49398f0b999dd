"""What the lab has in OpenStack: networks, router, security group, key, VM. Found by name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from osawslab.cloud.names import Names
from osawslab.cloud.names import names as derived
from osawslab.settings import Settings

EXTERNAL, TENANT, ROUTER, GROUP, KEY = "provider", "tenant", "router1", "osawslab", "osawslab"
FLAVOR, IMAGE = "osawslab-nano", "osawslab-guest"
MEMORY_MB, DISK_GB = 192, 1
RULES = ({"protocol": "tcp", "port_range_min": 22, "port_range_max": 22}, {"protocol": "icmp"})
HOST_KEY = re.compile(r"guest: host key (ssh-ed25519 \S+)")
READY = re.compile(r"guest: ready, (\S+),")


@dataclass(frozen=True)
class Project:
    """What is there; None (or "") where it is not. Values are openstacksdk's resources."""

    external: Any
    external_subnet: Any
    tenant: Any
    tenant_subnet: Any
    router: Any
    gateway: Any  # the router's port in the provider network
    inner: Any  # and in the tenant network
    group: Any
    rules: tuple[Any, ...]  # of the group, what comes in
    key: Any
    flavor: Any
    image: Any
    port: Any  # the VM's
    server: Any
    console: str
    floating: tuple[str, ...]  # addresses of floating IPs

    @property
    def host_key(self) -> str:
        """The VM's SSH host key as it has said on its console; "" before."""
        found = HOST_KEY.search(self.console)
        return found[1] if found and READY.search(self.console) else ""

    def names(self, settings: Settings) -> Names | None:
        """Say what all of it is called on the instance; None until all of it is there."""
        if not (self.router and self.gateway and self.inner and self.port):
            return None
        own = derived(settings.name, settings.vm_name)
        return Names(
            router=self.router.id,
            router_netns=f"qrouter-{self.router.id}",
            gateway=f"qg-{self.gateway.id[:11]}",
            gateway_mac=self.gateway.mac_address,
            inner=f"qr-{self.inner.id[:11]}",
            inner_mac=self.inner.mac_address,
            tap=f"tap{self.port.id[:11]}",
            vm_netns="",  # a real VM has none on the host
            vm_mac=self.port.mac_address,
            other_mac=own.other_mac,
            bridge_mac=own.bridge_mac,
        )


def vm_port(settings: Settings) -> str:
    """Name the VM's port."""
    return f"{settings.vm_name}-port"


def read(cloud: Any, settings: Settings) -> Project:
    """Read what is there. Raises the SDK's errors."""
    network, compute = cloud.network, cloud.compute
    networks = {each.name: each for each in network.networks()}
    subnets = {each.network_id: each for each in network.subnets()}
    ports = list(network.ports())
    router = next((each for each in network.routers() if each.name == ROUTER), None)
    of_router = {p.device_owner: p for p in ports if router and p.device_id == router.id}
    group = next((each for each in network.security_groups() if each.name == GROUP), None)
    server = next((each for each in compute.servers() if each.name == settings.vm_name), None)
    external, tenant = networks.get(EXTERNAL), networks.get(TENANT)
    return Project(
        external=external,
        external_subnet=subnets.get(external.id) if external else None,
        tenant=tenant,
        tenant_subnet=subnets.get(tenant.id) if tenant else None,
        router=router,
        gateway=of_router.get("network:router_gateway"),
        inner=of_router.get("network:router_interface"),
        group=group,
        rules=tuple(
            network.security_group_rules(security_group_id=group.id, direction="ingress")
            if group
            else ()
        ),
        key=next((each for each in compute.keypairs() if each.name == KEY), None),
        flavor=next((each for each in compute.flavors() if each.name == FLAVOR), None),
        image=next(iter(cloud.image.images(name=IMAGE)), None),
        port=next((p for p in ports if p.name == vm_port(settings)), None),
        server=server,
        console=console(cloud, server) if server and server.status == "ACTIVE" else "",
        floating=tuple(each.floating_ip_address for each in network.ips()),
    )


def console(cloud: Any, server: Any) -> str:
    """Read what a VM has said on its console; "" where it has none yet."""
    from openstack.exceptions import SDKException

    try:
        return str((cloud.compute.get_server_console_output(server) or {}).get("output") or "")
    except SDKException:
        return ""


def lets_in(project: Project, rule: dict[str, Any]) -> bool:
    """Say whether the security group has a rule."""
    return any(
        all(getattr(have, name) == value for name, value in rule.items()) for have in project.rules
    )


def pools(settings: Settings) -> list[dict[str, str]]:
    """List the tenant addresses that DHCP may give away: all but the router's and the VM's.

    >>> pools(Settings())
    [{'start': '192.168.20.2', 'end': '192.168.20.4'}, {'start': '192.168.20.6', 'end': \
'192.168.20.254'}]
    """
    cidr, vm = IPv4Network(settings.tenant_cidr), IPv4Address(settings.vm_address)
    return [
        {"start": str(first), "end": str(last)}
        for first, last in ((cidr[2], vm - 1), (vm + 1, cidr[-2]))
        if first <= last
    ]
