"""A class in one account: the seats are made together, seen in one table, and given back."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from place import leads_to

from osawslab import Lab, cli, handout, seats
from osawslab.cloud.openstack.image import made_of as recipe
from osawslab.errors import BadSetting, LabBusy, PriceNotConfirmed, Refused, StepNotReady
from osawslab.region import local
from osawslab.target import aws_folder

PLACE = "place"
COUNT = 6
NAMES = [f"room-{number:02d}" for number in range(1, COUNT + 1)]
Make = Callable[..., Lab]
SECONDS = 30


@pytest.fixture(scope="module")
def account(home: Path) -> Iterator[None]:
    """Lead to an account with nothing in it."""
    region = local.ensure(PLACE)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (leads_to(region) | {"OSAWSLAB_NAME": "room"}).items():
            patch.setenv(name, value)
        yield


def quiet(text: str) -> None:
    """Say nothing."""


def vpcs(lab: Lab) -> list[Any]:
    return list(
        lab.client().describe_vpcs(Filters=[{"Name": "tag-key", "Values": ["osawslab:lab"]}])[
            "Vpcs"
        ]
    )


def more(lab: Lab, vpc: int = 0, addresses: int = 0) -> None:
    """Ask for more quota; here it is granted at once."""
    ask = lab._site().target.client("service-quotas").request_service_quota_increase
    for service, code, value in (("vpc", "L-F678F1CE", vpc), ("ec2", "L-0263D0A3", addresses)):
        if value:
            ask(ServiceCode=service, QuotaCode=code, DesiredValue=value)


def test_what_does_not_fit_is_said_before_anything_is_made(account: None, new_lab: Make) -> None:
    lab = new_lab("room", pay_up_to=100)
    with pytest.raises(Refused) as caught:
        seats.make(lab, COUNT, [], "provision", quiet)
    error = caught.value
    assert error.what == (
        "6 seats do not fit in this account's quotas in us-east-1: 2 do; nothing was made"
    )
    assert "Elastic IPs: 12 needed, 5 left" in error.seen
    assert "VPCs: 6 needed, 4 left" in error.seen
    assert "--quota-code L-0263D0A3 --desired-value 12" in error.next
    assert "--quota-code L-F678F1CE --desired-value 7" in error.next
    assert error.next.endswith("; or osawslab seats 2")
    assert vpcs(lab) == []


def test_a_port_that_neutron_forwards_needs_an_address_too(account: None, new_lab: Make) -> None:
    with pytest.raises(Refused) as caught:
        seats.make(new_lab("room", cloud="openstack", pay_up_to=100), 2, [], "provision", quiet)
    assert "1 do" in caught.value.what
    assert "Elastic IPs: 6 needed, 5 left" in caught.value.seen


@pytest.mark.kernel
def test_the_price_of_all_seats_is_agreed_to_at_once(account: None, new_lab: Make) -> None:
    lab = new_lab("room", pay_up_to="0.83")  # each 0.42, to a cent
    with pytest.raises(PriceNotConfirmed) as caught:
        seats.make(lab, 2, [], "provision", quiet)
    assert caught.value.what.startswith("2 seats cost $0.2074 an hour, $0.84 for 4 planned hours")
    assert caught.value.next == 'pay_up_to = "0.84"'
    assert vpcs(lab) == []


@pytest.mark.parametrize(
    ("count", "learners", "settings", "says"),
    [
        (0, [], {}, "a class has 1 to 99 seats"),
        (100, [], {}, "a class has 1 to 99 seats"),
        (1, ["ann", "bob"], {}, "more learners than seats"),
        (1, [], {"target": "local"}, "are made in an AWS account"),
        (1, [], {"name": "a" * 30}, "a lab's name is"),
    ],
)
def test_what_is_no_class_is_refused(
    count: int, learners: list[str], settings: dict[str, str], says: str, new_lab: Make,
    account: None,
) -> None:  # fmt: skip
    with pytest.raises(BadSetting, match=says):
        seats.make(new_lab(**settings), count, learners, "provision", quiet)


def test_learners_are_read_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "names"
    file.write_text("ann\n\n  bob müller \n")
    assert seats.learners(file) == ["ann", "bob müller"]
    assert seats.learners(None) == []
    for wrong in ("a;b\n", "x" * 65):
        file.write_text(wrong)
        with pytest.raises(BadSetting, match="learner is"):
            seats.learners(file)
    with pytest.raises(BadSetting, match="cannot be read"):
        seats.learners(tmp_path / "none")


def interrupt_when(holds: Callable[[], object]) -> threading.Thread:
    """Press Ctrl-C as soon as something holds."""

    def press() -> None:
        end = time.monotonic() + SECONDS
        while not holds() and time.monotonic() < end:
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=press)
    thread.start()
    return thread


@pytest.mark.kernel
def test_a_class_from_its_first_seat_to_the_empty_proof(
    account: None, new_lab: Make, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    lab = new_lab("room", pay_up_to=100)
    ec2 = lab.client()
    foreign = ec2.create_vpc(
        CidrBlock="10.0.0.0/16",
        TagSpecifications=[
            {"ResourceType": "vpc", "Tags": [{"Key": "Name", "Value": "room-01 vpc"}]}
        ],
    )["Vpc"]["VpcId"]
    more(lab, vpc=COUNT + 2, addresses=2 * COUNT - 1)
    with monkeypatch.context() as patch:  # as if it had fitted a moment before
        patch.setattr(seats, "fitting", lambda *_: "")

        # Ctrl-C in the middle: what is made stays.
        waiting = interrupt_when(lambda: vpcs(lab))
        with pytest.raises(KeyboardInterrupt):
            seats.make(lab, COUNT, [], "provision", quiet)
        waiting.join()
        assert vpcs(lab)

        # The quota is reached in the middle: one seat dies, the others do not.
        found = seats.make(lab, COUNT, ["ann", "bob müller"], "provision", quiet)
    assert [row.line.lab for row in found.rows] == NAMES
    [dead] = [row for row in found.rows if row.trouble]
    assert not found.ok
    assert "Elastic IPs" in str(dead.trouble) or "AddressLimitExceeded" in str(dead.trouble)
    assert f"{dead.line.lab}: " in found.text
    alive = [row.line for row in found.rows if not row.trouble]
    assert {each.step for each in alive} == {"provision"}
    assert len({each.address for each in alive}) == COUNT - 1

    # One price, and run again, it goes on.
    more(lab, addresses=2 * COUNT)
    found = seats.make(lab, COUNT, ["ann", "bob müller"], "provision", quiet)
    assert found.ok, found.text
    assert [row.line.learner for row in found.rows] == ["ann", "bob müller", "", "", "", ""]
    nobody = new_lab("room")._site()  # has agreed to nothing, and nothing is asked for
    have = seats.of_class(nobody)
    assert seats.agreed(nobody, have, NAMES) == Decimal("0.42")
    with pytest.raises(PriceNotConfirmed):
        seats.agreed(nobody, have, [*NAMES, "room-07"])

    # The table, for people and for programs.
    assert cli.main(["seats", "--name", "room", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [each["seat"] for each in told["seats"]] == NAMES
    assert all(0 < each["seconds_left"] < 4 * 3600 for each in told["seats"])
    assert all(each["usd_so_far"] > 0 for each in told["seats"])
    assert cli.main(["status", "--all", "--json"]) == 0
    labs = json.loads(capsys.readouterr().out)["labs"]
    assert [each["lab"] for each in labs] == NAMES
    assert labs[0]["learner"] == "ann"
    assert {each["step"] for each in labs} == {"provision"}

    # What a learner gets leads to the seat.
    folder = handout.folder("room", NAMES[2])
    assert {path.name for path in folder.iterdir()} == {"id_ed25519", "known_hosts", "ssh_config"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    words = ["ssh", "-F", "ssh_config", "instance", "hostname"]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=SECONDS)
    assert done.stdout == "ip-172-16-10-101\n", done.stderr

    # Two trainers at once; a name that is taken.
    other = new_lab("room", pay_up_to=100)
    with lab._working("seats"), pytest.raises(LabBusy):
        seats.make(other, COUNT, [], "provision", quiet)
    away = aws_folder("elsewhere")
    aws_folder(NAMES[0]).rename(away)
    for do in (
        lambda: seats.make(lab, COUNT, [], "provision", quiet),
        lambda: seats.give_back(lab, False, quiet),
    ):
        with pytest.raises(StepNotReady, match="made on another machine") as caught:
            do()
        assert caught.value.seen == NAMES[0]
    away.rename(aws_folder(NAMES[0]))

    # All goes, and nothing that is not the class's.
    gone = seats.give_back(lab, False, quiet)
    assert gone.ok, gone.text
    assert (gone.ended, gone.left, gone.rows) == (tuple(NAMES), (), ())
    assert gone.text.endswith(f"left with the tags of {', '.join(NAMES)}: nothing")
    assert [v["VpcId"] for v in ec2.describe_vpcs()["Vpcs"] if not v["IsDefault"]] == [foreign]
    assert ec2.describe_addresses()["Addresses"] == []
    assert not [path for path in aws_folder("room").parent.glob("room*")]
    assert lab.labs() == ()


def test_seats_start_from_the_image_that_was_made_for_them(account: None, new_lab: Make) -> None:
    """EC2 has it by its tag; the launch names it, and says no: here it is no whole machine."""
    lab = new_lab("whole", cloud="openstack", pay_up_to=100)
    more(lab, vpc=20, addresses=20)
    made_of, image = recipe(lab.settings.management_address), "ami-0aaaaaaaaaaaaaaaa"
    about = {
        "ImageId": image, "State": "available", "Architecture": "x86_64",
        "RootDeviceName": "/dev/xvda", "CreationDate": "2026-11-01T00:00:00.000Z",
    }  # fmt: skip
    launched: list[str] = []
    nothing: dict[str, Any] = {"ResponseMetadata": {"HTTPHeaders": {}}}

    def images(params: dict[str, Any], **_: Any) -> Any:
        if any(value in (made_of, image) for value in params["body"].values()):
            return SimpleNamespace(status_code=200), {"Images": [about], **nothing}
        return None

    def launch(params: dict[str, Any], **_: Any) -> Any:
        launched.append(str(params["body"]["ImageId"]))
        error = {"Code": "InsufficientInstanceCapacity", "Message": "none left"}
        return SimpleNamespace(status_code=400), {"Error": error, **nothing}

    events = lab.client().meta.events
    hooks = {
        "before-call.ec2.DescribeImages": images,
        "before-call.ec2.RunInstances": launch,
    }
    for name, hook in hooks.items():
        events.register(name, hook)
    said: list[str] = []
    try:
        made = seats.make(lab, 2, [], "provision", said.append)
    finally:
        for name, hook in hooks.items():
            events.unregister(name, hook)
    assert f"image: {image}" in "\n".join(said)
    assert set(launched) == {image}
    assert not made.ok
    assert "InsufficientInstanceCapacity" in made.text
    assert seats.give_back(lab, False, quiet).ok
