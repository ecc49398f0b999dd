"""The root file system of Debian's AMI, made by mmdebstrap into the user's cache.

An image is an ordered tuple of folders, the uppermost first, which overlayfs lays one over the
other; an instance writes to a folder of its own above them.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from osawslab.errors import MissingTool, NoPlaceToRun, StepFailed
from osawslab.region import machine, offline, sources
from osawslab.region.amis import CODENAMES
from osawslab.region.folders import shared_folder
from osawslab.region.network import MIRROR_ADDRESS, MIRROR_PORT

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
NEEDED_BYTES = 1 << 30  # the tree has 0.2 GB, mmdebstrap's downloads as much again
PACKAGES = (  # those of Debian's AMI that a lab meets; the kernel is the machine's own
    "ca-certificates", "curl", "dbus", "iproute2", "iputils-ping", "kmod", "less",
    "libpam-systemd", "netbase", "openssh-server", "procps", "python3", "sudo", "systemd-sysv",
    "udev",
)  # fmt: skip
NETWORK_PACKAGES = {"12": ("ifupdown",), "13": ()}  # 13's AMI: systemd-networkd, in systemd
UNREAD = ("doc", "man", "locale")
DPKG = ("force-unsafe-io", *(f"path-exclude=/usr/share/{folder}/*" for folder in UNREAD))
# The devices are the machine's, and its own udevd looks after them. The host key is written
# before the boot. Nobody but the learner installs packages.
MASKED = (
    "systemd-udevd.service", "systemd-udevd-kernel.socket", "systemd-udevd-control.socket",
    "systemd-udev-trigger.service", "systemd-udev-settle.service", "sshd-keygen.service",
    "apt-daily.timer", "apt-daily-upgrade.timer", "proc-sys-fs-binfmt_misc.automount",
    "proc-sys-fs-binfmt_misc.mount", "systemd-binfmt.service",
)  # fmt: skip
FILES = {
    "etc/apt/apt.conf.d/99osawslab": f'Acquire::http::Proxy "http://{MIRROR_ADDRESS}:{MIRROR_PORT}";\n'
    'Acquire::Languages "none";\n',
    "etc/apt/sources.list.d/debian.sources": "Types: deb\nURIs: http://deb.debian.org/debian\n"
    "Suites: SUITE SUITE-updates\nComponents: main\nSigned-By: KEYRING\n\n"
    "Types: deb\nURIs: http://deb.debian.org/debian-security\n"
    "Suites: SUITE-security\nComponents: main\nSigned-By: KEYRING\n",
    "etc/sudoers.d/90-cloud-init-users": "admin ALL=(ALL) NOPASSWD:ALL\n",
    "etc/ssh/sshd_config.d/50-cloud-init.conf": "PasswordAuthentication no\n",
    "etc/network/interfaces": "source /etc/network/interfaces.d/*\n\nauto lo\n"
    "iface lo inet loopback\n",
    # networkd waits for udev where /sys can be written.
    "etc/systemd/system/systemd-networkd.service.d/no-udev.conf": "[Service]\n"
    "BindReadOnlyPaths=/sys\n",
    # Of the kernel's settings only the network's are the instance's own.
    "etc/systemd/system/systemd-sysctl.service.d/own.conf": "[Service]\n"
    "ReadOnlyPaths=-/proc/sys/kernel -/proc/sys/vm -/proc/sys/fs\n",
    "etc/resolv.conf": "# The local region has no name server.\n",
    "etc/default/locale": "LANG=C.UTF-8\n",
    "etc/machine-id": "",
    "etc/hostname": "debian\n",
}
HOOK = """set -eu
chroot "$1" useradd --create-home --shell /bin/bash --groups sudo,adm admin
[ -e "$1/usr/sbin/ifup" ] || chroot "$1" systemctl enable systemd-networkd
"""


def images() -> Path:
    """Name the folder that images are in."""
    return machine.cache() / "images"


def baked() -> Path:
    """Name the folder of the images that are made of instances."""
    return images() / "baked"


def abouts() -> list[tuple[Path, dict[str, Any]]]:
    """List what those images say of themselves, and the files they say it in."""
    found = []
    for path in sorted(baked().glob("*/about.json")):
        with contextlib.suppress(FileNotFoundError, PermissionError):  # gone now; root's
            found.append((path, json.loads(path.read_text())))
    return found


def stamp(release: str) -> str:
    """Derive the recipe's stamp: another recipe makes another image."""
    recipe = [PACKAGES, NETWORK_PACKAGES[release], DPKG, MASKED, FILES, HOOK]
    return hashlib.sha256(json.dumps(recipe).encode()).hexdigest()[:10]


def root(release: str) -> Path:
    """Name the root tree of a Debian release ("12" or "13") for this machine's processor."""
    arch = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    return images() / f"debian-{release}-{arch}-{stamp(release)}" / "root"


def current(about: dict[str, Any]) -> bool:
    """Say whether an image that was made of an instance lies on a root of today's recipe."""
    return Path(about["layers"][-1]) in map(root, CODENAMES)


def made(release: str) -> bool:
    """Say whether this machine has the image of a release; anybody can ask."""
    return root(release).parent.is_dir()


def layers(image: str) -> tuple[Path, ...]:
    """Give the folders that an image, by its AMI's name, is made of.

    Raises MissingTool where the image has not been made on this machine.
    """
    for _, about in abouts():
        if about["name"] == image and current(about):
            return tuple(map(Path, about["layers"]))
    found = re.match(r"debian-(\d+)-", image)
    if found is None or found[1] not in CODENAMES:
        raise MissingTool(
            f"there is no whole operating system for the image {image}",
            seen=f"Debian {' and '.join(CODENAMES)} can be made here",
            next="choose one of Debian's AMIs",
        )
    if not made(found[1]):
        raise MissingTool(
            f"the image {image} has not been made on this machine",
            seen=f"no {root(found[1])}",
            next=f'local.ensure(…, whole=True, releases=["{found[1]}"])',
        )
    return (root(found[1]),)


