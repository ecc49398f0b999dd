"""One way through a host: the provider NIC, its ENI, a router and its gateway port."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from osawslab.clinic.account import Account
from osawslab.clinic.firewall import Firewall, read
from osawslab.clinic.seen import OF_TUNNELS, TUNNELS, Nic, Port, Router, Said, Seen


@dataclass(frozen=True)
class Guest:
    """A VM as far as it can be seen from outside; `port` where it is a namespace of this host."""

    address: str
    port: Port | None
    cable: str  # its port on the bridge, "" where that cannot be told


@dataclass(frozen=True)
class Walk:
    """What the stations look at. `named` is the NIC that the caller has named, "" for none."""

    seen: Seen
    account: Account
    router: Router | None = None
    gate: Port | None = None
    named: str = ""

    @cached_property
    def nics(self) -> tuple[Nic, ...]:
        """The ENIs of the instance: as EC2 has them, else as the metadata service does."""
        return self.account.nics or self.seen.nics

    @cached_property
    def eni(self) -> Nic | None:
        """The provider NIC's ENI: the gateway port's address, else its MAC, else the NIC's."""
        main = self.seen.host.get(self.seen.main_nic)
        others = [
            each for each in self.nics
            if main is None or each.mac not in (main.permanent, main.mac) or self.named == main.name
        ] or list(self.nics)  # fmt: skip
        named = self.seen.host.get(self.named)
        gates = [port for router in self.seen.routers for port in router.gateways]
        if self.gate:
            gates = [self.gate]

        def rank(nic: Nic) -> int:
            told = named is not None and is_of(named, nic.mac)
            return (
                8 * told
                + 4 * any(address in nic.addresses for g in gates for address, _ in g.addresses)
                + 2 * any(gate.mac == nic.mac for gate in gates)
                + any(is_of(each, nic.mac) for each in self.seen.host.values())
            )

        return max(others, key=rank, default=None)

    @cached_property
    def nic(self) -> Port | None:
        """The provider NIC, also when its MAC has moved; None where it cannot be found."""
        if self.named:
            return self.seen.host.get(self.named)
        real = [port for port in self.seen.host.values() if self.seen.real(port)]
        eni = self.eni
        if eni:
            for found in (
                [port for port in real if eni.mac in port.alias.split()],
                [port for port in real if port.permanent == eni.mac],
                [port for port in real if port.mac == eni.mac],
            ):
                if found:
                    return found[0]
        main = [port.mac for port in real if port.name == self.seen.main_nic]
        others = [port for port in real if port.mac not in main] or real
        plugged = [port for port in others if self.bridge_of(port)]
        known = {nic.mac for nic in self.nics if nic is not eni}
        free = [port for port in others if port.mac not in known]
        return next(iter(plugged or free), None)

    @property
    def registered(self) -> str:
        """The MAC that AWS has registered; where nobody tells, the one that the driver keeps."""
        if self.eni:
            return self.eni.mac
        return self.nic.permanent if self.nic else ""

    def bridge_of(self, port: Port) -> str:
        """Name the bridge that an interface of the host is a port of, "" for none."""
        found = self.seen.switch.of(port.name) if self.seen.switch else ""
        return found or ("" if port.master == "ovs-system" else port.master)

    def cable(self, port: Port) -> Port | None:
        """Give the host's end of a port that is one end of a veth pair."""
        if port.kind != "veth" or not port.other:
            return None
        return next(
            (each for each in self.seen.host.values()
             if each.index == port.other and each.other == port.index), None,
        )  # fmt: skip

    @cached_property
    def integration(self) -> str:
        """The bridge that the gateway port is plugged into; "" for none."""
        if self.gate is None:
            return ""
        switch, cable = self.seen.switch, self.cable(self.gate)
        found = switch.of(self.gate.name) if switch else ""
        return found or (self.bridge_of(cable) if cable else "")

    @property
    def on_switch(self) -> bool:
        """True where the gateway port is Open vSwitch's."""
        return bool(self.seen.switch and self.gate and self.cable(self.gate) is None)

    @cached_property
    def outer(self) -> str:
        """The bridge that the provider NIC belongs into."""
        switch, inner = self.seen.switch, self.integration
        if not self.on_switch or not switch:
            return inner or (self.bridge_of(self.nic) if self.nic else "")
        holds = self.bridge_of(self.nic) if self.nic else ""
        plain = [
            name for name, ports in switch.bridges.items()
            if not any(switch.types.get(port) in TUNNELS or port == OF_TUNNELS for port in ports)
        ]  # fmt: skip
        ends = [
            switch.of(switch.peers[port])
            for port in switch.bridges.get(inner, ()) if switch.types.get(port) == "patch"
        ]  # fmt: skip
        found = [name for name in ends if name in plain and name != inner]
        if holds and (holds in found or not found):
            return holds
        return next(iter(found or [name for name in plain if name != inner]), inner)

    @cached_property
    def firewall(self) -> Firewall:
        """The router's iptables."""
        return read(self.seen.said(f"{self.space}|iptables").out)

    @property
    def space(self) -> str:
        """The router's namespace."""
        return self.router.space if self.router else "-"

    @property
    def enter(self) -> str:
        """Begin a command in the router."""
        return f"sudo ip netns exec {self.space}"

    def tried(self, kind: str) -> Iterator[tuple[tuple[str, ...], Said]]:
        """Give the trials of a kind in this router: what was tried, and the answer."""
        for parts in self.seen.keys(f"{self.space}|{kind}"):
            if parts[1] == kind:
                yield parts[2:], self.seen.said("|".join(parts))

    @cached_property
    def pings(self) -> bool:
        """True where the internet answers the router."""
        return any(received(said) for _, said in self.tried("out"))

    @cached_property
    def to_be(self) -> str:
        """The registered address that the gateway port should have, "" for none that is known."""
        if not self.eni or not self.gate:
            return ""
        used = [  # a floating IP's rule is for its VM alone
            rule.value("--to-source") for rule in self.firewall.every("SNAT")
            if not rule.value("-s")
        ]  # fmt: skip
        free = [each for each in self.eni.addresses if each in used] or (
            [] if self.gate.own in used else list(self.eni.addresses)
        )
        return free[0] if free else ""

    @property
    def floats_only(self) -> bool:
        """True where the gateway port has floating IPs, and not the router's own address."""
        found = self.gate.addresses if self.gate else ()
        single = bool(found) and all(length == 32 for _, length in found)
        return single and self.to_be not in ("", *(address for address, _ in found))

    @cached_property
    def guests(self) -> tuple[Guest, ...]:
        """The VMs that were tried, or that the router has translated to."""
        visible = {
            address: port
            for space, ports in self.seen.ports.items() if space != self.space
            for port in ports.values() for address, _ in port.addresses
        }  # fmt: skip
        found = []
        for (address,), _ in self.tried("guest"):
            port = visible.get(address)
            cable = self.cable(port) if port else None
            found.append(Guest(address, port, cable.name if cable else self.learned(address)))
        return tuple(found)

    def learned(self, address: str) -> str:
        """Name the bridge port that a VM's MAC was last seen on; libvirt's taps by their MAC."""
        neighbours = self.seen.said(f"{self.space}|neighbours").data
        mac = next((each.get("lladdr", "") for each in neighbours if each["dst"] == address), "")
        if not mac:
            return ""
        twin = f"fe{mac[2:]}"
        return next((port.name for port in self.seen.host.values() if port.mac == twin), "")

    @cached_property
    def restore(self) -> str:
        """Give the command that sets the gateway port's default route, "" where it is unknown."""
        if not self.gate or not self.eni or not self.eni.router:
            return ""
        return f"{self.gate.enter} route replace default via {self.eni.router} dev {self.gate.name}"


def replug(port: Port, after: str = "") -> str:
    """Write the command that puts a switch's port, made anew, in its old one's place."""
    old, new = f"{port.enter} link", f"sudo ip link set {port.name} netns {port.space}"
    words = [f"{old} del {port.name}", new]
    words.append(f"{old} set {port.name} address {port.mac} mtu {port.mtu}")
    words += [f"{port.enter} addr add {a}/{n} dev {port.name}" for a, n in port.addresses]
    return " && ".join([*words, f"{old} set {port.name} up", *([after] if after else [])])


def is_of(port: Port, mac: str) -> bool:
    """Say whether an interface is, or was, the one with a registered MAC."""
    return mac in (port.permanent, port.mac, *port.alias.split())


def received(said: Said) -> bool:
    """Say whether a ping was answered.

    >>> received(Said("ping", 0, "2 packets transmitted, 1 received, 50% packet loss", ""))
    True
    """
    found = re.search(r"(\d+) received", said.out)
    return bool(found and int(found.group(1)))
