"""The matrix experiment: every strategy on every NIC and bridge, with real packets.

Labs of its own, one for each NIC and bridge, all at once; they are given back at the end. A lab
goes through the strategies in order: moving from one to the next leaves nothing of the first. What
is `refused` is refused by the driver or the tool, but for `mac-nat` on a Linux bridge: that the lab
refuses itself, before any packet.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from html import escape

from osawslab.errors import LabError, Refused, StepFailed
from osawslab.expectations import BRIDGE, BRIDGES, DRIVERS, STRATEGIES, VPC, expected
from osawslab.lab import Lab
from osawslab.observe import shapes
from osawslab.report import Picture, Table
from osawslab.steps import run as steps
from osawslab.steps import swap_mac, trial, work

BEFORE = ("provision", "install_cloud", "provider_nic", "networks")
CELL, HEIGHT, HEAD = 154, 58, 180  # pixels: of a cell, and the width of the rows' names


@dataclass(frozen=True)
class Cell:
    """One strategy on one NIC and bridge; `said` is the refusal in its own words."""

    driver: str
    bridge: str
    strategy: str
    expected: str  # passes | dropped | refused
    seen: str
    dropped_at: str  # "VPC", "bridge"; "" where nothing was dropped
    said: str = ""

    @property
    def as_expected(self) -> bool:
        """True when what was seen, and where, is what its source says."""
        wanted = expected(self.driver, self.bridge, self.strategy)
        return (self.seen, self.dropped_at) == (wanted.outcome, wanted.dropped_at)

    @property
    def words(self) -> str:
        """Say what was seen, and where."""
        return f"{self.seen} at the {self.dropped_at}" if self.dropped_at else self.seen


@dataclass(frozen=True)
class Matrix:
    """All cells: `table`, `picture`, `data`. Shown as both."""

    cells: tuple[Cell, ...]

    @property
    def data(self) -> list[dict[str, str]]:
        """Give the cells as `bench` does."""
        return [{k: v for k, v in asdict(cell).items() if k != "said"} for cell in self.cells]

    @property
    def table(self) -> Table:
        """Show each cell with what was expected, and by whose word."""
        rows = tuple(
            (
                c.driver, c.bridge, c.strategy, c.expected, c.seen, c.dropped_at,
                "as expected" if c.as_expected else "NOT as expected",
                expected(c.driver, c.bridge, c.strategy).source,
            )
            for c in self.cells
        )  # fmt: skip
        columns = (
            "driver", "bridge", "strategy", "expected", "seen", "dropped at", "", "source",
        )  # fmt: skip
        return Table("Which way passes where", columns, rows)

    @property
    def picture(self) -> Picture:
        """Draw a cell each: a row for NIC and bridge, a column for a strategy."""
        marks: dict[str, shapes.Kind] = {"passes": "good", "dropped": "bad", "refused": "note"}
        kinds = list(dict.fromkeys((c.driver, c.bridge) for c in self.cells))
        out = [
            _text(HEAD + CELL * column + CELL // 2, 26, name, bold=True)
            for column, name in enumerate(STRATEGIES)
        ]
        lines = []
        for row, kind in enumerate(kinds):
            top = 40 + HEIGHT * row
            out.append(_text(HEAD // 2, top + 33, " on ".join(kind), bold=True))
            for cell in (c for c in self.cells if (c.driver, c.bridge) == kind):
                left = HEAD + CELL * STRATEGIES.index(cell.strategy)
                colour, shape = shapes.SHAPES[marks[cell.seen]]
                wrong = "" if cell.as_expected else " (!)"
                out.append(
                    f"<rect x='{left}' y='{top}' width='{CELL - 6}' height='{HEIGHT - 6}' rx='4'"
                    f" fill='{shapes.PAPER}' stroke='{colour}' stroke-width='1.5'/>"
                    f"<g transform='translate({left + CELL // 2 - 3} {top + 18})' fill='{colour}'>"
                    f"<g stroke='white' stroke-width='2' fill='{colour}'>{shape}</g></g>"
                )
                out.append(_text(left + CELL // 2 - 3, top + 44, cell.words + wrong))
                lines.append(f"{' on '.join(kind)}, {cell.strategy}: {cell.words}{wrong}")
        width, height = HEAD + CELL * len(STRATEGIES), 44 + HEIGHT * len(kinds)
        svg = (
            f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}'"
            f" width='{width}' height='{height}' role='img'>"
            f"<rect width='{width}' height='{height}' fill='{shapes.PAPER}'/>{''.join(out)}</svg>"
        )
        return Picture(svg, "\n".join(lines))

    def __repr__(self) -> str:
        return f"{self.table!r}\n\n{self.picture!r}"

    def _repr_html_(self) -> str:
        return self.picture._repr_html_() + self.table._repr_html_()


def _text(x: int, y: int, words: str, bold: bool = False) -> str:
    weight = " font-weight='600'" if bold else ""
    return (
        f"<text x='{x}' y='{y}' text-anchor='middle' font-size='13'{weight}"
        f" font-family=\"{shapes.SANS}\" fill='{shapes.INK}'>{escape(words)}</text>"
    )


def matrix() -> Matrix:
    """Try every strategy on every NIC and bridge of the local region. Raises StepFailed."""
    kinds = [(driver, bridge) for driver in DRIVERS for bridge in BRIDGES]
    with ThreadPoolExecutor(len(kinds)) as pool:
        rows = list(pool.map(lambda kind: tuple(_row(*kind)), kinds))
    return Matrix(tuple(cell for row in rows for cell in row))


def _row(driver: str, bridge: str) -> Iterator[Cell]:
    with _made(driver, bridge) as lab:
        for strategy in STRATEGIES:
            wanted = expected(driver, bridge, strategy)
            seen, where, said = _try(lab, strategy)
            yield Cell(driver, bridge, strategy, wanted.outcome, seen, where, said)


@contextlib.contextmanager
def _made(driver: str, bridge: str) -> Iterator[Lab]:
    """Make a lab up to the swap; it and its region end with the block."""
    from osawslab.region import local

    name = f"matrix-{driver}-{BRIDGES[bridge]}"
    given = {"target": "local", "cloud": "handbuilt", "instance_type": DRIVERS[driver]}
    lab = Lab(name, bridge=BRIDGES[bridge], **given)
    try:
        for step in BEFORE:
            report = lab.run(step)
            if not report.ok:
                raise StepFailed(f"{step} does not hold", seen=report.text, next="./lab doctor")
        yield lab
    finally:
        lab.close()
        local.remove(name)


def _try(lab: Lab, strategy: str) -> tuple[str, str, str]:
    """Take a strategy and ping: the outcome, where it was dropped, and a refusal's words."""
    if strategy != "nothing":
        try:
            _take(lab, strategy)
        except Refused as error:
            return "refused", "", error.seen
    return *_ping(lab), ""


