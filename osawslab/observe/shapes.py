"""What pictures are drawn with: colours, wires, texts, marks whose shape says what they say."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Literal

SANS = "system-ui, 'Segoe UI', Helvetica, Arial, 'DejaVu Sans', sans-serif"
MONO = "ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace"
INK, QUIET, LINE, PAPER = "#1b2733", "#4d5b68", "#7b8894", "#ffffff"
# Fill and stroke of each kind of place. Texts are INK or QUIET: contrast above 5 to 1 on all.
VPC, HOST, PART = ("#e3eefa", "#2f6db3"), ("#f3f5f7", LINE), (PAPER, LINE)
ROUTER, TENANT = ("#fdf3dd", "#a86f12"), ("#e6f5ec", "#2c7d57")

WIDTH = 760  # pixels: a notebook's cell and GitHub's page show it unscaled
LETTER = 7.25  # pixels: a letter of MONO
STROKE = f"stroke='{INK}' stroke-width='2'"

Kind = Literal["good", "bad", "note"]
SHAPES: dict[Kind, tuple[str, str]] = {  # a disc with a tick, an octagon with a cross, a diamond
    "good": ("#17693f", "<circle r='8.5'/><path d='M-4 0.5l3 3 5-6.5'/>"),
    "bad": (
        "#b3261e",
        "<path d='M-3.7-9h7.4l5.3 5.3v7.4l-5.3 5.3h-7.4l-5.3-5.3v-7.4z' stroke='none'/>"
        "<path d='M-3.5-3.5l7 7m0-7l-7 7'/>",
    ),
    "note": ("#4d5b68", "<path d='M0-9.5L9.5 0 0 9.5-9.5 0z' stroke='none'/><path d='M-4 0h8'/>"),
}


@dataclass(frozen=True)
class Mark:
    """A shape and the words that say the same."""

    kind: Kind
    words: str


def mark(said: Mark, x: int, y: int, halo: bool = False) -> list[str]:
    """Draw a mark: its shape, and its words to the right of it."""
    colour, shape = SHAPES[said.kind]
    return [
        *([f"<circle cx='{x}' cy='{y}' r='12' fill='{PAPER}'/>"] if halo else []),
        f"<g transform='translate({x} {y})' fill='{colour}' stroke='{PAPER}' stroke-width='2' "
        f"stroke-linecap='round'>{shape}</g>",
        text(x + 16, y + 4.5, said.words, colour=colour, bold=True),
    ]


def wire(x: int, top: int, bottom: int, broken: bool = False) -> str:
    """Draw a wire from top to bottom, dashed where it is broken."""
    dashes = " stroke-dasharray='4 4'" if broken else ""
    return f"<path d='M{x} {top}V{bottom}' {STROKE}{dashes}/>"


def text(
    x: float,
    y: float,
    words: str,
    *,
    colour: str = INK,
    size: float = 13,
    bold: bool = False,
    mono: bool = False,
    end: bool = False,
) -> str:
    """Write words whose baseline is at y; `end`: they end at x."""
    style = f"font-family=\"{MONO}\" font-size='12'" if mono else f"font-size='{size}'"
    style += " font-weight='600'" if bold else ""
    style += " text-anchor='end'" if end else ""
    return f"<text x='{x}' y='{y}' fill='{colour}' {style}>{escape(words)}</text>"


def fit(words: str, pixels: float) -> str:
    """Shorten words of MONO to so many pixels."""
    room = int(pixels / LETTER)
    return words if len(words) <= room else words[: room - 1] + "…"


def svg(parts: list[str], height: int) -> str:
    """Put parts on paper of WIDTH."""
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{WIDTH}' height='{height}' "
        f"viewBox='0 0 {WIDTH} {height}' font-family=\"{SANS}\">"
        f"<rect width='{WIDTH}' height='{height}' rx='8' fill='{PAPER}'/>{''.join(parts)}</svg>"
    )
