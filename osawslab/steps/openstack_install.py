"""Chapter 2 with `cloud = "openstack"`: Debian's packages of OpenStack, on this one host."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from osawslab.cloud.openstack import accounts, api, client, horizon, parts, services, words
from osawslab.cloud.openstack import facts as installed
from osawslab.cloud.openstack.facts import Installed
from osawslab.cloud.openstack.parts import ACCOUNTS, FOLDER, SECRETS, Part
from osawslab.errors import LabTimeout, MissingTool, StepFailed, StepNotReady
from osawslab.host.ssh import SshHost
from osawslab.report import Action, Check, Table
from osawslab.steps.site import Shown, Site

NAME = "install_cloud"
MEMORY = 9 * 10**9 // 2  # bytes; the most that all services and a VM have used in `./lab bench`
DISK = 5 * 10**9  # bytes; the packages are 2 GB, and as much again while they are unpacked
AGENTS_SECONDS = 180.0
PAUSE_SECONDS = 0.5
BINARIES = services.AGENTS


@dataclass(frozen=True)
class Seen:
    """The host, what is installed on it, and what Neutron and Nova say of their agents."""

    host: SshHost
    instance: str  # its id
    installed: Installed
    agents: tuple[tuple[str, bool], ...]  # Neutron's agents, and whether each is alive
    hypervisors: tuple[tuple[str, str, str], ...]  # name, type, state
    said: str = ""  # why the API said nothing


def secrets(host: SshHost) -> dict[str, str]:
    """Read the secrets of the instance; they are never shown."""
    lines = host.run(f"cat {SECRETS}").splitlines()
    return dict(line.split("=", 1) for line in lines)


def cloud(site: Site, host: SshHost) -> Any:
    """Connect to OpenStack's APIs as admin."""
    return api.connect(host, site.settings.management_address, secrets(host)["ADMIN_PASSWORD"])


@contextlib.contextmanager
def variables(site: Site) -> Iterator[dict[str, str]]:
    """Give the environment of OpenStack's own programs, for a block. Raises StepNotReady."""
    host = site.instance.host
    if not runs(installed.read(host, site.settings)):
        raise StepNotReady(
            "no OpenStack runs on the instance",
            seen="Keystone does not run",
            next='cloud = "openstack", then lab.install_cloud()',
        )
    password = secrets(host)["ADMIN_PASSWORD"]
    with client.variables(host, site.settings.management_address, password) as found:
        yield found


def runs(found: Installed) -> bool:
    """Say whether there is a Keystone to be asked."""
    return "identity" in found.stamps and "keystone" not in found.down


def read(site: Site) -> Seen:
    """Read the instance and, where OpenStack runs, what it says. Raises StepNotReady."""
    instance = site.instance
    assert instance.ec2.instance is not None
    name, host = str(instance.ec2.instance["InstanceId"]), instance.host
    found = installed.read(host, site.settings)
    if not runs(found):
        return Seen(host, name, found, (), (), "Keystone does not run")
    try:
        with api.own_errors():
            agents, hypervisors = ask(cloud(site, host), found.since)
    except (StepNotReady, OSError) as error:
        return Seen(host, name, found, (), (), str(error))
    return Seen(host, name, found, agents, hypervisors)


def ask(
    told: Any, since: Mapping[str, int]
) -> tuple[tuple[tuple[str, bool], ...], tuple[tuple[str, str, str], ...]]:
    """Ask Neutron for its agents and Nova for its hypervisors.

    Both call alive who has reported within the last minute; after a reboot that may have been
    before it, and who does not listen yet loses what he is told. So who counts is who has reported
    since it was started (`since`, seconds since 1970).
    """
    agents = sorted(
        (
            str(each.binary),
            bool(each.is_alive) and moment(each.last_heartbeat_at) > since.get(each.binary, 0),
        )
        for each in told.network.agents()
    )
    compute = "nova-compute"
    listens = any(
        each.state == "up" and moment(each.updated_at) > since.get(compute, 0)
        for each in told.compute.services(binary=compute)
    )
    hypervisors = [
        (str(each.name), str(each.hypervisor_type or ""), str(each.state) if listens else "down")
        for each in told.compute.hypervisors(details=True)
    ]
    return tuple(agents), tuple(hypervisors)


