"""The offline folder: made with a network, and a whole tour from it without one."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from osawslab import environment, fetch
from osawslab.errors import BadSetting, MissingTool, StepFailed, StepNotReady
from osawslab.region import baked, machine, offline, rootfs, uml
from osawslab.testing import fresh_home

SPACE = ("--net",) if os.geteuid() == 0 else ("--map-root-user", "--net")
ALONE = ("unshare", *SPACE, "sh", "-c", 'ip link set lo up && exec "$@"', "sh")

QUICK = {"PIP_NO_COMPILE": "0"}  # pip reads it as the option's negation: nothing is compiled


def quiet(text: str) -> None:
    """Say nothing."""


def command(words: list[str], folder: Path, home: Path, **more: str) -> dict[str, Any]:
    """Run a program with nothing but a home, where no network is."""
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    done = subprocess.run(
        [*ALONE, *words], cwd=folder, env={"PATH": path, "HOME": str(home), **QUICK, **more},
        timeout=500, stdin=subprocess.DEVNULL, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:] + done.stdout[-1000:]
    return dict(json.loads(done.stdout))


@pytest.fixture(scope="module")
def carried(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the folder."""
    folder = tmp_path_factory.mktemp("class") / "lab"
    told = fetch.fetch(folder, False, quiet)
    assert told["folder"] == str(folder)
    assert told["bytes"] > 50_000_000
    return folder


def test_a_machine_without_a_network_sets_itself_up_from_it(carried: Path) -> None:
    with fresh_home() as home:
        try:
            found = command([sys.executable, "lab", "tour", "--json"], carried, home)
            assert found["ok"]
            assert found["proof"]["published"]["hostname"] == "vm1"
            ended = command([sys.executable, "lab", "down", "--json"], carried, home)
            assert ended["ok"]
            unpacked = home / ".cache" / "osawslab" / "debs" / machine.unpacked().name
            assert unpacked.is_dir() or all(map(shutil.which, ("ovs-vsctl", "ifup")))
        finally:
            shutil.rmtree(carried / ".venv", ignore_errors=True)


