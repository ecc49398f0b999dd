"""Hold a difference against the two tables it came from: rows that came, went, and changed."""

from __future__ import annotations

import pytest

from osawslab.errors import BadSetting
from osawslab.observe.difference import State
from osawslab.report import Table

Rows = tuple[tuple[str, ...], ...]


def state(*rows: tuple[str, ...], columns: tuple[str, ...] = ("where", "MAC")) -> State:
    return State("Things", columns, rows, (), (columns[0],))


A, B, C = ("a", "1"), ("b", "2"), ("c", "3")


@pytest.mark.parametrize(
    ("before", "after", "rows"),
    [
        ((), (), ()),
        ((A, B), (A, B), ()),
        ((A, B), (B, A), ()),
        ((A,), (A, B), (("+ came", *B),)),
        ((A, B), (B,), (("- went", *A),)),
        ((A,), (("a", "9"),), (("~ changed", "a", "1 → 9"),)),
        ((A,), (("a", ""),), (("~ changed", "a", "1 → (none)"),)),
        ((("a", ""),), (A,), (("~ changed", "a", "(none) → 1"),)),
        ((A,), (A, A), (("+ came", *A),)),
        ((A, A), (A,), (("- went", *A),)),
        ((A, A), (A, A), ()),
        ((A, ("a", "2")), (("a", "2"), ("a", "3")), (("~ changed", "a", "1 → 3"),)),
        ((A, C), (B, ("c", "4")), (("+ came", *B), ("~ changed", "c", "3 → 4"), ("- went", *A))),
    ],
)
def test_just_what_differs_is_shown(before: Rows, after: Rows, rows: Rows) -> None:
    found = state(*before).diff(state(*after))
    assert found.rows == rows
    assert found.columns == ("change", "where", "MAC")
    assert bool(found) == bool(rows)
    assert found.caption == ("Things: what changed" if rows else "Things: nothing changed")


def test_the_frame_has_one_row_a_cell() -> None:
    columns = ("where", "MAC", "owner")
    before = state(("a", "1", "x"), ("b", "2", "y"), columns=columns)
    after = state(("a", "9", "z"), ("c", "3", ""), columns=columns)
    frame = before.diff(after).frame
    assert list(frame.columns) == ["change", "where", "column", "before", "after"]
    assert list(frame.itertuples(index=False, name=None)) == [
        ("~ changed", "a", "MAC", "1", "9"),
        ("~ changed", "a", "owner", "x", "z"),
        ("+ came", "c", "MAC", "", "3"),
        ("- went", "b", "MAC", "2", ""),
        ("- went", "b", "owner", "y", ""),
    ]
    assert before.diff(before).frame.empty


def test_it_is_said_in_words_and_safe_in_html() -> None:
    found = state(("a", "<b>1</b>")).diff(state(("a", "<script>2")))
    html = found._repr_html_()
    assert "<script>" not in html
    assert "<b>" not in html
    assert "~ changed" in html
    assert "&lt;b&gt;1&lt;/b&gt; → &lt;script&gt;2" in html
    assert "color" not in html
    assert "a      <b>1</b> → <script>2" in repr(found)


@pytest.mark.parametrize("other", [state(columns=("where", "IP")), Table("Things", ("where",), ())])
def test_tables_of_different_kinds_are_not_compared(other: State) -> None:
    with pytest.raises(BadSetting, match="same kind"):
        state().diff(other)
