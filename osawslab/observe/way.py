"""The way of one packet as a picture: a station for each hop, a cross where it died."""

from __future__ import annotations

from textwrap import wrap
from typing import TYPE_CHECKING

from osawslab.observe.shapes import INK, PAPER, PART, QUIET, SHAPES, STROKE, WIDTH, Kind, svg, text
from osawslab.report import Picture

if TYPE_CHECKING:
    from osawslab.observe.follow import Followed, Hop

LINE, LEFT, WORDS = 17, 30, 54  # pixels: a line; where the wire is, and the words
LETTERS = 98  # that fit into a line of words of 13 pixels
WAYS = {
    "asks": "the way there",
    "ARP": "the next hop's MAC is asked for",
    "ARP answers": "the answer to that",
    "error": "what ICMP says of it",
    "answers": "the way back",
}


def mark(hop: Hop) -> Kind:
    """Choose a hop's shape: a cross where it died, a diamond where nobody can tell."""
    if hop.dropped:
        return "bad"
    if hop.verdict and hop.verdict != "delivered":
        return "note"
    return "good"


def lines(hop: Hop) -> list[str]:
    """Say what a station says below its name."""
    found = [f"{hop.says}: {hop.source} → {hop.destination}"]
    found += hop.changed
    if hop.decided:
        found.append(f"decided by {hop.decided}: {hop.decided.so}")
    if hop.verdict:
        found.append(hop.verdict)
    return found


def picture(followed: Followed) -> Picture:
    """Draw the stations from top to bottom, 760 pixels wide; equal hops give equal bytes."""
    words = [followed.caption]
    out: list[str] = []
    y = 14
    for part in wrap(followed.caption, LETTERS):
        out.append(text(14, y + 10, part, bold=True))
        y += LINE
    last, above = "", 0
    for hop in followed.hops:
        if hop.way != last:
            out.append(text(14, y + 20, WAYS[hop.way], colour=QUIET, bold=True))
            words.append(f"{WAYS[hop.way]}:")
            y += 30
        wire, above = above if hop.way == last else 0, y
        y = _station(hop, y, out, wire)
        words.append(". ".join([_name(hop), *lines(hop)]))
        last = hop.way
    return Picture(svg(out, y + 8), "\n".join(words))


def _name(hop: Hop) -> str:
    return f"{hop.at}, {hop.direction}" if hop.direction else hop.at


def _station(hop: Hop, y: int, out: list[str], above: int) -> int:
    """Draw a hop, joined to the one above; give the pixel where the next one begins."""
    said = [part for line in lines(hop) for part in wrap(line, LETTERS)]
    height = 24 + LINE * len(said) + 6
    colour, shape = SHAPES[kind := mark(hop)]
    if above:
        dashes = " stroke-dasharray='4 4'" if kind == "bad" else ""
        out.append(f"<path d='M{LEFT} {above + 32}V{y + 8}' {STROKE}{dashes}/>")
    fill, stroke = PART
    out.append(
        f"<rect x='{WORDS - 10}' y='{y}' width='{WIDTH - WORDS}' height='{height}' rx='6' "
        f"fill='{fill}' stroke='{colour if kind == 'bad' else stroke}' stroke-width='1.5'/>"
    )
    out.append(
        f"<g transform='translate({LEFT} {y + 20})' fill='{colour}' stroke='{PAPER}' "
        f"stroke-width='2' stroke-linecap='round'>{shape}</g>"
    )
    out.append(text(WORDS, y + 18, _name(hop), bold=True))
    for number, part in enumerate(said):
        last = kind != "good" and number >= len(said) - len(wrap(hop.verdict, LETTERS))
        tint = colour if last else INK if number == 0 else QUIET
        out.append(text(WORDS, y + 18 + LINE * (number + 1), part, colour=tint, bold=last))
    return y + height + 8
