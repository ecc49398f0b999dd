"""One folder from which a machine without a network sets itself up: `./lab fetch --offline`."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from osawslab.environment import CHECKOUT
from osawslab.errors import BadSetting, MissingTool, StepNotReady
from osawslab.region import machine, offline, rootfs, uml

Say = Callable[[str], None]
LEFT_OUT = {"__pycache__", ".ipynb_checkpoints", "lab.toml"}  # by what is run, or the owner's own
EDITABLE = "editables"  # what hatchling needs besides for an editable installation
ROOM = 1 << 30  # bytes: wheels are 0.2 GB, packages 0.2 GB


def fetch(folder: Path, images: bool, say: Say) -> dict[str, Any]:
    """Make the folder, or go on with it where a run was cut off.

    Raises BadSetting (a folder of something else, or one in the checkout), StepNotReady,
    MissingTool.
    """
    if not (CHECKOUT / "lab").is_file():
        raise StepNotReady(
            "an offline folder is made from a checkout",
            seen=f"no lab script in {CHECKOUT}",
            next="git clone the project, then ./lab fetch --offline",
        )
    if folder.resolve().is_relative_to(CHECKOUT.resolve()):
        raise BadSetting(
            "the offline folder cannot be in the checkout: it would be a part of its own copy",
            seen=str(folder.resolve()),
            next=f"./lab fetch --offline {CHECKOUT.resolve().parent / 'osawslab-offline'}",
        )
    inside = folder / offline.NAME
    if folder.exists() and any(folder.iterdir()) and not inside.is_dir():
        raise BadSetting(
            "the offline folder is a new one, or one that was begun before",
            seen=f"{folder} has something else in it",
            next="./lab fetch --offline FOLDER, with a name that is not there",
        )
    inside.mkdir(parents=True, exist_ok=True)
    (inside / "about.json").unlink(missing_ok=True)
    free = shutil.disk_usage(inside).free
    if free < ROOM:
        raise MissingTool(
            f"an offline folder needs {ROOM >> 20} MiB",
            seen=f"{free >> 20} MiB free in {folder}",
            next="make room, or name another FOLDER",
        )
    carried = packed_images(images)
    say(f"copying the project to {folder}")
    copy(folder)
    say("fetching Python packages (about a minute)")
    wheels(inside / "wheels")
    say("fetching Debian packages")
    if not debs(inside / "debs", images):
        say(f"this release has no {uml.PACKAGE}: no region where namespaces are forbidden")
    (inside / "images").mkdir(exist_ok=True)
    for name, tree in carried.items():
        if not (inside / "images" / f"{name}.tar").exists():
            say(f"packing the image {name}")
            offline.pack(tree, inside / "images" / f"{name}.tar")
    told: dict[str, Any] = {
        "python": f"{sys.version_info[0]}.{sys.version_info[1]}",
        "system": machine.unpacked().name,
        "images": sorted(carried),
        "bytes": sum(file.lstat().st_size for file in folder.rglob("*") if not file.is_dir()),
    }
    part = inside / "about.json.part"
    part.write_text(json.dumps(told, indent=1))
    part.rename(inside / "about.json")
    return {"folder": str(folder.resolve()), **told}


def copy(folder: Path) -> None:
    """Copy the project's own files, and nothing else that lies in the checkout: keys may."""
    for name in project_files():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(CHECKOUT / name, target, follow_symlinks=False)


def project_files() -> list[str]:
    """Name the files that git has; without git, those below what the package's manifest names."""
    git = ("git", "-c", f"safe.directory={CHECKOUT.resolve()}", "-C", str(CHECKOUT))
    if (CHECKOUT / ".git").exists() and shutil.which("git"):
        listed = _run([*git, "ls-files", "-z"], "git does not list the project's files")
        return [name for name in listed.split("\0") if name and os.path.lexists(CHECKOUT / name)]
    told = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())
    wheel = told["tool"]["hatch"]["build"]["targets"]["wheel"]
    single = ("lab", "pyproject.toml", told["project"]["readme"])
    named = (
        *single,
        *told["project"]["license-files"],
        *wheel["packages"],
        *wheel["force-include"],
    )
    found = []
    for path in (CHECKOUT / name for name in named):
        files = [path] if path.is_file() else path.rglob("*")
        found += [
            str(file.relative_to(CHECKOUT))
            for file in files
            if file.is_file() and not LEFT_OUT & {*file.relative_to(CHECKOUT).parts}
        ]
    return sorted(found)


