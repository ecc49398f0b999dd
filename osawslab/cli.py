"""The command line: `./lab COMMAND …` in a checkout, `osawslab COMMAND …` elsewhere.

Exit status: 0 all is well, 1 a check, a proof or a test does not hold, 2 bad usage or an error
that says what to do next, 3 a part of `test` was NOT RUN, 130 Ctrl-C. With `--json` the answer
is alone on standard output; everything else goes to standard error.
"""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from argparse import Namespace
from collections.abc import Sequence

from osawslab import target
from osawslab.arguments import parser, settings_of
from osawslab.commands import COMMANDS
from osawslab.console import program, show_json, tell
from osawslab.errors import LabError
from osawslab.region import folders

AS_ROOT = ("down", "doctor", "test", "image")  # under sudo, all else is done as the caller
NEEDS_REGION = (
    "start", "tour", "plan", "run", "check", "reset", "ssh", "dashboard", "aws", "openstack", "env",
    "sweep", "extend", "wireshark", "exercise", "floating-ip",
)  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Do what the command line says; the exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    options = parser().parse_args(words[: words.index("--")] if "--" in words else words)
    options.words = [
        *getattr(options, "words", []),
        *(words[words.index("--") + 1 :] if "--" in words else []),
    ]
    try:
        caller = folders.owner()
        sections = {"openstack", "seats"} & set(getattr(options, "section", ()))
        rooted = options.command in AS_ROOT or bool(sections)
        if options.command == "fetch":  # images of OpenStack are root's
            rooted = settings_of(options).cloud == "openstack"
        if options.command in ("probe", "seats"):  # the first ends the region it has started
            rooted = settings_of(options).target == "local"
        if caller and not rooted:
            return as_caller(options, words, caller)
        return COMMANDS[options.command](options)
    except LabError as error:
        return fail(error, options)
    except KeyboardInterrupt:
        tell(f"\ninterrupted; {program()} {options.command} goes on from here")
        return 130
    except BrokenPipeError:  # whoever read our words is gone, and does not want the rest
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        what = f"{options.command} met an error of the system"
        return fail(LabError(what, seen=str(error), next=f"{program()} doctor"), options)


def fail(error: LabError, options: Namespace) -> int:
    """Tell an error; with --json for programs too."""
    tell(str(error))
    if getattr(options, "json", False):
        from osawslab.tour import error_data

        show_json({"ok": False, "error": error_data(error)})
    return 2


def as_caller(options: Namespace, words: list[str], caller: tuple[int, int]) -> int:
    """Start the region as root, then do the command as the caller that root works for."""
    if options.command in NEEDS_REGION and not getattr(options, "no_region", False):
        target.start(settings_of(options))
    uid, gid = caller
    try:
        groups = os.getgrouplist(pwd.getpwuid(uid).pw_name, gid)
    except KeyError:  # a number without an account
        groups = []
    child = subprocess.Popen(
        [sys.executable, "-P", "-m", "osawslab.cli", *words],
        env={key: value for key, value in os.environ.items() if key != "OSAWSLAB_OWNER"},
        user=uid,
        group=gid,
        extra_groups=groups,
    )
    while True:
        try:
            status = child.wait()
            return status if status >= 0 else 128 - status
        except KeyboardInterrupt:  # the child has met it too, and ends as it must
            continue


if __name__ == "__main__":
    sys.exit(main())
