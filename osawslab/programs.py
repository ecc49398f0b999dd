"""Commands that lead other programs into the lab: OpenSSH, a browser, AWS's and OpenStack's."""

from __future__ import annotations

import contextlib
import os
import threading
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from osawslab import target
from osawslab.arguments import lab_of, settings_of
from osawslab.console import answer, tell
from osawslab.errors import BadSetting, StepNotReady
from osawslab.region import folders, local
from osawslab.settings import Settings

if TYPE_CHECKING:
    from osawslab.lab import Lab


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


def fetch(options: Namespace) -> int:
    """Make the offline folder."""
    from osawslab import fetch as room

    found = room.fetch(Path(options.into), settings_of(options).cloud == "openstack", tell)
    size = f"{found['bytes'] >> 20} MiB for Python {found['python']} on {found['system']}"
    return answer(options, f"{found['folder']}: {size}\nthere: ./lab start", found)


def handout(options: Namespace) -> int:
    """Print the notebooks."""
    from osawslab import booklet, workbook

    paths = booklet.notebooks(workbook.source(), options.notebook)
    written = booklet.write(paths, options.write)
    for file in written:
        folders.give(file)
    made = list(map(str, written))
    text = "\n".join(made) + ("" if made[1:] else "\nno PDF without Chromium: print the page")
    return answer(options, text, {"notebooks": [each.stem for each in paths], "files": made})


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


def wireshark(options: Namespace) -> int:
    """Stream a capture into Wireshark, a file or a pipe, until one of them ends."""
    from osawslab import wireshark as room

    made(options)
    with lab_of(options) as lab:
        tell(room.stream(lab, options.point or None, options.filter, options.write))
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


def floating_ip(options: Namespace) -> int:
    """Add, remove or list floating IPs."""
    from osawslab import tour as room

    with lab_of(options) as lab:
        if options.what == "list":
            table = lab.floating_ips()
            rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
            return answer(options, repr(table), {"floating_ips": rows})
        if options.what == "add":
            report = lab.add_floating_ip(options.which, options.router)
        else:
            report = lab.remove_floating_ip(options.which)
    return answer(options, report.text, {**room.data(report), **report.data}, report.ok)


def exercise(options: Namespace) -> int:
    """List exercises, begin one, hint, answer, check; or say who has found what."""
    from osawslab import training

    return training.exercise(options)


def exercises(options: Namespace, lab: Lab) -> int:
    """Give exercises to the seats of the class that the lab's name is."""
    from osawslab import training

    found = training.give(lab, options.exercise, tell)
    return answer(options, found.text, found.data, found.ok)
