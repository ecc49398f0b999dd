"""Give each notebook a lab of its own, from before its kernel starts until after its end."""

from __future__ import annotations

import itertools
import os
import socket
from collections.abc import Generator
from contextlib import ExitStack

import pytest
from jupyter_client.connect import LocalPortCache

from osawslab.testing import fresh_home

# A kernel is told ports that were free a moment before, and is never ready where one is taken
# meanwhile. Below the kernel's ephemeral ports (32768, ip(7)) no outgoing connection takes one.
PORTS = itertools.cycle(range(20000 + os.getpid() % 1000 * 10, 32768))


def _free_port(_: LocalPortCache, ip: str) -> int:
    for port in PORTS:
        with socket.socket() as tried:
            try:
                tried.bind((ip, port))
            except OSError:
                continue
            return port
    raise AssertionError("an endless range has ended")


LocalPortCache.find_available_port = _free_port

HOME = pytest.StashKey[ExitStack]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(
    item: pytest.Item, nextitem: pytest.Item | None
) -> Generator[None, object, object]:
    """Begin a home with a notebook's first cell; end it when nbval has ended the kernel."""
    if item.path.suffix != ".ipynb":
        return (yield)
    if HOME not in item.session.stash:
        item.session.stash[HOME] = ExitStack()
        item.session.stash[HOME].enter_context(fresh_home())
    result = yield
    if nextitem is None or nextitem.path != item.path:
        pytest_sessionfinish(item.session)
    return result


def pytest_sessionfinish(session: pytest.Session) -> None:
    """End the home of a notebook that was interrupted."""
    if HOME in session.stash:
        session.stash[HOME].close()
        del session.stash[HOME]
