"""Who may come in: our own address, and what becomes of our rules when it changes."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from account import Account

from osawslab import Lab
from osawslab.aws.facts import Facts
from osawslab.aws.visitors import (
    NOBODY,
    OURS,
    Mark,
    granted,
    permissions,
    shut,
    shut_out,
    wanted,
)
from osawslab.errors import CannotReach, StepNotReady
from osawslab.region import network
from osawslab.settings import Settings
from osawslab.steps import visitors

HERE = "198.51.100.7"


def known(address: str = HERE) -> Callable[[], str]:
    def told() -> str:
        if not address:
            raise OSError("no route to host")
        return address

    return told


def site(here: str = HERE, **settings: Any) -> Any:
    """Stand in for a lab's place, whose user comes from an address."""
    return SimpleNamespace(target=Account().target(known(here)), settings=Settings(**settings))


def rule(port: int, *who: str, ours: bool = False) -> dict[str, Any]:
    more = {"Description": OURS} if ours else {}
    protocol = "icmp" if port == -1 else "tcp"
    ranges = [{"CidrIp": each, **more} for each in who]
    return {"IpProtocol": protocol, "FromPort": port, "ToPort": port, "IpRanges": ranges}


def opened(*who: str, ours: bool = True) -> list[dict[str, Any]]:
    return [rule(port, *who, ours=ours) for port in (22, 522, -1)]


def group(rules: list[dict[str, Any]]) -> Facts:
    return Facts(group={"GroupId": "sg-1", "IpPermissions": rules})


MINE, THEIRS = f"{HERE}/32", "192.0.2.9/32"


@pytest.mark.parametrize(
    ("rules", "settings", "does"),
    [
        ([], {}, ["authorize 3"]),
        (opened(MINE), {}, []),
        (opened(MINE, ours=False), {}, []),  # as EC2 made it for somebody else: it is enough
        (opened(THEIRS), {}, ["authorize 3", "revoke 3"]),
        (opened(MINE, THEIRS), {}, ["revoke 3"]),
        (opened(THEIRS, ours=False), {}, ["authorize 3"]),
        ([*opened(MINE), rule(80, THEIRS)], {}, []),
        (opened(MINE), {"allow_from": "0.0.0.0/0"}, ["authorize 3", "revoke 3"]),
        (opened(MINE), {"published_port": 523}, ["authorize 1", "revoke 1"]),
        (opened(MINE)[:2], {}, ["authorize 1"]),
    ],
)
def test_what_is_lacking_is_let_in_and_only_our_own_is_taken_back(
    rules: list[dict[str, Any]],
    settings: dict[str, Any],
    does: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)  # where this lab's folder is
    asked: list[str] = []
    maker: Any = SimpleNamespace(
        authorize=lambda given: asked.append(f"authorize {len(given)}"),
        revoke=lambda given: asked.append(f"revoke {len(given)}"),
    )
    todo = list(visitors.actions(site(**settings), group(rules), maker))
    for action in todo:
        action.do()
    assert asked == does
    verbs = [f"aws ec2 {each.split()[0]}-security-group-ingress" for each in does]
    assert [action.command[: len(verb)] for action, verb in zip(todo, verbs, strict=True)] == verbs


def test_it_is_said_from_where_to_where() -> None:
    _, back = visitors.actions(site(), group(opened(THEIRS)), SimpleNamespace())  # type: ignore[arg-type]
    assert f"{THEIRS} are no longer wanted: we come from {MINE}" in back.why
    assert THEIRS in back.command
    assert MINE not in back.command


@pytest.mark.parametrize("more", [{"here": ""}, {"here": "2001:db8::7"}, {"ssh_proxy": "nc %h %p"}])
def test_where_our_address_is_not_known_nobody_is_let_in(more: dict[str, Any]) -> None:
    with pytest.raises(StepNotReady, match="not known") as caught:
        list(visitors.actions(site(**more), group([]), SimpleNamespace()))  # type: ignore[arg-type]
    assert caught.value.next.startswith('allow_from = "')
    for rules in (opened(THEIRS), opened(MINE)):  # what is there stays
        assert list(visitors.actions(site(**more), group(rules), SimpleNamespace())) == []  # type: ignore[arg-type]
        assert visitors.checks(site(**more), group(rules)) == ()
    given = {**more, "allow_from": "192.0.2.0/24"}
    assert len(list(visitors.actions(site(**given), group([]), SimpleNamespace()))) == 1  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("rules", "seen"),
    [
        (opened(MINE), None),
        ([*opened(MINE), rule(80, "192.0.2.0/24")], None),  # not one of those that provision opens
        ([*opened(MINE), rule(22, "0.0.0.0/0")], "0.0.0.0/0 too"),
        ([*opened(MINE), rule(522, "203.0.113.7/32")], "203.0.113.7/32 too"),
        (opened(THEIRS), THEIRS),
        (opened(MINE, THEIRS), f"{THEIRS}, {MINE}"),
        ([], "nobody"),
    ],
)
def test_who_may_come_in_is_told(rules: list[dict[str, Any]], seen: str | None) -> None:
    found = visitors.checks(site(), group(rules))
    assert [check.seen for check in found if not check] == ([seen] if seen else [])


