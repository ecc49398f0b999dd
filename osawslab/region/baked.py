"""Images that are made of instances: CreateImage, and where every lab of this machine finds them.

An image is a folder of the cache, with `layer/`, what its instance had written, and `about.json`,
which is written last: an image exists from then on. A layer outlives its image while an instance
or another image is laid over it: those are the links in `users/`.
"""

from __future__ import annotations

import contextlib
import errno
import json
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import quote

from osawslab.errors import StepFailed
from osawslab.region import offline, rootfs, whole
from osawslab.region.folders import shared_folder, write_whole
from osawslab.region.state import Image, State


def _read(path: Path) -> list[dict[str, Any]]:
    try:
        return list(json.loads(path.read_text()))
    except (FileNotFoundError, PermissionError):
        return []


def _image(about: dict[str, Any]) -> Image:
    return Image(**{key: value for key, value in about.items() if key != "layers"})


def _room(name: str) -> Path:
    """Make a folder for an image of this name; a deregistered one's may be there."""
    stem = quote(name, safe=" ()[]@'").replace(".", "%2E")[:200]  # a file's name has 255
    number = 1
    while True:
        folder = rootfs.baked() / (stem if number == 1 else f"{stem}~{number}")
        try:
            folder.mkdir(mode=0o700)  # there are setuid programs in it
        except FileExistsError:
            number += 1
        else:
            return folder


def use(user: Path, layers: Iterable[Path]) -> None:
    """Note who is laid over the layers: the disk of an instance, or the folder of an image."""
    for layer in layers:
        users = layer.parent / "users"
        if users.is_dir():
            with contextlib.suppress(FileExistsError):
                (users / sha256(str(user).encode()).hexdigest()[:16]).symlink_to(user)


def sweep() -> None:
    """Remove what no image is and nobody is laid over."""
    for users in list(rootfs.baked().glob("*/users")):
        if not (users.parent / "about.json").exists() and not any(
            link.exists() for link in users.iterdir()
        ):
            shutil.rmtree(users.parent, ignore_errors=True)


def mend(disk: Path) -> None:
    """Give a disk a fresh upper part if its own has become a layer: after that, or a killed one."""
    try:
        layer = Path((disk / "moving").read_text())
    except FileNotFoundError:
        return
    if layer.is_dir():
        below = whole.kept(disk)
        if layer not in below:
            write_whole(disk / "layers", json.dumps([str(each) for each in (layer, *below)]))
        shutil.rmtree(disk / "work", ignore_errors=True)
        whole.make_disk(disk, ())
    (disk / "moving").unlink()


def _rename(path: Path, to: Path) -> None:
    path.rename(to)


def move(disk: Path, layer: Path) -> bool:
    """Make what a stopped instance has written a layer, and lay its disk over that.

    False, and nothing done, where the layer would be on another file system.
    """
    write_whole(disk / "moving", str(layer))
    try:
        _rename(disk / "upper", layer)
    except OSError as error:
        (disk / "moving").unlink()
        if error.errno == errno.EXDEV:
            return False
        raise
    mend(disk)
    return True


def bring() -> None:
    """Put the images of an offline folder into the cache, each once. Needs root.

    What they are laid over is in that folder too, and may be elsewhere in this cache.
    """
    for packed in offline.images("baked-*"):
        folder = rootfs.baked() / packed.stem.removeprefix("baked-")
        if folder.exists():
            continue
        shared_folder(rootfs.baked())
        with tempfile.TemporaryDirectory(dir=rootfs.baked(), prefix=".new-") as work:
            new = Path(work) / "image"
            offline.unpack(packed, new)
            (new / "users").mkdir()
            about = new / "about.json"
            if about.exists():  # else only others are laid over it
                told = json.loads(about.read_text())
                layers = [_moved(Path(layer)) for layer in told["layers"]]
                write_whole(about, json.dumps({**told, "layers": list(map(str, layers))}, indent=1))
            new.rename(folder)
    for path, told in rootfs.abouts():
        below = [each for each in map(Path, told["layers"]) if each.parent != path.parent]
        use(path.parent, below)


def _moved(layer: Path) -> Path:
    """Say where a layer is in this cache: images/NAME/root, images/baked/NAME/layer."""
    images = rootfs.baked() if layer.name == "layer" else rootfs.images()
    return images / layer.parent.name / layer.name


class Bakery:
    """The images of the cache as a region sees them, and what its own instances become."""

    def __init__(self, disks: Path) -> None:
        self._disks = disks
        self._memory = disks.with_name("images.json")

    def mend(self) -> None:
        """Finish what a killed region was in the middle of."""
        if self._disks.is_dir():
            for disk in self._disks.iterdir():
                mend(disk)
        sweep()

    def whole(self, instance: str) -> bool:
        """Say whether an instance is a whole operating system."""
        return bool(whole.kept(self._disks / instance))

    def found(self) -> list[Image]:
        """List the images of the cache; the lab remembers them, for its journal may name them.

        One that lies on the root of another recipe is none any more: what was mended in the recipe
        is not in it. Instances that are made of it live on.
        """
        images = [_image(about) for _, about in rootfs.abouts() if rootfs.current(about)]
        known = self.remembered()
        ids = {image.id for image in known}
        new = [image for image in images if image.id not in ids]
        if new:
            write_whole(self._memory, json.dumps([asdict(image) for image in (*known, *new)]))
        return images

    def remembered(self) -> list[Image]:
        """List every image that this lab has seen; some may be gone."""
        return [_image(about) for about in _read(self._memory)]

    def bake(self, state: State) -> None:
        """Make those images that are not there yet; their instances have been stopped."""
        present = {about["id"] for _, about in rootfs.abouts()}
        for image in state.images.values():
            if image.id not in present:
                shared_folder(rootfs.baked())
                self._bake(image, _room(image.name))

    def _bake(self, image: Image, folder: Path) -> None:
        disk, layer = self._disks / image.source, folder / "layer"
        below = whole.kept(disk)
        try:
            with tempfile.TemporaryDirectory(dir=folder) as work:
                Path(work, "users").mkdir()
                use(disk, [Path(work, "layer")])
                Path(work, "users").rename(folder / "users")
            use(folder, below)
            if image.copied or not move(disk, layer):
                rootfs.bake(disk, layer)
            about = {**asdict(image), "layers": [str(each) for each in (layer, *below)]}
            write_whole(folder / "about.json", json.dumps(about, indent=1))
        except (OSError, StepFailed):
            if layer not in whole.kept(disk):
                shutil.rmtree(folder, ignore_errors=True)
            raise

    def forget(self, ids: Iterable[str]) -> None:
        """Let images be no more, for every lab; instances that are made of them live on."""
        for path, about in rootfs.abouts():
            if about["id"] in ids:
                path.unlink(missing_ok=True)
        sweep()
