"""Horizon, put on a lab that has been without it, and used in a real browser."""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest
from chromium import browser
from playwright.sync_api import Page, expect

from osawslab import Lab
from osawslab.cloud.openstack import horizon
from osawslab.errors import LabBusy, StepNotReady
from osawslab.report import Plan, Report
from osawslab.steps import openstack_install

END_SECONDS = 30.0


@pytest.fixture(scope="module")
def wanted(toured: Lab) -> Iterator[Lab]:
    """Give the same wanted, but with a dashboard wanted."""
    with Lab(**{**asdict(toured.settings), "dashboard": "yes"}) as made:
        yield made


@dataclass(frozen=True)
class Installation:
    """What was planned and done, and when the other services had started before and after."""

    plan: Plan
    report: Report
    before: str
    after: str


@pytest.fixture(scope="module")
def installed(wanted: Lab) -> Installation:
    """Install what is wanted."""
    plan, before = wanted.plan("install_cloud"), since(wanted)
    report = wanted.install_cloud()
    assert report.ok
    return Installation(plan, report, before, since(wanted))


@pytest.fixture(scope="module")
def password(toured: Lab) -> str:
    """Read the password of admin."""
    found = openstack_install.secrets(toured.host())["ADMIN_PASSWORD"]
    assert len(found) == 32
    return found


def since(wanted: Lab) -> str:
    """Say when the other services have started."""
    names = " ".join(openstack_install.services.SERVICES)
    return wanted.shell(f"systemctl show -p ActiveEnterTimestampMonotonic {names}").output


def test_a_lab_without_it_says_what_to_set(toured: Lab) -> None:
    with pytest.raises(StepNotReady, match="no dashboard") as caught:
        toured.dashboard()
    assert 'dashboard = "yes"' in caught.value.next


def test_only_its_part_is_installed_and_only_once(
    toured: Lab, wanted: Lab, installed: Installation
) -> None:
    [part, wait] = installed.plan.actions
    assert part.command.endswith("/dashboard.stamp\n")
    assert wait.where == "openstack"
    assert installed.report.actions == installed.plan.actions
    assert installed.after == installed.before
    assert not wanted.install_cloud().changed
    assert not toured.install_cloud().changed


@pytest.mark.usefixtures("installed")
def test_it_serves_this_host_alone_and_keeps_its_key_to_itself(wanted: Lab) -> None:
    listens = wanted.shell("ss -Hltnp").output.splitlines()
    ours = [line.split()[3] for line in listens if f":{horizon.PORT} " in line]
    assert ours == [f"127.0.0.1:{horizon.PORT}"]
    assert not [line for line in listens if "apache" in line]
    assert wanted.shell(f"stat -c %a:%U {horizon.SECRET_KEY}").output == "600:www-data"
    # A master and one worker.
    assert len(wanted.shell("pgrep -u www-data uwsgi").output.split()) == 2


@pytest.mark.usefixtures("installed")
def test_a_service_that_has_stopped_is_seen_and_started_again(wanted: Lab, toured: Lab) -> None:
    wanted.shell(f"systemctl stop {horizon.SERVICE}")
    seen = {check.what: check.seen for check in wanted.check("install_cloud").checks if not check}
    assert seen["services"] == f"down: {horizon.SERVICE}"
    assert toured.check("install_cloud")  # which is not to have it
    with pytest.raises(StepNotReady) as caught:
        wanted.dashboard()
    assert "inactive" in caught.value.seen
    assert wanted.install_cloud().ok


def sign_in(page: Page, password: str) -> None:
    """Fill the form in, and send it."""
    page.get_by_label("User Name").fill("admin")
    page.get_by_role("textbox", name="Password").fill(password)
    page.get_by_role("button", name="Sign In").click()


