"""The station of what is published, tried from where we are; and who hears us on the host."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait

from osawslab.clinic.case import Case
from osawslab.clinic.evidence import packets
from osawslab.clinic.seen import Said
from osawslab.clinic.source import listening
from osawslab.clinic.station import Station, unseen
from osawslab.clinic.walk import Walk
from osawslab.errors import LabError

PAUSE = 0.5  # between two tries, where the first is refused at once
SECONDS = 4  # that the host listens: a question is sent again after 1 s and 3 s (RFC 6298)


def stations(case: Case, walk: Walk, failed: bool) -> Iterator[Station]:
    """Connect to what is published; where nobody answers, hear on the host how far that comes."""
    if not walk.eni or not walk.gate:
        return
    tries = {
        (public, int(rule.value("--dport"))): own
        for rule in walk.firewall.every("DNAT")
        if rule.value("--dport").isdigit() and rule.value("-p") == "tcp"
        for public, own in walk.eni.leads.items()
        if own == (rule.value("-d").partition("/")[0] or walk.gate.own)
    }
    for (public, port), own in list(tries.items())[:3]:
        what, expected = f"{public}:{port} answers from here", "a connection"
        if failed:
            yield unseen("outside", what, expected, "not tried: a station before it fails")
            continue
        said = connected(case, public, port)
        inside = any(
            each.status == 0 for _, each in walk.tried("server")
        )  # what answers the router, and not us
        if not said.status or not inside or case.ours:
            yield Station("outside", what, expected, said.out or said.err or "connected",
                          not said.status, (said,))  # fmt: skip
            continue
        words, heard = knocked(case, walk, public, own, port)
        known = case.caller and not walk.account.why and not walk.account.refused
        if known or "heard" in words:
            yield Station("outside", what, expected, f"{said.err}; {words}", False, (said, heard))
        else:
            yield unseen("outside", what, expected,
                         f"{said.err}; {words}: AWS's rules, or the way from here, stop it",
                         (said, heard))  # fmt: skip


def connected(case: Case, public: str, port: int) -> Said:
    """Connect from here, and say what came of it."""
    command = f"nc -w 2 {public} {port}"
    try:
        return Said(command, 0, case.connect(public, port), "")
    except OSError as error:
        return Said(command, 1, "", str(error) or type(error).__name__)


def knocked(case: Case, walk: Walk, public: str, own: str, port: int) -> tuple[str, Said]:
    """Connect again and again while the host listens: what of it came to the NIC, in words."""
    name = walk.nic.name if walk.nic else ""
    with ThreadPoolExecutor(1) as pool:
        listens = pool.submit(case.look, listening(), {"seconds": SECONDS})
        while not listens.done():
            with contextlib.suppress(OSError):
                case.connect(public, port)
            wait([listens], PAUSE)
        try:
            rows = [row for row in listens.result() if row[0] == name]
        except LabError as error:
            return f"the host was not heard: {error.what}", Said("", 1, "", error.what)
    mine = [row for row in rows if own in row[5:] and row[4] in (
        f"tcp syn {port}", f"tcp syn-ack {port}")]  # fmt: skip
    words = f"nothing of it came to {name}"
    if any(row[1] == "out" and "syn-ack" in row[4] for row in mine):
        words = f"it was heard on {name}, and its answer left there"
    elif any(row[1] == "in" for row in mine):
        words = f"it was heard on {name}, and no answer left there"
    return words, packets(mine, name, "TCP SYN")
