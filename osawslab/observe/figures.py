"""How many frames the VPC dropped, by reason, before and after the swap.

`drops_figure` gives a matplotlib figure of its own (no pyplot: its global state is not safe where
a panel's thread and a cell run at once); `drops_chart` shows it in a notebook, `drops_picture`
gives it as an SVG.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO, StringIO

from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from osawslab.report import Picture

REASONS = {  # in the order in which the VPC tries them
    "mac": "source MAC\nnot registered",
    "arp": "ARP sender\nnot registered",
    "ip": "source IP\nnot registered",
}
# Colours of the Okabe-Ito palette, told apart by lightness too; the hatch and the words say it.
INK = "#1b2733"
BEFORE, AFTER = ("#d55e00", "/"), ("#9ad1f0", None)


def drops_text(before: Mapping[str, int], after: Mapping[str, int]) -> str:
    """Say the figure in words: frames by reason during the ping before and after the swap.

    >>> drops_text({"mac": 3}, {}).split(", ")[0].splitlines()
    ['Frames dropped by the VPC during a ping:', 'before the swap: 3 source MAC not registered']
    """
    lines = ["Frames dropped by the VPC during a ping:"]
    for when, drops in (("before", before), ("after", after)):
        counts = (f"{drops.get(key, 0)} {why}".replace("\n", " ") for key, why in REASONS.items())
        lines.append(f"{when} the swap: {', '.join(counts)}")
    return "\n".join(lines)


def drops_figure(before: Mapping[str, int], after: Mapping[str, int]) -> Figure:
    """Draw drops by reason (mac, arp, ip; a missing one is 0) as bars with their numbers.

    The figure's label (`get_label()`) is its alt text.
    """
    figure = Figure(figsize=(7.6, 3.2), layout="constrained", facecolor="white")
    figure.set_label(drops_text(before, after))
    axes = figure.add_subplot()
    for when, drops, (colour, hatch), offset in (
        ("before", before, BEFORE, -0.2),
        ("after", after, AFTER, 0.2),
    ):
        counts = [drops.get(key, 0) for key in REASONS]
        places = [place + offset for place in range(len(REASONS))]
        bars = axes.barh(
            places,
            counts,
            height=0.36,
            label=f"ping {when} the swap",
            color=colour,
            hatch=hatch,
            edgecolor=INK,
        )
        axes.bar_label(bars, labels=[f"{count} {when}" for count in counts], padding=4, color=INK)
    axes.set_yticks(range(len(REASONS)), list(REASONS.values()))
    axes.invert_yaxis()
    most = max([1, *before.values(), *after.values()])
    axes.set_xlim(0, most * 1.16)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("frames dropped by the VPC")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper left", ncols=2, frameon=False)
    return figure


def drops_picture(before: Mapping[str, int], after: Mapping[str, int]) -> Picture:
    """Give the figure as an SVG with alt text; equal numbers give equal bytes."""
    out = StringIO()
    with rc_context({"svg.hashsalt": "osawslab"}):  # else ids are random
        drops_figure(before, after).savefig(
            out, format="svg", metadata={"Date": None, "Creator": None}
        )
    return Picture(out.getvalue(), drops_text(before, after))


@dataclass(frozen=True)
class Chart:
    """A figure as a notebook shows it: a PNG, the figure's label as its alt text."""

    figure: Figure
    title: str  # says what it shows, without the numbers

    def __repr__(self) -> str:
        return self.title

    def _repr_png_(self) -> tuple[bytes, dict[str, str]]:
        out = BytesIO()
        self.figure.savefig(out, format="png", metadata={"Software": None})
        return out.getvalue(), {"alt": str(self.figure.get_label())}


@dataclass(frozen=True)
class Uncounted:
    """Instead of a figure, where nobody can count what the VPC drops."""

    def __repr__(self) -> str:
        return "Here nobody can count what the VPC drops: only what left the NIC is known."


def drops_chart(
    before: Mapping[str, int] | None, after: Mapping[str, int] | None
) -> Chart | Uncounted:
    """Show the figure in a notebook; equal numbers give equal bytes. None: not counted.

    >>> drops_chart({"mac": 3}, {})
    Frames dropped by the VPC during a ping, before and after the swap
    >>> drops_chart(None, None)
    Here nobody can count what the VPC drops: only what left the NIC is known.
    """
    if before is None or after is None:
        return Uncounted()
    title = "Frames dropped by the VPC during a ping, before and after the swap"
    return Chart(drops_figure(before, after), title)
