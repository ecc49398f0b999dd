"""Look for secrets: as they may be written, and in the arguments of every process."""

from __future__ import annotations

import base64
import os
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote_plus


def forms(secret: str) -> set[bytes]:
    """Give a secret as it may be written: as it is, as base64 at any place, in a form.

    >>> b"c2Vj" in forms("secret")
    True
    """
    found = {secret}
    for before in range(3):  # base64 of three bytes is four letters; the ends hold others' bits
        text = base64.b64encode(b"\0" * before + secret.encode()).decode()
        found.add(text[4 * (before > 0) : len(text) - 4])
    return {text.encode() for each in found for text in (each, quote_plus(each))}


@dataclass
class Watch:
    """All arguments of all processes, as often as they can be looked at."""

    pause: float = 0.03  # seconds
    seen: set[bytes] = field(default_factory=set)
    over: threading.Event = field(default_factory=threading.Event)

    def look(self) -> None:
        while not self.over.is_set():
            for entry in os.scandir("/proc"):
                if entry.name.isdecimal():
                    try:
                        self.seen.add(Path(entry.path, "cmdline").read_bytes())
                    except OSError:  # it has ended
                        continue
            time.sleep(self.pause)

    def __enter__(self) -> Watch:
        self.thread = threading.Thread(target=self.look)
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.thread.join()
