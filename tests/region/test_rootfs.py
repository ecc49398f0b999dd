"""An image: made whole or not at all, its layers, what a stopped instance bakes into one."""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

from osawslab.errors import LabError, MissingTool, NoPlaceToRun, StepFailed
from osawslab.region import baked, boot, machine, rootfs, whole
from osawslab.region.baked import Bakery
from osawslab.region.state import Image, State

FAILING = """#!/bin/sh
mkdir -p "$WHERE/half" && echo "I: fine so far" >&2 && echo "E: no route to the mirror" >&2
exit 25
"""


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "osawslab/images"


@pytest.fixture
def mmdebstrap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a mmdebstrap in front that fails in the middle."""
    program = tmp_path / "bin/mmdebstrap"
    program.parent.mkdir()
    program.write_text(FAILING)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("WHERE", str(tmp_path / "osawslab/images"))
    monkeypatch.setattr(machine, "missing_for_whole", lambda: ())
    monkeypatch.setattr(rootfs, "KEYRING", program)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    return program


def test_each_release_and_recipe_has_a_place_of_its_own(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = rootfs.root("13")
    assert re.fullmatch(r"debian-13-\w+-[0-9a-f]{10}", before.parent.name)
    assert before.parent.parent == cache
    assert rootfs.root("12").parent.name != before.parent.name.replace("-13-", "-12-")
    monkeypatch.setattr(rootfs, "PACKAGES", (*rootfs.PACKAGES, "hello"))
    assert rootfs.root("13") != before


def test_layers_are_those_of_the_amis_release(cache: Path) -> None:
    rootfs.root("12").mkdir(parents=True)
    assert rootfs.layers("debian-12-amd64-20260831-2220") == (rootfs.root("12"),)
    for ami in ("debian-13-amd64-20260907-2230", "ubuntu/images/noble", "debian-1-amd64"):
        with pytest.raises(MissingTool, match=re.escape(ami)):
            rootfs.layers(ami)


def test_one_that_is_there_is_not_made_again(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rootfs.root("13").mkdir(parents=True)
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    assert rootfs.make("13") == rootfs.root("13")


def test_a_mirror_that_goes_away_leaves_nothing_half_made(cache: Path, mmdebstrap: Path) -> None:
    with pytest.raises(StepFailed) as caught:
        rootfs.make("13")
    assert caught.value.seen == "E: no route to the mirror"
    assert not rootfs.root("13").exists()
    (cache / "half").rmdir()
    assert [path.name for path in cache.iterdir()] == [".making"]


def test_what_a_killed_one_left_is_removed(cache: Path, mmdebstrap: Path) -> None:
    (cache / ".new-killed/image").mkdir(parents=True)
    with pytest.raises(StepFailed):
        rootfs.make("13")
    assert not (cache / ".new-killed").exists()


def no_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 54321)


def no_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "missing_for_whole", lambda: machine.WHOLE_NEEDS)


def no_keyring(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rootfs, "KEYRING", Path("/no/such/keyring"))


def no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rootfs, "NEEDED_BYTES", 1 << 60)


@pytest.mark.parametrize(
    ("lacks", "error", "seen", "next_"),
    [
        (no_root, NoPlaceToRun, r"uid 54321", "sudo ./lab start"),
        (
            no_programs,
            MissingTool,
            r"not here: mmdebstrap, systemd-container",
            "sudo apt-get install --no-install-recommends mmdebstrap systemd-container",
        ),
        (
            no_keyring,
            MissingTool,
            r"not here: debian-archive-keyring",
            "sudo apt-get install --no-install-recommends debian-archive-keyring",
        ),
        (no_room, NoPlaceToRun, r"\d+ MiB free, 1099511627776 MiB needed", "make room there, or "),
    ],
)
def test_what_is_lacking_is_said_before_anything_is_made(
    lacks: object,
    error: type[LabError],
    seen: str,
    next_: str,
    cache: Path,
    mmdebstrap: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lacks(monkeypatch)  # type: ignore[operator]
    with pytest.raises(error) as caught:
        rootfs.make("13")
    assert re.fullmatch(seen, caught.value.seen)
    assert caught.value.next.startswith(next_)
    assert not [path for path in cache.glob("*") if path.name != ".making"]


def test_the_needs_of_whole_instances_are_not_those_of_every_lab() -> None:
    ordinary = {need.program for need in machine.NEEDS}
    assert {need.program for need in machine.WHOLE_NEEDS} == {"mmdebstrap", "systemd-nspawn"}
    assert not ordinary & {"mmdebstrap", "systemd-nspawn"}


def test_a_baked_layer_has_what_was_deleted_and_every_attribute(root: None, tmp_path: Path) -> None:
    """Lay a disk over an image, change it, bake it: the layers show what the instance saw."""
    image, disk, baked = tmp_path / "image", tmp_path / "disk", tmp_path / "new/layer"
    for folder in (image / "folder", disk / "upper", disk / "work", tmp_path / "m"):
        folder.mkdir(parents=True)
    for name in ("gone", "kept", "folder/old"):
        (image / name).write_text("the image's")
    change = (
        "mount -t overlay -o lowerdir=image,upperdir=disk/upper,workdir=disk/work none m && cd m"
        " && rm gone && rm -r folder && mkdir folder && echo mine > folder/new"
        " && chown 1000:1000 folder/new && chmod 4750 folder/new && python3 -c"
        " \"import os; os.setxattr('folder/new', 'user.lab', b'yes')\""
    )
    subprocess.run(["unshare", "--mount", "sh", "-ec", change], cwd=tmp_path, check=True)
    rootfs.bake(disk, baked)
    look = (
        "mount -t overlay -o lowerdir=new/layer:image none m && cd m && find . | sort"
        " && stat -c '%a %u' folder/new && python3 -c"
        " \"import os; print(os.getxattr('folder/new', 'user.lab').decode())\""
    )
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-ec", look],
        cwd=tmp_path,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert done.stdout.split() == [".", "./folder", "./folder/new", "./kept", "4750", "1000", "yes"]
    assert stat.S_ISCHR((baked / "gone").stat().st_mode)
    assert [path.name for path in baked.parent.iterdir()] == ["layer"]


def test_a_disk_that_cannot_be_copied_leaves_no_layer(tmp_path: Path) -> None:
    with pytest.raises(StepFailed, match="i-1 could not be copied"):
        rootfs.bake(tmp_path / "i-1", tmp_path / "new/layer")
    assert list((tmp_path / "new").iterdir()) == []


def image(name: str = "an image", source: str = "i-1", **more: Any) -> Image:
    given = {"id": "ami-1", "description": "", "tags": {"a": "b"}, "architecture": "x86_64"}
    given |= {"root_device": "/dev/xvda", "created": "2026-09-07T22:30:00"}
    return Image(**{**given, "name": name, "source": source, **more})


def state(*images: Image) -> State:
    return State({}, {}, {}, {}, {each.name: each for each in images})


@pytest.fixture
def disk(cache: Path, tmp_path: Path) -> Path:
    """Give the disk of a whole instance that has written a file, over a Debian."""
    rootfs.root("13").mkdir(parents=True)
    disk = tmp_path / "lab/disks/i-1"
    whole.make_disk(disk, [rootfs.root("13")])
    (disk / "upper/file").write_text("mine")
    return disk


def test_what_an_instance_has_written_becomes_an_image_for_every_lab(
    disk: Path, tmp_path: Path
) -> None:
    bakery, other = Bakery(disk.parent), Bakery(tmp_path / "other/disks")
    (tmp_path / "other").mkdir()
    assert bakery.whole("i-1")
    assert not bakery.whole("i-2")
    bakery.bake(state(image("a/b (c)")))
    layer, *below = rootfs.layers("a/b (c)")
    assert (layer / "file").read_text() == "mine"
    assert layer.parent.parent == rootfs.baked()
    assert layer.parent.stat().st_mode & 0o077 == 0
    assert below == [rootfs.root("13")]
    assert whole.kept(disk) == (layer, *below)
    assert not list((disk / "upper").iterdir())
    assert other.found() == bakery.found() == [image("a/b (c)")]
    bakery.bake(state(image("a/b (c)")))  # is there
    assert rootfs.layers("a/b (c)")[0] == layer

    bakery.forget(["ami-1"])
    assert other.found() == []
    assert other.remembered() == [image("a/b (c)")]
    with pytest.raises(MissingTool):
        rootfs.layers("a/b (c)")
    assert (layer / "file").exists()  # the instance's own
    bakery.bake(state(image("a/b (c)")))
    assert rootfs.layers("a/b (c)")[1:] == (layer, *below)


def test_another_recipe_makes_another_image_under_the_same_name(
    disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bakery = Bakery(disk.parent)
    bakery.bake(state(image()))
    old = rootfs.layers("an image")
    assert bakery.found() == [image()]
    monkeypatch.setattr(rootfs, "PACKAGES", (*rootfs.PACKAGES, "hello"))
    assert bakery.found() == []
    assert bakery.remembered() == [image()]  # its journal may name it
    with pytest.raises(MissingTool):
        rootfs.layers("an image")
    bakery.bake(state(image()))  # when the journal is followed it is not made once more
    assert len(list(rootfs.baked().iterdir())) == 1

    rootfs.root("13").mkdir(parents=True)
    new = disk.with_name("i-2")
    whole.make_disk(new, [rootfs.root("13")])
    (new / "upper/file").write_text("new")
    bakery.bake(state(image(source="i-2", id="ami-2")))
    assert bakery.found() == [image(source="i-2", id="ami-2")]
    layer, below = rootfs.layers("an image")
    assert (layer / "file").read_text() == "new"
    assert below == rootfs.root("13")
    assert (old[0] / "file").read_text() == "mine"
    assert whole.kept(disk) == old


@pytest.mark.parametrize("name", ["../..", "/" * 128, ".new-x", "it's @[1] (a_b)"])
def test_every_name_that_ec2_allows_has_a_folder(name: str, disk: Path) -> None:
    Bakery(disk.parent).bake(state(image(name)))
    layer = rootfs.layers(name)[0]
    assert layer.parent.parent == rootfs.baked()
    assert (layer / "file").exists()


def test_a_layer_is_there_as_long_as_somebody_is_laid_over_it(disk: Path) -> None:
    bakery, other = Bakery(disk.parent), disk.with_name("i-2")
    bakery.bake(state(image()))
    layers = rootfs.layers("an image")
    whole.make_disk(other, layers)
    baked.use(other, layers)
    bakery.forget(["ami-1"])
    bakery.bake(state(image("another", "i-2", id="ami-2")))
    shutil.rmtree(other)
    baked.sweep()
    assert all(layer.is_dir() for layer in (*layers, *rootfs.layers("another")))
    shutil.rmtree(disk)
    bakery.forget(["ami-2"])
    baked.sweep()  # the lower one has lost its last user only now
    assert list(rootfs.baked().iterdir()) == []


def test_on_another_file_system_it_is_copied(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def rename(path: Path, to: Path) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    with monkeypatch.context() as patch:
        patch.setattr(baked, "_rename", rename)
        Bakery(disk.parent).bake(state(image()))
    layer, _ = rootfs.layers("an image")
    assert (layer / "file").read_text() == (disk / "upper/file").read_text() == "mine"
    assert whole.kept(disk) == (rootfs.root("13"),)
    assert not (disk / "moving").exists()


def test_one_that_cannot_be_made_leaves_the_disk_as_it_was(
    disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rename(path: Path, to: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(baked, "_rename", rename)
    with pytest.raises(OSError, match="No space left"):
        Bakery(disk.parent).bake(state(image()))
    assert list(rootfs.baked().iterdir()) == []
    assert (disk / "upper/file").read_text() == "mine"
    assert sorted(path.name for path in disk.iterdir()) == ["layers", "upper", "work"]


@pytest.mark.parametrize("moved", [False, True])
def test_killed_in_the_middle_the_disk_has_its_files(
    moved: bool, disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rename(path: Path, to: Path) -> None:
        if moved:
            path.rename(to)
        raise KeyboardInterrupt

    layer = tmp_path / "layer"
    monkeypatch.setattr(baked, "_rename", rename)
    with pytest.raises(KeyboardInterrupt):
        baked.move(disk, layer)
    Bakery(disk.parent).mend()
    assert whole.kept(disk) == ((layer,) if moved else ()) + (rootfs.root("13"),)
    assert ((layer if moved else disk / "upper") / "file").read_text() == "mine"
    assert (disk / "upper").is_dir()
    assert (disk / "work").is_dir()
    assert not (disk / "moving").exists()


def test_a_layer_that_is_gone_is_said_and_not_booted_without(disk: Path) -> None:
    Bakery(disk.parent).bake(state(image()))
    layer, _ = rootfs.layers("an image")
    for instance in ("i-1", "i-new"):
        assert boot._layers(disk.with_name(instance), "an image")[0] == str(layer)
    (layer / "file").unlink()
    layer.rmdir()
    for instance in ("i-1", "i-new"):
        with pytest.raises(MissingTool, match=instance) as caught:
            boot._layers(disk.with_name(instance), "an image")
        assert caught.value.seen == f"no {layer}"
