"""A fault: what it is called, what its user sees, and the change that it is.

A change is made of deeds that can be written down: a command on the instance, or a call to EC2.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from osawslab.aws.facts import Facts
from osawslab.cloud.handbuilt import Cloud

Difficulty = Literal["easy", "medium", "hard"]


@dataclass(frozen=True)
class Run:
    """A shell command on the instance, as root. As a question: true where it exits with 0."""

    command: str

    @property
    def data(self) -> dict[str, Any]:
        """Write it down."""
        return {"run": self.command}


@dataclass(frozen=True)
class Call:
    """A call of boto3's EC2 client. As a question: true where the JMESPath `query` finds any."""

    operation: str
    given: Mapping[str, Any]
    query: str = ""

    @property
    def data(self) -> dict[str, Any]:
        """Write it down."""
        return {"call": self.operation, "given": dict(self.given), "query": self.query}


Deed = Run | Call


def deed(data: Mapping[str, Any]) -> Deed:
    """Read a deed that was written down.

    >>> deed(Run("true").data)
    Run(command='true')
    """
    if "run" in data:
        return Run(str(data["run"]))
    return Call(str(data["call"]), data["given"], str(data["query"]))


@dataclass(frozen=True)
class Change:
    """What is done, what undoes it, in order, and the question whether it is still there.

    `litter` removes what is left where somebody else has healed it; it is done by each `mend`.
    """

    do: tuple[Deed, ...]
    undo: tuple[Deed, ...]
    there: Deed
    litter: tuple[Deed, ...] = ()


@dataclass(frozen=True)
class Before:
    """A working lab before something is broken: all that a change is made from."""

    ec2: Facts
    cloud: Cloud
    acl: Mapping[str, Any] = field(default_factory=dict)  # of the provider NIC's subnet

    @property
    def qr(self) -> str:
        """The router's namespace."""
        return self.cloud.names.router_netns

    @property
    def qg(self) -> str:
        """The gateway port."""
        return self.cloud.names.gateway

    @property
    def inner(self) -> str:
        """The router's port in the tenant network."""
        return self.cloud.names.inner

    @property
    def vm(self) -> str:
        """The namespace that the hand-built cloud's VM is."""
        return self.cloud.names.vm_netns

    @property
    def tap(self) -> str:
        """The VM's port on the bridge."""
        return self.cloud.names.tap

    @property
    def nic(self) -> str:
        """The provider NIC."""
        return self.cloud.require_provider_nic().name

    @property
    def mac(self) -> str:
        """The registered MAC."""
        return self.cloud.registered_mac

    @property
    def address(self) -> str:
        """The gateway port's address with its prefix length."""
        settings = self.cloud.settings
        return f"{settings.provider_address}/{settings.provider_cidr.partition('/')[2]}"

    @property
    def tenant(self) -> str:
        """The address of the router's port in the tenant network, with its prefix length."""
        settings = self.cloud.settings
        return f"{settings.tenant_gateway}/{settings.tenant_cidr.partition('/')[2]}"

    @property
    def provider(self) -> str:
        """The bridge that the provider NIC is a port of."""
        called, settings = self.cloud.names, self.cloud.settings
        return called.translator if self.cloud.translates else settings.provider_bridge

    @property
    def default(self) -> str:
        """The command that sets the gateway port's default route."""
        via = self.cloud.settings.provider_gateway
        return f"ip -n {self.qr} route replace default via {via} dev {self.qg}"

    @property
    def enter(self) -> str:
        """Begin a command inside the router."""
        return f"ip netns exec {self.qr}"

    @property
    def rules(self) -> list[str]:
        """The router's firewall, line by line as `iptables-save` prints it."""
        return self.cloud.router.iptables.splitlines()

    @property
    def published(self) -> list[str]:
        """The rules that lead into the VM, as `iptables-save` prints them."""
        to = f"--to-destination {self.cloud.settings.vm_address}"
        return [each for each in self.rules if to in each]


ANY = ("handbuilt", "openstack")


@dataclass(frozen=True)
class Fault:
    """Something that breaks a lab. `station` is where the path is broken, by its key.

    `bridge` is "" where it can be on either kind; `touches` names what two faults cannot share;
    `unless` says why a lab cannot have it, "" where it can.
    """

    name: str
    station: str
    symptom: str  # what a user sees
    difficulty: Difficulty
    change: Callable[[Before], Change] = field(repr=False, compare=False)
    clouds: tuple[str, ...] = ANY
    bridge: str = ""  # openvswitch | linux
    touches: frozenset[str] = frozenset()
    unless: Callable[[Before], str] = field(default=lambda _: "", repr=False, compare=False)

    def why_not(self, before: Before) -> str:
        """Say why a lab cannot have it; "" where it can."""
        cloud = before.cloud
        kind = "openvswitch" if cloud.uses_openvswitch else "linux"
        if cloud.settings.cloud not in self.clouds:
            return f"it is one of the {self.clouds[0]} cloud"
        if self.bridge not in ("", kind):
            return f"it needs bridges of the kind {self.bridge}"
        return self.unless(before)

    @property
    def where(self) -> str:
        """Say in words which labs can have it."""
        clouds = "any cloud" if self.clouds == ANY else f"{self.clouds[0]} cloud"
        return clouds + (f", {self.bridge}" if self.bridge else "")

    def goes_with(self, other: Fault) -> bool:
        """Say whether a lab can have both at once."""
        return self.name != other.name and not self.touches & other.touches
