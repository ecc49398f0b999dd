"""The tutorial's swap: the NIC gets another MAC, the gateway port the registered one."""

from __future__ import annotations

from osawslab.cloud.handbuilt import Cloud, Want
from osawslab.report import Check
from osawslab.steps.strategies import gateway
from osawslab.steps.strategies.choice import Seen


def wants(facts: Seen) -> list[Want]:
    """Want the NIC to have another MAC, and the gateway port its registered one."""
    cloud = facts.cloud
    nic = cloud.require_provider_nic()
    return [
        Want(
            nic.mac != cloud.registered_mac,
            "the NIC gets another MAC",
            # In parentheses: who pastes it keeps the shell.
            f"(ip link set {nic.name} down; {facts.change}; done=$?; ip link set {nic.name} up;"
            " exit $done)",
        ),
        Want(nic.up, "the NIC is up", f"ip link set {nic.name} up"),
        *gateway.registered(cloud),
    ]


def checks(facts: Seen) -> list[Check]:
    """Hold both MACs against AWS's registered one."""
    return gateway.checks(facts.cloud, nic_keeps=False)


def leave(cloud: Cloud) -> list[Want]:
    """Want the NIC to have its registered MAC again."""
    nic = cloud.provider_nic
    if nic is None:
        return []
    return [
        Want(
            nic.mac == cloud.registered_mac,
            "the NIC gets its registered MAC back",
            f"ip link set {nic.name} down && ip link set {nic.name} address"
            f" {cloud.registered_mac}; ip link set {nic.name} up",
        )
    ]
