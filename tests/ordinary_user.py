#!/usr/bin/env python3
"""Run the tour as an ordinary user from a fresh clone, and prove that nothing of it is left.

Needs root to become that user: a free user id without groups and without capabilities, with a
home of its own and no XDG_RUNTIME_DIR. Standard library only. The exit status is 0 when the tour
went through twice (the second time without a change) and `./lab down` left nothing; and then once
more in what is like a container of Docker's, where namespaces are forbidden and User-Mode Linux
carries the region.
"""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
FIRST_UID = 61234
SHARED = ("/tmp", "/var/tmp", "/dev/shm", "/run")
# How this machine reaches package indexes is the machine's matter, whoever asks.
KEPT = tuple(
    name
    for name in os.environ
    if name.startswith("PIP_")
    or name.lower() in ("http_proxy", "https_proxy", "no_proxy", "ssl_cert_file", "ssl_cert_dir")
)
PATH = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"


def main() -> int:
    if os.geteuid():
        say("only root can become another user; an ordinary user runs ./lab tour")
        return 2
    prepare()
    uid = free_uid()
    with tempfile.TemporaryDirectory(prefix="osawslab-user-") as name:
        work = Path(name)
        clone(work, uid)
        before = seen(uid)
        try:
            wrong = tour(work, uid) or contained_tour(work, uid)
        finally:
            left = leftovers(work, uid, before)
            for pid in processes(uid):  # a tree that outlives its test would hold the folder
                os.kill(pid, 9)
    for line in [*wrong, *left]:
        say(f"WRONG: {line}")
    say("NOT as it should be" if wrong or left else "the tour went through, and nothing is left")
    return 1 if wrong or left else 0


def say(text: str) -> None:
    sys.stderr.write(f"ordinary user: {text}\n")
    sys.stderr.flush()


def prepare() -> None:
    """Install what an ordinary user's /usr/bin/python3 needs to make environments."""
    has = ["/usr/bin/python3", "-c", "import ensurepip"]
    if subprocess.run(has, stderr=subprocess.DEVNULL).returncode and shutil.which("apt-get"):
        environ = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        install = ["apt-get", "-qq", "-y", "-o", "DPkg::Lock::Timeout=120"]
        install += ["--no-install-recommends", "install", "python3-venv"]
        subprocess.run(install, env=environ, stdout=subprocess.DEVNULL, check=True)


def free_uid() -> int:
    taken = {entry.pw_uid for entry in pwd.getpwall()}
    return next(
        uid for uid in range(FIRST_UID, FIRST_UID + 1000) if uid not in taken and not processes(uid)
    )


def clone(work: Path, uid: int) -> None:
    """Lay a fresh clone and an empty home into the folder, all the user's."""
    # The checkout may be another user's: git asks root to say that this is meant.
    trust = ["-c", f"safe.directory={CHECKOUT}", "-c", f"safe.directory={CHECKOUT / '.git'}"]
    source, target = f"file://{CHECKOUT}", str(work / "clone")
    subprocess.run(["git", *trust, "clone", "-q", source, target], check=True)
    (work / "home").mkdir(mode=0o700)
    for folder, folders, files in os.walk(work):
        for entry in (".", *folders, *files):
            os.chown(os.path.join(folder, entry), uid, uid, follow_symlinks=False)


def lab(
    work: Path, uid: int, *words: str, contained: bool = False
) -> subprocess.CompletedProcess[str]:
    drop = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"]
    drop += ["--inh-caps=-all", "--bounding-set=-all"]
    if contained:
        drop += ["/usr/bin/python3", str(work / "clone/tests/kit/docker_filter.py")]
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    environ = {**kept, "PATH": PATH, "HOME": str(work / "home"), "CI": "true", "LANG": "C.UTF-8"}
    environ |= {"USER": "learner", "LOGNAME": "learner"}
    say(f"./lab {' '.join(words)}" + (" (contained)" if contained else ""))
    return subprocess.run(
        [*drop, "./lab", *words],
        cwd=work / "clone",
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )


