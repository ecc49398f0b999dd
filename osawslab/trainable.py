"""A lab to train with: exercises, and how far each is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from osawslab.breakable import Breakable
from osawslab.report import Table

if TYPE_CHECKING:
    from osawslab.clinic.station import Diagnosis
    from osawslab.exercises.exercise import Practice


class Trainable(Breakable):
    """Exercises of a lab; what was found is kept as a tag of its instance."""

    def catch_up(self, step: str) -> None:
        """Run what is missing before a step; `Lab` knows how."""
        raise NotImplementedError

    def diagnose(self, nic: str = "") -> Diagnosis:
        """Say what is wrong; `Lab` knows how."""
        raise NotImplementedError

    def exercise(self, name: str = "", seed: int | None = None) -> Practice:
        """Begin an exercise, or go on with it; without a name, with the one begun last.

        The lab is made whole, then broken; what it is follows from the seed, and nobody is told.
        Raises StepNotReady where another one is still broken, BadSetting.
        """
        from osawslab.exercises import exercise

        return exercise.open(self, name, seed)

    def exercises(self) -> Table:
        """List the exercises, and how far each is in this lab."""
        from osawslab.exercises import exercise

        return exercise.table(self)
