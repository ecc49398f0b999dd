"""Where no tier of the local region works: a place that answers as a lab did which was saved.

Everything that only reads (checks, plans, tables, captures, commands) is answered by a tape: what
EC2 and the instance said to the same notebook. A step that would change something answers
NoPlaceToRun; what is read after it is what was saved after it. A tape for each notebook's
`lab.catch_up(…)` is made by `tests/regenerate_replay.py`.
"""

from __future__ import annotations

import base64
import functools
import gzip
import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from osawslab.errors import NoPlaceToRun
from osawslab.host.ssh import SshHost
from osawslab.region import folders, network
from osawslab.settings import Settings
from osawslab.target import Course, LocalVantage, Target, open_target

TAPES = Path(__file__).parent / "tapes"
OPENED = "opened"
NEXT = (
    "go on with the next cell: it shows what was saved after this one. To run steps:"
    " ./lab doctor in a terminal, or a machine whose root may make namespaces"
)
READS = ("Describe", "Get", "List")
TIME, BYTES = "$time", "$bytes"


class Tape(Course):
    """What was said to one notebook: answers in order, by the step before and by the question."""

    def __init__(self) -> None:
        self.name = ""
        self.at = OPENED
        self.opened = 0
        self._told: dict[str, Any] = {}
        self._next: dict[tuple[str, str], int] = {}

    def opens(self, step: str, before: str) -> None:
        """Begin where a notebook does. Raises NoPlaceToRun where something would come before."""
        if step != self.name or self.opened >= self._told.get("opened", 0):
            self.name, self._told = step, read(step)
            self.opened = 0
            self._next.clear()
        self.opened += 1
        self.at = OPENED
        if before:
            raise self.refuses(f"the steps before {step}")

    def changes(self, step: str) -> None:
        """Go to what was saved after a step. Raises NoPlaceToRun."""
        if not self.name:
            raise self.missing(step)
        self.at = OPENED if step.startswith("reset ") else step
        raise self.refuses(step)

    def refuses(self, what: str) -> NoPlaceToRun:
        """Make the error of a step that cannot be run here."""
        return NoPlaceToRun(
            f"{what} cannot be run here: this is a saved lab",
            seen='target = "replay", for machines that let the local region run nowhere',
            next=NEXT,
        )

    def missing(self, question: str) -> NoPlaceToRun:
        """Make the error of what was not saved."""
        first = 'lab.catch_up("swap_mac"), with a notebook\'s own step'
        return NoPlaceToRun(
            "this is a saved lab, and this was not saved",
            seen=question[:200],
            next=NEXT if self.name else first,
        )

    def answer(self, question: str) -> Any:
        """Give what was said to a question; the last answer again when there is no other.

        Raises NoPlaceToRun where it was not saved.
        """
        found = self._told.get("said", {}).get(self.at, {}).get(question)
        if not found:
            raise self.missing(question)
        place = self._next.get((self.at, question), 0)
        self._next[self.at, question] = place + 1
        return self._told["answers"][found[min(place, len(found) - 1)]]


def read(step: str) -> dict[str, Any]:
    """Read a tape; an empty one where there is none."""
    path = TAPES / f"{step}.json.gz"
    if not path.is_file():
        return {}
    return dict(json.loads(gzip.decompress(path.read_bytes()), object_hook=_back))


def _back(found: dict[str, Any]) -> Any:
    if TIME in found:
        return datetime.fromisoformat(found[TIME])
    return base64.b64decode(found[BYTES]) if BYTES in found else found


def plain(value: object) -> Any:
    """Say a moment or bytes in JSON."""
    if isinstance(value, datetime):
        return {TIME: value.isoformat()}
    if isinstance(value, bytes):
        return {BYTES: base64.b64encode(value).decode()}
    raise TypeError(type(value).__name__)


