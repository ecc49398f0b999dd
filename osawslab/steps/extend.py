"""Put the end of the instance off: on the instance first, then in its tag and on this machine.

A run that is cut off in between is repeated with the same result: the tag says what is added to.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

from osawslab.aws import ending, launch, once
from osawslab.aws.facts import Facts
from osawslab.errors import BadSetting, StepNotReady
from osawslab.report import Action, Check, Report
from osawslab.settings import MONTH, number
from osawslab.steps import bill
from osawslab.steps.account import same_account
from osawslab.steps.site import Site

ENOUGH = 900  # seconds: less left is as good as none for an instance that is started again


def extend(site: Site, hours: object) -> Report:
    """Let the instance live so many hours longer than it would.

    Raises StepNotReady where there is no end or no running instance, PriceNotConfirmed where
    `pay_up_to` does not cover the lab from its first hour to the new end, CannotReach.
    """
    more = number("hours", hours)
    if not 0 < more <= MONTH:
        raise BadSetting(
            f"hours are more than 0, and {MONTH} at most",
            seen=str(more),
            next="lab.extend(hours=1)",
        )
    if not site.target.charges:
        raise StepNotReady(
            "this lab has no end to put off", seen="it costs nothing", next="lab.status()"
        )
    same_account(site)
    facts = site.read_ec2()
    site.instance_of(facts)  # there is one to reach
    meter = bill.meter(site, facts)
    before = ending.of(facts.instance)
    new = max(before or meter.at, meter.at) + ending.span(more)
    bill.agree(site, False, (meter.hours or Decimal(0)) + hours_between(meter.at, new))
    action = Action(
        "instance",
        f"{more:f} h more",
        f"echo {int(new.timestamp())} > {ending.FILE}",
        lambda: put_off(site, facts, new),
    )
    site.progress.start("extend", 1)
    site.progress.action(action.why, where=action.where, command=action.command)
    try:
        action.do()
    finally:
        site.progress.done("extend")
    on_it = site.instance_of(facts).host.run(f"cat {ending.FILE}").strip()
    tag = ending.text(ending.of(site.read_ec2().instance))
    until, seconds = ending.text(new), str(int(new.timestamp()))
    return Report(
        step="extend",
        lab=site.settings.name,
        actions=(action,),
        checks=(
            Check("end, on the instance", seconds, on_it, on_it == seconds, "lab.extend()"),
            Check("end, in its tag", until, tag, tag == until, "lab.extend()"),
        ),
        notes=(f"time left: {ending.left(new, meter.at)}, until {until}",),
        data={"end": until},
    )


def hours_between(begin: datetime, end: datetime) -> Decimal:
    """Give a length of time in hours, to the second."""
    return Decimal(round((end - begin).total_seconds())) / bill.HOUR


def put_off(site: Site, facts: Facts, end: datetime) -> None:
    """Set the end of the running instance."""
    end = end.replace(microsecond=0)
    instance = site.instance_of(facts)
    name = str(facts.instance["InstanceId"]) if facts.instance else ""
    instance.host.run(ending.putting_off(end))
    site.ec2.create_tags(Resources=[name], Tags=ending.tags(end))
    launch.note_end(site.target.keys, name, end)


def restore(site: Site) -> None:
    """Set the end on the instance to what its tag says, if it has one: its user data ran anew."""
    facts = once.until_seen(lambda: [f for f in (site.read_ec2(),) if f.host_key])
    if facts and (end := ending.of(facts[0].instance)):
        site.instance_of(facts[0]).host.run(ending.putting_off(end))


def over(facts: Facts) -> bool:
    """Say whether a stopped instance would end itself soon after it is started."""
    end = ending.of(facts.instance)
    return end is not None and (end - datetime.now(UTC)).total_seconds() < ENOUGH


def renew(site: Site, seconds: float) -> None:
    """Begin the planned hours of an instance anew that has just been started."""
    facts = site.read_ec2()
    site.instance_of(facts).host.wait(seconds)
    put_off(site, facts, datetime.now(UTC) + ending.span(site.settings.hours))


def time_left(site: Site) -> str:
    """Say how much time is left for the lab's instance; "" where nothing ends it."""
    if not site.target.charges:
        return ""
    facts = site.read_ec2()
    end = ending.of(facts.instance)
    if end is None or not facts.running:
        return ""
    return ending.left(end, datetime.now(UTC))
