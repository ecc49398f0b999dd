"""System calls, each tried in namespaces of a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from osawslab.region import kernel

ENTER = ["unshare", "--user", "--map-root-user", "--net", "--mount", "--uts", "--pid", "--fork"]


def inside(source: str) -> Any:
    """Run Python in new namespaces, where it is root; what it tells by `tell(…)`."""
    program = (
        "import json, os, signal, sys\nfrom pathlib import Path\n"
        "from osawslab.region import kernel\n"
        "def tell(value): print(json.dumps(value))\n"
        "kernel.mount('none', '/', flags=kernel.REC | kernel.PRIVATE)\n"
        "kernel.mount('proc', '/proc', 'proc')\n"
        "kernel.mount('run', '/run', 'tmpfs')\n" + textwrap.dedent(source)
    )
    done = subprocess.run(
        [*ENTER, "--kill-child=KILL", sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=30,
        cwd=Path(kernel.__file__).parents[2],
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_thread_enters_a_namespace_and_the_others_stay() -> None:
    told = inside(
        """
        Path('/run/netns').mkdir()
        assert os.system('ip netns add away && ip -n away link set lo up') == 0
        links = lambda: Path('/proc/thread-self/net/dev').read_text().count(':')
        here = os.readlink('/proc/thread-self/ns/net')
        there = kernel.in_netns('away', lambda: os.readlink('/proc/thread-self/ns/net'))
        tell([here != there, here == os.readlink('/proc/thread-self/ns/net')])
        """
    )
    assert told == [True, True]


def test_a_socket_stays_in_the_namespace_it_was_made_in() -> None:
    told = inside(
        """
        import socket
        Path('/run/netns').mkdir()
        assert os.system('ip netns add away && ip -n away link set lo up') == 0
        server = kernel.in_netns('away', lambda: socket.create_server(('127.0.0.1', 0)))
        where = server.getsockname()
        kernel.in_netns('away', lambda: socket.create_connection(where, 2)).close()
        try:
            socket.create_connection(where, 2)
            tell('reached from outside')
        except OSError as error:
            tell(type(error).__name__)
        """
    )
    assert told != "reached from outside"


def test_what_fails_in_the_thread_fails_here() -> None:
    with pytest.raises(FileNotFoundError):
        kernel.in_netns("no-such-namespace", lambda: None)
    told = inside(
        """
        Path('/run/netns').mkdir()
        assert os.system('ip netns add away') == 0
        try:
            kernel.in_netns('away', lambda: {}['key'])
        except KeyError as error:
            tell(str(error))
        """
    )
    assert told == "'key'"


def test_a_refusal_is_an_oserror_with_the_kernels_words() -> None:
    with pytest.raises(OSError, match="mount none on /no/such/folder: No such file") as caught:
        kernel.mount("none", "/no/such/folder", "tmpfs")
    assert caught.value.errno == 2


def test_bind_shows_a_folder_with_its_mounts_and_read_only_holds() -> None:
    told = inside(
        """
        for name in ('from/sub', 'open', 'shut'):
            Path('/run', name).mkdir(parents=True)
        kernel.mount('sub', '/run/from/sub', 'tmpfs', kernel.NOSUID | kernel.NODEV)
        Path('/run/from/sub/file').write_text('x')
        kernel.bind('/run/from', '/run/open')
        kernel.bind('/run/from', '/run/shut', read_only=True)
        Path('/run/open/new').write_text('x')
        try:
            Path('/run/shut/other').write_text('x')
            refused = 0
        except OSError as error:
            refused = error.errno
        tell([Path('/run/open/sub/file').exists(), Path('/run/shut/sub/file').exists(),
              Path('/run/from/new').exists(), refused])
        """
    )
    assert told == [True, True, True, 30]  # EROFS


def test_read_only_keeps_flags_that_a_user_namespace_may_not_take_away() -> None:
    """`/usr` of the machine, which has nosuid, nodev, … on some machines."""
    told = inside(
        """
        Path('/run/usr').mkdir()
        kernel.bind('/usr', '/run/usr', read_only=True)
        tell(bool(os.statvfs('/run/usr').f_flag & os.ST_RDONLY))
        """
    )
    assert told is True


def test_the_hostname_is_this_namespaces_only() -> None:
    before = Path("/proc/sys/kernel/hostname").read_text()
    assert inside("kernel.set_hostname('ip-1-2-3-4'); tell(os.uname().nodename)") == "ip-1-2-3-4"
    assert Path("/proc/sys/kernel/hostname").read_text() == before


def test_unshare_gives_new_namespaces() -> None:
    told = inside(
        """
        before = os.readlink('/proc/self/ns/net')
        kernel.unshare(kernel.NEWNET | kernel.NEWNS | kernel.NEWUTS | kernel.NEWIPC)
        tell(before != os.readlink('/proc/self/ns/net'))
        """
    )
    assert told is True


def test_a_process_dies_with_the_one_that_forked_it() -> None:
    told = inside(
        """
        reader, writer = os.pipe()
        middle = os.fork()
        if not middle:
            os.close(reader)
            if not os.fork():
                kernel.die_with_parent()
                os.write(writer, b'here')
                signal.pause()
            signal.pause()
        os.close(writer)
        said = os.read(reader, 4)
        os.kill(middle, signal.SIGKILL)
        tell([said.decode(), os.read(reader, 1).decode()])  # the end of the pipe is its end
        """
    )
    assert told == ["here", ""]


def test_pid_1_collects_orphans_until_its_child_ends() -> None:
    told = inside(
        """
        main = os.fork()
        if not main:
            if not os.fork():
                if not os.fork():
                    os._exit(0)  # an orphan's child
                os._exit(0)
            os.wait()
            os._exit(7)
        status = kernel.reap(main)
        tell([os.waitstatus_to_exitcode(status), os.getpid()])
        """
    )
    assert told == [7, 1]


def test_where_one_id_is_mapped_setting_ids_is_denied_until_it_is_pretended() -> None:
    told = inside(
        """
        def tries():
            done = []
            for call in (lambda: os.setgroups([5]), lambda: os.setuid(5), lambda: os.setgid(5),
                         lambda: os.chown('/run', 5, 5), lambda: os.setresuid(5, 5, 5)):
                try:
                    call()
                    done.append(True)
                except OSError:
                    done.append(False)
            return done
        denied, before = kernel.set_ids_denied(), tries()
        kernel.pretend_set_ids()
        tell([denied, before, tries(), os.getuid(), os.stat('/run').st_uid,
              os.system('ip link set lo up')])
        """
    )
    assert told == [True, [False] * 5, [True] * 5, 0, 0, 0]


def test_where_all_ids_are_mapped_nothing_is_denied(root: None) -> None:
    assert not kernel.set_ids_denied()
