"""What each command does."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from collections.abc import Callable
from typing import Any

from osawslab import programs, target
from osawslab.arguments import given, lab_of, settings_of
from osawslab.console import answer, program, say, show_json, tell
from osawslab.errors import BadSetting, writing
from osawslab.region import folders, local
from osawslab.settings import Settings


def tour(options: Namespace) -> int:
    """Run the whole tutorial."""
    from osawslab import tour as room

    with lab_of(options, progress_to_stdout=not options.json) as lab:
        result = room.tour(lab, tell if options.json else say)
    status = answer(options, result.text, result.data, result.ok)
    if result.error:
        tell(str(result.error))
    goes_on(lab.settings.name)
    return 2 if result.error else status


def goes_on(name: str) -> bool:
    """Tell that a lab of this name is in an AWS account; False where this machine has none there.

    Its account is noted before anything is made, and no longer when all is given back. Its key is
    made before anything is that AWS charges for.
    """
    folder = target.aws_folder(name)
    if not folder.is_dir():
        return False
    from osawslab.keys import key_file
    from osawslab.steps.account import NOTE

    if not (folder / NOTE).exists():
        return False
    what = (
        "goes on, and costs money" if key_file(folder).exists() else "was begun, and costs nothing"
    )
    how = f"{program()} down --name {name} --target aws"
    tell(f"lab {name!r} on AWS {what}; to end it: {how}")
    return True


def start(options: Namespace) -> int:
    """Lay the notebooks out, start the region, and run JupyterLab."""
    from osawslab import jupyter, workbook

    settings = settings_of(options)
    server = jupyter.server(options.folder, options.port, not options.no_browser)
    laid = workbook.lay_out(workbook.source(), options.folder, jupyter.data())
    if laid.text:
        tell(f"notebooks in {options.folder}\n{laid.text}")
    if not options.no_region:
        region = target.start(settings)
        if region:
            tell(f"the local region of lab {settings.name!r} runs (tier {region.tier})")
        if settings.target == "aws":
            with lab_of(options) as lab:
                tell(lab.left_behind() or "no lab has left anything behind in this account")
    if options.port is None and server.port != jupyter.PORTS[0]:
        tell(f"port {jupyter.PORTS[0]} is taken: JupyterLab uses {server.port}")
    url = server.url(workbook.FIRST)

    def ready() -> None:
        text = f"\nopen {url}\n\nCtrl-C ends JupyterLab."
        answer(options, text, {"url": url, "port": server.port, "folder": str(server.folder)})

    variables = {f"OSAWSLAB_{key.upper()}": str(value) for key, value in given(options).items()}
    if options.no_region:
        variables["OSAWSLAB_TARGET"] = "replay"
    jupyter.serve(server, workbook.FIRST, variables, ready)
    tell(f"JupyterLab has ended; your notebooks stay in {options.folder}.")
    if local.find(settings.name):
        named = f" --name {options.name}" if options.name else ""
        tell(f"The local region goes on. To end it: {program()} down{named}")
    goes_on(settings.name)
    return 0


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
    from osawslab import account
    from osawslab.lab import Lab
    from osawslab.ui.progress import TerminalProgress

    with Lab(**{"name": "image", **given(options), "cloud": "openstack"}) as lab:
        lab.progress = TerminalProgress(sys.stdout if not options.json else sys.stderr)
        name = lab.settings.name
        try:
            lab.agree(snapshot=True)
            lab.catch_up("provider_nic")
            report = lab.bake()
            if report.ok and lab.settings.target == "aws":
                account.give_back(lab)
        finally:
            goes_on(name)
    if report.ok and lab.settings.target == "local":
        local.remove(name)
    data = {"ok": report.ok, "image": report.data["image"], "changed": report.changed}
    return answer(options, report.text, data, report.ok)


def sweep(options: Namespace) -> int:
    """Show what labs have left behind, or give it back."""
    from osawslab import tour as room

    with lab_of(options) as lab:
        report = lab.sweep(options.yes, options.older_than)
    return answer(options, report.text, {**room.data(report), **report.data}, report.ok)


def extend(options: Namespace) -> int:
    """Put the end of a lab's instance off."""
    from osawslab import tour as room

    with lab_of(options) as lab:
        report = lab.extend(options.hours)
    return answer(options, report.text, {**room.data(report), **report.data}, report.ok)


def seats(options: Namespace) -> int:
    """Make, show or give back the seats of a class."""
    if (settings := settings_of(options)).target == "local":
        from osawslab import classroom

        return classroom.command(options, settings.cloud)
    from osawslab import seats as room
    from osawslab.lab import Lab

    with Lab(**{"name": "class", **given(options)}) as lab:
        if options.exercise:
            return programs.exercises(options, lab)
        if options.down:
            found = room.give_back(lab, bool(options.name), tell)
        elif options.count is None:
            found = room.look(lab)
        else:
            learners = room.learners(options.learners)
            found = room.make(lab, options.count, learners, options.upto, tell)
    return answer(options, found.text, found.data, found.ok)


