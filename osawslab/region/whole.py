"""Instances that are a whole operating system: systemd and all, in systemd-nspawn.

Each boot has a supervisor: a process in the instance's network namespace and a mount namespace
of its own, where the instance's root is mounted; it runs systemd-nspawn in a control group of
its own, and ends with it. What the operating system asked for last (reboot, power off) is left
in the file `ended` of its disk.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path

from osawslab.region import cgroup, cloudinit, kernel
from osawslab.region.folders import write_whole
from osawslab.region.image import PATH, Machine

POWER_OFF = signal.SIGRTMIN + 4  # systemd(1), "SIGNALS": starts poweroff.target
STOP_SECONDS = 50.0  # less than the 60 s that boto3 waits for an answer
AGAIN_SECONDS = 1.0  # a systemd that has just begun does not hear the first time
REBOOT = 133  # systemd-nspawn(1), "EXIT STATUS", with --keep-unit
DEVICES = ("/dev/net/tun", "/dev/kvm")
OPTIONS = (  # so that the instance may write to /proc/sys and /sys, and sees one cgroup2 tree
    ("SYSTEMD_NSPAWN_API_VFS_WRITABLE", "1"),
    ("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "1"),
)


def kept(disk: Path) -> tuple[Path, ...]:
    """Give the image's folders that an instance was first booted from; () for a light one."""
    try:
        return tuple(map(Path, json.loads((disk / "layers").read_text())))
    except FileNotFoundError:
        return ()


def make_disk(disk: Path, layers: Iterable[Path]) -> None:
    """Make the disk of an instance that boots; what is on it stays as it is."""
    disk.mkdir(mode=0o700, parents=True, exist_ok=True)  # there are setuid programs in it
    for name in ("upper", "work"):
        (disk / name).mkdir(exist_ok=True)
        (disk / name).chmod(0o755)
    if not kept(disk):
        write_whole(disk / "layers", json.dumps([str(layer) for layer in layers]))


def mount_root(root: Path, disk: Path, layers: Iterable[Path]) -> None:
    """Lay a disk over its image at `root`, in the caller's own mount namespace."""
    kernel.mount("none", "/", flags=kernel.REC | kernel.PRIVATE)
    root.mkdir(parents=True, exist_ok=True)

    def quoted(path: Path) -> str:  # overlayfs splits its options at these
        return "".join("\\" + c if c in ",:\\" else c for c in str(path))

    options = (
        f"lowerdir={':'.join(quoted(layer) for layer in layers)}",
        f"upperdir={quoted(disk / 'upper')},workdir={quoted(disk / 'work')}",
        "redirect_dir=on,metacopy=off,index=off",
    )
    kernel.mount("overlay", root, "overlay", data=",".join(options))


def configure(root: Path, about: Machine) -> None:
    """Do what cloud-init does at each boot: name, keys, how the first NIC gets its address.

    Done inside of `root`, so that no link of the instance's leads out of it.
    """
    given = about.given()  # nothing of the instance's is imported for it
    outside = os.open("/", os.O_PATH | os.O_DIRECTORY)
    os.chroot(root)
    try:
        os.chdir("/")
        _configure(about, given)
    finally:
        os.fchdir(outside)
        os.chroot(".")
        os.close(outside)


