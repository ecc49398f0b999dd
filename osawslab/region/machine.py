"""What this machine has and needs: programs, the packages they are in, and where they are.

Standard library only, so that `lab` can ask before anything is installed.

Two packages are never installed, because they bring services or take the machine's network
over (`ifupdown` and Open vSwitch): they are unpacked into the user's cache instead, together
with the libraries that this machine lacks for them. That needs no root and changes no setting.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from osawslab.errors import MissingTool
from osawslab.region import offline


@dataclass(frozen=True)
class Need:
    """A program, its package on Debian and Ubuntu, and what cannot be done without it."""

    program: str
    package: str
    without: str
    required: bool = True  # False: the lab runs without, and says what it leaves out
    unpack: bool = False  # True: never installed, only unpacked into the cache


@dataclass(frozen=True)
class Row:
    """A line of `doctor`: the program, where it is or "missing", its use, what to type."""

    program: str
    found: str
    use: str
    next: str


def _needs(package: str, programs: str, without: str, *, required: bool = True) -> Iterable[Need]:
    unpack = package in UNPACKED
    return (Need(program, package, without, required, unpack) for program in programs.split())


UNPACKED = ("ifupdown", "openvswitch-common", "openvswitch-switch")
NEEDS: tuple[Need, ...] = (
    *_needs("iproute2", "ip bridge tc", "no local region: its network is made with it"),
    *_needs("nftables", "nft", "no local region: VPC filters and NAT are its rules"),
    *_needs("util-linux", "unshare nsenter", "no local region: its namespaces"),
    *_needs("iputils-ping", "ping", "no proof that packets arrive"),
    *_needs("tcpdump", "tcpdump", "no captures on an instance"),
    *_needs("macchanger", "macchanger", "no MAC swap with the tutorial's own command"),
    *_needs("ethtool", "ethtool", "no driver facts, no switching of offloads"),
    *_needs("iptables", "iptables iptables-save iptables-restore", "no floating IPs, no NAT"),
    *_needs("dropbear-bin", "dropbear dropbearkey", "no SSH server in the VM"),
    *_needs("openssh-client", "ssh ssh-keygen", "no `lab ssh`", required=False),
    *_needs("net-tools", "ifconfig", "no ifconfig on an instance", required=False),
    *_needs(
        "openvswitch-common",
        "ovs-appctl ovs-ofctl ovsdb-tool ovsdb-server",
        "no Open vSwitch: Linux bridges only",
        required=False,
    ),
    *_needs(
        "openvswitch-switch",
        "ovs-vsctl ovs-vswitchd",
        "no Open vSwitch: Linux bridges only",
        required=False,
    ),
    *_needs(
        "ifupdown",
        "ifup ifdown ifquery",
        "no reboot that survives by /etc/network/interfaces",
        required=False,
    ),
)
# Only for instances that are a whole operating system.
WHOLE_NEEDS: tuple[Need, ...] = (
    *_needs("mmdebstrap", "mmdebstrap", "no root file system of a whole operating system"),
    *_needs("systemd-container", "systemd-nspawn", "no boot of a whole operating system"),
)
BROWSER = {
    "chromium": "usr/bin/chromium",
    "fonts-dejavu-core": "usr/share/fonts/truetype/dejavu/DejaVuSans.ttf",
}
# What a part of `test` needs besides: part -> package -> a file of it.
TEST_NEEDS: Mapping[str, Mapping[str, str]] = {
    "unit": {
        "tshark": "usr/bin/tshark",
        "user-mode-linux": "usr/bin/linux.uml",
        "golang-github-google-gopacket-dev": "usr/share/gocode/src/github.com/google/gopacket",
    },
    "browser": BROWSER,
    "clients": {
        "awscli": "usr/bin/aws",
        "ansible": "usr/bin/ansible-playbook",
        "python3-boto3": "usr/lib/python3/dist-packages/boto3/__init__.py",
    },
    "openstack": {
        **BROWSER,
        "mmdebstrap": "usr/bin/mmdebstrap",
        "systemd-container": "usr/bin/systemd-nspawn",
        "debian-archive-keyring": "usr/share/keyrings/debian-archive-keyring.gpg",
    },
}
# Debian puts ovs-vswitchd here; a link in /usr/sbin exists only after an installation.
FOLDERS = ("usr/sbin", "usr/bin", "sbin", "bin", "usr/lib/openvswitch-switch")
SCHEMA = "usr/share/openvswitch/vswitch.ovsschema"


def cache() -> Path:
    """Name the user's cache folder of the lab (XDG Base Directory Specification)."""
    home = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(home) if home.startswith("/") else Path.home() / ".cache") / "osawslab"


