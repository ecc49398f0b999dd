"""The columns of a capture: what each means, and how they grow batch by batch.

Numbers that a frame may lack are pandas' nullable integers. Texts are categories: each distinct
one is made once, and a row holds its number.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from osawslab.observe.container import Array

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True)
class Meaning:
    """What a column holds: its type as pandas names it, and what it says."""

    dtype: str
    words: str


def _columns(dtype: str, **words: str) -> dict[str, Meaning]:
    return {name: Meaning(dtype, each) for name, each in words.items()}


NOTHING = -1  # the number of no text
SLOTS = 1 << 16
MIX = np.uint64(0x9E37_79B9_7F4A_7C15)  # 2^64 by the golden ratio: Knuth, 6.4, Fibonacci hashing
NO_KEY = np.uint64(0xFFFF_FFFF_FFFF_FFFF)
INNER = "inner_"  # before the name of a column: the same, of the frame inside VXLAN
COLUMNS: Mapping[str, Meaning] = {
    **_columns("datetime64[ns, UTC]", time="when it was captured"),
    **_columns(
        "category",
        point="the interface it was seen at, as the file names it",
        direction="`in` or `out` of that interface, where the file says so",
    ),
    **_columns("uint32", length="bytes on the wire", captured="bytes in the capture"),
    **_columns(
        "category",
        src_mac="who sent it",
        src_owner="whose MAC that is, in words",
        dst_mac="who is to get it; a cooked capture knows none but broadcast",
        dst_owner="whose MAC that is, in words",
    ),
    **_columns(
        "UInt16",
        vlan="number of the outermost VLAN tag (802.1Q, 802.1ad)",
        inner_vlan="number of the VLAN tag inside that one, or inside VXLAN",
        ethertype="what the frame carries, after VLAN tags",
    ),
    **_columns(
        "category",
        protocol="ARP, ICMP, TCP, UDP, IPv6 or other",
        src="IP address of the sender; in ARP of who asks or answers",
        src_name="whose address that is, in words",
        dst="IP address of the receiver; in ARP the address that is asked for",
        dst_name="whose address that is, in words",
    ),
    **_columns("UInt8", ip_protocol="what IP carries", ttl="hops left (IPv4), hop limit (IPv6)"),
    **_columns(
        "UInt16",
        ip_id="identification (IPv4)",
        fragment="bytes of the packet before this fragment (IPv4)",
        arp_operation="1 asks, 2 answers",
    ),
    **_columns(
        "category",
        arp_src_mac="the MAC that ARP speaks of as the sender's",
        arp_dst_mac="the MAC that ARP speaks of as the target's",
    ),
    **_columns("UInt8", icmp_type="type of ICMP or ICMPv6", icmp_code="code of ICMP or ICMPv6"),
    **_columns(
        "UInt16",
        ident="identification of an echo (ICMP)",
        sport="port of the sender (TCP, UDP)",
        dport="port of the receiver (TCP, UDP)",
    ),
    **_columns("UInt32", seq="sequence number of an echo or of TCP", ack="acknowledged (TCP)"),
    **_columns("UInt8", flags="flags of TCP: 1 FIN, 2 SYN, 4 RST, 8 PSH, 16 ACK, 32 URG, …"),
    **_columns("UInt16", window="window of TCP, not scaled"),
    **_columns("UInt32", payload="bytes that TCP or UDP carries, by the headers"),
    **_columns("category", says="the frame in words"),
    **_columns("bool", broken="cut off or wrong; `says` tells where"),
    **_columns("UInt32", vni="number of the VXLAN network"),
    **_columns(
        "category",
        inner_src_mac="src_mac of the frame inside VXLAN",
        inner_dst_mac="dst_mac of the frame inside VXLAN",
        inner_protocol="protocol of the frame inside VXLAN",
        inner_src="src of the frame inside VXLAN",
        inner_dst="dst of the frame inside VXLAN",
        inner_says="says of the frame inside VXLAN",
    ),
    **_columns(
        "UInt16",
        inner_ident="ident of the frame inside VXLAN",
        inner_sport="sport of the frame inside VXLAN",
        inner_dport="dport of the frame inside VXLAN",
    ),
    **_columns("UInt32", inner_seq="seq of the frame inside VXLAN"),
    **_columns("UInt8", inner_flags="flags of the frame inside VXLAN"),
    **_columns(
        "category",
        verdict="what became of it: delivered, dropped by …",
        comment="what the file says about it",
    ),
    **_columns("object", data="the first 64 bytes of what no column names, else None"),
}

KEPT = {**COLUMNS, "_point": Meaning("int32", "the place of the interface, -1 where unknown")}


class Vocabulary:
    """Distinct keys, numbered in the order in which they come, and their texts.

    Keys are numbers that come as arrays (`codes`), or anything else one by one (`code`).
    """

    def __init__(self, form: Callable[[Any], str] = str) -> None:
        self.form = form
        self.words: list[str] = []
        self._numbers: dict[Hashable, int] = {}
        self._known = np.zeros(0, np.uint64)
        self._codes = np.zeros(0, np.int32)
        # Seen before: a key and its number in the slot that the key is mixed to, one of them.
        self._slot_keys = np.zeros(0, np.uint64)
        self._slot_codes = np.zeros(0, np.int32)

    def codes(self, keys: Array) -> Array:
        """Number uint64 keys; new ones are formatted."""
        if not len(self._slot_keys):
            self._slot_keys = np.full(SLOTS, NO_KEY, np.uint64)
            self._slot_codes = np.zeros(SLOTS, np.int32)
        keys = keys.astype(np.uint64, copy=False)
        slots = (keys * MIX >> np.uint64(48)).astype(np.int64)
        codes = self._slot_codes[slots]
        if len(lost := np.flatnonzero(self._slot_keys[slots] != keys)):
            codes[lost] = self._looked_up(keys[lost])
            self._slot_keys[slots[lost]] = keys[lost]
            self._slot_codes[slots[lost]] = codes[lost]
        return codes

    def _looked_up(self, keys: Array) -> Array:
        place = self._places(keys)
        new = keys[self._known[place] != keys] if len(self._known) else keys
        if len(new):
            fresh = np.unique(new)
            numbers = np.array([self.code(key) for key in fresh.tolist()], np.int32)
            at = np.searchsorted(self._known, fresh)
            self._known = np.insert(self._known, at, fresh)
            self._codes = np.insert(self._codes, at, numbers)
            place = self._places(keys)
        return self._codes[place]

    def _places(self, keys: Array) -> Array:
        return np.minimum(np.searchsorted(self._known, keys), max(0, len(self._known) - 1))

    def code(self, key: Hashable) -> int:
        """Number one key; equal texts have one number."""
        if key not in self._numbers:
            text = self.form(key)
            if ("", text) not in self._numbers:
                self._numbers["", text] = len(self.words)
                self.words.append(text)
            self._numbers[key] = self._numbers["", text]
        return self._numbers[key]


@dataclass
class Column:
    """The values of a column, one a frame: numbers, with a mask of those missing, or codes."""

    values: Array
    missing: Array | None = None
    words: Sequence[str] | None = None

    def texts(self) -> list[str]:
        """Give the texts of all rows, "" where there is none."""
        assert self.words is not None
        return [self.words[code] if code >= 0 else "" for code in self.values.tolist()]

    def take(self, rows: Array) -> Column:
        """Give some rows, in the order asked for."""
        missing = None if self.missing is None else self.missing[rows]
        return Column(self.values[rows], missing, self.words)

    def translated(self, tell: Callable[[str], str]) -> Column:
        """Say something about each distinct text, once; "" is nothing."""
        assert self.words is not None
        made = Vocabulary()
        codes = [made.code(said) if (said := tell(word)) else NOTHING for word in self.words]
        table = np.array([*codes, NOTHING], np.int32)  # the last is at -1: nothing of nothing
        return Column(table[self.values].astype(_smallest(len(made.words))), None, made.words)


def _smallest(count: int) -> type[np.signedinteger[Any]]:
    return np.int8 if count < 128 else np.int16 if count < 32768 else np.int32


class Rows:
    """The columns of one batch, filled in by layers; one that nobody fills in costs nothing."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.columns: dict[str, tuple[Array, Array | None]] = {}

    def put(self, name: str, rows: Array, values: Array | int | bytes) -> None:
        """Fill in a column at some rows."""
        if name not in self.columns:
            dtype = KEPT[name].dtype
            if dtype.startswith("UInt"):
                made = np.zeros(self.count, dtype.lower()), np.ones(self.count, bool)
                self.columns[name] = made
            elif dtype == "category":
                self.columns[name] = np.full(self.count, NOTHING, np.int32), None
            elif dtype == "object":
                self.columns[name] = np.full(self.count, None, object), None
            else:
                made_of = "int64" if name == "time" else dtype
                self.columns[name] = np.zeros(self.count, made_of), None
        column, missing = self.columns[name]
        if isinstance(values, np.ndarray):  # in one go, and not number by number
            values = values.astype(column.dtype, copy=False)
        column[rows] = values
        if missing is not None:
            missing[rows] = False


