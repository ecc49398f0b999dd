"""The program on the instance: it puts back what a boot or Open vSwitch's restart has destroyed.

With the pure modules beside it (`program.MODULES`) it is a zip file that the instance's python3
runs, as root: `mend` once, or `watch`, which mends at the start and whenever ovs-vswitchd has ended
and is up again. It waits for events of the kernel and of Open vSwitch, looks at nothing by time,
and does a thing once: what does not stay is said in the log, and not done again.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from osawslab.cloud import handbuilt, lasting
from osawslab.cloud.floating import Floating
from osawslab.cloud.handbuilt import LASTING, Cloud
from osawslab.errors import LabError
from osawslab.host import probe
from osawslab.settings import Settings

CONFIG = LASTING[0]
LOG = "/var/log/osawslab-last.log"
PID = "/run/osawslab-last.pid"  # locked as long as one watches
MENDING = "/run/osawslab-last.lock"
SWITCH = "/run/openvswitch/ovs-vswitchd.pid"
ROUNDS = 3  # dead ports, what they hid, and a look whether all is there


def say(text: str) -> None:
    """Write a line of the log."""
    with open(LOG, "a") as log:
        log.write(f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {text}\n")


class Here:
    """This host, read without SSH."""

    def script(self, source: str, **given: Any) -> Any:
        """Run the probe, whose source this program has itself."""
        return probe.main(given)


def told() -> dict[str, Any]:
    """Read what is to be kept: it may have become more since this program was started."""
    config: dict[str, Any] = json.loads(Path(CONFIG).read_text())
    return config


def read(config: dict[str, Any]) -> Cloud:
    """Read the cloud of this host."""
    host = cast(Any, Here())
    return handbuilt.read(host, Settings(**config["settings"]), config["registered_mac"])


@contextlib.contextmanager
def alone(path: str, *, wait: bool) -> Iterator[bool]:
    """Hold a lock file, with our pid in it; gives False where another one has it."""
    with open(path, "a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield True


def mend() -> None:
    """Do what is missing, and say what was done and what did not help."""
    with alone(MENDING, wait=True):
        config = told()
        ones = [Floating(*each) for each in config.get("floating", ())]
        for number in range(ROUNDS):
            cloud = read(config)
            if cloud.uses_openvswitch and cloud.host.bridges is None:
                say("Open vSwitch does not run: nothing is done")
                return
            try:
                todo = lasting.missing(cloud, config["strategy"], ones)
            except LabError as error:
                say(f"nothing is done: {error}".replace("\n", ";"))
                return
            if not todo:
                return
            if number == ROUNDS - 1:
                for want in todo:
                    say(f"does not stay, and is left: {want.why}")
                return
            for want in todo:
                done = subprocess.run(
                    ["sh", "-c", want.command], capture_output=True, text=True, check=False
                )
                words = " / ".join(done.stderr.strip().splitlines()[-2:])
                say(want.why + (f": FAILED: {words}" if done.returncode else ""))


def switch() -> int:
    """Open ovs-vswitchd as a pidfd, which can be read when it has ended; -1 where it is none."""
    try:
        pid = int(Path(SWITCH).read_text())
        if Path(f"/proc/{pid}/comm").read_text().strip() == "ovs-vswitchd":
            return os.pidfd_open(pid)
    except (OSError, ValueError):
        pass
    return -1


def wait_for_switch() -> bool:
    """Wait until ovs-vswitchd has taken a change of its database over: then it is up."""
    change = f"external_ids:osawslab-last={time.time_ns()}"
    words = ["ovs-vsctl", "--retry", "set", "Open_vSwitch", ".", change]
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


def watch() -> None:
    """Mend now, and after each end of ovs-vswitchd."""
    with alone(PID, wait=False) as mine:
        if not mine:
            return
        if not read(told()).uses_openvswitch:
            say("started")
            mend()
            return
        while wait_for_switch():
            ended = switch()
            say("ovs-vswitchd is up")
            mend()
            if ended < 0:
                say(f"{SWITCH} names no ovs-vswitchd: its end will not be seen")
                return
            select.select([ended], [], [])
            os.close(ended)
            say("ovs-vswitchd has ended")
        say("ovs-vsctl fails: nobody watches")


def main() -> None:
    """Be the program."""
    os.environ["PATH"] = probe.PATH
    (watch if sys.argv[1:] == ["watch"] else mend)()


if __name__ == "__main__":
    main()
