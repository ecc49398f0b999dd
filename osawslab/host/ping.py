"""Pings from a namespace of a host, with what its NIC saw meanwhile."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from osawslab.host import trial
from osawslab.host.ssh import SshHost

COUNT = 3


@dataclass(frozen=True)
class Ping:
    """What became of some pings: counts, the capture as pcap bytes, the neighbours afterwards."""

    sent: int
    received: int
    said: str
    captured: bytes
    neighbours: tuple[Mapping[str, Any], ...]

    @property
    def passed(self) -> bool:
        """True when every ping was answered."""
        return self.received == self.sent == COUNT

    @property
    def counts(self) -> dict[str, int]:
        """Give sent and received."""
        return {"sent": self.sent, "received": self.received}


def ping(host: SshHost, netns: str, device: str, address: str, nic: str = "") -> Ping:
    """Ping an address from a namespace, three times; `nic` is captured meanwhile."""
    source = Path(trial.__file__).read_text()
    told = host.script(source, netns=netns, device=device, address=address, nic=nic, count=COUNT)
    return Ping(
        told["sent"],
        told["received"],
        told["said"],
        base64.b64decode(told["captured"]),
        tuple(told["neighbours"]),
    )
