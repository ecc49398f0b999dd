"""What each command does."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from osawslab import target
from osawslab.arguments import given, settings_of
from osawslab.console import answer, program, say, show_json, tell
from osawslab.errors import StepNotReady
from osawslab.region import folders, local
from osawslab.settings import Settings

if TYPE_CHECKING:
    from osawslab.lab import Lab


def lab_of(options: Namespace, progress_to_stdout: bool = False) -> Lab:
    """Open the lab; its progress is told as lines."""
    from osawslab.lab import Lab
    from osawslab.ui.progress import TerminalProgress

    made = Lab(**given(options))
    made.progress = TerminalProgress(sys.stdout if progress_to_stdout else sys.stderr)
    return made


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


def tour(options: Namespace) -> int:
    """Run the whole tutorial."""
    from osawslab import tour as room

    with lab_of(options, progress_to_stdout=not options.json) as lab:
        result = room.tour(lab, tell if options.json else say)
    status = answer(options, result.text, result.data, result.ok)
    if result.error:
        tell(str(result.error))
    return 2 if result.error else status


def start(options: Namespace) -> int:
    """Lay the notebooks out, start the region, and run JupyterLab."""
    from osawslab import jupyter, workbook

    settings = settings_of(options)
    server = jupyter.server(options.folder, options.port, not options.no_browser)
    laid = workbook.lay_out(workbook.source(), options.folder, jupyter.data())
    if laid.text:
        tell(f"notebooks in {options.folder}\n{laid.text}")
    if not options.no_region:
        region = target.region_of(settings)
        tell(f"the local region of lab {settings.name!r} runs (tier {region.tier})")
    if options.port is None and server.port != jupyter.PORTS[0]:
        tell(f"port {jupyter.PORTS[0]} is taken: JupyterLab uses {server.port}")
    url = server.url(workbook.FIRST)

    def ready() -> None:
        text = f"\nopen {url}\n\nCtrl-C ends JupyterLab."
        answer(options, text, {"url": url, "port": server.port, "folder": str(server.folder)})

    variables = {f"OSAWSLAB_{key.upper()}": str(value) for key, value in given(options).items()}
    jupyter.serve(server, workbook.FIRST, variables, ready)
    tell(f"JupyterLab has ended; your notebooks stay in {options.folder}.")
    if local.find(settings.name):
        tell(f"The local region goes on. To end it: {program()} down{_named(options)}")
    return 0


def _named(options: Namespace) -> str:
    return f" --name {options.name}" if options.name else ""


def step(options: Namespace) -> int:
    """Plan, run, check or reset one step."""
    from osawslab import tour as room

    with lab_of(options) as lab:
        result = getattr(lab, options.command)(options.step)
    text = result.text if options.command in ("run", "reset") else repr(result)
    return answer(options, text, room.data(result), bool(getattr(result, "ok", True)))


def hint(options: Namespace) -> int:
    """Give a hint."""
    from osawslab.lab import Lab

    text = Lab(**given(options)).hint(options.step, options.level)
    return answer(options, text, {"step": options.step, "level": options.level, "hint": text})


def image(options: Namespace) -> int:
    """Install a real OpenStack once, keep it as an image, and end the lab that it was made in."""
    from osawslab.lab import Lab
    from osawslab.ui.progress import TerminalProgress

    settings = {"name": "image", **given(options), "cloud": "openstack"}
    with Lab(**settings) as lab:
        lab.progress = TerminalProgress(sys.stdout if not options.json else sys.stderr)
        lab.catch_up("provider_nic")
        report = lab.bake()
    if report.ok:
        local.remove(settings["name"])
    data = {"ok": report.ok, "image": report.data["image"], "changed": report.changed}
    return answer(options, report.text, data, report.ok)


def status(options: Namespace) -> int:
    """Say what exists; starts nothing."""
    settings = settings_of(options)
    region, folder = local.find(settings.name), folders.state_folder(settings.name)
    others = sorted(p.name for p in folders.state_home().glob("*") if p != folder)
    data: dict[str, Any] = {"lab": settings.name, "running": region is not None, "others": others}
    if region is None:
        kept = f"its state is kept in {folder}" if folder.is_dir() else "nothing was made"
        lines = [f"the local region of lab {settings.name!r} does not run: {kept}"]
    else:
        from osawslab.steps.run import own_errors

        with lab_of(options) as lab, own_errors("status"):
            table = lab.status()
        lines = [_about(region), "", repr(table)]
        data |= {"tier": region.tier, "endpoint": region.endpoint, "pid": region.pid}
        data["resources"] = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    if others:
        lines += ["", f"other labs here: {', '.join(others)}"]
    return answer(options, "\n".join(lines), data)


def _about(region: local.Region) -> str:
    return (
        f"the local region of lab {region.name!r} runs: process {region.pid},"
        f" tier {region.tier}, EC2's API at {region.endpoint}"
    )


def down(options: Namespace) -> int:
    """End local labs: their regions and state. Notebooks stay."""
    if options.all:
        names = sorted(path.name for path in folders.state_home().glob("*") if path.is_dir())
    else:
        # A lab.toml that is wrong must not keep a lab alive that is named.
        names = [(Settings(name=options.name) if options.name else settings_of(options)).name]
    ended = []
    for name in names:
        region = local.find(name)
        if local.remove(name):
            process = f" (process {region.pid}, tier {region.tier})" if region else ""
            ended.append({"lab": name, "pid": region.pid if region else None})
            if not options.json:
                say(f"ended lab {name!r}{process} and removed its state")
    if options.json:
        show_json({"ok": True, "ended": ended})
    elif not ended:
        say(f"nothing to end: there is no lab {names[0]!r}" if names else "nothing to end")
    return 0


def existing(options: Namespace) -> str:
    """Give the name of the lab. Raises StepNotReady where there is none."""
    name = settings_of(options).name
    if not folders.state_folder(name).is_dir():
        raise StepNotReady(f"there is no lab {name!r}", seen="nothing was made", next="./lab tour")
    return name


def ssh(options: Namespace) -> int:
    """Become OpenSSH, logging in to the instance or the VM."""
    from osawslab import access

    name = existing(options)
    with lab_of(options) as lab:
        host = lab.host(options.to)
    us = (sys.executable, "-P", "-m", "osawslab.cli")
    command = access.ssh_command(host, name, options.words, us)
    os.execv(command[0], command)


def env(options: Namespace) -> int:
    """Print what leads AWS's tools to the region."""
    from osawslab import access

    settings = settings_of(options)
    found = access.variables(target.region_of(settings))
    return answer(options, access.exports(found), found)


