"""Where a region can run: each refusal forced for real, in a process of its own."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import docker_filter
import pytest

from osawslab.errors import BadSetting, LabError, NoPlaceToRun
from osawslab.region import fork, kernel, local, tier, uml

NEWUSER = 0x10000000  # linux/sched.h
NOBODY = 65533


def in_child(*do: Callable[[], Any]) -> Any:
    """Call functions one after another in a child process; what the last one gives.

    The child may lose rights and namespaces; files of the parent are already imported.
    """
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if not pid:
        told: dict[str, Any] = {}
        try:
            ours.close()
            for each in do:
                told["value"] = each()
        except LabError as error:
            told = {
                "error": type(error).__name__,
                "what": error.what,
                "seen": error.seen,
                "next": error.next,
            }
        except BaseException:  # noqa: BLE001 (a forked child must not run pytest's code)
            told = {"error": traceback.format_exc()}
        theirs.sendall(json.dumps(told).encode())
        os._exit(0)
    theirs.close()
    with ours, ours.makefile() as lines:
        found = json.load(lines)
    os.waitpid(pid, 0)
    return found.get("value", found)


def user_namespace() -> None:
    """Enter a user namespace as its root, as `unshare -Ur` does."""
    uid, gid = os.geteuid(), os.getegid()
    kernel.unshare(NEWUSER)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
    Path("/proc/self/gid_map").write_text(f"0 {gid} 1")


def forbid(*kinds: str) -> Callable[[], None]:
    """Allow no more namespaces of these kinds, here and below (namespaces(7))."""

    def do() -> None:
        for kind in kinds:
            Path(f"/proc/sys/user/max_{kind}_namespaces").write_text("0")

    return do


def ordinary() -> None:
    """Become an ordinary user, as `setpriv --reuid --regid --clear-groups` does."""
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)


def unmapped() -> None:
    """Be nobody in a user namespace: rights to forbid, but not root."""
    kernel.unshare(NEWUSER)


def untraceable() -> None:
    """Let nothing be traced any more, and so User-Mode Linux run nowhere."""
    docker_filter.install((docker_filter.PTRACE,))


def choose(**environ: str) -> Callable[[], Any]:
    def do() -> Any:
        chosen, tried = tier.choose(tuple(environ.items()))
        return [chosen, [[each.name, each.refused] for each in tried]]

    return do


def test_a_user_namespace_is_the_first_choice() -> None:
    assert in_child(choose()) == ["userns", [["userns", ""]]]


def test_an_ordinary_user_runs_in_a_user_namespace(root: None) -> None:
    assert in_child(ordinary, choose()) == ["userns", [["userns", ""]]]


def test_root_tries_a_user_namespace_as_another_user(root: None) -> None:
    def another() -> Any:
        return tier.attempt("userns", NOBODY).refused

    assert in_child(another) == ""
    assert "Operation not permitted" in in_child(lambda: docker_filter.install((272,)), another)


@pytest.mark.parametrize("chosen", ["userns", "uml"])
def test_a_seat_forks_a_region_only_in_a_user_namespace(
    chosen: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    did: list[str] = []
    monkeypatch.setenv(fork.SOCKET, "/run/seat/fork")
    monkeypatch.setattr(fork, "ask", lambda *_: did.append("userns"))
    monkeypatch.setattr(subprocess, "run", lambda words, **_: did.append(words[-1]))
    with (tmp_path / "given").open("w") as given, (tmp_path / "log").open("wb") as log:
        local._launch(chosen, given, log, (5, 6, 7, 8))
    assert did == ["userns" if chosen == "userns" else "osawslab.region.process"]


def test_where_user_namespaces_are_forbidden_root_runs_without() -> None:
    chosen, tried = in_child(user_namespace, forbid("user"), choose())
    assert chosen == "root"
    (name, words), second = tried
    assert name == "userns"
    assert "unshare failed: No space left on device" in words
    assert second == ["root", ""]


@pytest.mark.parametrize("kind", ["net", "mnt", "pid"])
def test_where_one_kind_is_forbidden_nothing_runs_and_each_refusal_is_told(kind: str) -> None:
    told = in_child(user_namespace, forbid("user", kind), untraceable, choose())
    assert told["error"] == "NoPlaceToRun"
    userns, root, uml = told["seen"].split("; ")
    assert uml == "uml: ptrace: Operation not permitted"
    assert userns.startswith("userns: unshare: ")
    assert root.startswith("root: unshare: ")
    assert "No space left on device" in root
    assert told["next"].startswith("use a machine")


def test_an_ordinary_user_whose_namespaces_are_forbidden_is_sent_to_sudo() -> None:
    told = in_child(unmapped, forbid("user"), untraceable, choose())
    assert told["error"] == "NoPlaceToRun"
    assert "userns: unshare: unshare failed: No space left on device" in told["seen"]
    assert "root: you are not root" in told["seen"]
    assert told["next"].startswith("sudo ./lab start")


@pytest.mark.parametrize(
    ("uid", "setting", "told"),
    [
        (1000, "1\n", True),
        (1000, "0\n", False),
        (1000, None, False),
        (0, "1\n", False),
    ],
)
def test_apparmors_setting_is_named_where_it_is_the_reason(
    uid: int,
    setting: str | None,
    told: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "apparmor_restrict_unprivileged_userns"
    if setting is not None:
        path.write_text(setting)
    monkeypatch.setattr(tier, "APPARMOR", path)
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    said = tier.advice()
    assert ("sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0" in said) is told
    assert said.startswith("sudo ./lab start") is bool(uid)


def test_a_machine_without_unshare_says_which_package_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(uml, "attempt", lambda: "not tried")
    with pytest.raises(NoPlaceToRun) as caught:
        tier.choose(())
    assert "userns: unshare is not installed (package util-linux)" in caught.value.seen


def test_one_tier_can_be_forced() -> None:
    assert in_child(user_namespace, choose(OSAWSLAB_TIER="root")) == ["root", [["root", ""]]]
    told = in_child(user_namespace, forbid("user"), choose(OSAWSLAB_TIER="userns"))
    assert told["error"] == "NoPlaceToRun"
    assert "root:" not in told["seen"]


def test_a_tier_that_does_not_exist_is_a_bad_setting() -> None:
    with pytest.raises(BadSetting, match="OSAWSLAB_TIER is one of userns, root, uml") as caught:
        tier.choose((("OSAWSLAB_TIER", "docker"),))
    assert caught.value.seen == "'docker'"


@pytest.mark.parametrize("name", ["userns", "root"])
def test_each_tier_carries_a_region(
    name: str, root: None, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OSAWSLAB_TIER", name)
    region = local.ensure(f"tier-{name}")
    assert region.tier == name
    assert region.places() == ["internet"]
    mapped = Path(f"/proc/{region.pid}/uid_map").read_text().split()
    assert (mapped == ["0", "0", "1"]) is (name == "userns")
    mounts = Path("/proc/self/mounts").read_text()
    assert local.remove(region.name)
    assert Path("/proc/self/mounts").read_text() == mounts


def test_a_region_that_may_run_nowhere_leaves_nothing(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With every tier forbidden, the machine's own words come out, and no process stays."""
    told = in_child(
        user_namespace,
        forbid("user", "net"),
        untraceable,
        lambda: os.environ.pop("OSAWSLAB_TIER", None),
        lambda: local.ensure("nowhere"),
    )
    assert told["error"] == "NoPlaceToRun"
    assert local.find("nowhere") is None


def test_a_whole_instance_needs_root(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    with pytest.raises(NoPlaceToRun, match="needs root") as caught:
        local.ensure("refused", whole=True)
    assert caught.value.next == "sudo ./lab start"
    assert not (local.state_folder("refused") / "whole").exists()
