"""The picture of a lab at one moment, to be put beside that of a later one."""

from __future__ import annotations

from dataclasses import dataclass

from osawslab.errors import BadSetting
from osawslab.observe import topology
from osawslab.observe.topology import Topology
from osawslab.report import Picture


@dataclass(frozen=True, repr=False)
class Drawing(Picture):
    """A picture, and the facts that it was drawn from."""

    topology: Topology

    def beside(self, after: Drawing) -> Picture:
        """Draw this one and a later one side by side; a wrong MAC is marked by words and shape.

        Raises BadSetting for what is no picture of a lab.
        """
        if not isinstance(after, Drawing):
            raise BadSetting(
                "only two pictures of a lab can be side by side",
                seen=f"a {type(after).__name__}",
                next="before = lab.topology(), later before.beside(lab.topology())",
            )
        return topology.before_after(self.topology, after.topology)


def draw(found: Topology) -> Drawing:
    """Draw facts."""
    made = topology.picture(found)
    return Drawing(made.svg, made.alt, found)
