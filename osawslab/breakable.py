"""What breaks a lab on purpose and mends it: faults to look for with `lab.diagnose()`."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from osawslab.report import Report, Table
from osawslab.steps import run as steps
from osawslab.tables import Tables

if TYPE_CHECKING:
    from osawslab.steps.site import Site


class Breakable(Tables):
    """A lab that can be broken. All raise StepNotReady before `provision`, CannotReach."""

    def _working(self, step: str) -> AbstractContextManager[Site]:
        """Hold the lab's lock; `Lab` knows how."""
        raise NotImplementedError

    def faults(self) -> Table:
        """List the faults that this lab can have: name, station, what is seen, difficulty, where.

        Before the lab is up, all there are. Changes nothing.
        """
        from osawslab.steps import breaking

        with steps.own_errors("faults"):
            return breaking.listed(self._site())

    def break_it(self, name: str = "", *, seed: int | None = None) -> Table:
        """Cause a fault by its name, or one that a seed chooses: then nobody is told which.

        Gives `broken()`. Raises BadSetting for a name there is not, or that this lab cannot have;
        StepNotReady where the lab does not work yet, or has a fault that does not go with it.
        """
        from osawslab.steps import breaking

        with self._working("break_it") as site, steps.own_errors("break_it"):
            return breaking.break_it(site, name, seed)

    def mend(self) -> Report:
        """Undo what `break_it` has done, and only that; on a lab that is not broken, nothing."""
        from osawslab.steps import breaking

        with self._working("mend") as site, steps.own_errors("mend"):
            return breaking.mend(site)

    def broken(self) -> Table:
        """Show what is broken on purpose, and not healed since: fault, what is seen, how chosen.

        A fault that a seed chose is "not told". Changes nothing. For programs:
        `steps.breaking.now(site)` has the names.
        """
        from osawslab.steps import breaking

        with steps.own_errors("broken"):
            return breaking.shown(breaking.now(self._site()))