def moment(at: str | None) -> float:
    """Give the seconds since 1970 of a time that OpenStack's APIs say, in UTC; 0 for none."""
    return datetime.fromisoformat(at).replace(tzinfo=UTC).timestamp() if at else 0.0


def require(found: Installed, instance: str) -> None:
    """Refuse a host that cannot carry OpenStack, or carries somebody else's."""
    if found.system != "debian" or found.release != "13" or not found.systemd:
        raise MissingTool(
            "OpenStack is installed on Debian 13 with systemd",
            seen=f"{found.system or 'unknown system'} {found.release},"
            f" {'with' if found.systemd else 'without'} systemd",
            next="debian = 13, then lab.tear_down() and lab.provision()",
        )
    if found.foreign and not found.owner:
        raise StepNotReady(
            "somebody else has configured OpenStack on this host; nothing was touched",
            seen=", ".join(found.foreign),
            next="lab.tear_down(), then lab.provision(): a new instance",
        )
    # Of what others on the machine leave: a local instance has no memory of its own. OpenStack
    # itself is one of them once it runs.
    idle = all(found.units.get(name) != "active" for name in services.OWN)
    if found.memory < MEMORY or (idle and found.available < MEMORY):
        raise MissingTool(
            f"OpenStack needs {MEMORY / 1e9:.1f} GB of memory",
            seen=f"{found.available / 1e9:.1f} GB of {found.memory / 1e9:.1f} GB are free",
            next='instance_type = "t2.large", then lab.tear_down() and lab.provision()',
        )
    if not set(services.PACKAGES).isdisjoint(found.missing) and found.disk < DISK:
        raise MissingTool(
            f"OpenStack needs {DISK / 1e9:.0f} GB of free disk",
            seen=f"{found.disk / 1e9:.1f} GB free on /",
            next="make room on the instance, then lab.install_cloud()",
        )


def plan(site: Site, seen: Seen) -> tuple[Action, ...]:
    """List the parts that are not done, and the wait until everybody is alive."""
    require(seen.installed, seen.instance)
    lacking = seen.installed.lacking(site.settings, seen.instance)
    todo = [_action(site, seen.host, part) for part in lacking]
    if lacking or not _alive(seen):
        todo.append(
            Action(
                "openstack",
                "every agent is alive, and Nova knows its hypervisor",
                "openstack network agent list; nova-manage cell_v2 discover_hosts;"
                " openstack hypervisor list",
                lambda: _wait(site, seen.host),
            )
        )
    return tuple(todo)


def _action(site: Site, host: SshHost, part: Part) -> Action:
    if part.name == ACCOUNTS:
        address = site.settings.management_address

        def make() -> None:
            known = secrets(host)
            with api.own_errors():
                told = api.connect(host, address, known["ADMIN_PASSWORD"])
                accounts.make(told, address, known["SERVICE_PASSWORD"])
            host.run(part.leave_stamp)

        return Action("openstack", part.why, part.script, make)
    # One at a time: also behind the script of a run whose connection was cut off.
    run = f"mkdir -p -m 700 {FOLDER} && flock {FOLDER} bash -euo pipefail"

    def do() -> None:
        try:
            host.run(run, part.command)
        except StepFailed as error:
            raise StepFailed(
                f"OpenStack's part {part.name} could not be done",
                seen=error.seen,
                next="lab.install_cloud() goes on from there",
            ) from error

    return Action("instance", part.why, part.command, do)


def _alive(seen: Seen) -> bool:
    return not _missing(seen.agents) and _up(seen.hypervisors)


def _up(hypervisors: tuple[tuple[str, str, str], ...]) -> bool:
    return any(state == "up" for _, _, state in hypervisors)


def _missing(agents: tuple[tuple[str, bool], ...]) -> list[str]:
    return [name for name in BINARIES if (name, True) not in agents]