def aws(options: Namespace) -> int:
    """Become the AWS CLI in the region."""
    from osawslab import access

    settings = settings_of(options)
    access.aws(target.region_of(settings), options.words)
    return 0


def openstack(options: Namespace) -> int:
    """Run OpenStack's client on the lab's OpenStack; its exit status."""
    from osawslab import access

    existing(options)
    access.openstack_program()
    with lab_of(options) as lab, lab.openstack() as found:
        return access.openstack(options.words, found)


def doctor(options: Namespace) -> int:
    """Look at this machine."""
    from osawslab.doctor import examine

    found = examine()
    return answer(options, found.text, found.data, found.ok)


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
        case "status":
            places = found.places()
            text = "\n".join([_about(found), "network namespaces:", *(f"  {p}" for p in places)])
            data = {"pid": found.pid, "tier": found.tier, "endpoint": found.endpoint}
            return answer(options, text, {**data, "namespaces": places})
    return 0


def bench(options: Namespace) -> int:
    """Measure."""
    from osawslab import bench as room

    found = room.run(options.section)
    return answer(options, room.text(found), found)


def test(options: Namespace) -> int:
    """Run the parts of the test."""
    from osawslab import testing

    return testing.main(options.part, options.json)


_BY_NAME = (
    start, tour, status, down, ssh, env, aws, openstack, hint, doctor, region, image, bench, test,
)  # fmt: skip
COMMANDS: dict[str, Callable[[Namespace], int]] = {
    **dict.fromkeys(("plan", "run", "check", "reset"), step),
    **{each.__name__: each for each in _BY_NAME},
}
