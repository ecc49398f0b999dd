"""Who says what to whom: captures and neighbour tables as rows that are the same on every run.

Frames that differ only in ids, times, counts or ports that a program got by chance are one row.
Everything else about a frame is in `Capture.frame`, a DataFrame.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

import numpy as np

from osawslab.observe.columns import Column
from osawslab.observe.container import Array
from osawslab.report import Table

BROADCAST = "ff:ff:ff:ff:ff:ff"
COLUMNS = ("from", "to", "protocol", "source", "destination", "says")
SHOWN = 200  # rows of a table; a longer one is read by nobody
SYSTEM_PORTS = 1024  # RFC 6335: below are the services' ports, never given out by chance
USABLE = {"REACHABLE", "STALE", "DELAY", "PROBE", "PERMANENT", "NOARP"}  # ip-neighbour(8)


def owner(mac: str, owners: Mapping[str, str]) -> str:
    """Say in words whose a MAC is.

    >>> owner("02:AA:00:00:00:01", {"02:aa:00:00:00:01": "provider NIC"})
    'provider NIC'
    >>> owner("ff:ff:ff:ff:ff:ff", {}), owner("0a:00:00:00:00:01", {})
    ('everybody', 'unknown')
    """
    mac = mac.lower()
    known = {each.lower(): name for each, name in owners.items()}
    if not mac or mac in known:
        return known.get(mac, "")
    if mac == BROADCAST:
        return "everybody"
    return "a group" if int(mac[:2], 16) & 1 else "unknown"  # IEEE 802: the group bit


@dataclass(frozen=True)
class Conversation:
    """The columns of a capture, seen as who says what to whom."""

    columns: Mapping[str, Column]

    def table(self, caption: str) -> Table:
        """Show frames as rows in order of their first appearance, equal ones once.

        A port is shown where it is a service's (below 1024); a point where there are two, a
        verdict where there is one.
        """
        several = len(set(self.columns["point"].values.tolist())) > 1
        judged = bool((self.columns["verdict"].values >= 0).any())
        rows: dict[tuple[str, ...], None] = {}
        for row in self._distinct():
            at, *words, verdict = self.words(row)
            rows[(*((at,) if several else ()), *words, *((verdict,) if judged else ()))] = None
        if len(rows) > SHOWN:
            caption = f"{caption} (the first {SHOWN} kinds of {len(rows)})"
        names = (*(("at",) if several else ()), *COLUMNS, *(("verdict",) if judged else ()))
        return Table(caption, names, tuple(rows)[:SHOWN])

    def words(self, row: int) -> tuple[str, ...]:
        """Say one frame: its point, the words of `COLUMNS`, and its verdict."""
        return (
            self.text("point", row),
            self.named("src_mac", "src_owner", row),
            self.named("dst_mac", "dst_owner", row),
            self.text("protocol", row),
            self.address("src", "sport", row),
            self.address("dst", "dport", row),
            self.says(row),
            self.text("verdict", row),
        )

    def _distinct(self) -> list[int]:
        """Find the first of all frames that are equal in what a row shows."""
        columns = self.columns
        several = "point verdict src_mac dst_mac protocol src dst says"
        inner = " inner_src inner_dst inner_says"
        codes = [columns[name].values for name in (several + inner).split()]
        for name in ("sport", "dport"):
            of = columns[name]
            assert of.missing is not None
            codes.append(np.where(of.missing | (of.values >= SYSTEM_PORTS), -1, of.values))
        return sorted(_first_of_equals(codes))

    def text(self, name: str, row: int) -> str:
        """Give a column's text, printable; "" where there is none."""
        column = self.columns[name]
        code = int(column.values[row])
        assert column.words is not None
        return printable(column.words[code]) if code >= 0 else ""

    def named(self, name: str, owner: str, row: int) -> str:
        """Give a column's text with its owner's name."""
        shown, whose = self.text(name, row), self.text(owner, row)
        return f"{shown} ({whose})" if whose else shown

    def address(self, end: str, port: str, row: int) -> str:
        """Give an end, "src" or "dst", with its owner's name; a port where it is a service's."""
        column, shown = self.columns[port], self.text(end, row)
        assert column.missing is not None
        number = int(column.values[row])
        if not column.missing[row] and number < SYSTEM_PORTS:
            shown = f"{shown}:{number}"
        name = self.text(f"{end}_name", row)
        return f"{shown} ({name})" if name else shown

    def says(self, row: int) -> str:
        """Say what a frame says, inside VXLAN too."""
        # Where a sender pushes follows from its timing, not from what it says.
        said = self.text("says", row).replace("PSH ACK", "ACK")
        if inside := self.text("inner_says", row).replace("PSH ACK", "ACK"):
            ends = filter(None, (self.text("inner_src", row), self.text("inner_dst", row)))
            said += f": {' to '.join(ends)} {inside}".replace("  ", " ")
        return said


def printable(text: str) -> str:
    """Escape what a file's names could do to a terminal.

    >>> printable("a\\x1b[2Jb")
    'a\\\\x1b[2Jb'
    """
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def _first_of_equals(codes: Sequence[Array]) -> list[int]:
    """Find the first place of each distinct row of codes; codes are -1 or more."""
    if not len(codes[0]):
        return []
    key, size = np.zeros(len(codes[0]), np.int64), 1
    for each in codes:
        count = int(each.max()) + 2
        if size * count >= 1 << 62:
            key = np.unique(key, return_inverse=True)[1]
            size = int(key.max()) + 1
        key, size = key * count + each + 1, size * count
    return [int(place) for place in np.unique(key, return_index=True)[1]]


def neighbours(
    rows: Sequence[Mapping[str, Any]],
    owners: Mapping[str, str] | None = None,
    caption: str = "Neighbours",
) -> Table:
    """Show what `ip -j neigh` printed, by address: its MAC, whose that is, usable or missing.

    >>> neighbours([{"dst": "172.16.20.1", "dev": "eth1", "state": ["FAILED"]}])
    Neighbours
    address      MAC  owner  state
    172.16.20.1              missing
    """
    found = {
        (
            row["dst"],
            row.get("lladdr", ""),
            owner(row.get("lladdr", ""), owners or {}),
            "usable" if USABLE.intersection(row.get("state", ())) else "missing",
        )
        for row in rows
        if "dst" in row  # `ip -j` prints {} for an entry that its filter left out
    }
    return Table(caption, ("address", "MAC", "owner", "state"), tuple(sorted(found, key=_order)))


def _order(row: tuple[str, ...]) -> tuple[int, int, tuple[str, ...]]:
    address = ip_address(row[0])
    return address.version, int(address), row