def make(release: str) -> Path:
    """Make the root tree of a Debian release whole or not at all, once; where it is.

    Raises NoPlaceToRun (not root, too little room), MissingTool, StepFailed.
    """
    target = root(release)
    if made(release):
        return target
    if os.geteuid():
        raise NoPlaceToRun(
            "an instance that is a whole operating system needs root",
            seen=f"uid {os.geteuid()}",
            next="sudo ./lab start",
        )
    lacking = [need.package for need in machine.missing_for_whole()]
    lacking += [] if KEYRING.exists() else ["debian-archive-keyring"]
    if lacking:
        raise MissingTool(
            "an instance that is a whole operating system needs more programs",
            seen=f"not here: {', '.join(lacking)}",
            next=machine.install_command(lacking),
        )
    shared_folder(images())
    with (images() / ".making").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if made(release):  # somebody else made it meanwhile
            return target
        for left in images().glob(".new-*"):  # by one that was killed
            shutil.rmtree(left, ignore_errors=True)
        free = shutil.disk_usage(images()).free
        if free < NEEDED_BYTES:
            raise NoPlaceToRun(
                f"too little room in {images()} for the image of Debian {release}",
                seen=f"{free >> 20} MiB free, {NEEDED_BYTES >> 20} MiB needed",
                next="make room there, or export XDG_CACHE_HOME=/some/folder/of/yours",
            )
        with tempfile.TemporaryDirectory(dir=images(), prefix=".new-") as work:
            new = Path(work) / "image"
            if carried := offline.images(target.parent.name):
                offline.unpack(carried[0], new)
            else:
                new.mkdir(mode=0o700)  # there are setuid programs in it
                _bootstrap(release, new / "root", Path(work))
                _finish(new / "root", release)
            new.rename(target.parent)
    return target


def _bootstrap(release: str, tree: Path, work: Path) -> None:
    suite = CODENAMES[release]
    proxies = {scheme: sources.proxy(scheme) for scheme in ("http", "https")}
    given = work / "sources.list"
    given.write_text(
        "".join(
            f"deb [signed-by={KEYRING}] {sources.archive(archive)} {name} main\n"
            for archive, name in (
                ("debian", suite),
                ("debian", f"{suite}-updates"),
                ("debian-security", f"{suite}-security"),
            )
        )
    )
    hook = work / "hook"
    hook.write_text(f"#!/bin/sh\n{HOOK}")
    hook.chmod(0o755)
    words = [
        *("mmdebstrap", "--variant=minbase", "--mode=root", "--format=directory"),
        f"--include={','.join((*PACKAGES, *NETWORK_PACKAGES[release]))}",
        *(f"--dpkgopt={option}" for option in DPKG),
        *('--aptopt=Acquire::Languages "none"', "--aptopt=Acquire::Retries 2"),
        *(
            f'--aptopt=Acquire::{scheme}::Proxy "{proxy}"'
            for scheme, proxy in proxies.items()
            if proxy
        ),
        f"--customize-hook={hook}",
        *(suite, str(tree), str(given)),
    ]
    done = subprocess.run(
        words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        env={**os.environ, "LC_ALL": "C.UTF-8", "TMPDIR": str(work)},
        check=False,
    )
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if not line.startswith("I: ")]
        raise StepFailed(
            f"the image of Debian {release} could not be made",
            seen=" / ".join(said[-3:]) or f"mmdebstrap ended with {done.returncode}",
            next="look at the network and the mirror, then the same again",
        )


def _finish(tree: Path, release: str) -> None:
    """Write our files and take away what is of this machine or of one instance."""
    keyrings = tree / "usr/share/keyrings"
    keyring = next(keyrings.glob("debian-archive-keyring.[gp][gp]*"))
    for path in (
        *(tree / "etc/apt/sources.list.d").glob("*"),
        *(tree / "etc/apt/apt.conf.d").glob("99mmdebstrap"),
        *(tree / "etc/ssh").glob("ssh_host_*"),
        tree / "etc/resolv.conf",
        tree / "var/lib/dbus/machine-id",
    ):
        path.unlink(missing_ok=True)
    for name, text in FILES.items():
        if name == "etc/network/interfaces" and not (tree / "usr/sbin/ifup").exists():
            continue
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        inside = "/" + str(keyring.relative_to(tree))
        path.write_text(text.replace("SUITE", CODENAMES[release]).replace("KEYRING", inside))
        path.chmod(0o440 if "sudoers" in name else 0o644)
    for unit in MASKED:
        (tree / "etc/systemd/system" / unit).unlink(missing_ok=True)
        (tree / "etc/systemd/system" / unit).symlink_to("/dev/null")
    tree.chmod(0o755)


def bake(disk: Path, target: Path) -> None:
    """Copy what a stopped instance has written as a new layer `target`, whole or not at all.

    Whiteouts and the overlay's attributes are copied too. Put it before the instance's layers
    (`whole.kept`) and they are an image.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".new-") as work:
        copy = ["cp", "--archive", str(disk / "upper"), f"{work}/layer"]
        done = subprocess.run(copy, capture_output=True, text=True, check=False)
        if done.returncode:
            raise StepFailed(
                f"the disk {disk.name} could not be copied",
                seen=done.stderr.strip(),
                next=f"make room in {target.parent}",
            )
        Path(work, "layer").rename(target)
