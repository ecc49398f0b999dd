"""From wants on the instance to actions: what every step on the instance shares."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from osawslab.cloud import handbuilt
from osawslab.cloud.handbuilt import Cloud, Want
from osawslab.host.ssh import SshHost
from osawslab.report import Action
from osawslab.steps.site import Site


@dataclass(frozen=True)
class Ground:
    """The instance and the cloud on it, as they are now."""

    host: SshHost
    cloud: Cloud
    provider_eip: str
    management_eip: str
    registered: tuple[str, ...] = ()  # the provider ENI's private addresses
    obstacles: tuple[Want, ...] = ()  # what `clearing` has found, where a step looks for it


def read(site: Site) -> Ground:
    """Read the instance. Raises StepNotReady before `provision`."""
    instance = site.instance
    cloud = handbuilt.read(instance.host, site.settings, instance.ec2.registered_mac)
    private = instance.ec2.nics["provider"].get("PrivateIpAddresses", ())
    return Ground(
        instance.host,
        cloud,
        instance.ec2.eip("provider"),
        instance.ec2.eip("management"),
        tuple(str(each["PrivateIpAddress"]) for each in private),
    )


def actions(host: SshHost, wants: Iterable[Want]) -> tuple[Action, ...]:
    """Turn the wants that do not hold into actions, in order."""
    return tuple(action(host, want.why, want.command) for want in wants if not want.holds)


def action(host: SshHost, why: str, command: str) -> Action:
    """Make the action that runs a command as root on the instance."""
    return Action("instance", why, command, lambda: host.run(command))
