"""Ping from a namespace while a NIC is captured: one round trip, ended by the ping's own end.

This file's text runs on the host, like `probe`.
"""

# The part below runs on the host. GIVEN comes from `SshHost.script`.
from __future__ import annotations

import base64
import json
import os
import re
import select
import signal
import subprocess
import tempfile
import time
from typing import Any

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
LISTEN_SECONDS = 5.0


def capture(nic: str, path: str) -> subprocess.Popen[bytes] | None:
    """Start tcpdump and wait until it listens; None where it cannot."""
    try:
        process = subprocess.Popen(
            ["tcpdump", "-i", nic, "-U", "--immediate-mode", "-n", "-s", "256", "-w", path,
             "arp or icmp"],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except FileNotFoundError:
        return None
    assert process.stderr is not None
    end, said = time.monotonic() + LISTEN_SECONDS, b""
    while b"listening on" not in said:
        left = end - time.monotonic()
        if left <= 0 or not select.select([process.stderr], [], [], left)[0]:
            break
        part = os.read(process.stderr.fileno(), 4096)
        if not part:
            process.wait()
            return None
        said += part
    return process


def forget(given: dict[str, Any]) -> None:
    """Let the router forget what it learned about its neighbours."""
    subprocess.run(
        ["ip", "-n", given["netns"], "neigh", "flush", "dev", given["device"]],
        capture_output=True,
        check=False,
    )


def main(given: dict[str, Any]) -> dict[str, Any]:
    """Forget the neighbour, capture, ping, stop; what was sent, received and captured."""
    os.environ["PATH"] = PATH
    enter = ["ip", "netns", "exec", given["netns"]]
    forget(given)
    with tempfile.NamedTemporaryFile(suffix=".pcap") as file:
        os.chmod(file.name, 0o666)
        process = capture(given["nic"], file.name) if given.get("nic") else None
        done = subprocess.run(
            [*enter, "ping", "-n", "-c", str(given["count"]), "-i", "0.05", "-W", "1",
             given["address"]],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        neighbours = subprocess.run(
            ["ip", "-n", given["netns"], "-j", "neigh", "show", "dev", given["device"]],
            capture_output=True,
            text=True,
            check=False,
        ).stdout
        forget(given)  # else the kernel goes on asking who-has, and the drops are counted
        if process is not None:
            process.send_signal(signal.SIGINT)
            process.wait()
        with open(file.name, "rb") as captured:
            data = captured.read()
    found = re.search(r"(\d+) packets transmitted, (\d+) received", done.stdout)
    return {
        "sent": int(found.group(1)) if found else 0,
        "received": int(found.group(2)) if found else 0,
        "said": (done.stdout + done.stderr).strip(),
        "captured": base64.b64encode(data).decode(),
        "neighbours": json.loads(neighbours or "[]"),
    }


if __name__ == "__main__":
    print(json.dumps(main(GIVEN)))  # type: ignore[name-defined]  # noqa: F821, T201
