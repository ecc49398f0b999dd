"""Where a capture can be made, by the words that a learner has for it: from facts.

Each point has a place on the way from the VM to the internet, so that frames with one time can be
put in order, and knows which of its directions leads there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from osawslab.cloud.names import Names
from osawslab.errors import BadSetting
from osawslab.observe.live import VPC, VPC_DROPS, Spot
from osawslab.observe.state import Sight
from osawslab.settings import Settings

STORY = ("router tenant port", "router gateway", "provider NIC", VPC, VPC_DROPS, "internet")
# What a point is -> how far from the VM, and the direction that leads to the internet.
WAY = {
    "router tenant port": (2, "in"),
    "cable to the router tenant port": (1.5, "out"),
    "router gateway": (3, "out"),
    "cable to the router gateway": (3.5, "in"),
    "provider NIC": (5, "out"),
    "management NIC": (5, "out"),
    VPC: (6, "in"),
    "VPC management": (6, "in"),
    VPC_DROPS: (7, "in"),
    "internet": (8, "in"),
}
BETWEEN = (4.0, "")  # a bridge's own interface


@dataclass(frozen=True)
class Points:
    """All points of a lab by name, other names of theirs, and groups of them."""

    spots: Mapping[str, Spot]
    other_names: Mapping[str, str]
    groups: Mapping[str, tuple[str, ...]]

    def find(self, wanted: str | Sequence[str] | None) -> list[Spot]:
        """Give the points asked for, or the one, each once; None: all that tell the story.

        Raises BadSetting for one that is not there.
        """
        if wanted is None:
            return [self.spots[name] for name in self.groups["story"] if name in self.spots]
        found: dict[str, Spot] = {}
        for word in [wanted] if isinstance(wanted, str) else wanted:
            names = self.groups.get(word, (self.other_names.get(word, word),))
            for name in names:
                if name not in self.spots:
                    raise BadSetting(
                        f"there is no point {word!r} to capture at",
                        seen=word,
                        next=f"one of: {', '.join(self.spots)}",
                    )
                found[name] = self.spots[name]
        if not found:
            raise BadSetting(
                "a capture wants a point", seen="none", next=f"one of: {', '.join(self.spots)}"
            )
        return list(found.values())


def read(
    sight: Sight, settings: Settings, called: Names, vantage: Mapping[str, tuple[str, str]]
) -> Points:
    """Find the points: the interfaces of the host, and what the place offers besides."""
    way = {
        **WAY,
        settings.vm_name: (0, "out"),
        f"cable to {settings.vm_name}": (1, "in"),
    }
    spots: dict[str, Spot] = {}
    others: dict[str, str] = {}
    for (netns, device), words in sight.owners.ports.items():
        if netns not in sight.places and netns:
            continue
        name = words if words in way and words not in spots else device
        if name in spots:
            name = f"{sight.places.get(netns, netns)}'s {device}"
        spots[name] = Spot(name, netns, device, *way.get(name, BETWEEN))
        others.setdefault(device, name)
    for name, (netns, device) in vantage.items():
        spots[name] = Spot(name, netns, device, *way[name], vantage=True)
    vm = settings.vm_name
    if vm not in spots and f"cable to {vm}" in spots:  # a process: its NIC is the cable's other end
        vm = f"cable to {vm}"
    others |= {"VM": vm, "vm": vm, settings.vm_name: vm}
    others |= {"qg-": "router gateway", "qr-": "router tenant port"}
    return Points(
        dict(sorted(spots.items(), key=lambda each: (each[1].rank, each[0]))),
        {word: name for word, name in others.items() if name in spots and word not in spots},
        {
            "story": (vm, *STORY),
            f"{settings.provider_bridge} ports": _members(sight, settings.provider_bridge, others),
        },
    )


def _members(sight: Sight, bridge: str, names: Mapping[str, str]) -> tuple[str, ...]:
    """Name the ports of a bridge that are interfaces; a patch port of Open vSwitch is none."""
    switch = (sight.host.bridges or {}).get(bridge)
    of_switch = switch.ports if switch else {}
    return tuple(
        names[name]
        for name, link in sight.host.root.links.items()
        if (name in of_switch or link.master == bridge) and name != bridge and name in names
    )
