"""What leads to a lab: its target, its hosts by SSH, its clouds' own programs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from osawslab.cloud.openstack import dashboard
from osawslab.cloud.openstack.dashboard import Dashboard
from osawslab.errors import BadSetting
from osawslab.host.ssh import SshHost
from osawslab.replay import place
from osawslab.report import Shell
from osawslab.settings import Settings, load, told
from osawslab.steps import publish_vm, work
from osawslab.steps import run as steps
from osawslab.steps.site import Progress, Site, fitted


class Quiet:
    """Show no progress."""

    def start(self, step: str, total: int) -> None:
        """Show nothing."""

    def action(self, text: str, *, where: str = "", command: str = "") -> None:
        """Show nothing."""

    def done(self, text: str) -> None:
        """Show nothing."""


class Reach:
    """A lab by its settings: its folder, its clients, its hosts, until it is closed."""

    def __init__(self, name: str | None = None, **settings: Any) -> None:
        self.settings: Settings = load({"name": name, **settings})
        self._chosen = "instance_type" in told({"name": name, **settings})
        self._instead = ""
        self.progress: Progress = Quiet()
        self._hosts: dict[tuple[str, str, int], SshHost] = {}
        self._dashboard: Dashboard | None = None

    def __repr__(self) -> str:
        settings = self.settings
        return f"Lab({settings.name!r}, target={settings.target!r}, cloud={settings.cloud!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def folder(self) -> Path:
        """The folder of the lab's own keys, on this machine."""
        return self._site().target.keys

    def _site(self) -> Site:
        where = place(self.settings)
        if where.charges and not self._chosen:  # once: the price and all steps go by what it is
            self._chosen = True
            self.settings, self._instead = fitted(where, self.settings)
        return Site(self.settings, where, self.progress, self._hosts, self._instead)

    def client(self, service: str = "ec2") -> Any:
        """Give the boto3 client that the steps use: "ec2", "ssm" or "sts"."""
        with steps.own_errors(f"client {service}"):
            return self._site().target.client(service)

    def connection(self, to: str = "instance") -> Any:
        """Give the open fabric Connection to the instance, or to the VM by its Elastic IP.

        Raises StepNotReady, CannotReach.
        """
        return self.host(to).connection()

    def shell(self, command: str, on: str = "instance") -> Shell:
        """Run a command by SSH as root, on the instance or on the VM, and show what it prints.

        Raises StepNotReady, StepFailed, CannotReach.
        """
        host = self.host(on)
        output = host.run(command) if on == "instance" else host.plain(command)
        return Shell(command, output.rstrip())

    def host(self, name: str = "instance") -> SshHost:
        """Give the instance or the VM as a host that SSH reaches. Raises StepNotReady."""
        if name not in ("instance", "vm"):
            raise BadSetting(f"there is no host {name!r}", seen=name, next="one of: instance, vm")
        site = self._site()
        with steps.own_errors("ssh"):
            if name == "instance":
                return site.instance.host
            return publish_vm.vm(site, publish_vm.published(site, work.read(site)))

    def dashboard(self, port: int | None = None) -> Dashboard:
        """Lead a port of this machine to OpenStack's dashboard, for a browser here.

        The same until it is closed, however often it is called. `port` 0 is any, None a usual one.
        Raises StepNotReady where `dashboard = "yes"` has not been installed, LabBusy where the
        port is taken, CannotReach.
        """
        host, last = self.host(), self._dashboard
        if last and last.leads(host, port):
            return last
        if last:
            last.close()
        self._dashboard = dashboard.lead(host, self.settings.name, port)
        return self._dashboard

    @contextlib.contextmanager
    def openstack(self) -> Iterator[dict[str, str]]:
        """Give the environment that leads OpenStack's own programs to the lab, for a `with` block.

        Raises StepNotReady where no OpenStack runs, CannotReach.
        """
        from osawslab.steps import openstack_install

        with contextlib.ExitStack() as held:
            with steps.own_errors("openstack"):
                found = held.enter_context(openstack_install.variables(self._site()))
            yield found

    def close(self) -> None:
        """Close the SSH connections and the dashboard's port; the lab itself goes on."""
        if self._dashboard:
            self._dashboard.close()
        for host in self._hosts.values():
            host.close()
        self._hosts.clear()
