"""What `bench` has measured, as tables to read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from osawslab import confusion
from osawslab.report import Table


def text(found: Mapping[str, dict[str, Any] | list[dict[str, Any]] | None]) -> str:
    """Show seconds, and how often Mininet's bare network would fit in.

    >>> print(text({"tour": {"tour": 3.0, "mininet": 0.5}}))
    tour
    what     seconds  times Mininet
    tour     3.000    6.0
    mininet  0.500    1.0
    """
    parts = []
    for name, section in found.items():
        if section is None:
            parts.append(f"{name}: needs root")
            continue
        if isinstance(section, list):
            columns = tuple(section[0])
            parts.append(
                repr(Table(name, columns, tuple(tuple(map(str, r.values())) for r in section)))
            )
            if name == "survival" and all(line["cloud"] == "handbuilt" for line in section):
                parts.append("survival of the real OpenStack: needs root")
            continue
        if "healthy_findings" in section:
            parts.append(repr(confusion.table(section)))
            continue
        if "sent" in section:
            parts.append(repr(_live(name, section)))
            continue
        if "frames_per_second" in section:
            parts.append(repr(_readers(name, section)))
            continue
        base = section.get("mininet")
        figures = {key: value for key, value in section.items() if key != "phases"}
        for key, value in [*figures.items()]:
            if isinstance(value, dict):
                del figures[key]
                figures |= {f"{key}, {which}": each for which, each in value.items()}
        figures |= {each["name"]: each["seconds"] for each in section.get("phases", ())}
        rows = tuple(
            (
                key,
                "not installed"
                if value is None
                else f"{value:.3f}"
                if isinstance(value, float)
                else f"{value}",
                f"{value / base:.1f}" if base and value is not None else "",
            )
            for key, value in figures.items()
        )
        parts.append(repr(Table(name, ("what", "seconds", "times Mininet"), rows)))
    return "\n\n".join(parts)


def _readers(name: str, section: Mapping[str, Any]) -> Table:
    """Show frames per second, and how many times ours that of another is."""
    speeds = section["frames_per_second"]
    rows = [
        (reader, f"{speed:,.0f}", f"{speeds['osawslab'] / speed:.1f}")
        if speed
        else (reader, "not installed", "")
        for reader, speed in speeds.items()
    ]
    caption = (
        f"{name}: {section['frames']:,} frames, {section['bytes_per_frame']:.0f} bytes a frame"
    )
    return Table(caption, ("reader", "frames per second", "times slower"), tuple(rows))


def _live(name: str, section: Mapping[str, Any]) -> Table:
    """Show how many frames each point has seen of those that were sent."""
    rows = [("sent", f"{section['sent']:,}")]
    rows += [(f"seen at {point}", f"{count:,}") for point, count in section["seen"].items()]
    rows.append(("lost, as the kernel says", f"{section['lost']:,}"))
    caption = f"{name}: {section['frames_per_second']:,.0f} frames a second"
    return Table(caption, ("what", "frames"), tuple(rows))
