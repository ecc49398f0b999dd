"""What destroys the way to the published VM, and whether it comes back while nobody helps.

An event is caused, the lab lets go of everything, and only the internet looks: at the SSH server's
first words (RFC 4253, 4.2) on a new connection to the published address.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from osawslab.errors import LabError, StepFailed
from osawslab.report import Table
from osawslab.steps import openstack_install, openstack_networks

if TYPE_CHECKING:
    from osawslab.lab import Lab

REBOOT = "reboot of the instance"
SWITCH, DATABASE = "restart of ovs-vswitchd", "restart of ovsdb-server"
REFUSED = "refused by Neutron: nothing was lost"
PAUSE_SECONDS = 0.1
ANSWER_SECONDS = 2.0
COLUMNS = (
    "cloud", "strategy", "event", "made_to_last", "answers_again", "seconds", "agents_up",
)  # fmt: skip


@dataclass(frozen=True)
class Kind:
    """A cloud with its events: what causes each, as root on the instance; "" is EC2's reboot.

    `patience` is how long an answer is waited for, in seconds, where it was made to last, `silence`
    where it was not; `before`: that is measured, too.
    """

    settings: Mapping[str, str]
    events: Mapping[str, str]
    patience: float
    silence: float
    settled: float = 0.0  # after so many seconds it must still answer: an agent has come up then
    before: bool = True

    @property
    def strategy(self) -> str:
        """What its lines say of the way that the registered MAC takes."""
        linux = ", Linux bridge" * (self.settings.get("bridge") == "linux")
        return self.settings["strategy"] + linux

    @property
    def cells(self) -> set[tuple[str, str, str, bool]]:
        """Say what is measured: cloud, strategy, event, and whether it was made to last."""
        return {
            (self.settings["cloud"], self.strategy, event, lasting)
            for event in self.events
            for lasting in (False, True)[not self.before :]
        }


# Killed, not asked to end; then what was killed is started, and nothing else.
KILL = (
    "P=$(cat /run/openvswitch/{}.pid); kill -9 $P; timeout 10 tail -s 0.1 --pid=$P -f /dev/null;"
    " service openvswitch-switch start"
)
LINUX = {REBOOT: ""}
HANDBUILT = {
    **LINUX, SWITCH: KILL.format("ovs-vswitchd"), DATABASE: KILL.format("ovsdb-server"),
}  # fmt: skip
# As admin, by OpenStack's own client on the instance.
OPENSTACK = (
    ". /var/lib/osawslab/openstack/secrets; export OS_PASSWORD=$ADMIN_PASSWORD OS_USERNAME=admin"
    " OS_PROJECT_NAME=admin OS_USER_DOMAIN_ID=default OS_PROJECT_DOMAIN_ID=default"
    " OS_IDENTITY_API_VERSION=3 OS_REGION_NAME=RegionOne"
    " OS_AUTH_URL=http://$(ip -4 -o addr show eth0 | grep -o '[0-9.]*/' | tr -d / ):5000/v3; "
)
GATEWAY = "gateway of the router unset and set"
REAL = {
    "restart of neutron-l3-agent": "systemctl restart neutron-l3-agent",
    "restart of neutron-openvswitch-agent": "systemctl restart neutron-openvswitch-agent",
    "restart of neutron-dhcp-agent": "systemctl restart neutron-dhcp-agent",
    "restart of neutron-metadata-agent": "systemctl restart neutron-metadata-agent",
    "router disabled and enabled": OPENSTACK
    + "openstack router set --disable router1; sleep 5; openstack router set --enable router1",
    # Where a floating IP needs the gateway Neutron refuses, and nothing happens.
    GATEWAY: OPENSTACK + "if ! said=$(openstack router unset --external-gateway router1 2>&1);"
    " then case $said in *'required by one or more floating IPs'*)"
    f" echo '{REFUSED}'; exit ;; esac; echo \"$said\" >&2; exit 1; fi; sleep 5;"
    " openstack router set --external-gateway provider"
    " --fixed-ip subnet=provider,ip-address=172.16.20.101 router1",
    SWITCH: "systemctl restart ovs-vswitchd",
    DATABASE: "systemctl restart ovsdb-server",
    REBOOT: "",
}
KINDS = (
    *(
        Kind(
            {"cloud": "handbuilt", "instance_type": size, "bridge": bridge, "strategy": strategy},
            LINUX if bridge == "linux" else HANDBUILT, 60.0, 10.0,
        )
        for size, bridge, strategy in (
            ("t2.large", "openvswitch", "swap"),
            ("t3.large", "openvswitch", "share"),
            ("t3.large", "openvswitch", "mac-nat"),
            ("t2.large", "linux", "swap"),
            ("t3.large", "linux", "share"),
        )
    ),
    *(
        Kind(
            {"cloud": "openstack", "instance_type": size, "strategy": strategy},
            REAL, 240.0, 60.0, 20.0, before=False,
        )
        for size, strategy in (("t2.large", "swap"), ("t3.large", "share"), ("t2.large", "mac-nat"))
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Line:
    """How a published VM has come through an event."""

    cloud: str
    strategy: str
    event: str
    made_to_last: bool
    answers_again: bool
    seconds: float | None  # to the answer, from the event's end; None: none, or it was refused
    agents_up: float | None = None  # until Neutron's agents were; None where none was started anew

    @property
    def data(self) -> dict[str, Any]:
        """The line for programs."""
        return {name: getattr(self, name) for name in COLUMNS}


def published(lab: Lab, lasting: bool = True) -> tuple[str, int]:
    """Give the published address: that of `make_it_last` where it says one, and has been run."""
    for step in ("make_it_last", "publish_vm")[not lasting :]:
        found = lab.run(step).data.get("published")
        if found:
            return str(found["address"]), int(found["port"])
    raise StepFailed("the VM is not published", seen="no address", next="lab.publish_vm()")


def answered(lab: Lab, address: str, port: int, seconds: float) -> float | None:
    """Look from the internet until an SSH server answers; after how long, None for never."""
    straight = lab._site().target.open_socket

    def connect(*where: Any) -> socket.socket:
        return straight(*where) or socket.create_connection(where[:2], where[2])

    started = time.monotonic()
    while (passed := time.monotonic() - started) < seconds:
        with contextlib.suppress(OSError), connect(address, port, ANSWER_SECONDS) as made:
            made.settimeout(ANSWER_SECONDS)
            if made.recv(16).startswith(b"SSH-"):
                return round(passed, 1)
        time.sleep(PAUSE_SECONDS)
    return None


def cause(lab: Lab, command: str) -> bool:
    """Cause an event, and let go of the lab: from here on nothing of it runs.

    True where Neutron has refused it.
    """
    refused = False
    if command:
        refused = REFUSED in lab.shell(command).output
    else:
        instance = lab._site().read_ec2().instance
        assert instance is not None
        lab.client("ec2").reboot_instances(InstanceIds=[instance["InstanceId"]])
    lab.close()
    return refused


def agents_up(lab: Lab) -> float:
    """Give when the last of Neutron's agents has reported its start, in seconds since 1970."""
    told = openstack_networks.read(lab._site()).openstack
    return max(openstack_install.moment(each.started_at) for each in told.network.agents())


