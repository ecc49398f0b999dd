"""binder/ is what repo2docker finds and uses: its own dry run, without Docker."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import docker_filter
import pytest

from osawslab import Lab
from osawslab.errors import BadSetting
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


# https://packages.ubuntu.com/noble/NAME: what repo2docker's base image (Ubuntu 24.04) can install.
NOBLE = {
    "dropbear-bin", "ethtool", "iproute2", "iptables", "iputils-ping", "macchanger", "net-tools",
    "nftables", "openssh-client", "tcpdump",
}  # fmt: skip


def test_the_names_are_those_of_the_base_image(dockerfile: str) -> None:
    from repo2docker.app import Repo2Docker

    assert Repo2Docker.base_image.default_value == "docker.io/library/buildpack-deps:24.04"
    assert {*(ROOT / "binder" / "apt.txt").read_text().split()} == NOBLE


def test_the_start_is_binder_s_entry(dockerfile: str) -> None:
    assert re.search(r"R2D_ENTRYPOINT.*binder/start", dockerfile)
    assert "binder/container" not in dockerfile  # a Dockerfile in binder/ itself would be taken


def started(folder: Path, works: bool, **environ: str) -> dict[str, str]:
    """Run binder/start with a Python that finds a tier, or none; the environment it leaves."""
    python = folder / "python"
    python.write_text(f"#!/bin/sh\nexit {0 if works else 1}\n")
    python.chmod(0o755)
    done = subprocess.run(
        [ROOT / "binder" / "start", "env", "-0"],
        env={"PATH": f"{folder}:/usr/bin:/bin", **environ},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return dict(each.split("=", 1) for each in done.stdout.split("\0") if each)


@pytest.mark.parametrize(
    ("works", "given", "target", "public"),
    [
        (True, {}, None, "a public Binder"),
        (False, {}, "replay", "a public Binder"),
        (False, {"OSAWSLAB_TARGET": "local", "OSAWSLAB_PUBLIC": ""}, "local", ""),
    ],
)
def test_the_start_picks_the_place(
    works: bool, given: dict[str, str], target: str | None, public: str, tmp_path: Path
) -> None:
    left = started(tmp_path, works, **given)
    assert left.get("OSAWSLAB_TARGET") == target
    assert left["OSAWSLAB_PUBLIC"] == public


def test_where_docker_forbids_namespaces_the_start_picks_a_kernel_of_its_own(
    tmp_path: Path,
) -> None:
    done = subprocess.run(
        [sys.executable, docker_filter.__file__, "--uid-0", ROOT / "binder/start", "env", "-0"],
        env={
            "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
            "HOME": str(tmp_path),
            "OSAWSLAB_PUBLIC": "",
        },
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    said, _, left = done.stdout.partition("\n")
    assert said == "tier: uml"
    assert "OSAWSLAB_TARGET=" not in left


def test_every_image_is_prepared_alike(dockerfile: str) -> None:
    """Binder's and the container's: packages unpacked, JupyterLab set up, notebooks trusted."""
    build = (ROOT / "binder" / "postBuild").read_text().splitlines()
    container = (ROOT / "binder" / "container" / "Dockerfile").read_text()
    assert build[-1] == "binder/prepare notebooks"
    runs = [words for name, words in instructions(container) if name == "RUN"]
    assert runs[-1] == "/opt/osawslab/prepare /home/learner/notebooks"
    for folder in ("clinic", "experiments"):
        assert f"source/notebooks/{folder}" in runs[1]
    for part in (*build[3:-1], *runs[1:]):
        assert "python -c" not in part  # what one has alone, the other lacks


def test_an_image_is_prepared_with_all_its_notebooks_trusted(tmp_path: Path) -> None:
    python = tmp_path / "bin/python"
    python.parent.mkdir()
    log = tmp_path / "log"
    python.write_text(
        f'#!/bin/sh\necho "$2" >> {log}\ncase "$2" in *prefix*) echo {tmp_path};;'
        " *JUPYTER*) echo settings;; esac\n"
    )
    trust = tmp_path / "bin/jupyter"
    trust.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >> {tmp_path}/trusted\n')
    python.chmod(0o755)
    trust.chmod(0o755)
    subprocess.run(
        [ROOT / "binder" / "prepare", ROOT / "notebooks"],
        env={"PATH": f"{python.parent}:/usr/bin:/bin"}, check=True,
    )  # fmt: skip
    assert {"machine.unpack()", "uml.unpack()"} <= {*log.read_text().split()}
    overrides = tmp_path / "share/jupyter/lab/settings/overrides.json"
    assert overrides.read_text() == "settings\n"
    trusted = {*(tmp_path / "trusted").read_text().split()} - {"trust"}
    assert trusted == {str(path) for path in (ROOT / "notebooks").rglob("*.ipynb")}


def test_a_public_machine_takes_no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OSAWSLAB_PUBLIC", "a public Binder")
    with pytest.raises(BadSetting, match="could read your keys") as caught:
        Lab(target="aws").status()
    assert caught.value.seen == "a public Binder"


def instructions(text: str) -> list[tuple[str, str]]:
    """Read a Dockerfile: each instruction with its words, continued lines joined."""
    joined = re.sub(r"\\\n\s*", "", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE))
    return [(line.split()[0], line.partition(" ")[2]) for line in joined.splitlines() if line]


def test_the_image_needs_no_privileges_and_has_all_packages() -> None:
    found = instructions((ROOT / "binder" / "container" / "Dockerfile").read_text())
    names = [name for name, _ in found]
    known = {"FROM", "RUN", "USER", "COPY", "ENV", "WORKDIR", "EXPOSE", "ENTRYPOINT", "CMD"}
    assert {*names} <= known
    assert names[0] == "FROM"
    users = [words for name, words in found if name == "USER"]
    assert users == ["learner"]
    root = found[: names.index("USER")]
    assert [name for name, _ in root] == ["FROM", "RUN"]  # root installs packages, and no more
    for need in machine.NEEDS:
        if not need.unpack:
            assert re.search(rf"(?<!\S){re.escape(need.package)}(?!\S)", root[1][1]), need.package
    for name, words in found:
        assert "sudo" not in words
        assert "--security" not in words
        if name == "COPY":
            assert words.startswith("--chown=learner:learner ")
            for source in words.split()[1:-1]:
                assert (ROOT / source).exists()
        if name in ("ENTRYPOINT", "CMD"):
            assert all(isinstance(each, str) for each in json.loads(words))
    assert "notebooks/00-start.ipynb" in dict(found)["CMD"]


# Property -> type, of https://containers.dev/implementors/json_schema (base schema).
SCHEMA = {
    "name": str, "build": dict, "remoteUser": str, "forwardPorts": list, "portsAttributes": dict,
    "postStartCommand": str, "customizations": dict,
}  # fmt: skip
ON_FORWARD = ("notify", "openBrowser", "openBrowserOnce", "openPreview", "silent", "ignore")


def test_the_devcontainer_is_what_its_schema_knows() -> None:
    folder = ROOT / ".devcontainer"
    told = json.loads((folder / "devcontainer.json").read_text())
    assert {name: type(value) for name, value in told.items()} == SCHEMA
    assert (folder / told["build"]["dockerfile"]).is_file()
    assert (folder / told["build"]["context"]).resolve() == ROOT
    assert all(type(port) is int for port in told["forwardPorts"])
    for port, attributes in told["portsAttributes"].items():
        assert int(port) in told["forwardPorts"]
        assert attributes["onAutoForward"] in ON_FORWARD
    [opened] = told["customizations"]["codespaces"]["openFiles"]
    assert (ROOT / opened).is_file()
    for word in ("privileged", "capAdd", "securityOpt", "runArgs"):
        assert word not in told


@pytest.mark.parametrize(("works", "mine"), [(True, False), (False, False), (False, True)])
def test_a_codespace_picks_the_place_and_keeps_a_lab_toml(
    works: bool, mine: bool, tmp_path: Path
) -> None:
    told = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text())
    (tmp_path / "python").write_text(f"#!/bin/sh\nexit {0 if works else 1}\n")
    (tmp_path / "python").chmod(0o755)
    (tmp_path / "notebooks").mkdir()
    file = tmp_path / "notebooks" / "lab.toml"
    if mine:
        file.write_text("vm_name = 'web'\n")
    path = f"{tmp_path}:{os.environ['PATH']}"
    words = ["sh", "-c", told["postStartCommand"]]
    subprocess.run(words, cwd=tmp_path, env={"PATH": path}, check=True)
    left = file.read_text() if file.exists() else ""
    assert left == ("vm_name = 'web'\n" if mine else "" if works else 'target = "replay"\n')


def test_the_badges_open_the_first_notebook() -> None:
    readme = (ROOT / "README.md").read_text()
    assert re.search(
        r"https://mybinder\.org/v2/gh/\S+\?urlpath=lab/tree/notebooks/00-start\.ipynb", readme
    )
    assert re.search(r"https://codespaces\.new/\S+\?quickstart=1", readme)
