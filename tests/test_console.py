"""What a check tells to type in a notebook is said here as the command that does the same."""

from __future__ import annotations

import pytest

from osawslab.console import typed


@pytest.mark.parametrize(
    ("python", "shell"),
    [
        ("next: lab.networks()", "next: ./lab run networks"),
        ("lab.tear_down()", "./lab run tear_down"),
        ('lab.check("networks")', "./lab check networks"),
        ('lab.reset("swap_mac"), then lab.see_the_drop()',
         "./lab reset swap_mac, then ./lab run see_the_drop"),
        ("lab.status()", "./lab status"),
        ("lab.dashboard()", "./lab dashboard"),
        ("lab.sweep()", "./lab sweep"),
        ("next: lab.sweep(yes=True)", "next: ./lab sweep --yes"),
        ('lab.sweep(yes=True, older_than="8h")', "./lab sweep --yes --older-than 8h"),
        ('lab.shell("ip netns")', "./lab ssh -- sudo ip netns"),
        ('lab.shell("hostname", on="vm")', "./lab ssh vm -- hostname"),
        ("osawslab doctor", "./lab doctor"),
        ("sudo ./lab start (your files stay yours)", "sudo ./lab start (your files stay yours)"),
        ("read /home/me/osawslab/region.log; osawslab down", None),
        ("~/osawslab-notebooks and the lab itself", None),
        ("python -m osawslab.cli", None),
    ],
)  # fmt: skip
def test_calls_become_commands(python: str, shell: str | None) -> None:
    assert typed(python, "./lab") == (shell or python).replace("; osawslab down", "; ./lab down")
