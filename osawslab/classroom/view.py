"""What the processes of a seat can see: namespaces of their own, and a root made of a few folders.

What is not listed here is not there: no other seat's files, none of the trainer's, no processes,
no network but a loopback of its own.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import subprocess
import sys
from pathlib import Path

from osawslab.region import image, kernel, machine

HOME, RUN = "/home/learner", "/run/seat"
UNPACKED = "/mnt/unpacked"  # packages that the server has unpacked rather than installed
FORK = f"{RUN}/fork"  # the socket where a seat's pid 1 takes orders from inside
RECORD = f"{HOME}/.osawslab-record"
PROCESSES = 1024  # threads too, of all of a seat
SPACES = kernel.NEWNS | kernel.NEWPID | kernel.NEWNET | kernel.NEWIPC | kernel.NEWUTS
_SCRATCH = "tmp"  # in the seat's folder, beside its home
_libc = ctypes.CDLL(None, use_errno=True)
DETACH = 2  # linux/mount.h


def needed() -> list[Path]:
    """List the folders outside of /usr that this program runs from."""
    package = Path(__file__).resolve().parents[2]
    found = [Path(sys.prefix), Path(sys.base_prefix), Path(sys.executable).resolve().parent.parent]
    found += [package / name for name in ("osawslab", "notebooks")]
    found += [Path(each) for each in sys.path if "packages" in each]
    kept: list[Path] = []
    for path in sorted({each.resolve() for each in found if each.exists()}):
        if not path.is_relative_to("/usr") and not any(path.is_relative_to(k) for k in kept):
            kept.append(path)
    return kept


def enter(folder: Path, uid: int, name: str, learner: str) -> None:
    """Be in the seat: see only what it sees, be only who it is. The caller is pid 1, and root.

    Raises OSError where this machine refuses.
    """
    root = folder / "root"
    _make_root(root, folder)
    kernel.set_hostname(name)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True, env={"PATH": image.PATH})
    os.chdir(root)
    if _libc.pivot_root(b".", b".") or _libc.umount2(b".", DETACH):
        raise OSError(ctypes.get_errno(), "pivot_root")
    os.chdir("/")
    Path("/proc/self/oom_score_adj").write_text("500")  # before the server's own services
    os.environ.clear()
    os.umask(0o077)
    os.setgroups([])
    resource.setrlimit(resource.RLIMIT_NPROC, (PROCESSES, PROCESSES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    for option, value in ((38, 1), (4, 1)):  # no program gains rights; /proc/self is its own
        if _libc.prctl(option, value, 0, 0, 0):
            raise OSError(ctypes.get_errno(), "prctl")
    os.environ.update(environment(name, learner))
    link = machine.unpacked()
    with contextlib.suppress(OSError):  # it is there, or the learner wants it otherwise
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(UNPACKED)


def _make_root(root: Path, folder: Path) -> None:
    kernel.mount("none", "/", flags=kernel.REC | kernel.PRIVATE)
    about = (folder / "home").stat()
    files = [(path, os.open(path, os.O_PATH)) for path in needed()]
    if machine.unpacked().is_dir():
        files.append((Path(UNPACKED), os.open(machine.unpacked(), os.O_PATH)))
    root.mkdir(exist_ok=True)
    kernel.mount("root", root, "tmpfs", data="mode=755,size=1m")
    for name in ("usr", "etc", "proc", "sys", "dev", "run", "tmp", "home", "root", "mnt", "var"):
        (root / name).mkdir()
    for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32"):
        top = Path("/") / name
        if top.is_symlink():
            (root / name).symlink_to(os.readlink(top))
        elif top.is_dir():
            (root / name).mkdir()
            kernel.bind(top, root / name, read_only=True)
    kernel.bind("/usr", root / "usr", read_only=True)
    kernel.bind("/etc", root / "etc", read_only=True)
    kernel.bind(folder / "passwd", root / "etc/passwd", read_only=True)
    kernel.mount("proc", root / "proc", "proc")
    kernel.mount("sysfs", root / "sys", "sysfs")
    image.devices(root / "dev")
    kernel.mount("run", root / "run", "tmpfs", data="mode=755,size=8m")
    for name in ("home", _SCRATCH):
        there = root / (HOME[1:] if name == "home" else "tmp")
        there.mkdir(exist_ok=True)
        kernel.bind(folder / name, there)
    for name in ("run/seat", "run/netns", "run/lock"):
        (root / name).mkdir()
        os.chown(root / name, about.st_uid, about.st_gid)
    (root / "run/seat").chmod(0o700)
    (root / "var/tmp").symlink_to("/tmp")
    for path, descriptor in files:
        there = root / path.relative_to("/")
        there.mkdir(parents=True, exist_ok=True)
        kernel.bind(f"/proc/self/fd/{descriptor}", there, read_only=True)
        os.close(descriptor)
    kernel.mount("none", root, flags=kernel.REMOUNT | kernel.BIND | kernel.RDONLY)


def lay(folder: Path, uid: int) -> None:
    """Make the folders of a seat on the disk; what is there stays. Raises OSError."""
    folder.mkdir(mode=0o700, exist_ok=True)
    for name in ("home", _SCRATCH):
        (folder / name).mkdir(mode=0o700, exist_ok=True)
        os.chown(folder / name, uid, uid, follow_symlinks=False)
    known = Path("/etc/passwd").read_text()
    (folder / "passwd").write_text(f"{known}learner:x:{uid}:{uid}:learner:{HOME}:/bin/bash\n")
    (folder / "passwd").chmod(0o644)


def environment(name: str, learner: str) -> dict[str, str]:
    """Give the environment of a seat's processes."""
    own = f"{HOME}/.cache/osawslab/jupyter"
    return {
        "HOME": HOME,
        "USER": "learner",
        "SHELL": "/bin/bash",
        "LANG": "C.UTF-8",
        "PATH": f"{Path(sys.executable).parent}:{image.PATH}",
        "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
        "PYTHONDONTWRITEBYTECODE": "1",
        "XDG_RUNTIME_DIR": RUN,
        "OSAWSLAB_NAME": name,
        "OSAWSLAB_TARGET": "local",
        "OSAWSLAB_LEARNER": learner,
        "OSAWSLAB_RECORD": RECORD,
        "OSAWSLAB_FORK": FORK,
        "JUPYTER_CONFIG_DIR": f"{own}/config",
        "JUPYTER_DATA_DIR": f"{own}/data",
        "JUPYTER_RUNTIME_DIR": f"{own}/runtime",
        "IPYTHONDIR": f"{own}/ipython",
        "MPLCONFIGDIR": f"{own}/matplotlib",
    }
