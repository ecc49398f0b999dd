"""Nothing secret is shown: not in what is told, not in a process's arguments, not in open files.

A whole lab on the target `aws`, its notebook and its commands, with secrets planted that are
looked for afterwards, also as base64 and as a form's text.
"""

from __future__ import annotations

import base64
import json
import os
import runpy
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import nbformat
import pytest
from watch import Watch, forms

from osawslab import Lab, LabError
from osawslab.aws import userdata
from osawslab.cloud.openstack.parts import SECRETS
from osawslab.keys import key_file
from osawslab.region import local

PLACE = "vault"  # the region
NAME = "guarded"  # the lab
OSAWSLAB = (sys.executable, "-P", "-m", "osawslab.cli")
NOTEBOOKS = runpy.run_path(str(Path(__file__).with_name("regenerate_notebooks.py")))
TOKEN = "SESSIONTOKEN" + "x7Qv" * 12
PASSWORD = "PASSWORDSTANDIN" + "k3Zm" * 6
PLANTED = ("secret key", "session token", "private key", "host key's secret", "password")


# What starts programs in Python says so beforehand (PEP 578): in all processes of ours, the region
# and its instances' SSH servers too, for they are given PYTHONPATH.
HEARD = """
import os
import sys


def heard(event, about):
    if event == "subprocess.Popen" and os.path.exists({log!r}):
        words = about[1] if isinstance(about[1], (list, tuple)) else [about[1]]
        line = b" ".join(map(os.fsencode, words)).replace(b"\\n", b" ") + b"\\n"
        file = os.open({log!r}, os.O_WRONLY | os.O_APPEND)
        os.write(file, line)
        os.close(file)


sys.addaudithook(heard)
"""


@dataclass(frozen=True)
class Seen:
    """What there was to be seen of a lab, and what must not be in it."""

    secrets: dict[str, str]
    told: dict[str, str]
    commands: set[bytes]
    home: Path
    disk_and_all: dict[Path, tuple[int, bytes]]


def files(home: Path) -> dict[Path, tuple[int, bytes]]:
    """Read every file: its mode, and what is in it."""
    found = {}
    for folder, _, names in os.walk(home):
        for name in names:
            path = Path(folder, name)
            try:
                if path.is_file() and not path.is_symlink():
                    found[path] = path.stat().st_mode, path.read_bytes()
            except OSError:  # it is gone
                continue
    return found


def shown(thing: object) -> str:
    """Give all that a learner can see of a thing: text, HTML, data, its actions."""
    html = getattr(thing, "_repr_html_", str)
    more = [getattr(thing, name, "") for name in ("text", "data", "actions", "checks")]
    return "\n".join([repr(thing), str(html()), *map(repr, more)])


