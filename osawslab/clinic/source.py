"""The programs that are sent to a host: modules as one text."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

from osawslab.clinic import hear, look, tries

HEAD = "from __future__ import annotations\n"


def source() -> str:
    """Give the one that looks."""
    return joined(hear, tries, look)


def listening() -> str:
    """Give the one that only hears who knocks."""
    return f"{joined(hear)}import json\nprint(json.dumps(knocks(GIVEN)))\n"


def joined(*modules: ModuleType) -> str:
    """Join modules; what they import of one another is there already."""
    texts = [Path(str(module.__file__)).read_text() for module in modules]
    lines = [
        line
        for text in texts
        for line in text.splitlines()
        if not line.startswith(("from osawslab", "from __future__"))
    ]
    return HEAD + "\n".join(lines) + "\n"
