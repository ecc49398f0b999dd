"""What a frame says, as far as one can decide about it: of a capture, or a row of its `frame`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from osawslab.observe.capture import Capture
from osawslab.observe.conversation import printable
from osawslab.observe.tracked import Flow


class Seen(NamedTuple):
    """What a frame says, as far as it can be decided about; an echo's id stands in both ports."""

    point: str
    direction: str
    src_mac: str
    dst_mac: str
    protocol: str
    src: str
    dst: str
    sport: int | None = None
    dport: int | None = None
    verdict: str = ""
    opens: bool = True  # the first of its conversation, or one that could be

    @property
    def flow(self) -> Flow:
        """Its addresses and ports."""
        return Flow(self.src, self.sport or 0, self.dst, self.dport or 0)


def of_row(row: Mapping[str, Any]) -> Seen:
    """Read a row of a capture's `frame`, or a mapping with the same names."""

    def text(name: str) -> str:
        value = row.get(name)
        return printable(value) if isinstance(value, str) else ""

    def number(name: str) -> int | None:
        value = row.get(name)
        try:
            return None if value is None else int(value)
        except (TypeError, ValueError):  # pandas.NA, NaN
            return None

    protocol, ident = text("protocol"), number("ident")
    flags, kind = number("flags"), number("icmp_type")
    return Seen(
        text("point"), text("direction"), text("src_mac"), text("dst_mac"), protocol,
        text("src"), text("dst"),
        ident if protocol == "ICMP" else number("sport"),
        ident if protocol == "ICMP" else number("dport"),
        text("verdict"),
        kind in (None, 8) and (flags is None or flags & 0x12 == 0x02),
    )  # fmt: skip


def of_capture(capture: Capture, place: int) -> Seen:
    """Read a frame of a capture, by its place."""
    row: dict[str, Any] = {}
    for name, column in capture.columns.items():
        value = column.values[place]
        if column.words is not None:
            row[name] = column.words[value] if value >= 0 else ""
        elif column.missing is None or not column.missing[place]:
            row[name] = value
    return of_row(row)
