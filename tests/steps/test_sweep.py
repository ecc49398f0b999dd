"""Sweep: what labs leave behind is found by its tag and goes; what has none stays."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from place import leads_to

from osawslab import Lab, cli, jupyter
from osawslab.aws import estate, once, regions
from osawslab.aws.facts import specification
from osawslab.errors import BadSetting, LabBusy, Refused, StepNotReady
from osawslab.region import local
from osawslab.steps import at_start, provision
from osawslab.steps import sweep as room

pytestmark = pytest.mark.kernel

NAME = "broom"
OLD = "2026-01-01T00:00:00+00:00"


@pytest.fixture(scope="module")
def region(home: Path) -> Iterator[None]:
    """One region for the module."""
    yield
    local.remove(NAME)


@pytest.fixture
def lab(region: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """A lab; nothing of it, and of any other, is left behind."""
    monkeypatch.setattr(estate, "PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(once, "SEEN_SECONDS", 0.1)
    monkeypatch.setattr(once, "PAUSE_SECONDS", 0.01)
    with Lab(NAME, bridge="linux") as made:
        yield made
        assert made.tear_down().ok
        assert made.sweep(yes=True).ok


def end_instance(lab: Lab) -> None:
    """End the instance as somebody in the console does, or the instance itself."""
    instance = lab._site().read_ec2().instance
    assert instance
    lab.client("ec2").terminate_instances(InstanceIds=[instance["InstanceId"]])


def another(lab: Lab, name: str, made: str = OLD, *, instance: bool = False) -> dict[str, str]:
    """Make another lab's things: kind -> id."""
    ec2 = lab.client("ec2")

    def tags(kind: str, role: str) -> list[dict[str, Any]]:
        return [specification(kind, name, role, made)]

    vpc = ec2.create_vpc(CidrBlock="10.9.0.0/16", TagSpecifications=tags("vpc", "vpc"))
    ids = {"VPC": vpc["Vpc"]["VpcId"]}
    subnet = ec2.create_subnet(
        VpcId=ids["VPC"],
        CidrBlock="10.9.1.0/24",
        TagSpecifications=tags("subnet", "management-subnet"),
    )
    ids["subnet"] = subnet["Subnet"]["SubnetId"]
    nic = ec2.create_network_interface(
        SubnetId=ids["subnet"], TagSpecifications=tags("network-interface", "provider-nic")
    )
    ids["network interface"] = nic["NetworkInterface"]["NetworkInterfaceId"]
    ids["elastic IP"] = ec2.allocate_address(
        Domain="vpc", TagSpecifications=tags("elastic-ip", "provider-address")
    )["AllocationId"]
    ids["volume"] = ec2.create_volume(
        AvailabilityZone="us-east-1a", Size=1, TagSpecifications=tags("volume", "volume")
    )["VolumeId"]
    if instance:
        image = lab.client("ssm").get_parameter(Name="/aws/service/debian/release/13/latest/amd64")
        [made_one] = ec2.run_instances(
            ImageId=image["Parameter"]["Value"],
            InstanceType="t2.large",
            MinCount=1,
            MaxCount=1,
            SubnetId=ids["subnet"],
            TagSpecifications=[*tags("instance", "instance"), *tags("volume", "volume")],
        )["Instances"]
        ids["instance"] = made_one["InstanceId"]
    return ids


def rows(lab: Lab, **how: Any) -> dict[str, tuple[str, ...]]:
    """Give the table by id."""
    return {row[3]: row for row in lab.sweep(**how).tables[0].rows}


def test_a_lab_in_use_is_shown_and_left(lab: Lab) -> None:
    assert lab.provision().ok
    report = lab.sweep(yes=True)
    assert report.ok
    assert not report.changed
    table = report.tables[0]
    assert {row[-1] for row in table.rows} == {"in use"}
    assert {row[2]: row[5] for row in table.rows} == {
        kind.name: "yes" if kind.name in ("instance", "elastic IP", "volume") else "no"
        for kind in estate.KINDS
        if kind.name != "route table"
    }
    assert {row[4] for row in table.rows} <= {"0 min", "1 min"}  # none is unknown
    assert lab.check("provision")


def test_what_the_end_of_an_instance_does_not_free_goes(lab: Lab) -> None:
    lab.provision()
    end_instance(lab)
    shown = lab.sweep()
    assert not shown.ok
    assert not shown.changed
    assert shown.tables[1].caption == "What would be done"
    assert [check.next for check in shown.checks] == ["lab.sweep(yes=True)"]
    assert {row[2] for row in shown.tables[0].rows} >= {"elastic IP", "subnet", "VPC", "key pair"}
    report = lab.sweep(yes=True)
    assert report.ok, report.text
    assert report.changed
    assert report.tables[0].rows  # what there was
    assert lab.check("tear_down")
    assert lab.sweep().tables[0].rows == ()


