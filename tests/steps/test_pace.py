"""How long is left: known only from runs that ended, and written whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from osawslab.steps.pace import Pace


def test_what_was_kept_is_known_to_the_next_run(tmp_path: Path) -> None:
    pace = Pace(tmp_path / "pace.json")
    with pace.timed("networks", "soon"):
        pass
    pace.keep()
    assert not pace.file.exists()  # nothing took long enough to tell
    pace.known["networks: a VM"] = 40.0
    pace.keep()
    again = Pace(tmp_path / "pace.json")
    assert again.left("networks", ["soon", "a VM"]) == " (about 40 s left, by the last run)"
    assert again.left("networks", ["soon"]) == ""
    assert again.left("networks", ["a VM", "never done"]) == ""
    assert [path.name for path in tmp_path.iterdir()] == ["pace.json"]


def test_an_action_that_fails_is_not_counted(tmp_path: Path) -> None:
    pace = Pace(tmp_path / "pace.json")
    with pytest.raises(ZeroDivisionError), pace.timed("networks", "a VM"):
        raise ZeroDivisionError
    assert pace.known == {}


@pytest.mark.parametrize("text", ["", "[]", "{", '{"a": "b"}', "7"])
def test_a_broken_file_is_none(text: str, tmp_path: Path) -> None:
    (tmp_path / "pace.json").write_text(text)
    assert Pace(tmp_path / "pace.json").known == {}
