"""What a learner gets of a seat: a folder with its key, its host key, and how to log in."""

from __future__ import annotations

import shutil
from pathlib import Path

from osawslab.errors import writing
from osawslab.host.ssh import SshHost
from osawslab.keys import keep, key_file
from osawslab.lab import Lab
from osawslab.region import folders
from osawslab.target import aws_folder

KEY, KNOWN, CONFIG = "id_ed25519", "known_hosts", "ssh_config"


def folder(of: str, seat: str) -> Path:
    """Name a seat's folder, in that of its class."""
    return aws_folder(of) / seat


def config(host: SshHost, proxy: str) -> str:
    """Write OpenSSH's configuration, for who stands in the folder.

    The instance's name in it is `instance`.
    """
    lines = [
        "# in this folder: ssh -F ssh_config instance",
        "Host instance",
        f"  HostName {host.address}",
        f"  User {host.user}",
        f"  IdentityFile {KEY}",
        "  IdentitiesOnly yes",
        f"  UserKnownHostsFile {KNOWN}",
        "  GlobalKnownHostsFile /dev/null",
        "  StrictHostKeyChecking yes",
        *([f"  ProxyCommand {proxy}"] if proxy else []),
    ]
    return "\n".join(lines) + "\n"


def write(lab: Lab) -> Path:
    """Write the folder of a seat that is provisioned: 0700, its files 0600."""
    host, name = lab.host(), lab.settings.name
    made = folder(name.rpartition("-")[0], name)
    with writing(made):
        folders.private_folder(made)
        keep(made / KEY, key_file(lab.folder).read_text())
        keep(made / KNOWN, f"{host.address} {' '.join(host.host_key.split()[:2])}\n")
        keep(made / CONFIG, config(host, lab.settings.ssh_proxy))
    return made


def remove(of: str, seat: str) -> None:
    """Remove a seat's folder: it leads nowhere any more."""
    shutil.rmtree(folder(of, seat), ignore_errors=True)
