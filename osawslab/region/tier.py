"""Where a local region can run on this machine: tried by really doing it.

`userns`: in a user namespace, as anybody. `root`: by root, without a user namespace. `uml`: in
a kernel of its own, as anybody (see `uml`).
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from osawslab.errors import BadSetting, NoPlaceToRun
from osawslab.region import uml
from osawslab.region.folders import owner

# What the region's process does first, each with real words when it is refused.
_TRY = (
    "mount --make-rprivate / && mount -t tmpfs none /run && mount -t proc proc /proc"
    " && mount -t sysfs sysfs /sys && mkdir /run/netns && ip link add try0 type veth peer name try1"
)
NAMESPACES = ("--net", "--mount", "--pid", "--fork", "--kill-child=KILL")
_ARGUMENTS = {
    "userns": ("unshare", "--user", "--map-root-user", *NAMESPACES),
    "root": ("unshare", *NAMESPACES),
    "uml": uml.ARGUMENTS,
}
SLOWNESS = {"uml": 5}  # times that a region takes to start, at most
ONLY_READ = "to read the notebooks with what they show: ./lab start --no-region"
APPARMOR = Path("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")


@dataclass(frozen=True)
class Tier:
    """A way to run the region, and what the machine said to it ("" when it works)."""

    name: str
    refused: str

    @property
    def works(self) -> bool:
        """True when the region can run this way."""
        return not self.refused


def names() -> tuple[str, ...]:
    """Name the tiers in the order in which they are tried."""
    # In a user namespace root has no power over the files of the caller that it works for.
    return tuple(name for name in _ARGUMENTS if not (name == "userns" and owner()))


def arguments(tier: str) -> tuple[str, ...]:
    """Give the command that opens a tier's namespaces, to be put before another command."""
    return _ARGUMENTS[tier]


def attempt(tier: str, user: int | None = None) -> Tier:
    """Try one tier; as root, a user namespace also as another user."""
    if tier == "uml":
        return Tier(tier, uml.attempt())
    if tier == "root" and os.geteuid() != 0:
        return Tier(tier, "you are not root")
    try:
        done = subprocess.run(
            [*arguments(tier), "sh", "-c", _TRY],
            capture_output=True,
            text=True,
            check=False,
            timeout=20,
            user=user,
            group=user,
            extra_groups=None if user is None else (),
        )
    except FileNotFoundError as error:
        return Tier(tier, f"{error.filename} is not installed (package util-linux)")
    except subprocess.TimeoutExpired:
        return Tier(tier, "no answer within 20 s")
    if done.returncode == 0:
        return Tier(tier, "")
    return Tier(tier, (done.stderr or done.stdout).strip() or f"exit status {done.returncode}")


def choose(environ: Sequence[tuple[str, str]] | None = None) -> tuple[str, list[Tier]]:
    """Choose the first tier that works, and tell those tried before it.

    `OSAWSLAB_TIER` forces one. Raises NoPlaceToRun with each refusal in the machine's words.
    """
    forced = dict(os.environ if environ is None else environ).get("OSAWSLAB_TIER", "")
    if forced and forced not in _ARGUMENTS:
        raise BadSetting(
            f"OSAWSLAB_TIER is one of {', '.join(_ARGUMENTS)}",
            seen=repr(forced),
            next="unset OSAWSLAB_TIER",
        )
    tried: list[Tier] = []
    for name in [forced] if forced else names():
        tried.append(attempt(name))
        if tried[-1].works:
            return name, tried
    raise NoPlaceToRun(
        "this machine lets the local region run nowhere",
        seen="; ".join(f"{tier.name}: {tier.refused}" for tier in tried),
        next=advice(),
    )


def wants_kernel() -> bool:
    """Say whether only User-Mode Linux would help here, and is not there yet."""
    if uml.program() is not None or not uml.may_trace():
        return False
    forced = os.environ.get("OSAWSLAB_TIER", "")
    others = [forced] if forced else [name for name in names() if name != "uml"]
    return forced == "uml" or not any(attempt(name).works for name in others)


def advice() -> str:
    """Say what to type where namespaces are refused."""
    text = "use a machine, a virtual machine or a codespace whose root may make namespaces"
    if os.geteuid() != 0:
        text = f"sudo ./lab start (your files stay yours){allow()}"
    return f"{text}; {ONLY_READ}"


def allow() -> str:
    """Say how user namespaces are allowed, where it is AppArmor who forbids them; or ""."""
    if APPARMOR.exists() and APPARMOR.read_text().strip() == "1":
        return (
            ", or allow user namespaces until the next boot:"
            " sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0"
        )
    return ""
