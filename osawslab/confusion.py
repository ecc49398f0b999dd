"""The confusion matrix of the diagnosis: which station it names for which fault.

Labs of its own, several at once, each broken and mended again and again: every fault alone, every
two that go together, and labs of every strategy with no fault at all. A command that the diagnosis
prints is run as it is printed: on the instance as its user, the AWS CLI's here.
"""

from __future__ import annotations

import contextlib
import queue
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import combinations
from typing import TYPE_CHECKING, Any, TypeVar

from osawslab import access
from osawslab.clinic.station import BECAUSE, ORDER
from osawslab.errors import LabError, LabTimeout, StepFailed
from osawslab.faults.catalogue import FAULTS
from osawslab.faults.fault import Fault
from osawslab.region import local
from osawslab.report import Table
from osawslab.sameness import differs, facts, unordered
from osawslab.steps import symptoms

if TYPE_CHECKING:
    from osawslab.clinic.station import Diagnosis
    from osawslab.lab import Lab

STEPS = ("provision", "install_cloud", "provider_nic", "networks", "swap_mac", "publish_vm")
CALLER = "$(curl -s https://checkip.amazonaws.com)"
HERE = "198.51.100.7"  # the region's own user on its internet: what that command says there
SECONDS = 300  # the AWS CLI is slow to start on a busy machine
ROUNDS = 5  # commands at most: what EC2 makes anew needs more than one
SWITCHED = {"bridge": "openvswitch", "instance_type": "t2.large"}
BRIDGED = {"bridge": "linux", "instance_type": "t3.large"}
HEALTHY: Mapping[str, Mapping[str, str]] = {
    "swap": {**SWITCHED, "strategy": "swap"},
    "swap, Linux bridge": {"bridge": "linux", "instance_type": "t2.large", "strategy": "swap"},
    "share": {"bridge": "openvswitch", "instance_type": "t3.large", "strategy": "share"},
    "share, Linux bridge": {**BRIDGED, "strategy": "share"},
    "mac-nat": {"bridge": "openvswitch", "instance_type": "t3.large", "strategy": "mac-nat"},
}
Item = TypeVar("Item")
Result = TypeVar("Result")


@contextmanager
def made(name: str, settings: Mapping[str, str]) -> Iterator[Lab]:
    """Make a lab with a published VM; it and its region end with the block. Raises StepFailed."""
    from osawslab.lab import Lab

    lab = Lab(name, **{"target": "local", "cloud": "handbuilt", **settings})
    try:
        for step in STEPS:
            report = lab.run(step)
            if not report.ok:
                raise StepFailed(f"{step} does not hold", seen=report.text, next="./lab doctor")
        yield lab
    finally:
        lab.close()
        local.remove(name)


