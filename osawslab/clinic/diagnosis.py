"""Diagnosis: look once, walk the path, name the cause. Changes nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address, ip_network

from osawslab.clinic import account as accounts
from osawslab.clinic import inward, outside, published, router, servers, services, tenant, wire
from osawslab.clinic.account import Account
from osawslab.clinic.case import Books, Case
from osawslab.clinic.journeys import FAR
from osawslab.clinic.seen import Said, Seen
from osawslab.clinic.source import source
from osawslab.clinic.station import Diagnosis, Station, explained, unseen
from osawslab.clinic.walk import Walk
from osawslab.errors import BadSetting, LabError

# A security group sees these of a caller that comes by a VPN or another instance.
INSIDE = tuple(map(ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8",
                                "169.254.0.0/16", "100.64.0.0/10")))  # fmt: skip


def diagnose(case: Case) -> Diagnosis:
    """Look at a host and at AWS's books, and say what is wrong.

    Raises BadSetting where the host has no interface of the name that the caller gave.
    """
    began = time.monotonic()
    try:
        told = case.look(source(), {"outside": FAR})
    except LabError as error:
        return _unreached(case, error, began)
    seen = Seen(told)
    case = replace(case, caller=case.caller or outer(told.get("client", "")))
    if case.named and seen.host and case.named not in seen.host:
        raise BadSetting(
            f"{case.where} has no interface {case.named}", seen=", ".join(seen.host),
            next="--provider-nic with one of these, or without",
        )  # fmt: skip
    about = told["metadata"]
    macs = sorted({port.permanent or port.mac for port in seen.host.values() if seen.real(port)})
    books = case.books(
        case.instance or about.get("instance", ""), case.public, macs, about.get("region", "")
    )
    stations = explained(walked(case, seen, books))
    return Diagnosis(case.where, stations, time.monotonic() - began)


def outer(client: str) -> str:
    """Give the address that an SSH server named, where it is one of the internet; else ""."""
    try:
        address = ip_address(client)
    except ValueError:
        return ""
    return "" if address.version == 6 or any(address in net for net in INSIDE) else str(address)


def walked(case: Case, seen: Seen, books: Account) -> Iterator[Station]:
    """Walk each router's path; where there is none, as far as there is one."""
    walks = [
        Walk(seen, books, each, gate, case.named)
        for each in seen.routers
        for gate in (each.gateways or (None,))
    ]
    last = [walk for walk in walks if walk.gate] or walks[:1] or [Walk(seen, books, None, None,
                                                                      case.named)]  # fmt: skip
    for at, walk in enumerate(last):
        found = [
            *inward.of_walk(walk, case.caller),
            *wire.stations(walk),
            *router.stations(walk),
            *tenant.stations(walk),
            *servers.stations(walk),
        ]
        for each in found:
            if not at or each.key not in ("root", "openvswitch", "instance", "igw"):
                yield each
        yield from published.stations(case, walk, any(each.failed for each in found))
    yield from services.stations(last[0])
    yield from namespaces(last[0])


def namespaces(walk: Walk) -> Iterator[Station]:
    """Look whether there is a router at all, and whether one can be looked into."""
    said = walk.seen.said("netns")
    expected = "a namespace qrouter-… with a gateway port qg-…"
    metadata = walk.seen.told["metadata"].get("error", "")
    if metadata and not walk.account.nics:
        yield unseen("registered", "what AWS has registered", "MACs and addresses of the ENIs",
                     f"could not look: the metadata service says {metadata}")  # fmt: skip
    left = [each for each in walk.seen.told["netns"] if each not in walk.seen.told["spaces"]]
    if left:
        yield unseen("namespace", "other namespaces", expected,
                     f"could not look: {len(left)} too many, {', '.join(left[:3])}, …",
                     (said,))  # fmt: skip
    if walk.router is None:
        yield no_router(walk, expected, said)
        return
    asked = walk.seen.said(f"{walk.space}|links")
    if asked.why_not:
        yield unseen("namespace", f"the router {walk.space}", expected,
                     f"could not look: {asked.why_not}", (asked,))  # fmt: skip
    else:
        yield Station("namespace", f"the router {walk.space}", expected, "there", True, (asked,))


def no_router(walk: Walk, expected: str, said: Said) -> Station:
    """Say that there is no router, or why none is seen."""
    told, what = walk.seen.told, "the router's namespace"
    ovn = any(each.startswith("ovnmeta-") for each in told["netns"])
    if ovn or services.loaded(walk, "ovn-controller"):
        return unseen("namespace", what, expected, "could not look: OVN routes by flows of its"
                      " bridge, without a namespace; what it does is not read here",
                      (walk.seen.said("units"), said))  # fmt: skip
    if not told["root"] and told["netns"]:
        return unseen("namespace", what, expected, "could not look: not root", (said,))
    agent = told["systemd"] and (
        services.loaded(walk, "neutron-l3-agent") or not services.units(walk)
    )
    return Station("namespace", what, expected, f"none of {len(told['netns'])} namespaces", False,
                   (said,), "sudo systemctl restart neutron-l3-agent" if agent else "")  # fmt: skip


def _unreached(case: Case, error: LabError, began: float) -> Diagnosis:
    """Say what AWS's books tell of a host that does not answer."""
    books = case.books(case.instance, case.public, [], "")
    nics = books.nics
    eni = next((nic for nic in nics if case.public in nic.leads), nics[0] if nics else None)
    own = eni.leads.get(case.public, eni.addresses[0]) if eni and eni.addresses else ""
    found = list(outside.stations(books, eni, [22], [own], len(nics), caller=case.caller))
    said = Said(f"ssh {case.where}", 255, "", error.seen or error.what)
    found.append(
        Station("root", "the way in", "it answers on SSH", f"{error.what}: {error.seen}", False,
                (said,), error.next)
    )  # fmt: skip
    found += [
        unseen(key, what, expected, "could not look: the host does not answer")
        for key, what, expected in (
            ("nic", "the provider NIC", "up"), ("namespace", "the router", "there"),
        )
    ]  # fmt: skip
    return Diagnosis(case.where, explained(found), time.monotonic() - began)


def nobody(why: str = accounts.NONE) -> Books:
    """Give the books of somebody who has no credentials."""
    return lambda *_: Account(why)
