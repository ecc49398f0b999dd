"""The names and ids of the hand-built cloud, shaped as Neutron's, following from the lab's name.

Prefixes and lengths: neutron_lib/constants.py (DEVICE_NAME_MAX_LEN 14: `qg-` + 11 characters of
the port's id), neutron/agent/l3/namespaces.py (`qrouter-`), base_mac of neutron.conf.
"""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass


def _id(lab: str, what: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"osawslab/{lab}/{what}"))


def _mac(lab: str, what: str, prefix: str) -> str:
    digest = hashlib.sha256(f"{lab}/{what}".encode()).hexdigest()
    count = 6 - (prefix.count(":") + 1)
    return ":".join([prefix, *(digest[i : i + 2] for i in range(0, 2 * count, 2))])


@dataclass(frozen=True)
class Names:
    """What everything of one lab's cloud is called."""

    router: str  # the router's id
    router_netns: str
    gateway: str  # the gateway port qg-…
    gateway_mac: str  # Neutron's own
    inner: str  # the router's port in the tenant network, qr-…
    inner_mac: str
    tap: str  # the VM's port on br-int
    vm_netns: str
    vm_mac: str
    other_mac: str  # what the provider NIC gets when it gives its MAC away
    bridge_mac: str  # of the provider bridge's own port, where the NIC shares its MAC
    integration: str = "br-int"
    translator: str = "br-mac-nat"  # the own bridge that translates MACs


def names(lab: str, vm: str) -> Names:
    """Derive the names of a lab.

    >>> names("lab", "vm1").gateway_mac.startswith("fa:16:3e:")
    True
    >>> len(names("lab", "vm1").gateway)
    14
    """
    router = _id(lab, "router")
    return Names(
        router=router,
        router_netns=f"qrouter-{router}",
        gateway=f"qg-{_id(lab, 'gateway')[:11]}",
        gateway_mac=_mac(lab, "gateway", "fa:16:3e"),
        inner=f"qr-{_id(lab, 'inner')[:11]}",
        inner_mac=_mac(lab, "inner", "fa:16:3e"),
        tap=f"tap{_id(lab, 'vm')[:11]}",
        vm_netns=f"vm-{vm}",
        vm_mac=_mac(lab, "vm", "fa:16:3e"),
        other_mac=_mac(lab, "other", "02:0b:ad"),
        bridge_mac=_mac(lab, "bridge", "02:0b:1d"),
    )
