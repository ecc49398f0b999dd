"""Wrong settings are refused before anything is done, each with what a right one looks like."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from osawslab import Lab
from osawslab.errors import BadSetting, LabError
from osawslab.settings import DEFAULTS, Settings, load


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"name": "a/b"}, "a lab's name"),
        ({"name": ""}, "a lab's name"),
        ({"name": "-x"}, "a lab's name"),
        ({"name": "x" * 33}, "a lab's name"),
        ({"name": 7}, "name must be text"),
        ({"published_port": "522"}, "published_port must be a number"),
        ({"published_port": True}, "published_port must be a number"),
        ({"published_port": 22}, "published_port is a TCP port"),
        ({"published_port": 70000}, "published_port is a TCP port"),
        ({"region": "frankfurt"}, "no name of an AWS region"),
        ({"ssh_proxy": "ssh -W %h jump"}, "ssh_proxy says where to connect"),
        ({"pay_up_to": -1}, "pay_up_to is a number, 0 or more"),
        ({"pay_up_to": "NaN"}, "pay_up_to is a number, 0 or more"),
        ({"pay_up_to": "Infinity"}, "pay_up_to is a number, 0 or more"),
        ({"pay_up_to": "a lot"}, "pay_up_to is a number, 0 or more"),
        ({"pay_up_to": ""}, "pay_up_to is a number, 0 or more"),
        ({"pay_up_to": True}, "pay_up_to is a number, 0 or more"),
        ({"pay_up_to": [1]}, "pay_up_to is a number, 0 or more"),
        ({"hours": 0}, "hours is the planned time"),
        ({"hours": "745"}, "hours is the planned time"),
        ({"hours": "4h"}, "hours is a number, 0 or more"),
        ({"target": "azure"}, "target is one of"),
        ({"cloud": "devstack"}, "cloud is one of"),
        ({"dashboard": "maybe"}, "dashboard is one of"),
        ({"dashboard": "yes"}, "a part of the real OpenStack"),
        ({"cirros": "yes"}, "CirrOS's image is a part of the real OpenStack"),
        ({"image": "ubuntu"}, "image is one of"),
        ({"debian": 11}, "debian is one of"),
        ({"bridge": "ovs"}, "bridge is one of"),
        ({"strategy": "share-fdb"}, "strategy is one of"),
        ({"instance_type": "large"}, "no EC2 instance type"),
        ({"provider_bridge": "a-name-far-too-long"}, "no name for a Linux interface"),
        ({"vm_name": "two words"}, "no host name"),
        ({"vpc_cidr": "172.16.0.0"}, "vpc_cidr is between /16 and /28"),
        ({"vpc_cidr": "172.16.0.0/8"}, "vpc_cidr is no IPv4 network"),
        ({"vpc_cidr": "10.0.0.0/8"}, "vpc_cidr is between /16 and /28"),
        ({"provider_cidr": "10.0.0.0/24"}, "provider_cidr is outside vpc_cidr"),
        ({"provider_cidr": "172.16.10.0/24", "provider_address": "172.16.10.9"}, "overlap"),
        ({"tenant_cidr": "172.16.30.0/24", "vm_address": "172.16.30.5"}, "overlaps vpc_cidr"),
        ({"provider_address": "10.0.0.1"}, "provider_address is outside provider_cidr"),
        ({"provider_address": "172.16.20.1"}, "provider_address is a reserved address"),
        ({"provider_address": "172.16.20.3"}, "provider_address is a reserved address"),
        ({"provider_address": "172.16.20.255"}, "provider_address is a reserved address"),
        ({"management_address": "172.16.10.2"}, "management_address is a reserved address"),
        ({"vm_address": "192.168.20.1"}, "vm_address is a reserved address"),
        ({"vm_address": "192.168.21.5"}, "vm_address is outside tenant_cidr"),
        ({"ping_address": "google.com"}, "ping_address is no IPv4 address"),
        ({"allow_from": "everybody"}, "allow_from is no IPv4 network"),
        ({"zone": "us-east-1a"}, "zone is the letter of an availability zone"),
    ],
)
def test_a_wrong_setting_says_what_a_right_one_is(given: dict[str, Any], says: str) -> None:
    with pytest.raises(BadSetting, match=says) as caught:
        Settings(**given)
    assert isinstance(caught.value, LabError)
    assert isinstance(caught.value, ValueError)
    assert caught.value.next


def test_a_setting_that_does_not_exist_names_those_that_do() -> None:
    with pytest.raises(BadSetting, match="no setting 'adress'") as caught:
        Lab(adress="10.0.0.1")
    assert "provider_address" in caught.value.next


@pytest.mark.parametrize(
    ("given", "read"),
    [(0, "0"), (2, "2"), (1.25, "1.25"), ("1.25", "1.25"), (" 0.10 ", "0.10"), ("1e1", "1E+1")],
)
def test_money_and_hours_are_numbers_or_text(given: Any, read: str) -> None:
    assert str(Settings(pay_up_to=given).pay_up_to) == read


def test_money_from_the_environment_and_the_file(tmp_path: Path) -> None:
    (tmp_path / "lab.toml").write_text('pay_up_to = 1.10\nhours = "0.5"\n')
    found = load({}, {}, tmp_path)
    assert (found.pay_up_to, found.hours) == (Decimal("1.1"), Decimal("0.5"))
    assert load({}, {"OSAWSLAB_PAY_UP_TO": "2"}, tmp_path).pay_up_to == 2


def test_the_constructor_makes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    Lab(target="aws")
    assert list(tmp_path.iterdir()) == []


def test_keywords_beat_environment_beats_file_beats_default(tmp_path: Path) -> None:
    file = tmp_path / "lab.toml"
    file.write_text('vm_name = "file"\nname = "file"\npublished_port = 1022\n')
    environ = {"OSAWSLAB_NAME": "environ", "OSAWSLAB_VM_NAME": "environ"}
    found = load({"name": "keyword"}, environ, tmp_path)
    assert (found.name, found.vm_name, found.published_port) == ("keyword", "environ", 1022)
    assert found.debian == DEFAULTS["debian"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("vm_name = ", "lab.toml cannot be read"),
        ("published_port = 'many'", "published_port must be a number"),
        ("colour = 'red'", "no setting 'colour'"),
        ("provider_address = '10.1.1.1'", "provider_address is outside"),
    ],
)
def test_a_wrong_file_is_said(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "lab.toml").write_text(text)
    with pytest.raises(BadSetting, match=says):
        load({}, {}, tmp_path)


def test_a_number_in_the_environment_must_be_one(tmp_path: Path) -> None:
    assert load({}, {"OSAWSLAB_PUBLISHED_PORT": "2222"}, tmp_path).published_port == 2222
    with pytest.raises(BadSetting, match="OSAWSLAB_PUBLISHED_PORT must be a number"):
        load({}, {"OSAWSLAB_PUBLISHED_PORT": "many"}, tmp_path)
