"""How long is left: known only from runs that ended, and written whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from osawslab.steps.pace import Pace


def take(pace: Pace, why: str, seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have an action take that long."""
    clock = iter((0.0, seconds))
    with monkeypatch.context() as patch:
        patch.setattr("osawslab.steps.pace.time.monotonic", lambda: next(clock))
        with pace.timed("networks", why):
            pass


def test_what_was_kept_is_known_to_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pace, other = (Pace(tmp_path / "pace.json") for _ in range(2))
    take(pace, "soon", 0.5, monkeypatch)
    pace.keep()
    assert not pace.file.exists()  # nothing took long enough to tell
    take(pace, "a VM", 40.0, monkeypatch)
    pace.keep()
    again = Pace(tmp_path / "pace.json")
    assert again.left("networks", ["soon", "a VM"]) == " (about 40 s left, by the last run)"
    assert again.left("networks", ["soon"]) == ""
    assert again.left("networks", ["a VM", "never done"]) == ""
    take(other, "a router", 20.0, monkeypatch)
    other.keep()
    last = Pace(tmp_path / "pace.json")
    assert last.left("networks", ["a VM", "a router"]) == " (about 60 s left, by the last run)"
    assert [path.name for path in tmp_path.iterdir()] == ["pace.json"]


def test_an_action_that_fails_is_not_counted(tmp_path: Path) -> None:
    pace = Pace(tmp_path / "pace.json")
    with pytest.raises(ZeroDivisionError), pace.timed("networks", "a VM"):
        raise ZeroDivisionError
    pace.keep()
    assert not pace.file.exists()


@pytest.mark.parametrize("text", ["", "[]", "{", '{"a": "b"}', "7"])
def test_a_broken_file_is_none(text: str, tmp_path: Path) -> None:
    (tmp_path / "pace.json").write_text(text)
    assert Pace(tmp_path / "pace.json").known == {}
