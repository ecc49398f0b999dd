"""The exercises: what a learner is told, and the faults that may be behind it.

Which of them it is follows from the seed; neighbouring seeds have different ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

from osawslab.errors import BadSetting
from osawslab.faults.catalogue import FAULTS

Faults = tuple[str, ...]  # names; all are there at once


@dataclass(frozen=True)
class Exercise:
    """An exercise: `pool` has what may be broken, one choice for each seed in turn."""

    name: str
    title: str
    told: str  # what whoever reports the trouble says
    pool: tuple[Faults, ...]

    @property
    def own(self) -> bool:
        """True for a trainer's choice, whose name is the answer."""
        return self.name not in EXERCISES

    @property
    def called(self) -> str:
        """Give what a learner is told that it is called."""
        return OWN if self.own else self.name

    @property
    def heading(self) -> str:
        """Give what stands above it."""
        return f"{OWN[0].upper()}{OWN[1:]}" if self.own else f"Exercise {self.name}: {self.title}"

    @property
    def causes(self) -> int:
        """The number of causes, the same for every seed."""
        return len(self.pool[0])

    def faults(self, seed: int) -> Faults:
        """Give the faults behind a seed."""
        return self.pool[(seed - 1) % len(self.pool)]


def single(*names: str) -> tuple[Faults, ...]:
    """Make a pool of one fault each."""
    return tuple((name,) for name in names)


OWN = "the trainer's choice"
EXERCISES = {
    each.name: each
    for each in (
        Exercise(
            "router",
            "one cause, in the router",
            "Since this morning nobody reaches the VM, and the VM reaches nobody. The instance"
            " itself answers. Somebody has worked in the router's namespace.",
            single(
                "no-default-route", "gateway-mac", "gateway-down", "gateway-other-address",
                "other-default-route", "gateway-no-address",
            ),
        ),
        Exercise(
            "wire",
            "one cause, between AWS and the router",
            "The router looks as it should: its port, its MAC, its address, its routes. Not one"
            " ping of it is answered.",
            single("nic-unplugged", "nic-down", "fdb-fixed"),
        ),
        Exercise(
            "books",
            "one cause, in AWS's books",
            "Nobody has touched the instance. Somebody has tidied up in the AWS console.",
            single(
                "group-closed", "no-elastic-ip", "no-vpc-route", "elastic-ip-elsewhere",
                "group-lets-nothing-out", "other-vpc-route",
            ),
        ),
        Exercise(
            "half",
            "one cause, and half of it works",
            "The router pings the internet. Users of the VM complain all the same.",
            single(
                "snat-missing", "dnat-missing", "forwarding-off", "vm-no-route", "dnat-other-vm",
                "forward-drops",
            ),
        ),
        Exercise(
            "two",
            "two causes, both in plain sight",
            "Two colleagues have changed something last night, and neither knows of the other."
            " The router pings the internet; nothing else works.",
            (
                ("snat-missing", "dnat-missing"),
                ("snat-jump-missing", "dnat-other-port"),
                ("snat-missing", "dnat-other-vm"),
            ),
        ),
        Exercise(
            "hidden",
            "two causes, and one hides the other",
            "Nothing works. One cause was found and mended quickly, says the night shift, and"
            " still nobody could log in to the VM; so they put it back as it was, and went home.",
            (
                ("gateway-mac", "dnat-other-port"),
                ("nic-down", "vm-no-route"),
                ("no-default-route", "dnat-other-vm"),
            ),
        ),
    )
}  # fmt: skip


def named(name: str) -> Exercise:
    """Give an exercise, or one of faults that a trainer has named: "nic-down+dnat-missing".

    Raises BadSetting.
    """
    if name in EXERCISES:
        return EXERCISES[name]
    faults = tuple(name.split("+"))
    if unknown := [each for each in faults if each not in FAULTS]:
        raise BadSetting(
            f"there is no exercise {name!r}", seen=unknown[0],
            next=f"one of: {', '.join(EXERCISES)}; or faults, such as nic-down+dnat-missing",
        )  # fmt: skip
    for one, two in combinations(faults, 2):
        if not FAULTS[one].goes_with(FAULTS[two]):
            raise BadSetting(
                f"{one} and {two} do not go together", seen=name,
                next="one of them, or others: lab.faults()",
            )  # fmt: skip
    return Exercise(name, OWN, " ".join(_told(FAULTS[each].symptom) for each in faults), (faults,))


def _told(symptom: str) -> str:
    return f"{symptom[0].upper()}{symptom[1:]}."
