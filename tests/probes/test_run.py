"""The probes' lab: agreed to before, given back after, and nobody else's."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.client import BaseClient
from place import leads_to

from osawslab import Lab
from osawslab.errors import PriceNotConfirmed, StepFailed, StepNotReady
from osawslab.probes import run, source, vpc
from osawslab.probes.claim import HOLDS, UNTRIED, Answer, Claim
from osawslab.probes.ground import Ground
from osawslab.region import local
from osawslab.target import aws_folder

PLACE = "account"  # the region that stands where AWS does
OSAWSLAB = (sys.executable, "-P", "-m", "osawslab.cli")
LOOKS = ("Describe", "Get")
ADDRESS = "203.0.113.77"


def claim(attempt: Any, key: str = "one") -> Claim:
    return Claim(key, "words", "expected", "https://example.org", attempt)


@pytest.fixture(scope="module")
def account(home: Path) -> Iterator[local.Region]:
    """Lead boto3 to an account: a local region, by the target aws's own code."""
    region = local.ensure(PLACE)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in leads_to(region).items():
            patch.setenv(name, value)
        yield region


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Give the list that every changing call of this process is written to."""
    made: list[str] = []
    ask = BaseClient._make_api_call

    def noted(self: Any, operation: str, given: Any) -> Any:
        if not operation.startswith(LOOKS):
            made.append(operation)
        return ask(self, operation, given)

    monkeypatch.setattr(BaseClient, "_make_api_call", noted)
    return made


def things() -> list[Any]:
    """List what is in the account with a probe's tag."""
    from osawslab.aws import estate

    return list(estate.read(Lab().client("ec2"), run.NAME))


def test_nothing_is_made_before_somebody_agrees(account: local.Region, calls: list[str]) -> None:
    with pytest.raises(PriceNotConfirmed) as caught:
        Lab(pay_up_to="0.06").probe()
    assert caught.value.next == 'pay_up_to = "0.07"'
    assert "instance t3.small $0.0208/h" in caught.value.seen
    assert "for 2 planned hours" in caught.value.what
    assert calls == []


@pytest.mark.kernel
def test_the_same_code_tries_an_account(
    account: local.Region, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def leak(ground: Ground) -> Answer:
        ground.shell(f"echo {account.secret_key} {ground.facts.eip('provider')}")
        return Answer(True, f"{account.access_key} at {ADDRESS} in 123456789012")

    few = tuple(each for each in (*source.CLAIMS, *vpc.CLAIMS) if each.key in WANTED)
    monkeypatch.setattr(run, "CLAIMS", (*few, claim(leak)))
    found = Lab(pay_up_to="0.07").probe()
    assert {each.claim.key: each.verdict for each in found.findings} == dict.fromkeys(
        (*WANTED, "one"), HOLDS
    )
    for name in ("r.json", "r.md"):
        found.save(tmp_path / name)
        text = (tmp_path / name).read_text()
        for secret in (account.secret_key, account.access_key, ADDRESS, "203.0.113.", "1234567890"):
            assert secret not in text
    assert things() == []
    assert not aws_folder(run.NAME).exists()
    assert local.find(run.NAME) is None  # nothing was started for it


WANTED = ("foreign-mac-dropped", "elastic-ip-first")


def interrupted(ground: Ground) -> Answer:
    raise KeyboardInterrupt


def broken(ground: Ground) -> Answer:
    raise ZeroDivisionError


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("attempt", "kind"), [(interrupted, KeyboardInterrupt), (broken, ZeroDivisionError)]
)
def test_whatever_ends_the_probes_nothing_is_left(
    attempt: Any, kind: type[BaseException], account: local.Region,
    monkeypatch: pytest.MonkeyPatch, calls: list[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(run, "CLAIMS", (claim(attempt),))
    with pytest.raises(kind):
        Lab(pay_up_to="1").probe()
    assert "RunInstances" in calls
    assert things() == []
    assert not aws_folder(run.NAME).exists()


@pytest.mark.kernel
def test_what_stops_a_claim_is_no_verdict(
    account: local.Region, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(ground: Ground) -> Answer:
        raise StepFailed("it broke", seen="so")

    def refused(ground: Ground) -> Answer:
        ground.must("release_address", AllocationId="nonsense")
        raise AssertionError

    monkeypatch.setattr(run, "CLAIMS", (claim(fails), claim(refused, "two")))
    found = Lab(pay_up_to="1").probe().findings
    assert [each.verdict for each in found] == [UNTRIED, UNTRIED]
    assert found[0].seen == "it broke; so"
    assert "EC2 refused release_address: Invalid" in found[1].seen


@pytest.mark.kernel
def test_what_a_killed_probe_has_left_goes_first_and_another_lab_stays(
    account: local.Region, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "CLAIMS", (claim(lambda _: Answer(True, "fine")),))
    with Lab(run.NAME, instance_type="t3.small", pay_up_to="1") as lab:
        ec2 = lab.client("ec2")
        made = ec2.create_vpc(
            CidrBlock="172.16.0.0/16",
            TagSpecifications=[
                {
                    "ResourceType": "vpc",
                    "Tags": [{"Key": "osawslab:lab", "Value": run.NAME}],
                }
            ],
        )["Vpc"]["VpcId"]
        before = [thing.id for thing in things()]
        assert before == [made]
        with pytest.raises(StepNotReady, match="no probe of this machine has made"):
            lab.probe()
        assert [thing.id for thing in things()] == before

        mark = aws_folder(run.NAME) / run.MARK
        mark.parent.mkdir(exist_ok=True)
        mark.write_text("a probe's")
        assert lab.probe().ok
    assert things() == []


@pytest.mark.kernel
def test_ctrl_c_at_the_command_ends_it_with_nothing_left(account: local.Region) -> None:
    words = [*OSAWSLAB, "probe", "--target", "aws", "--set", "pay_up_to=1"]
    child = subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "OSAWSLAB_PROGRESS": "1"},
    )  # fmt: skip
    assert child.stderr is not None
    for line in child.stderr:
        if "SourceDestCheck" in line:
            break
    child.send_signal(signal.SIGINT)
    _, rest = child.communicate(timeout=120)
    assert child.returncode == 130, rest
    assert "goes on, and costs money" not in rest
    assert things() == []


def test_the_price_is_said_at_the_command(account: local.Region) -> None:
    done = subprocess.run(
        [*OSAWSLAB, "probe", "--target", "aws", "--json"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert json.loads(done.stdout)["error"]["next"] == 'pay_up_to = "0.07"'
