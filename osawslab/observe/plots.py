"""Pictures of a capture, for what people would rather look at than read.

Each is a matplotlib figure of its own (no pyplot), shown as a `Chart` with the same in words as its
alt text; `.figure` is the figure itself. Nothing is told by colour alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from osawslab.errors import BadCapture
from osawslab.observe.conversation import owner
from osawslab.observe.figures import AFTER, BEFORE, INK, Chart

if TYPE_CHECKING:
    from pandas import DataFrame, Series

    from osawslab.observe.capture import Capture

SHOWN = 40  # arrows of a sequence; a longer one is read by nobody
SPOKEN = 8  # values that an alt text names one by one
DRAWN = ("ARP", "ICMP")
REQUEST, REPLY = 8, 0  # types of an echo: RFC 792
PLACES = ("provider NIC", "router gateway", "router tenant port")  # where the story is told best
MARKERS = "osD^v*PX"
DROPPED, LOST = BEFORE[0], "#1b2733"
DELIVERED = AFTER[0]
NANO = 10**9


@dataclass(frozen=True)
class Arrow:
    """One message between two owners, and what became of it."""

    sender: str
    receiver: str
    words: str
    verdict: str

    @property
    def dropped(self) -> bool:
        """Say whether it was thrown away."""
        return self.verdict.startswith("dropped")


@dataclass(frozen=True, repr=False)
class Plots:
    """The plots of a capture: `sequence()`, `round_trips()`, `drops()`."""

    capture: Capture

    def __repr__(self) -> str:
        return "Plots of a capture: sequence(), round_trips(), drops()"

    def sequence(self, point: str = "") -> Chart:
        """Draw who asks and answers whom by ARP and ICMP at a point, in order; equal ones once.

        Without a point: the provider NIC, or where there is something. Equal conversations give
        equal pictures. Raises BadCapture where nothing of it was captured.
        """
        frame = self._at(point, "protocol", DRAWN)
        arrows = _arrows(frame)
        where = str(frame["point"].iloc[0]) if frame["point"].notna().any() else ""
        title = f"ARP and ICMP{f' at {where}' if where else ''}, in order"
        figure = _sequence(arrows[:SHOWN])
        more = f"\nand {len(arrows) - SHOWN} more" if len(arrows) > SHOWN else ""
        said = (f"{a.sender} to {a.receiver}: {_sentence(a)}" for a in arrows[:SHOWN])
        figure.set_label("\n".join([f"{title}:", *said]) + more)
        return Chart(figure, title)

    def round_trips(self) -> Chart:
        """Draw how long each ping took at each point, matched by identification and sequence.

        Requests without a reply are marked. Raises BadCapture where no ping was captured.
        """
        frame = self.capture.frame
        pings = echoes(frame)
        if not len(pings):
            raise _nothing("an echo request", frame)
        title = "Round-trip times of pings"
        figure = Figure(figsize=(7.6, 3.4), layout="constrained", facecolor="white")
        axes = _axes(figure, "ping", "milliseconds")
        said = [f"{title}:"]
        for number, (name, each) in enumerate(pings.groupby("point", sort=False)):
            answered, mark = each["milliseconds"].notna(), MARKERS[number % len(MARKERS)]
            axes.plot(
                each["number"][answered], each["milliseconds"][answered], mark + "-",
                label=str(name or "captured"), color=_grey(number), linewidth=0.8,
            )  # fmt: skip
            silent = each["number"][~answered]
            if len(silent):
                axes.plot(
                    silent, [0] * len(silent), "x", color=DROPPED, markersize=9, markeredgewidth=2,
                    label=f"{name or 'captured'}: no reply",
                )  # fmt: skip
            said.append(_spoken(str(name or "captured"), each))
        axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        figure.legend(loc="outside upper left", ncols=2, frameon=False)
        figure.set_label("\n".join(said))
        return Chart(figure, title)

    def drops(self) -> Chart:
        """Draw how many frames were dropped, by reason, over the time of the capture.

        A capture around the swap shows the line rise and stop. Raises BadCapture where the
        capture has no verdicts.
        """
        frame = self.capture.frame
        judged = frame[frame["verdict"].notna() & frame["time"].notna()]
        if not len(judged):
            raise _nothing("a verdict", frame)
        place = _best(judged)
        judged = judged[judged["point"].astype(object).fillna("") == place]
        begin, end = judged["time"].min(), judged["time"].max()
        verdicts = judged["verdict"].astype(str)
        figure = Figure(figsize=(7.6, 3.4), layout="constrained", facecolor="white")
        axes = _axes(figure, "seconds since the first frame", "frames")
        title = f"Frames dropped and delivered{f' at {place}' if place else ''}, over time"
        said = [f"{title}, {_seconds(end - begin):.1f} s:"]
        for number, reason in enumerate(sorted(verdicts.unique())):
            times = judged["time"][verdicts == reason]
            seconds = [_seconds(each - begin) for each in times]
            lost = reason.startswith("dropped")
            axes.step(
                [0.0, *seconds, _seconds(end - begin)], [*range(len(seconds) + 1), len(seconds)],
                where="post", label=f"{reason} ({len(seconds)})",
                color=DROPPED if lost else INK, linestyle=("-", "--", ":", "-.")[number % 4],
                linewidth=2 if lost else 1.2,
            )  # fmt: skip
            first, last = seconds[0], seconds[-1]
            said.append(f"{len(seconds)} {reason}, from {first:.1f} s to {last:.1f} s")
        figure.legend(loc="outside upper left", frameon=False)
        figure.set_label("\n".join(said))
        return Chart(figure, title)

    def _at(self, point: str, column: str, wanted: Sequence[str]) -> DataFrame:
        frame = self.capture.frame
        found = frame[frame[column].isin(wanted) & ~frame["broken"]]
        places = found["point"].astype(object).fillna("")
        if point and point not in set(places):
            raise BadCapture(
                f"no {' or '.join(wanted)} was captured at {point!r}",
                seen=", ".join(sorted({str(each) for each in places if each})) or "none at all",
                next="name one of these points",
            )
        if not len(found):
            raise _nothing(" or ".join(wanted), frame)
        return found[places == (point or _best(found))]


def echoes(frame: DataFrame) -> DataFrame:
    """Match echo requests with their replies at each point: point, number, milliseconds.

    `number` counts the requests of a point from 1, whatever program sent them; without a reply
    `milliseconds` is NaN. A request that was sent again keeps its first time.
    """
    import pandas as pd

    columns = ["point", "src", "dst", "ident", "seq", "time", "icmp_type"]
    icmp = frame[(frame["protocol"] == "ICMP") & ~frame["broken"] & frame["time"].notna()][columns]
    plain = icmp.assign(
        **{name: icmp[name].astype(object).fillna("") for name in ("point", "src", "dst")}
    )
    asked = plain[(plain["icmp_type"] == REQUEST).fillna(False)]
    keys = ["point", "src", "dst", "ident", "seq"]
    asked = asked.drop_duplicates(keys)
    told = plain[(plain["icmp_type"] == REPLY).fillna(False)].rename(
        columns={"src": "dst", "dst": "src"}
    )
    both = asked.merge(told.drop_duplicates(keys), "left", keys, suffixes=("", "_told"))
    took = (both["time_told"] - both["time"]) / pd.Timedelta(milliseconds=1)
    number = both.groupby("point", sort=False).cumcount() + 1
    return pd.DataFrame({"point": both["point"], "number": number, "milliseconds": took})


def _nothing(what: str, frame: DataFrame) -> BadCapture:
    kinds = ", ".join(sorted(map(str, frame["protocol"].dropna().unique()))) or "nothing"
    return BadCapture(
        f"there is not {what} in this capture",
        seen=f"{len(frame)} frames: {kinds}",
        next="with lab.capture() as cap: lab.verify()",
    )


def _best(frame: DataFrame) -> str:
    """Choose the point to tell a story at: where the most is known, else the first."""
    names = [str(each) for each in frame["point"].astype(object).fillna("").unique()]
    return next((name for name in PLACES if name in names), names[0])


def _arrows(frame: DataFrame) -> list[Arrow]:
    """List the messages, each once, in order of their first appearance."""
    columns = ["src_mac", "src_owner", "dst_mac", "dst_owner", "says", "verdict"]
    plain = frame[columns].astype(object).fillna("").drop_duplicates()
    return list(
        dict.fromkeys(
            Arrow(_who(a, b), _who(c, d), str(says), str(verdict))
            for a, b, c, d, says, verdict in plain.itertuples(index=False)
        )
    )


def _who(mac: str, named: str) -> str:
    """Name an end: its owner, and the MAC of one that nobody knows."""
    named = named or owner(mac, {})
    return f"{named}\n{mac}" if named == "unknown" else named


def _sentence(arrow: Arrow) -> str:
    return f"{arrow.words}, {arrow.verdict}" if arrow.verdict else arrow.words


def _sequence(arrows: Sequence[Arrow]) -> Figure:
    """Draw lifelines from left to right in order of appearance, and an arrow for each message."""
    lives = list(dict.fromkeys(end for a in arrows for end in (a.sender, a.receiver)))
    figure = Figure(
        figsize=(max(7.6, 2.7 * len(lives)), 1.1 + 0.58 * len(arrows)), layout="constrained",
        facecolor="white",
    )  # fmt: skip
    axes = figure.add_subplot()
    axes.set_axis_off()
    axes.set_xlim(-0.6, max(1, len(lives) - 1) + 0.6)
    axes.set_ylim(len(arrows) + 0.4, -0.6)
    for place, name in enumerate(lives):
        axes.plot([place, place], [0, len(arrows) + 0.3], ":", color=INK, linewidth=1)
        axes.text(
            place, -0.15, name.replace(", ", ",\n"), ha="center", va="bottom", color=INK,
            fontsize=9, weight="bold", clip_on=False,
        )  # fmt: skip
    for row, arrow in enumerate(arrows, 0):
        _arrow(axes, lives.index(arrow.sender), lives.index(arrow.receiver), row + 0.65, arrow)
    return figure


def _arrow(axes: Axes, begin: int, end: int, at: float, arrow: Arrow) -> None:
    if begin == end:
        end = begin + 1 if begin == 0 else begin - 1
    stop = begin + (end - begin) * (0.62 if arrow.dropped else 1)
    colour = DROPPED if arrow.dropped else INK
    axes.annotate(
        "", (stop, at), (begin, at),
        arrowprops={
            "arrowstyle": "-" if arrow.dropped else "->", "color": colour, "shrinkA": 0,
            "shrinkB": 0, "linestyle": "--" if arrow.dropped else "-", "linewidth": 1.5,
        },
    )  # fmt: skip
    if arrow.dropped:  # it ends before its receiver, in a cross
        axes.plot([stop], [at], "x", color=colour, markersize=10, markeredgewidth=2.5)
    behind = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}  # no line through words
    axes.text(
        (begin + end) / 2, at - 0.1, arrow.words, ha="center", va="bottom", fontsize=8.5,
        bbox=behind,
    )  # fmt: skip
    if arrow.dropped:
        axes.text(
            (begin + end) / 2, at + 0.14, arrow.verdict, ha="center", va="top", fontsize=7.5,
            color=colour, style="italic", bbox=behind,
        )  # fmt: skip


def _axes(figure: Figure, across: str, up: str) -> Axes:
    axes = figure.add_subplot()
    axes.set_xlabel(across)
    axes.set_ylabel(up)
    axes.spines[["top", "right"]].set_visible(False)
    return axes


def _grey(number: int) -> Any:
    return (INK, "#4d5b68", "#7b8894", "#2f6db3")[number % 4]


def _seconds(time: Any) -> float:
    return float(time.value) / NANO


def _spoken(name: str, pings: DataFrame) -> str:
    """Say a series in words."""
    took: Series[float] = pings["milliseconds"].dropna()
    text = f"{name}: {len(took)} of {len(pings)} answered"
    if not len(took):
        return text
    if len(took) <= SPOKEN:
        return f"{text}, in {', '.join(f'{each:.2f}' for each in took)} ms"
    return f"{text}, in {took.min():.2f} to {took.max():.2f} ms, half of them within" + (
        f" {took.median():.2f} ms"
    )
