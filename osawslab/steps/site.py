"""What a step works with: the settings, the place, the instance, and how it shows progress."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from osawslab.aws import ending, launch, offer, visitors
from osawslab.aws import facts as ec2_facts
from osawslab.errors import StepNotReady
from osawslab.host.ssh import SshHost
from osawslab.report import Action, Check, Picture, Table
from osawslab.settings import Settings
from osawslab.target import Target

USER = "admin"  # of Debian's AMIs: https://wiki.debian.org/Cloud/AmazonEC2Image
WAIT_SECONDS = 300.0  # a Debian AMI answers on SSH within about a minute


class Progress(Protocol):
    """Where a step tells what it is doing."""

    def start(self, step: str, total: int) -> None:
        """Begin a step of so many actions."""

    def action(self, text: str, *, where: str = "", command: str = "") -> None:
        """Begin an action: why it is done, where, and what a person would type."""

    def done(self, text: str) -> None:
        """End the step."""


@dataclass
class Site:
    """One lab's place, as long as one step runs."""

    settings: Settings
    target: Target
    progress: Progress
    hosts: dict[tuple[str, str, int], SshHost]  # kept open between steps
    instead: str = ""  # what was taken in place of a default that the region has not

    @property
    def ec2(self) -> Any:
        """The boto3 client of EC2."""
        return self.target.client("ec2")

    def read_ec2(self) -> ec2_facts.Facts:
        """Read what EC2 has of this lab."""
        return ec2_facts.read(self.ec2, self.settings.name)

    def host_at(self, address: str, host_key: str, user: str = USER, port: int = 22) -> SshHost:
        """Give the host at an address; its connection is kept for the next step."""
        key = (self.target.identity, address + host_key, port)
        if key not in self.hosts:
            why = functools.partial(visitors.explain, self.target, self.settings, port)
            kind = self.target.host or SshHost
            self.hosts[key] = kind(self.target, address, user, host_key, port, why)
        return self.hosts[key]

    @functools.cached_property
    def instance(self) -> Instance:
        """The running instance. Raises StepNotReady when `provision` has not made it."""
        return self.instance_of(self.read_ec2())

    def forget(self) -> None:
        """Read the instance anew when it is asked for next."""
        self.__dict__.pop("instance", None)

    def why_none(self, facts: ec2_facts.Facts) -> str:
        """Say why there is no instance, where that is known; else "no instance"."""
        return ending.told(facts, launch.noted_end(self.target.keys)) or "no instance"

    def instance_of(self, facts: ec2_facts.Facts) -> Instance:
        """Give the instance that these facts tell of."""
        if not facts.running or not facts.eip("management") or not facts.registered_mac:
            state = facts.instance["State"]["Name"] if facts.instance else self.why_none(facts)
            raise StepNotReady(
                "there is no running instance with two NICs and an address",
                seen=state,
                next="lab.provision()",
            )
        if not facts.host_key:
            raise StepNotReady(
                "the instance has not proved its SSH host key",
                seen=f"no tag {ec2_facts.HOST_KEY}",
                next="lab.provision()",
            )
        return Instance(facts, self.host_at(facts.eip("management"), facts.host_key))


def fitted(target: Target, settings: Settings) -> tuple[Settings, str]:
    """Give the settings with a type that the region has, where it has not theirs; and say so."""
    fits = offer.instead(target, settings)
    if not fits:
        return settings, ""
    words = f"{fits}, for {settings.region} has no {settings.instance_type}: strategy share"
    return replace(settings, instance_type=fits), words


@dataclass(frozen=True)
class Instance:
    """The EC2 instance that carries OpenStack: what EC2 says of it, and the host itself."""

    ec2: ec2_facts.Facts
    host: SshHost


@dataclass(frozen=True)
class Shown:
    """What a step shows besides its checks."""

    notes: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    pictures: tuple[Picture, ...] = ()
    data: Mapping[str, Any] = field(default_factory=dict)


class Chapter(Protocol):
    """What each module of this room offers; `F` stands for its own facts."""

    def read(self, site: Site) -> Any:
        """Read the facts the step needs. Raises StepNotReady."""

    def plan(self, site: Site, facts: Any) -> tuple[Action, ...]:
        """Say what is still missing, in order; pure."""

    def checks(self, site: Site, facts: Any) -> tuple[Check, ...]:
        """Hold the facts against what they should be."""

    def show(self, site: Site, facts: Any) -> Shown:
        """Give notes, tables and pictures of the facts."""

    def undo(self, site: Site, facts: Any) -> tuple[Action, ...]:
        """Say what takes the step back, in order."""
