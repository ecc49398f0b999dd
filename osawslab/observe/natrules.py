"""Whether a translating rule of iptables fits a packet; what is not understood fits nothing."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

VALUES = {  # iptables(8), iptables-extensions(8) -> what of a packet it speaks of
    "-s": "src", "-d": "dst", "-p": "protocol", "-i": "inside", "-o": "outside",
    "--sport": "sport", "--dport": "dport",
}  # fmt: skip
SILENT = ("-m", "--comment")  # they take a word and ask for nothing


@dataclass(frozen=True)
class Meeting:
    """What a rule can ask of a packet; "" is unknown."""

    src: str
    dst: str
    protocol: str  # "tcp", "icmp"
    sport: str = ""
    dport: str = ""
    inside: str = ""  # the interface that it came in by
    outside: str = ""  # the interface that it leaves by


def fits(matches: str, packet: Meeting) -> bool:
    """Say whether a rule's conditions hold, in the words that `lab.nat()` shows.

    >>> ssh = Meeting("198.51.100.7", "172.16.20.101", "tcp", "40000", "522", inside="qg-1")
    >>> fits("-d 172.16.20.101/32 -p tcp -m tcp --dport 522", ssh), fits("! -i qg-1", ssh)
    (True, False)
    >>> fits("-m mark ! --mark 0x2/0xffff", ssh)
    False
    """
    if matches == "everything":
        return True
    values: Mapping[str, str] = vars(packet)
    words, negated = shlex.split(matches), False
    while words:
        word = words.pop(0)
        if word == "!":
            negated = True
            continue
        if word in SILENT and words:
            words.pop(0)
            continue
        if word not in VALUES or not words:
            return False
        have, wanted = values[VALUES[word]], words.pop(0)
        if not have or _is(have, wanted) == negated:
            return False
        negated = False
    return True


def _is(have: str, wanted: str) -> bool:
    if wanted.endswith("+"):  # an interface whose name begins so
        return have.startswith(wanted[:-1])
    low, colon, high = wanted.partition(":")
    if colon and (low + high).isdigit():
        return int(low or 0) <= int(have) <= int(high or 65535)
    try:
        return ip_address(have) in ip_network(wanted, strict=False)
    except ValueError:
        return have == wanted
