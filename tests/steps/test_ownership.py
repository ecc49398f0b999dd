"""A lab is looked for where it was made, and nowhere else: account, machine, region."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from osawslab.aws import estate, once
from osawslab.aws.facts import Facts
from osawslab.errors import StepNotReady
from osawslab.keys import keep_key, key_file
from osawslab.settings import Settings
from osawslab.steps import ownership, tear_down
from osawslab.steps.account import NOTE, same_account


def site(keys: Path, account: str = "111111111111", **more: Any) -> Any:
    """Stand in for a lab's place in an account."""
    sts = SimpleNamespace(get_caller_identity=lambda: {"Account": account})
    target = SimpleNamespace(charges=True, keys=keys, client=lambda *_: sts, **more)
    ec2 = SimpleNamespace(meta=SimpleNamespace(region_name="us-east-1"))
    return SimpleNamespace(target=target, settings=Settings(target="aws"), ec2=ec2)


def test_another_account_than_the_labs_is_refused(tmp_path: Path) -> None:
    here = site(tmp_path / "lab.aws")
    assert same_account(here) == "111111111111"  # nothing was made yet: any will do
    ownership.note(here)
    assert (here.target.keys / NOTE).read_text() == "111111111111"
    assert same_account(here) == "111111111111"
    for refused in (same_account, ownership.note):
        with pytest.raises(StepNotReady, match="another AWS account") as caught:
            refused(site(tmp_path / "lab.aws", "222222222222"))
        assert "222222222222" in caught.value.seen
        assert "111111111111" in caught.value.seen


def test_where_nothing_is_charged_for_nobody_is_asked(tmp_path: Path) -> None:
    place = site(tmp_path, "222222222222")
    place.target.charges = False
    (tmp_path / NOTE).write_text("111111111111")
    assert same_account(place) == ""
    ownership.note(place)
    assert (tmp_path / NOTE).read_text() == "111111111111"


def test_a_lab_whose_key_is_elsewhere_is_refused(tmp_path: Path) -> None:
    facts = Facts(key={"KeyName": "osawslab-lab"})
    with pytest.raises(StepNotReady, match="another machine") as caught:
        ownership.own_key(site(tmp_path), facts)
    assert "osawslab-lab in EC2" in caught.value.seen
    ownership.own_key(site(tmp_path), Facts())
    keep_key(key_file(tmp_path), "osawslab-lab")
    ownership.own_key(site(tmp_path), facts)


def test_a_lab_is_not_made_again_in_another_region(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = {"us-east-1": "here", "eu-west-1": "there"}
    monkeypatch.setattr(tear_down, "clients", lambda _: there)
    monkeypatch.setattr(estate, "read", lambda ec2, _: ())
    ownership.nowhere_else(site(tmp_path))
    monkeypatch.setattr(estate, "read", lambda ec2, _: ("a VPC",) if ec2 == "here" else ())
    ownership.nowhere_else(site(tmp_path))
    monkeypatch.setattr(estate, "read", lambda ec2, _: ("a VPC",))
    with pytest.raises(StepNotReady, match="another region") as caught:
        ownership.nowhere_else(site(tmp_path))
    assert caught.value.next.startswith('region = "eu-west-1"')


def refusal(code: str, message: str = "") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, "Call")


def test_what_ec2_does_not_know_yet_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(once, "PAUSE_SECONDS", 0.0)
    answers = [refusal("InvalidVpcID.NotFound"), refusal("InvalidGroup.NotFound"), None]

    def call() -> None:
        if (answer := answers.pop(0)) is not None:
            raise answer

    once.until_known(call)
    assert answers == []
    answers += [refusal("InvalidSubnet.Conflict"), None]
    with pytest.raises(ClientError, match="Conflict"):
        once.until_known(call)
    monkeypatch.setattr(once, "SEEN_SECONDS", 0.0)
    answers[:] = [refusal("InvalidVpcID.NotFound")] * 2
    with pytest.raises(ClientError, match="NotFound"):
        once.until_known(call)


def test_a_nic_in_use_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estate, "PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(estate, "strangers", lambda _: {})
    said = "Network interface 'eni-1' is currently in use."
    answers = [refusal("InvalidParameterValue", said), None]

    def delete(ec2: Any, key: str) -> None:
        if (answer := answers.pop(0)) is not None:
            raise answer

    kind = estate.Kind("network interface", "", "", "", "", "", delete)
    estate.Thing(kind, "eni-1", "lab", {}, "us-east-1", None).give_back()
    assert answers == []
    answers.append(refusal("InvalidParameterValue", "no such thing"))
    with pytest.raises(ClientError, match="no such thing"):
        estate.Thing(kind, "eni-1", "lab", {}, "us-east-1", None).give_back()
