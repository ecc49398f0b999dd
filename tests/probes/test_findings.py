"""The report of the probes: nothing in it that is secret, or says whose account it was."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from osawslab.keys import make_key
from osawslab.probes import verified
from osawslab.probes.claim import FAILS, HOLDS, UNTRIED, Answer, Claim, Evidence, Finding
from osawslab.probes.findings import AWS, STAND_IN, Findings, clean

SECRETS = {
    "account": "123456789012",
    "access key": "AKIAIOSFODNN7EXAMPLE",
    "session's key": "ASIAIOSFODNN7EXAMPLE",
    "secret key": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    "token": "AQAEABcdefGH1234567890ijklMNOPqrstuvWXYZ0123456789abcdEF==",
    "private key": make_key("probe")[0].strip(),
    "public address": "54.210.17.3",
    "IPv6 address": "2600:1f18:abcd:1200::17",
    "home": str(Path.home()) + "/.ssh" if Path.home() != Path("/") else "54.210.17.4",
    "public name": "ec2-54-210-17-3.compute-1",
    "who": "alice.doe@example.org",
    "role": "arn:aws:sts::123456789012:assumed-role/Teachers/alice",
    "known by name": "correct horse",
}
CLAIM = Claim("key", "words", "expected", "https://example.org", lambda _: Answer(True, ""))
KEPT = (
    "172.16.20.101", "10.0.0.7", "169.254.169.254", "8.8.8.8", "02:00:00:2d:8b:2c",
    "eni-0123456789abcdef0", "ami-0d13a6d64d13a6d64", "fe80::1", "21:01:23",
    "/etc/network/interfaces.d/50-cloud-init-with-a-long-long-name",
)  # fmt: skip


def report(
    text: str, verdict: str = HOLDS, place: str = AWS, left: tuple[str, ...] = ()
) -> Findings:
    evidence = (Evidence("aws", f"aws {text}", f"said {text}"),)
    found = (Finding(CLAIM, verdict, f"seen {text}", evidence),)
    return Findings(
        place, "us-east-1", "t3.small", 13, "2026-11-22T21:00:00+00:00", found, left,
        ("8.8.8.8",), ("correct horse",),
    )  # fmt: skip


@pytest.mark.parametrize("what", SECRETS)
@pytest.mark.parametrize("name", ["report.json", "report.md"])
def test_what_is_planted_is_not_found(what: str, name: str, tmp_path: Path) -> None:
    secret = SECRETS[what]
    for words in (secret, f"arn:aws:iam::{secret}:user/x", f"'{secret}',", f"a\n{secret}\nb"):
        made = report(words, left=(words,))
        made.save(tmp_path / name)
        shown = (made.text, made.markdown, json.dumps(made.data), (tmp_path / name).read_text())
        for text in shown:
            assert secret not in text
            assert json.dumps(secret)[1:-1] not in text
            assert "seen" in text


@pytest.mark.parametrize("text", KEPT)
def test_what_says_nothing_is_kept(text: str) -> None:
    assert clean(f"see {text}, and on", ("8.8.8.8",)) == f"see {text}, and on"


def test_a_report_is_for_its_owner(tmp_path: Path) -> None:
    report("x").save(tmp_path / "report.json")
    assert (tmp_path / "report.json").stat().st_mode & 0o777 == 0o600
    assert json.loads((tmp_path / "report.json").read_text())["probes"][0]["key"] == "key"


@pytest.mark.parametrize(
    ("verdict", "left", "ok"),
    [(HOLDS, (), True), (UNTRIED, (), True), (FAILS, (), False), (HOLDS, ("VPC",), False)],
)
def test_all_is_well_when_nothing_was_wrong_and_nothing_is_left(
    verdict: str, left: tuple[str, ...], ok: bool
) -> None:
    assert report("x", verdict, left=left).ok is ok


@pytest.mark.parametrize(
    ("verdict", "place", "taken"),
    [(HOLDS, AWS, True), (HOLDS, STAND_IN, False), (FAILS, AWS, False), (UNTRIED, AWS, False)],
)
def test_only_what_aws_has_shown_is_verified(
    verdict: str, place: str, taken: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = verified.taken(report("x", verdict, place).data)
    monkeypatch.setattr(verified, "FILE", tmp_path / "verified.json")
    verified.FILE.write_text(json.dumps(found))
    assert verified.told("key") == ("2026-11-22, t3.small" if taken else "not yet")
