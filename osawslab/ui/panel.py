"""A card of buttons for one step: the same calls as in a cell, for those who prefer to click.

Everything is shown in one HTML widget, whose value is the only thing that a thread sets: an
Output widget loses what threads write. One panel works at a time; a click does not wait.
"""

from __future__ import annotations

import contextlib
import sys
import traceback
from html import escape
from threading import Lock, Thread
from typing import Any, Protocol

from ipywidgets import HTML, Button, HBox, Label, Layout, VBox, Widget

from osawslab.errors import LabError
from osawslab.ui.progress import HtmlProgress, Progress

HINTS = 3  # levels: a nudge, the way, the solution
BUTTONS = {  # name: what it does, as a tooltip
    "Plan": "Show what this step would do now, and do nothing",
    "Run": "Do what is missing",
    "Check": "Hold the facts against what they should be",
    "Hint": "Help a little; again: help more",
    "Reset": "Undo this step and every later one",
}
AT_WORK = Lock()


class Steps(Protocol):
    """What a panel needs of a Lab."""

    progress: Progress

    def plan(self, step: str) -> Any:
        """Say what a step would do."""

    def run(self, step: str) -> Any:
        """Do what is missing."""

    def check(self, step: str) -> Any:
        """Check a step's facts."""

    def hint(self, step: str, level: int) -> str:
        """Give the hint of a level, 1 to 3."""

    def reset(self, step: str) -> Any:
        """Undo the step and every later one."""

    def time_left(self) -> str:
        """Say how long the lab goes on; "" where nothing ends it."""

    def cost_so_far(self) -> str:
        """Say what the lab has cost at most until now; "" for nothing."""


def panel(lab: Steps, step: str) -> Widget:
    """Make the card of a step; its last child is the HTML widget with what was said last."""
    return Panel(lab, step).card


class Panel:
    """The buttons of one step and the place where their answers appear."""

    def __init__(self, lab: Steps, step: str) -> None:
        self.lab, self.step, self.level = lab, step, 0
        self.shown = HTML(said("<p>Plan shows what would be done. Nothing has been done yet.</p>"))
        self.shown.add_class("jp-RenderedHTMLCommon")  # tables and pictures as below a cell
        self.buttons = {
            name: Button(
                description=name,
                tooltip=f"{step}: {what}",
                tabbable=True,
                layout=Layout(width="auto", min_width="7em"),
            )
            for name, what in BUTTONS.items()
        }
        self.buttons["Run"].button_style = "primary"
        for name, button in self.buttons.items():
            button.on_click(lambda _, name=name: self.click(name))
        self.title = Label(f"Step {step}", style={"font_weight": "bold"})
        self.card = VBox(
            [
                self.title,
                HBox(list(self.buttons.values()), layout=Layout(flex_flow="row wrap")),
                self.shown,
            ],
            layout=Layout(border="1px solid #7b8894", padding="8px 12px"),
        )

    def click(self, name: str) -> None:
        """Begin what a button says, in a thread; a click while a panel works changes nothing."""
        if not AT_WORK.acquire(blocking=False):
            if not self.buttons[name].disabled:
                self.shown.value = said(
                    "<p>Another panel is at work; click again when it ends.</p>"
                )
            return
        for button in self.buttons.values():
            button.disabled = True
        self.shown.value = said(f"<p>{escape(self.step)}: {name} …</p>")
        try:
            Thread(target=self._work, args=(name,), daemon=True, name=f"panel {name}").start()
        except RuntimeError as error:  # the machine gives no more threads
            self._end(failure(error))

    def _work(self, name: str) -> None:
        html = ""
        try:
            html = self._answer(name)
            if name != "Hint":  # which asks nobody
                self._tell_meter()
        except LabError as error:
            html = failure(error)
        finally:
            other = sys.exception()  # shown too; then it goes on to threading.excepthook
            self._end(failure(other) if other else html)

    def _answer(self, name: str) -> str:
        before, self.lab.progress = self.lab.progress, HtmlProgress(self._show)
        try:
            return shown(self._call(name))
        finally:
            self.lab.progress = before

    def _tell_meter(self) -> None:
        with contextlib.suppress(LabError):  # the answer itself is there
            left, cost = self.lab.time_left(), self.lab.cost_so_far()
            told = [f"time left {left}"] if left else []
            told += [f"up to {cost} so far"] if cost else []
            self.title.value = f"Step {self.step}" + (f" ({', '.join(told)})" if told else "")

    def _call(self, name: str) -> Any:
        if name == "Hint":
            self.level = min(self.level + 1, HINTS)
            return self.lab.hint(self.step, self.level)
        return getattr(self.lab, name.lower())(self.step)

    def _show(self, html: str) -> None:
        self.shown.value = said(html)

    def _end(self, html: str) -> None:
        try:
            self._show(html)
            for button in self.buttons.values():
                button.disabled = False
        finally:
            AT_WORK.release()


def said(html: str) -> str:
    """Put HTML where screen readers tell of a change."""
    return f'<div role="status" aria-live="polite">{html}</div>'


def shown(result: object) -> str:
    """Show a result as its own HTML, a text as a paragraph, None as "done"."""
    to_html = getattr(result, "_repr_html_", None)
    if to_html is not None:
        return str(to_html())
    text = "done" if result is None else result if isinstance(result, str) else repr(result)
    return f'<p style="white-space: pre-wrap">{escape(text)}</p>'


def failure(error: BaseException) -> str:
    """Show an error: what happened, what was seen and what to type next; others with their type.

    >>> failure(LabError("no <gateway> port", next="lab.networks()"))
    '<p><strong>no &lt;gateway&gt; port</strong></p><p>next: <code>lab.networks()</code></p>'
    """
    if isinstance(error, LabError):
        html = f"<p><strong>{escape(error.what)}</strong></p>"
        if error.seen:
            html += f'<p style="white-space: pre-wrap">seen: {escape(error.seen)}</p>'
        if error.next:
            html += f"<p>next: <code>{escape(error.next)}</code></p>"
        return html
    trace = escape("".join(traceback.format_exception(error)))
    return (
        f"<p><strong>{escape(type(error).__name__)}: {escape(str(error))}</strong></p>"
        f"<details><summary>Where it happened</summary><pre>{trace}</pre></details>"
    )
