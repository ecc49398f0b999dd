"""Chapter 9 with `cloud = "openstack"`: Neutron itself knows the MAC and the way to the VM.

Neutron's port forwarding needs an address that no port of its own has: a second private address of
the provider NIC, with an Elastic IP. So the VM is published there, and the address is another one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from osawslab.aws import quotas
from osawslab.aws.facts import LAB, ROLE, every, specification
from osawslab.aws.inquiry import Inquiry, Row
from osawslab.cloud import floating, mac_nat
from osawslab.cloud.floating import Floating
from osawslab.cloud.handbuilt import FOLDER, Want
from osawslab.cloud.lasting import gateway_mac
from osawslab.cloud.openstack import api, lasting
from osawslab.errors import StepNotReady
from osawslab.report import Action, Check
from osawslab.steps import openstack_networks, publish_vm, swap_mac, work
from osawslab.steps.openstack_networks import actions
from osawslab.steps.site import Shown, Site
from osawslab.steps.work import Ground

NAME = "make_it_last"
ADDRESS = publish_vm.LASTING
AGENT_SECONDS = 60.0  # the L3 agent makes the gateway port anew, and then the rule, when it can
# Runs on the instance.
LOOK = """
import json, subprocess
from pathlib import Path

def text(path):
    try:
        return Path(path).read_text()
    except OSError:
        return ""

asked = ["systemctl", "is-enabled", *GIVEN["units"]]
said = subprocess.run(asked, capture_output=True, text=True).stdout.split()
print(json.dumps({"files": {path: text(path) for path in GIVEN["files"]}, "enabled": said}))
"""


@dataclass(frozen=True)
class Seen:
    """The instance, Neutron, EC2's second address, and the units."""

    there: openstack_networks.Seen
    strategy: str
    port: Any  # the gateway port in Neutron; None before there is one
    forwarding: tuple[Any, Any]  # floating IP and rule
    nic: dict[str, Any]  # EC2's provider NIC
    eip: dict[str, Any]  # EC2's Elastic IP of the second address; empty for none
    room: tuple[Row, ...]  # for what is missing: the second address, its Elastic IP
    stranger: str  # whose the second address is, where it is not ours; else ""
    files: dict[str, str]
    wanted: dict[str, str]
    enabled: tuple[str, ...]

    @property
    def ground(self) -> Ground:
        """The instance and the cloud on it."""
        return self.there.ground

    @property
    def mac(self) -> str:
        """The MAC that Neutron is to know of the gateway port."""
        return gateway_mac(self.ground.cloud, self.strategy)

    @property
    def units(self) -> bool:
        """True when all units are there and enabled."""
        there = {path: text for path, text in self.files.items() if text}
        count = len(lasting.units(self.wanted))
        return there == self.wanted and self.enabled == ("enabled",) * count


def _eip(site: Site) -> dict[str, Any]:
    mine = {LAB: site.settings.name, ROLE: ADDRESS}
    tags = [{"Name": f"tag:{key}", "Values": [value]} for key, value in mine.items()]
    found = every(site.ec2, "describe_addresses", "Addresses", tags)
    return dict(found[0]) if found else {}


def _stranger(site: Site, nic: dict[str, Any], eip: dict[str, Any]) -> str:
    address = lasting.second_address(site.settings)
    if not _has(nic, address) or eip.get("PrivateIpAddress") == address:
        return ""
    at = {"network-interface-id": nic["NetworkInterfaceId"], "private-ip-address": address}
    filters = [{"Name": name, "Values": [value]} for name, value in at.items()]
    leads = every(site.ec2, "describe_addresses", "Addresses", filters)
    if leads:
        return f"{leads[0]['PublicIp']} leads there"
    return "" if eip else "no Elastic IP of this lab's"


def _room(inquiry: Inquiry, nic: dict[str, Any], eip: dict[str, Any]) -> tuple[Row, ...]:
    """Hold what is missing of the second address against both quotas."""
    have = [str(each["PrivateIpAddress"]) for each in nic["PrivateIpAddresses"]]
    second = lasting.second_address(inquiry.settings)
    return (
        *(() if eip else (quotas.addresses(inquiry, 1),)),
        *(() if second in have else (quotas.of_nic(inquiry, have),)),
    )


def read(site: Site) -> Seen:
    """Read instance, Neutron and EC2. Raises StepNotReady."""
    there = openstack_networks.read(site)
    cloud, settings = there.ground.cloud, site.settings
    strategy = swap_mac.read(site).strategy
    port, forwarding, stranger = None, (None, None), ""
    if there.project is not None:
        with api.own_errors():
            port = lasting.port_of_gateway(there.openstack, there.project)
            forwarding = lasting.floating(there.openstack, settings)
            stranger = lasting.stranger(there.openstack, settings)
    ec2, eip = site.instance.ec2, _eip(site)
    nic = dict(ec2.nics["provider"])
    room = _room(Inquiry(site.target, settings, ec2), nic, eip)
    flows = lasting.flows(cloud, mac_nat.pairs(cloud)) if strategy == "mac-nat" else ""
    wanted = lasting.files(
        cloud.names, settings.provider_bridge, cloud.registered_mac, strategy, flows
    )
    units = list(lasting.units(wanted))
    told = there.ground.host.script(LOOK, files=list(lasting.PATHS), units=units)
    return Seen(
        there, strategy, port, forwarding, nic, eip, room, stranger or _stranger(site, nic, eip),
        dict(told["files"]), wanted, tuple(told["enabled"]),
    )  # fmt: skip