@pytest.mark.usefixtures("installed")
def test_a_person_signs_in_and_sees_router_and_vm(wanted: Lab, home: Path, password: str) -> None:
    with wanted.dashboard(0) as found, browser(home) as seen:
        page = seen.page()
        page.goto(found.url)
        sign_in(page, "not " + password)
        expect(page.get_by_text("Invalid credentials.")).to_be_visible()
        sign_in(page, password)
        expect(page).to_have_title("Instance Overview - OpenStack Dashboard")
        expect(page.get_by_role("heading", name="Overview", exact=True)).to_be_visible()
        assert page.url == f"{found.url}project/"

        page.goto(f"{found.url}project/routers/")
        router = page.get_by_role("row").filter(has=page.get_by_role("link", name="router1"))
        expect(router).to_contain_text("Active")
        router.get_by_role("link", name="router1").click()
        expect(page.get_by_text(wanted.settings.provider_address).first).to_be_visible()

        page.goto(f"{found.url}project/instances/")
        vm = page.get_by_role("row").filter(
            has=page.get_by_role("link", name=wanted.settings.vm_name)
        )
        expect(vm).to_contain_text(wanted.settings.vm_address)
        expect(vm).to_contain_text("Running")
        assert seen.outside == []
        assert seen.errors == []
        # What other servers of this machine would be sent too has nothing to hide.
        paths = {each["name"]: each["path"] for each in seen.context.cookies()}
        assert paths["sessionid"] == paths["csrftoken"] == "/horizon/"


@pytest.mark.usefixtures("installed")
def test_it_is_the_same_until_it_is_closed(wanted: Lab) -> None:
    first = wanted.dashboard()
    assert wanted.dashboard() is first
    assert wanted.dashboard(first.tunnel.port) is first
    with Lab(wanted.settings.name, cloud="openstack") as other, pytest.raises(LabBusy) as caught:
        other.dashboard(first.tunnel.port)
    assert str(first.tunnel.port) in caught.value.seen
    first.close()
    with wanted.dashboard() as again:
        assert again is not first


@contextlib.contextmanager
def command(wanted: Lab, words: Path) -> Iterator[subprocess.Popen[str]]:
    """Run `osawslab dashboard` as a person does, until Ctrl-C."""
    with words.open("w") as stderr:
        process = subprocess.Popen(
            [*(sys.executable, "-P", "-m", "osawslab.cli", "dashboard", "--port=0"),
             f"--name={wanted.settings.name}"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr, text=True,
        )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.wait(END_SECONDS)


@pytest.mark.usefixtures("installed")
def test_the_command_leads_there_until_ctrl_c_and_keeps_the_password(
    wanted: Lab, tmp_path: Path, password: str
) -> None:
    words = tmp_path / "words"
    with command(wanted, words) as process:
        assert process.stdout is not None
        said = process.stdout.readline()
        url = re.fullmatch(r"open +(http://127\.0\.0\.1:\d+/horizon/)\n", said)
        assert url, said + words.read_text()
        with urllib.request.urlopen(url[1], timeout=60) as page:
            shown = page.read().decode()
        assert "Login - OpenStack Dashboard" in shown
        running = subprocess.run(["ps", "-eww", "-o", "args"], capture_output=True, text=True)
        process.send_signal(signal.SIGINT)
        said += process.stdout.read()
        assert process.wait(END_SECONDS) == 0
        with pytest.raises(urllib.error.URLError, match="refused"):
            urllib.request.urlopen(url[1], timeout=5)
    for text in (said, words.read_text(), shown, running.stdout):
        assert password not in text
    # What it says to type shows the password, and nothing else does.
    [typed] = re.findall(r"^password +\S+ ssh .*-- (sudo .*)$", said, re.MULTILINE)
    assert wanted.host().plain(typed).strip() == password


def test_the_password_is_seen_nowhere(
    wanted: Lab, installed: Installation, home: Path, password: str
) -> None:
    with wanted.dashboard(0) as found:
        seen = {"text": repr(found), "HTML": found._repr_html_()}
    seen |= {"plan": repr(installed.plan), "plan's HTML": installed.plan._repr_html_()}
    seen |= {"report": installed.report.text, "its HTML": installed.report._repr_html_()}
    seen["checks"] = repr(wanted.check("install_cloud"))
    seen["processes"] = wanted.shell("ps -eww -o args").output
    seen["its own words"] = wanted.shell(f"journalctl -q --no-pager -u {horizon.SERVICE}").output
    assert "Login successful" in seen["its own words"]
    seen["its files"] = wanted.shell("grep -r . /etc/openstack-dashboard").output
    for path in (home / "state").rglob("*"):
        if "disks" not in path.parts and path.is_file():
            seen[str(path)] = path.read_text(errors="replace")
    assert [name for name, text in seen.items() if password in text] == []
