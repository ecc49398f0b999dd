"""Stills of a capture: one frame at its point on the way, as a picture, and its row as a table.

The way is the capture's own points: the VM's end at the bottom, the internet's on top. The frame
is drawn at the point it was seen at, with an arrow the way it went and its verdict in words and
by shape. A still is made when it is asked for, and not kept: a capture may have millions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, overload

from osawslab.observe.container import NO_TIME
from osawslab.observe.conversation import COLUMNS, Conversation, printable
from osawslab.observe.shapes import INK, LETTER, LINE, MONO, PAPER, QUIET, SANS, SHAPES, VPC, Kind
from osawslab.report import Picture, Table

if TYPE_CHECKING:
    from osawslab.observe.capture import Capture

WIDTH, LEFT = 500, 44  # pixels: a picture, and what is beside its boxes for the arrow
STOP, GAP, LINES = 30, 8, 5  # pixels: a point, and between two; lines in the frame's own
ROW, WORDS = 19, 7.0  # pixels: a line, a letter of SANS
AROUND = 8  # points drawn on either side of the frame's
NANO = 10**9
TOWARDS = {"up": "towards the internet", "down": "towards the VM"}
ARROWS = {  # from the middle of the frame's box, 60 pixels long
    "up": "M0 30V-26M-7 -17L0 -28L7 -17",
    "down": "M0 -30V26M-7 17L0 28L7 17",
    "out": "M14 0H-14M-5 -7L-15 0L-5 7",
    "in": "M-14 0H14M5 -7L15 0L5 7",
}
STOPPED = {"up": "M0 30V-12", "down": "M0 -30V12", "out": "M14 0H-2", "in": "M-14 0H2"}
ENDS = {"up": (0, -20), "down": (0, 20), "out": (-10, 0), "in": (10, 0)}


@dataclass(frozen=True)
class Still:
    """One frame: where on the way it was seen, and what a row says of it."""

    picture: Picture
    row: Table

    def __repr__(self) -> str:
        return f"{self.picture!r}\n\n{self.row!r}"

    def _repr_html_(self) -> str:
        return (
            '<div style="display: flex; flex-wrap: wrap; gap: 16px; align-items: flex-start">'
            f"<div>{self.picture._repr_html_()}</div><div>{self.row._repr_html_()}</div></div>"
        )


@dataclass(frozen=True)
class Seen:
    """What a picture shows of a frame. `way`: "up", "down", "in", "out", or "" as nobody knows."""

    place: int  # of its point among the points
    way: str
    source: str
    target: str
    addresses: str
    says: str
    verdict: str

    @property
    def kind(self) -> Kind | None:
        """Choose the shape of the verdict; None where nobody knows one."""
        if not self.verdict:
            return None
        if self.verdict.startswith("dropped"):
            return "bad"
        return "good" if self.verdict == "delivered" else "note"


@dataclass(frozen=True, repr=False)
class Stills(Sequence[Still]):
    """The stills of a capture, by a frame's place in it; each is made when it is asked for."""

    capture: Capture

    def __repr__(self) -> str:
        return f"{len(self):,} stills of frames"

    def __len__(self) -> int:
        return len(self.capture)

    @overload
    def __getitem__(self, at: int) -> Still: ...
    @overload
    def __getitem__(self, at: slice) -> Stills: ...
    def __getitem__(self, at: int | slice) -> Still | Stills:
        """Make one; of a slice, the stills of some. Raises BadCapture where there is none."""
        if isinstance(at, slice):
            return Stills(self.capture.take(range(len(self))[at]))
        return self._still(self.capture.place(at))

    def __iter__(self) -> Iterator[Still]:
        return map(self._still, range(len(self)))

    def _still(self, row: int) -> Still:
        columns = self.capture.columns
        at, source, target, protocol, src, dst, says, verdict = Conversation(columns).words(row)
        number = int(columns["_point"].values[row])
        points = self.capture.points
        names = [point.name or f"interface {n}" for n, point in enumerate(points)]
        if number < 0:
            number, at = len(names), at or "an unknown point"
            names.append(at)
        code = int(columns["direction"].values[row])
        direction = ("in", "out")[code] if code >= 0 else ""
        outward = points[number].outward if number < len(points) else ""
        way = direction
        if outward:  # nobody says of a drop where it was going: it was on its way out
            way = "up" if direction in ("", outward) else "down"
        seen = Seen(
            number, way, source, target, " to ".join(filter(None, (src, dst))),
            says if protocol in says else f"{protocol} {says}".strip(), verdict,
        )  # fmt: skip
        told = {
            "time": self._time(row),
            "at": printable(names[number]),
            "direction": " ".join(filter(None, (direction, TOWARDS.get(way, "")))),
            **dict(zip(COLUMNS, (source, target, protocol, src, dst, says), strict=True)),
            "verdict": verdict,
            "bytes": str(int(columns["length"].values[row])),
        }
        caption = f"Frame {row} (of 0 to {len(self) - 1})"
        rows = tuple((name, text) for name, text in told.items() if text)
        return Still(draw([printable(each) for each in names], seen), Table(caption, PAIR, rows))

    def _time(self, row: int) -> str:
        time = self.capture.columns["time"].values
        if NO_TIME in (time[row], time[0]):
            return ""
        return f"{(int(time[row]) - int(time[0])) / NANO:+.6f} s after the first"