def _configure(about: Machine, given: cloudinit.Given) -> None:
    Path("/etc/hostname").write_text(about.hostname + "\n")
    Path("/etc/hosts").write_text(  # Debian's AMI has `manage_etc_hosts: true`
        f"127.0.0.1 localhost\n{about.address} {about.hostname}\n::1 localhost\n"
    )
    number = Path("/etc/machine-id")
    if not (number.exists() and re.fullmatch(r"[0-9a-f]{32}", number.read_text().strip())):
        number.unlink(missing_ok=True)
        number.write_text(uuid.uuid4().hex + "\n")
    accounts = dict(line.split(":", 1) for line in Path("/etc/passwd").read_text().splitlines())
    _, uid, gid, *_ = accounts[about.user].split(":")
    keys = Path("/home") / about.user / ".ssh/authorized_keys"
    keys.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if about.public_key and not keys.exists():
        write_whole(keys, about.public_key.strip() + "\n")
        for path in (keys.parent, keys):
            os.chown(path, int(uid), int(gid))
    cloudinit.begin(Path("/"), given)
    services = {"per-boot-scripts": cloudinit.PER_BOOT_SERVICE}
    if given.script:
        services["user-data"] = cloudinit.SERVICE
    for name, text in services.items():
        unit = Path(f"/etc/systemd/system/{name}.service")
        unit.write_text(text)
        wanted = unit.parent / "multi-user.target.wants" / unit.name
        wanted.parent.mkdir(exist_ok=True)
        wanted.unlink(missing_ok=True)
        wanted.symlink_to(unit)
    if Path("/usr/sbin/ifup").exists():
        Path("/etc/network/interfaces.d/50-cloud-init").write_text(
            f"auto {about.nic}\niface {about.nic} inet static\n"
            f"    address {about.address}/{about.prefix}\n    gateway {about.gateway}\n"
        )
    else:
        for old in Path("/etc/systemd/network").glob("10-cloud-init-*.network"):
            old.unlink()  # of the instance that the image was made of
        Path(f"/etc/systemd/network/10-cloud-init-{about.nic}.network").write_text(
            f"[Match]\nName={about.nic}\n\n[Network]\nDHCP=ipv4\nLinkLocalAddressing=no\n"
            "IPv6AcceptRA=no\n\n[DHCPv4]\nUseHostname=no\n"
            "UseDNS=no\n"  # nothing answers at the lease's resolver
        )


def command(root: Path, netns: str, hostname: str) -> list[str]:
    """Give the command that boots the operating system at `root` in a network namespace."""
    return [
        *("systemd-nspawn", "--boot", "--quiet", "--settings=no", "--register=no", "--keep-unit"),
        *(f"--directory={root}", f"--machine={netns}", f"--hostname={hostname}"),
        *(f"--network-namespace-path=/run/netns/{netns}", "--capability=all"),
        *("--private-users=no", "--resolv-conf=off", "--timezone=off", "--link-journal=no"),
        *("--console=pipe", "--kill-signal=SIGRTMIN+4"),
        *(f"--bind={device}" for device in DEVICES if Path(device).exists()),
    ]


def supervise(root: Path, disk: Path, netns: str, hostname: str, group: str) -> None:
    """Run an operating system until it ends, and leave what it asked for."""
    cgroup.end(group)
    cgroup.make(group)
    with (disk / "console.log").open("ab") as log:
        system = subprocess.Popen(
            command(root, netns, hostname),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            env={"PATH": PATH, **dict(OPTIONS)},
            start_new_session=True,
            preexec_fn=lambda: cgroup.enter(group),
        )
        code = system.wait()
        log.write(f"-- {netns} ended with {code}\n".encode())
    cgroup.end(group)
    # The namespace lives on; a machine that is off does not answer.
    subprocess.run(["ip", "link", "set", "group", "default", "down"], check=False)
    asked = {0: "off", REBOOT: "reboot"}.get(code, "")
    write_whole(disk / "ended", asked)


def leader(group: str) -> int:
    """Find the first process of an operating system: its pid here, 0 where there is none yet."""
    for pid in sorted(cgroup.processes(group)):
        try:
            status = Path(f"/proc/{pid}/status").read_text()
        except OSError:
            continue
        numbers = next(line for line in status.splitlines() if line.startswith("NSpid:")).split()
        if numbers[2:] == ["1"]:  # in the namespace below ours, not in one further below
            return pid
    return 0


def power_off(running: Mapping[str, int]) -> None:
    """Ask operating systems (group -> pid of the supervisor) to power off; wait, with a bound."""
    left = dict(running)
    deadline = time.monotonic() + STOP_SECONDS
    asked = 0.0
    while left and time.monotonic() < deadline:
        if time.monotonic() - asked > AGAIN_SECONDS:
            asked = time.monotonic()
            for group in left:
                if pid := leader(group):
                    os.kill(pid, POWER_OFF)
        time.sleep(0.02)
        left = {group: pid for group, pid in left.items() if Path(f"/proc/{pid}").exists()}
