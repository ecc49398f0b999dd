"""Floating IPs: further registered addresses of the provider NIC, each with an Elastic IP.

The Elastic IP comes first and goes last, and its tag says all: which address, for whom, in which
router. So what was stopped in the middle is finished by the same call, and found by `tear_down`.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv4Network
from typing import Any

from osawslab.aws import estate, once, quotas
from osawslab.aws.facts import FLOATING, LAB, MADE, Facts, every, role, specification, tag
from osawslab.aws.inquiry import Inquiry
from osawslab.cloud import floating, mac_nat, program
from osawslab.cloud.floating import Floating
from osawslab.cloud.handbuilt import VM_HOST_KEY, Cloud
from osawslab.cloud.openstack.lasting import second_address
from osawslab.errors import (
    BadSetting,
    CannotReach,
    LabTimeout,
    Refused,
    StepFailed,
    StepNotReady,
)
from osawslab.host.facts import Link
from osawslab.report import Action, Check, Report, Table
from osawslab.steps import bill, publish_vm, work
from osawslab.steps.run import apply, own_errors
from osawslab.steps.site import Site
from osawslab.steps.work import Ground

SSH = 22


@dataclass(frozen=True)
class Seen:
    """The instance, what EC2 has, and the floating IPs with their Elastic IPs."""

    ground: Ground
    ec2: Facts
    found: tuple[tuple[Floating, dict[str, Any]], ...]
    neutron: Any = None  # openstack_networks.Seen, where Neutron makes them

    @property
    def nic(self) -> str:
        """The provider NIC's id."""
        return str(self.ec2.nics["provider"]["NetworkInterfaceId"])

    def led(self, one: Floating, eip: dict[str, Any]) -> bool:
        """Say whether the Elastic IP leads to the address."""
        return eip.get("PrivateIpAddress") == one.address and bool(eip.get("AssociationId"))


def read(site: Site) -> Seen:
    """Read instance and EC2, and Neutron where it is. Raises StepNotReady."""
    site.forget()
    ec2 = site.instance.ec2
    mine = floating.found(ec2.further)
    mine.sort(
        key=lambda each: (role(each[1]), not each[1].get("AssociationId"), each[1]["AllocationId"])
    )
    if site.settings.cloud == "openstack":
        from osawslab.steps import openstack_floating  # the SDK is large

        there = openstack_floating.read(site)
        return Seen(there.ground, ec2, tuple(mine), there)
    return Seen(work.read(site), ec2, tuple(mine))


def _fixed(site: Site, vm: str) -> str:
    """Give the fixed address of a VM, by its name or by the address. Raises BadSetting."""
    if vm in ("", site.settings.vm_name):
        return site.settings.vm_address
    try:
        return str(IPv4Address(vm))
    except AddressValueError:
        raise BadSetting(
            "there is no such VM", seen=vm, next=f"{site.settings.vm_name}, or a VM's address"
        ) from None


def _inside(cloud: Cloud, one: Floating) -> None:
    """Refuse an address that is in no network of the router, as Neutron does. Raises BadSetting."""
    nets = floating.networks(cloud, one)
    if not any(IPv4Address(one.fixed) in {*net.network.hosts()} - {net.ip} for net in nets):
        raise BadSetting(
            "the router has no network with this VM's address",
            seen=f"{one.fixed}; {', '.join(str(each.network) for each in nets) or 'no network'}",
            next=f"{cloud.settings.vm_name}, or a VM's address in one of them",
        )


def _free(site: Site, facts: Seen) -> str:
    """Find a private address of the provider subnet that nobody has. Raises StepNotReady."""
    settings, subnet = site.settings, facts.ec2.subnets["provider"]["SubnetId"]
    nics = every(
        site.ec2, "describe_network_interfaces", "NetworkInterfaces",
        [{"Name": "subnet-id", "Values": [subnet]}],
    )  # fmt: skip
    taken = {each["PrivateIpAddress"] for nic in nics for each in nic["PrivateIpAddresses"]}
    taken |= {address for address, _ in mac_nat.addresses(facts.ground.cloud)}
    taken |= {one.address for one, _ in facts.found}
    if facts.neutron is not None:
        taken.add(second_address(settings))  # `make_it_last` wants it
    network = IPv4Network(settings.provider_cidr)
    first = int(IPv4Address(settings.provider_address)) + 1
    for number in (*range(first, int(network[-1])), *range(int(network[4]), first)):
        if (free := str(IPv4Address(number))) not in taken:
            return free
    raise StepNotReady("the provider subnet has no free address", seen=settings.provider_cidr)


def _room(site: Site, facts: Seen) -> None:
    """Hold both quotas against one more. Raises Refused, before anything is made."""
    inquiry = Inquiry(site.target, site.settings, facts.ec2)
    row = quotas.addresses(inquiry, 1)
    if not row.ok:
        raise Refused("no Elastic IP is left for a floating IP", seen=row.seen, next=row.next)
    have = {*facts.ground.registered, *(one.address for one, _ in facts.found)}
    row = quotas.of_nic(inquiry, have)
    if not row.ok:
        raise Refused(row.what, seen=row.seen, next=row.next)