def test_its_packages_need_no_others(carried: Path, tmp_path: Path) -> None:
    (tmp_path / "status").touch()  # of a machine that has nothing
    options = offline.archive(tmp_path, carried / "offline" / "debs")
    empty = ("-o", f"Dir::State::status={tmp_path / 'status'}", "-o", f"Dir::Cache={tmp_path}")
    every = {*(need.package for need in machine.NEEDS), uml.PACKAGE, uml.DISKS}
    for words in (["update"], ["--simulate", "install", *every]):
        done = subprocess.run(
            ["apt-get", "-qq", *options, *empty, *words], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr


def test_the_kernel_for_where_namespaces_are_forbidden_comes_along(carried: Path) -> None:
    show = (
        "import json; from osawslab.region import uml;"
        " uml.unpack(); print(json.dumps({'root': str(uml.tree())}))"
    )
    with fresh_home() as home:
        (home / "status").touch()  # as where nothing is installed
        (home / "apt.conf").write_text(f'Dir::State::status "{home}/status";')
        more = {"PYTHONPATH": str(carried), "APT_CONFIG": str(home / "apt.conf")}
        found = command([sys.executable, "-P", "-c", show], carried, home, **more)
        tree = Path(found["root"])
        assert home in tree.parents
        assert os.access(tree / "usr/bin/linux.uml", os.X_OK)
        assert any((tree / "usr/lib/uml").rglob("veth.ko*"))


def test_a_run_that_was_cut_off_goes_on(carried: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("wheels", "debs"):
        monkeypatch.setattr(fetch, name, lambda *_: None)
    (carried / "offline" / "about.json").unlink()
    assert offline.images() == []
    assert fetch.fetch(carried, False, quiet)["images"] == []
    assert (carried / "offline" / "about.json").exists()


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(BadSetting, match="a new one"):
        fetch.fetch(tmp_path, False, quiet)
    assert [each.name for each in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a small checkout, with a key and what has been run in it, that nobody has committed."""
    folder = tmp_path / "checkout"
    for name in ("lab", "README.md", "LICENSE", "osawslab/lab.py", "notebooks/00.ipynb"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    (folder / "lab").chmod(0o755)
    shutil.copy(environment.CHECKOUT / "pyproject.toml", folder)
    for name in ("key.pem", "lab.toml", ".venv/bin/python", "osawslab/__pycache__/lab.pyc"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("mine")
    monkeypatch.setattr(fetch, "CHECKOUT", folder)
    return folder


OWN = ["LICENSE", "README.md", "lab", "notebooks/00.ipynb", "osawslab/lab.py", "pyproject.toml"]


@pytest.mark.parametrize("git", [True, False])
def test_only_the_project_s_own_files_are_carried(
    git: bool, checkout: Path, tmp_path: Path
) -> None:
    if git:
        (checkout / ".gitignore").write_text(".venv\n")
        (checkout / "gone.py").touch()
        for words in (["init", "-q"], ["add", "--", *OWN, "gone.py", ".gitignore"]):
            subprocess.run(["git", "-C", str(checkout), *words], check=True)
        (checkout / "gone.py").unlink()
        (checkout / "osawslab" / "secret.json").write_text("mine")
    fetch.copy(tmp_path / "class")
    files = (path for path in (tmp_path / "class").rglob("*") if path.is_file())
    found = sorted(str(path.relative_to(tmp_path / "class")) for path in files)
    assert found == sorted([*OWN, *([".gitignore"] if git else [])])
    assert os.access(tmp_path / "class" / "lab", os.X_OK)


def test_all_that_git_has_is_carried(carried: Path) -> None:
    listed = fetch.project_files()
    assert {"lab", "osawslab/fetch.py", "notebooks/00-start.ipynb", "pyproject.toml"} <= {*listed}
    assert all((carried / name).exists() for name in listed)
    inside = {path.relative_to(carried).parts[0] for path in carried.rglob("*") if path.is_file()}
    assert inside - {"offline", ".venv"} == {name.partition("/")[0] for name in listed}


@pytest.mark.parametrize("name", ["class", "osawslab/class", "."])
def test_a_folder_in_the_checkout_is_refused(name: str, checkout: Path) -> None:
    before = sorted(checkout.rglob("*"))
    with pytest.raises(BadSetting, match="cannot be in the checkout") as caught:
        fetch.fetch(checkout / name, False, quiet)
    assert str(checkout.parent) in caught.value.next
    assert sorted(checkout.rglob("*")) == before


@pytest.mark.parametrize(
    ("name", "value", "error", "match"),
    [
        ("CHECKOUT", Path("/nowhere"), StepNotReady, "from a checkout"),
        ("ROOM", 1 << 60, MissingTool, "offline folder needs"),
    ],
)
def test_what_cannot_work_is_said_first(
    name: str, value: object, error: type[Exception], match: str,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(fetch, name, value)
    with pytest.raises(error, match=match):
        fetch.fetch(tmp_path / "new", False, quiet)


def test_without_an_image_there_is_none_to_bring(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(StepNotReady) as caught:
        fetch.fetch(tmp_path / "new", True, quiet)
    assert "sudo ./lab image" in caught.value.next


def test_another_python_is_told_what_the_folder_is_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = tmp_path / "offline"
    (inside / "wheels").mkdir(parents=True)
    (inside / "about.json").write_text('{"python": "3.2", "system": "debian-12-x86_64"}')
    monkeypatch.setattr(offline, "CHECKOUT", tmp_path)
    (tmp_path / "pyproject.toml").write_text("[project]\nname='x'\nversion='1'\n")
    place = environment.Environment(tmp_path / "venv", tmp_path)
    with pytest.raises(MissingTool) as caught:
        place.make("-", quiet)
    assert "for Python 3.2 on debian-12-x86_64" in caught.value.next


@pytest.fixture
def images(tmp_path: Path, root: None, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a cache with two images, one made of an instance of the other, and its folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "first"))
    monkeypatch.setattr(rootfs, "stamp", lambda release: "0123456789")
    tree, layer = rootfs.root("13"), rootfs.baked() / "one" / "layer"
    for folder in (tree, layer, layer.parent / "users"):
        folder.mkdir(parents=True)
    (tree / "su").write_text("root's")
    os.chown(tree / "su", 0, 42)
    (tree / "su").chmod(0o4755)
    os.mknod(layer / "gone", stat.S_IFCHR, os.makedev(0, 0))  # overlay: this file is deleted
    os.setxattr(layer, "trusted.overlay.opaque", b"y")
    told = {"name": "osawslab/one", "id": "ami-1", "layers": [str(layer), str(tree)]}
    (layer.parent / "about.json").write_text(json.dumps(told))
    return tmp_path


def test_images_come_along_as_they_are(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside = images / "lab" / "offline"
    (inside / "images").mkdir(parents=True)
    for name, tree in fetch.packed_images(True).items():
        offline.pack(tree, inside / "images" / f"{name}.tar")
    (inside / "about.json").write_text("{}")
    monkeypatch.setattr(offline, "CHECKOUT", images / "lab")
    monkeypatch.setenv("XDG_CACHE_HOME", str(images / "second"))
    monkeypatch.setattr(machine, "missing_for_whole", lambda: ())
    for _ in range(2):
        tree = rootfs.make("13")
        baked.bring()
    assert images / "second" in tree.parents
    told = (tree / "su").stat()
    assert (stat.S_IMODE(told.st_mode), told.st_gid) == (0o4755, 42)
    [(_, about)] = rootfs.abouts()
    layer = Path(about["layers"][0])
    assert list(rootfs.layers("osawslab/one")) == [layer, tree]
    assert os.getxattr(layer, "trusted.overlay.opaque") == b"y"
    assert (layer / "gone").stat().st_rdev == 0
    assert stat.S_ISCHR((layer / "gone").stat().st_mode)


def test_half_an_image_is_none(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside = images / "lab" / "offline"
    (inside / "images").mkdir(parents=True)
    (inside / "about.json").write_text("{}")
    (inside / "images" / "baked-two.tar").write_bytes(b"no tar at all" * 100)
    monkeypatch.setattr(offline, "CHECKOUT", images / "lab")
    with pytest.raises(StepFailed, match="packed or unpacked"):
        baked.bring()
    assert [path.name for path in rootfs.baked().iterdir()] == ["one"]
