#!/usr/bin/env python3
"""Write notebooks/clinic/runbook.md: `python tests/regenerate_runbook.py [FAULT…]`.

Each fault is caused in a lab of its own home, and looked at; see osawslab/runbook.py. All take some
minutes; with names of faults the other lines stay as they are.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator
from pathlib import Path

from osawslab.faults.catalogue import FAULTS
from osawslab.lab import Lab
from osawslab.runbook import KINDS, Entry, entries, markdown, read
from osawslab.testing import fresh_home

RUNBOOK = Path(__file__).resolve().parent.parent / "notebooks" / "clinic" / "runbook.md"


def seen(names: Collection[str]) -> Iterator[Entry]:
    """Look at each fault once: at one that both kinds of bridges can have, on the first."""
    left = set(names)
    for settings in KINDS:
        if not left:
            return
        with Lab("-".join(["runbook", *settings.values()]).replace(".", "-"), **settings) as lab:
            lab.catch_up("make_it_last")
            can = [row[0] for row in lab.faults().rows if row[0] in left]
            left -= set(can)
            yield from entries(lab, can)


def main(names: list[str]) -> None:
    """Write the lines of these faults, or all."""
    before = RUNBOOK.read_text() if RUNBOOK.exists() else ""
    found = {name: each for name, each in read(before).items() if name in FAULTS and names}
    with fresh_home():
        for each in seen(names or list(FAULTS)):
            found[each.fault] = each
            RUNBOOK.write_text(markdown(found.values()))  # what is seen is kept, if it ends here
            sys.stderr.write(f"{each.fault}\n")
    sys.stderr.write("as before\n" if RUNBOOK.read_text() == before else "new\n")


if __name__ == "__main__":
    main(sys.argv[1:])
