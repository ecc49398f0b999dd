"""Commands that lead other programs into the lab: OpenSSH, a browser, AWS's and OpenStack's."""

from __future__ import annotations

import contextlib
import os
import threading
from argparse import Namespace

from osawslab import target
from osawslab.arguments import lab_of, settings_of
from osawslab.console import answer
from osawslab.errors import BadSetting, StepNotReady
from osawslab.region import folders, local
from osawslab.settings import Settings


def region_of(options: Namespace) -> local.Region:
    """Find the running region of the lab, without starting one."""
    name = settings_of(options).name
    found = local.find(name)
    if found is None:
        raise StepNotReady(
            f"the local region of lab {name!r} does not run",
            seen="its state is kept" if folders.state_folder(name).is_dir() else "nothing was made",
            next="./lab tour, or a step in a notebook, starts it",
        )
    return found


def ssh(options: Namespace) -> int:
    """Become OpenSSH, logging in to the instance or the VM."""
    from osawslab import access

    settings = made(options)
    with lab_of(options) as lab:
        host = lab.host(options.to)
    place = target.open_target(settings)
    command = access.ssh_command(host, place.keys, options.words, place.proxy)
    os.execv(command[0], command)


def made(options: Namespace) -> Settings:
    """Read the settings of a lab that exists. Raises StepNotReady: to look must not make one."""
    settings = settings_of(options)
    if settings.target == "local" and not folders.state_folder(settings.name).is_dir():
        raise StepNotReady(
            f"there is no lab {settings.name!r}", seen="nothing was made", next="./lab tour"
        )
    return settings


def dashboard(options: Namespace) -> int:
    """Lead a port to the dashboard until Ctrl-C."""
    made(options)
    with lab_of(options) as lab, lab.dashboard(options.port) as found:
        text = f"{found!r}\n\nCtrl-C gives the port back."
        data = {"url": found.url, "user": found.user, "password_command": found.password_command}
        answer(options, text, data)
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()
    return 0


def env(options: Namespace) -> int:
    """Print what leads AWS's tools to the region."""
    from osawslab import access

    settings = settings_of(options)
    if settings.target == "aws":
        from osawslab import account

        return account.env(options, settings)
    found = access.variables(target.region_of(settings))
    return answer(options, access.exports(found), found)


def aws(options: Namespace) -> int:
    """Become the AWS CLI in the region."""
    from osawslab import access

    settings = settings_of(options)
    if settings.target == "aws":
        from osawslab import account

        account.aws(settings, options.words)
    access.aws(target.region_of(settings), options.words)
    return 0


def openstack(options: Namespace) -> int:
    """Run OpenStack's client on the lab's OpenStack; its exit status."""
    from osawslab import access

    made(options)
    access.openstack_program()
    with lab_of(options) as lab, lab.openstack() as found:
        return access.openstack(options.words, found)


def region(options: Namespace) -> int:
    """Look into the local region, or connect to an address in it."""
    from osawslab import access, rules

    if options.what == "log":
        path = folders.state_folder(settings_of(options).name) / "region.log"
        text = path.read_text(errors="replace") if path.exists() else ""
        return answer(options, text.rstrip() or "(the log is empty)", {"log": text})
    found = region_of(options)
    match options.what:
        case "connect":
            access.join(found, options.address, options.port)
        case "rules":
            shown = rules.read(found)
            return answer(options, shown.text, shown.data)
        case "drops":
            return answer(options, repr(rules.drops(found)), found.drops())
        case "faults":
            return faults(options, found)
        case "status":
            places = found.places()
            text = "\n".join([about(found), "network namespaces:", *(f"  {p}" for p in places)])
            data = {"pid": found.pid, "tier": found.tier, "endpoint": found.endpoint}
            return answer(options, text, {**data, "namespaces": places})
    return 0


def faults(options: Namespace, region: local.Region) -> int:
    """Order faults, or none, and say how often a call met those before."""
    from osawslab.region.faults import read

    try:
        wanted = [read(word) for word in options.fault]
    except ValueError as error:
        example = "osawslab region faults refuse=RequestLimitExceeded"
        raise BadSetting("that is no fault", seen=str(error), next=example) from error
    struck = region.struck()
    region.faults(*wanted)
    met = ", ".join(f"{call} {times}" for call, times in sorted(struck.items())) or "none"
    then = ", ".join(options.fault) or "none"
    text = f"calls that went wrong until now: {met}\nfaults from now on: {then}"
    return answer(options, text, {"struck": struck, "faults": list(options.fault)})


def about(region: local.Region) -> str:
    """Say in one line where a region runs."""
    return (
        f"the local region of lab {region.name!r} runs: process {region.pid},"
        f" tier {region.tier}, EC2's API at {region.endpoint}"
    )
