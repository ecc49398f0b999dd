"""What a router's connection tracking has translated, as the kernel tells it.

`/proc/net/nf_conntrack` and `conntrack -L` print the same words for an entry: the flow as it came,
and the flow of its answers, from which follows what it has become.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

PAIR = re.compile(r"\b(src|dst|sport|dport|id)=(\S+)")
PROTOCOLS = {"icmp": "ICMP", "tcp": "TCP"}
PORTS = ("sport", "dport")


class Flow(NamedTuple):
    """One direction of a conversation: of TCP with its ports, of an echo with its id as both."""

    src: str
    sport: int
    dst: str
    dport: int

    @property
    def back(self) -> Flow:
        """The flow of the answers."""
        return Flow(self.dst, self.dport, self.src, self.sport)


class Translation(NamedTuple):
    """An entry: the flow before and after the translation; equal where there is none."""

    namespace: str
    protocol: str
    before: Flow
    after: Flow

    def other(self, flow: Flow) -> Flow | None:
        """Give what a flow, or that of its answers, becomes or was; None for another's."""
        for one, two in ((self.before, self.after), (self.after, self.before)):
            if flow == one:
                return two
            if flow.back == one:
                return two.back
        return None


def read(told: Mapping[str, str]) -> tuple[Translation, ...]:
    """Read what was told of each namespace; an entry of another protocol is left out.

    >>> [entry] = read({"router": "ipv4 2 icmp 1 22 src=192.168.20.5 dst=8.8.8.8 type=8 code=0 id=4"
    ...     " src=8.8.8.8 dst=172.16.20.101 type=0 code=0 id=9 mark=0 use=2"})
    >>> entry.after
    Flow(src='172.16.20.101', sport=9, dst='8.8.8.8', dport=9)
    """
    return tuple(
        entry
        for namespace, text in told.items()
        for line in text.splitlines()
        for entry in _entries(namespace, line)
    )


def _entries(namespace: str, line: str) -> Iterable[Translation]:
    protocol = next((PROTOCOLS[word] for word in line.split()[:3] if word in PROTOCOLS), "")
    pairs = PAIR.findall(line)
    half = len(pairs) // 2
    if not protocol or len(pairs) % 2 or half < 3:
        return
    try:
        before, answers = (_flow(dict(part)) for part in (pairs[:half], pairs[half:]))
    except (KeyError, ValueError):
        return
    yield Translation(namespace, protocol, before, answers.back)


def _flow(words: Mapping[str, str]) -> Flow:
    sport, dport = (int(words[name] if name in words else words["id"]) for name in PORTS)
    return Flow(words["src"], sport, words["dst"], dport)
