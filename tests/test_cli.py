"""The command line: what it takes, what it answers, and with which exit status."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest

from osawslab import cli, commands
from osawslab.arguments import given, parser
from osawslab.errors import BadSetting, CheckFailed, LabError, NoPlaceToRun
from osawslab.region import local

OSAWSLAB = (sys.executable, "-P", "-m", "osawslab.cli")
HEAVY = ("boto3", "botocore", "pandas", "paramiko", "IPython", "nbformat", "moto", "matplotlib")
USAGE = -1  # argparse refuses


def run(*words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*OSAWSLAB, *words], env={**os.environ, **environ}, capture_output=True, text=True
    )


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("tour", {"command": "tour", "json": False, "name": None}),
        ("tour --json --name a", {"json": True, "name": "a"}),
        ("start --port 0 --no-browser --no-region",
         {"port": 0, "no_browser": True, "no_region": True}),
        ("start", {"port": None, "folder": Path.home() / "osawslab-notebooks"}),
        ("start --folder ~/nb", {"folder": Path.home() / "nb"}),
        ("plan swap_mac", {"command": "plan", "step": "swap_mac"}),
        ("run tear_down", {"step": "tear_down"}),
        ("check verify --json", {"json": True}),
        ("reset provision", {"step": "provision"}),
        ("hint networks --level 3", {"level": 3}),
        ("hint networks", {"level": 1}),
        ("ssh", {"to": "instance"}),
        ("ssh vm", {"to": "vm"}),
        ("dashboard", {"port": None}),
        ("dashboard --port 0 --json", {"port": 0, "json": True}),
        ("dashboard --port http", USAGE),
        ("aws ec2 describe-vpcs --output text",
         {"words": ["ec2", "describe-vpcs", "--output", "text"]}),
        ("openstack --name a network agent list -f json",
         {"name": "a", "words": ["network", "agent", "list", "-f", "json"]}),
        ("down --all --json", {"all": True, "json": True}),
        ("status", {"all": False}),
        ("status --all --json", {"all": True, "json": True}),
        ("seats", {"count": None, "learners": None, "upto": "provision", "down": False}),
        ("seats 12 --learners names.txt --upto networks --name evening",
         {"count": 12, "learners": Path("names.txt"), "upto": "networks", "name": "evening"}),
        ("seats --down --name evening", {"down": True, "name": "evening"}),
        ("seats 30 --listen 0.0.0.0 --port 9100",
         {"count": 30, "listen": "0.0.0.0", "port": 9100, "watch": False}),
        ("seats --reset 7 --json", {"reset": "7", "enter": "", "json": True}),
        ("seats --enter room-07", {"enter": "room-07", "count": None}),
        ("seats twelve", USAGE),
        ("seats 2 --upto tear_down", USAGE),
        ("sweep", {"yes": False, "older_than": ""}),
        ("sweep --yes --older-than 8h --json", {"yes": True, "older_than": "8h", "json": True}),
        ("env", {}),
        ("export --name a", {"format": "cloudformation", "name": "a"}),
        ("export --format terraform", USAGE),
        ("doctor --json", {"json": True}),
        ("handout 50 60 --write c.html", {"notebook": ["50", "60"], "write": Path("c.html")}),
        ("region rules --name a", {"what": "rules", "name": "a"}),
        ("region faults", {"what": "faults", "fault": []}),
        ("region faults lost slow=2 --json", {"fault": ["lost", "slow=2"], "json": True}),
        ("region connect 203.0.113.10 22", {"address": "203.0.113.10", "port": 22}),
        ("test unit tour", {"part": ["unit", "tour"]}),
        ("probe --target aws --save r.json",
         {"name": "probe", "instance_type": "t3.small", "save": Path("r.json")}),
        ("bench --json tour", {"section": ["tour"], "json": True}),
        ("run bogus", USAGE),
        ("run", USAGE),
        ("", USAGE),
        ("hint networks --level 4", USAGE),
        ("region", USAGE),
        ("region connect 203.0.113.10 ssh", USAGE),
        ("tour --jso --bogus", USAGE),
    ],
)  # fmt: skip
def test_what_it_takes(words: str, wanted: Any, capsys: pytest.CaptureFixture[str]) -> None:
    if wanted == USAGE:
        with pytest.raises(SystemExit) as ended:
            parser().parse_args(words.split())
        assert ended.value.code == 2
        assert capsys.readouterr().out == ""
    else:
        options = vars(parser().parse_args(words.split()))
        assert {key: options[key] for key in wanted} == wanted


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("", {}),
        ("--name a --instance-type t3.large", {"name": "a", "instance_type": "t3.large"}),
        ("--bridge linux --strategy share", {"bridge": "linux", "strategy": "share"}),
        ("--set vm_name=web --set published_port=2222", {"vm_name": "web", "published_port": 2222}),
        ("--set name=a --name b", {"name": "b"}),
        ("--set vm_name", "--set wants KEY=VALUE"),
        ("--set published_port=x", "published_port must be a number"),
    ],
)
def test_settings_are_options(words: str, wanted: dict[str, Any] | str) -> None:
    options = parser().parse_args(["tour", *words.split()])
    if isinstance(wanted, str):
        with pytest.raises(BadSetting, match=wanted):
            given(options)
    else:
        assert given(options) == wanted


def test_every_command_is_done_by_something() -> None:
    names = {word for action in parser()._actions for word in action.choices or ()}
    assert names == set(commands.COMMANDS)


@pytest.mark.parametrize("command", sorted(commands.COMMANDS))
def test_help_has_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main([command, "--help"])
    assert ended.value.code == 0
    assert "example:" in capsys.readouterr().out


def raising(error: BaseException) -> Any:
    def command(_: Namespace) -> int:
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (LabError("no", seen="x", next="lab.networks()"), 2,
         f"no\n  seen: x\n  next: {cli.program()} run networks\n"),
        (CheckFailed("it does not hold"), 2, "it does not hold\n"),
        (OSError(28, "No space left on device"), 2,
         "status met an error of the system\n  seen: [Errno 28] No space left on device\n"
         f"  next: {cli.program()} doctor\n"),
        (KeyboardInterrupt(), 130, f"\ninterrupted; {cli.program()} status goes on from here\n"),
    ],
)  # fmt: skip
def test_errors_and_exit_statuses(
    error: BaseException,
    status: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(commands.COMMANDS, "status", raising(error))
    assert cli.main(["status"]) == status
    assert capsys.readouterr() == ("", said)


def test_an_error_is_json_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(commands.COMMANDS, "tour", raising(NoPlaceToRun("no", seen="s", next="n")))
    assert cli.main(["tour", "--json"]) == 2
    out, err = capsys.readouterr()
    error = {"type": "NoPlaceToRun", "what": "no", "seen": "s", "next": "n"}
    assert json.loads(out) == {"ok": False, "error": error}
    assert err == "no\n  seen: s\n  next: n\n"


@pytest.mark.parametrize("name", ["a/b", "../x", "", "UPPER", "a" * 33])
def test_a_name_that_is_no_name_ends_nothing(name: str, tmp_path: Path) -> None:
    (tmp_path / "osawslab").mkdir()
    (tmp_path / "x").mkdir()
    done = run("down", "--name", name, XDG_STATE_HOME=str(tmp_path))
    assert done.returncode == 2
    assert "a lab's name is" in done.stderr
    assert (tmp_path / "x").is_dir()


def test_a_broken_lab_toml_does_not_keep_a_named_lab_alive(tmp_path: Path) -> None:
    (tmp_path / "lab.toml").write_text("published_port = 'x'\n")
    account = ("down", "--name", "a", "--target", "aws")  # its region would be a guess
    for words, status in ((("down",), 2), (("down", "--name", "a"), 0), (account, 2)):
        done = subprocess.run(
            [*OSAWSLAB, *words], cwd=tmp_path, env={**os.environ, "XDG_STATE_HOME": str(tmp_path)}
        )
        assert done.returncode == status


def test_a_reader_that_went_away_is_no_error() -> None:
    child = subprocess.Popen(
        [*OSAWSLAB, "hint", "swap_mac"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert child.stdout
    assert child.stderr
    child.stdout.close()
    assert (child.stderr.read(), child.wait()) == ("", 141)


@pytest.mark.parametrize("words", ["status", "down", "region status", "--help"])
def test_light_commands_import_nothing_heavy(words: str, tmp_path: Path) -> None:
    code = (
        "import sys\nfrom osawslab import cli\n"
        f"try: cli.main({words.split()})\nexcept SystemExit: pass\n"
        f"sys.exit(' '.join(set({HEAVY}) & set(sys.modules)) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "XDG_STATE_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_nothing_there_is_said_and_nothing_is_started(tmp_path: Path) -> None:
    home = {"XDG_STATE_HOME": str(tmp_path), "OSAWSLAB_NAME": "none"}
    status = run("status", "--json", **home)
    assert json.loads(status.stdout) == {"lab": "none", "running": False, "others": []}
    assert json.loads(run("down", "--json", **home).stdout) == {"ok": True, "ended": []}
    for words in ("ssh", "dashboard", "region rules", "region connect 203.0.113.10 22"):
        done = run(*words.split(), **home)
        assert (done.returncode, done.stdout) == (2, "")
        assert "nothing was made" in done.stderr
    assert not list(tmp_path.iterdir())


class Child:
    """Stands for the process that does the command as the caller."""

    made: dict[str, Any]

    def __init__(self, command: list[str], **how: Any) -> None:
        Child.made = {"words": command[len(OSAWSLAB) :], **how}

    def wait(self) -> int:
        return -15


@pytest.mark.parametrize(
    ("words", "started"),
    [
        (["tour", "--name", "a"], ["a"]),
        (["floating-ip", "list", "--name", "a"], ["a"]),
        (["start", "--no-region"], []),
        (["status"], []),
        (["hint", "networks"], []),
        (["probe", "--target", "aws"], []),
    ],
)
def test_under_sudo_the_region_is_roots_and_the_rest_the_callers(
    words: list[str], started: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    names: list[str] = []
    monkeypatch.setenv("OSAWSLAB_OWNER", "54321:54322")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(local, "ensure", lambda name, *_, **__: names.append(name))
    monkeypatch.setattr(subprocess, "Popen", Child)
    assert cli.main(words) == 128 + 15
    made = Child.made
    assert (made["words"], made["user"], made["group"]) == (words, 54321, 54322)
    assert made["extra_groups"] == []
    assert "OSAWSLAB_OWNER" not in made["env"]
    assert names == started


@pytest.mark.kernel
def test_the_whole_tutorial(home: Path) -> None:
    lab = {"OSAWSLAB_NAME": "cli"}
    first = run("tour", "--json", **lab)
    assert first.returncode == 0, first.stderr
    told = json.loads(first.stdout)
    assert "  instance  ip -n qrouter-" in first.stderr  # what a person would type
    proof = told["proof"]
    assert told["ok"] is True
    assert proof["ping_before"] == {"sent": 3, "received": 0}
    assert proof["ping_after"] == {"sent": 3, "received": 3}
    assert proof["drops_before"]["mac"] >= 1
    assert proof["gateway_mac_after"] == proof["registered_mac"] != proof["gateway_mac_before"]
    assert proof["published"]["hostname"] == "vm1"
    assert [step["name"] for step in told["steps"]] == list(parser_steps())
    assert all(step["ok"] and step["seconds"] > 0 for step in told["steps"])

    again = run("tour", **lab)
    assert again.returncode == 0, again.stderr
    assert "Every proof held." in again.stdout
    assert again.stdout.count("nothing to do, ") == len(told["steps"])

    assert run("ssh", "vm", "--", "hostname", **lab).stdout == "vm1\n"
    assert run("ssh", "--", "exit 7", **lab).returncode == 7
    assert json.loads(run("status", "--json", **lab).stdout)["running"] is True
    rules = run("region", "rules", **lab).stdout
    for words in ("drop_mac", "172.16.20.101", proof["registered_mac"], "# vpc-"):
        assert words in rules
    assert json.loads(run("region", "drops", "--json", **lab).stdout)["mac"] >= 1

    ended = json.loads(run("down", "--json", **lab).stdout)["ended"]
    assert [each["lab"] for each in ended] == ["cli"]
    assert lives(ended[0]["pid"]) is False
    assert json.loads(run("down", "--json", **lab).stdout)["ended"] == []
    assert not (home / "S" / "osawslab").exists()


def lives(pid: int) -> bool:
    """Say whether a process runs; one that has ended may wait for its parent to notice."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def parser_steps() -> tuple[str, ...]:
    from osawslab.lab import Lab

    return Lab.steps
