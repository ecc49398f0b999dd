"""Which way the registered MAC takes to the router, and why: by driver, bridge and addresses."""

from __future__ import annotations

from dataclasses import dataclass

from osawslab.cloud import mac_nat
from osawslab.cloud.handbuilt import Cloud
from osawslab.steps.work import Ground


@dataclass(frozen=True)
class Seen:
    """The ground, whether EC2 says that the NICs are ENA, and the ENI's registered addresses."""

    ground: Ground
    ena: bool
    registered: tuple[str, ...] = ()

    @property
    def cloud(self) -> Cloud:
        """The cloud on the instance."""
        return self.ground.cloud

    @property
    def several(self) -> str:
        """Say what one MAC cannot serve: several routers; "" where there is one."""
        routers = {mac for _, mac in mac_nat.addresses(self.cloud)}
        return f"{len(routers)} routers have gateway ports" if len(routers) > 1 else ""

    @property
    def strategy(self) -> str:
        """How the registered MAC gets to the gateway port."""
        if self.cloud.settings.strategy != "auto":
            return self.cloud.settings.strategy
        if self.several and self.cloud.uses_openvswitch:
            return "mac-nat"
        return "share" if self.ena else "swap"

    @property
    def reason(self) -> str:
        """Why this strategy."""
        if self.cloud.settings.strategy != "auto":
            return "as the settings say"
        if self.strategy == "mac-nat":
            return f"{self.several}, and only one port of a network can have the registered MAC"
        if self.ena:
            return (
                "this instance type's NIC driver, ena, can change no MAC, so the NIC keeps its own"
            )
        return "this instance type's NIC driver, vif, can change its MAC, as in the tutorial"

    @property
    def change(self) -> str:
        """Give the command that asks the driver for another MAC: the tutorial's where it can be."""
        cloud = self.cloud
        nic, mac = cloud.require_provider_nic().name, cloud.names.other_mac
        if cloud.host.programs.get("macchanger") or cloud.host.dpkg:
            return f"macchanger --mac={mac} {nic}"
        return f"ip link set {nic} address {mac}"
