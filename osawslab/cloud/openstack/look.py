"""What of OpenStack is on a host, in one round trip.

This file's text runs on the host, like `host/probe.py`: the standard library only.
"""

# The part below runs on the host. GIVEN comes from `SshHost.script`.
from __future__ import annotations

import hashlib
import itertools
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

DATABASE = re.compile(r"^connection *= *(mysql|postgresql)", re.MULTILINE)  # Debian's is sqlite


def output(*words: str) -> str:
    """Give a program's output; "" where it is not there."""
    try:
        return subprocess.run(words, capture_output=True, text=True, check=False).stdout
    except FileNotFoundError:
        return ""


def text(path: str) -> str:
    """Read a file; "" where there is none."""
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def fields(path: str, separator: str) -> dict[str, str]:
    """Read lines of a key, a separator and a value."""
    pairs = (line.partition(separator) for line in text(path).splitlines())
    return {key.strip(): value.strip().strip('"') for key, _, value in pairs}


def units(names: list[str]) -> dict[str, tuple[str, int]]:
    """Map systemd's units to their state: "active", "failed", …, and since when they run.

    That is in seconds since 1970; a unit of which systemd says nothing is ("", 0).
    """
    about = ("-p", "ActiveState", "-p", "ActiveEnterTimestamp", "--timestamp=unix")
    told = output("systemctl", "show", *about, *names).split("\n\n") if names else []
    states = {}
    for name, said in itertools.zip_longest(names, told[: len(names)], fillvalue=""):
        known = dict(line.partition("=")[::2] for line in said.splitlines())
        since = known.get("ActiveEnterTimestamp", "").removeprefix("@")
        states[name] = known.get("ActiveState", ""), int(since) if since.isdigit() else 0
    return states


def opens(path: str) -> bool:
    """Say whether a device can be opened, by opening it."""
    try:
        os.close(os.open(path, os.O_RDWR))
    except OSError:
        return False
    return True


def module(name: str) -> bool:
    """Say whether the kernel has a module, loaded or not: who needs one loads it (ovs-ctl does)."""
    if os.path.isdir(f"/sys/module/{name}"):
        return True
    try:
        return subprocess.run(("modprobe", "-n", "-q", name), check=False).returncode == 0
    except FileNotFoundError:
        return False


def main(given: dict[str, Any]) -> dict[str, Any]:
    """Read everything that was asked for."""
    folder, secrets = Path(given["folder"]), given["secrets"]
    installed = output("dpkg-query", "-W", "-f", "${binary:Package} ${db:Status-Abbrev}\n")
    have = {
        line.split()[0].partition(":")[0]
        for line in installed.splitlines()
        if line.split()[1:2] == ["ii"]
    }
    release = fields("/etc/os-release", "=")
    memory = {
        name: int(fields("/proc/meminfo", ":").get(key, "0 kB").split()[0]) * 1024
        for name, key in (("memory", "MemTotal"), ("available", "MemAvailable"))
    }
    stamps = {each.name: text(str(each)).strip() for each in folder.glob("*.stamp")}
    return {
        "system": release.get("ID", ""),
        "release": release.get("VERSION_ID", ""),
        "systemd": os.path.isdir("/run/systemd/system"),
        **memory,
        "disk": shutil.disk_usage("/").free,
        "missing": [name for name in given["packages"] if name not in have],
        "units": units(given["units"]),
        "stamps": {name.removesuffix(".stamp"): value for name, value in stamps.items()},
        "owner": fields(secrets, "=").get("INSTANCE", ""),
        "secrets": hashlib.sha256(text(secrets).encode()).hexdigest() if text(secrets) else "",
        "foreign": [path for path in given["configured"] if DATABASE.search(text(path))],
        # A Debian kernel starts under real KVM only; opening the device does not tell, its
        # processor flags do (kvm_intel, kvm_amd).
        "kvm": opens("/dev/kvm")
        and any(os.path.isdir(f"/sys/module/{name}") for name in ("kvm_intel", "kvm_amd")),
        "openvswitch_module": module("openvswitch"),
        "tun": opens("/dev/net/tun"),
    }


if __name__ == "__main__":
    print(json.dumps(main(GIVEN)))  # type: ignore[name-defined]  # noqa: F821, T201
