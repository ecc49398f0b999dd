"""This machine's apt: its hosts in both formats, its proxy."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from osawslab.region import sources

ONE_LINE = """# deb http://commented.example/debian trixie main
deb http://one.example/debian trixie main # deb http://remark.example
  deb-src [arch=amd64 signed-by=/k.gpg] https://Two.example:8080/debian trixie main
deb cdrom:[Debian]/ trixie main
deb file:/srv/mirror ./
"""
DEB822 = """Types: deb
# URIs: http://commented.example/debian
URIs: http://three.example/debian
 http://four.example/debian
Suites: trixie

Enabled: no
URIs: http://disabled.example/debian

uris: https://five.example/debian http://six.example
"""


def test_hosts_of_both_formats(tmp_path: Path) -> None:
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list").write_text(ONE_LINE)
    (tmp_path / "sources.list.d/a.sources").write_text(DEB822)
    (tmp_path / "sources.list.d/b.list").write_text("deb http://seven.example/ ./\n")
    (tmp_path / "sources.list.d/c.list.disabled").write_text("deb http://off.example/ ./\n")
    names = ("one", "two", "three", "four", "five", "six", "seven")
    assert sources.hosts(tmp_path) == sources.DEBIAN | {f"{name}.example" for name in names}


@pytest.mark.parametrize(
    ("text", "name", "uri"),
    [
        ("", "debian", "http://deb.debian.org/debian"),
        ("", "debian-security", "http://deb.debian.org/debian-security"),
        ("deb https://own.example/debian/ trixie main", "debian", "https://own.example/debian"),
        ("deb http://own.example/ubuntu noble main", "debian", "http://deb.debian.org/debian"),
        ("deb file:/srv/debian ./", "debian", "http://deb.debian.org/debian"),
    ],
)
def test_an_archive_is_where_the_machine_gets_it(
    text: str, name: str, uri: str, tmp_path: Path
) -> None:
    (tmp_path / "sources.list").write_text(text)
    assert sources.archive(name, tmp_path) == uri


def test_without_any_there_are_debians(tmp_path: Path) -> None:
    assert sources.hosts(tmp_path) == {"deb.debian.org", "security.debian.org"}


@pytest.mark.parametrize(
    ("said", "environment", "proxy"),
    [
        ("", "", ""),
        ("", "http://env.example:1", "http://env.example:1"),
        ("PROXY='http://apt.example:2'", "http://env.example:1", "http://apt.example:2"),
        ("PROXY='DIRECT'", "http://env.example:1", ""),
    ],
)
def test_the_proxy_is_apts_then_the_environments(
    said: str, environment: str, proxy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "apt-config"
    program.write_text(f'#!/bin/sh\necho "{said}"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("http_proxy", environment)
    assert sources.proxy() == proxy
