"""Where records begin does not hang on the guesses of where they do."""

from __future__ import annotations

import random
import struct

import pytest

from osawslab.observe import chain
from osawslab.observe.chain import Chain


def records(order: str, sizes: list[int], filler: bytes = b"\0") -> tuple[bytes, list[int]]:
    """Write records of a header of 16 bytes, their size at 8, and give where they begin."""
    data, begins = b"", []
    for number, size in enumerate(sizes):
        begins.append(len(data))
        body = (filler * size)[:size]
        data += struct.pack(order + "IIII", 7, number, size, size) + body
    return data + bytes(64), begins


def right(begins: list[int]) -> object:
    known = sorted(begins)
    return lambda data, begin, end: next((each for each in known if begin <= each < end), end)


GUESSES = {
    "right": None,
    "none": lambda data, begin, end: end,
    "each lane's first byte": lambda data, begin, end: begin,
    "by chance": lambda data, begin, end: random.Random(begin).randrange(begin, end),
    "each lane's last byte": lambda data, begin, end: end - 1,
}
SIZES = {
    "equal": [60] * 4000,
    "empty": [0] * 4000,
    "of chance": [random.Random(1).choice((0, 44, 60, 1500)) for _ in range(4000)],
    "one longer than many lanes": [40] * 1500 + [90_000] + [40] * 1500,
    "short ones after long ones": [1500] * 300 + [20] * 3000,
}


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("sizes", SIZES.values(), ids=list(SIZES))
@pytest.mark.parametrize("guess", GUESSES.values(), ids=list(GUESSES))
def test_records_are_found_whatever_is_guessed(order: str, sizes: list[int], guess: object) -> None:
    data, begins = records(order, sizes)
    found = Chain(order, 8, 16, guess or right(begins))  # type: ignore[arg-type]
    assert found.heads(data, 0, len(data) - 64 - 16).tolist() == begins


def test_a_chain_that_leads_out_of_the_window_ends_there() -> None:
    data, begins = records("<", [60] * 4000)
    wild = data[: begins[2500] + 8] + b"\xff\xff\xff\xff" + data[begins[2500] + 12 :]
    found = Chain("<", 8, 16, right(begins)).heads(wild, 0, len(data) - 64 - 16)  # type: ignore[arg-type]
    assert found.tolist() == begins[:2501]


def test_right_guesses_are_not_gone_again(monkeypatch: pytest.MonkeyPatch) -> None:
    data, begins = records("<", [random.Random(2).choice((44, 60, 1500)) for _ in range(4000)])
    gone = []
    plain = Chain._one_by_one

    def counted(self: Chain, *of: object) -> tuple[list[int], int]:
        found = plain(self, *of)  # type: ignore[arg-type]
        gone.extend(found[0])
        return found

    monkeypatch.setattr(Chain, "_one_by_one", counted)
    Chain("<", 8, 16, right(begins)).heads(data, 0, len(data) - 64 - 16)  # type: ignore[arg-type]
    assert len(gone) == chain.SAMPLE
