"""What a step, a check and a table look like: text, HTML and DataFrame.

Nothing in a report differs between two runs of the same lab: no times, no process ids.
Text never depends on colour.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from pandas import DataFrame

SHORT = 20  # characters: "NOT OK", an address or a call stays on one line
Where = Literal["aws", "instance", "openstack"]


@dataclass(frozen=True)
class Table:
    """A caption, column names and rows of text.

    >>> Table("Neighbours", ("address", "MAC"), (("172.16.20.1", "02:…"),))
    Neighbours
    address      MAC
    172.16.20.1  02:…
    """

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    code: tuple[str, ...] = ()  # columns of what a person types

    @property
    def frame(self) -> DataFrame:
        """The rows as a pandas DataFrame, one column of strings for each column here."""
        from pandas import DataFrame

        return DataFrame(list(self.rows), columns=list(self.columns))

    def __repr__(self) -> str:
        rows = [self.columns, *self.rows]
        widths = [max(len(row[i]) for row in rows) for i in range(len(self.columns))]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ]
        return "\n".join([self.caption, *lines, *(["(none)"] if not self.rows else [])])

    def _repr_html_(self) -> str:
        head = "".join(_cell('th scope="col"', name) for name in self.columns)
        none = _cell(f'td colspan="{len(self.columns)}"', "(none)")
        return (
            f'<table style="margin-left: 0">{_cell("caption", self.caption)}'
            f"<thead><tr>{head}</tr></thead>"
            f"<tbody>{''.join(map(self._row, self.rows)) or f'<tr>{none}</tr>'}</tbody></table>"
        )

    def _row(self, row: tuple[str, ...]) -> str:
        cells = zip(self.columns, row, strict=True)
        return f"<tr>{''.join(_cell('td', text, name in self.code) for name, text in cells)}</tr>"


def _cell(tag: str, text: str, code: bool = False) -> str:
    # JupyterLab puts cells to the right, and takes <style> away from an untrusted notebook.
    style = f"text-align: left; white-space: {'pre' if len(text) <= SHORT else 'pre-wrap'}"
    shown = f"<code>{escape(text)}</code>" if code and text else escape(text)
    return f'<{tag} style="{style}">{shown}</{tag.split()[0]}>'


@dataclass(frozen=True)
class Shell:
    """A command that was run on a host, shown as what it printed."""

    command: str
    output: str  # without the last newline

    def __repr__(self) -> str:
        return self.output


@dataclass(frozen=True)
class Picture:
    """An SVG with the words that say the same; shown as an image, also in untrusted notebooks."""

    svg: str
    alt: str

    def __repr__(self) -> str:
        return self.alt

    def _repr_html_(self) -> str:
        data = base64.b64encode(self.svg.encode()).decode()
        return f'<img alt="{escape(self.alt)}" src="data:image/svg+xml;base64,{data}">'


@dataclass(frozen=True)
class Action:
    """One change that is still missing: where, why, what a person could type, and how to do it."""

    where: Where
    why: str
    command: str
    do: Callable[[], object] = field(repr=False, compare=False)
    bills: str = field(default="", repr=False, compare=False)  # what of it AWS charges for


@dataclass(frozen=True)
class Check:
    """One fact held against what it should be. True when it is so."""

    what: str
    expected: str
    seen: str
    ok: bool
    next: str = ""  # what to type when it is not so

    def __bool__(self) -> bool:
        return self.ok


def actions_table(caption: str, actions: Sequence[Action]) -> Table:
    """Show actions as rows of where, why and command.

    >>> actions_table("Plan", [])
    Plan
    where  why  command
    (none)
    """
    return Table(
        caption,
        ("where", "why", "command"),
        tuple((action.where, action.why, action.command) for action in actions),
        code=("command",),
    )


def checks_table(checks: Sequence[Check], caption: str = "Checks") -> Table:
    """Show checks as rows: ok or NOT OK, expected, seen, and what to type next."""
    return Table(
        caption,
        ("", "check", "expected", "seen", "next"),
        tuple(
            (
                "ok" if check else "NOT OK",
                check.what,
                check.expected,
                check.seen,
                "" if check else check.next,
            )
            for check in checks
        ),
    )


@dataclass(frozen=True)
class Report:
    """What a step did and what holds now. Same type and shape on every run."""

    step: str
    lab: str
    actions: tuple[Action, ...]  # those that were missing and have been done, in order
    checks: tuple[Check, ...]
    notes: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    pictures: tuple[Picture, ...] = ()
    data: dict[str, Any] = field(default_factory=dict, compare=False)  # for programs

    @property
    def changed(self) -> bool:
        """True when something was missing and has been done."""
        return bool(self.actions)

    @property
    def ok(self) -> bool:
        """True when every check holds."""
        return all(self.checks)

    @property
    def failed(self) -> Check | None:
        """The first check that does not hold; None when every one does."""
        return next((check for check in self.checks if not check), None)

    def _headline(self) -> str:
        held = sum(map(bool, self.checks))
        did = f"{len(self.actions)} done" if self.actions else "nothing to do"
        return f"{self.step}: {did}, {held} of {len(self.checks)} checks hold"

    def __repr__(self) -> str:
        return self._headline()

    @property
    def text(self) -> str:
        """The whole report as plain text."""
        parts = [self._headline(), *self.notes]
        if self.actions:
            parts.append(repr(actions_table("Done", self.actions)))
        parts += [repr(table) for table in self.tables]
        parts += [repr(picture) for picture in self.pictures]
        parts.append(repr(checks_table(self.checks)))
        return "\n\n".join(parts)

    def _repr_html_(self) -> str:
        parts = [f"<p><strong>{escape(self._headline())}</strong></p>"]
        parts += [f"<p>{escape(note)}</p>" for note in self.notes]
        parts.append(checks_table(self.checks)._repr_html_())
        parts += [table._repr_html_() for table in self.tables]
        parts += [picture._repr_html_() for picture in self.pictures]
        if self.actions:
            table = actions_table("Done, in this order", self.actions)._repr_html_()
            parts.append(f"<details><summary>What was done</summary>{table}</details>")
        return "\n".join(parts)


@dataclass(frozen=True)
class Plan:
    """What a step would do now: the difference to what is. Nothing has been done."""

    step: str
    actions: tuple[Action, ...]

    def __repr__(self) -> str:
        return repr(actions_table(f"Plan of {self.step}", self.actions))

    def _repr_html_(self) -> str:
        return actions_table(f"Plan of {self.step}", self.actions)._repr_html_()


@dataclass(frozen=True)
class Checks:
    """The checks of a step, read just now. True when all hold."""

    step: str
    checks: tuple[Check, ...]

    def __bool__(self) -> bool:
        return all(self.checks)

    def __repr__(self) -> str:
        return repr(checks_table(self.checks, f"Checks of {self.step}"))

    def _repr_html_(self) -> str:
        return checks_table(self.checks, f"Checks of {self.step}")._repr_html_()