@pytest.fixture(scope="module")
def seen(home: Path) -> Seen:
    """Have a lab from its first look to its end, and keep what could be seen."""
    log, hook = home / "programs", HEARD.format(log=str(home / "programs"))
    log.touch(0o600)
    (home / "hook").mkdir()
    (home / "hook/sitecustomize.py").write_text(hook)
    exec(hook, {})
    python = os.pathsep.join((str(home / "hook"), os.environ.get("PYTHONPATH", "")))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", python.strip(os.pathsep))
        region = local.ensure(PLACE)
    credentials = home / "credentials"
    credentials.touch(0o600)
    credentials.write_text(
        f"[default]\naws_access_key_id = {region.access_key}\n"
        f"aws_secret_access_key = {region.secret_key}\naws_session_token = {TOKEN}\n"
    )
    told: dict[str, str] = {}

    def command(*words: str) -> None:
        done = subprocess.run(
            [*OSAWSLAB, *words], capture_output=True, text=True, timeout=200, check=False
        )
        told["osawslab " + " ".join(words)] = done.stdout + done.stderr

    with pytest.MonkeyPatch.context() as patch, Watch() as watch:
        for name, value in {
            "AWS_ENDPOINT_URL": region.endpoint,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": str(credentials),
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": "127.0.0.1",
            "OS_PASSWORD": PASSWORD,
            "PYTHONPATH": python.strip(os.pathsep),
            "OSAWSLAB_NAME": NAME,
            "OSAWSLAB_TARGET": "aws",
            "OSAWSLAB_PAY_UP_TO": "1",
            "OSAWSLAB_ALLOW_FROM": "198.51.100.7/32",
            "OSAWSLAB_PROGRESS": "1",
            "OSAWSLAB_SSH_PROXY": shlex.join(OSAWSLAB) + f" region connect --name {PLACE} %h %p",
        }.items():
            patch.setenv(name, value)
        lab = Lab()
        told["plan"] = shown(lab.plan("provision"))
        notebook = nbformat.read(NOTEBOOKS["NOTEBOOKS"] / "10-provision.ipynb", as_version=4)
        NOTEBOOKS["run"](notebook, home)
        told["notebook"] = json.dumps(notebook)
        ec2 = lab.client()
        instance = next(row[1] for row in lab.status().rows if row[0] == "instance")
        secrets = {
            "secret key": region.secret_key,
            "session token": TOKEN,
            "private key": key_file(lab.folder).read_text().splitlines()[3],
            "host key's secret": userdata.secret(ec2, instance),
            "password": PASSWORD,
        }
        # As `install_cloud` keeps OpenStack's own, which would take minutes.
        lab.host().run(
            f"mkdir -p {Path(SECRETS).parent}; umask 077; cat > {SECRETS}",
            f"ADMIN_PASSWORD={PASSWORD}\n",
        )
        for step in lab.steps:
            told[step] = shown(lab.run(step))
        for name in ("status", "price", "preflight", "sweep"):
            told[name] = shown(getattr(lab, name)())
        for words in (
            ("tour", "--json"), ("status", "--json"), ("preflight", "--json"), ("env",),
            ("sweep", "--json"), ("check", "provision"), ("ssh", "vm", "--", "hostname"),
        ):  # fmt: skip
            command(*words)
        disks = files(home)
        told["tear_down"] = shown(lab.tear_down())
        patch.setenv("AWS_ACCESS_KEY_ID", "AKIAWRONG")  # what a refusal says
        patch.setenv("AWS_SECRET_ACCESS_KEY", region.secret_key)
        try:
            lab.provision()
        except LabError as error:
            told["refused"] = f"{error!r}{error}{error.__cause__!r}"
        command("status")
        lab.close()
    told["region.log"] = (local.state_folder(PLACE) / "region.log").read_text()
    commands = watch.seen | set(log.read_bytes().splitlines())
    return Seen(secrets, told, commands, home, {**disks, **files(home)})


@pytest.mark.kernel
def test_all_that_was_to_be_looked_at_is_there(seen: Seen) -> None:
    assert set(seen.secrets) == set(PLANTED)
    assert all(len(secret) > 20 for secret in seen.secrets.values())
    assert '"ok": true' in seen.told["osawslab tour --json"]
    assert "vm1" in seen.told["osawslab ssh vm -- hostname"]
    assert "run-instances" in seen.told["plan"]
    assert "run-instances" in seen.told["notebook"]
    assert "does not accept these credentials" in seen.told["refused"]
    for part in (b"osawslab.region.process", b"ipykernel_launcher", b"dropbear", b"sudo",
                 b"scripts/part-001", b"region connect"):  # fmt: skip
        assert any(part in each for each in seen.commands), part


@pytest.mark.kernel
@pytest.mark.parametrize("planted", PLANTED)
def test_nothing_tells_it(planted: str, seen: Seen) -> None:
    secret = forms(seen.secrets[planted])
    assert [
        name for name, text in seen.told.items() if any(each in text.encode() for each in secret)
    ] == []


@pytest.mark.kernel
@pytest.mark.parametrize("planted", PLANTED)
def test_no_process_has_it_in_its_arguments(planted: str, seen: Seen) -> None:
    secret = forms(seen.secrets[planted])
    assert [words for words in seen.commands if any(each in words for each in secret)] == []


@pytest.mark.kernel
@pytest.mark.parametrize("planted", PLANTED)
def test_only_files_of_their_owner_alone_hold_it(planted: str, seen: Seen) -> None:
    secret = forms(seen.secrets[planted])
    holders = {
        path: mode
        for path, (mode, content) in seen.disk_and_all.items()
        if any(each in content for each in secret)
    }
    assert holders  # it is somewhere, or nothing has been looked for
    assert {str(path): oct(mode) for path, mode in holders.items() if mode & 0o077} == {}


def test_one_who_looks_sees_what_is_planted() -> None:
    secret = "PLANTEDFORALOOK" * 2
    hidden = base64.b64encode(b"x" + secret.encode() + b"yz").decode()
    with Watch() as watch:
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(9)", hidden])
        time.sleep(0.5)
        child.kill()
        child.wait()
    assert any(each in words for words in watch.seen for each in forms(secret))
