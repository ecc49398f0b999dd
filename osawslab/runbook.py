"""The runbook: what a person notices, what to look at, the cause, and the command that mends it.

Nothing of it is written by hand: each fault is caused in a lab, real packets say what is noticed,
and the diagnosis, which does not know the fault, says the rest.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from osawslab.clinic.places import PLACES
from osawslab.clinic.station import ORDER, Diagnosis
from osawslab.errors import StepFailed
from osawslab.faults.catalogue import FAULTS
from osawslab.lab import Lab
from osawslab.steps import run as steps
from osawslab.steps import symptoms

# What works (the way in, the router's ping, the VM's ping, the login), and what that is called.
NOTICED: dict[tuple[bool, ...], str] = {
    (False, False, False, False): "The instance itself does not answer on SSH",
    (True, False, False, False): "The instance answers; the router does not reach the internet",
    (True, True, False, False): "The router reaches the internet; the VM does not",
    (True, True, True, False): "Router and VM reach the internet; the internet does not reach the"
    " VM",
    (True, False, False, True): "The internet reaches the VM; nothing reaches the internet",
    (True, True, False, True): "The internet reaches the VM; the VM does not reach the internet",
    (True, False, True, True): "All works but for pings of the router itself",
    (True, False, True, False): "The VM reaches the internet; the router does not",
    (True, True, True, True): "All of these work, and yet something is wrong",
}
KINDS = (
    {"bridge": "openvswitch"},
    {"bridge": "linux", "instance_type": "t3.large"},
    {"cloud": "openstack"},
)
IDS = (  # what is another elsewhere, and how the runbook calls it
    (r"\b(qrouter|vm|qdhcp)-[0-9a-f]{8}-[0-9a-f-]{27}\b", r"\1-ID"),
    (r"\b(qg-|qr-|tap|brq)[0-9a-f]{8}-[0-9a-f]{2}\b", r"\1ID"),
    (r"\b(igw|rtb|acl|sg|sgr|eni|eipalloc|eipassoc|vpc|i)-[0-9a-f]{17}\b", r"\1-ID"),
    (r"\bsubnet-[0-9a-f]{17}\b", "subnet-ID"),
    (r"\b(?:[0-9a-f]{2}:){5}[0-9a-f]{2}\b", "MAC"),
    (r"\b203\.0\.113\.\d+\b", "ELASTIC-IP"),
    (r"\b(process|kill(?: -CONT| --)?|ps -o args= -p) (-?)\d+\b", r"\1 \2PID"),
)
BARE = ((r"\b(ip|bridge|tc)((?: -n \S+)?) -j( -d)?\b", r"\1\2"),)  # as a person types it


HEAD = """# Runbook: the network is down

<!-- written by tests/regenerate_runbook.py; do not edit -->

For OpenStack's routers on an EC2 instance. Try these four first:

| | try |
|---|---|
| 1 | `ssh` to the instance |
| 2 | on it, `sudo ip netns exec qrouter-ID ping -c 3 8.8.8.8` |
| 3 | in the VM, `ping -c 3 8.8.8.8` |
| 4 | from your own machine, `ssh -p PORT` to the VM, by the Elastic IP it is published on |

Then go to the section that fits. Its lines are in the order of the path, outside in: **the first
that fits is the cause**, and those behind it may only follow from it. Names such as `eth1`,
`br-example` and the addresses are the tutorial's; `ID` and `MAC` are yours. With your own names,
and in a few seconds: `osawslab diagnose --ssh USER@HOST`.

