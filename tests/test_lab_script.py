"""The script `lab`: it only runs what is ready, and says what it does on standard error.

Each test has a checkout of its own (the script and the modules it uses), a home of its own and
an environment whose `osawslab` says how it was called. Nothing is downloaded or installed.
"""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from osawslab.environment import MARK, Environment

ROOT = Path(__file__).resolve().parent.parent
ECHO = """#!/bin/sh
printf '{"argv": "%s", "owner": "%s"}\\n' "$*" "$OSAWSLAB_OWNER"
exit "${STATUS:-0}"
"""


AS_MAIN = "import runpy; sys.argv = ['lab', 'tour']; runpy.run_path('lab', run_name='__main__')"


@dataclass(frozen=True)
class Checkout:
    """A checkout, a home and a folder of programs that come first in PATH."""

    folder: Path
    home: Path
    bin: Path

    def run(self, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
        return self.python("lab", *words, **environ)

    def python(self, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
        path = f"{self.bin}:{os.environ['PATH']}"
        clean = {"PATH": path, "HOME": str(self.home), "CI": "true"}
        return subprocess.run(
            [sys.executable, *words],
            cwd=self.folder,
            env={**clean, **environ},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )

    def ready(self, extras: str = "-") -> Environment:
        """Lay down an environment that needs no work."""
        place = Environment(self.folder / ".venv", self.folder)
        (place.folder / "bin").mkdir(parents=True)
        (place.folder / MARK).touch()
        (place.folder / "bin" / "python").symlink_to(sys.executable)
        self.program("osawslab", ECHO, place.folder / "bin")
        (place.folder / "stamp").write_text(" ".join(place.wanted(extras)))
        return place

    def program(self, name: str, text: str, folder: Path | None = None) -> None:
        path = (folder or self.bin) / name
        path.write_text(text)
        path.chmod(0o755)

    def machine(self, needs: str, tests: str = "{}") -> None:
        """Say what this machine needs, and what tests need, in place of the real tables."""
        path = self.folder / "osawslab" / "region" / "machine.py"
        path.write_text(path.read_text() + f"\nNEEDS = ({needs})\nTEST_NEEDS = {tests}\n")


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    folder = tmp_path / "check out"  # spaces are allowed
    (folder / "osawslab" / "region").mkdir(parents=True)
    modules = ("__init__", "errors", "settings", "environment")
    region = ("__init__", "machine", "offline", "tier", "uml", "channel", "kernel", "folders")
    modules += tuple(f"region/{name}" for name in region)
    for name in ("lab", "pyproject.toml", *(f"osawslab/{module}.py" for module in modules)):
        shutil.copy(ROOT / name, folder / name)
    (tmp_path / "home").mkdir()
    (tmp_path / "bin").mkdir()
    made = Checkout(folder, tmp_path / "home", tmp_path / "bin")
    made.machine("")
    return made


def test_it_parses_on_python_3_6() -> None:
    ast.parse((ROOT / "lab").read_text(), feature_version=(3, 6))


@pytest.mark.parametrize("words", [["--help"], ["-h"], [], ["tour", "--help"]])
def test_help_needs_no_set_up(checkout: Checkout, words: list[str]) -> None:
    result = checkout.run(*words)
    assert result.returncode == 0
    commands = "start tour plan run check reset hint image status ssh env aws openstack region down"
    assert commands in result.stdout
    assert "set-up happens at first use" in " ".join(result.stdout.split())
    assert not (checkout.folder / ".venv").exists()


@pytest.mark.parametrize(
    ("words", "passed"),
    [
        (["status", "--json"], "status --json"),
        (["--yes", "start", "--port", "1"], "start --port 1"),
        (["plan", "--help"], "plan --help"),
        ([], ""),
        (["down"], "down"),
    ],
)
def test_what_is_ready_is_run(checkout: Checkout, words: list[str], passed: str) -> None:
    checkout.ready()
    result = checkout.run(*words)
    assert json.loads(result.stdout) == {"argv": passed, "owner": ""}
    assert result.stderr == ""


def test_the_status_is_the_program_s(checkout: Checkout) -> None:
    checkout.ready()
    assert checkout.run("check", "verify", STATUS="3").returncode == 3


def test_down_without_anything_sets_nothing_up(checkout: Checkout) -> None:
    result = checkout.run("down")
    assert (result.returncode, result.stdout) == (0, "")
    assert "nothing" in result.stderr
    assert json.loads(checkout.run("down", "--json").stdout) == {"ok": True, "ended": []}
    assert not (checkout.folder / ".venv").exists()


def test_purge_ends_the_lab_and_removes_all(checkout: Checkout) -> None:
    place = checkout.ready()
    cache = checkout.home / ".cache" / "osawslab" / "debs"
    cache.mkdir(parents=True)
    result = checkout.run("down", "--purge", "--json")
    assert result.returncode == 0
    assert json.loads(result.stdout)["argv"] == "down --all --json"
    assert not place.folder.exists()
    assert not cache.parent.exists()


def test_purge_keeps_everything_when_the_lab_did_not_end(checkout: Checkout) -> None:
    place = checkout.ready()
    assert checkout.run("down", "--purge", STATUS="1").returncode == 1
    assert place.folder.exists()


@pytest.mark.parametrize(
    ("patch", "says", "next"),
    [
        ("sys.platform = 'darwin'", "the lab needs a Linux kernel", "WSL2"),
        (
            "sys.version_info = (3, 9, 2, 'final', 0)",
            "the lab needs Python 3.11 or newer",
            "install",
        ),
    ],
)
def test_another_machine_gets_one_message(
    checkout: Checkout, patch: str, says: str, next: str
) -> None:
    code = f"import sys; {patch}; {AS_MAIN}"
    result = checkout.python("-c", code, PATH=str(checkout.bin))
    assert (result.returncode, result.stdout) == (2, "")
    lines = result.stderr.splitlines()
    assert lines[0] == says
    assert lines[1].startswith("  seen: ")
    assert lines[2].startswith("  next: ")
    assert next in lines[2]


def test_a_newer_python_is_looked_for(checkout: Checkout) -> None:
    checkout.program("python3.13", "#!/bin/sh\nexit 127\n")  # a shim without its Python
    checkout.program("python3.12", '#!/bin/sh\n[ "$1" = -c ] || echo "took over: $@"\n')
    code = f"import sys; sys.version_info = (3, 9, 2, 'final', 0); {AS_MAIN}"
    result = checkout.python("-c", code, PATH=f"{checkout.bin}:/usr/bin:/bin")
    assert result.stdout == f"took over: {checkout.folder / 'lab'} tour\n"


TOOL = "Need('no-such-tool', 'some-package', 'no proof'),"
EXTRA = "Need('no-such-extra', 'extra-package', 'no colour', required=False),"
SUDO = '#!/bin/sh\nshift\nexec "$@"\n'  # as `sudo -n COMMAND`


def apt(checkout: Checkout, install: str) -> Path:
    """Lay down an apt-get that writes what is asked of it, and answers installs with `install`."""
    log = checkout.bin / "log"
    text = f"""#!/bin/sh
echo "$DEBIAN_FRONTEND $*" >> {log}
case "$*" in
*update*) touch {checkout.bin}/fresh ;;
*install*) {install} ;;
esac
"""
    checkout.program("apt-get", text)
    checkout.program("sudo", SUDO)
    return log


def test_missing_packages_are_named_and_installed(checkout: Checkout) -> None:
    log = apt(
        checkout, f"printf '#!/bin/sh' > {checkout.bin}/no-such-tool; chmod +x {checkout.bin}/*"
    )
    checkout.machine(TOOL)
    checkout.ready()
    result = checkout.run("tour")
    assert result.returncode == 0
    assert "missing: some-package (without it: no proof)" in result.stderr
    asked = log.read_text().splitlines()
    assert len(asked) == 1  # no update where the lists are good
    assert asked[0].startswith("noninteractive ")
    assert asked[0].endswith("--no-install-recommends install some-package")
    assert checkout.run("tour").stderr == ""


def test_lists_are_fetched_where_they_are_missing(checkout: Checkout) -> None:
    unknown = "echo 'E: Unable to locate package some-package' >&2; exit 100"
    log = apt(checkout, f"[ -e {checkout.bin}/fresh ] || {{ {unknown}; }}")
    checkout.machine(TOOL)
    checkout.ready()
    assert checkout.run("tour").returncode == 0
    assert [line.split()[-1] for line in log.read_text().splitlines()] == [
        "some-package",
        "update",
        "some-package",
    ]


@pytest.mark.parametrize(
    ("needs", "status"), [(TOOL, 2), (EXTRA + TOOL, 2), (EXTRA, 0)], ids=["must", "both", "may"]
)
def test_apt_that_fails(checkout: Checkout, needs: str, status: int) -> None:
    apt(checkout, "echo 'E: Could not get lock /var/lib/dpkg/lock' >&2; exit 100")
    checkout.machine(needs)
    checkout.ready()
    (checkout.folder / ".venv" / "stamp").write_text("")  # at the first start all is asked for
    code = (
        "import runpy; lab = runpy.run_path('lab'); import osawslab.errors as e\n"
        "try: lab['system_packages'](True, False)\n"
        "except e.LabError as error: raise SystemExit(lab['fail'](error))"
    )
    result = checkout.python("-c", code, PYTHONPATH=str(checkout.folder))
    assert result.returncode == status
    assert "Could not get lock" in result.stderr
    if status:
        assert "  next: sudo apt-get install" in result.stderr


@pytest.mark.parametrize(
    ("words", "asked"),
    [("test", 1), ("test all", 1), ("test lint browser", 1), ("test lint unit", 0), ("tour", 0)],
)
def test_what_a_part_of_the_test_needs_is_installed_for_it(
    checkout: Checkout, words: str, asked: int
) -> None:
    log = apt(checkout, "echo 'E: no such package' >&2; exit 100")
    checkout.machine("", "{'browser': {'no-such-browser': 'no/such/file'}}")
    checkout.ready("test")
    result = checkout.run(*words.split())
    assert json.loads(result.stdout)["argv"] == words  # the program says what is NOT RUN
    assert result.stderr.count("missing: no-such-browser (without it: no browser)") == asked
    assert len(log.read_text().splitlines() if log.exists() else []) == asked


def test_an_offline_folder_is_where_packages_come_from(checkout: Checkout) -> None:
    log = apt(checkout, "true")
    checkout.machine(TOOL)
    checkout.ready()
    (checkout.folder / "offline").mkdir()
    checkout.run("--yes", "tour")
    assert "Dir::Etc::SourceList" not in log.read_text()  # half a folder is none
    log.unlink()
    (checkout.folder / "offline" / "about.json").write_text("{}")
    checkout.run("--yes", "tour")
    update, install = log.read_text().splitlines()
    assert update.endswith(" update")
    assert install.endswith(" install some-package")
    for line in (update, install):
        assert "Dir::Etc::SourceList=" in line
        assert "Dir::Etc::SourceParts=-" in line


def test_without_apt_the_packages_are_named(checkout: Checkout) -> None:
    checkout.machine(TOOL)
    checkout.ready()
    result = checkout.run("tour", PATH=str(checkout.bin))
    assert json.loads(result.stdout)["argv"] == "tour"
    assert "some-package" in result.stderr


def test_the_doctor_only_looks(checkout: Checkout) -> None:
    log = apt(checkout, "exit 100")
    checkout.machine(TOOL)
    checkout.ready()
    assert checkout.run("doctor").returncode == 0
    assert not log.exists()


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be root for another user")
def test_root_by_sudo_works_for_the_caller(checkout: Checkout) -> None:
    checkout.ready()
    result = checkout.run("status", SUDO_UID="1", SUDO_GID="1", SUDO_USER="daemon")
    assert json.loads(result.stdout) == {"argv": "status", "owner": "1:1"}
