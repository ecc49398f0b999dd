"""Chapter 6: the MAC swap. What leaves the provider NIC gets the NIC's registered MAC.

AWS lets a frame out only with the registered pair of MAC and IP. The router has the IP already;
now it gets the MAC, in one of three ways (`strategies`): `swap`, `share` or `mac-nat`. Whatever
another way has left is taken back first.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from osawslab.aws.facts import ena
from osawslab.cloud.handbuilt import ALIAS, NOTE, REFUSAL, Cloud, Want
from osawslab.errors import Refused, StepFailed, StepNotReady
from osawslab.report import Action, Check, Table
from osawslab.steps import trial, work
from osawslab.steps.site import Shown, Site
from osawslab.steps.strategies import gateway, mac_nat, share, swap
from osawslab.steps.strategies.choice import Seen

NAME = "swap_mac"
REFUSALS = ("Operation not supported", "Operation not permitted")  # of ena, and of ixgbevf
STRATEGIES: dict[str, Any] = {"mac-nat": mac_nat, "share": share, "swap": swap}


def read(site: Site) -> Seen:
    """Read the instance, and what EC2 says of its ENI. Raises StepNotReady.

    The NIC tells its driver, as its kernel sees it; where it has none, EC2 tells its type's.
    """
    ec2 = site.instance.ec2
    assert ec2.instance is not None
    registered = tuple(
        str(each["PrivateIpAddress"]) for each in ec2.nics["provider"]["PrivateIpAddresses"]
    )
    ground = work.read(site)
    nic, kind = ground.cloud.provider_nic, str(ec2.instance["InstanceType"])
    driver = (nic and nic.driver) or ("ena" if ena(site.ec2, kind) else "vif")
    return Seen(ground, driver, registered)


def plan(site: Site, facts: Seen) -> tuple[Action, ...]:
    """Say what is missing of the sub-steps."""
    cloud = facts.cloud
    called, nic, mac = cloud.names, cloud.require_provider_nic(), cloud.registered_mac
    cloud.require_router()
    facts.require_one()
    noted = (cloud.host.files.get(NOTE) or "").strip()
    if noted != mac or nic.alias != ALIAS + mac:
        raise StepNotReady(
            "the NIC's registered MAC is not noted, and it must be before anything changes",
            seen=noted or "no note",
            next="lab.provider_nic()",
        )
    if cloud.lasts not in ("", facts.strategy):
        raise StepNotReady(
            "another way is made to last, and would be back after the next boot",
            seen=f"{cloud.lasts} lasts, {facts.strategy} is wanted",
            next='lab.reset("make_it_last"), then lab.swap_mac()',
        )
    wants = [
        *_tool(facts),
        *_left(cloud, facts.strategy),
        *STRATEGIES[facts.strategy].wants(facts),
        Want(
            cloud.router.has_default(site.settings.provider_gateway, called.gateway),
            "the default route is still there",
            f"ip -n {called.router_netns} route replace default"
            f" via {site.settings.provider_gateway} dev {called.gateway}",
        ),
    ]
    actions = work.actions(facts.ground.host, wants)
    return tuple(
        _explained(action) if facts.change in action.command else action for action in actions
    )


def _tool(facts: Seen) -> list[Want]:
    host = facts.cloud.host
    return [
        Want(
            bool(host.programs.get("macchanger")) or not host.dpkg or facts.strategy == "mac-nat",
            "the tool the tutorial changes MACs with",
            "DEBIAN_FRONTEND=noninteractive apt-get install -q -y"
            " --no-install-recommends macchanger",
        )
    ]


def _left(cloud: Cloud, wanted: str = "") -> list[Want]:
    """Want nothing of any strategy but the wanted one."""
    return [
        want
        for name, strategy in STRATEGIES.items()
        if name != wanted
        for want in strategy.leave(cloud)
    ]


def _explained(action: Action) -> Action:
    """Have the NIC's change say what to do instead where the driver refuses a MAC."""

    def do() -> None:
        try:
            action.do()
        except StepFailed as error:
            if not any(words in error.seen for words in REFUSALS):
                raise
            raise Refused(
                "the NIC's driver refuses another MAC, as with every Nitro instance type",
                seen=error.seen,
                next='strategy = "share", then lab.swap_mac()',
            ) from None

    return replace(action, do=do)


def checks(site: Site, facts: Seen) -> tuple[Check, ...]:
    """Hold what is against what the strategy makes."""
    return tuple(STRATEGIES[facts.strategy].checks(facts))


def show(site: Site, facts: Seen) -> Shown:
    """Show who has which MAC now; whether the frames pass, nobody has looked yet."""
    cloud = facts.cloud
    nic, port = cloud.provider_nic, cloud.gateway
    rows = tuple(
        (
            name,
            link.name,
            link.mac,
            "registered" if link.mac == cloud.registered_mac else "not registered",
        )
        for name, link in (("provider NIC", nic), ("router gateway", port))
        if link is not None
    )
    notes = [f"strategy {facts.strategy}: {facts.reason}"]
    refusal = cloud.host.files.get(REFUSAL)
    if facts.strategy == "share" and refusal:
        notes.append("What the driver said to another MAC: " + refusal.strip().splitlines()[0])
    if facts.strategy != "mac-nat" and not cloud.host.programs.get("macchanger"):
        notes.append("macchanger is not to be had here: `ip link set address` did its part.")
    return Shown(
        notes=tuple(notes),
        tables=(Table("Who has which MAC", ("who", "interface", "MAC", "for AWS"), rows),),
        pictures=(trial.picture(site, facts.ground, None),),
    )


def undo(site: Site, facts: Seen) -> tuple[Action, ...]:
    """Give everything its first MAC back, the gateway port first."""
    cloud = facts.cloud
    back = gateway.own(cloud) if cloud.gateway is not None else []
    return work.actions(facts.ground.host, [*back, *_left(cloud)])