def packed_images(wanted: bool) -> dict[str, Path]:
    """Name the images to bring, and where they are. Raises StepNotReady where there is none."""
    if not wanted:
        return {}
    found = [(path.parent, about) for path, about in rootfs.abouts() if rootfs.current(about)]
    if os.geteuid() or not found:
        raise StepNotReady(
            "there is no image of an OpenStack to bring along",
            seen=f"uid {os.geteuid()}, {len(found)} images",
            next="sudo ./lab image, then sudo ./lab fetch --offline --cloud openstack",
        )
    newest, about = max(found, key=lambda each: each[0].stat().st_mtime)
    carried = {f"baked-{newest.name}": newest}
    for layer in map(Path, about["layers"]):
        name = layer.parent.name
        carried.setdefault(f"baked-{name}" if layer.name == "layer" else name, layer.parent)
    return carried


def wheels(folder: Path) -> None:
    """Get the Python packages that the lab is made of, built for this Python and processor."""
    build = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["build-system"]["requires"]
    words = [sys.executable, "-m", "pip", "wheel", "-q", "--wheel-dir", str(folder)]
    folder.mkdir(exist_ok=True)
    _run([*words, *build, EDITABLE, str(CHECKOUT)], "the Python packages could not be fetched")
    for own in folder.glob("osawslab-*.whl"):  # it is installed from the folder itself
        own.unlink()


def debs(folder: Path, images: bool) -> bool:
    """Get the Debian packages with all that they need, also what this machine has already.

    False where there is no User-Mode Linux for this release and processor.
    """
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise MissingTool(
            "Debian packages are fetched by apt-get and dpkg-deb",
            seen=f"neither is here: {platform.system()}",
            next="run ./lab fetch --offline on the release of Debian or Ubuntu it is for",
        )
    folder.mkdir(exist_ok=True)
    needs = (*machine.NEEDS, *(machine.WHOLE_NEEDS if images else ()))
    wanted = {need.package for need in needs} | {"python3-venv"}
    what = "the Debian packages could not be fetched"
    with tempfile.TemporaryDirectory() as name:
        nothing = Path(name) / "status"  # as if nothing were installed
        nothing.touch()
        own = (*machine.own_lists(Path(name)), "-o", "APT::Sandbox::User=root", "-qq")
        _run(["apt-get", *own, "update"], what)
        empty = ("-o", f"Dir::State::status={nothing}", "--no-install-recommends")

        def needed(packages: set[str]) -> set[str]:
            told = _run(["apt-get", *own, *empty, "--simulate", "install", *sorted(packages)], what)
            return {line.split()[1] for line in told.splitlines() if line.startswith("Inst ")}

        names, kernel = needed(wanted), set()
        with contextlib.suppress(MissingTool):
            kernel = needed({uml.PACKAGE, uml.DISKS})
        _run(["apt-get", *own, "download", *sorted(names | kernel)], what, cwd=folder)
    (folder / "Packages").write_text("".join(map(_entry, sorted(folder.glob("*.deb")))))
    return bool(kernel)


def _entry(deb: Path) -> str:
    """Write a package's paragraph in an archive's index (deb(5), Debian's repository format)."""
    control = _run(["dpkg-deb", "--field", str(deb)], f"{deb} is no package").strip()
    digest = hashlib.sha256(deb.read_bytes()).hexdigest()
    size = deb.stat().st_size
    return f"{control}\nFilename: ./{deb.name}\nSize: {size}\nSHA256: {digest}\n\n"


def _run(words: Sequence[str], what: str, cwd: Path | None = None) -> str:
    environ = {**os.environ, "LC_ALL": "C", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    done = subprocess.run(
        words, stdin=subprocess.DEVNULL, capture_output=True, text=True, env=environ, cwd=cwd,
        check=False,
    )  # fmt: skip
    if done.returncode:
        said = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        errors = [line for line in said if line.startswith(("ERROR", "E:"))] or said or ["nothing"]
        raise MissingTool(
            what,
            seen=errors[-1].strip(),
            next="look at the network and the free space, then ./lab fetch --offline again",
        )
    return done.stdout
