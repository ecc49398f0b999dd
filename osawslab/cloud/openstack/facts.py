"""OpenStack on the instance as it is now: what is installed, which parts are done, who runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from osawslab.cloud.openstack import cirros, horizon, look
from osawslab.cloud.openstack.configuration import About
from osawslab.cloud.openstack.parts import FOLDER, SECRETS, Part, parts
from osawslab.cloud.openstack.services import CONFIGURED, PACKAGES, SERVICES
from osawslab.host.ssh import SshHost
from osawslab.settings import Settings


@dataclass(frozen=True)
class Installed:
    """What one round trip told."""

    system: str  # ID of os-release: "debian"
    release: str  # "13"
    systemd: bool
    memory: int  # bytes in all
    available: int  # bytes of it that programs can still have
    disk: int  # bytes free
    missing: tuple[str, ...]  # packages
    units: Mapping[str, str]  # each service that was asked for -> "active", "failed", …, ""
    since: Mapping[str, int]  # each of them -> when it started, seconds since 1970; 0 unknown
    stamps: Mapping[str, str]  # part -> what it was made from
    owner: str  # the instance that the secrets were made for
    secrets: str  # their digest, "" where there are none
    foreign: tuple[str, ...]  # configured files of OpenStack
    kvm: bool
    openvswitch_module: bool
    tun: bool

    def about(self, settings: Settings) -> About:
        """Say what the configuration depends on."""
        return About(
            settings.management_address,
            settings.provider_bridge,
            "system" if self.openvswitch_module else "netdev",
            "kvm" if self.kvm else "qemu",
            wants_dashboard(settings),
            settings.cirros == "yes",
        )

    def done(self, part: Part, instance: str) -> bool:
        """Say whether a part is done and made from what it would be made from now."""
        if part.name == "secrets":
            return self.owner == instance
        if set(part.packages) & set(self.missing) or set(part.services) & set(self.down):
            return False
        return self.stamps.get(part.name) == part.stamp(self.secrets)

    @property
    def down(self) -> tuple[str, ...]:
        """The services that do not run."""
        return tuple(name for name, state in self.units.items() if state != "active")

    def lacking(self, settings: Settings, instance: str) -> tuple[Part, ...]:
        """List the parts to do: from the secrets on, whatever follows new secrets too."""
        about = self.about(settings)
        every = parts(about, instance)
        if about.cirros:
            every = (*every, cirros.part(about))
        anew = self.owner != instance
        return tuple(
            part for part in every if (anew and part.secret) or not self.done(part, instance)
        )


def wants_dashboard(settings: Settings) -> bool:
    """Say whether the lab is to have a dashboard."""
    return settings.dashboard == "yes"


def read(host: SshHost, settings: Settings) -> Installed:
    """Read the facts, in one round trip. Raises StepFailed, CannotReach."""
    more = wants_dashboard(settings)
    told = host.script(
        Path(look.__file__).read_text(),
        folder=FOLDER,
        secrets=SECRETS,
        packages=[*PACKAGES, *(horizon.PACKAGES if more else ())],
        units=[*SERVICES, *([horizon.SERVICE] if more else ())],
        configured=list(CONFIGURED),
    )
    lists = {name: tuple(told[name]) for name in ("missing", "foreign")}
    units = {name: state for name, (state, _) in told["units"].items()}
    since = {name: start for name, (_, start) in told["units"].items()}
    return Installed(**{**told, **lists, "units": units, "since": since})
