"""The end, by its notebook: after all other tests, for nothing is left then."""

from __future__ import annotations

from pathlib import Path

import pytest
from chapters import run

from osawslab import Lab
from osawslab.cloud.openstack.parts import SECRET_NAMES
from osawslab.steps import openstack_install


def test_the_last_notebook_leaves_nothing(
    toured: Lab, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OSAWSLAB_NAME", toured.settings.name)
    monkeypatch.setenv("OSAWSLAB_CLOUD", "openstack")
    secrets = openstack_install.secrets(toured.host())
    run("90-tear-down.ipynb", home, [secrets[each] for each in SECRET_NAMES])
    assert toured.check("tear_down")
    assert [row[0] for row in toured.status().rows if row[0] == "instance"] == []
