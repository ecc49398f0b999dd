"""What a run of the probes found, as something to read and to send on: with no secret in it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

from osawslab.keys import keep
from osawslab.probes.claim import FAILS, UNTRIED, Finding
from osawslab.probes.verified import told

AWS, STAND_IN = "AWS", "not AWS: an endpoint of the user's own"
_KEYS = re.compile(r"-----BEGIN [^-]+-----.*?-----END [^-]+-----", re.DOTALL)
_ACCESS = re.compile(r"\b(?:AKIA|ASIA|AIDA|AROA)[A-Z0-9]{8,}\b")
_LONG = re.compile(r"[A-Za-z0-9+/=_-]{40,}")  # secret keys, tokens, key material
_MIXED = (re.compile("[a-z]"), re.compile("[A-Z]"), re.compile("[0-9]"))  # which a path is not
_ARN = re.compile(r"\barn:aws[\w-]*:[^\s'\",]+")  # accounts, roles, who took them
_MAIL = re.compile(r"[\w.+-]+@[\w-]+\.[\w.-]+")
_HOST = re.compile(r"\bec2(?:-\d{1,3}){4}\b")  # a public address as a name
_ACCOUNT = re.compile(r"(?<![\da-f-])\d{12}(?![\da-f])")
_IPV4 = re.compile(r"(?<![\d.])\d{1,3}(?:\.\d{1,3}){3}(?![\d.]*\d)")
_IPV6 = re.compile(r"(?<![0-9A-Fa-f])[23][0-9A-Fa-f]{3}(?::[0-9A-Fa-f]{0,4}){2,7}")  # 2000::/3
_OURS = tuple(map(IPv4Network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8",
                                "169.254.0.0/16", "0.0.0.0/8", "224.0.0.0/3")))  # fmt: skip


def clean(text: str, spare: Iterable[str] = (), secrets: Iterable[str] = ()) -> str:
    """Take out keys, accounts and who is in them, public addresses, and the user's own folder.

    `spare` are public addresses that say nothing about the user; `secrets` go wherever they are.

    >>> clean("i-0123456789ab of 123456789012 at 198.51.100.7, 172.16.20.101")
    'i-0123456789ab of <account> at <address>, 172.16.20.101'
    """
    spared = set(spare)
    for secret in filter(None, secrets):
        text = text.replace(secret, "<secret>")
    text = _KEYS.sub("<key>", text)
    text = text.replace(str(Path.home()), "~") if Path.home() != Path("/") else text
    text = _ARN.sub("<arn>", text)
    text = _MAIL.sub("<mail>", _HOST.sub("<address>", text))
    text = _ACCESS.sub("<key>", text)
    text = _LONG.sub(lambda found: _long(found[0]), text)
    text = _ACCOUNT.sub("<account>", text)
    text = _IPV6.sub("<address>", text)
    return _IPV4.sub(lambda found: _ipv4(found[0], spared), text)


def _long(text: str) -> str:
    return "<secret>" if all(each.search(text) for each in _MIXED) else text


def _ipv4(text: str, spared: set[str]) -> str:
    try:
        address = IPv4Address(text)
    except ValueError:
        return text
    return text if text in spared or any(address in each for each in _OURS) else "<address>"


@dataclass(frozen=True)
class Findings:
    """What came of each claim, where and when, and what was left behind: nothing, it should be."""

    place: str  # AWS | STAND_IN
    region: str
    instance_type: str
    debian: int
    date: str  # ISO 8601, UTC
    findings: tuple[Finding, ...]
    left: tuple[str, ...]
    spare: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """True when no claim was seen to be wrong, and everything was given back."""
        return not self.left and all(each.verdict != FAILS for each in self.findings)

    @property
    def data(self) -> dict[str, Any]:
        """Everything for programs, with no secret in it."""
        return {
            "ok": self.ok,
            "place": self.place,
            "region": self.region,
            "instance_type": self.instance_type,
            "debian": self.debian,
            "date": self.date,
            "left": [self._clean(each) for each in self.left],
            "probes": [
                {
                    "key": each.claim.key,
                    "claim": each.claim.words,
                    "expected": each.claim.expected,
                    "source": each.claim.source,
                    "verdict": each.verdict,
                    "seen": self._clean(each.seen),
                    "verified_on_aws": told(each.claim.key),
                    "evidence": [
                        {
                            "where": one.where,
                            "command": self._clean(one.command),
                            "output": self._clean(one.output),
                        }
                        for one in each.evidence
                    ],
                }
                for each in self.findings
            ],
        }

    def _clean(self, text: str) -> str:
        return clean(text, self.spare, self.secrets)

    @property
    def text(self) -> str:
        """A line or three for each claim."""
        data = self.data
        lines = [f"Probes on {data['instance_type']} in {data['region']} ({data['place']})"]
        for each in data["probes"]:
            seen = each["seen"] if each["verdict"] == UNTRIED else f"seen: {each['seen']}"
            lines += [f"{each['verdict']}: {each['claim']}", f"  expected: {each['expected']}"]
            lines += [f"  {seen}"]
        left = ", ".join(data["left"]) or "nothing with the lab's tag is left"
        return "\n".join([*lines, f"given back: {left}"])

    @property
    def markdown(self) -> str:
        """The same to send on, with the evidence."""
        data = self.data
        lines = [
            f"# Probes: {data['instance_type']} in {data['region']}",
            "",
            f"{data['place']}; Debian {data['debian']}; {data['date']}. Left behind:"
            f" {', '.join(data['left']) or 'nothing'}.",
        ]
        for each in data["probes"]:
            lines += ["", f"## {each['claim']}: {each['verdict']}", ""]
            lines += [f"- expected: {each['expected']} ({each['source']})"]
            lines += [f"- seen: {each['seen']}", "", "```"]
            for one in each["evidence"]:
                lines += [f"[{one['where']}] {one['command']}", one["output"]]
            lines += ["```"]
        return "\n".join(lines) + "\n"

    def save(self, path: Path) -> None:
        """Write the report: Markdown where the name ends so, else JSON."""
        text = self.markdown if path.suffix == ".md" else json.dumps(self.data, indent=1) + "\n"
        keep(path, text)

    def __repr__(self) -> str:
        return self.text
