"""Chapter 8: the VM on the internet: one DNAT rule, and the provider NIC's Elastic IP."""

from __future__ import annotations

from dataclasses import replace

from osawslab.aws.facts import role
from osawslab.cloud import router
from osawslab.cloud.handbuilt import VM_HOST_KEY, Want
from osawslab.errors import CannotReach, LabTimeout, StepFailed, StepNotReady
from osawslab.host.ssh import SshHost
from osawslab.report import Action, Check
from osawslab.steps import trial, work
from osawslab.steps.site import Shown, Site
from osawslab.steps.work import Ground

NAME = "publish_vm"
LOGIN_SECONDS = 10.0
LASTING = "lasting-address"  # the role of the second Elastic IP
read = work.read
rule = router.published


def plan(site: Site, facts: Ground) -> tuple[Action, ...]:
    """Say whether the rule is missing, or others are in its place."""
    cloud = facts.cloud
    cloud.require_router()
    enter = f"ip netns exec {cloud.names.router_netns} iptables -t nat "
    lines = cloud.router.iptables.splitlines()  # Neutron's own rules are in chains of its own
    have = [line for line in lines if "-j DNAT" in line and line.startswith("-A PREROUTING ")]
    wanted = rule(cloud)
    wants = [
        Want(
            False,
            "a rule for the same port that leads elsewhere",
            enter + line.replace("-A", "-D", 1),
        )
        for line in have
        if line != wanted and f"--dport {site.settings.published_port} " in line
    ]
    wants.append(
        Want(
            wanted in have,
            f"what arrives for port {site.settings.published_port} goes to {site.settings.vm_name}",
            enter + wanted,
        )
    )
    return work.actions(facts.host, wants)


def vm(site: Site, facts: Ground) -> SshHost:
    """Give the VM as a host at the provider NIC's Elastic IP. Raises StepNotReady."""
    key = facts.cloud.host.files.get(VM_HOST_KEY)
    if not key:
        raise StepNotReady("there is no VM yet", seen="no host key", next="lab.networks()")
    return site.host_at(facts.provider_eip, key, "root", site.settings.published_port)


def published(site: Site, facts: Ground) -> Ground:
    """Give the ground with the address that the VM is published at now: `make_it_last`'s, if any.

    On the real OpenStack that is a second Elastic IP, which Neutron's port forwarding has.
    """
    lasts = [each for each in site.instance.ec2.further if role(each) == LASTING]
    leads = [str(each["PublicIp"]) for each in lasts if each.get("PrivateIpAddress")]
    return replace(facts, provider_eip=leads[0]) if leads else facts


def login(
    site: Site, facts: Ground, anew: bool = True, seconds: float = LOGIN_SECONDS
) -> tuple[str, str]:
    """Log in to the VM through the Elastic IP: its host name, or "" and what was seen.

    `seconds` bound how long it may take to be let in.

    `anew`: a connection that stays open from before proves nothing.
    """
    guest = vm(site, facts)
    if anew:
        guest.close()
    if not facts.provider_eip:
        return "", "the provider NIC has no Elastic IP"
    try:
        guest.wait(seconds)
        return guest.plain("hostname").strip(), ""
    except (CannotReach, LabTimeout, StepFailed) as error:
        return "", error.seen or error.what


def checks(site: Site, facts: Ground) -> tuple[Check, ...]:
    """Hold the rule and a real login from the internet against the VM's name.

    Where Neutron's port forwarding publishes the VM, the rule made by hand may be gone.
    """
    settings, next = site.settings, "lab.publish_vm()"
    by_hand = rule(facts.cloud) in facts.cloud.router.iptables.splitlines()
    instead = published(site, facts)
    there = by_hand or instead is not facts
    facts = facts if by_hand else instead
    found = [
        Check(
            "the DNAT rule",
            f"{settings.provider_address}:{settings.published_port} -> {settings.vm_address}:22",
            "there" if by_hand else "Neutron's port forwarding" if there else "missing",
            there,
            next,
        )
    ]
    where = f"{facts.provider_eip or 'no Elastic IP'}:{settings.published_port}"
    hostname, why = login(site, facts) if there else ("", "not tried: no rule")
    found.append(
        Check(
            f"ssh root@{where}",
            f"logs in to {settings.vm_name}",
            f"logs in to {hostname}" if hostname else why,
            hostname == settings.vm_name,
            'lab.verify(), then lab.check("networks")',
        )
    )
    return tuple(found)


def show(site: Site, facts: Ground) -> Shown:
    """Show the way in, and whether it was passed just now."""
    hostname = login(site, facts)[0]
    return Shown(
        pictures=(trial.picture(site, facts, True if hostname else None),),
        data={
            "published": {
                "address": facts.provider_eip,
                "port": site.settings.published_port,
                "hostname": hostname,
            }
        },
    )


def undo(site: Site, facts: Ground) -> tuple[Action, ...]:
    """Take the rule away."""
    enter = f"ip netns exec {facts.cloud.names.router_netns} iptables -t nat "
    wanted = rule(facts.cloud)
    there = wanted in facts.cloud.router.iptables.splitlines()
    return work.actions(
        facts.host, [Want(not there, "no rule", enter + wanted.replace("-A", "-D", 1))]
    )
