"""A station of the path, and what follows from which have failed: the cause first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from html import escape
from typing import Any

from osawslab.clinic.seen import Said
from osawslab.report import Table

NAMED = 3  # stations that nobody could look at, in the headline: the inmost


@dataclass(frozen=True)
class Station:
    """One place on the path: what should be, what is, how that is known, what mends it.

    `ok` is None where nobody could look; `seen` then says why.
    """

    key: str
    what: str
    expected: str
    seen: str
    ok: bool | None
    evidence: tuple[Said, ...] = ()
    mend: str = ""
    causes: tuple[str, ...] = ()  # what of the failed stations explains it

    @property
    def failed(self) -> bool:
        """True where it was looked at and is not as it should be."""
        return self.ok is False

    @property
    def word(self) -> str:
        """Say in a word how it is."""
        if self.ok is None:
            return "not looked at"
        return "ok" if self.ok else ("consequence" if self.causes else "NOT OK")

    @property
    def data(self) -> dict[str, Any]:
        """Give it for programs."""
        return {
            "station": self.key, "what": self.what, "expected": self.expected, "seen": self.seen,
            "ok": self.ok, "mend": self.mend, "because": list(self.causes),
            "evidence": [
                {"command": each.command, "output": each.out or each.err}
                for each in self.evidence
            ],
        }  # fmt: skip


# The order is the path's, outside in; of several causes the first hides the others.
AWS = ("instance", "igw", "routes", "nacl", "group", "eni", "source-check", "eip")
WIRE = ("root", "openvswitch", "nic", "client", "nic-up", "nic-address", "nic-mtu", "nic-queue",
        "namespace", "gateway-up", "gateway-plugged", "bridge", "patch", "registered",
        "gateway-mac", "duplicate", "fdb", "flows", "bridge-filter")  # fmt: skip
ROUTER = ("gateway-address", "gateway-mtu", "gateway-queue", "fixed-neighbour", "default-route",
          "policy", "forwarding", "snat", "filter", "nft")  # fmt: skip
INNER = ("inner-up", "inner-address", "inner-plugged", "guest-plugged", "guest-up",
         "guest-way", "guest-neighbour", "guest-mtu", "guest-filter", "inner-queue")  # fmt: skip
SYMPTOMS = ("neighbour", "ping", "guest", "guest-back", "guest-whole", "server", "services",
            "outside")  # fmt: skip
ORDER = (*AWS, *WIRE, *ROUTER, "dnat", *INNER, "changing", *SYMPTOMS)
LINK = ("openvswitch", "nic", "nic-up", "namespace", "eni")

# station -> the stations whose failure explains its own
BECAUSE: dict[str, tuple[str, ...]] = {
    "routes": ("igw",),
    "eip": ("igw", "eni"),
    "root": AWS,
    "nic": ("eni", "root"),
    "nic-up": ("nic",),
    "nic-address": ("nic", "client"),
    "bridge": (*LINK,),
    "patch": ("openvswitch",),
    "namespace": ("root", "services"),
    "gateway-up": ("namespace", "openvswitch", "services"),
    "gateway-plugged": ("openvswitch", "namespace"),
    "gateway-address": ("namespace", "gateway-up", "registered"),
    "registered": ("eni", "namespace"),
    "gateway-mac": ("namespace", "registered", "gateway-address"),
    "fdb": ("gateway-mac", "bridge", "gateway-plugged", "duplicate"),
    "duplicate": ("gateway-mac",),
    "flows": (*LINK, "nft", "duplicate", "gateway-address", "registered", "fdb", "bridge", "patch",
              "gateway-plugged", "gateway-up", "gateway-mac"),
    "default-route": ("gateway-up", "gateway-address", "registered"),
    "policy": ("forwarding", "inner-up", "inner-address", "gateway-up", "gateway-address",
               "registered", "default-route"),
    "snat": ("registered", "gateway-address"),
    "filter": ("default-route",),
    "dnat": ("registered", "gateway-address", "inner-address", "inner-up"),
    "inner-address": ("inner-up",),
    "inner-plugged": ("openvswitch",),
    "guest-plugged": ("openvswitch",),
    "guest-way": ("guest-up",),
    "changing": ("client",),
    "neighbour": (*AWS, *WIRE, "gateway-address", "gateway-queue", "fixed-neighbour",
                  "default-route", "filter", "nft", "changing"),
    "ping": (*AWS, *WIRE, *ROUTER, "changing", "neighbour"),
    "guest": ("namespace", "openvswitch", "filter", "nft", "policy", "dnat", *INNER),
    "guest-back": ("namespace", "openvswitch", *ROUTER, "dnat", *INNER, "guest"),
    "guest-whole": ("namespace", "openvswitch", *ROUTER, "dnat", *INNER, "guest"),
    "server": ("namespace", "openvswitch", *ROUTER, "dnat", *INNER, "guest", "guest-whole"),
    "services": ("root",),
    "outside": ORDER[:-1],
}  # fmt: skip


def explained(stations: Iterable[Station]) -> tuple[Station, ...]:
    """Order stations along the path, and name for each failure the failures that explain it."""
    found = sorted(stations, key=lambda each: ORDER.index(each.key))
    failed = {each.key for each in found if each.failed}
    return tuple(
        replace(each, causes=tuple(key for key in BECAUSE.get(each.key, ()) if key in failed))
        if each.failed
        else each
        for each in found
    )


@dataclass(frozen=True)
class Diagnosis:
    """All stations in their order. True where nothing is wrong."""

    where: str
    stations: tuple[Station, ...]
    seconds: float = 0.0

    @property
    def findings(self) -> tuple[Station, ...]:
        """Give what is wrong: the causes first, then what follows from them."""
        failed = [each for each in self.stations if each.failed]
        return tuple(sorted(failed, key=lambda each: bool(each.causes)))

    @property
    def cause(self) -> Station | None:
        """Give the cause; None where nothing is wrong."""
        return self.findings[0] if self.findings else None

    @property
    def ok(self) -> bool:
        """True where nothing is wrong."""
        return not self.findings

    def __bool__(self) -> bool:
        return self.ok

    @property
    def headline(self) -> str:
        """Say it in a sentence or two."""
        unseen = list(dict.fromkeys(each.what for each in self.stations if each.ok is None))
        named = ", ".join(unseen[-NAMED:]) + (", …" if len(unseen) > NAMED else "")
        left = f"; {len(unseen)} not looked at: {named}" if unseen else ""
        deaf = [each for each in self.stations if each.key == "outside" and each.ok is None]
        if self.cause is None and deaf:
            return f"{self.where}: no cause was found, and not so: {deaf[0].what}: {deaf[0].seen}"
        if self.cause is None:
            return f"{self.where}: nothing is wrong at {len(self.stations)} stations{left}"
        return f"{self.where}: the cause is {self.cause.what}: {self.cause.seen}"

    @property
    def data(self) -> dict[str, Any]:
        """Give it for programs."""
        return {
            "ok": self.ok,
            "where": self.where,
            "cause": self.cause.data if self.cause else None,
            "findings": [each.data for each in self.findings],
            "stations": [each.data for each in self.stations],
            "seconds": round(self.seconds, 2),
        }

    def _words(self) -> list[str]:
        lines = [self.headline]
        for at, each in enumerate(self.findings):
            title = "consequence" if each.causes else ("cause" if not at else "also")
            lines += ["", f"{title}: {each.what}", f"  expected: {each.expected}"]
            lines.append(f"  seen:     {each.seen}")
            if each.causes:
                lines.append(f"  because:  {', '.join(map(self._name, each.causes[:3]))}")
                continue
            for said in each.evidence[:3]:
                shown = " ".join((said.out or said.err).split())
                lines.append(f"  evidence: {said.command}")
                lines.append(f"            {shown[:300]}{' …' if len(shown) > 300 else ''}")
            lines.append(f"  mend:     {each.mend or 'no single command; see above'}")
        return lines

    def _name(self, key: str) -> str:
        return next((each.what for each in self.stations if each.key == key and each.failed), key)

    @property
    def table(self) -> Table:
        """Give all stations as a table."""
        return Table(
            "The path, outside in", ("", "station", "expected", "seen", "what mends it"),
            tuple((each.word, each.what, each.expected, each.seen,
                   each.mend if each.failed and not each.causes else "")
                  for each in self.stations),
            code=("what mends it",),
        )  # fmt: skip

    @property
    def text(self) -> str:
        """Give all of it as plain text."""
        rows = [f"  {each.word:<14}{each.what}: {each.seen}" for each in self.stations]
        return "\n".join([*self._words(), "", "The path, outside in:", *rows])

    def __repr__(self) -> str:
        return "\n".join(self._words())

    def _repr_html_(self) -> str:
        words = escape(repr(self))
        return f"<pre>{words}</pre>{self.table._repr_html_()}"


def unseen(key: str, what: str, expected: str, why: str, evidence: Sequence[Said] = ()) -> Station:
    """Make a station that nobody could look at."""
    return Station(key, what, expected, why, None, tuple(evidence))
