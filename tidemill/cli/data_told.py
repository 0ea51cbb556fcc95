"""How `tidemill data` shows a data set to people: what it is of, whose rows, by which rules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tidemill.cli.times import shown_time

if TYPE_CHECKING:
    from retrain.datasets.remote import Kept
    from retrain.datasets.snapshots import Snapshot


def tell(console: Console, found: Snapshot) -> None:
    """All that stands in the manifest but the rows."""
    manifest = found.manifest
    state = "the files are as they were made" if found.intact() else "THE FILES HAVE BEEN CHANGED SINCE"
    console.print(f"job {found.job_id} {found.version}".rstrip(), markup=False)
    console.print(f"pipeline {manifest['pipeline']}, digest {manifest['digest']}: {state}", markup=False)
    console.print(
        f"fresh: calls from {shown_time(manifest['change_ms'])} to {shown_time(manifest['until_ms'])} UTC", markup=False
    )
    for note in manifest.get("notes", ()):
        console.print(f"! {note}", markup=False)
    origins = manifest.get("origins", {})
    for kind in ("sources", "tenants"):
        if groups := origins.get(kind):
            console.print()
            console.print(_groups(kind, groups))
    console.print()
    counts = table_of("counted", "")
    for name, number in manifest["counts"].items():
        counts.add_row(name, f"{number:,}")
    console.print(counts)
    console.print()
    rules = table_of("rule", "")
    for name, value in manifest.get("rules", {}).items():
        rules.add_row(name, escape(plain(value)))
    console.print(rules)


def _groups(kind: str, groups: dict[str, dict[str, Any]]) -> Table:
    shown = {"labels": "labels", "train": "trained on", "contradicted": "contradict", "compared": "compared"}
    if any("thumbs" in each for each in groups.values()):
        shown |= {"thumbs": "thumbs", "thumbs_contradicted": "contradict", "thumbs_compared": "compared"}
    table = table_of(kind, *shown.values(), "licence" if kind == "sources" else "", "")
    for name, each in groups.items():
        figures = (f"{each.get(key, 0):,}" for key in shown)
        notes = ("left out" if each["left_out"] else "") or ("trusted" if each.get("trusted") else "")
        table.add_row(escape(name or "(none)"), *figures, escape(each.get("licence", "")), notes)
    return table


def pushed(found: Kept) -> str:
    """One line on a data set that the remote has now."""
    return f"job {found.job_id[:8]}, digest {found.digest[:12]}: {found.hash} in {found.remote}"


def plain(value: Any) -> str:
    """A value of a manifest in words."""
    if value is None:
        return "not there"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, dict):
        return ", ".join(f"{name}: {each}" for name, each in value.items()) or "none"
    return str(value)


def table_of(*columns: str) -> Table:
    """A table without lines."""
    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(escape(column), overflow="fold")
    return table
