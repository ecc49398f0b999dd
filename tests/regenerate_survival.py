#!/usr/bin/env python3
"""Write the README's table of what a published VM comes through: `… regenerate_survival.py FILE`.

FILE is what `./lab bench --json survival` has printed.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from osawslab.survival import table

README = Path(__file__).resolve().parent.parent / "README.md"
BEGIN = "<!-- survival: written by tests/regenerate_survival.py -->\n"
END = "<!-- end of survival -->\n"


def markdown(lines: Sequence[Mapping[str, Any]]) -> str:
    """Write lines of the bench as a table."""
    made = table(lines)
    rows = [made.columns, tuple("---" for _ in made.columns), *made.rows]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def main(path: str) -> None:
    """Write the table between its two marks."""
    before, _, rest = README.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    lines = json.loads(Path(path).read_text())["survival"]
    README.write_text(before + BEGIN + markdown(lines) + END + after)


if __name__ == "__main__":
    main(sys.argv[1])
