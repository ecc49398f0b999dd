"""A capture: its frames as a DataFrame, its conversation as what a notebook shows.

>>> load_capture(b"tcpdump: eth1: No such device")
Traceback (most recent call last):
...
osawslab.errors.BadCapture: these bytes are no capture
  seen: 29 bytes that begin with 74 63 70 64
  next: tcpdump --immediate-mode -U -i eth1 -w FILE
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from osawslab.errors import BadCapture
from osawslab.observe import columns, container, pcapng
from osawslab.observe.columns import COLUMNS, Column, Rows, Table, Vocabulary
from osawslab.observe.container import NO_TIME, Array, Batch, Point
from osawslab.observe.conversation import Conversation, owner
from osawslab.observe.layers import NO_FRAME, decode
from osawslab.observe.packets import PROTOCOLS, Known
from osawslab.report import Table as Shown

if TYPE_CHECKING:
    from pandas import DataFrame

    from osawslab.observe.deciding import Facts
    from osawslab.observe.follow import Followed
    from osawslab.observe.plots import Plots
    from osawslab.observe.stills import Stills

DIRECTIONS = ("in", "out")
NOWHERE = Point("unknown", 147)  # LINKTYPE_USER0: bytes that nobody decodes


@dataclass(frozen=True)
class Origin:
    """Where the bytes of frames are: a file, or bytes in memory."""

    path: Path | None
    data: bytes = b""
    state: tuple[int, int] = (0, 0)  # size and time of the file when it was read

    def open(self) -> BinaryIO:
        """Open it. Raises BadCapture where the file is not the one that was read."""
        if self.path is None:
            return BytesIO(self.data)
        try:
            file = open(self.path, "rb")  # noqa: SIM115 - the caller closes it
        except OSError as error:
            raise _unreadable(self.path, error) from error
        if self.state != (0, 0) and _state(file) != self.state:
            file.close()
            raise BadCapture(
                f"{self.path} has changed since it was read",
                seen="another size or time",
                next=f"load_capture({str(self.path)!r})",
            )
        return file


def _state(file: BinaryIO) -> tuple[int, int]:
    stat = os.fstat(file.fileno())
    return stat.st_size, stat.st_mtime_ns


def _unreadable(path: Path, error: OSError) -> BadCapture:
    return BadCapture(
        f"{path} cannot be read", seen=error.strerror or str(error), next=container.CAPTURE_AGAIN
    )


@dataclass(frozen=True, eq=False, repr=False)
class Capture:
    """Frames in the order of their file. Shown as the conversation; `frame` has everything."""

    points: tuple[Point, ...]  # the interfaces that were captured
    caption: str
    columns: Mapping[str, Column]
    _start: Array  # where in the origin each frame begins
    _origin: Origin
    facts: Facts | None = None  # of the lab that it was captured in: what decided about frames
    lost: Mapping[str, int] = field(default_factory=dict)  # frames that were, by point's name

    def __len__(self) -> int:
        return len(self._start)

    @cached_property
    def frame(self) -> DataFrame:
        """Every frame with everything: one row each; `meaning` says what the columns are."""
        return columns.frame(self.columns)

    @property
    def meaning(self) -> Shown:
        """Each column of `frame`: its name, its type, what it says."""
        rows = ((name, each.dtype, each.words) for name, each in COLUMNS.items())
        return Shown("Columns of a capture", ("column", "type", "meaning"), tuple(rows))

    @property
    def conversation(self) -> Shown:
        """Who says what to whom: what is the same on every run of a lab."""
        return Conversation(self.columns).table(self.caption)

    @property
    def plot(self) -> Plots:
        """Its pictures: `plot.sequence()`, `plot.round_trips()`, `plot.drops()`."""
        from osawslab.observe.plots import Plots

        return Plots(self)

    @property
    def stills(self) -> Stills:
        """Each frame on the way from the VM to the internet, as a picture: `stills[7]`."""
        from osawslab.observe.stills import Stills

        return Stills(self)

    def __repr__(self) -> str:
        return repr(self.conversation)

    def _repr_html_(self) -> str:
        return self.conversation._repr_html_()

    def sent(self, mac: str) -> bool:
        """Tell whether a frame comes from this MAC."""
        return mac.lower() in self.columns["src_mac"].texts()

    def named(self, owners: Mapping[str, str]) -> Capture:
        """Say whose MACs and IP addresses are whose: the same frames with these names."""
        return replace(self, columns={**self.columns, **_owned(self.columns, owners)})

    def judged(self, verdicts: Callable[[int], str] | Sequence[str]) -> Capture:
        """Say what became of each frame, by its place, from 0; "" where nobody knows.

        A verdict is one line: where it has several, they are put together.
        """
        tell = verdicts if callable(verdicts) else verdicts.__getitem__
        made = Vocabulary()
        lines = (" ".join(tell(row).splitlines()) for row in range(len(self)))
        said = [made.code(text) if text else -1 for text in lines]
        column = Column(np.array(said, np.int32), None, made.words)
        return replace(self, columns={**self.columns, "verdict": column})

    def knowing(self, facts: Facts) -> Capture:
        """Add what decides about frames: the tables of a lab, and what its router translated."""
        return replace(self, facts=facts)

    def follow(self, what: object = None) -> Followed:
        """Follow one ping or TCP connection through all points, hop by hop.

        `what` is a frame's place, from 0, or its row of `frame`, or "icmp", "tcp" or "arp";
        without it, the one that tells most. Raises BadSetting for a frame that nobody can follow,
        BadCapture where there is none.
        """
        from osawslab.observe.follow import follow

        return follow(self, what, self.facts)

    def take(self, rows: Array | Sequence[int]) -> Capture:
        """Give some frames by their places, in the order asked for, or by a mask of all.

        `capture.take(capture.frame["time"].argsort(kind="stable"))` is ordered by time.
        """
        wanted = np.asarray(rows)
        places = np.flatnonzero(wanted) if wanted.dtype == bool else wanted.astype(np.int64)
        for each in (places.min(), places.max()) if places.size else ():
            self.place(int(each))
        taken = {name: column.take(places) for name, column in self.columns.items()}
        return replace(self, columns=taken, _start=self._start[places])

    def place(self, row: int) -> int:
        """Find a frame by its place, from 0, or from the end by a negative one."""
        try:
            return range(len(self))[row]
        except (IndexError, TypeError):
            raise BadCapture(
                f"there is no frame {row!s:.60} in this capture",
                seen=f"{len(self):,} frames",
                next=f"a number from 0 to {len(self) - 1}" if len(self) else "capture more",
            ) from None

    def raw(self, row: int) -> bytes:
        """Give the captured bytes of a frame, by its place. Raises BadCapture for none."""
        with self._origin.open() as file:
            return self._read(file, self.place(row))

    def raws(self, rows: Iterable[int]) -> Iterator[bytes]:
        """Give the captured bytes of several frames, by their places."""
        with self._origin.open() as file:
            for row in rows:
                yield self._read(file, self.place(row))

    def _read(self, file: BinaryIO, row: int) -> bytes:
        file.seek(int(self._start[row]))
        return file.read(int(self.columns["captured"].values[row]))

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the frames as pcapng: points by name with what they lost, verdicts as comments.

        What is no frame, or of an interface that nobody described, gets an interface of its own
        where nothing is decoded, and what it says as a comment. The file is written whole, or
        not at all. Raises BadCapture where it cannot be.
        """
        wanted = Path(path)
        part = wanted.with_name(wanted.name + ".part")
        values = {name: self.columns[name].values.tolist() for name in ("time", "length", "_point")}
        direction, verdict, comment, says = (
            self.columns[name].texts() for name in ("direction", "verdict", "comment", "says")
        )
        time = values["time"]
        offset = min([0, *(each // 10**9 for each in time if each != NO_TIME)])  # before 1970
        points = list(self.points)
        for row, point in enumerate(values["_point"]):
            if point < 0:
                values["_point"][row] = len(points)
                comment[row] = "\n".join(filter(None, (comment[row], says[row])))
        if len(points) in values["_point"]:
            points.append(NOWHERE)
        try:
            with self._origin.open() as source, open(part, "wb") as file:
                pcapng.begin(file, points, offset)
                for row in range(len(self)):
                    pcapng.write(
                        file,
                        self._read(source, row),
                        point=values["_point"][row],
                        time=0 if time[row] == NO_TIME else time[row] - offset * 10**9,
                        length=values["length"][row],
                        direction=("", *DIRECTIONS).index(direction[row]),
                        comments=[
                            *pcapng.words(verdict[row], comment[row]),
                            *([pcapng.UNTIMED] if time[row] == NO_TIME else []),
                        ],
                    )
                names = [point.name for point in self.points]
                until = max([offset * 10**9, *(each for each in time if each != NO_TIME)])
                for name, count in self.lost.items():
                    if name in names:  # else of a point that is captured and not shown
                        pcapng.lost(file, names.index(name), until - offset * 10**9, count)
            part.replace(wanted)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise BadCapture(
                f"{wanted} cannot be written",
                seen=error.strerror or str(error),
                next="capture.save() with a path that is yours to write",
            ) from error
        return wanted


def _owned(known: Mapping[str, Column], owners: Mapping[str, str]) -> dict[str, Column]:
    found = {key.lower(): name for key, name in owners.items()}
    made = {}
    for end in ("src", "dst"):
        made[f"{end}_owner"] = known[f"{end}_mac"].translated(lambda mac: owner(mac, found))
        made[f"{end}_name"] = known[end].translated(lambda address: found.get(address, ""))
    return made


def load_capture(
    source: str | os.PathLike[str] | bytes,
    owners: Mapping[str, str] | None = None,
    caption: str = "",
) -> Capture:
    """Read a pcap or pcapng file, or the bytes of one, whatever its byte order and clock.

    `owners` maps MACs and IP addresses to words ("provider NIC"). A frame that is cut off or
    broken is a row that says so. Raises BadCapture where there is no capture to read.
    """
    path = None if isinstance(source, bytes) else Path(source)
    origin = Origin(path, source if isinstance(source, bytes) else b"")
    shown = caption or (f"Captured in {path.name}" if path else "Captured")
    points: list[Point] = []
    try:
        with origin.open() as file:
            made = of_batches(container.batches(file, points), points, origin, owners or {}, shown)
            if made.lost:
                made = replace(made, caption=f"{shown}; {container.losses(made.lost)}")
            if path is not None:
                made = replace(made, _origin=Origin(path, b"", _state(file)))
    except OSError as error:
        assert path is not None
        raise _unreadable(path, error) from error
    return made


def of_batches(
    batches: Iterable[Batch],
    points: list[Point],
    origin: Origin,
    owners: Mapping[str, str],
    caption: str,
) -> Capture:
    """Decode batches of frames whose bytes are in `origin`; `points` may grow meanwhile."""
    table, known = Table(), Known()
    starts, comments, verdicts = [np.zeros(0, np.int64)], Vocabulary(), Vocabulary()
    for batch in batches:
        rows = decode(batch, points, known)
        _told(rows, batch, comments, verdicts)
        starts.append(batch.start + batch.base)
        table.add(rows)
    macs, addresses, said = known.macs.words, known.addresses.words, known.sayings.texts.words
    names = Vocabulary()
    number = [names.code(point.name) if point.name else -1 for point in points]
    made = table.whole(
        {
            "point": (), "direction": DIRECTIONS, "protocol": PROTOCOLS,
            "inner_protocol": PROTOCOLS, "says": said, "inner_says": said,
            "verdict": verdicts.words, "comment": comments.words,
            **dict.fromkeys(("src_owner", "dst_owner", "src_name", "dst_name"), ()),
            **{name: macs for name in COLUMNS if name.endswith("_mac")},
            **dict.fromkeys(("src", "dst", "inner_src", "inner_dst"), addresses),
        }
    )  # fmt: skip
    made["point"] = Column(
        np.array([*number, -1], np.int32)[made["_point"].values], None, names.words
    )
    made.update(_owned(made, owners))
    lost = container.lost(points)
    return Capture(tuple(points), caption, made, np.concatenate(starts), origin, lost=lost)


def _told(rows: Rows, batch: Batch, comments: Vocabulary, verdicts: Vocabulary) -> None:
    """Fill in what the container tells of the frames."""
    every = np.arange(len(batch))
    for name in ("time", "length", "captured"):
        rows.put(name, every, getattr(batch, name))
    rows.put("_point", every, np.where(np.isin(batch.trouble, NO_FRAME), -1, batch.point))
    if batch.direction is not None:
        known = (batch.direction == 1) | (batch.direction == 2)
        rows.put("direction", every[known], batch.direction[known].astype(np.int64) - 1)
    for row, text in batch.comments.items():
        verdict, comment = pcapng.parts(text)
        if verdict:
            rows.put("verdict", every[row], verdicts.code(verdict))
        if comment:
            rows.put("comment", every[row], comments.code(comment))