@pytest.mark.parametrize(
    ("rules", "shuts"),
    [
        ([], True),
        (opened(THEIRS), True),
        (opened(MINE), False),
        ([rule(22, "0.0.0.0/0")], False),
        ([rule(522, MINE)], True),
        ([{"IpProtocol": "tcp", "FromPort": 0, "ToPort": 65535, "IpRanges": [{"CidrIp": MINE}]}],
         False),
        ([{"IpProtocol": "-1", "IpRanges": [{"CidrIp": "198.51.0.0/16"}]}], False),
        ([{"IpProtocol": "udp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": MINE}]}],
         True),
        ([{**rule(22, THEIRS), "PrefixListIds": [{"PrefixListId": "pl-1"}]}], False),
    ],
)  # fmt: skip
def test_who_is_surely_shut_out(rules: list[dict[str, Any]], shuts: bool) -> None:
    assert shut_out({"IpPermissions": rules}, HERE, 22) is shuts


def test_what_to_type_depends_on_who_has_chosen() -> None:
    there = {"IpPermissions": opened(THEIRS)}
    for settings, then in (
        ({}, "lab.provision()"),
        ({"allow_from": THEIRS}, f'allow_from = "{MINE}"; then lab.provision()'),
    ):
        place = site(**settings)
        found = shut(place.target, place.settings, there)
        assert found is not None
        assert found.next == then
    place = site("")
    assert shut(place.target, place.settings, there) is None


def test_rules_are_read_as_they_were_written() -> None:
    rules = wanted(Settings(), MINE)
    mark = Mark("0123abcd", "2026-09-07T22:30Z")
    for given in (NOBODY, mark):
        told = {"IpPermissions": permissions(rules, given)}
        assert granted(told) == dict.fromkeys(rules, given)
        [who] = told["IpPermissions"][0]["IpRanges"]
        assert re.fullmatch(r"[\w .:/()#,@\[\]+=&;{}!$*-]{1,255}", who["Description"])
    for foreign in ("", "osawslab ", "osawslab at home", "osawslab 0123abcd", "my osawslab"):
        rule_ = {**rule(22), "IpRanges": [{"CidrIp": MINE, "Description": foreign}]}
        assert [*granted({"IpPermissions": [rule_]}).values()] == [None]


@pytest.mark.kernel
def test_our_address_has_changed_since_yesterday(
    new_lab: Callable[..., Lab], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(network, "USER_ADDRESS", "192.0.2.9")  # where we believed to be
    lab = new_lab("moved")
    for action in lab.plan("provision").actions[:9]:  # up to who may come in
        action.do()
    monkeypatch.undo()
    ec2 = lab.client()
    [found] = ec2.describe_security_groups(
        Filters=[{"Name": "tag:osawslab:lab", "Values": ["moved"]}]
    )["SecurityGroups"]
    key = found["GroupId"]
    assert set(granted(found)) == set(wanted(Settings(), THEIRS))
    assert lab.provision().ok
    [found] = ec2.describe_security_groups(GroupIds=[key])["SecurityGroups"]
    mark = granted(found)[wanted(Settings(), MINE)[0]]
    assert mark is not None
    assert mark.machine == visitors.machine(lab.folder)
    assert granted(found) == dict.fromkeys(wanted(Settings(), MINE), mark)
    assert not lab.provision().changed

    # While the lab is there: what is not ours is let be, and what does not answer says why.
    foreign = [rule(22, "203.0.113.99/32")]
    ec2.authorize_security_group_ingress(GroupId=key, IpPermissions=foreign)
    ec2.authorize_security_group_ingress(
        GroupId=key, IpPermissions=permissions(wanted(Settings(), THEIRS))
    )
    ec2.revoke_security_group_ingress(
        GroupId=key, IpPermissions=permissions(wanted(Settings(), MINE))
    )
    lab.close()
    for ask in (lab.connection, lambda: lab.shell("true"), lambda: lab.plan("networks")):
        with pytest.raises(CannotReach, match="does not let us in") as caught:
            ask()
        assert caught.value.seen == (f"we come from {HERE}, it lets in {THEIRS}, 203.0.113.99/32")
        assert caught.value.next == "lab.provision()"
    wrong = {check.what: check for check in lab.check("provision").checks if not check}
    assert set(wrong) == {"who may come in", "SSH to the instance"}
    report = lab.provision()
    assert [action.command.split()[2].split("-")[0] for action in report.actions] == [
        "authorize", "revoke",
    ]  # fmt: skip
    assert [check.seen for check in report.checks if not check] == ["203.0.113.99/32 too"]
    assert lab.shell("echo in").output == "in"
    assert lab.tear_down().ok