def _associated(site: Site, facts: Seen, one: Floating, eip: dict[str, Any]) -> list[Action]:
    """List what is missing in EC2: the Elastic IP, the address, and one leading to the other."""
    ec2, nic, todo, made = site.ec2, facts.nic, list[Action](), dict(eip)
    name = eip.get("AllocationId", "$EIP")

    def allocate() -> None:
        life = tag(facts.ec2.vpc or {}, MADE)
        what = f"{FLOATING}{one.address}/{one.fixed}/{one.router}"
        tags = [specification("elastic-ip", site.settings.name, what, life)]
        made.update(ec2.allocate_address(Domain="vpc", TagSpecifications=tags))
        if made["ResponseMetadata"].get("RetryAttempts"):  # the first may have been made, unheard
            for each in site.read_ec2().further:
                if role(each) == what and each["AllocationId"] != made["AllocationId"]:
                    _release(site, dict(each)).do()

    def associate() -> None:
        ec2.associate_address(
            AllocationId=made["AllocationId"], NetworkInterfaceId=nic,
            PrivateIpAddress=one.address, AllowReassociation=False,
        )  # fmt: skip

    if not eip:
        words = f"aws ec2 allocate-address --domain vpc # tagged {LAB}={site.settings.name}"
        todo.append(
            Action("aws", "an Elastic IP for the floating IP", words, allocate, bill.FLOATING)
        )
    if one.address not in facts.ground.registered:
        words = f"--network-interface-id {nic} --private-ip-addresses {one.address}"
        todo.append(
            Action("aws", f"{one.address} is registered for the provider NIC",
                   f"aws ec2 assign-private-ip-addresses {words}",
                   lambda: ec2.assign_private_ip_addresses(
                       NetworkInterfaceId=nic, PrivateIpAddresses=[one.address])))  # fmt: skip
    if not facts.led(one, eip):
        words = f"--allocation-id {name} --network-interface-id {nic}"
        todo.append(
            Action("aws", "the internet reaches it there",
                   f"aws ec2 associate-address {words} --private-ip-address {one.address}",
                   associate))  # fmt: skip
    return todo


def _release(site: Site, eip: dict[str, Any]) -> Action:
    key = str(eip["AllocationId"])
    words = f"aws ec2 release-address --allocation-id {key}"

    def release() -> None:
        with estate.unless_gone():
            site.ec2.release_address(AllocationId=key)

    return Action("aws", "its Elastic IP is given back", words, release)


def _inward(
    site: Site, facts: Seen, one: Floating, port: Link, gone: bool = False
) -> tuple[Action, ...]:
    """List what is missing, or too much, on the instance and in Neutron."""
    host, cloud = facts.ground.host, facts.ground.cloud
    if facts.neutron is None:
        make = floating.gone if gone else floating.wants
        ones = {each for each, _ in facts.found} - {one} | (set() if gone else {one})
        lasts = [program.kept(cloud, cloud.lasts, ones)] if cloud.lasts else []
        return work.actions(host, [*make(cloud, one, port), *lasts])
    from osawslab.steps import openstack_floating

    if gone:
        flows = openstack_floating.flows(facts.neutron, floating.no_flows, one, port)
        return (*openstack_floating.gone(site, facts.neutron, one), *flows)
    flows = openstack_floating.flows(facts.neutron, floating.flows, one, port)
    return (*flows, *openstack_floating.made(site, facts.neutron, one))


def add(site: Site, vm: str = "", router: str = "") -> Report:
    """Give a VM a floating IP; where it has one, finish what is missing of it.

    Raises BadSetting, StepNotReady, Refused, PriceNotConfirmed.
    """
    with own_errors("add_floating_ip"):
        facts, fixed = read(site), _fixed(site, vm)
        cloud = facts.ground.cloud
        mine = [(f, eip) for f, eip in facts.found if (f.fixed, f.router) == (fixed, router)]
        one = mine[0][0] if mine else Floating("", fixed, router)
        port = floating.gateway(cloud, one)
        if port is None:
            others = floating.routers(cloud)
            raise StepNotReady(
                f"there is no router {router!r}"
                if router
                else "the router has no gateway port yet",
                seen=", ".join(others) or f"none in {floating.netns(cloud, one)}",
                next="one of these, or none for the lab's own" if others else "lab.networks()",
            )
        _inside(cloud, one)
        if not mine:
            _room(site, facts)
            one = Floating(_free(site, facts), fixed, router)
        eip = next((eip for f, eip in mine if facts.led(f, eip)), mine[0][1] if mine else {})
        one = next((f for f, each in mine if each is eip), one)
        todo = (
            *(_release(site, each) for _, each in mine if each is not eip),  # made twice
            *_associated(site, facts, one, eip),
            *_inward(site, facts, one, port),
        )
        apply(site, "add_floating_ip", todo)
        now = read(site)
        return _report(site, "add_floating_ip", todo, now, _checks(site, now, one))


