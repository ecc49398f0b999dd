"""Break a lab on purpose, keep what undoes it, and undo it: nothing else is touched.

What is broken is noted in the lab's folder on this machine, by instance: a fault may cut every
other way to write it down. So any process here can mend; the note goes when it is mended, and
counts for nothing where the steps have healed it or the instance is another one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from osawslab.errors import BadSetting, LabError, StepFailed, StepNotReady, writing
from osawslab.faults import catalogue
from osawslab.faults.fault import Before, Call, Change, Deed, Fault, Run, deed
from osawslab.report import Action, Report, Table
from osawslab.steps import work
from osawslab.steps.site import Site

FILE = "broken.json"
HEALED = (  # EC2's words for what is so already
    "Resource.AlreadyAssociated", "RouteAlreadyExists", "InvalidPermission.Duplicate",
    "InvalidNetworkAclEntry.NotFound", "InvalidRoute.NotFound",
    "InvalidAssociationID.NotFound",
)  # fmt: skip


@dataclass(frozen=True)
class Broken:
    """A fault that was caused and is still there. `name` is not shown where nobody was told."""

    name: str = field(repr=False)
    instance: str
    undo: tuple[Mapping[str, Any], ...] = field(repr=False)
    there: Mapping[str, Any] = field(repr=False)
    litter: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)
    seed: int | None = None  # of one that was chosen; its user was not told which

    @property
    def fault(self) -> Fault:
        """Give the fault itself."""
        return catalogue.FAULTS[self.name]


def before(site: Site, whole: bool = True) -> Before:
    """Read a lab; a `whole` one works. Raises StepNotReady where it does not up to `swap_mac`."""
    ground = work.read(site)
    cloud, facts = ground.cloud, site.instance.ec2
    if whole:
        cloud.require_provider_nic()
        cloud.require_router()
    for ok, what, step in (
        (cloud.has_vm, "there is no VM yet", "networks"),
        (cloud.swapped, "the gateway port has not got the registered MAC yet", "swap_mac"),
    ):
        if whole and not ok:
            raise StepNotReady(
                "only a lab that works can be broken", seen=what, next=f"lab.{step}()"
            )
    subnet = str(facts.nics["provider"]["SubnetId"])
    acls = site.ec2.describe_network_acls(
        Filters=[{"Name": "association.subnet-id", "Values": [subnet]}]
    )["NetworkAcls"]
    return Before(facts, cloud, acls[0] if acls else {})


def read(site: Site) -> tuple[Broken, ...]:
    """Read the notes of what was broken; none where the instance is another one."""
    path = site.target.keys / FILE
    if not path.exists():
        return ()
    facts = site.read_ec2()
    id = str((facts.instance or {}).get("InstanceId", ""))
    with writing(path):
        rows = json.loads(path.read_text())
    found = [
        Broken(**{**row, "undo": tuple(row["undo"]), "litter": tuple(row.get("litter", ()))})
        for row in rows
        if row["name"] in catalogue.FAULTS
    ]  # fmt: skip
    return tuple(each for each in found if each.instance == id)


def _keep(site: Site, notes: Sequence[Broken]) -> None:
    path = site.target.keys / FILE
    with writing(path):
        if not notes:
            path.unlink(missing_ok=True)
            return
        part = path.with_suffix(".part")
        part.touch(mode=0o600)
        part.write_text(json.dumps([asdict(each) for each in notes], default=str))
        part.replace(path)


def now(site: Site) -> tuple[Broken, ...]:
    """Read what is broken now: what is noted, without what the steps or a hand have healed."""
    notes = read(site)
    left = tuple(each for each in notes if there(site, deed(each.there)))
    kept = [each for each in notes if each in left or each.litter]
    if len(kept) < len(notes):
        _keep(site, kept)
    return left


def listed(site: Site) -> Table:
    """List the faults that this lab can have; before it is up, all there are."""
    try:
        found = catalogue.for_lab(before(site))
    except LabError:
        found = list(catalogue.FAULTS.values())
    return Table(
        "Faults", ("fault", "station", "what is seen", "difficulty", "where"),
        tuple((each.name, each.station, each.symptom, each.difficulty, each.where)
              for each in found),
    )  # fmt: skip


def shown(broken: Sequence[Broken]) -> Table:
    """Show what is broken; of a fault that was chosen by a seed, only that it is there."""
    rows = tuple(
        ("not told", each.fault.symptom, f"seed={each.seed}")
        if each.seed is not None
        else (each.name, each.fault.symptom, "by name")
        for each in broken
    )
    return Table("Broken on purpose", ("fault", "what is seen", "chosen"), rows)


def named(name: str) -> Fault:
    """Give a fault by its name. Raises BadSetting."""
    if name not in catalogue.FAULTS:
        near = [each for each in catalogue.FAULTS if name and (name in each or each in name)]
        raise BadSetting(
            f"there is no fault {name!r}", seen=name,
            next=f"one of: {', '.join(near or catalogue.FAULTS)}",
        )  # fmt: skip
    return catalogue.FAULTS[name]


def break_it(
    site: Site, name: str = "", seed: int | None = None, untold: int | None = None
) -> Table:
    """Cause a fault, by name or by seed; what is broken then. `untold` is an exercise's seed."""
    if bool(name) == (seed is not None):
        raise BadSetting(
            "a fault is chosen by its name or by a seed", seen=f"name={name!r}, seed={seed}",
            next='lab.break_it("gateway-down"), or lab.break_it(seed=7)',
        )  # fmt: skip
    fault = named(name) if name else None
    noted = now(site)
    for each in noted:
        if fault is None or not fault.goes_with(each.fault):
            raise StepNotReady(
                "the lab is broken already, and this does not go with it",
                seen="not told" if each.seed is not None else each.name, next="lab.mend()",
            )  # fmt: skip
    sound = before(site, whole=not noted)
    fault = fault or catalogue.chosen(sound, int(seed or 0))
    if why := fault.why_not(sound):
        raise BadSetting(f"this lab cannot have the fault {fault.name!r}", seen=why,
                         next="lab.faults()")  # fmt: skip
    change = fault.change(sound)
    if there(site, change.there):
        raise StepNotReady(
            "the lab is not as the steps leave it: what the fault breaks is broken already",
            seen=fault.station if name else "not told", next="lab.diagnose()",
        )  # fmt: skip
    told = seed if untold is None else untold
    note = Broken(
        fault.name, str((sound.ec2.instance or {})["InstanceId"]),
        tuple(each.data for each in change.undo), change.there.data,
        tuple(each.data for each in change.litter), told,
    )  # fmt: skip
    _keep(
        site, (*(each for each in read(site) if each.name != note.name), note)
    )  # before it is done: whoever is killed in between can mend
    _do(site, change)
    return shown((*noted, note))


