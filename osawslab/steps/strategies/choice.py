"""Which way the registered MAC takes to the router, and why: by driver, bridge and routers.

Several addresses of one router have one MAC, and take any way. Several routers take only `mac-nat`.
"""

from __future__ import annotations

from dataclasses import dataclass

from osawslab.cloud import mac_nat
from osawslab.cloud.handbuilt import Cloud
from osawslab.errors import Refused
from osawslab.steps.work import Ground

# Drivers that change no MAC: ENA has no such operation (amzn-drivers, ena_netdev.c); ixgbevf asks
# the host's side of the NIC, and says "Operation not permitted" where that refuses.
FIXED = ("ena", "ixgbevf")


@dataclass(frozen=True)
class Seen:
    """The ground, the provider NIC's driver, and the ENI's registered addresses."""

    ground: Ground
    driver: str
    registered: tuple[str, ...] = ()

    @property
    def cloud(self) -> Cloud:
        """The cloud on the instance."""
        return self.ground.cloud

    @property
    def fixed(self) -> bool:
        """True where the NIC's driver changes no MAC."""
        return self.driver in FIXED

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
        return "share" if self.fixed else "swap"

    @property
    def reason(self) -> str:
        """Why this strategy."""
        if self.cloud.settings.strategy != "auto":
            return "as the settings say"
        if self.strategy == "mac-nat":
            return f"{self.several}, and only one port of a network can have the registered MAC"
        driver = f"this instance type's NIC driver, {self.driver}"
        if self.fixed:
            return f"{driver}, can change no MAC, so the NIC keeps its own"
        return f"{driver}, can change its MAC, as in the tutorial"

    def require_one(self) -> None:
        """Raise Refused for several routers on Linux bridges, where `auto` knows no way."""
        if self.several and self.cloud.settings.strategy == "auto" and self.strategy != "mac-nat":
            why = self.cloud.no_openvswitch or 'bridge = "linux"'
            raise Refused(
                "several routers need mac-nat, which a Linux bridge cannot do",
                seen=f"{self.several}; {why}",
                next='bridge = "openvswitch", in a lab of its own; or only one router',
            )

    @property
    def change(self) -> str:
        """Give the command that asks the driver for another MAC: the tutorial's where it can be."""
        cloud = self.cloud
        nic, mac = cloud.require_provider_nic().name, cloud.names.other_mac
        if cloud.host.programs.get("macchanger") or cloud.host.dpkg:
            return f"macchanger --mac={mac} {nic}"
        return f"ip link set {nic} address {mac}"
