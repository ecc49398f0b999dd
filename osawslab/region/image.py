"""The `debian-lab` image: an instance's disk and root, made of this machine's own /usr.

The disk (`/etc`, `/home`, `/root`, `/var`, `/opt`, `/srv`) is a folder in the region's state and
lives as long as the instance; the rest of the root is made anew at each boot. Nothing of the
machine's own configuration is shown except what programs need to run.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from base64 import b64decode
from dataclasses import dataclass
from pathlib import Path

from osawslab.region import cloudinit, kernel, machine
from osawslab.region.folders import write_whole

DISK = ("etc", "home", "root", "var", "opt", "srv")
COPIED = (  # from the machine's /etc: what programs of its /usr look for
    "alternatives", "bash.bashrc", "debian_version", "ethertypes", "inputrc", "iproute2",
    "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "localtime", "login.defs", "lsb-release",
    "os-release", "protocols", "services", "shells", "skel", "terminfo", "timezone",
)  # fmt: skip
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
UNPACKED = "/usr/local/lib/osawslab-debs"  # where an instance sees the unpacked packages

SUDO = """#!/bin/sh
# Everybody is uid 0 here; sudo keeps its manners and runs the command.
while [ $# -gt 0 ]; do
  case "$1" in
    -u|-g|-p|-C|-D|-h|-r|-t) shift 2 ;;
    --) shift; break ;;
    -*) shift ;;
    *) break ;;
  esac
done
[ $# -gt 0 ] || exec /bin/bash -l
case "$1" in
  *=*) exec env "$@" ;;
  *) exec "$@" ;;
esac
"""

# As systemd does it: systemd(1), "SIGNALS", SIGRTMIN+4. Options are for a machine that hangs.
POWEROFF = """#!/bin/sh
# End this instance; what then becomes of it, EC2 was told when it was made.
exec kill -38 1
"""

OPENVSWITCH = """#!/bin/sh
# Start and stop Open vSwitch; the same daemons and files as the Debian package's service.
set -e
run=/run/openvswitch
db=/etc/openvswitch/conf.db
alive() { [ -s "$run/$1.pid" ] && kill -0 "$(cat "$run/$1.pid")" 2>/dev/null; }
quit() { alive "$1" && ovs-appctl -t "$1" exit && while alive "$1"; do sleep 0.05; done; :; }
case "$1" in
  start)
    mkdir -p "$run" /etc/openvswitch /var/log/openvswitch
    exec 9>"$run/starting"
    flock 9
    for schema in /usr/share/openvswitch UNPACKED/usr/share/openvswitch; do
      [ -s "$db" ] || [ ! -e "$schema/vswitch.ovsschema" ] ||
        ovsdb-tool create "$db" "$schema/vswitch.ovsschema"
    done
    alive ovsdb-server || ovsdb-server "$db" --remote=punix:$run/db.sock --pidfile --detach \\
      --no-chdir --log-file=/var/log/openvswitch/ovsdb-server.log -vconsole:off 9>&-
    ovs-vsctl --no-wait init
    alive ovs-vswitchd || ovs-vswitchd unix:$run/db.sock --pidfile --detach --no-chdir \\
      --log-file=/var/log/openvswitch/ovs-vswitchd.log -vconsole:off 9>&-
    ;;
  stop) quit ovs-vswitchd; quit ovsdb-server ;;
  restart|force-reload) "$0" stop; "$0" start ;;
  status) alive ovsdb-server && alive ovs-vswitchd ;;
  *) echo "usage: $0 start|stop|restart|status" >&2; exit 2 ;;
esac
""".replace("UNPACKED", UNPACKED)


@dataclass(frozen=True)
class Machine:
    """What an instance knows of itself at boot; what cloud-init reads from EC2's metadata."""

    hostname: str
    user: str  # "admin" on Debian's AMIs
    public_key: str  # OpenSSH line
    nic: str  # the first NIC, "eth0" or "ens5"
    address: str
    prefix: int
    gateway: str
    id: str
    user_data: str  # base64

    def given(self) -> cloudinit.Given:
        """Read the user data."""
        return cloudinit.Given.of(self.id, b64decode(self.user_data))