def typed(lab: Lab, command: str) -> None:
    """Run a command as printed. Raises StepFailed, CannotReach."""
    if not command.startswith("aws "):
        lab.host().plain(command)
        return
    region = local.find(lab.settings.name)
    assert region is not None
    access.aws_program()
    exports = access.exports(access.variables(region))
    try:
        done = subprocess.run(
            ["sh", "-c", f"{exports}\n{command.replace(CALLER, HERE)}"],
            env=access.without_clouds(), capture_output=True, text=True, timeout=SECONDS,
            check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise LabTimeout(f"the printed command did not end in {SECONDS} s", next=command) from None
    lab.close()  # an open connection outlives what leads to it
    if done.returncode:
        raise StepFailed("the printed command failed", seen=done.stderr.strip(), next=command)


def station(found: Diagnosis) -> str:
    """Give the station that a diagnosis names first, "" for none."""
    return found.cause.key if found.cause else ""


def single(lab: Lab, fault: Fault) -> dict[str, Any]:
    """Try a fault alone; what went wrong besides is its `error`, and no other fault's."""
    try:
        return _single(lab, fault)
    except LabError as error:
        _recover(lab)
        none = dict.fromkeys(("named_first", "mended", "changed", "undone", "healed"), False)
        return {"fault": fault.name, "station": fault.station, "named": "", **none,
                "commands": 0, "left": [], "differs": [], "line": "",
                "error": str(error)}  # fmt: skip


def _recover(lab: Lab) -> None:
    lab.close()
    with contextlib.suppress(LabError):
        lab.mend()


def _single(lab: Lab, fault: Fault) -> dict[str, Any]:
    """Break a lab three times: for the diagnosis, for the lab's own `mend`, and for the steps.

    `line` is what the runbook has to say of it.
    `mended`: after so many printed commands nothing is wrong, for the diagnosis and for packets;
    `left` are the facts that are others than before then. `undone`, `healed`: `mend`, and running
    the steps again, leave all facts as they were.
    """
    from osawslab import runbook

    whole = facts(lab)
    lab.break_it(fault.name)
    broken = None if fault.name in CUTS else facts(lab)
    seen = lab.diagnose()
    line = runbook.entry(fault.name, (), seen, lab._site().read_ec2().registered_mac).row
    named, mended, commands = station(seen), False, 0
    while not mended and commands < ROUNDS:
        commands += 1
        follow(lab, seen)
        seen = lab.diagnose()
        mended = seen.ok
    mended = mended and works(lab)
    lab.mend()
    before = facts(lab)  # an MTU may be another good one than it was
    lab.break_it(fault.name)
    lab.mend()
    after = facts(lab)
    healed = [] if lab.settings.cloud != "handbuilt" else by_the_steps(lab, fault, before)
    return {
        "fault": fault.name, "station": fault.station, "named": named,
        "named_first": named == fault.station, "mended": mended, "commands": commands,
        "changed": broken != whole, "undone": after == before, "healed": not healed, "line": line,
        "left": differs(whole, before), "differs": differs(before, after) + healed,
    }  # fmt: skip


def by_the_steps(lab: Lab, fault: Fault, before: Mapping[str, Any]) -> list[str]:
    """Break a lab, and run its steps again: what is not as before then, in words; [] where all is.

    Raises LabError.
    """
    lab.break_it(fault.name)
    found = [f"after {step}" for step in STEPS if not lab.run(step).ok]
    if not works(lab):
        found.append("packets")
    if lab.broken().rows:
        found.append("the fault")
    lab.mend()  # what is left of it, and stands in nobody's way
    return found + differs(unordered(before), unordered(facts(lab)))


def works(lab: Lab) -> bool:
    """Try a lab by real packets, with connections of its own."""
    lab.close()  # an open connection outlives what leads to it
    return all(symptoms.checks(lab._site()))


def follow(lab: Lab, found: Diagnosis) -> None:
    """Run what a diagnosis prints for its cause; where it prints nothing, one looks once more."""
    if found.cause and found.cause.mend:
        with contextlib.suppress(StepFailed, LabTimeout):
            typed(lab, found.cause.mend)


AGAIN = "nic-detached"  # EC2 makes a new interface: what the instance set at the old one is gone
CUTS = ("no-internet-gateway", "no-vpc-route", "other-vpc-route", "acl-denies-answers")
GONE = (AGAIN, "gateway-outside")  # what other faults change is not there any more


def pair(lab: Lab, one: Fault, two: Fault) -> dict[str, Any]:
    """Break a lab twice: a station of the two is named, its command run, then the other's."""
    try:
        return _pair(lab, one, two)
    except LabError as error:
        _recover(lab)
        names = [one.name, two.name]
        return {"faults": names, "stations": [], "named": False, "error": str(error)}


def late(fault: Fault) -> int:
    """Say how late of two a fault is to be caused: those that cut the way in are the last."""
    return 2 if fault.name in CUTS else int(fault.name in GONE)


def _pair(lab: Lab, one: Fault, two: Fault) -> dict[str, Any]:
    for fault in sorted((one, two), key=late):
        lab.break_it(fault.name)
    stations: list[str] = []
    seen = lab.diagnose()
    while not seen.ok and len(stations) < ROUNDS:
        stations.append(station(seen))
        follow(lab, seen)
        seen = lab.diagnose()
    lab.close()
    lab.mend()
    wanted = {one.station, two.station}
    named = seen.ok and stations[:1] == [first(one, two)] and wanted <= set(stations)
    named = named and (len(stations) <= len((one, two)) or AGAIN in (one.name, two.name))
    return {"faults": [one.name, two.name], "stations": stations, "named": named}


def first(one: Fault, two: Fault) -> str:
    """Say which station of two is to be named first.

    It is the outer one, unless the other explains what is seen there (`BECAUSE`), or leaves too
    little to see it by (`HIDES`).
    """
    outer, inner = sorted((one, two), key=lambda each: ORDER.index(each.station))
    hidden = inner.station in BECAUSE.get(outer.station, ())
    return (inner if hidden or inner.name in HIDES.get(outer.name, ()) else outer).station


# outer fault -> the inner ones that leave nothing to see it by
HIDES = {
    "source-check": ("gateway-outside", "inner-no-address"),  # no VM's packets are led through
    "snat-missing": ("inner-no-address",),
    "snat-jump-missing": ("inner-no-address",),
    "snat-wrong": ("inner-no-address",),
    "forward-drops": ("inner-no-address",),
    "acl-denies-port": ("dnat-missing",),  # no port is published
    "nic-mtu": ("gateway-mtu",),  # no packet is too large
    "dnat-other-vm": (  # no other VM answers, which it should lead to
        "inner-in-another-vlan", "vm-unplugged", "vm-in-another-vlan", "vm-cable-down", "vm-down",
        "vm-neighbour-fixed",
    ),
}  # fmt: skip


def pairs() -> list[tuple[Fault, Fault]]:
    """List every two faults that a lab with Open vSwitch can have at once, in the path's order."""
    able = [
        each for each in FAULTS.values() if each.bridge != "linux" and "handbuilt" in each.clouds
    ]
    return [(one, two) for one, two in combinations(able, 2) if one.goes_with(two)]


def spread(
    labs: Sequence[Lab], items: Sequence[Item], do: Callable[[Lab, Item], Result]
) -> list[Result]:
    """Do each item in one of the labs, one at a time in each; the results in the items' order."""
    todo: queue.SimpleQueue[tuple[int, Item]] = queue.SimpleQueue()
    for number, item in enumerate(items):
        todo.put((number, item))
    done: dict[int, Result] = {}
    wrong: list[BaseException] = []

    def work(lab: Lab) -> None:
        try:
            while not wrong:
                try:
                    number, item = todo.get_nowait()
                except queue.Empty:
                    return
                done[number] = do(lab, item)
        except BaseException as error:  # noqa: BLE001  (raised again by who waits)
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(lab,)) for lab in labs]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    if wrong:
        raise wrong[0]
    return [done[number] for number in sorted(done)]


