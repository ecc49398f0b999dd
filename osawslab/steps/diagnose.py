"""Have the clinic look at our own lab."""

from __future__ import annotations

import socket
from typing import Any

from osawslab.clinic import account
from osawslab.clinic.case import Case
from osawslab.clinic.diagnosis import diagnose
from osawslab.clinic.station import Diagnosis
from osawslab.errors import CannotReach, StepNotReady
from osawslab.steps.site import Site

SECONDS = 2.0


def run(site: Site, nic: str = "") -> Diagnosis:
    """Diagnose the lab. Raises StepNotReady where it has no instance."""
    facts = site.read_ec2()
    if facts.instance is None:
        raise StepNotReady(
            "there is no instance to look at", seen=site.why_none(facts), next="lab.provision()"
        )
    address = facts.eip("management")

    def look(source: str, given: dict[str, Any]) -> Any:
        if not address or not facts.host_key:
            raise CannotReach(
                "the instance has no address that we know a host key for",
                seen=address or "no Elastic IP",
                next="lab.provision()",
            )
        return site.instance_of(facts).host.script(source, **given)

    def connect(public: str, port: int) -> str:
        made = site.target.open_socket(public, port, SECONDS)
        with made or socket.create_connection((public, port), SECONDS) as open:
            open.settimeout(SECONDS)
            return open.recv(60).decode(errors="replace").partition("\r")[0].strip()

    return diagnose(
        Case(
            f"lab {site.settings.name}",
            look,
            lambda instance, public, macs, _: account.read(site.ec2, instance, public, macs),
            connect,
            address,
            str(facts.instance["InstanceId"]),
            nic,
            ours=True,
        )
    )
