"""Where this machine gets its packages from: the hosts of its apt sources, and its proxy."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

DEBIAN = frozenset({"deb.debian.org", "security.debian.org"})
ETC = Path("/etc/apt")
_LINE = re.compile(r"^\s*deb(?:-src)?\s+(?:\[[^\]]*\]\s*)?(\S+)")  # sources.list(5), one-line style
_FIELD = re.compile(r"^URIs:\s*(.*(?:\n[ \t].*)*)", re.MULTILINE | re.IGNORECASE)  # deb822 style


def uris(text: str, *, deb822: bool) -> list[str]:
    """List the URIs of a file of apt sources.

    >>> uris("deb [arch=amd64] http://a.example/debian trixie main", deb822=False)
    ['http://a.example/debian']
    >>> uris("Types: deb\\nURIs: http://b.example/debian\\n http://c.example/d\\n", deb822=True)
    ['http://b.example/debian', 'http://c.example/d']
    """
    if not deb822:
        return [found[1] for line in text.splitlines() if (found := _LINE.match(line))]
    kept = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    stanzas = [
        stanza
        for stanza in re.split(r"\n\s*\n", kept)
        if not re.search(r"^Enabled:\s*no\s*$", stanza, re.MULTILINE | re.IGNORECASE)
    ]
    return [uri for stanza in stanzas for found in _FIELD.findall(stanza) for uri in found.split()]


def _machines(etc: Path) -> list[str]:
    """List the URIs of the machine's sources that lead over HTTP."""
    found = []
    for file in (etc / "sources.list", *sorted((etc / "sources.list.d").glob("*"))):
        if file.suffix in (".list", ".sources") and file.is_file():
            text = file.read_text(errors="replace")
            found += uris(text, deb822=file.suffix == ".sources")
    return [uri for uri in found if re.match(r"https?://[^/]", uri)]


def hosts(etc: Path = ETC) -> frozenset[str]:
    """Name the hosts that packages may come from: Debian's, and those of the machine's sources."""
    return DEBIAN | {str(urlsplit(uri).hostname) for uri in _machines(etc)}


def archive(name: str, etc: Path = ETC) -> str:
    """Give the URI of Debian's archive ("debian" or "debian-security") as this machine uses it."""
    ours = [uri.rstrip("/") for uri in _machines(etc)]
    return next((uri for uri in ours if uri.endswith(f"/{name}")), f"http://deb.debian.org/{name}")


def proxy(scheme: str = "http") -> str:
    """Give the proxy that this machine's apt uses for a scheme, or the environment's, or ""."""
    if shutil.which("apt-config"):
        done = subprocess.run(
            ["apt-config", "shell", "PROXY", f"Acquire::{scheme}::Proxy"],
            capture_output=True,
            text=True,
            check=False,
        )
        if found := re.match(r"PROXY='([^']+)'", done.stdout):
            return "" if found[1] == "DIRECT" else found[1]
    return os.environ.get(f"{scheme}_proxy", "")
