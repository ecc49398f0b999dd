"""The wheel: complete without the checkout, notebooks included. Needs a package index to build."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from box import ssh_config

from osawslab import Lab
from osawslab.cloud.handbuilt import names

ROOT = Path(__file__).resolve().parent.parent
SHOW = "import osawslab, osawslab.workbook as w; print(osawslab.__file__, w.source(), sep='\\n')"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q", "wheel"]
    subprocess.run([*pip, "--no-deps", "--wheel-dir", str(folder), str(ROOT)], check=True)
    [made] = folder.glob("osawslab-*.whl")
    return made


@pytest.fixture(scope="module")
def installed(wheel: Path) -> Path:
    """Install it; the libraries it stands on are those of this environment."""
    folder = wheel.parent / "installed"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q", "install"]
    subprocess.run([*pip, "--no-deps", "--target", str(folder), str(wheel)], check=True)
    return folder


def run(installed: Path, *words: str, status: int = 0) -> str:
    environ = {**os.environ, "PYTHONPATH": str(installed)}  # before the checkout
    done = subprocess.run(
        [sys.executable, "-P", *words], cwd=installed, env=environ, capture_output=True, text=True
    )
    assert done.returncode == status, done.stderr
    return done.stdout


def test_it_has_every_file_of_the_package_and_every_notebook(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    code = {str(path.relative_to(ROOT)) for path in (ROOT / "osawslab").rglob("*.*")}
    notebooks = {f"osawslab/_notebooks/{path.name}" for path in ROOT.glob("notebooks/*.ipynb")}
    wanted = {name for name in code if "__pycache__" not in name} | notebooks
    assert len(wanted) > 60
    assert wanted <= names
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_its_notebooks_are_its_own(installed: Path) -> None:
    package, notebooks = map(Path, run(installed, "-c", SHOW).splitlines())
    assert package.is_relative_to(installed)
    assert notebooks == package.parent / "_notebooks"


@pytest.mark.kernel
def test_the_tour_runs_from_it(installed: Path, home: Path) -> None:
    program = ("-m", "osawslab.cli")
    try:
        told = json.loads(run(installed, *program, "tour", "--json", "--name", "wheel"))
        diagnosed(installed, home)
    finally:
        run(installed, *program, "down", "--name", "wheel")
    assert told["ok"] is True
    assert told["proof"]["published"]["hostname"] == "vm1"


def diagnosed(installed: Path, home: Path) -> None:
    """Diagnose the lab's instance as a stranger's host: sound, then with another MAC."""
    with Lab("wheel") as lab, pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
            patch.setenv(name, os.devnull)
        config, facts = ssh_config(lab, home), lab._site().read_ec2()
        words = ("-m", "osawslab.cli", "diagnose", "--ssh", "box", "--ssh-config", str(config))
        found = json.loads(run(installed, *words, "--json"))
        assert (found["ok"], found["where"], found["cause"]) == (True, "box", None)
        called = names("wheel", lab.settings.vm_name)
        port = f"ip -n {called.router_netns} link set {called.gateway} address"
        lab.host().run(f"{port} fa:16:3e:00:00:07")
        found = json.loads(run(installed, *words, "--json", status=1))
        assert found["cause"]["station"] == "gateway-mac"
        assert found["cause"]["mend"].startswith(f"sudo {port} {facts.registered_mac}")
        assert all(each["command"] for each in found["cause"]["evidence"])