def everyone(options: Namespace, settings: Settings) -> int:
    """Say which labs there are: in the account, or in all regions of this machine that run."""
    from osawslab.lab import Lab
    from osawslab.steps import census

    names = [settings.name]
    if settings.target == "local":
        names = sorted(p.name for p in folders.state_home().glob("*") if local.find(p.name))
    found: list[census.Line] = []
    for name in names:
        with Lab(**{**given(options), "name": name}) as lab:
            found += lab.labs()
    table = census.table("Labs", tuple(found))
    return answer(options, repr(table), {"labs": [each.data for each in found]})


def status(options: Namespace) -> int:
    """Say what exists; starts nothing."""
    settings = settings_of(options)
    if options.all:
        return everyone(options, settings)
    if settings.target == "aws":
        from osawslab import account

        with lab_of(options) as lab:
            return account.status(options, lab)
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
        lines = [programs.about(region), "", repr(table)]
        data |= {"tier": region.tier, "endpoint": region.endpoint, "pid": region.pid}
        data["resources"] = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    if others:
        lines += ["", f"other labs here: {', '.join(others)}"]
    return answer(options, "\n".join(lines), data)


def down(options: Namespace) -> int:
    """End local labs: their regions and state; of one on AWS, all it has. Notebooks stay."""
    if options.all:
        names = sorted(path.name for path in folders.state_home().glob("*") if path.is_dir())
        names = [name for name in names if "." not in name]
        on_aws = sorted(path.stem for path in folders.state_home().glob("*.aws"))
    else:
        settings = _of_down(options)
        if settings.target == "aws":
            from osawslab import account

            with lab_of(options) as lab:
                return account.down(options, lab)
        names = on_aws = [settings.name]
    ended = []
    for name in names:
        region = local.find(name)
        if local.remove(name):
            process = f" (process {region.pid}, tier {region.tier})" if region else ""
            ended.append({"lab": name, "pid": region.pid if region else None})
            if not options.json:
                say(f"ended lab {name!r}{process} and removed its state")
    left = [name for name in on_aws if goes_on(name)]
    if options.all:
        from osawslab.classroom import book

        for each in book.names():
            tell(f"class {each!r} goes on; to end it: {program()} seats --down --name {each}")
    if options.json:
        show_json({"ok": not left, "ended": ended})
    elif not ended and not left:
        say(f"nothing to end: there is no lab {names[0]!r}" if names else "nothing to end")
    return 1 if left else 0


def _of_down(options: Namespace) -> Settings:
    """Make the settings; a lab.toml that is wrong must not keep a lab alive that is named."""
    try:
        return settings_of(options)
    except BadSetting:
        if not options.name or options.target == "aws":  # whose region would be a guess
            raise
        return Settings(name=options.name)


def doctor(options: Namespace) -> int:
    """Look at this machine."""
    from osawslab.doctor import examine

    found = examine()
    return answer(options, found.text, found.data, found.ok)


def diagnose(options: Namespace) -> int:
    """Say why a packet does not arrive: on a lab's instance, or on any host."""
    if options.ssh is not None:
        from osawslab.clinic import stranger

        found = stranger.run(
            options.ssh, options.provider_nic, options.identity, options.ssh_config
        )
    else:
        with lab_of(options) as lab:
            found = lab.diagnose(options.provider_nic)
    return answer(options, found.text, found.data, found.ok)


def preflight(options: Namespace) -> int:
    """Look at the account that the lab is to be made in."""
    from osawslab import tour as room

    with lab_of(options) as lab:
        found = lab.preflight()
    text = "\n".join(map(room.line, found.checks))
    return answer(options, text, room.data(found), bool(found))


def probe(options: Namespace) -> int:
    """Try what is said of AWS; the lab of that is given back."""
    with lab_of(options) as lab:
        name = lab.settings.name
        try:
            found = lab.probe(name, lab.settings.instance_type)
        finally:
            goes_on(name)
    if options.save:
        with writing(options.save):
            found.save(options.save)
            folders.give(options.save)
    return answer(options, found.text, found.data, found.ok)


def export(options: Namespace) -> int:
    """Write what provision makes as a CloudFormation template; makes and asks nothing."""
    from osawslab.aws.template import template
    from osawslab.steps import bill

    settings = settings_of(options)
    sys.stdout.write(json.dumps(template(settings, bill.gigabytes(settings)), indent=2) + "\n")
    return 0


def bench(options: Namespace) -> int:
    """Measure."""
    from osawslab import bench as room
    from osawslab import bench_text

    found = room.run(options.section)
    return answer(options, bench_text.text(found), found)


def test(options: Namespace) -> int:
    """Run the parts of the test."""
    from osawslab import testing

    return testing.main(options.part, options.json)


COMMANDS: dict[str, Callable[[Namespace], int]] = {
    **dict.fromkeys(("plan", "run", "check", "reset"), step),
    **{f.__name__: f for f in (start, tour, status, seats, sweep, probe, down, hint, doctor)},
    **{f.__name__: f for f in (preflight, image, extend, diagnose)},
    **{
        f.__name__: f
        for f in (programs.ssh, programs.env, programs.aws, programs.openstack, programs.region)
    },
    "dashboard": programs.dashboard,
    "exercise": programs.exercise,
    "fetch": programs.fetch,
    "handout": programs.handout,
    "floating-ip": programs.floating_ip,
    "wireshark": programs.wireshark,
    "bench": bench,
    "export": export,
    "test": test,
}
