"""The stations of queueing disciplines: whether an interface sends what it is given, and soon.

Which only put packets in order, and which delay, lose or shape: tc(8), "CLASSLESS QDISCS" ff.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from osawslab.clinic.seen import Port
from osawslab.clinic.station import Station, unseen
from osawslab.clinic.walk import Walk

ORDERS = ("noqueue", "mq", "mqprio", "multiq", "fq_codel", "fq", "codel", "pie", "fq_pie", "sfq",
          "pfifo_fast", "pfifo", "bfifo", "pfifo_head_drop", "prio", "ets", "drr", "clsact",
          "ingress")  # fmt: skip
SLOW = ("netem", "blackhole", "plug")
LEAST = 1_000_000  # bits a second: what is slower stalls a login
UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
EXPECTED = "no queueing that delays or loses"


def queue(walk: Walk, key: str, port: Port) -> Iterator[Station]:
    """Look for a queueing discipline that delays, loses, or sends too little."""
    said = walk.seen.said(f"{port.space}|qdisc")
    classes = walk.seen.said(f"{port.space}|class|{port.name}")
    rows = [each for each in said.data if each.get("dev") == port.name]
    if not rows:
        return
    bad, unsure = [], []
    for each in rows:
        kind = str(each["kind"])
        rate = slowest(each, classes.out)
        about = kind + (f" at {rate} bit/s" if rate else "")
        if kind in SLOW or 0 < rate < LEAST or (kind == "tbf" and not rate):
            bad.append(about)
        elif kind not in ORDERS:
            unsure.append(about)
    enter = f"sudo ip netns exec {port.space}" if port.space else "sudo"
    what, evidence = f"{port.name} sends what it is given", (said,)
    if unsure and not bad:
        words = f"cannot be judged: {', '.join(unsure)}"
        yield unseen(key, what, EXPECTED, words, (said, classes))
        return
    yield Station(
        key, what, EXPECTED, ", ".join(bad or [str(each["kind"]) for each in rows]), not bad,
        (*evidence, classes) if classes.out else evidence,
        f"{enter} tc qdisc del dev {port.name} root",
    )  # fmt: skip


def slowest(qdisc: Mapping[str, Any], classes: str) -> int:
    """Give the bits a second that a discipline shapes to, of its slowest class; 0 where none."""
    options = qdisc.get("options", {})
    if qdisc["kind"] == "tbf":
        return int(options.get("rate", 0)) * 8
    if qdisc["kind"] in (*ORDERS, *SLOW):
        return 0
    found = re.findall(
        rf"^class {re.escape(qdisc['kind'])} .*?\brate (\d+)([KMGT]?)bit", classes, re.M
    )
    return min((int(number) * UNITS[unit] for number, unit in found), default=0)
