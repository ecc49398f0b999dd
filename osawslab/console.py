"""What the command line writes: answers on standard output, everything else on standard error."""

from __future__ import annotations

import json
import re
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

from osawslab.environment import MARK


def program() -> str:
    """Say how this program is called here: by the script of a checkout, or by its own name."""
    return "./lab" if (Path(sys.prefix) / MARK).exists() else "osawslab"


_SHOWN = "arp|links|fdb|routes|nat|drops|topology|capture|exercises"  # in notebooks alone
# What an error or a check tells to type in a notebook, and how that is typed here.
_PYTHON = (
    (r'\blab\.(plan|run|check|reset|hint)\("(\w+)"\)', r"{0} \1 \2"),
    (r'\blab\.shell\("([^"]*)", on="vm"\)', r"{0} ssh vm -- \1"),
    (r'\blab\.shell\("([^"]*)"\)', r"{0} ssh -- sudo \1"),
    (r'\blab\.exercise\("([\w+-]+)"\)', r"{0} exercise begin \1"),
    (r'\blab\.exercise\("([\w+-]+)", seed=(\d+)\)', r"{0} exercise begin \1 --seed \2"),
    (r"\bexercise\.(hint|check)\(\)", r"{0} exercise \1"),
    (r'\bexercise\.answer\("([^"]*)"\)', r"{0} exercise answer \1"),
    (r"\bexercise\.places\b", r"{0} exercise places"),
    (r"\blab\.(status|dashboard|diagnose|extend|sweep|seats|probe)\(\)", r"{0} \1"),
    (r"\blab\.sweep\(yes=True\)", r"{0} sweep --yes"),
    (r'\blab\.sweep\(yes=True, older_than="(\w+)"\)', r"{0} sweep --yes --older-than \1"),
    (rf"\blab\.(?!(?:{_SHOWN})\b)(\w+)\(\)", r"{0} run \1"),
    (r"(?<![\w./-])(?:\./lab|osawslab) (?=[a-z])", r"{0} "),
)


def typed(text: str, called: str = "") -> str:
    """Say Python's calls as the commands that do the same.

    >>> typed('next: lab.check("networks"), then lab.swap_mac()', "osawslab")
    'next: osawslab check networks, then osawslab run swap_mac'
    """
    for pattern, words in _PYTHON:
        text = re.sub(pattern, words.format(called or program()), text)
    return text


def tell(text: str) -> None:
    """Write lines to standard error."""
    sys.stderr.write(typed(text) + "\n")
    sys.stderr.flush()


def say(text: str) -> None:
    """Write lines to standard output."""
    sys.stdout.write(typed(text) + "\n")
    sys.stdout.flush()


def show_json(data: Any) -> None:
    """Write the answer for programs: one line of JSON on standard output."""
    sys.stdout.write(json.dumps(data) + "\n")
    sys.stdout.flush()


def answer(options: Namespace, text: str, data: Any, ok: bool = True) -> int:
    """Give the answer in the form that was asked for; the exit status."""
    if options.json:
        show_json(data)
    else:
        say(text)
    return 0 if ok else 1
