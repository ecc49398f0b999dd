"""The way from the internet to one router's gateway port: what AWS's stations are asked for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Network

from osawslab.clinic.firewall import Packet
from osawslab.clinic.journeys import POSTROUTING, PREROUTING, guest_of
from osawslab.clinic.outside import stations
from osawslab.clinic.seen import network
from osawslab.clinic.station import Station
from osawslab.clinic.walk import Walk


def of_walk(walk: Walk, caller: str) -> Iterator[Station]:
    """Look at the way to a router's gateway port."""
    rules = [rule for rule in walk.firewall.every("DNAT") if rule.value("-p") == "tcp"]
    ports = sorted(
        {int(rule.value("--dport")) for rule in rules if rule.value("--dport").isdigit()}
    )
    plain: list[str] = []
    if walk.router and not walk.firewall.every("SNAT") and not walk.firewall.every("MASQUERADE"):
        for port in walk.router.inner:
            plain += [str(IPv4Network(f"{a}/{n}", strict=False)) for a, n in port.addresses]
    plain += untranslated(walk)
    own = walk.to_be if walk.floats_only else walk.gate.own if walk.gate else ""
    taken = [
        a for router in walk.seen.routers for port in router.gateways for a, _ in port.addresses
    ]
    led = [rule.value("-d").partition("/")[0] for rule in walk.firewall.every("DNAT")]
    yield from stations(
        walk.account, walk.eni, ports,
        [own, *sorted({each for each in led if each in taken and each != own})], len(walk.nics),
        taken=taken,
        untranslated=plain, pings=walk.pings, caller=caller,
    )  # fmt: skip


def untranslated(walk: Walk) -> list[str]:
    """List the tenant networks whose addresses leave as they are, towards the VPC."""
    guest, name = guest_of(walk)
    if not guest or not walk.gate or not walk.eni or not walk.eni.router:
        return []
    begun = walk.firewall.passes(Packet(guest, walk.eni.router, name), *PREROUTING).packet
    left = walk.firewall.passes(replace(begun, out=walk.gate.name), *POSTROUTING)
    inner = walk.router.inner if walk.router else ()
    if left.dropped or left.packet.src != guest:
        return []
    return [str(network(a, n)) for port in inner if port.has(guest) for a, n in port.addresses]
