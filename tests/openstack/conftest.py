"""One lab with a real OpenStack for all tests here: they follow one another in it."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from osawslab import Lab
from osawslab.errors import LabError
from osawslab.testing import fresh_home


@pytest.hookimpl(trylast=True)  # pytest puts together what shares a fixture, whatever the order was
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Install before all else, and put the dashboard behind what holds a lab without it.

    What kills agents and reboots comes late, and last of all the end of the lab.
    """
    items.sort(
        key=lambda item: (
            item.path.name == "test_tear_down.py" and item.path.parent.name == "openstack",
            item.path.parent.name == "openstack" and item.path.name == "test_survival.py",
            item.path.name == "test_dashboard.py",
            item.path.name != "test_install.py" and item.path.parent.name == "openstack",
        )
    )


SEEN = """
router=$(ip netns list | grep -o 'qrouter-[^ ]*')
ip netns exec "$router" ping -n -c 1 -W 2 192.168.20.5
ip -n "$router" addr; ip -n "$router" neigh; ip netns exec "$router" iptables-save -t nat
ovs-vsctl show; ovs-appctl fdb/show br-example
tail -n 3 /var/log/neutron/*agent.log
tail -c 300 /var/lib/nova/instances/*/console.log
ps -eo pid,stat,args | grep qemu- | cut -c 1-80 || true
"""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Say with a failure how the lab was: it is gone when somebody reads of it."""
    report = yield
    lab = getattr(item, "funcargs", {}).get("lab")
    if report.failed and isinstance(lab, Lab):
        for name, told in (("diagnosis", lab.diagnose), ("seen", lambda: lab.shell(SEEN))):
            try:
                report.sections.append((name, str(told())))
            except LabError as error:
                report.sections.append((name, str(error)))
    return report


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