def _require(facts: Seen) -> None:
    found, cloud = facts.there.project, facts.ground.cloud
    if found is None or facts.port is None or found.port is None:
        raise StepNotReady(
            "Neutron has no router or no VM's port yet", seen="none", next="lab.networks()"
        )
    lasting.require_plain(found.router)
    if not cloud.swapped:
        raise StepNotReady(
            "the gateway port has not the registered MAC",
            seen=cloud.gateway.mac if cloud.gateway else "no gateway port",
            next="lab.swap_mac()",
        )
    if facts.stranger:
        raise StepNotReady(
            f"{lasting.second_address(facts.ground.cloud.settings)}, the provider NIC's second"
            " address, is used for something else",
            seen=facts.stranger,
            next="give it back: openstack floating ip delete, aws ec2 disassociate-address,"
            " aws ec2 unassign-private-ip-addresses",
        )
    for row in facts.room:
        if not row.ok:
            raise StepNotReady(
                f"there is no room for the second address: {row.what}", seen=row.seen, next=row.next
            )


def _has(nic: dict[str, Any], address: str) -> bool:
    return any(each["PrivateIpAddress"] == address for each in nic["PrivateIpAddresses"])


def _second(site: Site, facts: Seen) -> list[Action]:
    """List what is missing of the second address in EC2.

    The Elastic IP, which has our tag, comes first and goes last: an address has no tag of its own.
    """
    address, nic = lasting.second_address(site.settings), facts.nic["NetworkInterfaceId"]
    ec2, todo, made = site.ec2, [], dict(facts.eip)

    def allocate() -> None:
        tags = [specification("elastic-ip", site.settings.name, ADDRESS, "make_it_last")]
        made.update(ec2.allocate_address(Domain="vpc", TagSpecifications=tags))

    if not facts.eip:
        words = "aws ec2 allocate-address --domain vpc"
        todo.append(Action("aws", "an Elastic IP for it", words, allocate, bills="Elastic IP"))
    if not _has(facts.nic, address):
        todo.append(
            Action(
                "aws",
                "a second private address of the provider NIC, for Neutron to forward",
                f"aws ec2 assign-private-ip-addresses --network-interface-id {nic}"
                f" --private-ip-addresses {address}",
                lambda: ec2.assign_private_ip_addresses(
                    NetworkInterfaceId=nic, PrivateIpAddresses=[address]
                ),
            )
        )
    if facts.eip.get("PrivateIpAddress") != address:
        todo.append(
            Action(
                "aws",
                "the internet reaches it there",
                f"aws ec2 associate-address --network-interface-id {nic}"
                f" --private-ip-address {address} --allocation-id"
                f" {facts.eip.get('AllocationId', '$allocation')}",
                lambda: ec2.associate_address(
                    AllocationId=made["AllocationId"],
                    NetworkInterfaceId=nic,
                    PrivateIpAddress=address,
                    AllowReassociation=False,
                ),
            )
        )
    return todo


def plan(site: Site, facts: Seen) -> tuple[Action, ...]:
    """Say what is missing in Neutron, in EC2 and on the instance."""
    _require(facts)
    told, found = facts.there.openstack, facts.there.project
    assert found is not None
    deeds = []
    if not lasting.settled(facts.port, facts.mac):
        host = str(facts.port.binding_host_id or found.inner.binding_host_id)
        deeds.append(lasting.give_mac(told, facts.port, facts.mac, host))
    forward = lasting.forward(told, site.settings, found, facts.forwarding)
    wants = [
        Want(
            facts.files[path] == text, why, f"cat > {path} <<'END'\n{text}END\nchmod {mode} {path}"
        )
        for (path, text), (why, mode) in (
            (each, lasting.PATHS[each[0]]) for each in facts.wanted.items()
        )
    ]
    units = lasting.units(facts.wanted)
    enable = f"mkdir -p {FOLDER} && systemctl daemon-reload"
    enable += f" && systemctl -q enable --now {' '.join(units)}"
    if lasting.FLOWS_UNIT in units:
        enable += f" && systemctl restart {lasting.FLOWS_UNIT}"
    count = {2: "both", 3: "all three"}[len(units)]
    wants.append(Want(facts.units, f"{count} units are enabled", enable))
    return (
        *actions(deeds),
        *_second(site, facts),
        *actions(forward),
        *work.actions(facts.ground.host, wants),
    )


def _login(site: Site, facts: Seen, seconds: float) -> tuple[str, str]:
    address = str(facts.eip.get("PublicIp", ""))
    there = replace(facts.ground, provider_eip=address)
    return publish_vm.login(site, there, seconds=seconds)


