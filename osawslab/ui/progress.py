"""What a step is doing now, while it runs: lines in a terminal, one widget in a notebook.

Nothing of it stays in a notebook's output. `OSAWSLAB_PROGRESS=0` switches it off: whether a
front end listens cannot be found out, so tests say it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from html import escape
from typing import Any, Protocol, TextIO


class Progress(Protocol):
    """Where a step says what it does. `done` ends it, also when the step failed."""

    def start(self, step: str, total: int) -> None:
        """Begin a step of `total` actions."""

    def action(self, text: str, *, where: str = "", command: str = "") -> None:
        """Say which action is being done now."""

    def done(self, text: str) -> None:
        """End the step and say how."""


class NoProgress:
    """Say nothing."""

    def start(self, step: str, total: int) -> None:
        """Do nothing."""

    def action(self, text: str, *, where: str = "", command: str = "") -> None:
        """Do nothing."""

    def done(self, text: str) -> None:
        """Do nothing."""


class TerminalProgress:
    """Write a line for each action to a stream, standard error unless told.

    Colour only on a terminal, and never with NO_COLOR (no-color.org) or TERM=dumb.
    """

    def __init__(
        self, stream: TextIO | None = None, environ: Mapping[str, str] | None = None
    ) -> None:
        self.stream = stream or sys.stderr
        environ = os.environ if environ is None else environ
        plain = environ.get("NO_COLOR") or environ.get("TERM") == "dumb"
        self.colour = self.stream.isatty() and not plain
        self.step, self.total, self.at = "", 0, 0

    def start(self, step: str, total: int) -> None:
        """Begin; nothing is written before the first action."""
        self.step, self.total, self.at = step, total, 0

    def action(self, text: str, *, where: str = "", command: str = "") -> None:
        """Write "step 1/3: text", and below it where and what is typed for it."""
        self.at += 1
        self._line(f"{self.step} {self.at}/{self.total}", text, "36")
        if command:
            first, *others = command.expandtabs().splitlines()
            self._plain(f"  {where:<10}{first}")
            for each in others:
                self._plain(" " * 12 + each)

    def done(self, text: str) -> None:
        """Write "step: text", where anything was done."""
        if self.at:
            self._line(self.step, text, "1")

    def _line(self, head: str, text: str, code: str) -> None:
        head = f"\x1b[{code}m{head}:\x1b[0m" if self.colour else f"{head}:"
        self._plain(f"{head} {line(text)}")

    def _plain(self, text: str) -> None:
        self.stream.write(text + "\n")
        self.stream.flush()


class HtmlProgress:
    """Give each state as HTML to `show`, which puts it in a widget."""

    def __init__(self, show: Callable[[str], None]) -> None:
        self.show = show
        self.step, self.total, self.at = "", 0, 0

    def start(self, step: str, total: int) -> None:
        """Show that a step begins."""
        self.step, self.total, self.at = step, total, 0
        self.show(progress_html(step, 0, total, "begins"))

    def action(self, text: str, *, where: str = "", command: str = "") -> None:
        """Show which action is being done now."""
        self.at += 1
        self.show(progress_html(self.step, self.at, self.total, text))

    def done(self, text: str) -> None:
        """Show how it ended, until the result takes its place."""
        self.show(progress_html(self.step, 0, 0, text))


class NotebookProgress(HtmlProgress):
    """Show the actions in one widget below the cell, and take it away at the end."""

    def __init__(self) -> None:
        super().__init__(self._set)
        self.widget: Any = None

    def start(self, step: str, total: int) -> None:
        """Show the widget; one that an earlier step left is taken away."""
        import IPython.display
        import ipywidgets

        self._close()
        self.widget = ipywidgets.HTML()
        super().start(step, total)
        display: Any = IPython.display.display
        display(self.widget)

    def done(self, text: str) -> None:
        """Take the widget away; the cell's result says how it ended."""
        self._close()

    def _set(self, html: str) -> None:
        if self.widget is not None:
            self.widget.value = html

    def _close(self) -> None:
        if self.widget is not None:
            self.widget.close()
            self.widget = None


def line(text: str) -> str:
    """Put a text on one line, without control characters.

    >>> line("ip link set eth1 \\\\\\n  up\\x1b[2J")
    'ip link set eth1 \\\\ up [2J'
    """
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def progress_html(step: str, at: int, total: int, text: str) -> str:
    """Show how far a step is: a bar, the numbers and what is being done.

    >>> progress_html("verify", 0, 0, "begins")
    '<p>verify: begins</p>'
    """
    if not total:
        return f"<p>{escape(step)}: {escape(line(text))}</p>"
    done = max(0, min(at, total) - 1)  # the action that is shown is not done yet
    return (
        f'<p><progress aria-label="{escape(step)}" value="{done}" max="{total}"></progress> '
        f"{escape(step)} {at} of {total}: {escape(line(text))}</p>"
    )


def progress(environ: Mapping[str, str] | None = None) -> Progress:
    """Choose: none where OSAWSLAB_PROGRESS=0, a widget in a notebook's kernel, else lines."""
    environ = os.environ if environ is None else environ
    if environ.get("OSAWSLAB_PROGRESS") == "0":
        return NoProgress()
    # Only a process that has IPython imported can be its kernel.
    ipython: Any = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    if type(shell).__name__ == "ZMQInteractiveShell":
        return NotebookProgress()
    return TerminalProgress(environ=environ)