class Table:
    """All batches so far, column by column."""

    def __init__(self) -> None:
        self.counts: list[int] = []
        self.parts: dict[str, dict[int, tuple[Array, Array | None]]] = {name: {} for name in KEPT}

    def add(self, rows: Rows) -> None:
        """Add a batch."""
        for name, (column, missing) in rows.columns.items():
            if KEPT[name].dtype == "category" and len(column):
                column = column.astype(_smallest(int(column.max()) + 1))
            self.parts[name][len(self.counts)] = column, missing
        self.counts.append(rows.count)

    def whole(self, words: Mapping[str, Sequence[str]]) -> dict[str, Column]:
        """Put the batches together; `words` has the texts of each column of categories."""
        return {name: self._column(name, words.get(name)) for name in KEPT}

    def _column(self, name: str, words: Sequence[str] | None) -> Column:
        dtype, parts = KEPT[name].dtype, self.parts.pop(name)
        total = sum(self.counts)
        if dtype.startswith("UInt"):
            values: Array = np.zeros(total, dtype.lower())
            missing: Array | None = np.ones(total, bool)
        elif dtype == "category":
            values, missing = np.full(total, NOTHING, _smallest(len(words or ()))), None
        elif dtype == "object":
            values, missing = np.full(total, None, object), None
        else:
            values, missing = np.zeros(total, "int64" if name == "time" else dtype), None
        at = 0
        for number, count in enumerate(self.counts):
            if number in parts:
                part, lacking = parts.pop(number)
                values[at : at + count] = part
                if missing is not None and lacking is not None:
                    missing[at : at + count] = lacking
            at += count
        return Column(values, missing, words)


def frame(columns: Mapping[str, Column]) -> DataFrame:
    """Make the DataFrame, without a copy of what is large: it can read the columns only."""
    import pandas

    def series(name: str, column: Column) -> Any:
        values = _read_only(column.values)
        if column.words is not None:
            return pandas.Categorical.from_codes(
                values, categories=pandas.Index(list(column.words), dtype=object)
            )
        if column.missing is not None:
            return pandas.arrays.IntegerArray(values, _read_only(column.missing))
        if name == "time":
            return pandas.DatetimeIndex(values.view("M8[ns]"), tz="UTC", copy=False)
        # With the type said, pandas does not look at each value.
        return pandas.Series(values, dtype=values.dtype, copy=False)

    return pandas.DataFrame(
        {name: series(name, columns[name]) for name in COLUMNS}, columns=list(COLUMNS), copy=False
    )


def _read_only(values: Array) -> Array:
    view = values.view()
    view.flags.writeable = False
    return view


def names(columns: Iterable[str]) -> tuple[str, ...]:
    """Name the columns that tell the frame inside VXLAN, of these."""
    return tuple(INNER + each for each in columns if INNER + each in COLUMNS)
