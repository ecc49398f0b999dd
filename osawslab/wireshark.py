"""A lab's packets in Wireshark while they pass: pcapng on a pipe, each point an interface."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, BinaryIO, cast

from osawslab.console import program
from osawslab.errors import BadSetting, LabError, MissingTool
from osawslab.observe import live, pcapng
from osawslab.observe.ring import Seen
from osawslab.steps import listening
from osawslab.steps import run as steps

if TYPE_CHECKING:
    from osawslab.tables import Tables

SECONDS, FRAMES, BYTES = 8 * 3600, 1 << 40, 1 << 40  # a day in class; the reader says when
TICK = 0.25  # seconds: what came by then is put in order with what came before


def stream(lab: Tables, points: Sequence[str] | None, filter: str, to: str | None) -> str:
    """Capture until Ctrl-C, or until nobody reads any more; what it was, in words.

    `to` is a file, "-" for standard output, None for Wireshark. Raises MissingTool, BadSetting,
    and what `lab.capture` raises.
    """
    opened = _wireshark() if to is None else _file(to)
    with steps.own_errors("wireshark"), opened as file:
        limits = {"seconds": SECONDS, "frames": FRAMES, "bytes": BYTES}
        session = listening.Session(lab._site(), points, filter, limits)
        count, catch = 0, None
        try:
            writer = Writer(file, session)
            with contextlib.suppress(KeyboardInterrupt):
                while not session.over:
                    time.sleep(TICK)
                    count += writer.write(session.arrived())
            catch = session.finish()
            count += writer.write(catch.frames) + writer.write([], all=True)
            writer.end(catch)
        except BrokenPipeError:  # nobody reads it any more
            pass
        finally:
            session.close()
    if catch is None:
        return f"{count:,} frames until nobody read them any more"
    return f"{count:,} frames; {catch.caption[0].lower()}{catch.caption[1:]}"


class Writer:
    """Write frames in order: each is held until what came with it has come too."""

    def __init__(self, file: BinaryIO, session: listening.Session) -> None:
        self.file = file
        self.spots = session.spots
        self.held: list[Seen] = []
        self.until = 0  # what is not newer than this can be written
        empty = live.Catch(session.spots, session.kinds, [], {})
        pcapng.begin(file, empty.points)
        file.flush()

    def write(self, came: list[Seen], *, all: bool = False) -> int:
        """Take what came, and write what is complete; how many frames."""
        held = live.ordered(live.placed(self.held + came, self.spots), self.spots)
        verdicts = live.judge(held, self.spots, sure=False)  # a drop may be on its way
        ripe = sum(all or each.time <= self.until for each in held)
        live.write(self.file, held[:ripe], verdicts, self.spots)
        self.file.flush()
        self.held = held[ripe:]
        self.until = max((each.time for each in held), default=self.until)
        return ripe

    def end(self, catch: live.Catch) -> None:
        """Write what was lost."""
        for number, spot in enumerate(self.spots):
            count = catch.lost.get(spot.name, 0)
            if count and not spot.hidden:
                pcapng.lost(self.file, number, self.until, count)
        self.file.flush()


@contextlib.contextmanager
def _file(name: str) -> Iterator[BinaryIO]:
    if name == "-":
        if sys.stdout.isatty():
            raise BadSetting(
                "a capture is no text for a terminal",
                seen="standard output is one",
                next=f"{program()} wireshark --write - | tshark -r -",
            )
        yield sys.stdout.buffer
        return
    try:
        with open(name, "wb") as file:
            yield file
    except LabError:  # some are OSError too
        raise
    except OSError as error:
        raise BadSetting(
            f"{name} cannot be written", seen=error.strerror or str(error), next="--write FILE"
        ) from None


@contextlib.contextmanager
def _wireshark() -> Iterator[BinaryIO]:
    found = shutil.which("wireshark")
    if found is None:
        raise MissingTool(
            "Wireshark is not on this machine",
            seen="no wireshark in PATH",
            next=f"{program()} wireshark --write - | tshark -r -, or where Wireshark is:"
            f" ssh HERE {program()} wireshark --write - | wireshark -k -i -",
        )
    # A group of its own: Ctrl-C ends the capture, not what shows it.
    shown = subprocess.Popen([found, "-k", "-i", "-"], stdin=subprocess.PIPE, process_group=0)
    assert shown.stdin is not None
    try:
        yield cast(BinaryIO, shown.stdin)
    finally:
        with contextlib.suppress(OSError):
            shown.stdin.close()
