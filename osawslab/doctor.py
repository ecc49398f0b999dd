"""What this machine lets the lab do, looked at before anything is started."""

from __future__ import annotations

import platform
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from osawslab.region import folders, machine, tier
from osawslab.report import Table

NEEDED_MIB = 50  # a lab takes about 1; what is captured and installed in it comes on top


@dataclass(frozen=True)
class Examination:
    """The programs, the tiers of the local region, and the free space for its state."""

    programs: tuple[machine.Row, ...]
    required: frozenset[str]  # names of programs
    tiers: tuple[tier.Tier, ...]
    folder: str
    free_mib: int

    @property
    def wrong(self) -> tuple[str, ...]:
        """What keeps the lab from running; each with what to type."""
        found = [
            f"{row.program} is missing: {row.next}"
            for row in self.programs
            if row.found == "missing" and row.program in self.required
        ]
        if not any(each.works for each in self.tiers):
            found.append(f"no way to run the local region: {tier.advice()}")
        if self.free_mib < NEEDED_MIB:
            found.append(f"{self.free_mib} MiB free in {self.folder}: {NEEDED_MIB} are needed")
        return tuple(found)

    @property
    def ok(self) -> bool:
        """True when the lab can run here."""
        return not self.wrong

    @property
    def text(self) -> str:
        """The whole as plain text."""
        programs = Table(
            "Programs",
            ("program", "found", "without it", "next"),
            tuple((row.program, row.found, row.use, row.next) for row in self.programs),
        )
        tiers = Table(
            "Ways to run the local region, the first that works is taken",
            ("tier", "works", "refused with"),
            tuple((each.name, "yes" if each.works else "no", each.refused) for each in self.tiers),
        )
        end = "The lab can run here." if self.ok else "\n".join(f"NOT OK {w}" for w in self.wrong)
        return "\n\n".join(
            [
                f"{platform.platform()}, Python {platform.python_version()},"
                f" {self.free_mib} MiB free in {self.folder}",
                repr(programs),
                repr(tiers),
                end,
            ]
        )

    @property
    def data(self) -> dict[str, Any]:
        """The whole for programs."""
        return {
            "ok": self.ok,
            "wrong": list(self.wrong),
            "programs": [asdict(row) for row in self.programs],
            "tiers": [{**asdict(each), "works": each.works} for each in self.tiers],
            "free_mib": self.free_mib,
        }


def examine() -> Examination:
    """Look for programs, try each tier, and measure the free space; changes nothing."""
    home = folders.state_home()
    there: Path = next(path for path in (home, *home.parents) if path.exists())
    return Examination(
        machine.rows(),
        frozenset(need.program for need in machine.NEEDS if need.required),
        tuple(tier.attempt(name) for name in tier.names()),
        str(there),
        shutil.disk_usage(there).free // 2**20,
    )