def _take(lab: Lab, strategy: str) -> None:
    """Take one strategy, whatever was taken before. Raises Refused."""
    named = strategy.partition("+")[0]
    lab.settings = replace(lab.settings, strategy=named)
    with lab._working("swap_mac") as site, steps.own_errors("swap_mac"):
        facts = swap_mac.read(site)
        actions = swap_mac.plan(site, facts)
        if strategy == "share":  # without what a Linux bridge needs besides
            actions = tuple(each for each in actions if not each.command.startswith("bridge fdb"))
        steps.apply(site, "swap_mac", actions)
        if strategy == "share+FDB" and facts.cloud.uses_openvswitch:
            nic = facts.cloud.require_provider_nic()
            try:
                facts.ground.host.run(f"bridge fdb del {nic.mac} dev {nic.name} master")
            except StepFailed as error:
                raise Refused(
                    "Open vSwitch has no forwarding entry for a port's own MAC",
                    seen=error.seen,
                    next='strategy = "share"',
                ) from None


def _ping(lab: Lab) -> tuple[str, str]:
    """Ping from the router: the outcome, and where the frames end."""
    from osawslab.observe.capture import load_capture

    site = lab._site()
    ground = work.read(site)
    tried = trial.attempt(site, ground)
    if tried.ping.passed:
        return "passes", ""
    if tried.drops and sum(tried.drops.values()):
        return "dropped", VPC
    seen = load_capture(tried.ping.captured) if tried.ping.captured else None
    if seen is not None and ground.cloud.registered_mac in seen.columns["dst_mac"].texts():
        return "dropped", BRIDGE  # the answer came in at the NIC; the router never had it
    raise LabError(
        "nobody can tell where the frames end", seen=tried.ping.said, next="./lab doctor"
    )
