"""Who says what to whom: captures and neighbour tables as rows that are the same on every run.

Frames that differ only in ids, times, counts or ports that a program got by chance are one row.
Everything else about a frame is in `frame`, a DataFrame.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from osawslab.observe.pcap import BROADCAST, Frame
from osawslab.report import Table

if TYPE_CHECKING:
    from pandas import DataFrame

COLUMNS = (
    *("time", "length", "src_mac", "src_owner", "dst_mac", "dst_owner", "protocol"),
    *("src", "sport", "dst", "dport", "says", "ident", "seq"),
)
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


def conversation(
    frames: Iterable[Frame],
    *,
    owners: Mapping[str, str],
    verdicts: Callable[[Frame], str] | None = None,
    caption: str,
) -> Table:
    """Show frames as rows in order of their first appearance, equal ones once.

    `owners` maps MACs to words; `verdicts` says what became of a frame ("passes", "dropped: mac").
    A port is shown where it is a service's (below 1024).
    """
    columns = ("from", "to", "protocol", "source", "destination", "says")
    rows = dict.fromkeys(
        (
            _named(each.src_mac, owners),
            _named(each.dst_mac, owners),
            each.protocol,
            _address(each.src, each.sport),
            _address(each.dst, each.dport),
            # Where a sender pushes follows from its timing, not from what it says.
            each.says.replace("PSH ACK", "ACK"),
            *((verdicts(each),) if verdicts else ()),
        )
        for each in frames
    )
    return Table(caption, columns + (("verdict",) if verdicts else ()), tuple(rows))


def frame(frames: Iterable[Frame], owners: Mapping[str, str]) -> DataFrame:
    """Show every frame with everything: one row each, times in seconds since 1970."""
    from pandas import DataFrame

    rows = [
        {
            **vars(each),
            "src_owner": owner(each.src_mac, owners),
            "dst_owner": owner(each.dst_mac, owners),
        }
        for each in frames
    ]
    numbers = {"length": "int64", "time": "float64"}
    numbers.update(dict.fromkeys(("sport", "dport", "ident", "seq"), "Int64"))  # may be missing
    return DataFrame(rows, columns=list(COLUMNS)).astype(numbers)


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


def _named(mac: str, owners: Mapping[str, str]) -> str:
    return f"{mac} ({owner(mac, owners)})" if mac else ""


def _address(address: str, port: int | None) -> str:
    return address if port is None or port >= SYSTEM_PORTS else f"{address}:{port}"