def test_another_labs_orphans_go_and_its_living_stay(lab: Lab) -> None:
    dead, alive = another(lab, "dead"), another(lab, "alive", instance=True)
    shown = rows(lab)
    assert {shown[key][-1] for key in dead.values()} == {"orphan"}
    assert {shown[key][-1] for key in alive.values()} == {"in use"}
    assert int(shown[dead["elastic IP"]][4].removesuffix(" d")) > 100
    report = lab.sweep(yes=True)
    assert report.ok, report.text
    left = rows(lab)
    assert not left.keys() & set(dead.values())
    assert left.keys() >= set(alive.values())
    lab.client("ec2").terminate_instances(InstanceIds=[alive["instance"]])
    assert lab.sweep(yes=True).ok
    assert rows(lab) == {}


def test_a_lab_that_is_being_made_is_left(lab: Lab) -> None:
    ago = datetime.now(UTC) - timedelta(minutes=5)
    ids = another(lab, "young", ago.isoformat("T", "seconds"))
    report = lab.sweep(yes=True)
    assert report.ok
    assert not report.changed
    assert {rows(lab)[key][-1] for key in ids.values()} == {"begun just now"}
    lab.client("ec2").create_tags(
        Resources=list(ids.values()), Tags=[{"Key": "osawslab:made", "Value": OLD}]
    )
    assert lab.sweep(yes=True).changed


