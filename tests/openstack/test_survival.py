"""What was made to last on the real OpenStack answers again after each event, by itself."""

from __future__ import annotations

from dataclasses import replace

import pytest

from osawslab import Lab, survival

[KIND] = [
    kind
    for kind in survival.KINDS
    if (kind.settings["cloud"], kind.strategy) == ("openstack", "swap")
]


@pytest.mark.lasting  # minutes, and it is timed: nothing else runs beside that part
@pytest.mark.parametrize("event", survival.REAL)
def test_the_vm_answers_again_within_a_minute_of_the_agents(event: str, toured: Lab) -> None:
    survival.mended(toured, True)
    kind = replace(KIND, events={event: survival.REAL[event]})
    [line] = survival.come_through(toured, kind, True)
    assert line.answers_again
    if event == survival.GATEWAY:
        assert line.seconds is None  # Neutron has refused it
    else:
        assert line.seconds is not None
        assert line.seconds - (line.agents_up or 0) <= 60
    toured.host().wait(60)
    for step in ("networks", "verify", "publish_vm", "make_it_last"):
        assert toured.check(step), step