def make_disk(disk: Path) -> None:
    """Make the disk of a new instance; one that is there already stays as it is."""
    if (disk / "made").exists():
        return
    shutil.rmtree(disk, ignore_errors=True)
    for name in DISK:
        (disk / name).mkdir(parents=True)
    etc = disk / "etc"
    for name in COPIED:
        source = Path("/etc") / name
        if source.is_symlink() or source.is_file():
            shutil.copy2(source, etc / name, follow_symlinks=False)
        elif source.is_dir():
            try:
                shutil.copytree(source, etc / name, symlinks=True, ignore_dangling_symlinks=True)
            except shutil.Error as error:  # a list of all that failed; the first says enough
                raise OSError(error.args[0][0][2]) from None
    _accounts(etc)
    for name, text in {
        "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\nservices: files\n"
        "protocols: files\n",
        "profile": 'for f in /etc/profile.d/*.sh; do [ -r "$f" ] && . "$f"; done; '
        "[ -n \"$BASH\" ] && PS1='\\u@\\h:\\w\\$ '\n",
        "init.d/openvswitch-switch": OPENVSWITCH,
        # Everybody is uid 0 here: `su` has nobody to ask.
        "pam.d/other": "".join(
            f"{kind} required pam_permit.so\n"
            for kind in ("auth", "account", "password", "session")
        ),
        "network/interfaces": "source /etc/network/interfaces.d/*\n\nauto lo\n"
        "iface lo inet loopback\n",
    }.items():
        (etc / name).parent.mkdir(parents=True, exist_ok=True)
        (etc / name).write_text(text)
    (etc / "init.d/openvswitch-switch").chmod(0o755)
    for name in ("interfaces.d", "if-pre-up.d", "if-up.d", "if-down.d", "if-post-down.d"):
        (etc / "network" / name).mkdir(parents=True)
    for name in ("profile.d", "ssh", "openvswitch"):
        (etc / name).mkdir()
    for name in ("lib", "log", "cache", "spool"):
        (disk / "var" / name).mkdir()
    (disk / "var/tmp").mkdir(mode=0o1777)
    (disk / "var/run").symlink_to("/run")
    (disk / "var/lock").symlink_to("/run/lock")
    (disk / "made").touch()


def _accounts(etc: Path) -> None:
    """Write passwd and group: the machine's system accounts, so that programs find theirs."""
    for name in ("passwd", "group"):
        kept = [
            line
            for line in (Path("/etc") / name).read_text().splitlines()
            if line.count(":") >= 2
            and line.split(":")[2].isdecimal()
            and (0 < int(line.split(":")[2]) < 1000 or line.startswith(("nobody:", "nogroup:")))
        ]
        first = "root:x:0:0:root:/root:/bin/bash" if name == "passwd" else "root:x:0:"
        (etc / name).write_text("\n".join([first, *kept]) + "\n")


def configure(disk: Path, about: Machine) -> None:
    """Do what cloud-init does at each boot: name, keys, the first NIC's address."""
    etc = disk / "etc"
    passwd = etc / "passwd"
    if f"\n{about.user}:" not in (known := passwd.read_text()):
        added = f"{about.user}:x:0:0:Debian:/home/{about.user}:/bin/bash\n"
        write_whole(passwd, known + added, 0o644)
    (etc / "hostname").write_text(about.hostname + "\n")
    (etc / "hosts").write_text(
        f"127.0.0.1 localhost\n{about.address} {about.hostname}\n::1 localhost\n"
    )
    (etc / "network/interfaces.d/50-cloud-init").write_text(
        f"auto {about.nic}\niface {about.nic} inet static\n"
        f"    address {about.address}/{about.prefix}\n    gateway {about.gateway}\n"
    )
    keys = disk / "home" / about.user / ".ssh/authorized_keys"
    keys.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if about.public_key and not keys.exists():
        write_whole(keys, about.public_key.strip() + "\n")
    cloudinit.begin(disk, about.given())


