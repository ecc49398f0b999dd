#!/usr/bin/env python3
"""Write tests/confusion.json: `python tests/regenerate_confusion.py [--anew]`.

Every fault alone and every sound lab are tried anew, and the pairs that are not in it yet; with
--anew all of them, which takes an hour. Cut off, it goes on where it was.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from osawslab import confusion
from osawslab.testing import fresh_home

COMMITTED = Path(__file__).with_name("confusion.json")
WORKERS, AT_ONCE = 4, 40
FIELDS = ("fault", "station", "named", "named_first", "mended", "healed")


def text(found: dict[str, list[Any]]) -> str:
    """Write it with a line for each fault and pair."""

    def lines(rows: Iterable[Any]) -> str:
        return ",\n".join(map(json.dumps, rows))

    faults = lines({key: each[key] for key in FIELDS} for each in found["faults"])
    return (
        f'{{"diagnosis": {{\n"faults": [\n{faults}\n],\n"pairs": [\n{lines(found["pairs"])}\n],\n'
        f'"healthy_findings": {json.dumps(found["healthy_findings"])}\n}}}}\n'
    )


def main(words: Sequence[str]) -> None:
    """Try what is missing, and write it down every few pairs."""
    found = json.loads(COMMITTED.read_text())["diagnosis"]
    wanted = {(one.name, two.name): (one, two) for one, two in confusion.pairs()}
    have = {tuple(each["faults"]): each for each in found["pairs"] if each["named"]}
    if "--anew" in words:
        have = {}
    lacking = [two for names, two in wanted.items() if names not in have]
    with fresh_home(), ExitStack() as held:
        labs = [
            held.enter_context(confusion.made(f"pairs{number}", confusion.SWITCHED))
            for number in range(WORKERS)
        ]
        while lacking:
            now, lacking = lacking[:AT_ONCE], lacking[AT_ONCE:]
            for each in confusion.spread(labs, now, lambda lab, two: confusion.pair(lab, *two)):
                have[tuple(each["faults"])] = each
            found["pairs"] = [have[names] for names in wanted if names in have]
            COMMITTED.write_text(text(found))
            sys.stdout.write(f"{len(found['pairs'])} of {len(wanted)}\n")
            sys.stdout.flush()
    with fresh_home():
        found |= {**confusion.measure([]), "pairs": found["pairs"]}
    COMMITTED.write_text(text(found))


if __name__ == "__main__":
    main(sys.argv[1:])
