"""Chapter 9: the published VM answers again after a reboot, and after Open vSwitch's restart.

What a boot destroys is made anew by a program on the instance: it makes the plan that the steps
make, from the same source. cloud-init starts it at each boot, and it watches ovs-vswitchd.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from typing import Any

from osawslab.cloud import floating, lasting, program, router
from osawslab.cloud.floating import Floating
from osawslab.cloud.handbuilt import FOLDER, Cloud, Want
from osawslab.cloud.keeper import CONFIG, LOG, PID
from osawslab.errors import StepNotReady
from osawslab.report import Action, Check
from osawslab.steps import swap_mac, work
from osawslab.steps.site import Shown, Site
from osawslab.steps.work import Ground

NAME = "make_it_last"
# Runs on the instance; what is called last says whether it is mine.
LOOK = """# What is there of the program that makes it last.
import hashlib, json, os

def data(path):
    try:
        return open(path, "rb").read()
    except OSError:
        return b""

def held(path):  # only looked at: who tries the lock would keep it from one who starts now
    try:
        inode = os.stat(path).st_ino
    except OSError:
        return False
    return f":{inode} " in data("/proc/locks").decode()

def tell(mine):
    boot = GIVEN["boot"]
    print(json.dumps({
        "current": hashlib.sha256(data(GIVEN["program"])).hexdigest() == mine,
        "there": os.path.exists(GIVEN["program"]),
        "config": data(GIVEN["config"]).decode(),
        "boot": data(boot).decode() if os.access(boot, os.X_OK) else "",
        "watches": held(GIVEN["pid"]),
    }))

"""


@dataclass(frozen=True)
class Kept:
    """What is on the instance of the program."""

    current: bool  # it is this lab's
    there: bool
    config: str
    boot: str  # the script for each boot; "" where there is none that can be run
    watches: bool


@dataclass(frozen=True)
class Seen:
    """The instance, the strategy of the MAC swap, the program, and the floating IPs in EC2."""

    ground: Ground
    strategy: str
    kept: Kept
    floats: tuple[Floating, ...]

    @property
    def cloud(self) -> Cloud:
        """The cloud on the instance."""
        return self.ground.cloud


def look(site: Site) -> Seen:
    """Read the instance. Raises StepNotReady before `provision`."""
    seen = swap_mac.read(site)
    mine = hashlib.sha256(program.archive()).hexdigest()
    told: dict[str, Any] = seen.ground.host.script(
        f"{LOOK}tell({mine!r})\n",
        program=program.PROGRAM,
        config=CONFIG,
        boot=program.BOOT,
        pid=PID,
    )
    floats = tuple(one for one, _ in floating.found(site.instance.ec2.further))
    return Seen(seen.ground, seen.strategy, Kept(**told), floats)


read = look


def _require(facts: Seen) -> None:
    cloud = facts.cloud
    gateway = cloud.require_router()
    if facts.strategy not in lasting.STRATEGIES:
        raise StepNotReady(
            "this strategy of the MAC swap cannot be made to last",
            seen=facts.strategy,
            next=f"strategy = one of: {', '.join(lasting.STRATEGIES)}",
        )
    if not cloud.swapped:
        raise StepNotReady(
            "the gateway port has not the registered MAC",
            seen=gateway.mac,
            next="lab.swap_mac()",
        )
    if router.published(cloud) not in cloud.router.iptables.splitlines():
        raise StepNotReady(
            "the VM is not published yet", seen="no DNAT rule", next="lab.publish_vm()"
        )


def plan(site: Site, facts: Seen) -> tuple[Action, ...]:
    """Say what is missing of program, configuration and start at boot."""
    cloud, kept, host = facts.cloud, facts.kept, facts.ground.host
    told = program.kept(cloud, facts.strategy, facts.floats)
    if facts.kept.current and told.holds and kept.boot == program.SCRIPT and _runs(facts):
        return ()
    _require(facts)
    todo = []
    if not facts.kept.current:
        packed = base64.b64encode(program.archive()).decode()
        put = f"mkdir -p {FOLDER} && base64 -d > {program.PROGRAM}.new"
        put += f" && chmod 700 {program.PROGRAM}.new && mv {program.PROGRAM}.new {program.PROGRAM}"
        todo.append(
            Action(
                "instance",
                "a program that makes the plan of networks, swap_mac and publish_vm, and does it",
                f"install -m 700 last.pyz {program.PROGRAM}",
                lambda: host.run(put, packed),
            )
        )
    start = (
        f": > {PID}; setsid -f {program.BOOT} && for i in $(seq 600); do [ -s {PID} ] && exit 0;"
    )
    start += " sleep 0.05; done; exit 1"
    wants = [
        told,
        Want(
            kept.boot == program.SCRIPT,
            "cloud-init starts it at each boot",
            f"mkdir -p {program.BOOT.rpartition('/')[0]} && cat > {program.BOOT} <<'END'\n"
            f"{program.SCRIPT}END\nchmod 700 {program.BOOT}",
        ),
    ]
    if kept.watches and (todo or not wants[0].holds):
        wants.append(Want(False, "the one of before ends", program.STOP))
    if cloud.uses_openvswitch:
        again = kept.watches and wants[-1].why != "the one of before ends"
        wants.append(Want(again, "it waits for the end of ovs-vswitchd", start))
    return (*todo, *work.actions(host, wants))


def _runs(facts: Seen) -> bool:
    return facts.kept.watches or not facts.cloud.uses_openvswitch


def checks(site: Site, facts: Seen) -> tuple[Check, ...]:
    """Hold program, boot and watch against what lasts, and the MAC against who changes it."""
    cloud, kept, next = facts.cloud, facts.kept, "lab.make_it_last()"
    right = kept.current and program.kept(cloud, facts.strategy, facts.floats).holds
    seen = "this lab's" if right else "another one" if kept.there else "none"
    boots, gateway = kept.boot == program.SCRIPT, cloud.gateway
    mac = lasting.gateway_mac(cloud, facts.strategy)
    found = [
        Check("the program on the instance", "this lab's", seen, right, next),
        Check(
            "cloud-init at each boot", "starts it", "starts it" if boots else "does not",
            boots, next,
        ),
    ]  # fmt: skip
    waits = "is waited for" if cloud.uses_openvswitch else "does not matter: Linux bridges"
    seen = waits if _runs(facts) else "nobody waits for it"
    found.append(Check("the end of ovs-vswitchd", waits, seen, _runs(facts), next))
    found.append(
        Check(
            "the gateway port's MAC",
            f"{mac}, which nobody has changed back",
            gateway.mac if gateway else "no gateway port",
            cloud.swapped and gateway is not None and gateway.mac == mac,
            "see who changes it; then lab.swap_mac()",
        )
    )
    return tuple(found)


def show(site: Site, facts: Seen) -> Shown:
    """Say where the program writes down what it has done."""
    return Shown(notes=(f"What it does, it writes into {LOG} on the instance.",))


def undo(site: Site, facts: Seen) -> tuple[Action, ...]:
    """End the program and take it away."""
    kept = facts.kept
    gone = not (kept.there or kept.config or kept.boot)
    files = f"rm -f {program.PROGRAM} {CONFIG} {program.BOOT} {PID} {LOG}"
    return work.actions(
        facts.ground.host,
        [
            Want(not kept.watches, "it waits no more", program.STOP),
            Want(gone, "nothing lasts any more", files),
        ],
    )
