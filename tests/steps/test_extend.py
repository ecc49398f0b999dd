"""A lab that costs money ends itself, and what is seen of it; on a region in AWS's place."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from place import leads_to

from osawslab import Lab
from osawslab.aws import ending
from osawslab.errors import BadSetting, PriceNotConfirmed, StepNotReady
from osawslab.region import local
from osawslab.steps.extend import put_off, restore

PLACE = "ends"
OSAWSLAB = (sys.executable, "-P", "-m", "osawslab.cli")
Make = Callable[..., Lab]
pytestmark = pytest.mark.kernel


@pytest.fixture(scope="module")
def account(home: Path) -> Iterator[None]:
    region = local.ensure(PLACE)
    found = leads_to(region)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in found.items():
            patch.setenv(name, value)
        yield


@pytest.fixture
def new(account: None, new_lab: Make) -> Iterator[Make]:
    """Give a maker of labs in the account, which are given back."""
    made: list[Lab] = []

    def make(name: str, **settings: Any) -> Lab:
        made.append(new_lab(name, **{"pay_up_to": "0.42", **settings}))
        return made[-1]

    yield make
    for lab in made:
        assert lab.tear_down().ok


def instance(lab: Lab) -> dict[str, Any]:
    found = lab._site().read_ec2().instance
    assert found
    return dict(found)


def end_of(lab: Lab) -> datetime:
    end = ending.of(instance(lab))
    assert end
    return end


def on_it(lab: Lab) -> int:
    return int(lab.host().run(f"cat {ending.FILE}"))


def set_end(lab: Lab, seconds: float) -> datetime:
    """Set the end of a running lab, as no command would."""
    site, end = lab._site(), datetime.now(UTC) + timedelta(seconds=seconds)
    put_off(site, site.read_ec2(), end)
    return end


def ended(lab: Lab, name: str) -> None:
    waiter = lab.client().get_waiter("instance_terminated")
    waiter.wait(InstanceIds=[name], WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    lab.close()


def test_it_has_an_end_that_is_put_off_for_a_price(new: Make) -> None:
    lab = new("put-off")
    assert lab.provision().ok
    first = end_of(lab)
    assert on_it(lab) == int(first.timestamp())
    planned = first - datetime.now(UTC)
    assert timedelta(hours=3, minutes=58) < planned < timedelta(hours=4)
    assert lab.time_left().startswith("3 h 5")
    assert f"time left {lab.time_left()[:6]}" in lab.status().caption
    assert f"until {ending.text(first)}" in lab.status().caption
    assert f"up to {lab.cost_so_far()} so far" in lab.status().caption
    told = lab.client().describe_instance_attribute(
        InstanceId=instance(lab)["InstanceId"], Attribute="instanceInitiatedShutdownBehavior"
    )
    assert told["InstanceInitiatedShutdownBehavior"]["Value"] == "terminate"

    with pytest.raises(PriceNotConfirmed) as caught:  # 5 hours of $0.1037
        lab.extend(hours=1)
    assert caught.value.next == 'pay_up_to = "0.52"'
    assert (end_of(lab), on_it(lab)) == (first, int(first.timestamp()))

    payer = new("put-off", pay_up_to="0.52")
    report = payer.extend(hours=1)
    assert report.ok
    assert end_of(payer) - first == timedelta(hours=1)
    assert on_it(payer) == int(end_of(payer).timestamp())
    assert payer.time_left().startswith("4 h 5")
    with pytest.raises(PriceNotConfirmed):  # what was agreed to is used up
        payer.extend(hours=1)
    with pytest.raises(BadSetting):
        payer.extend(hours=0)
    words = ("extend", "--hours", "0.5", "--name", "put-off", "--set", "pay_up_to=0.60")
    done = subprocess.run([*OSAWSLAB, *words], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "time left: 5 h 2" in done.stdout
    assert end_of(payer) - first == timedelta(hours=1.5)
    assert not payer.provision().changed
    payer.host().run(f"echo {int(first.timestamp())} > {ending.FILE}")
    restore(payer._site())  # as after an image of it
    assert on_it(payer) == int(end_of(payer).timestamp())


def test_one_that_ended_itself_is_told_of_and_made_anew(new: Make) -> None:
    lab = new("anew")
    assert lab.provision().ok
    before, addresses = instance(lab)["InstanceId"], lab._site().read_ec2().addresses
    end = set_end(lab, 3)
    ended(lab, before)
    words = f"{before} ended itself: the planned hours were over at {ending.text(end)}"
    row = next(check for check in lab.check("provision").checks if check.what == "instance")
    assert (row.seen, row.next) == (words, "lab.provision() for a new one, or lab.tear_down()")
    assert lab.status().rows[0][2] == words
    assert lab.time_left() == ""
    with pytest.raises(StepNotReady) as caught:
        lab.extend()
    assert caught.value.seen == words
    facts = lab._site().read_ec2()
    assert facts.nics == {}  # the hot-plugged one was told to go with it
    assert facts.addresses.keys() == addresses.keys()  # these stay, and cost
    [why] = [each.why for each in lab.plan("provision").actions if "OpenStack" in each.why]
    assert why.endswith(f"; {words}")
    assert lab.provision().ok
    assert instance(lab)["InstanceId"] != before
    assert lab.time_left().startswith("3 h 5")


def test_it_ends_although_nobody_is_there_any_more(new: Make) -> None:
    """The process ends right after RunInstances, and never comes back."""
    lab = new("dies", hours="0.003")  # 11 seconds

    def die(parsed: dict[str, Any], **_: Any) -> None:
        if "Instances" in parsed:  # not of the dry run
            raise KeyboardInterrupt

    events = lab.client().meta.events
    events.register("after-call.ec2.RunInstances", die)
    try:
        with pytest.raises(KeyboardInterrupt):
            lab.provision()
    finally:
        events.unregister("after-call.ec2.RunInstances", die)
    facts = lab._site().read_ec2()
    made = facts.instance or facts.gone  # on a slow machine it is over by now
    assert made
    ended(lab, made["InstanceId"])
    gone = lab._site().read_ec2().gone
    assert gone
    assert gone["StateReason"]["Code"] == ending.ITSELF


def test_a_reboot_does_not_save_it(new: Make) -> None:
    lab = new("reboots")
    assert lab.provision().ok
    name = instance(lab)["InstanceId"]
    set_end(lab, 12)
    lab.client().reboot_instances(InstanceIds=[name])
    lab.close()
    lab.host().wait(20)
    ended(lab, name)


def test_one_that_was_stopped_over_its_end_begins_anew(new: Make) -> None:
    lab = new("stopped")
    assert lab.provision().ok
    name, end = instance(lab)["InstanceId"], set_end(lab, 5)
    lab.client().stop_instances(InstanceIds=[name])
    lab.close()
    with pytest.raises(StepNotReady):
        lab.extend()
    while datetime.now(UTC) <= end:
        time.sleep(0.1)
    report = lab.provision()
    assert report.ok
    assert "its planned hours are over: they begin anew" in [a.why for a in report.actions]
    assert instance(lab)["InstanceId"] == name
    assert end_of(lab) > end + timedelta(hours=3)


def test_one_that_costs_nothing_has_no_end(new_lab: Make) -> None:
    lab = new_lab("free", target="local")
    assert lab.provision().ok
    assert ending.of(instance(lab)) is None
    assert lab.host().run(f"ls {ending.FILE} {ending.WATCH} 2>&1 || true").count("cannot") == 2
    assert lab.time_left() == ""
    with pytest.raises(StepNotReady, match="no end"):
        lab.extend()
