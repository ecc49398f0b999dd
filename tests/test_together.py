"""Work on many labs at once: one that fails ends no other, and Ctrl-C stops them all."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from osawslab import together
from osawslab.errors import StepFailed
from osawslab.together import Stoppable, at_once

NAMES = [f"seat-{number:02d}" for number in range(1, 3 * together.AT_ONCE + 1)]
SECONDS = 20


def test_one_that_fails_ends_no_other_and_no_more_than_so_many_work_at_once() -> None:
    began, most, said = list[str](), 0, list[str]()
    go_on = threading.Event()

    def work(name: str, progress: Stoppable) -> None:
        nonlocal most
        began.append(name)
        if len(began) == together.AT_ONCE:
            go_on.wait(0.3)  # one more would begin meanwhile
            most = len(began)
            go_on.set()
        assert go_on.wait(SECONDS)
        if name == "seat-03":
            raise StepFailed("broken")

    went = at_once(NAMES, work, said.append)
    assert [name for name, (error, _) in went.items() if error] == ["seat-03"]
    assert sorted(went) == NAMES
    assert most == together.AT_ONCE
    assert sorted(line.partition(":")[0] for line in said) == NAMES


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_error_that_is_none_of_ours_is_told_too() -> None:
    def work(name: str, progress: Stoppable) -> None:
        if name != "seat-02":
            raise ZeroDivisionError

    went = at_once(NAMES, work, lambda _: None)
    assert [name for name, (error, _) in went.items() if not error] == ["seat-02"]


def test_ctrl_c_stops_each_before_its_next_action_and_begins_no_other() -> None:
    began, stopped = list[str](), list[str]()
    all_at_work = threading.Barrier(together.AT_ONCE)

    def work(name: str, progress: Stoppable) -> None:
        began.append(name)
        if all_at_work.wait(SECONDS) == 0:
            os.kill(os.getpid(), signal.SIGINT)
        try:
            while True:
                progress.action("a call")
                time.sleep(0.01)
        except StepFailed:
            stopped.append(name)
            raise

    with pytest.raises(KeyboardInterrupt):
        at_once(NAMES, work, lambda _: None)
    assert sorted(began) == sorted(stopped)
    assert len(began) == together.AT_ONCE