def _do(site: Site, change: Change) -> None:
    for each in change.do:
        do(site, each)
    _hang_up(site, change.do)
    if not there(site, change.there):
        raise StepFailed("the fault did not stay", seen="it is not there", next="lab.mend()")


def _hang_up(site: Site, deeds: Sequence[Deed]) -> None:
    """Close what is open: a connection outlives the way that it came by."""
    if any(isinstance(each, Call) for each in deeds):
        for host in site.hosts.values():
            host.close()
    site.forget()


def mend(site: Site) -> Report:
    """Undo what was broken, AWS's side first, else newest first; nothing where nothing is."""
    done: list[Action] = []
    notes = read(site)

    def in_aws(each: Broken) -> bool:
        return all("call" in deed for deed in each.undo)

    for each in sorted(reversed(notes), key=in_aws, reverse=True):
        if there(site, deed(each.there)):
            deeds = [deed(data) for data in each.undo]
            for one in deeds:
                do(site, one)
                done.append(_action(each, one))
            _hang_up(site, deeds)
        for data in each.litter:
            do(site, deed(data))
        notes = tuple(other for other in notes if other != each)
        _keep(site, notes)
    return Report("mend", site.settings.name, tuple(done), ())


def _action(broken: Broken, one: Deed) -> Action:
    if isinstance(one, Run):
        return Action("instance", f"undo {broken.name}", one.command, lambda: None)
    words = f"aws ec2 {one.operation.replace('_', '-')} --cli-input-json '{json.dumps(one.given)}'"
    return Action("aws", f"undo {broken.name}", words, lambda: None)


def do(site: Site, one: Deed) -> None:
    """Do a deed; of a call, what EC2 says is so already counts as done."""
    from botocore.exceptions import ClientError

    if isinstance(one, Run):
        site.instance.host.run(one.command)
        return
    try:
        getattr(site.ec2, one.operation)(**one.given)
    except ClientError as error:
        told = error.response["Error"]
        if told["Code"] not in HEALED and "in use" not in told["Message"]:
            raise


def there(site: Site, question: Deed) -> bool:
    """Answer a deed that is a question."""
    import jmespath  # type: ignore[import-untyped]
    from botocore.exceptions import ClientError

    if isinstance(question, Run):
        command = f"if {question.command}; then echo there; fi"
        return "there" in site.instance.host.run(command).split()
    try:
        told = getattr(site.ec2, question.operation)(**question.given)
    except ClientError as error:
        if error.response["Error"]["Code"].endswith(".NotFound"):
            return False
        raise
    return bool(jmespath.search(question.query, told))
