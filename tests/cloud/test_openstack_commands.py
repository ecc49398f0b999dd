"""What the lab shows as `openstack …` is what OpenStack's own client takes."""

from __future__ import annotations

import dataclasses
import re
import shlex
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest
from osc_lib.command.commandmanager import CommandManager

from osawslab.cloud.openstack import accounts, unmaking
from osawslab.cloud.openstack.making import Maker
from osawslab.cloud.openstack.project import Project
from osawslab.settings import Settings

GROUPS = (
    "openstack.cli", "openstack.common", "openstack.identity.v3", "openstack.network.v2",
    "openstack.compute.v2", "openstack.image.v2",
)  # fmt: skip


def project(value: Any) -> Project:
    """Give a project in which everything is there, or nothing."""
    names = [field.name for field in dataclasses.fields(Project)]
    return Project(**{**dict.fromkeys(names, value), "rules": (), "floating": (), "console": ""})


def shown() -> list[str]:
    """List all commands: those that make, that unmake, and the accounts'."""
    thing = SimpleNamespace(name="a", id="b", status="ACTIVE")
    deeds = [
        *Maker(None, Settings(), project(None), "ssh-ed25519 AAAA").deeds(),
        *unmaking.unmake(MagicMock(), project(thing)),
    ]
    text = "\n".join([*(deed.command for deed in deeds), accounts.commands("172.16.10.101")])
    return [part.strip() for part in re.split(r"\n|&&|;", text)]


@pytest.fixture(scope="module")
def client() -> CommandManager:
    made = CommandManager(GROUPS[0])
    for group in GROUPS[1:]:
        made.add_command_group(group)
    return made


def test_there_are_some() -> None:
    assert len(shown()) > 30


@pytest.mark.parametrize("command", dict.fromkeys(shown()))
def test_the_client_takes_it(command: str, client: CommandManager) -> None:
    program, *words = shlex.split(command)
    assert program == "openstack"
    factory, name, rest = client.find_command(words)
    app = MagicMock()
    app.client_manager.is_network_endpoint_enabled.return_value = True
    parser = factory(app, None).get_parser(name)
    parser.parse_args(rest)
