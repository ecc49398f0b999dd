"""Whose host is diagnosed, and the ways to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from osawslab.clinic.account import Account

# Asks EC2 about an instance: id, public address, MACs of its NICs, region.
Books = Callable[[str, str, list[str], str], Account]
# Connects to an address and port from here: what it said first. Raises OSError.
Connect = Callable[[str, int], str]


@dataclass(frozen=True)
class Case:
    """Whose host it is, and the ways to it.

    `look` runs the program on the host and gives what it printed; it raises LabError.
    """

    where: str
    look: Callable[[str, dict[str, Any]], Any]
    books: Books
    connect: Connect
    public: str = ""  # the address that we reach it at
    instance: str = ""
    named: str = ""  # the provider NIC, where the caller has named it
    caller: str = ""  # where we come from, for a security group; "" where nobody knows
    ours: bool = False  # our own lab: its group lets us in
