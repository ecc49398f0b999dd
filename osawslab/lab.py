"""Lab: the learner's object. Its methods are the steps of the tutorial."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from osawslab.aws import ending, launch
from osawslab.cloud.floating import elastic_ip
from osawslab.errors import BadSetting, LabBusy, StepNotReady, writing
from osawslab.report import Checks, Plan, Report, Table
from osawslab.steps import bill, census, ownership
from osawslab.steps import run as steps
from osawslab.steps.account import NOTE, same_account
from osawslab.steps.site import Site
from osawslab.trainable import Trainable

if TYPE_CHECKING:
    from osawslab.clinic.station import Diagnosis
    from osawslab.probes.findings import Findings


class Lab(Trainable):
    """One learner's everything, by name; what exists with that name is adopted.

    Keywords beat environment variables `OSAWSLAB_*`, which beat `lab.toml`, which beats the
    defaults; see `Settings`. Nothing is started or made before a step is run.
    """

    steps = steps.TOUR

    @contextlib.contextmanager
    def _working(self, step: str) -> Iterator[Site]:
        """Hold the lab's lock: one process changes a lab at a time."""
        site = self._site()
        path = site.target.keys / "working"
        with contextlib.ExitStack() as held:
            with writing(path):
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                file = held.enter_context(open(path, "ab+", buffering=0))
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                raise LabBusy(
                    f"another process works on lab {self.settings.name!r}",
                    seen=file.read().decode().strip(),
                    next=f"wait for it, then lab.{step}() again",
                ) from None
            # closing alone is not enough: a program that another thread starts just now has a copy
            held.callback(fcntl.flock, file, fcntl.LOCK_UN)
            with writing(path):
                file.truncate(0)
                file.write(f"process {os.getpid()}, {step}\n".encode())
            yield site

    def _known(self, step: str) -> str:
        if step not in steps.CHAPTERS:
            raise BadSetting(
                f"there is no step {step!r}", seen=step, next=f"one of: {', '.join(steps.CHAPTERS)}"
            )
        return step

    def plan(self, step: str) -> Plan:
        """Show what a step would do now, as a difference to what is. Changes nothing."""
        return steps.plan(self._site(), self._known(step))

    def check(self, step: str) -> Checks:
        """Read a step's facts: expected, seen, and what to type next. Changes nothing."""
        return steps.check(self._site(), self._known(step))

    def run(self, step: str) -> Report:
        """Do what is missing of a step. Run twice, it does nothing the second time."""
        with self._working(self._known(step)) as site:
            return steps.run(site, step)

    def preflight(self) -> Checks:
        """Look at the account: what a lab in it needs, and what to type. Changes nothing."""
        from osawslab.aws import preflight
        from osawslab.steps import provision

        site = self._site()
        with steps.own_errors("preflight"):
            image = functools.partial(provision.image_of, site)
            return Checks("preflight", preflight.rows(site.target, site.settings, image))

    def catch_up(self, step: str) -> None:
        """Run what is missing before a step. Raises CheckFailed's kin where one does not hold."""
        tour = (*steps.TOUR, "tear_down")
        earlier = tour[: tour.index(self._known(step))]
        self._site().target.course.opens(step, "".join(earlier[-1:]))
        for before in earlier:
            if failed := self.run(before).failed:
                raise StepNotReady(
                    f"{before} does not hold: {failed.what}", seen=failed.seen, next=failed.next
                )

    def reset(self, step: str) -> Report:
        """Undo a step and every later one, newest first. `reset("provision")` is `tear_down`."""
        self._known(step)
        if step in ("provision", "tear_down"):
            return self.tear_down()
        done: list[Any] = []
        with self._working(step) as site:
            for name in reversed(steps.TOUR[steps.TOUR.index(step) :]):
                with contextlib.suppress(StepNotReady):
                    done += steps.undo(site, name)
                site.forget()
        return Report(f"reset {step}", self.settings.name, tuple(done), ())

    def hint(self, step: str, level: int = 1) -> str:
        """Give a hint for a step: 1 where to look, 2 what to look for, 3 what to type."""
        from osawslab.steps import record
        from osawslab.steps.hints import hint

        record.note("hint", self._known(step))
        return hint(step, level)

    def provision(self) -> Report:
        """Make the VPC, the instance with two NICs, and the Elastic IPs."""
        return self.run("provision")

    def install_cloud(self) -> Report:
        """Install what carries the cloud on the instance."""
        return self.run("install_cloud")

    def provider_nic(self) -> Report:
        """Note the provider NIC's MAC, bring it up without an address, put it on its bridge."""
        return self.run("provider_nic")

    def networks(self) -> Report:
        """Make the router with the registered IP, the tenant network, and a VM."""
        return self.run("networks")

    def see_the_drop(self) -> Report:
        """Ping from the router and see AWS drop it."""
        return self.run("see_the_drop")

    def swap_mac(self) -> Report:
        """Give the router's gateway port the provider NIC's registered MAC."""
        return self.run("swap_mac")

    def verify(self) -> Report:
        """Ping from the router again; the proof of the whole."""
        return self.run("verify")

    def publish_vm(self) -> Report:
        """Publish the VM's SSH on the provider NIC's Elastic IP."""
        return self.run("publish_vm")

    def make_it_last(self) -> Report:
        """Have the published VM answer again by itself after a reboot or a restart."""
        return self.run("make_it_last")

    def add_floating_ip(self, vm: str = "", router: str = "") -> Report:
        """Give a VM, by name or address, a floating IP with an Elastic IP of its own.

        `router` is the id of another router than the lab's. Raises PriceNotConfirmed, Refused.
        """
        from osawslab.steps import floating

        with self._working("add_floating_ip") as site:
            return floating.add(site, vm, router)

    def remove_floating_ip(self, address: str) -> Report:
        """Give a floating IP back, by its own or its public address. Raises StepNotReady."""
        from osawslab.steps import floating

        with self._working("remove_floating_ip") as site:
            return floating.remove(site, address)

    def floating_ips(self) -> Table:
        """List the floating IPs. Changes nothing."""
        from osawslab.steps import floating

        return floating.table(self._site())

    def bake(self) -> Report:
        """Make an image of the instance with OpenStack on it; later labs start from it.

        Raises StepNotReady before `install_cloud`, BadSetting for the hand-built cloud.
        """
        with self._working("bake") as site:
            from osawslab.steps.bake import bake

            return bake(site)

    def tear_down(self, mine: bool = False) -> Report:
        """Give everything with the lab's tag back, and show that it is gone.

        Raises StepNotReady where another machine has made it in the account; `mine` is to say
        that it is yours all the same.
        """
        if mine:
            with steps.own_errors("tear_down"):
                ownership.note(self._site())
        report = self.run("tear_down")
        if report.ok:
            (self.folder / NOTE).unlink(missing_ok=True)
        self.close()
        return report

    def sweep(self, yes: bool = False, older_than: str = "") -> Report:
        """Show what all labs have left behind in the account; with `yes`, give it back.

        That is what belongs to labs without an instance, and with `older_than` ("8h", "2d") also
        to labs whose instance is older. Raises BadSetting.
        """
        from osawslab.steps.sweep import sweep

        with self._working("sweep") if yes else contextlib.nullcontext(self._site()) as site:
            return sweep(site, yes, older_than)

    def left_behind(self) -> str:
        """Say what labs have left behind in the account, and its cost; "" for nothing."""
        return steps.left_behind(self._site)

    def extend(self, hours: object = 1) -> Report:
        """Let the instance live so many hours longer before it ends itself.

        Raises PriceNotConfirmed where `pay_up_to` does not cover that, StepNotReady where a lab
        costs nothing and so has no end.
        """
        from osawslab.steps.extend import extend

        with self._working("extend") as site, steps.own_errors("extend"):
            return extend(site, hours)

    def time_left(self) -> str:
        """Say how long the instance lives; "" where it has no end, as one that costs nothing."""
        from osawslab.steps.extend import time_left

        with steps.own_errors("time_left"):
            return time_left(self._site())

    def cost_so_far(self) -> str:
        """Say what the lab has cost at most until now; "" where it costs nothing."""
        with steps.own_errors("cost_so_far"):
            return bill.so_far(self._site())

    def probe(self, name: str = "probe", instance_type: str = "t3.small") -> Findings:
        """Try what is said of AWS, claim by claim, on a lab of its own that is given back.

        On AWS that costs money. Raises PriceNotConfirmed before anything is made, StepNotReady.
        """
        from osawslab import target
        from osawslab.probes import run

        given = {"name": name, "instance_type": instance_type, "hours": run.HOURS, **run.FIXED}
        with Lab(**{**vars(self.settings), **given}) as lab:
            lab.progress = self.progress
            with lab._working("probe") as site:
                run.begin(site)
                try:
                    return run.run(site)
                finally:
                    if run.given_back(site):
                        target.end(lab.settings)

    def diagnose(self, nic: str = "") -> Diagnosis:
        """Walk the path of a packet, outside in, and name the cause. Changes nothing.

        `nic` is the provider NIC's name, where it cannot be found.

        Raises StepNotReady where there is no instance.
        """
        from osawslab.steps import diagnose

        with steps.own_errors("diagnose"):
            return diagnose.run(self._site(), nic)

    def proof(self, reports: dict[str, Report]) -> dict[str, Any]:
        """Put the proof of a whole tour together from its reports."""
        data: dict[str, Any] = {}
        for report in reports.values():
            data.update(report.data)
        keys = (
            "registered_mac", "gateway_mac_before", "gateway_mac_after", "ping_before",
            "ping_after", "drops_before", "published", "evidence",
        )  # fmt: skip
        return {key: data.get(key) for key in keys}

    def status(self) -> Table:
        """Say what exists of this lab and what it costs."""
        site = self._site()
        with steps.own_errors("status"):
            same_account(site)
            facts = site.read_ec2()
            cost = bill.words(site, facts)
            over = ending.told(facts, launch.noted_end(site.target.keys))
        rows = [("instance", "", over, "lab.provision() or lab.tear_down()")] if over else []
        if facts.instance:
            rows.append(
                (
                    "instance",
                    str(facts.instance["InstanceId"]),
                    str(facts.instance["State"]["Name"]),
                    str(facts.instance["InstanceType"]),
                )
            )
        rows += [
            (
                f"{role} NIC",
                str(nic["NetworkInterfaceId"]),
                str(nic["PrivateIpAddress"]),
                str(nic["MacAddress"]),
            )
            for role, nic in sorted(facts.nics.items())
        ]
        rows += [
            (f"{role} Elastic IP", str(a["AllocationId"]), str(a["PublicIp"]), "")
            for role, a in sorted(facts.addresses.items())
        ]
        rows += [
            (what, str(a["AllocationId"]), str(a["PublicIp"]), whose)
            for a in facts.further
            for what, whose in [elastic_ip(a)]
        ]
        return Table(
            f"Lab {self.settings.name} on {self.settings.target}: {cost}",
            ("what", "id", "state or address", "type or MAC"),
            tuple(rows),
        )

    def labs(self) -> tuple[census.Line, ...]:
        """Say which labs the account has, whosever: how far each is, its cost, its time left.

        Looked at are the settings' region, and all that labs made on this machine have been in.
        """
        with steps.own_errors("status"):
            return census.take(self._site())

    def agree(self, *, snapshot: bool = False) -> None:
        """Raise PriceNotConfirmed where `pay_up_to` does not cover the lab, and an image of it."""
        with steps.own_errors("price"):
            bill.agree(self._site(), snapshot)

    def price(self) -> Table:
        """Say what the lab of these settings costs, item by item. Raises NoPrice."""
        with steps.own_errors("price"):
            return bill.table(self._site())
