"""binder/ is what repo2docker finds and uses: its own dry run, without Docker."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from osawslab.region import machine

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def dockerfile(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The Dockerfile that repo2docker makes of a clone."""
    clone = tmp_path_factory.mktemp("clone") / "repo"
    names = ("binder", "osawslab", "notebooks", "pyproject.toml", "README.md", "LICENSE")
    clone.mkdir()
    for name in names:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, clone / name)
        else:
            shutil.copy(source, clone / name)
    program = Path(sys.executable).with_name("jupyter-repo2docker")
    done = subprocess.run(
        [program, "--no-build", "--debug", clone], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_repo2docker_uses_binder_and_its_python(dockerfile: str) -> None:
    assert "binder/postBuild" in dockerfile
    assert re.search(r"python.?3\.12|3\.12", dockerfile)


def test_every_package_that_is_installed_on_a_machine_is_in_the_image(dockerfile: str) -> None:
    present = ("util-linux",)  # in every image
    for need in machine.NEEDS:
        if not need.unpack and need.package not in present:
            assert re.search(rf"(?<!\S){re.escape(need.package)}(?!\S)", dockerfile), need.package