def come_through(lab: Lab, kind: Kind, lasting: bool) -> Iterator[Line]:
    """Cause each event, and look; where nothing came back by itself, the steps mend it."""
    address, port = published(lab, lasting)
    for event, command in kind.events.items():
        refused = cause(lab, command)
        began, agents = time.time(), None
        wait = kind.patience if lasting else kind.silence
        seconds = answered(lab, address, port, wait)
        if seconds is not None and kind.settled:
            time.sleep(kind.settled)
            if answered(lab, address, port, 0.1) is None:
                again = answered(lab, address, port, wait)
                seconds = None if again is None else seconds + kind.settled + again
        if seconds is not None and kind.settled:
            agents = round(agents_up(lab) - began, 1)
        yield Line(
            kind.settings["cloud"], kind.strategy, event, lasting, seconds is not None,
            None if refused else seconds, agents if agents and agents > 0 else None,
        )  # fmt: skip
        if seconds is None:
            lab.host().wait(kind.patience)
            try:
                mended(lab, lasting)
            except LabError:  # dead ports: the steps do not see them
                lab.reset("networks")
                mended(lab, lasting)


def mended(lab: Lab, lasting: bool) -> None:
    """Bring a lab up to the published VM, or beyond. Raises StepFailed."""
    for step in lab.steps:
        if step == "make_it_last" and not lasting:
            return
        report = lab.run(step)
        if not report.ok:
            raise StepFailed(f"{step} does not hold", seen=report.text)


def measure(kinds: Sequence[Kind] = KINDS) -> list[Line]:
    """Bring each kind of lab through its events, before `make_it_last` and after."""
    from osawslab.lab import Lab
    from osawslab.region import local

    lines: list[Line] = []
    for kind in kinds:
        if kind.settings["cloud"] == "openstack" and os.geteuid():
            continue  # needs root
        try:
            with Lab("survival", target="local", **kind.settings) as lab:
                for lasting in (False, True)[not kind.before :]:
                    mended(lab, lasting)
                    lines += come_through(lab, kind, lasting)
        finally:
            local.remove("survival")
    return lines


def table(lines: Sequence[Mapping[str, Any]]) -> Table:
    """Show lines as a table: an event, and what of it the VM has come through."""
    rows = []
    for line in lines:
        told = "no"
        if line["answers_again"]:
            told = REFUSED if line["seconds"] is None else f"after {line['seconds']:.0f} s"
            if agents := line.get("agents_up"):
                told += f"; the agents were up after {agents:.0f} s"
        rows.append(
            (
                str(line["cloud"]),
                str(line["strategy"]),
                str(line["event"]),
                "yes" if line["made_to_last"] else "no",
                told,
            )
        )
    columns = ("cloud", "strategy", "event", "made to last", "answers again")
    return Table("What a published VM comes through", columns, tuple(rows))
