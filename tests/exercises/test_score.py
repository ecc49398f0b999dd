"""What a learner has found, as a tag."""

from __future__ import annotations

from dataclasses import replace

from osawslab.exercises import score


def test_it_is_written_and_read() -> None:
    new = score.begin("nic-down+dnat-missing", 12, 2)
    assert (new.state, new.mended, new.done) == ("broken", False, False)
    later = replace(new, found=(True, False), hints=(0, 3), wrong=4)
    assert score.read(score.write([new, later])) == (new, later)
    ended = replace(later, minutes=7, began=0)
    assert score.read(str(ended)) == (ended,)
    assert ended.state == "mended, not all named"
    assert ended.row == (
        "nic-down+dnat-missing", "12", "1 of 2", "3", "4", "mended, not all named", "7 min",
    )  # fmt: skip
    assert replace(ended, found=(True, True)).state == "done"


def test_what_is_no_entry_is_left_out() -> None:
    assert score.read("router.1.0.2.0.x a.b router.1.00.0.0.5 ;;; ") == ()


def test_one_exercise_has_one_entry_and_keeps_its_place() -> None:
    one, two = score.begin("router", 1, 1), score.begin("wire", 1, 1)
    found = score.noted(score.noted((one,), two), replace(one, wrong=2))
    assert [(each.exercise, each.wrong) for each in found] == [("router", 2), ("wire", 0)]


def test_a_tag_holds_256_characters_and_none_that_ec2_may_refuse() -> None:
    many = [score.begin(f"exercise-{at}", 1, 2) for at in range(20)]
    text = score.write(many)
    assert len(text) <= score.LONGEST
    assert score.read(text)[-1] == many[-1]
    assert set(text) <= set("abcdefghijklmnopqrstuvwxyz0123456789+-. ")