def make_root(root: Path, disk: Path, unpacked: Path | None) -> None:
    """Mount an instance's root at `root`, in the caller's own mount namespace.

    `unpacked` holds packages unpacked rather than installed on this machine; their programs
    appear in /usr/local/sbin.
    """
    root.mkdir(parents=True, exist_ok=True)
    kernel.mount("none", "/", flags=kernel.REC | kernel.PRIVATE)
    kernel.mount("root", root, "tmpfs", data="mode=755")
    for name in (*DISK, "usr", "proc", "sys", "dev", "run", "tmp", "mnt"):
        (root / name).mkdir()
    for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32"):
        link = Path("/") / name
        if link.is_symlink():
            (root / name).symlink_to(os.readlink(link))
    for name in DISK:
        kernel.bind(disk / name, root / name)
    kernel.bind("/usr", root / "usr", read_only=True)
    kernel.mount("proc", root / "proc", "proc")
    kernel.mount("sysfs", root / "sys", "sysfs", kernel.RDONLY)
    kernel.mount("run", root / "run", "tmpfs", data="mode=755")
    kernel.mount("tmp", root / "tmp", "tmpfs", data="mode=1777")
    for name in ("run/netns", "run/lock", "run/network"):
        (root / name).mkdir()
    devices(root / "dev")
    _local(root / "usr/local", unpacked)


def devices(dev: Path) -> None:
    """Mount the few devices that programs expect."""
    kernel.mount("dev", dev, "tmpfs", data="mode=755")
    for name in ("null", "zero", "full", "random", "urandom", "tty", "net/tun"):
        (dev / name).parent.mkdir(exist_ok=True)
        (dev / name).touch()
        if Path("/dev", name).exists():
            kernel.bind(Path("/dev", name), dev / name)
    for name in ("pts", "shm"):
        (dev / name).mkdir()
    kernel.mount("devpts", dev / "pts", "devpts", data="newinstance,ptmxmode=0666,mode=620")
    kernel.mount("shm", dev / "shm", "tmpfs", data="mode=1777")
    (dev / "ptmx").symlink_to("pts/ptmx")
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        (dev / name).symlink_to(f"/proc/self/fd/{number}")
    (dev / "fd").symlink_to("/proc/self/fd")


def _local(local: Path, unpacked: Path | None) -> None:
    """Lay a writable /usr/local over the machine's: sudo, and the unpacked programs."""
    kernel.mount("local", local, "tmpfs", data="mode=755")
    for name in ("bin", "sbin", "lib"):
        (local / name).mkdir()
    for name, text in (("bin/sudo", SUDO), ("sbin/poweroff", POWEROFF)):
        (local / name).write_text(text)
        (local / name).chmod(0o755)
    if kernel.user_mode():
        for name in ("iptables", "iptables-save", "iptables-restore"):
            (local / "sbin" / name).symlink_to("/usr/sbin/xtables-legacy-multi")
    if unpacked is None or not unpacked.is_dir():
        return
    (local / "lib/osawslab-debs").mkdir()
    kernel.bind(unpacked, local / "lib/osawslab-debs", read_only=True)
    libraries = [str(path) for path in (unpacked / "usr/lib").glob("*-linux-gnu*") if path.is_dir()]
    search = ":".join(path.replace(str(unpacked), UNPACKED) for path in libraries)
    for folder in machine.FOLDERS:
        for program in sorted((unpacked / folder).glob("*")):
            target, shim = f"{UNPACKED}/{folder}/{program.name}", local / "sbin" / program.name
            if Path("/usr/sbin", program.name).exists() or shim.exists():
                continue
            shim.write_text(
                "#!/bin/sh\n"
                + (f"LD_LIBRARY_PATH={search} " if search else "")
                + f'exec {target} "$@"\n'
            )
            shim.chmod(0o755)


def boot_network(root: Path, about: Machine) -> None:
    """Bring the NICs up as the instance's own network system says: ifupdown.

    Where this machine could not get ifupdown, the first NIC gets its address by `ip`.
    """

    def inside(*argv: str) -> int:
        return subprocess.run(argv, check=False, preexec_fn=enter, env={"PATH": PATH}).returncode

    def enter() -> None:
        os.chroot(root)
        os.chdir("/")

    try:
        inside("ifup", "-a")
    except FileNotFoundError:
        inside("ip", "link", "set", about.nic, "up")
        inside("ip", "addr", "replace", f"{about.address}/{about.prefix}", "dev", about.nic)
        inside("ip", "route", "replace", "default", "via", about.gateway)
    if (root / "etc/openvswitch/conf.db").exists():
        inside("/etc/init.d/openvswitch-switch", "start")
