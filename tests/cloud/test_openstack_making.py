"""A VM that Nova cannot boot, and one that boots and says nothing: what is told, and what next."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from osawslab.cloud.openstack import making
from osawslab.cloud.openstack.making import Deed, Maker
from osawslab.cloud.openstack.project import Project
from osawslab.errors import LabError, LabTimeout, StepFailed, StepNotReady
from osawslab.settings import Settings

SETTINGS = Settings(cloud="openstack")
KEY = "guest: host key ssh-ed25519 AAAAC3\nguest: ready, vm1, 192.168.20.5\n"


def server(status: str, **more: Any) -> SimpleNamespace:
    return SimpleNamespace(id="s-1", name="vm1", status=status, **more)


class Nova:
    """A Nova whose server goes through these states, one at each look, and says this."""

    def __init__(self, *states: str, says: str = "", fault: str = "") -> None:
        self.states, self.says, self.fault = list(states), says, fault
        self.asked: list[str] = []

    def create_server(self, **_: Any) -> SimpleNamespace:
        self.asked.append("create")
        return server("BUILD")

    def start_server(self, _: Any) -> None:
        self.asked.append("start")

    def delete_server(self, _: Any) -> None:
        self.asked.append("delete")

    def wait_for_delete(self, *_: Any, **__: Any) -> None:
        self.asked.append("gone")

    def get_server(self, _: str) -> SimpleNamespace:
        return server(
            self.states.pop(0), **({"fault": {"message": self.fault}} if self.fault else {})
        )

    def get_server_console_output(self, _: Any) -> dict[str, str]:
        return {"output": self.says}


def deeds(nova: Nova, found: SimpleNamespace | None = None, **more: Any) -> list[Deed]:
    """List the last deeds of a lab that lacks its VM alone: the VM, and that it is up."""
    there = dict.fromkeys(Project.__dataclass_fields__, SimpleNamespace(id="x"))
    rules = tuple(SimpleNamespace(**rule) for rule in making.RULES)
    own = {"rules": rules, "server": found, "console": "", "floating": ()}
    project = Project(**{**there, **own, **more})
    network = SimpleNamespace(find_port=lambda _: SimpleNamespace(id="x"))
    cloud = SimpleNamespace(compute=nova, network=network)
    return list(Maker(cloud, SETTINGS, project, "ssh-ed25519 AAAA").deeds())


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(making, "PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(making, "VM_SECONDS", 0.05)


def told(deed: Deed, kind: type[LabError]) -> LabError:
    with pytest.raises(kind) as caught:
        deed.do()
    return caught.value


@pytest.mark.parametrize("fault", ["No valid host was found. ", ""])
def test_one_that_nova_cannot_boot_is_told_with_novas_words(fault: str) -> None:
    boot, _ = deeds(Nova("BUILD", "ERROR", fault=fault))
    error = told(boot, StepFailed)
    assert "Nova could not boot vm1" in error.what
    assert error.seen == (fault or "status ERROR")
    assert error.next == 'lab.check("install_cloud")'


def test_one_in_error_is_made_once_more() -> None:
    nova = Nova("ACTIVE", says=KEY)
    boot, up = deeds(nova, server("ERROR"))
    boot.do()
    up.do()
    assert nova.asked == ["delete", "gone", "create"]


def test_one_that_is_off_is_started() -> None:
    nova = Nova("ACTIVE")
    deeds(nova, server("SHUTOFF"))[0].do()
    assert nova.asked == ["start"]


def test_one_that_is_never_active_is_told() -> None:
    nova = Nova(*["BUILD"] * 10**6)
    error = told(deeds(nova)[0], LabTimeout)
    assert error.seen == "status BUILD"
    assert error.next == "openstack server show vm1"


@pytest.mark.parametrize(
    ("says", "seen"),
    [
        ("", "nothing on its console"),
        ("one\n\ntwo\nthree\nKernel panic - not syncing\n", "two / three / Kernel panic"),
        (KEY.splitlines()[0], "guest: host key"),
    ],
)
def test_one_that_says_nothing_is_told_with_its_last_words(says: str, seen: str) -> None:
    """Nova has it as active, so that the same would be waited for again: another one is made."""
    nova = Nova(says=says)
    [up] = deeds(nova, server("ACTIVE"))
    error = told(up, LabTimeout)
    assert "vm1 does not come up" in error.what
    assert error.seen.startswith(seen)
    assert 'lab.reset("networks")' in error.next
    assert nova.asked == []


def test_without_an_image_there_is_nothing_to_boot() -> None:
    boot, _ = deeds(Nova(), image=None)
    assert told(boot, StepNotReady).next == "lab.install_cloud()"
