"""What commands do for a lab in an AWS account, where they do something else than for one here."""

from __future__ import annotations

import os
import shlex
import shutil
from argparse import Namespace
from collections.abc import Sequence
from typing import Any

from osawslab.access import aws_program
from osawslab.console import answer
from osawslab.lab import Lab
from osawslab.report import Report
from osawslab.settings import Settings


def give_back(lab: Lab, mine: bool = True) -> Report:
    """Tear the lab down; its folder here goes too when nothing of it is left there.

    Not `mine`: refuse what was made on another machine. Raises StepNotReady.
    """
    report = lab.tear_down(mine)
    if report.ok:
        shutil.rmtree(lab.folder)
    return report


def down(options: Namespace, lab: Lab) -> int:
    """Give everything of the lab in the account back; fail while anything is left."""
    name = lab.settings.name
    report = give_back(lab, mine=bool(options.name))
    data = {"ok": report.ok, "ended": [{"lab": name, "target": "aws"}] if report.ok else []}
    text = f"gave back what lab {name!r} had on AWS: nothing with its tag is left"
    return answer(options, text if report.ok else report.text, data, report.ok)


def status(options: Namespace, lab: Lab) -> int:
    """Say what exists in the account."""
    table = lab.status()
    data: dict[str, Any] = {"lab": lab.settings.name, "running": bool(table.rows)}
    data["resources"] = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    data["cost"] = table.caption
    return answer(options, repr(table), data)


def env(options: Namespace, settings: Settings) -> int:
    """Print what leads AWS's tools to the lab's region; who asks is left as it is."""
    found = _variables(settings)
    lines = [f"export {name}={shlex.quote(value)}" for name, value in found.items()]
    return answer(options, "\n".join(lines), found)


def aws(settings: Settings, words: Sequence[str]) -> None:
    """Become the AWS CLI, in the lab's region. Raises MissingTool; does not return."""
    os.execve(aws_program(), ["aws", *words], {**os.environ, **_variables(settings)})


def _variables(settings: Settings) -> dict[str, str]:
    return {"AWS_REGION": settings.region, "AWS_DEFAULT_REGION": settings.region}