def _led(site: Site, facts: Seen) -> bool:
    address = lasting.second_address(site.settings)
    return _has(facts.nic, address) and facts.eip.get("PrivateIpAddress") == address


def checks(site: Site, facts: Seen) -> tuple[Check, ...]:
    """Hold Neutron's database, the second address, the units and a real login."""
    cloud, settings, next = facts.ground.cloud, site.settings, "lab.make_it_last()"
    address, mac = lasting.second_address(settings), facts.mac
    whose = "the registered one" if mac == cloud.registered_mac else "its own"
    known = str(facts.port.mac_address) if facts.port else "no port"
    kept = facts.port is not None and lasting.settled(facts.port, mac)
    if known == mac and not kept:
        known += ", of a port that is not the router's at the moment"
    eip = str(facts.eip.get("PublicIp", "")) or "none"
    led, there = _led(site, facts), facts.forwarding[1] is not None
    hostname, why = "", "not tried"
    if led and there:
        hostname, why = _login(site, facts, publish_vm.LOGIN_SECONDS)
    gateway = cloud.gateway
    return (
        Check("the gateway port's MAC in Neutron", f"{mac}, {whose}", known, kept, next),
        Check("the gateway port's MAC", f"{mac}, which nobody has changed back",
              gateway.mac if gateway else "no gateway port",
              cloud.swapped and gateway is not None and gateway.mac == mac,
              "see who changes it; then lab.swap_mac()"),
        Check("the second address of the provider NIC", f"{address}, with an Elastic IP",
              f"{address if _has(facts.nic, address) else 'none'}, {eip}", led, next),
        Check("Neutron's port forwarding",
              f"{address}:{settings.published_port} -> {settings.vm_address}:22",
              "there" if there else "missing", there, next),
        Check("units of systemd", "as written, and enabled",
              "as written, and enabled" if facts.units else "missing, changed or disabled",
              facts.units, next),
        Check(f"ssh root@{eip}:{settings.published_port}", f"logs in to {settings.vm_name}",
              f"logs in to {hostname}" if hostname else why, hostname == settings.vm_name,
              'lab.verify(), then lab.check("networks")'),
    )  # fmt: skip


def show(site: Site, facts: Seen) -> Shown:
    """Say where the VM is published from now on."""
    eip = str(facts.eip.get("PublicIp", ""))
    settings, hostname = site.settings, ""
    if _led(site, facts) and facts.forwarding[1] is not None:
        hostname = _login(site, facts, AGENT_SECONDS)[0]
    return Shown(
        notes=(
            f"The VM is published at {eip}:{settings.published_port} from now on, by Neutron. The"
            f" rule made by hand, at {facts.ground.provider_eip}, goes with the next reboot.",
        ),
        data={
            "published": {
                "address": eip,
                "port": settings.published_port,
                "hostname": hostname,
            }
        },
    )


def undo(site: Site, facts: Seen) -> tuple[Action, ...]:
    """Give Neutron its MAC and EC2 its address back, and remove the units."""
    told, found, todo = facts.there.openstack, facts.there.project, list[Action]()
    own, nic = facts.ground.cloud.names.gateway_mac, facts.nic["NetworkInterfaceId"]
    address, ec2 = lasting.second_address(site.settings), site.ec2
    if found is not None:
        todo += actions(lasting.unforward(told, facts.forwarding))
        if facts.port is not None and not lasting.settled(facts.port, own):
            host = str(facts.port.binding_host_id or found.inner.binding_host_id)
            deed = lasting.give_mac(told, facts.port, own, host)
            todo += actions([replace(deed, why="Neutron has its own MAC again")])
    cloud = facts.ground.cloud
    if facts.strategy == "mac-nat" and cloud.gateway is not None:
        flows = floating.no_flows(cloud, Floating(address, site.settings.vm_address), cloud.gateway)
        todo += work.actions(facts.ground.host, flows)
    if facts.eip:
        name = facts.eip["AllocationId"]
        if led := facts.eip.get("AssociationId"):
            words = f"aws ec2 disassociate-address --association-id {led}"
            todo.append(Action("aws", "the internet reaches it no more", words,
                               lambda: ec2.disassociate_address(AssociationId=led)))  # fmt: skip
        if _has(facts.nic, address):
            words = f"aws ec2 unassign-private-ip-addresses --network-interface-id {nic}"
            todo.append(
                Action("aws", "no second address", f"{words} --private-ip-addresses {address}",
                       lambda: ec2.unassign_private_ip_addresses(
                           NetworkInterfaceId=nic, PrivateIpAddresses=[address])))  # fmt: skip
        words = f"aws ec2 release-address --allocation-id {name}"
        todo.append(Action("aws", "its Elastic IP is given back", words,
                           lambda: ec2.release_address(AllocationId=name)))  # fmt: skip
    if any(facts.files.values()):
        units = lasting.units({path for path, text in facts.files.items() if text})
        gone = f"systemctl -q disable --now {' '.join(units)}; rm -f {' '.join(facts.files)};"
        gone += " systemctl daemon-reload"
        todo.append(work.action(facts.ground.host, "no units", gone))
    return tuple(todo)
