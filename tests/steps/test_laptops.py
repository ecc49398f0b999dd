"""Who may come in where several machines share a lab: each has its own rules, and no other's."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from account import Account
from place import leads_to

from osawslab import Lab, target
from osawslab.aws.facts import Facts
from osawslab.aws.visitors import NOBODY, OTHERS, Mark, granted, others, permissions, wanted
from osawslab.region import local
from osawslab.settings import Settings
from osawslab.steps import visitors

HERE = "198.51.100.7"
MINE = f"{HERE}/32"
UNSIGNED = permissions(wanted(Settings(), MINE), NOBODY)


@pytest.fixture
def place(tmp_path: Path) -> Any:
    """Stand in for a lab's place, whose user comes from an address."""
    found = Account().target(lambda: HERE)
    return SimpleNamespace(target=replace(found, keys=tmp_path), settings=Settings())


def group(rules: list[dict[str, Any]]) -> Facts:
    return Facts(group={"GroupId": "sg-1", "IpPermissions": rules})


def let_in(last: int, when: str, machine: str = "") -> list[dict[str, Any]]:
    """Give the rules that a machine has made for its address."""
    mark = Mark(machine or f"{last:08x}", when)
    return permissions(wanted(Settings(), f"192.0.2.{last}/32"), mark)


def test_a_machine_takes_back_its_own_rules_alone(place: Any, tmp_path: Path) -> None:
    mine = visitors.sign(tmp_path)
    rules = [*let_in(1, "2026-11-01T00:00Z"), *let_in(2, "2026-11-02T00:00Z", mine.machine)]
    maker: Any = SimpleNamespace()
    grant, back = visitors.actions(place, group(rules), maker)
    assert MINE in grant.command
    assert "192.0.2.2/32" in back.command
    assert "192.0.2.1/32" not in back.command
    rules = [*let_in(1, "2026-11-01T00:00Z"), *UNSIGNED]
    assert list(visitors.actions(place, group(rules), maker)) == []
    [check] = visitors.checks(place, group(rules))
    assert check
    assert check.seen == f"{MINE}, and from other machines of this lab 192.0.2.1/32"
    # Where it is said who may come in, nobody else does.
    place.settings = Settings(allow_from=MINE)
    [back] = visitors.actions(place, group(rules), maker)
    assert "192.0.2.1/32" in back.command
    [check] = visitors.checks(place, group(rules))
    assert not check


def test_of_other_machines_the_last_ones_stay(place: Any) -> None:
    rules = [each for n in range(OTHERS) for each in let_in(n, f"2026-11-{n + 2:02}T00:00Z")]
    assert all(others(granted({"IpPermissions": rules}), "").values())
    rules += [*let_in(99, "2026-11-01T00:00Z"), *UNSIGNED]
    asked: list[Any] = []
    maker: Any = SimpleNamespace(revoke=asked.extend)
    [back] = visitors.actions(place, group(rules), maker)
    assert back.why == f"192.0.2.99/32: let in by other machines of this lab, before {OTHERS} more"
    back.do()
    assert {each["IpRanges"][0]["CidrIp"] for each in asked} == {"192.0.2.99/32"}
    assert len(asked) == 3
    [check] = visitors.checks(place, group(rules))
    assert not check


def test_a_copied_folder_is_another_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert visitors.machine(tmp_path) == ""
    first = visitors.sign(tmp_path)
    assert visitors.sign(tmp_path).machine == first.machine == visitors.machine(tmp_path)
    number = tmp_path / "machine-id"
    number.write_text("another\n")
    monkeypatch.setattr(visitors, "MACHINE_ID", number)
    assert visitors.machine(tmp_path) != first.machine


class Laptop:
    """A machine with a state of its own, whose user comes from an address."""

    def __init__(self, patch: pytest.MonkeyPatch, state: Path, address: str) -> None:
        self.patch, self.state, self.address = patch, state, address

    def lab(self, make: Callable[..., Lab]) -> Lab:
        self.patch.setenv("XDG_STATE_HOME", str(self.state))
        self.patch.setattr(target, "address_outside", lambda: self.address)
        return make("shared", pay_up_to="1", allow_from="auto", ssh_proxy="")

    def does(self, make: Callable[..., Lab]) -> list[str]:
        """Do what provision would about who may come in."""
        todo = [
            each
            for each in self.lab(make).plan("provision").actions
            if "-security-group-ingress" in each.command
        ]
        for each in todo:
            each.do()
        return [each.command.split()[2].split("-")[0] for each in todo]


@pytest.mark.kernel
def test_two_laptops_share_a_lab_and_both_move(
    home: Path, tmp_path: Path, new_lab: Callable[..., Lab], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in leads_to(local.ensure("there")).items():
        monkeypatch.setenv(name, value)
    one = Laptop(monkeypatch, tmp_path / "one", "192.0.2.1")
    two = Laptop(monkeypatch, tmp_path / "two", "192.0.2.2")
    lab = one.lab(new_lab)
    todo = lab.plan("provision").actions
    group_is = next(n for n, each in enumerate(todo) if "authorize-" in each.command)
    for each in todo[: group_is + 1]:
        each.do()
    ec2 = lab.client()

    def who() -> set[str]:
        [found] = ec2.describe_security_groups(
            Filters=[{"Name": "tag:osawslab:lab", "Values": ["shared"]}]
        )["SecurityGroups"]
        return {rule.cidr for rule in granted(found)}

    assert who() == {"192.0.2.1/32"}
    folder = target.aws_folder("shared")
    there = two.state / "osawslab" / "shared.aws"
    there.mkdir(parents=True, mode=0o700)
    for path in folder.iterdir():
        if path.name != visitors.MACHINE:
            shutil.copy2(path, there)
    assert two.does(new_lab) == ["authorize"]
    assert who() == {"192.0.2.1/32", "192.0.2.2/32"}
    assert one.does(new_lab) == two.does(new_lab) == []
    two.address = "192.0.2.22"  # it has changed since yesterday
    assert two.does(new_lab) == ["authorize", "revoke"]
    assert who() == {"192.0.2.1/32", "192.0.2.22/32"}
    one.address = "192.0.2.11"
    assert one.does(new_lab) == ["authorize", "revoke"]
    assert two.does(new_lab) == one.does(new_lab) == []
    assert who() == {"192.0.2.11/32", "192.0.2.22/32"}
    assert one.lab(new_lab).tear_down().ok
