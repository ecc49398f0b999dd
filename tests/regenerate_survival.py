#!/usr/bin/env python3
"""Write the README's table of what a published VM comes through: `… regenerate_survival.py FILE`.

FILE is what `./lab bench --json survival` has printed; what it lacks is said to be unmeasured.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from osawslab.survival import KINDS, table

README = Path(__file__).resolve().parent.parent / "README.md"
BEGIN = "<!-- survival: written by tests/regenerate_survival.py -->\n"
END = "<!-- end of survival -->\n"


UNMEASURED = "not measured yet"


def markdown(lines: Sequence[Mapping[str, Any]]) -> str:
    """Write lines of the bench as a table."""
    made = table(lines)
    rows = [made.columns, tuple("---" for _ in made.columns), *made.rows]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def unmeasured(lines: Sequence[Mapping[str, Any]]) -> str:
    """Write what has not been measured, of all that can be, as rows of that table."""
    names = ("cloud", "strategy", "event", "made_to_last")
    have = {tuple(line[name] for name in names) for line in lines}
    cells = [cell for kind in KINDS for cell in sorted(kind.cells) if cell not in have]
    return "".join(
        f"| {cloud} | {strategy} | {event} | {'yes' if lasts else 'no'} | {UNMEASURED} |\n"
        for cloud, strategy, event, lasts in cells
    )


def main(path: str) -> None:
    """Write the table between its two marks."""
    before, _, rest = README.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    lines = json.loads(Path(path).read_text())["survival"]
    README.write_text(before + BEGIN + markdown(lines) + unmeasured(lines) + END + after)


if __name__ == "__main__":
    main(sys.argv[1])
