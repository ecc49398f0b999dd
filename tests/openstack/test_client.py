"""OpenStack's own client, on this machine, in the lab's OpenStack, as a learner types it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from osawslab import Lab
from osawslab.cloud.openstack import parts
from osawslab.cloud.openstack.accounts import SERVICES
from osawslab.errors import StepNotReady
from osawslab.steps import openstack_install


def openstack(name: str, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(Path(sys.executable).parent / "osawslab"), "openstack", "--name", name, *words],
        env={**os.environ, **environ}, capture_output=True, text=True, timeout=300,
    )  # fmt: skip


def answer(lab: Lab, *words: str) -> object:
    done = openstack(lab.settings.name, *words, "-f", "json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_each_agent_is_alive(toured: Lab) -> None:
    agents = answer(toured, "network", "agent", "list")
    assert {each["Binary"] for each in agents} == set(parts.AGENTS)
    assert all(each["Alive"] for each in agents)


def test_every_api_answers(toured: Lab) -> None:
    assert answer(toured, "token", "issue")["id"]
    kinds = {each["Type"] for each in answer(toured, "catalog", "list")}
    assert kinds >= {"identity", *(kind for kind, _ in SERVICES.values())}
    vm = answer(toured, "server", "show", toured.settings.vm_name)
    assert vm["status"] == "ACTIVE"
    assert toured.settings.vm_address in str(vm["addresses"])
    assert answer(toured, "image", "list")


def test_its_status_and_its_words_are_handed_on(toured: Lab) -> None:
    done = openstack(toured.settings.name, "server", "show", "nobody")
    assert done.returncode == 1
    assert "nobody" in done.stderr
    assert done.stdout == ""


def test_an_image_goes_there_and_comes_back(toured: Lab, tmp_path: Path) -> None:
    """Bodies of some megabytes, in both directions; the client sends and reads in pieces."""
    sent, received = tmp_path / "sent", tmp_path / "received"
    sent.write_bytes(os.urandom(5 * 10**6))
    answer(toured, "image", "create", "--file", str(sent), "--disk-format", "raw", "there")
    try:
        name = toured.settings.name
        done = openstack(name, "image", "save", "--file", str(received), "there")
        assert done.returncode == 0, done.stderr
        assert received.read_bytes() == sent.read_bytes()
    finally:
        openstack(toured.settings.name, "image", "delete", "there")


def test_nothing_of_the_callers_leads_elsewhere(toured: Lab, tmp_path: Path) -> None:
    clouds = tmp_path / ".config" / "openstack" / "clouds.yaml"
    clouds.parent.mkdir(parents=True)
    clouds.write_text("clouds: {real: {auth: {auth_url: 'http://203.0.113.99:5000/v3'}}}\n")
    planted = {"OS_CLOUD": "real", "OS_AUTH_URL": "http://203.0.113.99", "no_proxy": "*"}
    name = toured.settings.name
    done = openstack(name, "token", "issue", HOME=str(tmp_path), **planted)
    assert done.returncode == 0, done.stderr


def test_the_password_is_in_no_arguments_and_no_words(toured: Lab) -> None:
    password = openstack_install.secrets(toured.host())["ADMIN_PASSWORD"]
    done = openstack(toured.settings.name, "--", "--debug", "configuration", "show")
    assert done.returncode == 0
    assert re.search("auth_url", done.stdout)
    assert password not in done.stdout + done.stderr
    with toured.openstack() as found:
        assert found["OS_PASSWORD"] == password
        arguments = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline")]
    assert not [each for each in arguments if password.encode() in each]


def test_where_no_openstack_is_it_says_so(toured: Lab) -> None:
    assert openstack("nobodys", "token", "issue").returncode == 2
    with Lab("by-hand", cloud="handbuilt") as lab:
        assert lab.provision().ok
        with pytest.raises(StepNotReady, match="no OpenStack runs") as error, lab.openstack():
            pass
        assert 'cloud = "openstack"' in error.value.next
