"""JupyterHub with our configuration: ten learners log in, and each finds what is theirs again.

The learners are real users of this test's own /etc/passwd, in a mount namespace.
"""

from __future__ import annotations

import http.cookiejar
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from osawslab import hub
from osawslab.classroom import progress

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "binder" / "jupyterhub_config.py"
LEARNERS = [f"learner{number}" for number in range(1, 11)]
FIRST_UID = 1_879_100_001 + os.getpid() % 10_000 * 20
SECONDS = 300.0
PASSWORD = "a class on one hub"
STRICTER = """
load_subconfig({config!r})
c.JupyterHub.authenticator_class = "dummy"
c.DummyAuthenticator.password = {password!r}
c.Authenticator.allow_all = False
c.Authenticator.allowed_users = set({learners!r})
c.JupyterHub.bind_url = "http://127.0.0.1:{ports[0]}"
c.JupyterHub.hub_port = {ports[1]}
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{ports[2]}"
c.ConfigurableHTTPProxy.command = [{proxy!r}]
c.JupyterHub.concurrent_spawn_limit = 3
c.Spawner.environment = {{**c.Spawner.environment, **{environment!r}}}
"""


def free_ports(count: int) -> list[int]:
    """Find ports that nobody listens on."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    found = [each.getsockname()[1] for each in held]
    for each in held:
        each.close()
    return found


class Browser:
    """A learner's browser: cookies, and the form that JupyterHub logs in with."""

    def __init__(self, port: int, name: str) -> None:
        self.base, self.name = f"http://127.0.0.1:{port}", name
        self.cookies = http.cookiejar.CookieJar()
        self._open = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self.cookies))

    def ask(self, path: str, method: str = "GET", data: bytes | None = None) -> tuple[int, str]:
        """Send a request, with the cookie's token where something changes; status and text."""
        asked = urllib.request.Request(self.base + path, data, method=method)
        if method != "GET":
            fit = [each for each in self.cookies if each.name == "_xsrf" and each.value]
            fit = [each for each in fit if path.startswith(each.path)]
            asked.add_header("X-XSRFToken", str(max(fit, key=lambda each: len(each.path)).value))
        try:
            with self._open.open(asked, timeout=SECONDS) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def log_in(self, password: str = PASSWORD) -> tuple[int, str]:
        """Fill the login form in."""
        self.ask("/hub/login")
        token = next(each.value for each in self.cookies if each.name == "_xsrf")
        form = {"username": self.name, "password": password, "_xsrf": token}
        return self.ask("/hub/login?next=/hub/home", "POST", urllib.parse.urlencode(form).encode())

    def spawn(self) -> dict[str, Any]:
        """Open the learner's server, which starts it; what it says of itself."""
        self.ask(f"/hub/spawn/{self.name}")
        until = time.monotonic() + SECONDS
        tick = threading.Event()
        while time.monotonic() < until:
            status, text = self.ask(f"/user/{self.name}/api/status")
            if status == 200 and text.startswith("{"):
                return dict(json.loads(text))
            assert status != 500, text
            if status == 424:  # not asked for yet, or too many at once
                self.ask(f"/hub/spawn/{self.name}")
            if status == 403:  # it runs, and does not know this browser yet
                self.ask(f"/user/{self.name}/lab")
            tick.wait(0.5)
        raise AssertionError(f"{self.name}'s server did not start: {status} {text[:200]}")

    def stop(self) -> int:
        """Stop the learner's server."""
        return self.ask(f"/hub/api/users/{self.name}/server", "DELETE")[0]

    def put(self, name: str, text: str) -> int:
        """Write a file beside the notebooks, by JupyterLab's own API."""
        self.ask(f"/user/{self.name}/lab")  # gives the cookie
        body = json.dumps({"type": "file", "format": "text", "content": text}).encode()
        return self.ask(f"/user/{self.name}/api/contents/{name}", "PUT", body)[0]


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = Path("/tmp") / f"osl-hub-{os.getpid()}"
    folder.mkdir(mode=0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def port(homes: Path) -> Iterator[int]:
    """Run JupyterHub with our configuration; only who logs in is the test's."""
    proxy = shutil.which("configurable-http-proxy")
    if os.geteuid():
        pytest.fail("NOT RUN: only root can start servers of other users")
    if proxy is None:
        pytest.fail("NOT RUN: npm install -g configurable-http-proxy")
    passwd, group = Path("/etc/passwd").read_text(), Path("/etc/group").read_text()
    for number, name in enumerate(LEARNERS):
        uid, home = FIRST_UID + number, homes / name
        home.mkdir(mode=0o700)
        os.chown(home, uid, uid)
        passwd += f"{name}:x:{uid}:{uid}::{home}:/bin/bash\n"
        group += f"{name}:x:{uid}:\n"
    own = homes / "hub"
    own.mkdir(mode=0o700)
    for name, text in (("passwd", passwd), ("group", group)):
        (own / name).write_text(text)
        (own / name).chmod(0o644)
    ports = free_ports(3)
    environment = {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    (own / "config.py").write_text(
        STRICTER.format(config=str(CONFIG), password=PASSWORD, learners=LEARNERS, ports=ports,
                        proxy=proxy, environment=environment)
    )  # fmt: skip
    script = (
        'mount --bind "$1/passwd" /etc/passwd && mount --bind "$1/group" /etc/group &&'
        f' {opened(Path(sys.base_prefix))} cd "$1" && exec "$2" -m jupyterhub -f config.py'
    )
    with (own / "log").open("w") as log:
        running = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", script, "sh", str(own), sys.executable],
            stdout=log, stderr=log, start_new_session=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
    try:
        _answers(ports[0], running, own / "log")
        (own / "pid").write_text(str(running.pid))
        yield ports[0]
    finally:
        running.send_signal(signal.SIGTERM)  # it ends the learners' servers and the proxy
        try:
            running.wait(60)
        finally:
            for number in range(len(LEARNERS)):
                subprocess.run(
                    ["setpriv", f"--reuid={FIRST_UID + number}", f"--regid={FIRST_UID + number}",
                     "--clear-groups", "kill", "-9", "-1"], check=False,
                )  # fmt: skip


def opened(python: Path) -> str:
    """Give the commands that let every user reach a Python below a folder that is root's alone."""
    closed = [each for each in python.parents if not each.stat().st_mode & 0o001]
    if not closed:
        return ""
    return (
        f'mkdir "$1/python" && mount --bind {python} "$1/python" &&'
        f" mount -t tmpfs -o mode=755 none {closed[-1]} && mkdir -p {python} &&"
        f' mount --bind "$1/python" {python} &&'
    )


def _answers(port: int, running: subprocess.Popen[bytes], log: Path) -> None:
    tick = threading.Event()
    for _ in range(int(SECONDS * 5)):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/hub/api", timeout=10):
                return
        except OSError:
            assert running.poll() is None, log.read_text()[-2000:]
            tick.wait(0.2)
    raise AssertionError(log.read_text()[-2000:])


def inside(homes: Path, name: str, *words: str) -> str:
    """Run the lab as a learner, as a terminal in JupyterLab does."""
    uid, home = FIRST_UID + LEARNERS.index(name), homes / name
    own = hub.environment({"JUPYTERHUB_USER": name}, home)
    place = ("nsenter", f"--mount=/proc/{(homes / 'hub/pid').read_text()}/ns/mnt")
    user = ("setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups")
    done = subprocess.run(
        [*place, *user, sys.executable, "-P", "-m", "osawslab.cli", *words],
        cwd="/", capture_output=True, text=True, check=False,
        env={"HOME": str(home), "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **own},
    )  # fmt: skip
    return done.stdout + done.stderr


def test_a_stranger_and_a_wrong_password_are_refused(port: int) -> None:
    assert Browser(port, "nobody-of-ours").log_in()[0] == 403
    assert Browser(port, LEARNERS[0]).log_in("wrong")[0] == 403
    said = Browser(port, LEARNERS[0]).ask(f"/user/{LEARNERS[0]}/api/contents")[1]
    assert 'name="password"' in said  # the login page


def test_ten_learners_log_in_and_each_keeps_what_is_theirs(port: int, homes: Path) -> None:
    browsers = [Browser(port, name) for name in LEARNERS]
    with ThreadPoolExecutor(len(browsers)) as at_once:
        assert [code for code, _ in at_once.map(Browser.log_in, browsers)] == [200] * 10
        assert all(each["kernels"] == 0 for each in at_once.map(Browser.spawn, browsers))
    for each in browsers:
        home = homes / each.name
        laid = home / hub.FOLDER / "00-start.ipynb"
        assert laid.stat().st_uid == home.stat().st_uid == FIRST_UID + LEARNERS.index(each.name)
        assert each.put("mine.txt", each.name) == 201
    first, second = browsers[:2]
    assert first.ask(f"/user/{second.name}/api/contents")[0] in (403, 404)  # another's server
    for each in (first, second):
        assert "provision" in inside(homes, each.name, "run", "provision")
    inside(homes, second.name, "hint", "networks")
    assert first.stop() in (202, 204)
    first.spawn()
    kept = first.ask(f"/user/{first.name}/api/contents/mine.txt")
    assert (kept[0], json.loads(kept[1])["content"]) == (200, first.name)
    found = [progress.read(homes / name, hub.RECORD) for name in LEARNERS[:3]]
    assert [(each.step, sum(each.hints.values())) for each in found] == [
        ("provision", 0), ("provision", 1), ("", 0),
    ]  # fmt: skip
    assert '"running": true' in inside(homes, first.name, "status", "--json")
    for name in LEARNERS[:2]:
        inside(homes, name, "down")