Each line was seen: the fault was caused in a lab, the four were tried with real packets, and the
diagnosis, which does not know the faults, said the rest. None of it has been tried on AWS yet.
"""


@dataclass(frozen=True, order=True)
class Entry:
    """One line: `works` are the trials of `symptoms`, `at` is the place on the path."""

    works: tuple[bool, ...]
    at: int
    look: str
    cause: str
    mend: str
    fault: str

    @property
    def row(self) -> str:
        """Write the line of the table, with its fault in a comment."""
        cells = [each.replace("|", r"\|") for each in (self.look, self.cause, self.mend)]
        return f"| {' | '.join(cells)} <!-- {self.fault} {self.at} --> |\n"


def entries(lab: Lab, names: Iterable[str]) -> Iterator[Entry]:
    """Cause faults, one at a time, in a lab that works: notice, diagnose, undo.

    Raises StepFailed where the lab does not work afterwards.
    """
    registered = lab._site().read_ec2().registered_mac
    for name in names:
        lab.break_it(name)
        works = tried(lab)
        found = lab.diagnose()
        lab.mend()
        if not all(tried(lab)):
            raise StepFailed(f"the lab does not work after {name}", seen=found.headline)
        yield entry(name, works, found, registered)


def entry(name: str, works: tuple[bool, ...], found: Diagnosis, registered: str) -> Entry:
    """Write down what was seen of a fault; where the diagnosis does not name it, that."""
    cause, station = found.cause, FAULTS[name].station
    if cause is None or cause.key != station:
        what = PLACES[station].what
        return Entry(works, ORDER.index(station), "by hand", f"{what} (the diagnosis does not see"
                     " that yet)", "by hand", name)  # fmt: skip
    looks = dict.fromkeys(plain(each.command, registered) for each in cause.evidence[:2])
    seen = f"{cause.what}: {cause.seen} (should be: {cause.expected})"
    return Entry(
        works,
        ORDER.index(cause.key),
        "; ".join(f"`{each}`" for each in looks),
        plain(seen, registered),
        f"`{plain(cause.mend, registered)}`" if cause.mend else "by hand: see the cause",
        name,
    )


def tried(lab: Lab) -> tuple[bool, ...]:
    """Try the lab by real packets, with connections of its own; a real VM's login is its ping."""
    lab.close()  # an open connection outlives what leads to it
    with steps.own_errors("runbook"):
        instance, router, *guest = [each.ok for each in symptoms.checks(lab._site())]
    return (instance, router, guest[0], guest[-1])


def plain(text: str, registered: str = "-") -> str:
    """Write what a lab says as it is elsewhere: with ID in place of ids.

    >>> plain("ip -n qrouter-210b2c5d-2590-54be-aa5c-74e407857de7 -j -d addr show")
    'ip -n qrouter-ID addr show'
    """
    if len(registered) > 1:
        text = text.replace(registered, "REGISTERED-MAC")
    for pattern, words in (*BARE, *IDS):
        text = re.sub(pattern, words, text)
    return " ".join(text.split())  # a program that was run is one line of a table


def markdown(found: Iterable[Entry]) -> str:
    """Write the runbook: a section for what is noticed, in it a line for each cause."""
    parts = [HEAD]
    last: tuple[bool, ...] = ()
    for each in sorted(found):
        if each.works != last:
            last = each.works
            words = ", ".join(f"{at} {'ok' if ok else 'fails'}" for at, ok in enumerate(last, 1))
            parts.append(f"\n## {NOTICED[last]}\n\n({words})\n\n")
            parts.append("| look at | the cause is | mend it by |\n|---|---|---|\n")
        parts.append(each.row)
    return "".join(parts)


def read(text: str) -> dict[str, Entry]:
    """Read a runbook that was written: each fault's line."""
    found = {}
    works: tuple[bool, ...] = ()
    for line in text.splitlines():
        if re.fullmatch(r"\((\d (ok|fails)(, )?)+\)", line):
            works = tuple(word == "ok" for word in re.findall(r"ok|fails", line))
        elif told := re.fullmatch(r"\| (.*) <!-- (\S+) (\d+) --> \|", line):
            cells = [each.replace(r"\|", "|") for each in told[1].split(" | ")]
            if len(cells) == 3:
                look, cause, mend = cells
                found[told[2]] = Entry(works, int(told[3]), look, cause, mend, told[2])
    return found
