"""What differs between two tables of state: rows that came, rows that went, cells that changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from osawslab.errors import BadSetting
from osawslab.report import Table

if TYPE_CHECKING:
    from pandas import DataFrame

CAME, WENT, CHANGED = "+ came", "- went", "~ changed"  # said in words and by a sign
Row = tuple[str, ...]


@dataclass(frozen=True, repr=False)
class Difference(Table):
    """Only what differs: each row as it was or is, a changed cell as "before → after"."""

    cells: tuple[tuple[str, ...], ...] = ()  # change, the key's columns, column, before, after
    key: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.rows)

    @property
    def frame(self) -> DataFrame:
        """One row a cell: change, the columns that name the row, column, before and after."""
        from pandas import DataFrame

        columns = ["change", *self.key, "column", "before", "after"]
        return DataFrame(list(self.cells), columns=columns, dtype="str")


@dataclass(frozen=True, repr=False)
class State(Table):
    """A table of what is now: `rows` as shown, and `whole`, what `frame` has.

    Shown is what stays the same as long as nobody changes it; ages, counts and numbers that
    happen to be so are in `frame` alone.
    """

    key: tuple[str, ...] = ()  # the columns that name a row
    whole: tuple[Mapping[str, Any], ...] = ()
    wide: Mapping[str, str] = field(default_factory=dict)  # columns of `frame` with their dtypes
    counts: tuple[int, ...] = ()  # of the rows, where a row stands for so many

    @property
    def frame(self) -> DataFrame:
        """Everything that was read, one row each."""
        from pandas import DataFrame

        columns = list(self.wide)
        data = [[row.get(name) for name in columns] for row in self.whole]
        return DataFrame(data, columns=columns).astype(dict(self.wide))

    def diff(self, after: State) -> Difference:
        """Show just what differs in a later table of the same kind. Raises BadSetting."""
        if not isinstance(after, State) or after.columns != self.columns:
            raise BadSetting(
                "only two tables of the same kind can be compared",
                seen=f"{', '.join(self.columns)} and {', '.join(getattr(after, 'columns', ()))}",
                next="before = lab.arp(), later before.diff(lab.arp())",
            )
        rows: list[Row] = []
        cells: list[Row] = []
        for old, new in _pairs(self, after):
            change = CHANGED if old and new else CAME if new else WENT
            rows.append((change, *_merged(old, new)))
            names = [(new or old)[self.columns.index(each)] for each in self.key]
            cells += [
                (change, *names, column, before, now)
                for column, before, now in zip(
                    self.columns, old or [""] * len(new), new or [""] * len(old), strict=True
                )
                if column not in self.key and before != now
            ]
        what = "what changed" if rows else "nothing changed"
        return Difference(
            f"{self.caption}: {what}",
            ("change", *self.columns),
            tuple(rows),
            self.code,
            tuple(cells),
            self.key,
        )


def _merged(old: Row, new: Row) -> Iterator[str]:
    """Give a row's cells, those that changed with both values."""
    for before, now in zip(old or new, new or old, strict=True):
        yield now if before == now else f"{before or '(none)'} → {now or '(none)'}"


def _pairs(before: State, after: State) -> Iterator[tuple[Row, Row]]:
    """Pair rows of the same name that are not equal; () stands for no row.

    In the order of the later table, and what went at the end.
    """
    old, new = _by_key(before), _by_key(after)
    for name in [*new, *(each for each in old if each not in new)]:
        was, is_ = old.get(name, []), new.get(name, [])
        for each in [row for row in was if row in is_]:
            if each in is_ and each in was:
                was.remove(each)
                is_.remove(each)
        for one, other in zip_longest(was, is_, fillvalue=((), 0)):
            yield _counted(one, other)


def _counted(old: tuple[Row, int], new: tuple[Row, int]) -> tuple[Row, Row]:
    """Say "more" or "fewer" where only the count that a row stands for differs."""
    if old[0] != new[0]:
        return old[0], new[0]
    return old[0], (*new[0][:-1], "more" if new[1] > old[1] else "fewer")


def _by_key(state: State) -> dict[Row, list[tuple[Row, int]]]:
    at = [state.columns.index(each) for each in state.key]
    counts: Sequence[int] = state.counts or [0] * len(state.rows)
    found: dict[Row, list[tuple[Row, int]]] = {}
    for row, count in zip(state.rows, counts, strict=True):
        found.setdefault(tuple(row[each] for each in at), []).append((row, count))
    return found
