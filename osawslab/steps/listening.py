"""Capture at points of a lab: on the instance by SSH, and where the place lets us look."""

from __future__ import annotations

import contextlib
import math
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import replace

from osawslab.aws import facts as ec2_facts
from osawslab.cloud import handbuilt
from osawslab.errors import BadSetting, LabBusy, LabError, MissingTool, StepFailed
from osawslab.host import listener, ssh
from osawslab.host.listener import Listener
from osawslab.observe import live
from osawslab.observe.capture import Capture
from osawslab.observe.live import Catch, LiveCapture
from osawslab.observe.ring import Seen
from osawslab.steps import points, sight
from osawslab.steps import why as deciders
from osawslab.steps.points import Points
from osawslab.steps.site import Site

Wanted = str | Sequence[str] | None  # a point, several, or None for all that tell the story
BUSY = "Device or resource busy"  # EBUSY: one program at a time is told of drops


class Session:
    """A capture that runs: one program on the instance, and one of the place's."""

    def __init__(
        self, site: Site, wanted: Wanted, filter: str, limits: Mapping[str, float]
    ) -> None:
        """Begin: when this is done, every point is captured.

        Raises BadSetting for a point, a filter or a bound that cannot be, StepNotReady,
        CannotReach, LabBusy.
        """
        for name, bound in limits.items():
            number = isinstance(bound, int | float) and not isinstance(bound, bool)
            if not number or not math.isfinite(bound) or bound <= 0:
                raise BadSetting(
                    f"{name} of a capture is a number above 0", seen=repr(bound), next=f"{name}=60"
                )
        self.site = site
        self.limits = limits
        found, self.names = look(site)
        spots = sorted(found.find(wanted), key=lambda each: each.rank)
        self.missing, self.sure, self.since = "", True, 0
        self.kinds: dict[int, int] = {}
        self.parts: list[tuple[Listener, list[int]]] = []
        drops = found.spots.get(live.VPC_DROPS)
        if drops and drops not in spots and {each.name for each in spots} & {live.NIC, live.VPC}:
            spots.append(replace(drops, hidden=True))
        self.spots = tuple(spots)
        host = site.instance.host
        ours = host.plain('printf %s "$SSH_CONNECTION"')
        try:
            for vantage in (True, False):  # the place's first: no drop is missed
                at = [n for n, each in enumerate(self.spots) if each.vantage == vantage]
                where = [(self.spots[n].netns, self.spots[n].device) for n in at]
                given = {"points": where, "filter": filter, **self.limits}
                if at and vantage:
                    text = ssh.text(listener.source(), **given)
                    self._begin(site.target.vantage.program(text, ours), at, wanted)
                elif at:
                    self._begin(host.stream(listener.source(), **given), at, wanted)
        except BaseException:
            self.close()
            raise

    def _begin(self, stream: listener.Stream, at: list[int], wanted: Wanted) -> None:
        made = Listener(stream, "the place" if self.spots[at[0]].vantage else "the instance")
        self.parts.append((made, at))
        told = made.begin()
        self.since = max(self.since, int(told.get("since", 0)))
        self.kinds |= {at[int(number)]: kind for number, kind in told["kinds"].items()}
        for number, why in told["unable"].items():
            if number == "-1":
                unread = MissingTool if "no tcpdump" in why else BadSetting
                raise unread(
                    "that filter cannot be used", seen=why, next='filter="icmp or arp", as tcpdump'
                )
            spot = self.spots[at[int(number)]]
            if why == BUSY and (wanted is None or spot.hidden):
                self.sure = False
                unknown = "what was dropped is unknown: " if spot.hidden else ""
                self.missing = f"{unknown}{spot.name} is another capture's just now"
                continue
            kind = LabBusy if why == BUSY else StepFailed
            raise kind(
                f"{spot.name} cannot be captured",
                seen=f"{spot.device}: {why}",
                next="end the other capture first" if why == BUSY else "lab.links()",
            )
        if not told["kinds"]:  # it has no point at all, so it has ended
            self.parts.pop()[0].close()

    @property
    def over(self) -> bool:
        """Say whether it has ended, and all of it has arrived."""
        return all(part.over for part, _ in self.parts)

    def arrived(self) -> list[Seen]:
        """Take the frames that have arrived until now."""
        return [each for part, at in self.parts for each in live.read(part.arrived(), at)]

    def finish(self) -> Catch:
        """End it; what it brought. The instance goes first: its drops are recorded by then."""
        try:
            for part, _ in reversed(self.parts):
                part.stop()
        finally:
            self.close()
        frames = self.arrived()
        lost: dict[str, int] = {}
        reasons = []
        for part, at in self.parts:
            reasons.append(str(part.ended.get("ended", "connection")))
            for number, count in part.ended.get("lost", {}).items():
                if count:
                    lost[self.spots[at[int(number)]].name] = count
        ended = live.over(next((each for each in reasons if each != "asked"), ""), self.limits)
        told = {self.spots[number].name for part, at in self.parts if part.ended for number in at}
        sure = self.sure and live.VPC_DROPS in told and live.VPC_DROPS not in lost
        until = min([part.ended["until"] for part, _ in self.parts if part.ended] or [1 << 63])
        return Catch(
            self.spots, self.kinds, frames, lost, sure, self.since, until, ended, self.missing,
            self.limits,
        )  # fmt: skip

    def end(self) -> tuple[Capture, Mapping[str, int]]:
        """End it, and make a capture of what it brought."""
        catch = self.finish()
        names = self.names
        with contextlib.suppress(LabError):
            names = _both(names, look(self.site)[1])
        made = catch.capture(names)
        with contextlib.suppress(LabError):
            made = made.knowing(deciders.facts(self.site))
        return made, catch.lost

    def close(self) -> None:
        """Let go of it: what it brought is lost."""
        for part, _ in self.parts:
            part.close()


def look(site: Site) -> tuple[Points, dict[str, str]]:
    """Read where one can capture now, and whose is what. Raises StepNotReady, CannotReach."""
    site.forget()
    instance = site.instance
    ec2: ec2_facts.Facts = instance.ec2
    cloud = handbuilt.read(instance.host, site.settings, ec2.registered_mac, learned=True)
    seen = sight.of(cloud, ec2)
    vpc = str(ec2.nics["provider"]["VpcId"])
    nics = {role: str(nic["NetworkInterfaceId"]) for role, nic in ec2.nics.items()}
    subnets = [str(nic["SubnetId"]) for nic in ec2.nics.values()]
    vantage = site.target.vantage
    found = points.read(seen, site.settings, cloud.names, vantage.points(vpc, nics))
    return found, {**vantage.owners(vpc, subnets), **seen.owners.names()}


def _both(before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, str]:
    """Name the owners; of what has changed hands meanwhile, both."""
    return {
        key: before[key]
        if after.get(key, before[key]) == before[key]
        else f"{before[key]}, then {after[key]}"
        for key in before
    } | {key: name for key, name in after.items() if key not in before}


def begin(site: Site, wanted: Wanted, filter: str, **limits: float) -> LiveCapture:
    """Begin a capture within `seconds`, `frames` and `bytes`; it is filled when it ends."""
    session = Session(site, wanted, filter, limits)
    empty = Catch(session.spots, session.kinds, [], {}).capture({})
    given = {**vars(empty), "caption": "Nothing is read before the capture ends"}
    made = LiveCapture(**given, _end=session.end)
    weakref.finalize(made, session.close)  # one that nobody ends, and nobody has any more
    return made
