"""Regions and labs on this machine, in folders of their own; nothing is left of them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from osawslab.lab import Lab
from osawslab.testing import fresh_home

sys.path.insert(0, str(Path(__file__).parent / "kit"))

from wire import Net
from world import Box, World

# They begin first: else the last of them runs alone at the end.
LONG = (
    "test_confusion.py",
    "test_fetch.py",
    "test_idempotent.py",
    "test_make_it_last.py",
    "test_notebooks.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files first that take longest."""
    items.sort(key=lambda item: item.path.name not in LONG)


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """Give this module's tests a home of their own; its regions end with the module."""
    with fresh_home() as folder, pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)  # no lab.toml of the caller's
        yield folder


@pytest.fixture
def root() -> None:
    """Fail, rather than leave out, what only root can try."""
    if os.geteuid():
        pytest.fail("NOT RUN: only root can try this")


@pytest.fixture(scope="module")
def world(home: Path) -> World:
    """Give a region with an empty VPC, shared by the tests of a module."""
    return World("world")


@pytest.fixture(scope="module")
def net(world: World) -> Net:
    """Give that region three instances that answer, the first with an Elastic IP."""
    one, two, far = map(world.machine, ("172.16.10.101", "172.16.10.102", "172.16.20.103"))
    for each in (one, two, far):
        world.up(each)
    return Net(world, one, two, far, world.eip(one))


@pytest.fixture(scope="module")
def box(world: World) -> Box:
    """Give that region an instance with two NICs that lets us in."""
    first = world.machine("172.16.10.101")
    second = world.plug(first, world.b, "172.16.20.101")
    eip = world.eip(first)
    host = world.host(eip)
    host.wait(20)
    return Box(world, first, second, eip, host)


@pytest.fixture
def unchecked(net: Net) -> Iterator[None]:
    """Switch SourceDestCheck of the first instance off."""
    ec2 = net.world.ec2
    ec2.modify_network_interface_attribute(
        NetworkInterfaceId=net.one.nic, SourceDestCheck={"Value": False}
    )
    yield
    ec2.modify_network_interface_attribute(
        NetworkInterfaceId=net.one.nic, SourceDestCheck={"Value": True}
    )


@pytest.fixture
def new_lab(home: Path) -> Iterator[Callable[..., Lab]]:
    """Give a maker of Lab objects; their connections are closed at the end."""
    made: list[Lab] = []

    def make(name: str = "lab", **settings: Any) -> Lab:
        made.append(Lab(name, **settings))
        return made[-1]

    yield make
    for lab in made:
        lab.close()
