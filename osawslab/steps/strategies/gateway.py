"""The gateway port's MAC, and what goes with it: the same for every strategy."""

from __future__ import annotations

from osawslab.cloud.handbuilt import Cloud, Want
from osawslab.report import Check

NEXT = "lab.swap_mac()"


def wants(cloud: Cloud, mac: str, why: str) -> list[Want]:
    """Want the gateway port to have a MAC, and to forget what it learned with another."""
    gateway, called = cloud.require_router(), cloud.names
    return [
        Want(
            gateway.mac == mac,
            why,
            f"ip -n {called.router_netns} link set {called.gateway} address {mac}"
            f" && ip -n {called.router_netns} neigh flush dev {called.gateway}",
        )
    ]


def registered(cloud: Cloud) -> list[Want]:
    """Want the registered MAC there."""
    return wants(
        cloud,
        cloud.registered_mac,
        "the gateway port gets the registered MAC, and forgets what it learned with the other",
    )


def own(cloud: Cloud) -> list[Want]:
    """Want Neutron's own MAC there."""
    return wants(cloud, cloud.names.gateway_mac, "the gateway port gets Neutron's MAC back")


def checks(cloud: Cloud, nic_keeps: bool) -> list[Check]:
    """Hold both MACs against the registered one, where the gateway port has that."""
    nic, port, mac = cloud.provider_nic, cloud.gateway, cloud.registered_mac
    return [
        Check(
            "the gateway port's MAC",
            f"{mac}, the registered one",
            port.mac if port else "no gateway port",
            port is not None and port.mac == mac,
            NEXT,
        ),
        Check(
            "the provider NIC's own MAC",
            f"{mac}, shared with the gateway port" if nic_keeps else "another one",
            nic.mac if nic else "not found",
            nic is not None and (nic.mac == mac) == nic_keeps,
            NEXT,
        ),
    ]
