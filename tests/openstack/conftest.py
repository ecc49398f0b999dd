"""One lab with a real OpenStack for all tests here: they follow one another in it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from osawslab import Lab
from osawslab.testing import fresh_home


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Install before all else, and put the dashboard behind what holds a lab without it."""
    items.sort(
        key=lambda item: (
            item.path.name == "test_dashboard.py",
            item.path.name != "test_install.py" and item.path.parent.name == "openstack",
        )
    )


@pytest.fixture(scope="session")
def home() -> Iterator[Path]:
    """Give a home of its own; its regions end with it."""
    if os.geteuid():
        pytest.fail("NOT RUN: an instance that is a whole operating system needs root")
    with fresh_home() as folder, pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield folder


@pytest.fixture(scope="session")
def lab(home: Path) -> Iterator[Lab]:
    """Give the lab; nothing is made before a test makes it.

    It starts from the image of an earlier run where the cache has one of this very installer.
    """
    with Lab("real", cloud="openstack") as made:
        yield made


@pytest.fixture(scope="session")
def toured(lab: Lab) -> Lab:
    """Give the lab at the end of the tutorial."""
    for step in lab.steps:
        assert lab.run(step).ok
    return lab
