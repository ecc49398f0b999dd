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
from osawslab.settings import Settings


def down(options: Namespace, lab: Lab) -> int:
    """Give everything of the lab in the account back; fail while anything is left."""
    name = lab.settings.name
    report = lab.tear_down()
    data = {"ok": report.ok, "ended": [{"lab": name, "target": "aws"}] if report.ok else []}
    if not report.ok:
        return answer(options, report.text, data, ok=False)
    shutil.rmtree(lab.folder)
    text = f"gave back what lab {name!r} had on AWS: nothing with its tag is left"
    return answer(options, text, data)


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