def tour(work: Path, uid: int) -> list[str]:
    """Run the tour twice, try the claims about AWS, end the lab; return what was wrong."""
    wrong = []
    for turn in ("first", "second"):
        result = lab(work, uid, "tour", "--json")
        if result.returncode:
            wrong.append(f"the {turn} tour ended with {result.returncode}: {result.stdout}")
            break
        changed = [step["name"] for step in json.loads(result.stdout)["steps"] if step["changed"]]
        if turn == "second" and changed:
            wrong.append(f"the second tour changed {', '.join(changed)}")
    result = lab(work, uid, "probe", "--json")
    if result.returncode:
        wrong.append(f"the probes ended with {result.returncode}: {result.stdout}")
    result = lab(work, uid, "down")
    if result.returncode:
        wrong.append(f"down ended with {result.returncode}: {result.stdout}")
    return wrong


def contained_tour(work: Path, uid: int) -> list[str]:
    """Run the tour once where namespaces are forbidden, end the lab; return what was wrong."""
    result = lab(work, uid, "tour", "--json", contained=True)
    if result.returncode:
        return [f"the contained tour ended with {result.returncode}: {result.stdout}"]
    tier = json.loads(lab(work, uid, "status", "--json", contained=True).stdout).get("tier")
    proof = json.loads(result.stdout)["proof"]
    pings = [proof[when]["received"] for when in ("ping_before", "ping_after")]
    name, dropped = proof["published"]["hostname"], proof["drops_before"]["mac"]
    if (tier, pings, name, dropped > 0) != ("uml", [0, 3], "vm1", True):
        return [f"the contained tour in the tier {tier} proves {proof}"]
    result = lab(work, uid, "down", contained=True)
    return [f"down ended with {result.returncode}: {result.stdout}"] if result.returncode else []


def processes(uid: int) -> list[int]:
    return [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if owner(pid) == uid]


def owner(pid: int) -> int | None:
    """Read a process's real user id; /proc's own owner is root where a process hides itself."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return None
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("Uid:"))


def seen(uid: int) -> dict[str, set[str]]:
    """Read what a lab could leave on a machine."""
    spaces = subprocess.run(["lsns", "-n", "-o", "NS,UID"], capture_output=True, text=True).stdout
    named = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True).stdout
    lines = map(str.split, spaces.splitlines())
    return {
        "namespace": {line[0] for line in lines if line[1:] == [str(uid)]},
        "network namespace": set(named.splitlines()),
        "mount": set(Path("/proc/mounts").read_text().splitlines()),
    }


def leftovers(work: Path, uid: int, before: dict[str, set[str]]) -> list[str]:
    """Return what is left after `down`; processes get ten seconds to end."""
    bound = time.monotonic() + 10
    while processes(uid) and time.monotonic() < bound:
        time.sleep(0.1)
    left = [f"process {pid} is left: {command(pid)}" for pid in processes(uid)]
    for kind, now in seen(uid).items():
        left += [f"{kind} is left: {each}" for each in sorted(now - before[kind])]
    left += [f"socket is left: {path}" for path in files(work, uid) if path.is_socket()]
    for shared in map(Path, SHARED):
        left += [f"file is left: {path}" for path in files(shared, uid, work)]
    return left


def command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return "(ended)"


def files(top: Path, uid: int, but: Path | None = None) -> list[Path]:
    """List the user's files below a folder, without those below another one."""
    found = []
    for folder, folders, names in os.walk(top):
        folders[:] = [name for name in folders if Path(folder, name) != but]
        for path in (Path(folder, name) for name in (*folders, *names)):
            try:
                if path.lstat().st_uid == uid:
                    found.append(path)
            except OSError:  # gone between the listing and the look
                continue
    return found


if __name__ == "__main__":
    sys.exit(main())
