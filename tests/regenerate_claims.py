#!/usr/bin/env python3
"""Write the README's table of claims: `python tests/regenerate_claims.py [report.json …]`.

Reports of `./lab probe --target aws --save report.json` are taken in first: what they have seen to
hold on AWS is kept in osawslab/probes/verified.json.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from osawslab.probes import verified
from osawslab.probes.run import table

README = Path(__file__).resolve().parent.parent / "README.md"
BEGIN = "<!-- claims: written by tests/regenerate_claims.py -->\n"
END = "<!-- end of claims -->\n"


def split(text: str) -> tuple[str, str, str]:
    """Cut the README into what is before the table, the table, and what is after it."""
    before, _, rest = text.partition(BEGIN)
    inside, _, after = rest.partition(END)
    return before, inside, after


def main(reports: list[str]) -> None:
    """Take reports in, and write the table."""
    known = verified.kept()
    for report in reports:
        known |= verified.taken(json.loads(Path(report).read_text()))
    verified.FILE.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")
    before, _, after = split(README.read_text())
    README.write_text(before + BEGIN + table() + END + after)


if __name__ == "__main__":
    main(sys.argv[1:])