def _wait(site: Site, host: SshHost) -> None:
    deadline = time.monotonic() + AGENTS_SECONDS
    host.run(words.COUNT_ANEW)
    told, since = cloud(site, host), installed.read(host, site.settings).since
    while True:
        agents: tuple[tuple[str, bool], ...] = ()
        try:
            with api.own_errors():
                agents, hypervisors = ask(told, since)
                if not hypervisors and any(
                    each.state == "up" for each in told.compute.services(binary="nova-compute")
                ):
                    host.run("runuser -u nova -- nova-manage cell_v2 discover_hosts")
            up = _up(hypervisors)
            down = (*_missing(agents), *(() if up else ("no hypervisor is up",)))
            if not down:
                now = installed.read(host, site.settings)  # one may have ended, or begun anew
                if not now.down and now.since == since:
                    return
                down, since = now.down or ("an agent that was restarted",), now.since
            said = ", ".join(down)
        except (StepNotReady, OSError) as error:
            said = str(error)
        over = time.monotonic() > deadline
        lost = host.run(words.given_up(parts.READY, _missing(agents) if over else ())).strip()
        if lost and not over:
            raise StepFailed(
                "a service of OpenStack does not come up",
                seen=lost,
                next="mend that on the instance, then lab.install_cloud()",
            )
        if over:
            raise LabTimeout(
                f"OpenStack's agents are not all alive after {AGENTS_SECONDS:.0f} s",
                seen=f"{said}\n{lost}".strip(),
                next='lab.check("install_cloud")',
            )
        time.sleep(PAUSE_SECONDS)


def checks(site: Site, seen: Seen) -> tuple[Check, ...]:
    """Hold packages, services, agents and hypervisor against what the tutorial needs."""
    found, next = seen.installed, "lab.install_cloud()"
    lacking = [part.name for part in found.lacking(site.settings, seen.instance)]
    missing, down = _missing(seen.agents), found.down
    up = [f"{kind} {state}" for _, kind, state in seen.hypervisors]
    return (
        Check(
            "parts of the installation",
            "all done",
            f"missing: {', '.join(lacking)}" if lacking else "all done",
            not lacking,
            next,
        ),
        Check(
            "services",
            f"{len(found.units)} run",
            f"down: {', '.join(down)}" if down else f"{len(found.units)} run",
            not down,
            next,
        ),
        Check(
            "Neutron's agents",
            "all alive",
            (f"not alive: {', '.join(missing)}" if missing else "all alive")
            + (f" ({seen.said})" if seen.said else ""),
            not missing,
            next,
        ),
        Check(
            "Nova's hypervisor",
            "up",
            ", ".join(up) or "none",
            _up(seen.hypervisors),
            next,
        ),
    )


def show(site: Site, seen: Seen) -> Shown:
    """Show the agents, and say how VMs are carried and why."""
    about = seen.installed.about(site.settings)
    carried = (
        "KVM, the processor's own virtualization"
        if about.virtualization == "kvm"
        else "QEMU, which imitates a processor: the instance offers no virtualization of its own"
    )
    switched = (
        "in the kernel"
        if about.datapath == "system"
        else "in user space: the kernel has no openvswitch module"
    )
    rows = tuple((name, "alive" if alive else "not alive") for name, alive in seen.agents)
    return Shown(
        notes=(f"VMs run on {carried}. Open vSwitch forwards {switched}.",),
        tables=(
            Table("Neutron's agents", ("agent", "state"), rows),
            Table("Nova's hypervisors", ("host", "type", "state"), seen.hypervisors),
        ),
    )


def undo(site: Site, seen: Seen) -> tuple[Action, ...]:
    """Stop the services and forget what they were made from; packages and databases stay."""
    if not seen.installed.stamps:
        return ()
    every = " ".join((*services.SERVICES, horizon.SERVICE))
    stop = f"systemctl stop {every}; rm -f {FOLDER}/*.stamp {parts.READY}"
    return (Action("instance", "OpenStack stops", stop, lambda: seen.host.run(stop)),)