def _checks(site: Site, facts: Seen, one: Floating) -> tuple[Check, ...]:
    """Hold EC2, the router and, where it can be, a real login against what should be."""
    next, settings = "lab.add_floating_ip()", site.settings
    eip = dict(facts.found).get(one, {})
    public, led = str(eip.get("PublicIp", "none")), facts.led(one, eip)
    inside = floating.there(facts.ground.cloud, one)
    found = [
        Check(f"{one.address} is registered for the provider NIC", "yes",
              "yes" if one.address in facts.ground.registered else "no",
              one.address in facts.ground.registered, next),
        Check("its Elastic IP", f"leads to {one.address}",
              f"{public} leads to {eip.get('PrivateIpAddress', 'none')}", led, next),
        Check("the router translates it", f"{one.address} <-> {one.fixed}",
              f"{one.address} <-> {one.fixed}" if inside else "not all rules are there",
              inside, next),
    ]  # fmt: skip
    if one.fixed == settings.vm_address and not one.router and facts.ground.cloud.swapped:
        key = facts.ground.cloud.host.files.get(VM_HOST_KEY) or ""
        hostname, why = _login(site, public, key) if led and key else ("", "not tried")
        found.append(
            Check(f"ssh root@{public}", f"logs in to {settings.vm_name}",
                  f"logs in to {hostname}" if hostname else why,
                  hostname == settings.vm_name, "lab.verify()"))  # fmt: skip
    return tuple(found)


def _login(site: Site, address: str, key: str) -> tuple[str, str]:
    guest = site.host_at(address, key, "root", SSH)
    guest.close()
    try:
        guest.wait(publish_vm.LOGIN_SECONDS)
        return guest.plain("hostname").strip(), ""
    except (CannotReach, LabTimeout, StepFailed) as error:
        return "", error.seen or error.what


def remove(site: Site, address: str) -> Report:
    """Give a floating IP back, by its private or its public address. Raises StepNotReady."""
    with own_errors("remove_floating_ip"):
        facts, ec2 = read(site), site.ec2
        mine = [(f, e) for f, e in facts.found if address in (f.address, e.get("PublicIp"))]
        if not mine:
            have = ", ".join(f"{f.address} ({e['PublicIp']})" for f, e in facts.found)
            raise StepNotReady(
                f"there is no floating IP {address}", seen=have or "none", next="lab.floating_ips()"
            )
        one, cloud, nic = mine[0][0], facts.ground.cloud, facts.nic
        port, todo = floating.gateway(cloud, one), list[Action]()
        if port is not None:
            todo += _inward(site, facts, one, port, gone=True)
        for _, eip in mine:
            if led := str(eip.get("AssociationId") or ""):
                words = f"aws ec2 disassociate-address --association-id {led}"
                todo.append(
                    Action("aws", "the internet reaches it no more", words,
                           lambda led=led: once.until_known(  # type: ignore[misc]
                               lambda: ec2.disassociate_address(AssociationId=led))))  # fmt: skip
        if one.address in facts.ground.registered:
            words = f"--network-interface-id {nic} --private-ip-addresses {one.address}"
            todo.append(
                Action("aws", f"{one.address} is the provider NIC's no more",
                       f"aws ec2 unassign-private-ip-addresses {words}",
                       lambda: once.until_known(lambda: ec2.unassign_private_ip_addresses(
                           NetworkInterfaceId=nic, PrivateIpAddresses=[one.address]))))  # fmt: skip
        todo += [_release(site, eip) for _, eip in mine]
        apply(site, "remove_floating_ip", tuple(todo))
        now = read(site)
        left = [f.address for f, _ in now.found if f.address == one.address]
        held = one.address in now.ground.registered or bool(left)
        check = Check(
            f"{one.address} in EC2", "given back", "still there" if held else "given back",
            not held, f'lab.remove_floating_ip("{one.address}")',
        )  # fmt: skip
        return _report(site, "remove_floating_ip", tuple(todo), now, (check,))


def table(site: Site) -> Table:
    """List the floating IPs. Raises StepNotReady."""
    with own_errors("floating_ips"):
        return _table(read(site))


def _table(facts: Seen) -> Table:
    cloud = facts.ground.cloud
    rows = tuple(
        (
            str(eip["PublicIp"]),
            one.address,
            one.fixed,
            one.router or cloud.names.router,
            "works"
            if facts.led(one, eip) and floating.there(cloud, one)
            else "not whole: add it again, or remove it",
        )
        for one, eip in facts.found
    )
    columns = ("Elastic IP", "floating IP", "fixed IP", "router", "state")
    return Table("Floating IPs", columns, rows)


def _report(
    site: Site, step: str, done: tuple[Action, ...], now: Seen, checks: tuple[Check, ...]
) -> Report:
    shown = _table(now)
    data = {"floating_ips": [dict(zip(shown.columns, row, strict=True)) for row in shown.rows]}
    return Report(step, site.settings.name, done, checks, tables=(shown,), data=data)