def healthy() -> list[dict[str, str]]:
    """Diagnose a lab of each strategy that nobody has broken: what is found nevertheless."""
    found = []
    for name, settings in HEALTHY.items():
        with made("sound", settings) as lab:
            found += [
                {"strategy": name, "station": each.key, "seen": each.seen}
                for each in lab.diagnose().findings
            ]
    return found


def measure(
    chosen: Sequence[tuple[Fault, Fault]] | None = None, workers: int = 4
) -> dict[str, list[Any]]:
    """Try every fault alone, and pairs: all that go together, or those chosen."""
    with ExitStack() as held:
        labs = [held.enter_context(made(f"clinic{n}", SWITCHED)) for n in range(workers)]
        alone = [each for each in FAULTS.values()
                 if each.bridge != "linux" and "handbuilt" in each.clouds]  # fmt: skip
        faults = spread(labs, alone, single)
        both = spread(labs, pairs() if chosen is None else chosen, lambda lab, two: pair(lab, *two))
    with made("clinic", BRIDGED) as lab:
        others = [each for each in FAULTS.values() if each.bridge == "linux"]
        faults += [single(lab, each) for each in others]
    return {"faults": faults, "pairs": both, "healthy_findings": healthy()}


def table(found: Mapping[str, Sequence[Mapping[str, Any]]]) -> Table:
    """Show which station was named for which fault."""
    rows = tuple(
        (each["fault"], each["station"], each["named"], "yes" if each["named_first"] else "NO",
         "yes" if each["mended"] else "NO")
        for each in found["faults"]
    )  # fmt: skip
    right = sum(bool(each["named"]) for each in found["pairs"])
    caption = (
        f"diagnosis: {len(rows)} faults; {right} of {len(found['pairs'])} pairs named one after the"
        f" other; {len(found['healthy_findings'])} findings on sound labs"
    )
    return Table(caption, ("fault", "station", "named", "named first", "mended"), rows)
