"""Chains of records in a window of a file, each of which tells where the next one begins.

One has to go from record to record. A long chain is gone in many lanes of the window at once,
each from where a record seems to begin. What one lane leads to must be what the next one began
with, else that lane is gone again, one by one: a wrong guess costs time, and nothing else.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
SAMPLE = 32  # records that tell how long records are
RECORDS = 64  # in a lane, about
FEWEST = 8  # lanes that are worth it


def fields(data: bytes, kind: str) -> Array:
    """Give the number at each byte of `data`, aligned or not: kind ">u4", "<u2", …."""
    size = np.dtype(kind).itemsize
    return np.ndarray((max(0, len(data) - size + 1),), kind, data, 0, (1,))


def header(data: bytes, at: Array, kind: np.dtype[Any]) -> Array:
    """Fetch headers, as an array of `kind`, from some places, aligned or not, of `data`."""
    size = kind.itemsize
    every = np.ndarray((max(0, len(data) - size + 1),), f"V{size}", data, 0, (1,))
    return every[at].view(kind)


@dataclass(frozen=True)
class Chain:
    """How records follow each other: by the uint32 at `place` and `more` bytes, 12 at least.

    `guess` gives the first place between two where a record seems to begin, else the second one.
    """

    order: str  # "<" or ">"
    place: int
    more: int
    guess: Callable[[bytes, int, int], int]

    def heads(self, data: bytes, at: int, last: int) -> Array:
        """Give where records begin: the first at `at`, none after `last`.

        A record at `last` must have its number in `data`.
        """
        sample, begin = self._one_by_one(data, at, last + 1, SAMPLE)
        lane = (begin - at) * RECORDS // SAMPLE
        count = (last - begin) // lane if sample else 0
        if count < FEWEST:
            rest, _ = self._one_by_one(data, begin, last + 1)
            return np.array(sample + rest, np.int64)
        ends = [*range(begin + lane, begin + lane * count, lane), last + 1]
        begins = [begin, *map(self.guess, [data] * (count - 1), ends, ends[1:])]
        return np.concatenate((sample, *self._lanes(data, np.array(begins), np.array(ends))))

    def _lanes(self, data: bytes, begins: Array, ends: Array) -> list[Array]:
        """Go all lanes at once, and again those that began at no record."""
        number = fields(data, self.order + "u4")
        at, last, steps = begins, int(ends[-1]) - 1, []
        while (going := at < ends).any():
            steps.append(at)
            step = number[np.minimum(at, last) + self.place].astype(np.int64) + self.more
            at = np.where(going, at + np.maximum(step, 12), at)
        gone = np.array(steps).T
        there = gone < ends[:, None]
        if np.array_equal(begins[1:], at[:-1]):
            return [gone[there]]
        true, found = int(begins[0]), []
        for lane, (begin, end, exit_) in enumerate(
            zip(begins.tolist(), ends.tolist(), at.tolist(), strict=True)
        ):
            if begin == true:
                found.append(gone[lane][there[lane]])
                true = exit_
            else:
                again, true = self._one_by_one(data, true, end)
                found.append(np.array(again, np.int64))
        return found

    def _one_by_one(
        self, data: bytes, at: int, end: int, most: int = 1 << 62
    ) -> tuple[list[int], int]:
        """Go from record to record: where they begin before `end`, and where the next one does."""
        number = struct.Struct(f"{self.order}{self.place}xI").unpack_from
        found: list[int] = []
        add, more = found.append, self.more
        while at < end and len(found) < most:
            add(at)
            at += max(number(data, at)[0] + more, 12)
        return found, at
