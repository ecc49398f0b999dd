"""The program on the instance as one file, and what starts it there at each boot."""

from __future__ import annotations

import functools
import io
import json
import zipfile
from pathlib import Path
from typing import Any

from osawslab.cloud.handbuilt import FOLDER
from osawslab.cloud.keeper import LOG, MENDING, PID
from osawslab.settings import Settings

PROGRAM = f"{FOLDER}/last.pyz"
BOOT = "/var/lib/cloud/scripts/per-boot/osawslab-last"
# Nothing outside of the standard library is imported by these.
MODULES = (
    "errors", "settings", "host/__init__", "host/probe", "host/facts", "host/interfaces",
    "cloud/__init__", "cloud/names", "cloud/handbuilt", "cloud/router", "cloud/vm",
    "cloud/lasting", "cloud/keeper",
)  # fmt: skip
KEPT = (  # the settings that the cloud is made from
    "name", "provider_cidr", "provider_address", "provider_bridge", "tenant_cidr", "vm_address",
    "vm_name", "published_port", "bridge",
)  # fmt: skip
# cloud-init runs it at each boot ("Scripts Per Boot"). In a service of its own where there is
# systemd, of which the VM is no part: it outlives the program.
SCRIPT = f"""\
#!/bin/sh
# Put back what the published VM needs, now and after each restart of Open vSwitch.
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
if [ -d /run/systemd/system ]; then
  systemd-run --quiet --collect --unit=osawslab-last --property=KillMode=process \\
    --property=StandardError=append:{LOG} python3 -I {PROGRAM} watch || true
else
  setsid -f python3 -I {PROGRAM} watch < /dev/null > /dev/null 2>> {LOG}
fi
"""
# Whoever has the lock watches, and is not ended while it mends; it has ended when the lock is free.
STOP = (
    f"flock -n {PID} true || {{ flock -w 60 {MENDING} sh -c 'kill -- -$(cat {PID}) 2>/dev/null"
    f" || kill $(cat {PID})'; flock -w 10 {PID} true; }}"
)


@functools.cache
def archive() -> bytes:
    """Pack the program: the same bytes for the same sources, whichever zlib there is."""
    package = Path(__file__).parents[1]
    files = {"__main__.py": "from osawslab.cloud.keeper import main\n\nmain()\n"}
    files["osawslab/__init__.py"] = ""
    for name in MODULES:
        files[f"osawslab/{name}.py"] = (package / f"{name}.py").read_text()
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_STORED) as packed:
        for path, text in files.items():
            packed.writestr(zipfile.ZipInfo(path), text, zipfile.ZIP_STORED)
    return made.getvalue()


def config(settings: Settings, registered_mac: str, strategy: str) -> str:
    """Write what the program is told."""
    given: dict[str, Any] = {name: getattr(settings, name) for name in KEPT}
    told = {"registered_mac": registered_mac, "strategy": strategy, "settings": given}
    return json.dumps(told, sort_keys=True) + "\n"
