"""The demo's summary: a table for people, one JSON line for machines."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table


def machine() -> dict[str, Any]:
    """What the figures were taken on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {"cpus": os.cpu_count(), "memory_gib": round(memory, 1), "python": platform.python_version()}


def show(figures: Mapping[str, Any], goals: Sequence[Mapping[str, Any]], console: Console) -> None:
    """Print the goals, the turns, the rows and the memory."""
    table = Table("goal", "value", "wanted", "", title=f"tidemill demo: {figures['scenario']}", title_justify="left")
    for goal in goals:
        sign = "≥" if goal["better"] == "higher" else "≤"
        mark = "[green]holds[/]" if goal["holds"] else "[red]does not hold[/]"
        table.add_row(goal["name"], _number(goal["value"]), f"{sign} {goal['goal']:g} {goal['unit']}", mark)
    console.print(table)
    for turn in figures["turns"]:
        stations = "  ".join(f"{name} {seconds:g} s" for name, seconds in turn["stations_s"].items())
        console.print(f"{turn['pipeline']}: {turn['ending']}; change found {_number(turn['change_error_s'])} s off")
        console.print(f"  stations: {stations}")
        console.print(
            f"  quality before {_number(turn['quality_before'])}, changed {_number(turn['quality_changed'])}, "
            f"after {_number(turn['quality_after'])}"
        )
    calls, rows = figures["calls"], figures["rows"]
    console.print(f"calls: {calls['sent']} sent, {calls['answered']} answered, {calls['failed']} failed")
    console.print("rows: " + ", ".join(f"{name} {count:,}" for name, count in rows.items()))
    console.print(f"webhooks received: {figures['webhooks']}")
    memory = sorted(figures["peak_rss_mb"].items(), key=lambda item: -item[1])
    console.print("peak memory, MB: " + ", ".join(f"{name} {mb:,.0f}" for name, mb in memory))


def _number(value: Any) -> str:
    return "–" if value is None else f"{value:.3g}" if isinstance(value, float) else str(value)
