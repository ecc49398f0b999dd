"""The target `aws`, its own code, on a local region that stands where AWS does."""

from __future__ import annotations

import json
import runpy
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError
from place import OSAWSLAB, leads_to

from osawslab import Lab, LabError
from osawslab.aws.price import COPY, LEFT_OUT
from osawslab.errors import (
    BadSetting,
    CannotReach,
    NoCredentials,
    PriceNotConfirmed,
    Refused,
    RegionGone,
)
from osawslab.host.ssh import SshHost
from osawslab.keys import keep_key, key_file, make_key
from osawslab.region import local
from osawslab.settings import Settings
from osawslab.steps.run import own_errors
from osawslab.target import aws_folder, open_target
from osawslab.tour import Tour, tour

PLACE = "place"  # the region; the labs in it have other names
NOTEBOOKS = runpy.run_path(str(Path(__file__).with_name("regenerate_notebooks.py")))
Make = Callable[..., Lab]


@pytest.fixture(scope="module")
def account(home: Path) -> Iterator[dict[str, str]]:
    """Give the environment that leads to an account with nothing in it."""
    with pytest.MonkeyPatch.context() as patch:
        found = leads_to(local.ensure(PLACE))
        for name, value in found.items():
            patch.setenv(name, value)
        yield found


def command(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*OSAWSLAB, *words], capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.kernel
def test_the_whole_tour_and_its_end(account: dict[str, str], new_lab: Make) -> None:
    lab = new_lab("tour", pay_up_to="0.50")
    reports = {step: lab.run(step) for step in lab.steps}
    assert [report.text for report in reports.values() if not report.ok] == []
    proof = lab.proof(reports)
    assert proof["drops_before"] is None
    assert proof["ping_before"] == {"sent": 3, "received": 0}
    assert proof["ping_after"] == {"sent": 3, "received": 3}
    assert proof["gateway_mac_after"] == proof["registered_mac"] != proof["gateway_mac_before"]
    assert proof["published"]["hostname"] == "vm1"
    [left] = [c for c in reports["see_the_drop"].checks if c.what == "what became of the frames"]
    assert left.seen == f"left the NIC with MAC {proof['gateway_mac_before']}, no answer"
    assert not any(lab.run(step).changed for step in lab.steps)
    assert local.find("tour") is None  # nothing was started for it
    assert aws_folder("tour").stat().st_mode & 0o777 == 0o700

    names = [row[0] for row in lab.price().rows]
    assert names == ["instance t2.large", "2 public IPv4 addresses", "8 GB of disk"]
    told = json.loads(command("status", "--name", "tour", "--json").stdout)
    assert "$0.1037 an hour" in told["cost"]
    assert {"instance", "provider NIC", "management Elastic IP"} <= {
        row["what"] for row in told["resources"]
    }
    assert command("ssh", "vm", "--name", "tour", "--", "hostname").stdout == "vm1\n"

    # What has no tag of the lab's, and lies in its network, is in the way: nothing is hidden.
    ec2 = lab.client()
    mine = [{"Name": "tag:osawslab:lab", "Values": ["tour"]}]
    subnet = ec2.describe_subnets(Filters=mine)["Subnets"][0]["SubnetId"]
    foreign = ec2.create_network_interface(SubnetId=subnet)["NetworkInterface"]
    done = command("down", "--name", "tour")
    assert done.returncode == 1
    assert f"held by {foreign['NetworkInterfaceId']}, not this lab's" in done.stdout
    ec2.delete_network_interface(NetworkInterfaceId=foreign["NetworkInterfaceId"])
    ended = command("down", "--name", "tour", "--json")
    assert json.loads(ended.stdout) == {"ok": True, "ended": [{"lab": "tour", "target": "aws"}]}
    assert not aws_folder("tour").exists()
    assert lab.status().rows == ()


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Give the list that every API call of this process is written to."""
    made: list[str] = []
    ask = BaseClient._make_api_call

    def noted(self: Any, operation: str, given: Any) -> Any:
        made.append(operation)
        return ask(self, operation, given)

    monkeypatch.setattr(BaseClient, "_make_api_call", noted)
    return made


def mutating(calls: list[str]) -> list[str]:
    return [call for call in calls if not call.startswith(("Describe", "Get"))]


@pytest.mark.parametrize("way", ["provision", "run", "catch_up", "tour"])
def test_nothing_is_made_before_somebody_agrees_to_its_price(
    way: str, account: dict[str, str], new_lab: Make, calls: list[str]
) -> None:
    journal = local.state_folder(PLACE) / "journal"
    before = journal.read_bytes() if journal.exists() else b""
    lab = new_lab("dear", hours=10, pay_up_to="1.03")  # 0.0928 + 2 * 0.005 + 8 * 0.08 / 720
    assert len(lab.plan("provision").actions) > 10
    do = {
        "provision": lab.provision,
        "run": lambda: lab.run("provision"),
        "catch_up": lambda: lab.catch_up("install_cloud"),
        "tour": lambda: raise_error(tour(lab, lambda _: None)),
    }[way]
    with pytest.raises(PriceNotConfirmed) as caught:
        do()
    assert "DescribeVpcs" in calls
    assert mutating(calls) == []
    assert (journal.read_bytes() if journal.exists() else b"") == before
    error = caught.value
    assert error.what.startswith("this costs $0.1037 an hour, $1.04 for 10 planned hours;")
    assert error.seen == (
        "instance t2.large $0.0928/h; 2 public IPv4 addresses $0.0100/h; 8 GB of disk $0.0009/h;"
        f" {LEFT_OUT}; by {COPY}"
    )
    assert error.next == 'pay_up_to = "1.04"'


def raise_error(result: Tour) -> None:
    if result.error:
        raise result.error


def test_an_image_is_agreed_to_before_its_lab_is_made(account: dict[str, str]) -> None:
    journal = local.state_folder(PLACE) / "journal"
    before = journal.read_bytes() if journal.exists() else b""
    done = command("image", "--json", "--set", "pay_up_to=0.50")  # enough for the lab alone
    assert done.returncode == 2
    assert "goes on" not in done.stderr
    told = json.loads(done.stdout)["error"]
    assert told["type"] == "PriceNotConfirmed"
    assert "a month of a snapshot of 30 GB, which outlives the lab $1.50" in told["seen"]
    assert told["next"] == 'pay_up_to = "1.95"'
    assert (journal.read_bytes() if journal.exists() else b"") == before


@pytest.mark.kernel
@pytest.mark.parametrize("name", ["50-see-the-drop", "60-swap-mac", "90-tear-down"])
def test_the_notebooks_that_tell_of_the_place(
    name: str, account: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OSAWSLAB_NAME", "notebooks")
    monkeypatch.setenv("OSAWSLAB_PAY_UP_TO", "1")
    notebook = nbformat.read(NOTEBOOKS["NOTEBOOKS"] / f"{name}.ipynb", as_version=4)
    NOTEBOOKS["run"](notebook, NOTEBOOKS["NOTEBOOKS"])
    outputs = [each for cell in notebook.cells for each in cell.get("outputs", [])]
    assert "NOT OK" not in str([each.get("data", {}).get("text/plain") for each in outputs])


@pytest.mark.kernel
def test_what_is_agreed_to_is_made_and_what_is_there_is_not_asked_for_again(
    account: dict[str, str], new_lab: Make, calls: list[str]
) -> None:
    asked = new_lab("agreed")
    with pytest.raises(PriceNotConfirmed) as caught:
        asked.provision()
    key, _, value = caught.value.next.partition(" = ")
    agreed = new_lab("agreed", **{key: json.loads(value)})  # just what it said to type
    assert agreed.provision().ok
    assert "RunInstances" in mutating(calls)

    calls.clear()
    report = asked.provision()  # nobody agrees to anything, and nothing is missing
    assert report.ok
    assert not report.changed
    assert mutating(calls) == []

    cost = asked.status().caption.removeprefix("Lab agreed on aws: ")
    before, left = "up to $0.01 so far, $0.1037 an hour, time left 3 h 5", ", by EC2's clock"
    assert (cost[: len(before)], cost[-len(left) :]) == (before, left)

    # One thing that costs money is missing: asked for again.
    ec2 = asked.client()
    address = ec2.describe_addresses()["Addresses"][0]
    ec2.disassociate_address(AssociationId=address["AssociationId"])
    ec2.release_address(AllocationId=address["AllocationId"])
    calls.clear()
    with pytest.raises(PriceNotConfirmed):
        asked.provision()
    assert mutating(calls) == []
    assert asked.tear_down().ok


def test_nothing_is_found_where_nothing_was_made(account: dict[str, str], new_lab: Make) -> None:
    lab = new_lab("empty")
    assert lab.status().rows == ()
    assert len(lab.plan("provision").actions) > 10
    assert not lab.folder.exists()


def test_tools_are_led_to_the_region_and_keep_their_user(account: dict[str, str]) -> None:
    found = command("env", "--set", "region=eu-west-1").stdout
    assert found == "export AWS_REGION=eu-west-1\nexport AWS_DEFAULT_REGION=eu-west-1\n"


CONFIG = """
[profile sso]
sso_session = corp
sso_account_id = 123456789012
sso_role_name = lab
[sso-session corp]
sso_start_url = https://example.awsapps.com/start
sso_region = us-east-1
"""


@pytest.mark.parametrize(
    ("changed", "kind", "says"),
    [
        ({"AWS_ACCESS_KEY_ID": None}, NoCredentials, "there are no AWS credentials"),
        ({"AWS_SECRET_ACCESS_KEY": None}, NoCredentials, "there are no AWS credentials"),
        ({"AWS_PROFILE": "nobody"}, NoCredentials, "there are no AWS credentials"),
        ({"AWS_ACCESS_KEY_ID": "AKIAWRONG"}, NoCredentials, "does not accept these credentials"),
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, NoCredentials, "does not accept these credentials"),
        ({"OSAWSLAB_REGION": "eu-west-1"}, NoCredentials, "does not accept these credentials"),
        ({"AWS_PROFILE": "sso"}, NoCredentials, "the AWS credentials have expired"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, RegionGone, "does not answer"),
    ],
)
@pytest.mark.parametrize("call", ["plan", "status", "provision"])
def test_who_asks_and_where_is_said_in_our_own_words(
    call: str,
    changed: dict[str, str | None],
    kind: type[LabError],
    says: str,
    account: dict[str, str],
    new_lab: Make,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    if "AWS_PROFILE" in changed:
        (tmp_path / "config").write_text(CONFIG)
        changed = {**changed, "AWS_CONFIG_FILE": str(tmp_path / "config"),
                   "AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None}  # fmt: skip
    for name, value in changed.items():
        if value is None:
            monkeypatch.delenv(name)
        else:
            monkeypatch.setenv(name, value)
    lab = new_lab("who", hours=1)
    with pytest.raises(kind, match=says) as caught:
        lab.plan("provision") if call == "plan" else getattr(lab, call)()
    assert caught.value.seen
    assert caught.value.next
    assert account["AWS_SECRET_ACCESS_KEY"] not in str(caught.value)


@pytest.mark.parametrize(
    ("code", "kind", "next"),
    [
        ("UnauthorizedOperation", Refused, "ask for the IAM permission ec2:RunInstances"),
        ("OptInRequired", NoCredentials, "aws account enable-region"),
        ("RequestExpired", NoCredentials, "aws sso login"),
        ("VpcLimitExceeded", Refused, "lab.preflight()"),
    ],
)
def test_a_refusal_says_what_to_do(code: str, kind: type[LabError], next: str) -> None:
    said = ClientError({"Error": {"Code": code, "Message": "no"}}, "RunInstances")
    with pytest.raises(kind) as caught, own_errors("provision"):
        raise said
    assert next in caught.value.next
    assert caught.value.seen == f"{code}: no"


def test_a_client_is_made_anew_when_somebody_else_asks(
    account: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = open_target(Settings(name="who", target="aws"))
    first = place.client("ec2")
    assert place.client("ec2") is first
    assert place.client("ec2", "eu-west-1").meta.region_name == "eu-west-1"
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAOTHER")
    assert place.client("ec2") is not first


def test_a_lab_here_has_one_region(home: Path) -> None:
    place = open_target(Settings(name=PLACE))
    assert place.client("ec2", "us-east-1") is place.client("ec2")
    with pytest.raises(BadSetting, match="has one region"):
        place.client("pricing", "eu-west-1")


def test_a_way_to_the_instance_that_is_none_ends_at_once(home: Path) -> None:
    proxy = "sh -c 'echo to %h %p, 100%% gone >&2; exit 1'"
    place = open_target(Settings(name="way", target="aws", ssh_proxy=proxy))
    keep_key(key_file(place.keys), "way")
    host = SshHost(place, "203.0.113.9", "admin", make_key("host key")[1])
    started = time.monotonic()
    with pytest.raises(CannotReach):
        host.connection()
    assert time.monotonic() - started < 10
    said = (place.keys / "ssh_proxy.log").read_text()
    assert said == "to 203.0.113.9 22, 100% gone\n"
