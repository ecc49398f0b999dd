"""Take away from OpenStack what the lab has made there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from osawslab.cloud.openstack.making import PAUSE_SECONDS, Deed
from osawslab.cloud.openstack.project import EXTERNAL, FLAVOR, GROUP, KEY, ROUTER, TENANT, Project


def unmake(cloud: Any, found: Project) -> Iterator[Deed]:
    """List how all of it goes again, in order."""
    network, compute = cloud.network, cloud.compute

    def server() -> None:
        compute.delete_server(found.server)
        compute.wait_for_delete(found.server, interval=PAUSE_SECONDS, wait=60)

    def router() -> None:
        if found.inner:
            network.remove_interface_from_router(found.router, subnet_id=found.tenant_subnet.id)
        network.delete_router(found.router)

    for address in found.floating:
        yield Deed(
            "a floating IP goes",
            f"openstack floating ip delete {address}",
            lambda address=address: network.delete_ip(  # type: ignore[misc]
                next(network.ips(floating_ip_address=address))
            ),
        )
    server_name = getattr(found.server, "name", "")
    port_name = getattr(found.port, "name", "")
    for what, why, command, do in (
        (found.server, "the VM ends", f"server delete --wait {server_name}", server),
        (
            found.port,
            "its port goes",
            f"port delete {port_name}",
            lambda: network.delete_port(found.port),
        ),
        (
            found.router,
            "the router goes",
            f"router remove subnet {ROUTER} {TENANT}; openstack router delete {ROUTER}",
            router,
        ),
        (
            found.tenant,
            "the tenant's network goes",
            f"network delete {TENANT}",
            lambda: network.delete_network(found.tenant),
        ),
        (
            found.external,
            "the network outside goes",
            f"network delete {EXTERNAL}",
            lambda: network.delete_network(found.external),
        ),
        (
            found.group,
            "the security group goes",
            f"security group delete {GROUP}",
            lambda: network.delete_security_group(found.group),
        ),
        (
            found.key,
            "the key goes",
            f"keypair delete {KEY}",
            lambda: compute.delete_keypair(found.key),
        ),
        (
            found.flavor,
            "the flavor goes",
            f"flavor delete {FLAVOR}",
            lambda: compute.delete_flavor(found.flavor),
        ),
    ):
        if what:
            yield Deed(why, f"openstack {command}", do)