PAIR = ("what", "of this frame")


def draw(points: Sequence[str], seen: Seen) -> Picture:
    """Draw points, the first at the bottom, and a frame at one of them. Equal ones: equal bytes.

    Of many points those near the frame's are drawn, and how many are left out is said.
    """
    first, last = max(0, seen.place - AROUND), min(len(points), seen.place + AROUND + 1)
    parts: list[str] = []
    y = 6
    if last < len(points):
        parts.append(_text(LEFT, y + 14, f"{len(points) - last} more above", QUIET))
        y += ROW
    top, height = y, 0
    for place in reversed(range(first, last)):
        height = 32 + ROW * LINES if place == seen.place else STOP
        if place == seen.place:
            parts += _marked(points[place], seen, y, height)
        else:
            parts += [
                _box(y, height, PAPER, LINE, 1),
                f"<circle cx='22' cy='{y + height / 2:g}' r='4' fill='{LINE}'/>",
                _text(LEFT + 12, y + 20, _fit(points[place], WORDS), QUIET),
            ]
        y += height + GAP
    way = f"<path d='M22 {top}V{y - GAP}' stroke='{LINE}' stroke-width='2'/>"
    if first:
        parts.append(_text(LEFT, y + 10, f"{first} more below", QUIET))
        y += ROW
    svg = (
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{WIDTH}' height='{y}' "
        f"viewBox='0 0 {WIDTH} {y}' font-family=\"{SANS}\">"
        f"<rect width='{WIDTH}' height='{y}' rx='8' fill='{PAPER}'/>{way}{''.join(parts)}</svg>"
    )
    return Picture(svg, _words(points[seen.place], seen))


def _words(point: str, seen: Seen) -> str:
    """Say the picture: where, which way, who to whom, what, what became of it."""
    way = TOWARDS.get(seen.way, {"in": "into it", "out": "out of it"}.get(seen.way, ""))
    said = [
        f"At {point}{f', {way}' if way else ''}: from {seen.source or 'nobody'}"
        f" to {seen.target or 'nobody'}",
        *filter(None, (seen.addresses, seen.says, seen.verdict)),
    ]
    return "; ".join(said)


def _marked(name: str, seen: Seen, y: int, height: int) -> list[str]:
    fill, stroke = VPC
    middle = y + height / 2
    out = [
        f"<rect x='6' y='{y}' width='32' height='{height}' fill='{PAPER}'/>",
        _box(y, height, fill, stroke, 2.5),
        _text(LEFT + 12, y + 20, _fit(name, WORDS + 1), INK, "font-weight='600'"),
    ]
    lines = (f"from {seen.source}", f"to   {seen.target}", seen.addresses, seen.says)
    for number, line in enumerate(lines, 1):
        words, style = _fit(line, LETTER), f"font-family=\"{MONO}\" font-size='12'"
        out.append(_text(LEFT + 12, y + 20 + ROW * number, words, INK, style))
    bad = seen.kind == "bad"
    drawn = (STOPPED if bad else ARROWS).get(seen.way, "M-6 0H6")
    dashes = " stroke-dasharray='5 4'" if bad else ""
    out.append(
        f"<g transform='translate(22 {middle:g})'><path d='{drawn}' fill='none' stroke='{INK}' "
        f"stroke-width='3' stroke-linecap='round'{dashes}/></g>"
    )
    if seen.kind:
        colour, shape = SHAPES[seen.kind]
        right, down = ENDS.get(seen.way, (0, 0))
        at: list[tuple[float, float]] = [(LEFT + 20, y + 16 + ROW * LINES)]
        at += [(22 + right, middle + down)] if bad else []
        out += [
            f"<g transform='translate({x:g} {line:g})' fill='{colour}' stroke='{PAPER}' "
            f"stroke-width='2' stroke-linecap='round'>{shape}</g>"
            for x, line in at
        ]
        words = _fit(seen.verdict, WORDS + 1, 36)
        style = "font-weight='600'"
        out.append(_text(LEFT + 36, y + 20 + ROW * LINES, words, colour, style))
    return out


def _box(y: int, height: int, fill: str, stroke: str, width: float) -> str:
    return (
        f"<rect x='{LEFT}' y='{y}' width='{WIDTH - LEFT - 6}' height='{height}' rx='6' "
        f"fill='{fill}' stroke='{stroke}' stroke-width='{width:g}'/>"
    )


def _text(x: float, y: float, words: str, colour: str, style: str = "") -> str:
    size = "" if "font-size" in style else " font-size='13'"
    # Blanks stay as they are: "to" is as wide as "from".
    return (
        f"<text x='{x}' y='{y}' fill='{colour}' xml:space='preserve'{size} {style}>"
        f"{escape(words)}</text>"
    )


def _fit(words: str, letter: float, left: int = 12) -> str:
    room = int((WIDTH - LEFT - 18 - left) / letter)
    return words if len(words) <= room else words[: room - 1] + "…"