def question(kind: str, *words: object, **given: object) -> str:
    """Say a question in a line: what kind, and all that it depends on.

    >>> question("run", 22, "ip link"), question("script", "Ping.", count=3)
    ('run [22, "ip link", {}]', 'script ["Ping.", {"count": 3}]')
    """
    return f"{kind} {json.dumps([*words, given], sort_keys=True, default=str)}"


def program(source: str) -> str:
    """Name a program by the first line of its text: what it does, however that is written."""
    return source.partition("\n")[0]


class SavedHost(SshHost):
    """A host that says what it said."""

    def connection(self) -> Any:
        """Refuse: nobody can log in."""
        raise _course(self).missing(f"a connection to {self.address}")

    def wait(self, seconds: float) -> None:
        """Say that it answered, where it did."""
        _course(self).answer(question("wait", self.port))

    def run(self, command: str, given: str = "") -> str:
        """Give what the command printed."""
        return str(_course(self).answer(question("run", self.port, command, given)))

    def plain(self, command: str, shown: str = "") -> str:
        """Give what the command printed."""
        return str(_course(self).answer(question("plain", self.port, command)))

    def script(self, source: str, **given: Any) -> Any:
        """Give what the program answered."""
        return _course(self).answer(question("script", program(source), **given))

    def stream(self, source: str, **given: Any) -> Any:
        """Give what the program wrote."""
        return Saved(_course(self).answer(question("stream", **_points(given))))


def _course(host: SshHost) -> Tape:
    course = host._target.course
    assert isinstance(course, Tape)
    return course


def _points(given: Mapping[str, Any]) -> dict[str, Any]:
    return {key: given[key] for key in ("points", "filter")}


class Saved:
    """The end of a program that has written all it will: a stream, as a capture reads one."""

    def __init__(self, written: bytes) -> None:
        self._left = written

    def recv(self, size: int, /) -> bytes:
        """Give what is left."""
        given, self._left = self._left[:size], self._left[size:]
        return given

    def sendall(self, data: bytes, /) -> None:
        """Take a word that nobody hears."""

    def settimeout(self, seconds: float, /) -> None:
        """Take a bound that nothing meets."""

    def close(self) -> None:
        """Do nothing."""


class SavedVantage(LocalVantage):
    """What the local region showed besides."""

    def __init__(self, tape: Tape) -> None:
        self._tape = tape

    def drops(self) -> dict[str, int] | None:
        """Give what was counted."""
        found: dict[str, int] | None = self._tape.answer(question("drops"))
        return found

    def program(self, text: str, *words: str) -> Any:
        """Give what the program wrote."""
        return Saved(self._tape.answer(question("vantage")))


def place(settings: Settings) -> Target:
    """Open the place the settings name: the saved lab, or one that runs."""
    return _saved(settings.name) if settings.target == "replay" else open_target(settings)


@functools.lru_cache(maxsize=8)
def _saved(name: str) -> Target:
    import boto3
    import botocore.awsrequest

    tape = Tape()

    def answered(model: Any, params: Mapping[str, Any], **_: object) -> tuple[Any, Any]:
        """Answer a call to EC2 in place of the network; tags are for those who have the right."""
        try:
            status, parsed = tape.answer(question("ec2", model.name, params["body"]))
        except NoPlaceToRun:
            if model.name.startswith(READS):
                raise
            if model.name != "CreateTags":
                raise tape.refuses(model.name) from None
            status, parsed = 403, {"Error": {"Code": "UnauthorizedOperation"}}
        return botocore.awsrequest.AWSResponse("", status, {}, None), parsed

    @functools.cache
    def client(service: str, region_name: str = "") -> Any:
        session = boto3.session.Session("saved", "saved", region_name=region_name or "us-east-1")
        made = session.client(service)
        made.meta.events.register(f"before-call.{service}", answered)
        return made

    return Target(
        client,
        lambda *_: None,
        SavedVantage(tape),
        folders.state_folder(f"{name}.replay"),
        "replay",
        caller_address=lambda: network.USER_ADDRESS,
        course=tape,
        host=SavedHost,
    )
