"""A lab's instance as somebody's host "box", for OpenSSH."""

from __future__ import annotations

from pathlib import Path

from osawslab import Lab
from osawslab.keys import key_file


def ssh_config(lab: Lab, folder: Path) -> Path:
    """Write what OpenSSH needs to log in to the lab's instance as `box`."""
    site = lab._site()
    facts = site.read_ec2()
    address = facts.eip("management")
    (folder / "known").write_text(f"{address} {facts.host_key}\n")
    config = folder / "config"
    config.write_text(
        f"Host box\n HostName {address}\n User admin\n IdentityFile {key_file(site.target.keys)}\n"
        f" UserKnownHostsFile {folder}/known\n ProxyCommand {site.target.proxy}\n"
    )
    return config
