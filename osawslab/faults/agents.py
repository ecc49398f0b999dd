"""Faults of a real OpenStack alone: its agents, and the hypervisor's process of a VM."""

from __future__ import annotations

from osawslab.faults.fault import Before, Change, Fault, Run
from osawslab.faults.router import NO_VM

REAL = ("openstack",)
LATER = "all still passes, and what Neutron or Nova is told from now on does not happen"


def stopped(unit: str) -> Change:
    """Stop a service that stays enabled."""
    return Change(
        (Run(f"systemctl stop {unit}"),),
        (Run(f"systemctl start {unit}"),),
        Run(f"! systemctl is-active --quiet {unit}"),
    )


def no_l3_agent(b: Before) -> Change:
    """Stop the agent that makes routers."""
    return stopped("neutron-l3-agent")


def no_switch_agent(b: Before) -> Change:
    """Stop the agent that wires ports."""
    return stopped("neutron-openvswitch-agent")


def no_compute(b: Before) -> Change:
    """Stop the service that starts VMs."""
    return stopped("nova-compute")


def hypervisor_hangs(b: Before) -> Change:
    """Stop the VM's hypervisor as Ctrl-Z does: its port is there, and nobody is behind it."""
    each = f"$(pgrep -f '[q]emu-system.*{b.cloud.names.vm_mac}')"  # not the shell that asks
    return Change(
        (Run(f"kill -STOP {each}"),),
        (Run(f"kill -CONT {each}"),),
        Run(f"grep -q '^State:.T' /proc/{each}/status"),
    )


SERVICES = frozenset({"services"})
FAULTS = (
    Fault("no-l3-agent", "services", LATER, "easy", no_l3_agent, REAL, touches=SERVICES),
    Fault("no-switch-agent", "services", LATER, "easy", no_switch_agent, REAL, touches=SERVICES),
    Fault("no-compute", "services", LATER, "easy", no_compute, REAL, touches=SERVICES),
    Fault("hypervisor-hangs", "guest", NO_VM, "medium", hypervisor_hangs, REAL,
          touches=frozenset({"vm"})),
)  # fmt: skip
