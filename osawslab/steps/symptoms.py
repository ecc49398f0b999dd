"""What a person notices of a lab: does it answer, and does it reach the internet? Real packets.

Nothing is read here that says why; nothing is changed.
"""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor

from invoke.exceptions import CommandTimedOut

from osawslab.errors import CannotReach, LabTimeout, StepNotReady
from osawslab.report import Check
from osawslab.steps import publish_vm, work
from osawslab.steps.site import Site
from osawslab.steps.work import Ground

PINGS = 2  # answers
PING_SECONDS = 2  # for them to come, twice: a neighbour may have just been given up
BYTES = 60_000  # more than a packet or two: what is too large for the way never arrives
SECONDS = 4  # for them to arrive
UNKNOWN = "not tried: the instance does not answer"


def checks(site: Site, next: str = "lab.diagnose()") -> tuple[Check, ...]:
    """Try the way in, the ways out and what is published; `next` is what to type otherwise.

    Raises StepNotReady where there is no instance.
    """
    settings = site.settings
    facts = site.read_ec2()
    if facts.instance is None:
        raise StepNotReady(
            "there is no instance to try", seen=site.why_none(facts), next="lab.provision()"
        )
    ground, why = _ground(site)
    pings = ["the router"] if settings.cloud == "openstack" else ["the router", settings.vm_name]
    named = [
        ("ssh to the instance", "answers"),
        *((f"ping {settings.ping_address} from {who}", "answered") for who in pings),
        (f"ssh to {settings.vm_name} from the internet", f"logs in to {settings.vm_name}"),
    ]
    seen = [why, *[UNKNOWN] * (len(named) - 1)]
    if ground is not None:
        with ThreadPoolExecutor(1) as pool:
            login = pool.submit(_login, site, ground)
            seen = ["answers", *_pings(site, ground, len(pings)), login.result()]
    return tuple(
        Check(what, expected, said, said == expected, next)
        for (what, expected), said in zip(named, seen, strict=True)
    )


def _ground(site: Site) -> tuple[Ground | None, str]:
    try:
        return work.read(site), ""
    except StepNotReady as error:
        return None, error.seen or error.what
    except (CannotReach, LabTimeout):
        return None, "no answer"


def _pings(site: Site, ground: Ground, count: int) -> list[str]:
    """Ping from the router, and from the VM where it is a namespace: all at once."""
    called, far = ground.cloud.names, site.settings.ping_address
    spaces = [called.router_netns, called.vm_netns][:count]
    how = f"ping -n -c {PINGS} -i 0.2 -w {PING_SECONDS} {far}"
    ping = " & ".join(
        f"(ip netns exec {space} sh -c '{how} || {how}' 2>&1 | sed 's/^/{at}:/')"
        for at, space in enumerate(spaces)
    )
    said = ground.host.run(f"{ping} & wait")
    found = []
    for at in range(count):
        told = re.findall(rf"^{at}:.* (\d+) received", said, re.MULTILINE)
        received = int(told[-1]) if told else 0
        found.append("answered" if received == PINGS else f"{received} of {PINGS} answered")
    return found


def _login(site: Site, ground: Ground) -> str:
    """Log in to the VM through what is published, anew, and have it send something large."""
    if not ground.provider_eip:
        return "no Elastic IP"
    guest = None
    try:
        guest = publish_vm.vm(site, publish_vm.published(site, ground))
        guest.close()  # a connection that stays open from before proves nothing
        guest.wait(0)
        done = guest.connection().run(
            f"hostname; head -c {BYTES} /dev/zero | tr '\\0' x",
            hide=True, warn=True, in_stream=False, timeout=SECONDS,
        )  # fmt: skip
    except StepNotReady as error:
        return error.what
    except CommandTimedOut:
        return "logs in, and stalls"
    except (CannotReach, LabTimeout) as error:
        return "refused" if "refused" in (error.seen or error.what).lower() else "no answer"
    finally:
        if guest:
            guest.close()
    name, _, rest = str(done.stdout).partition("\n")
    return f"logs in to {name}" if len(rest) == BYTES else "logs in, and stalls"
