"""The program that looks at a host: three modules as one text."""

from __future__ import annotations

from pathlib import Path

from osawslab.clinic import hear, look, tries

HEAD = "from __future__ import annotations\n"


def source() -> str:
    """Join the modules; what they import of one another is there already."""
    texts = [Path(str(module.__file__)).read_text() for module in (hear, tries, look)]
    lines = [
        line
        for text in texts
        for line in text.splitlines()
        if not line.startswith(("from osawslab", "from __future__"))
    ]
    return HEAD + "\n".join(lines) + "\n"