def unpacked() -> Path:
    """Name the root of the unpacked packages: one for each distribution, release and machine."""
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        release = {"ID": "linux"}
    name = f"{release['ID']}-{release.get('VERSION_ID', 'rolling')}-{platform.machine()}"
    return cache() / "debs" / name


def find(program: str) -> Path | None:
    """Find a program in PATH, /usr/sbin, /sbin, or among the unpacked packages.

    >>> find("no-such-program") is None
    True
    """
    root = unpacked()
    folders = [os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"]
    folders += [str(root / folder) for folder in FOLDERS]
    found = shutil.which(program, path=os.pathsep.join(folders))
    return Path(found) if found else None


def find_file(path: str) -> Path | None:
    """Find a file of a package by its path below /, such as `SCHEMA`, here or unpacked."""
    return next((file for root in (Path("/"), unpacked()) if (file := root / path).is_file()), None)


def libraries() -> str:
    """Give the LD_LIBRARY_PATH that unpacked programs need; "" where they need none."""
    root = unpacked()
    folders = {file.parent for top in ("lib", "usr/lib") for file in root.glob(f"{top}/*/*.so*")}
    return os.pathsep.join(map(str, sorted(folders)))


def missing() -> tuple[Need, ...]:
    """List what this machine lacks, in the order of `NEEDS`."""
    return tuple(need for need in NEEDS if find(need.program) is None)


def missing_for_whole() -> tuple[Need, ...]:
    """List what this machine lacks for instances that are a whole operating system."""
    return tuple(need for need in WHOLE_NEEDS if find(need.program) is None)


def missing_for_tests(parts: Sequence[str]) -> list[tuple[str, str]]:
    """List (part, package) that these parts of `test` lack here; no part, or "all", is every one.

    >>> missing_for_tests(["lint"])
    []
    """
    every = not parts or "all" in parts
    return [
        (part, package)
        for part, needs in TEST_NEEDS.items()
        for package, file in needs.items()
        if (every or part in parts) and not Path("/", file).exists()
    ]


def install_command(packages: Iterable[str]) -> str:
    """Say what a person types to install packages.

    >>> install_command(["nftables", "iproute2", "nftables"])
    'sudo apt-get install --no-install-recommends iproute2 nftables'
    """
    return f"sudo apt-get install --no-install-recommends {' '.join(sorted(set(packages)))}"


def rows() -> tuple[Row, ...]:
    """Tell for every program where it is, or what to type to get it."""
    return tuple(_row(need, find(need.program)) for need in NEEDS)


def _row(need: Need, path: Path | None) -> Row:
    if path is not None:
        return Row(need.program, str(path), "", "")
    if shutil.which("apt-get") is None:
        todo = f"install what has {need.program} (Debian: {need.package})"
    else:
        todo = "./lab start" if need.unpack else install_command([need.package])
    return Row(need.program, "missing", need.without, todo)


def to_unpack(simulated: str, packages: Sequence[str] = UNPACKED) -> list[str]:
    """Read from `apt-get --simulate install` which packages to unpack: ours and libraries.

    >>> to_unpack("Inst kmod (30 Debian [amd64])\\nInst libxdp1 (1.3 Debian [amd64])")
    ['libxdp1']
    """
    names = re.findall(r"^Inst ([^\s:]+)", simulated, flags=re.MULTILINE)
    # Another C library than the machine's own would break every program that finds it.
    return [n for n in names if n in packages or (n.startswith("lib") and n != "libc6")]


def unpack() -> None:
    """Download the packages of `UNPACKED` that are missing here and unpack them in the cache.

    apt itself says which libraries this machine lacks for them, so their names, which
    change with the release, stand nowhere here. All or nothing: the tree appears complete.
    """
    packages = sorted({need.package for need in NEEDS if need.unpack and _not_installed(need)})
    if packages:
        unpack_into(unpacked(), packages)


def unpack_into(root: Path, packages: Sequence[str]) -> None:
    """Download packages and unpack them below `root`, all or nothing. Raises MissingTool."""
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise MissingTool(
            f"{', '.join(packages)}: unpacked from Debian packages only",
            seen="no apt-get or no dpkg-deb on this machine",
            next=f"install {', '.join(packages)} by your distribution's means, if you want them",
        )
    root.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root.parent, prefix=".new-") as work:
        folder = Path(work)
        simulate = ("--simulate", "--no-install-recommends", "install", *packages)
        own: tuple[str, ...] = ()
        if carried := offline.folder():
            own = (*own_lists(folder), *offline.archive(folder, carried / "debs"))
            _check(_apt(folder, (*own, "update")), packages, root)
        result = _apt(folder, (*own, *simulate))
        if result.returncode and not own:  # no package lists here, or old ones: fetch our own
            own = own_lists(folder)
            _check(_apt(folder, (*own, "update")), packages, root)
            result = _apt(folder, (*own, *simulate))
        _check(result, packages, root)
        wanted = to_unpack(result.stdout, packages)
        result = _apt(folder, (*own, "download", *wanted))
        if result.returncode and not own:  # the lists name versions that are gone by now
            own = own_lists(folder)
            _check(_apt(folder, (*own, "update")), packages, root)
            result = _apt(folder, (*own, "download", *wanted))
        _check(result, packages, root)
        tree = folder / "tree"
        for deb in sorted(folder.glob("*.deb")):
            _check(_run(["dpkg-deb", "-x", str(deb), str(tree)], folder), packages, root)
        tree.chmod(0o755)
        if root.exists():
            root.rename(folder / "old")
        tree.rename(root)


