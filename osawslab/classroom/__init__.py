"""A class on one server: seats apart from one another, and what the trainer sees of them."""

from __future__ import annotations

import sys
import time
from argparse import Namespace


def command(options: Namespace, cloud: str) -> int:
    """Do what `seats` asks for on this server; `cloud` is what the settings say."""
    from osawslab.classroom import lesson
    from osawslab.console import answer, tell
    from osawslab.errors import BadSetting
    from osawslab.seats import learners, named

    name = options.name or "class"
    if options.enter:
        return lesson.enter(name, options.enter, options.words)
    if options.watch:
        return _watch(name, options)
    if options.down:
        found = lesson.end(name)
    elif options.exercise:
        found = lesson.give(name, options.exercise)
    elif options.reset:
        found = lesson.reset(name, options.reset)
    elif options.count is None:
        found = lesson.look(name)
    else:
        if options.upto != "provision":
            raise BadSetting(
                "on this server each learner begins at the first step",
                seen=f"--upto {options.upto}",
                next=f"osawslab seats {options.count}",
            )
        if cloud != "handbuilt":
            raise BadSetting(
                "a seat on this server has the cloud that is made by hand: its instance is no"
                " whole operating system",
                seen=f"cloud = {cloud!r}",
                next=f"osawslab seats {options.count} without it; the real one for each learner:"
                f" osawslab seats {options.count} --target aws --cloud {cloud}",
            )
        who = learners(options.learners)
        found = lesson.begin(
            name, named(name, options.count, who), who, options.listen, options.port, tell
        )
    return answer(options, found.text, found.data, found.ok)


def _watch(name: str, options: Namespace) -> int:
    """Show the table anew every two seconds, until Ctrl-C; with --json a line for each."""
    from osawslab.classroom import lesson
    from osawslab.console import say, show_json

    while True:
        found = lesson.look(name)
        if options.json:
            show_json(found.data)
        else:
            if sys.stdout.isatty():
                sys.stdout.write("\x1b[H\x1b[2J")
            say(found.text)
        time.sleep(2)
