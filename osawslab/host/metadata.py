"""Ask the metadata service for a token: from the host, and from a namespace behind it.

This file's text runs on the host, like `probe`. The namespace is as a VM's would be: one hop
further away, its traffic forwarded and translated. All of it is taken away again.
"""

# The part below runs on the host. GIVEN comes from `SshHost.script`.
from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from typing import Any

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
BEHIND, OUT, IN = "probe-behind", "probe-out", "probe-in"
NET, NEAR, FAR = "10.255.255.0/30", "10.255.255.1", "10.255.255.2"
FORWARD = "/proc/sys/net/ipv4/ip_forward"
# Prints the HTTP status, or what kept it from one; never what was answered: tokens are secrets.
ASK = """
import sys, urllib.error, urllib.request
method, path, header, value = sys.argv[1:]
asked = urllib.request.Request("http://169.254.169.254/latest/" + path, method=method)
if header:
    asked.add_header(header, value)
try:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    print(opener.open(asked, timeout=3).status)
except urllib.error.HTTPError as error:
    print(error.code)
except OSError as error:
    print(getattr(error, "reason", error))
"""
TOKEN = ("PUT", "api/token", "X-aws-ec2-metadata-token-ttl-seconds", "60")
PLAIN = ("GET", "meta-data/", "", "")


def run(*words: str, must: bool = True) -> str:
    """Run a program; what it prints. Raises CalledProcessError."""
    done = subprocess.run(words, capture_output=True, text=True, check=must)
    return done.stdout.strip()


def ask(what: tuple[str, ...], *before: str) -> str:
    """Ask the metadata service; the status, or what went wrong."""
    return run(*before, sys.executable, "-c", ASK, *what, must=False)


def behind(peer: str) -> dict[str, str]:
    """Make the namespace, ask from it, and take it away; a ping tells that its way out is one."""
    with open(FORWARD) as file:
        before = file.read().strip()
    rule = ("POSTROUTING", "-s", NET, "-j", "MASQUERADE")
    try:
        run("ip", "netns", "add", BEHIND)
        run("ip", "link", "add", OUT, "type", "veth", "peer", "name", IN, "netns", BEHIND)
        run("ip", "addr", "add", f"{NEAR}/30", "dev", OUT)
        run("ip", "link", "set", OUT, "up")
        run("ip", "-n", BEHIND, "addr", "add", f"{FAR}/30", "dev", IN)
        run("ip", "-n", BEHIND, "link", "set", IN, "up")
        run("ip", "-n", BEHIND, "route", "add", "default", "via", NEAR)
        run("sh", "-c", f"echo 1 > {FORWARD}")
        run("iptables", "-t", "nat", "-A", *rule)
        enter = ("ip", "netns", "exec", BEHIND)
        ping = run(*enter, "ping", "-n", "-c", "3", "-i", "0.2", "-W", "1", peer, must=False)
        return {"behind": ask(TOKEN, *enter), "ping": "yes" if " 0% packet loss" in ping else "no"}
    finally:
        run("iptables", "-t", "nat", "-D", *rule, must=False)
        run("sh", "-c", f"echo {before} > {FORWARD}", must=False)
        run("ip", "link", "del", OUT, must=False)
        run("ip", "netns", "del", BEHIND, must=False)


def main(given: dict[str, Any]) -> dict[str, str]:
    """Ask with and without a token, and from behind."""
    os.environ["PATH"] = PATH
    found = {"token": ask(TOKEN)}
    if found["token"] == "200":
        found["without"] = ask(PLAIN)
        if shutil.which("iptables"):
            found |= behind(given["peer"])
    return found


if __name__ == "__main__":
    print(json.dumps(main(GIVEN)))  # type: ignore[name-defined]  # noqa: F821, T201
