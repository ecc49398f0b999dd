"""The parts of `test`: which run, what one says that cannot, and the exit status."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable

import pytest

from osawslab import testing
from osawslab.errors import BadSetting
from osawslab.region import machine


def part(answer: str) -> object:
    def do(run: testing.Run) -> str:
        if answer == "not here":
            raise testing.NotRun(answer)
        return answer

    return do


@pytest.mark.parametrize(
    ("answers", "status"),
    [
        (["", ""], 0),
        (["", "not here"], 3),
        (["see above", "not here"], 1),
    ],
)
def test_the_status_says_the_worst(
    answers: list[str], status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    parts = dict(zip(("lint", "unit"), map(part, answers), strict=True))
    monkeypatch.setattr(testing, "PARTS", parts)
    assert testing.main([], json=True) == status
    out, err = capsys.readouterr()
    assert [each["why"] for each in json.loads(out)["parts"]] == answers
    assert err.count("NOT RUN unit: not here") == answers.count("not here")


def test_the_whole_machines_run_beside_the_others_and_speak_last(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    meets = threading.Barrier(2, timeout=20)
    begun: list[str] = []
    wait = False

    def told(name: str) -> Callable[[testing.Run], str]:
        def run(run: testing.Run) -> str:
            begun.append(name)
            if wait and name != "browser":
                meets.wait()
            return "" if run("echo", f"said by {name}") == 0 else "no echo"

        return run

    parts = {name: told(name) for name in ("unit", "browser", "openstack")}
    monkeypatch.setattr(testing, "PARTS", parts)
    assert testing.main(["openstack", "browser"], json=False) == 0
    assert "said by browser\n" in capfd.readouterr().out  # by themselves: nobody speaks last
    begun.clear()
    wait = True
    assert testing.main([], json=False) == 0
    assert set(begun[:2]) == {"openstack", "unit"}  # the browser waits for the whole machines
    out, err = capfd.readouterr()
    assert out == "said by unit\n"
    assert "said by openstack\nsaid by browser\n" in err


def test_a_browser_that_is_missing_is_not_run_and_its_package_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(machine, "TEST_NEEDS", {"browser": {"some-browser": "no/such/file"}})
    with pytest.raises(testing.NotRun, match=r"sudo apt-get install .* some-browser"):
        testing.browser(testing.Run(json=False))


@pytest.mark.parametrize(
    ("parts", "chosen"),
    [
        ([], "lint types unit tour nbval browser clients openstack"),
        (["unit", "all"], "lint types unit tour nbval browser clients openstack"),
        (["nbval", "lint", "nbval"], "nbval lint"),
        (["tempest"], "tempest"),
        (["tempest", "all"], "lint types unit tour nbval browser clients openstack tempest"),
    ],
)
def test_all_parts_run_unless_some_are_named(parts: list[str], chosen: str) -> None:
    assert testing.chosen(parts) == tuple(chosen.split())


@pytest.mark.parametrize(
    ("user", "packages", "there", "said"),
    [
        (1000, {}, True, "needs root"),
        (0, {"some-package": "no/such/file"}, True, "some-package"),
        (0, {}, False, r"-m pip install -e '\.\[tempest\]'"),
    ],
)
def test_tempest_that_cannot_run_says_what_is_missing(
    user: int, packages: dict[str, str], there: bool, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(testing.os, "geteuid", lambda: user)
    monkeypatch.setattr(machine, "TEST_NEEDS", {"openstack": packages})
    monkeypatch.setattr(testing.importlib.util, "find_spec", lambda _: "here" if there else None)
    with pytest.raises(testing.NotRun, match=said):
        testing.tempest(testing.Run(json=False))


def test_a_part_that_does_not_exist_is_said() -> None:
    with pytest.raises(BadSetting, match="there is no part 'units'"):
        testing.chosen(["unit", "units"])
