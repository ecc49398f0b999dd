"""The state of a lab as tables and as a picture, each to be compared with a later one."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from osawslab.errors import CannotReach, StepNotReady
from osawslab.observe import drawing, forwarding, state
from osawslab.observe.difference import State
from osawslab.observe.drawing import Drawing
from osawslab.observe.state import Sight
from osawslab.reach import Reach
from osawslab.steps import run as steps
from osawslab.steps import sight, trial, work

if TYPE_CHECKING:
    from osawslab.observe.capture import Capture
    from osawslab.observe.deciding import Why
    from osawslab.observe.live import LiveCapture


class Tables(Reach):
    """What is now, read anew by each call; nothing is changed.

    Whose a MAC or an address is follows from facts: change one by hand, and its owner changes.
    All raise StepNotReady before `provision`, CannotReach.
    """

    def load_capture(self, path: str | os.PathLike[str]) -> Capture:
        """Read a pcap or pcapng file; MACs and addresses get the names of who has them now.

        Raises BadCapture; before `provision`, nobody has a name.
        """
        from osawslab.observe.capture import load_capture
        from osawslab.steps import why

        try:
            with steps.own_errors("load_capture"):
                facts = why.facts(self._site())
        except (StepNotReady, CannotReach):
            return load_capture(path)
        return load_capture(path, facts.sight.owners.names()).knowing(facts)

    def capture(
        self,
        points: str | Sequence[str] | None = None,
        filter: str = "",
        *,
        seconds: float = 600,
        frames: int = 1_000_000,
        bytes: int = 128 << 20,
    ) -> LiveCapture:
        """Capture at a point or several, all at once, as long as a `with` block; without points,
        at all of the way from the VM to the internet.

        `with lab.capture(["provider NIC", "VPC drops"]) as cap: …`. `filter` is tcpdump's. The
        bounds hold for all points together. Raises BadSetting for a point that is not there,
        CannotReach.
        """
        from osawslab.steps import listening

        with steps.own_errors("capture"):
            return listening.begin(
                self._site(), points, filter, seconds=seconds, frames=frames, bytes=bytes
            )

    def why(self, row: object) -> Why:
        """Show the one rule or table entry that decided what became of a frame, or where it goes.

        `row` is one of a capture's `frame`, or a hop of `capture.follow()`. What decides is read
        now; where no fact tells, the table has no row. Raises BadSetting for something else.
        """
        from osawslab.steps import why

        with steps.own_errors("why"):
            return why.why(self._site(), row)

    def _seen(self, name: str, make: Callable[[Sight], State]) -> State:
        with steps.own_errors(name):
            return sight.show(self._site(), make)

    def arp(self) -> State:
        """Show which MAC each address has: in AWS's books, of each place's own, as it learned."""
        return self._seen("arp", state.arp)

    def links(self) -> State:
        """Show every interface: what it is, its MAC, and the NIC AWS has it registered for."""
        return self._seen("links", state.links)

    def fdb(self) -> State:
        """Show to which port each bridge hands the frames for a MAC."""
        return self._seen("fdb", forwarding.fdb)

    def routes(self) -> State:
        """Show the way to each network: the VPC's, the host's, the router's and the VM's."""
        return self._seen("routes", forwarding.routes)

    def nat(self) -> State:
        """Show who translates which address: the VPC its Elastic IPs, the router by its rules."""
        return self._seen("nat", forwarding.nat)

    def drops(self) -> State:
        """Show what the VPC dropped, by reason; where nobody can tell, the caption says so."""
        site = self._site()
        with steps.own_errors("drops"):
            _ = site.instance
            return state.drops(site.target.vantage.drops())

    def topology(self) -> Drawing:
        """Draw what is; two moments side by side are `before.beside(after)`."""
        site = self._site()
        with steps.own_errors("topology"):
            return drawing.draw(trial.drawing(site, work.read(site), None))
