"""A real browser that reaches this machine and nothing else."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import BrowserContext, ConsoleMessage, Page, expect, sync_playwright

from osawslab.region import machine

LOOPBACK = "127.0.0.1"
WAIT_SECONDS = 120.0  # a whole notebook on a busy machine
FLAGS = (
    "--no-sandbox",  # it needs namespaces that a container may not have
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    f"--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE {LOOPBACK}",
)


class Browser:
    """A browser's pages, and what they met."""

    def __init__(self, context: BrowserContext) -> None:
        self.context = context
        self.outside: list[str] = []  # addresses that are not this machine's
        self.errors: list[str] = []

    def page(self) -> Page:
        """Open an empty page; what it asks for and complains of is kept."""
        page = self.context.new_page()
        page.on("console", lambda message: self._heard(message))
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", lambda request: self._asked(request.url))
        page.on("websocket", lambda opened: self._asked(opened.url))
        return page

    def _asked(self, url: str) -> None:
        found = urlsplit(url)
        if found.scheme not in ("data", "blob") and found.hostname != LOOPBACK:
            self.outside.append(url)

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.errors.append(message.text)


@contextlib.contextmanager
def browser(home: Path) -> Iterator[Browser]:
    """Run a browser that knows no names, so that nothing outside this machine can be found."""
    files = {"HOME": str(home), "XDG_CONFIG_HOME": str(home / "config")}
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=machine.find("chromium"), args=FLAGS, env={**os.environ, **files}
        )
        context = chromium.new_context(
            viewport={"width": 1180, "height": 1000}, service_workers="block"
        )
        context.set_default_timeout(WAIT_SECONDS * 1000)
        expect.set_options(timeout=WAIT_SECONDS * 1000)
        yield Browser(context)
        chromium.close()