@pytest.mark.parametrize(
    ("older_than", "old", "goes"),
    [
        ("8h", timedelta(hours=9), True),
        ("8h", timedelta(hours=7), False),
        ("30m", timedelta(minutes=31), True),
        ("2d", timedelta(hours=47), False),
        ("", timedelta(days=300), False),
    ],
)
def test_old_labs_go_where_it_is_asked(
    lab: Lab, older_than: str, old: timedelta, goes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = another(lab, "aged", instance=True)

    class Later(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.now(tz) + old

    with monkeypatch.context() as patch:
        patch.setattr(room, "datetime", Later)
        shown = rows(lab, older_than=older_than)
        assert {row[-1] for row in shown.values()} == {
            f"older than {older_than}" if goes else "in use"
        }
        report = lab.sweep(yes=True, older_than=older_than)
    assert report.ok, report.text
    assert report.changed is goes
    assert bool(rows(lab)) is not goes
    if not goes:
        lab.client("ec2").terminate_instances(InstanceIds=[ids["instance"]])


@pytest.mark.parametrize("text", ["8", "h", "8 hours", "-1h", "1.5h", "8w"])
def test_an_age_that_is_none_is_refused(lab: Lab, text: str) -> None:
    with pytest.raises(BadSetting, match="an age is"):
        lab.sweep(older_than=text)


def strangers(lab: Lab) -> dict[str, str]:
    """Make things that are not ours, though they are called like ours: describe call -> id."""
    ec2 = lab.client("ec2")

    def named(kind: str, role: str) -> list[dict[str, Any]]:
        tags = [{"Key": "Name", "Value": f"{NAME} {role}"}]
        return [{"ResourceType": kind, "Tags": tags}]

    vpc = ec2.create_vpc(CidrBlock="10.8.0.0/16", TagSpecifications=named("vpc", "vpc"))["Vpc"]
    subnet = ec2.create_subnet(
        VpcId=vpc["VpcId"],
        CidrBlock="10.8.1.0/24",
        TagSpecifications=named("subnet", "provider-subnet"),
    )["Subnet"]["SubnetId"]
    group = ec2.create_security_group(
        GroupName=f"osawslab-{NAME}", Description="theirs", VpcId=vpc["VpcId"]
    )["GroupId"]
    gateway = ec2.create_internet_gateway(TagSpecifications=named("internet-gateway", "gateway"))
    table = ec2.create_route_table(VpcId=vpc["VpcId"])["RouteTable"]["RouteTableId"]
    image = lab.client("ssm").get_parameter(Name="/aws/service/debian/release/13/latest/amd64")
    [instance] = ec2.run_instances(
        ImageId=image["Parameter"]["Value"],
        InstanceType="t2.large",
        MinCount=1,
        MaxCount=1,
        SubnetId=subnet,
        TagSpecifications=named("instance", "instance"),
    )["Instances"]
    nic = ec2.create_network_interface(
        SubnetId=subnet,
        Groups=[group],
        TagSpecifications=named("network-interface", "provider-nic"),
    )["NetworkInterface"]["NetworkInterfaceId"]
    address = ec2.allocate_address(
        Domain="vpc", TagSpecifications=named("elastic-ip", "provider-address")
    )["AllocationId"]
    volume = ec2.create_volume(
        AvailabilityZone="us-east-1a", Size=1, TagSpecifications=named("volume", "volume")
    )["VolumeId"]
    return {
        "describe_vpcs": vpc["VpcId"],
        "describe_subnets": subnet,
        "describe_security_groups": group,
        "describe_internet_gateways": gateway["InternetGateway"]["InternetGatewayId"],
        "describe_route_tables": table,
        "describe_instances": instance["InstanceId"],
        "describe_network_interfaces": nic,
        "describe_addresses": address,
        "describe_volumes": volume,
    }


def test_what_is_not_ours_survives_both(lab: Lab) -> None:
    theirs, ec2 = strangers(lab), lab.client("ec2")
    assert theirs.keys() == {kind.describe for kind in estate.KINDS} - {"describe_key_pairs"}

    def kept() -> dict[str, bool]:
        return {each: key in str(getattr(ec2, each)()) for each, key in theirs.items()}

    lab.provision()
    end_instance(lab)
    assert lab.sweep(yes=True, older_than="0m").ok
    assert kept() == dict.fromkeys(theirs, True)
    lab.provision()
    assert lab.tear_down().ok
    assert kept() == dict.fromkeys(theirs, True)
    assert ec2.describe_instances(InstanceIds=[theirs["describe_instances"]])["Reservations"][0][
        "Instances"
    ][0]["State"]["Name"] in ("pending", "running")
    ec2.terminate_instances(InstanceIds=[theirs["describe_instances"]])
    ec2.delete_network_interface(NetworkInterfaceId=theirs["describe_network_interfaces"])
    ec2.delete_subnet(SubnetId=theirs["describe_subnets"])
    ec2.delete_security_group(GroupId=theirs["describe_security_groups"])
    ec2.delete_route_table(RouteTableId=theirs["describe_route_tables"])
    ec2.delete_internet_gateway(InternetGatewayId=theirs["describe_internet_gateways"])
    ec2.delete_vpc(VpcId=theirs["describe_vpcs"])
    ec2.release_address(AllocationId=theirs["describe_addresses"])
    ec2.delete_volume(VolumeId=theirs["describe_volumes"])


def test_a_strangers_key_with_our_name_is_neither_taken_nor_deleted(lab: Lab) -> None:
    ec2 = lab.client("ec2")
    ec2.create_key_pair(KeyName=f"osawslab-{NAME}")
    with pytest.raises(Refused) as caught:
        lab.provision()
    assert "InvalidKeyPair.Duplicate" in caught.value.seen
    assert lab.tear_down().ok
    assert lab.sweep(yes=True).ok
    assert [key["KeyName"] for key in ec2.describe_key_pairs()["KeyPairs"]] == [f"osawslab-{NAME}"]
    ec2.delete_key_pair(KeyName=f"osawslab-{NAME}")


def test_what_a_stranger_holds_is_named(lab: Lab) -> None:
    dead, ec2 = another(lab, "dead"), lab.client("ec2")
    made = ec2.create_network_interface(SubnetId=dead["subnet"])["NetworkInterface"]
    nic = made["NetworkInterfaceId"]
    report = lab.sweep(yes=True)
    assert not report.ok
    assert report.checks[0].seen == (f"{dead['subnet']} held by {nic}, {dead['VPC']} held by {nic}")
    ec2.delete_network_interface(NetworkInterfaceId=nic)
    assert lab.sweep(yes=True).ok


class Lines:
    """Keep what a lab tells while it works."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    def start(self, step: str, total: int) -> None:
        self.step = step

    def action(self, text: str, *, where: str = "", command: str = "") -> None:
        self.told.append((self.step, text))

    def done(self, text: str) -> None:
        pass


@pytest.fixture
def paid(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """Another lab in the same account, where things cost money."""
    for name, value in leads_to(local.ensure(NAME)).items():
        monkeypatch.setenv(name, value)
    with Lab("payer", pay_up_to="1") as made:
        made.progress = Lines()
        yield made
        assert made.tear_down().ok


def test_every_start_tells_what_is_left_and_what_it_costs(lab: Lab, paid: Lab) -> None:
    assert paid.left_behind() == ""
    another(lab, "dead")
    another(lab, "alive", instance=True)
    another(lab, "young", datetime.now(UTC).isoformat("T", "seconds"))
    told = paid.left_behind()
    assert told == (
        "left behind in this account by lab 'dead': elastic IP (1), volume (1), $0.0051 an hour;"
        " ./lab sweep --target aws shows it, with --yes it is given back"
    )
    assert lab.left_behind() == ""  # here nothing costs money
    report = paid.provision()
    assert report.ok, report.text
    assert told in report.notes
    lines = paid.progress.told  # type: ignore[attr-defined]
    assert lines[0] == ("sweep", told)
    assert {step for step, _ in lines[1:]} == {"provision"}
    assert told not in paid.provision().notes  # nothing was begun
    end_instance(paid)
    assert "'dead', 'payer'" in paid.left_behind()
    assert lab.sweep(yes=True, older_than="0m").ok
    with Lab("young") as young:  # to others it may yet get its instance
        assert young.sweep(yes=True).ok


def test_a_look_that_fails_stops_no_start(paid: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any) -> None:
        raise ClientError({"Error": {"Code": "RequestLimitExceeded", "Message": "slow"}}, "Look")

    def begins(*_: Any) -> None:
        raise StepNotReady("the first action")

    monkeypatch.setattr(at_start, "estates", refused)
    monkeypatch.setattr(provision, "require", begins)
    assert paid.left_behind().startswith("what labs have left behind in this account is not known")
    with pytest.raises(StepNotReady, match="the first action"):
        paid.provision()
    assert "is not known" in paid.progress.told[0][1]  # type: ignore[attr-defined]


def test_the_command_start_looks_first(
    lab: Lab,
    paid: Lab,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    another(lab, "dead")
    served: list[str] = []
    monkeypatch.setattr(jupyter, "serve", lambda *_: served.append(capsys.readouterr().err))
    words = ["start", "--no-browser", "--port", "0", "--folder", str(tmp_path), "--name", "payer"]
    assert cli.main(words) == 0
    assert "by lab 'dead': elastic IP (1), volume (1), $0.0051 an hour" in served[0]
    assert f"{cli.program()} sweep --target aws" in served[0]
    with monkeypatch.context() as patch:
        patch.setenv("OSAWSLAB_PUBLIC", "a classroom's")
        assert cli.main(words) == 0
    assert "is not known: AWS is not for a public machine" in served[1]
    assert lab.sweep(yes=True).ok


def test_every_region_that_a_lab_here_has_been_in_is_swept(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one that only another lab's folder tells of, whose machine did not get to its end."""
    there = tmp_path / "gone.aws"
    there.mkdir()
    regions.note(there, "eu-west-1")
    with Lab("broom-abroad", region="eu-west-1") as other:
        left, abroad = another(other, "gone"), other.client("ec2")
        own = lab._site().target

        def client(service: str, region: str = "") -> Any:
            return abroad if region == "eu-west-1" else own.client(service)

        two = replace(own, client=client, charges=True, keys=tmp_path / f"{NAME}.aws")
        with monkeypatch.context() as patch:
            patch.setattr("osawslab.reach.place", lambda _: two)
            assert "by lab 'gone': elastic IP (1), volume (1)" in lab.left_behind()
            shown = lab.sweep().tables[0].rows
            assert {row[3] for row in shown if row[1] == "eu-west-1"} == set(left.values())
            report = lab.sweep(yes=True)
        assert report.ok, report.text
        assert abroad.describe_addresses()["Addresses"] == []
    local.remove("broom-abroad")


def test_looking_is_free_and_taking_waits_its_turn(lab: Lab) -> None:
    with lab._working("provision"), Lab(NAME) as other:
        assert other.sweep().ok
        with pytest.raises(LabBusy) as caught:
            other.sweep(yes=True)
    assert caught.value.next == "wait for it, then lab.sweep() again"


def test_the_command(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    dead = another(lab, "dead")
    words = ["sweep", "--name", NAME]
    assert cli.main(words) == 1
    told = capsys.readouterr().out
    assert f"{cli.program()} sweep --yes" in told
    assert dead["elastic IP"] in told
    assert cli.main([*words, "--yes", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert {each["id"] for each in answer["things"]} == set(dead.values())
    assert answer["changed"] is True
    assert cli.main([*words, "--older-than", "8h"]) == 0
    assert "nothing to do, 1 of 1 checks hold" in capsys.readouterr().out
