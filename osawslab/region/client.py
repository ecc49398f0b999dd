"""A running region as those outside see it: its API's address and keys, and what to ask it."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from osawslab.errors import RegionGone
from osawslab.region.folders import runtime_folder

if TYPE_CHECKING:
    from osawslab.region.faults import Fault


def exchange(client: socket.socket, name: str, asked: dict[str, Any]) -> tuple[Any, list[int]]:
    """Ask the control socket of a lab's region over a new socket; the answer, and descriptors.

    Raises ConnectionError or FileNotFoundError where nobody answers, OSError with the region's
    words when it could not do what was asked.
    """
    client.connect(str(runtime_folder(name) / "control"))
    client.sendall(json.dumps(asked).encode() + b"\n")
    data, descriptors, _, _ = socket.recv_fds(client, 1 << 16, 1)
    while not data.endswith(b"\n"):
        part = client.recv(1 << 16)
        if not part:
            raise ConnectionResetError("the region closed the connection")
        data += part
    answer = json.loads(data)
    if "error" in answer:
        raise OSError(answer["error"])
    return answer, descriptors


@dataclass(frozen=True)
class Region:
    """A running local region: where its EC2 API is, and the keys that open it."""

    name: str
    endpoint: str
    region: str
    access_key: str
    secret_key: str = field(repr=False)
    tier: str
    pid: int
    whole: bool = False  # its new instances are whole operating systems

    def ask(self, do: str, **more: Any) -> tuple[dict[str, Any], list[int]]:
        """Ask the region's control socket; the answer, and file descriptors it passed on.

        Raises RegionGone when the region does not answer, OSError with its words when it
        could not do what was asked.
        """
        with socket.socket(socket.AF_UNIX) as client:
            try:
                return exchange(client, self.name, {"do": do, **more})
            except (ConnectionError, FileNotFoundError) as error:
                raise RegionGone(
                    f"the local region of lab {self.name!r} does not answer",
                    seen=str(error),
                    next="run the step again: the region comes back by itself",
                ) from None

    def connect(self, address: str, port: int, timeout: float = 5.0) -> socket.socket:
        """Open a TCP connection from the region's internet. Raises OSError."""
        _, descriptors = self.ask("connect", address=address, port=port, timeout=timeout)
        return socket.socket(fileno=descriptors[0])

    def program(self, text: str, *words: str) -> socket.socket:
        """Start a Python program in the region; its standard input and output. Raises OSError."""
        _, descriptors = self.ask("program", text=text, words=words)
        return socket.socket(fileno=descriptors[0])

    def faults(self, *wanted: Fault) -> None:
        """Have these faults from now on, and no others. Raises OSError."""
        self.ask("faults", faults=[asdict(each) for each in wanted])

    def struck(self) -> dict[str, int]:
        """Count the calls that have gone wrong as ordered, by action."""
        return dict(self.ask("struck")[0]["struck"])

    def drops(self) -> dict[str, int]:
        """Count the frames the VPC dropped, by reason."""
        return dict(self.ask("drops")[0]["drops"])

    def places(self) -> list[str]:
        """Name the region's network namespaces."""
        return list(self.ask("places")[0]["places"])

    def execute(
        self, place: str, argv: Sequence[str], given: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run a program inside one of the region's namespaces."""
        answer, _ = self.ask("execute", place=place, argv=list(argv), given=given)
        return subprocess.CompletedProcess(list(argv), answer["code"], answer["out"], answer["err"])
