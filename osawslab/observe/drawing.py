"""The picture of a lab at one moment, to be put beside that of a later one."""

from __future__ import annotations

from dataclasses import dataclass

from osawslab.observe import topology
from osawslab.observe.topology import Topology
from osawslab.report import Picture


@dataclass(frozen=True, repr=False)
class Drawing(Picture):
    """A picture, and the facts that it was drawn from."""

    topology: Topology

    def beside(self, after: Drawing) -> Picture:
        """Draw this one and a later one side by side; a wrong MAC is marked by words and shape."""
        return topology.before_after(self.topology, after.topology)


def draw(found: Topology) -> Drawing:
    """Draw facts."""
    made = topology.picture(found)
    return Drawing(made.svg, made.alt, found)
