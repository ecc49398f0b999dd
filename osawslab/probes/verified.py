"""Which claims have been seen on AWS itself: kept with the code, from reports that were sent in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from osawslab.probes.claim import HOLDS

FILE = Path(__file__).with_name("verified.json")
NOT_YET = "not yet"


def kept() -> dict[str, dict[str, str]]:
    """Read what is known: claim's key -> date, instance type and region."""
    found: dict[str, dict[str, str]] = json.loads(FILE.read_text())
    return found


def told(key: str) -> str:
    """Say when and where a claim was seen to hold on AWS."""
    found = kept().get(key)
    return f"{found['date']}, {found['instance_type']}" if found else NOT_YET


def taken(report: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Take from a report what it verifies: nothing, where it is not one of AWS itself."""
    if report["place"] != "AWS":
        return {}
    about = {
        "date": str(report["date"])[:10],
        "instance_type": str(report["instance_type"]),
        "region": str(report["region"]),
    }
    return {each["key"]: about for each in report["probes"] if each["verdict"] == HOLDS}
