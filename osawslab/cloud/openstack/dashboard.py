"""The way from a browser on this machine to Horizon on the instance: a port on loopback."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

from osawslab.cloud.openstack import horizon
from osawslab.cloud.openstack.parts import SECRETS
from osawslab.errors import StepNotReady
from osawslab.host.ssh import SshHost
from osawslab.host.tunnel import LOOPBACK, Tunnel

PORTS = range(8780, 8800)


@dataclass(frozen=True)
class Dashboard:
    """Horizon at a port of this machine, until it is closed. The password is never in here."""

    lab: str
    tunnel: Tunnel
    user: str = "admin"

    @property
    def url(self) -> str:
        """The address for a browser on this machine."""
        return f"http://{LOOPBACK}:{self.tunnel.port}{horizon.ROOT}"

    @property
    def password_command(self) -> str:
        """What to type in a terminal to see the password."""
        name = f" --name {self.lab}" if self.lab != "lab" else ""
        return f"./lab ssh{name} -- sudo sed -n s/ADMIN_PASSWORD=//p {SECRETS}"

    def leads(self, host: SshHost, port: int | None) -> bool:
        """Say whether it is open, by this host's connection and at the port that is asked for."""
        wanted = port in (None, 0, self.tunnel.port)
        return self.tunnel.open and self.tunnel.host is host and wanted

    def close(self) -> None:
        """Give the port back; Horizon goes on."""
        self.tunnel.close()

    def __enter__(self) -> Dashboard:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _rows(self) -> tuple[tuple[str, str], ...]:
        return ("open", self.url), ("user", self.user), ("password", self.password_command)

    def __repr__(self) -> str:
        if not self.tunnel.open:
            return "The dashboard's port is closed: lab.dashboard()"
        return "\n".join(f"{what:8}  {text}" for what, text in self._rows())

    def _repr_html_(self) -> str:
        if not self.tunnel.open:
            return f"<p>{escape(repr(self))}</p>"
        link = f'<a href="{self.url}" target="_blank" rel="noopener">{self.url}</a>'
        return (
            f"<p>{link}</p><p>User <code>{self.user}</code>. The password, in a terminal:"
            f" <code>{escape(self.password_command)}</code></p>"
        )


def lead(host: SshHost, lab: str, port: int | None = None) -> Dashboard:
    """Lead a port of this machine to Horizon: the one asked for (0: any), or a free one.

    Raises StepNotReady where Horizon does not run, LabBusy where the port is taken, CannotReach.
    """
    state = host.run(f"systemctl is-active {horizon.SERVICE} 2>/dev/null || true").strip()
    if state != "active":
        raise StepNotReady(
            "there is no dashboard on the instance",
            seen=f"{horizon.SERVICE}: {state or 'not installed'}",
            next='cloud = "openstack" and dashboard = "yes", then lab.install_cloud()',
        )
    ports = PORTS if port is None else (port,)
    return Dashboard(lab, Tunnel(host, horizon.ADDRESS, horizon.PORT, ports))
