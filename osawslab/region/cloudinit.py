"""What cloud-init does for an instance: its host key, a script at the first boot, others at each.

The first boot is that of an instance id: one that is laid over the disk of another has its own.
"Module reference": SSH (`ssh_deletekeys`, `ssh_keys`), Scripts User, Scripts Per Boot.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from cryptography.hazmat.primitives import serialization as forms
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from osawslab.region.folders import write_whole

HOST_KEY = "ssh_host_ed25519_key"
INSTANCE = Path("var/lib/cloud/instance")  # a link to a folder of the instance's own
SCRIPT = "scripts/part-001"
RUN = "sem/config_scripts_user"  # there when the script has been run: never again
LOG = "var/log/cloud-init-output.log"
PER_BOOT = Path("var/lib/cloud/scripts/per-boot")
PER_BOOT_SERVICE = f"""[Unit]
Description=The scripts for each boot
Before=user-data.service
ConditionDirectoryNotEmpty=/{PER_BOOT}

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/bin/run-parts /{PER_BOOT}
StandardOutput=append:/{LOG}
StandardError=inherit
KillMode=process
TimeoutStartSec=infinity
"""
SERVICE = f"""[Unit]
Description=The script of the user data
After=network-online.target ssh.service
ConditionPathExists=/{INSTANCE}/{SCRIPT}
ConditionPathExists=!/{INSTANCE}/{RUN}

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStartPre=/bin/touch /{INSTANCE}/{RUN}
ExecStart=/{INSTANCE}/{SCRIPT}
StandardOutput=append:/{LOG}
StandardError=inherit
KillMode=process
TimeoutStartSec=infinity
"""


def cloud_config(user_data: bytes) -> dict[str, Any]:
    """Read user data as cloud-init reads it: a `#cloud-config`, else nothing."""
    text = user_data.decode(errors="replace")
    if not text.startswith("#cloud-config"):
        return {}
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError:
        return {}
    return found if isinstance(found, dict) else {}


def host_keys(config: Mapping[str, Any]) -> dict[str, str]:
    """Give the files of the host key that user data asks for, else those of a new one."""
    given = config.get("ssh_keys")
    if not isinstance(given, dict) or "ed25519_private" not in given:
        return _new_key()
    files = {HOST_KEY: str(given["ed25519_private"])}
    if "ed25519_public" in given:
        files[f"{HOST_KEY}.pub"] = str(given["ed25519_public"]) + "\n"
    return files


def _new_key() -> dict[str, str]:
    made = Ed25519PrivateKey.generate()
    private = made.private_bytes(
        forms.Encoding.PEM, forms.PrivateFormat.OpenSSH, forms.NoEncryption()
    )
    public = made.public_key().public_bytes(forms.Encoding.OpenSSH, forms.PublicFormat.OpenSSH)
    return {HOST_KEY: private.decode(), f"{HOST_KEY}.pub": f"{public.decode()} root\n"}


@dataclass(frozen=True)
class Given:
    """What an instance's user data means: its host key's files, and its script (b"": none)."""

    id: str
    host_key: Mapping[str, str]
    script: bytes

    @classmethod
    def of(cls, instance: str, user_data: bytes) -> Given:
        """Read user data; where it has no host key, a new one is made."""
        script = user_data if user_data.startswith(b"#!") else b""
        return cls(instance, host_keys(cloud_config(user_data)), script)


def begin(root: Path, given: Given) -> None:
    """Give an instance its host key and its script at its first boot; a lost key at any."""
    link, ssh = root / INSTANCE, root / "etc/ssh"
    own = link.parent / "instances" / given.id
    first = not (own / "sem/config_ssh").exists()
    if first:
        for old in ssh.glob("ssh_host_*"):
            old.unlink()
        for name in ("scripts", "sem"):
            (own / name).mkdir(parents=True, exist_ok=True)
        if given.script:
            (own / SCRIPT).write_bytes(given.script)
            (own / SCRIPT).chmod(0o700)
        link.unlink(missing_ok=True)
        link.symlink_to(f"instances/{given.id}")
    if not (ssh / HOST_KEY).exists():
        for name, text in given.host_key.items():
            write_whole(ssh / name, text, 0o644 if name.endswith(".pub") else 0o600)
    (own / "sem/config_ssh").touch()


async def run(root: Path, path: str) -> None:
    """Run the scripts for each boot, and the user data's script once in the instance's life.

    One that was cut off is run again, where cloud-init would not: it was cut off by the end of the
    region, of which an instance of EC2's knows nothing.
    """
    for script in sorted((root / PER_BOOT).glob("*")):
        if os.access(script, os.X_OK):
            await _run(root, path, f"/{PER_BOOT}/{script.name}")
    here = root / INSTANCE
    if (here / SCRIPT).exists() and not (here / RUN).exists():
        await _run(root, path, f"/{INSTANCE}/{SCRIPT}")
        (here / RUN).touch()


async def _run(root: Path, path: str, script: str) -> None:
    """Run a script as root in an instance; what it says goes into a log."""

    def enter() -> None:
        os.chroot(root)
        os.chdir("/")

    with (root / LOG).open("ab") as log:
        try:
            child = await asyncio.create_subprocess_exec(
                script,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={"PATH": path, "HOME": "/root"},
                start_new_session=True,
                preexec_fn=enter,
            )
        except OSError as error:  # nothing here runs such a script
            log.write(f"{error}\n".encode())
            return
    await child.wait()
