"""The same notebooks, unchanged, with the real OpenStack below them."""

from __future__ import annotations

from pathlib import Path

import pytest
from chapters import NOTEBOOKS, run

from osawslab import Lab
from osawslab.cloud.openstack.parts import SECRET_NAMES
from osawslab.steps import openstack_install

NAMES = [path.name for path in sorted(NOTEBOOKS.glob("[0-7]*.ipynb"))]
LAST = pytest.param("80-make-it-last.ipynb", marks=pytest.mark.lasting)  # it reboots the instance


@pytest.mark.parametrize("name", [*NAMES, LAST])
def test_it_runs_and_its_checks_hold(
    name: str, toured: Lab, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OSAWSLAB_NAME", toured.settings.name)
    monkeypatch.setenv("OSAWSLAB_CLOUD", "openstack")
    secrets = openstack_install.secrets(toured.host())
    run(name, home, [secrets[each] for each in SECRET_NAMES])
