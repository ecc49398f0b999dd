"""What this machine has: finding programs, and unpacking what may not be installed."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from osawslab.errors import MissingTool
from osawslab.region import machine

SIMULATED = """\
Inst kmod (30 Debian:12 [amd64])
Inst libc6 [2.36-1] (2.36-9 Debian:12 [amd64])
Inst libxdp1:amd64 (1.3.1-1 Debian:12 [amd64])
Inst openvswitch-switch (3.1.0-2 Debian:12 [amd64]) []
Conf libxdp1 (1.3.1-1 Debian:12 [amd64])
"""
DAEMON = machine.Need("no-such-daemon", "openvswitch-switch", "no switch", False, True)


def program(folder: Path, name: str, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def debian(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine on which apt has a package with `no-such-daemon`; `log` tells what was asked."""
    log = tmp_path / "log"
    apt = f"""#!/bin/sh
echo "$@" >> {log}
case "$*" in
*--simulate*)
    if [ -e {tmp_path}/stale ]; then echo 'E: Unable to locate package' >&2; exit 100; fi
    cat {tmp_path}/simulated ;;
*update*) rm -f {tmp_path}/stale ;;
*download*) [ ! -e {tmp_path}/full ] || {{ echo 'E: No space left' >&2; exit 100; }}
    touch libxdp1.deb openvswitch-switch.deb ;;
esac
"""
    dpkg = """#!/bin/sh
mkdir -p "$3/usr/lib/openvswitch-switch" "$3/usr/lib/x86_64-linux-gnu"
touch "$3/usr/lib/openvswitch-switch/no-such-daemon" "$3/usr/lib/x86_64-linux-gnu/libxdp.so.1"
chmod +x "$3/usr/lib/openvswitch-switch/no-such-daemon"
"""
    (tmp_path / "simulated").write_text(SIMULATED)
    program(tmp_path / "bin", "apt-get", apt)
    program(tmp_path / "bin", "dpkg-deb", dpkg)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.setattr(machine, "NEEDS", (DAEMON,))
    return log


def test_a_program_is_found_in_path_before_the_unpacked_tree(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert machine.find("lab-program") is None
    inside = program(machine.unpacked() / "usr/sbin", "lab-program", "")
    assert machine.find("lab-program") == inside
    outside = program(tmp_path / "bin", "lab-program", "")
    assert machine.find("lab-program") == outside


@pytest.mark.parametrize("folder", machine.FOLDERS)
def test_every_folder_of_a_package_is_looked_into(cache: Path, folder: str) -> None:
    path = program(machine.unpacked() / folder, "lab-program", "")
    assert machine.find("lab-program") == path


def test_only_our_packages_and_libraries_are_unpacked() -> None:
    assert machine.to_unpack(SIMULATED) == ["libxdp1", "openvswitch-switch"]


def test_unpacking_finds_program_and_libraries(cache: Path, debian: Path) -> None:
    assert machine.missing() == (DAEMON,)
    machine.unpack()
    assert machine.missing() == ()
    assert machine.libraries() == str(machine.unpacked() / "usr/lib/x86_64-linux-gnu")
    assert "download libxdp1 openvswitch-switch" in debian.read_text()
    assert "update" not in debian.read_text()
    assert [path.name for path in machine.unpacked().parent.iterdir()] == [machine.unpacked().name]


def test_without_package_lists_own_ones_are_fetched(cache: Path, debian: Path) -> None:
    (debian.parent / "stale").touch()
    machine.unpack()
    assert machine.missing() == ()
    update = next(line for line in debian.read_text().splitlines() if "update" in line)
    assert f"Dir::State::Lists={cache}" in update  # never the machine's


def test_a_failure_leaves_nothing_and_the_next_run_goes_on(cache: Path, debian: Path) -> None:
    (debian.parent / "full").touch()
    with pytest.raises(MissingTool, match="No space left"):
        machine.unpack()
    assert list(machine.unpacked().parent.iterdir()) == []
    (debian.parent / "full").unlink()
    machine.unpack()
    assert machine.missing() == ()


def test_doctor_says_what_to_type(
    cache: Path, debian: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = machine.Need("no-such-tool", "some-package", "no proof")
    monkeypatch.setattr(machine, "NEEDS", (machine.Need("sh", "dash", "nothing"), needed, DAEMON))
    found, missing, unpackable = machine.rows()
    assert Path(found.found).name == "sh"
    assert (missing.found, missing.use) == ("missing", "no proof")
    assert missing.next == "sudo apt-get install --no-install-recommends some-package"
    assert unpackable.next == "./lab start"
    monkeypatch.setenv("PATH", "/nowhere")
    assert machine.rows()[1].next == "install what has no-such-tool (Debian: some-package)"


def test_services_are_never_installed() -> None:
    for need in machine.NEEDS:
        assert need.unpack == (need.package in machine.UNPACKED), need
        assert not (need.unpack and need.required), f"{need}: unpacking can fail"


def test_it_needs_the_standard_library_only() -> None:
    code = "import osawslab.region.machine, osawslab.environment"
    root = Path(machine.__file__).parents[2]
    subprocess.run(
        [sys.executable, "-S", "-I", "-c", f"import sys; sys.path.append({str(root)!r}); {code}"],
        check=True,
    )