def _not_installed(need: Need) -> bool:
    path = find(need.program)
    return path is None or unpacked() in path.parents


def own_lists(folder: Path) -> tuple[str, ...]:
    """Give apt-get's options to keep its lists and what it downloads in a folder."""
    (folder / "lists" / "partial").mkdir(parents=True, exist_ok=True)
    (folder / "archives" / "partial").mkdir(parents=True, exist_ok=True)
    return (
        *("-o", f"Dir::State::Lists={folder / 'lists'}"),
        *("-o", f"Dir::Cache={folder}"),
        *("-o", "Dir::Cache::Archives=archives"),
    )


def _apt(folder: Path, words: Sequence[str]) -> subprocess.CompletedProcess[str]:
    # The sandbox user cannot write into a folder that is ours alone (0700).
    quiet = ("-o", "APT::Sandbox::User=root", "-qq") if os.geteuid() == 0 else ("-qq",)
    bounds = ("-o", "Acquire::Retries=1", "-o", "Acquire::http::Timeout=30")
    return _run(["apt-get", *quiet, *bounds, *words], folder)


def _run(words: Sequence[str], folder: Path) -> subprocess.CompletedProcess[str]:
    environment: Mapping[str, str] = {**os.environ, "LC_ALL": "C"}
    return subprocess.run(
        words, cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )


def _check(result: subprocess.CompletedProcess[str], packages: Sequence[str], root: Path) -> None:
    if result.returncode:
        said = (result.stderr.strip() or result.stdout.strip() or "nothing").splitlines()
        raise MissingTool(
            f"{', '.join(packages)} could not be unpacked into {root}",
            seen=said[-1],
            next="look at the network and the free space, then ./lab start again",
        )
