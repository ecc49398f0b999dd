"""Scrub through a capture, frame by frame: the picture of the way, and the frame's row beside it.

Widgets live only as long as their kernel and are not in a saved notebook. So a still is shown
too, as plain HTML, which a player that lives hides: it is what GitHub, nbconvert and a notebook
that nobody trusts yet have of it. `OSAWSLAB_PROGRESS=0` leaves the still alone.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, Protocol

from ipywidgets import (
    HTML,
    BoundedIntText,
    Button,
    HBox,
    IntSlider,
    Layout,
    Play,
    VBox,
    jslink,
    link,
)

from osawslab.errors import LabError

MILLISECONDS = 700  # between two frames while it plays
BUTTONS = {  # name: what it does, as a tooltip
    "First": "Show the first frame",
    "Back": "Show the frame before",
    "Next": "Show the next frame",
    "Last": "Show the last frame",
}


class Still(Protocol):
    """One frame, shown."""

    def _repr_html_(self) -> str: ...


class Film(Protocol):
    """What a player needs of a Capture."""

    @property
    def stills(self) -> Sequence[Still]:
        """Give what to show of each frame, made when it is asked for."""


def player(capture: Film, frame: int = 0) -> Player:
    """Make a player that begins at a frame, which is its still too; the first is 0.

    Raises BadCapture where there is no such frame.
    """
    return Player(capture.stills, frame)


class Player:
    """A slider, a number, buttons and Play, one frame between them all; and what it looks like."""

    def __init__(self, stills: Sequence[Still], frame: int) -> None:
        self.stills = stills
        self.still = stills[frame]
        at, last = range(len(stills))[frame], len(stills) - 1
        narrow = Layout(width="auto")
        # The label of an ipywidgets slider names nothing to a screen reader, that of a number does.
        self.slider = IntSlider(
            at, 0, last, readout=False, layout=Layout(flex="1 1 12em"), tabbable=True
        )
        self.number = BoundedIntText(
            at, 0, last, description="Frame", layout=Layout(width="11em"), tabbable=True
        )
        self.play = Play(at, 0, last, interval=MILLISECONDS, tooltip="Play", tabbable=True)
        self.buttons = {
            name: Button(description=name, tooltip=what, layout=narrow, tabbable=True)
            for name, what in BUTTONS.items()
        }
        for name, button in self.buttons.items():
            button.on_click(lambda _, name=name: self.go(name))
        self.shown = HTML()
        self.shown.add_class("jp-RenderedHTMLCommon")  # tables and pictures as below a cell
        link((self.slider, "value"), (self.number, "value"))
        self.link = jslink((self.play, "value"), (self.slider, "value"))
        self.slider.observe(lambda change: self.show(change["new"]), "value")
        row = Layout(flex_flow="row wrap", align_items="center")
        controls = HBox([self.play, self.slider, self.number, *self.buttons.values()], layout=row)
        self.card = VBox(
            [controls, self.shown] if last else [self.shown],  # of one, noUiSlider has no range
            layout=Layout(border="1px solid #7b8894", padding="8px 12px"),
        )
        self.show(at)

    @property
    def hidden(self) -> str:
        """Name the class of the still that this player hides while it lives."""
        return f"osawslab-still-{self.card.model_id}"

    def go(self, name: str) -> None:
        """Do what a button says."""
        at, last = self.slider.value, self.slider.max
        to = {"First": 0, "Back": max(0, at - 1), "Next": min(last, at + 1), "Last": last}
        self.slider.value = to[name]

    def show(self, frame: int) -> None:
        """Show a frame, and tell screen readers; an error is shown in its place."""
        try:
            html = self.stills[frame]._repr_html_()
        except LabError as error:
            html = f"<p><strong>{escape(error.what)}</strong></p>"
        self.shown.value = (
            f"<style>.{self.hidden} {{ display: none }}</style>"
            f'<div role="status" aria-live="polite">{html}</div>'
        )

    def __repr__(self) -> str:
        return repr(self.still)

    def _repr_html_(self) -> str:
        return self.still._repr_html_()

    def _ipython_display_(self) -> None:
        """Show the still, and the widget where a front end may be."""
        show(self, os.environ)


def show(player: Player, environ: Mapping[str, str]) -> None:
    """Display a player: its still in one output, the widget in another.

    JupyterLab shows nothing else of an output that has a widget, also where that is dead.
    """
    import IPython.display

    display: Any = IPython.display.display
    html, words = player._repr_html_(), repr(player)
    if environ.get("OSAWSLAB_PROGRESS") == "0":
        display({"text/html": html, "text/plain": words}, raw=True)
        return
    still = f'<div class="{player.hidden}">{html}</div>'
    display({"text/html": still, "text/plain": words}, raw=True)
    live = dict(player.card._repr_mimebundle_())
    live["text/plain"] = "(its player lives as long as its kernel)"
    display(live, raw=True)
