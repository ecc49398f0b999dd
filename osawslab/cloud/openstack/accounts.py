"""The accounts and endpoints of the services in Keystone, by the SDK: find, or make."""

from __future__ import annotations

from typing import Any

from osawslab.cloud.openstack.configuration import API_PORTS

# service -> type and path of its endpoint
SERVICES = {
    "neutron": ("network", ""),
    "glance": ("image", ""),
    "nova": ("compute", "/v2.1"),
    "placement": ("placement", ""),
}
REGION = "RegionOne"
INTERFACES = ("public", "internal", "admin")
# `service` is what Neutron's policy asks of Nova for port bindings since 2025.1.
ROLES = ("admin", "service")


def commands(address: str) -> str:
    """Write what a person would type instead."""
    lines = ["openstack project create --domain default service"]
    for name, (kind, path) in SERVICES.items():
        url = f"http://{address}:{API_PORTS[kind]}{path}"
        lines.append(f"openstack user create --domain default --password-prompt {name}")
        lines += [f"openstack role add --project service --user {name} {role}" for role in ROLES]
        lines.append(f"openstack service create --name {name} {kind}")
        lines += [
            f"openstack endpoint create --region {REGION} {kind} {each} {url}"
            for each in INTERFACES
        ]
    return "\n".join(lines)


def make(cloud: Any, address: str, password: str) -> None:
    """Make the users, services and endpoints that are missing; give all users this password."""
    identity = cloud.identity
    project = identity.find_project("service") or identity.create_project(
        name="service", domain_id="default"
    )
    roles = {each.id: each for each in identity.roles() if each.name in ROLES}
    users = {each.name: each for each in identity.users()}
    services = {each.name: each for each in identity.services()}
    endpoints = {(each.service_id, each.interface): each for each in identity.endpoints()}
    given = {
        (each.user["id"], each.role["id"])
        for each in identity.role_assignments(scope_project_id=project.id)
        if each.user
    }
    for name, (kind, path) in SERVICES.items():
        user = users.get(name)
        if user is None:
            user = identity.create_user(name=name, password=password, domain_id="default")
        else:
            identity.update_user(user, password=password)
        for role in roles.values():
            if (user.id, role.id) not in given:
                identity.assign_project_role_to_user(project, user, role)
        service = services.get(name) or identity.create_service(name=name, type=kind)
        url = f"http://{address}:{API_PORTS[kind]}{path}"
        for interface in INTERFACES:
            there = endpoints.get((service.id, interface))
            if there is None:
                identity.create_endpoint(
                    service_id=service.id, interface=interface, url=url, region_id=REGION
                )
            elif there.url != url:
                identity.update_endpoint(there, url=url)
