"""The program on the instance as one file, and what starts it there at each boot."""

from __future__ import annotations

import functools
import io
import json
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from osawslab.cloud.floating import Floating
from osawslab.cloud.handbuilt import FOLDER, Cloud, Want
from osawslab.cloud.keeper import CONFIG, LOG, MENDING, PID
from osawslab.settings import Settings

PROGRAM = f"{FOLDER}/last.pyz"
BOOT = "/var/lib/cloud/scripts/per-boot/osawslab-last"
# Nothing outside of the standard library is imported by these.
MODULES = (
    "errors", "settings", "host/__init__", "host/probe", "host/facts", "host/interfaces",
    "aws/__init__", "aws/facts", "cloud/__init__", "cloud/names", "cloud/handbuilt",
    "cloud/router", "cloud/vm", "cloud/mac_nat", "cloud/floating", "cloud/lasting", "cloud/keeper",
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


def config(
    settings: Settings, registered_mac: str, strategy: str, floats: Iterable[Floating] = ()
) -> str:
    """Write what the program is told; of the floating IPs, those of the lab's own router."""
    given: dict[str, Any] = {name: getattr(settings, name) for name in KEPT}
    told: dict[str, Any] = {
        "registered_mac": registered_mac,
        "strategy": strategy,
        "settings": given,
    }
    if ones := sorted({(one.address, one.fixed) for one in floats if not one.router}):
        told["floating"] = ones
    return json.dumps(told, sort_keys=True) + "\n"


def kept(cloud: Cloud, strategy: str, floats: Iterable[Floating]) -> Want:
    """Want the program to be told all that it is to keep."""
    text = config(cloud.settings, cloud.registered_mac, strategy, floats)
    have = cloud.host.files.get(CONFIG) == text
    return Want(have, "what it is to keep", f"cat > {CONFIG} <<'END'\n{text}END")
