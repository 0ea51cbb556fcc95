"""``tidemill audit``: is every message a row, once, and every window what its rows say?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from tidemill.cli import context
from tidemill.clock import SystemClock, rfc3339
from tidemill.errors import Retry, Stop

if TYPE_CHECKING:
    from collections.abc import Sequence

    from consumers.audit.report import Part, Report, Windows

QUERY_TIMEOUT_S = 600.0
"""A whole table may be looked at, and somebody waits who can end it."""
NO_LOSS = {
    "dead_letters": "refused with a reason, kept as they came; see `tidemill dlq list`",
    "unburied": "no row can be made of them, and they are not (or no longer) among the dead letters",
    "expired": "older than their table keeps rows",
    "holes": "offsets without a message: used by transactions, or removed by compaction or retention",
}
"""Why an offset may have no row without anything being lost; in words, where there are any."""
LEFT_OUT = {
    "incomplete": "incomplete",
    "late": "with rows that may have come late",
    "repeated": "with repeated events",
    "gone": "without raw rows",
    "stray": "of pipelines that the stream does not know",
}
"""Why windows were not compared."""


def audit(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON line instead of a table.")] = False,
    look_back: Annotated[
        float, typer.Option(help="Compare what arrived in the last so many seconds; 0: all that Kafka keeps.", min=0)
    ] = 0,
) -> None:
    """Compare topics, rows and windows with each other; exit code 1 where they differ.

    Example: tidemill audit --look-back 3600
    """
    from consumers.audit.compare import audit as compare
    from tidemill.codec import encode
    from tidemill.io.clickhouse import Store, StoreError

    settings = context.quiet(context.settings())
    context.needs_stack(settings)
    clock = SystemClock()
    since_ms = max(0, clock.now_ms() - round(look_back * 1000)) if look_back else None
    console = Console(stderr=True)
    columns = (
        TextColumn("comparing"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.description}", markup=False),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=None)
        try:
            report = compare(
                settings,
                Store(settings, query_timeout_s=QUERY_TIMEOUT_S),
                clock,
                since_ms,
                lambda what, done, of: bar.update(task, description=what, completed=done, total=of),
            )
        except (Retry, StoreError) as error:
            raise Stop(f"the comparison could not be finished: {error}; see `tidemill status`") from error
    if as_json:
        typer.echo(encode(line(report)).decode())
    else:
        _show(report)
    if not report.holds:
        raise typer.Exit(1)


def line(report: Report) -> dict[str, object]:
    """The report with its conclusions in front."""
    return {
        "holds": report.holds,
        "missing": report.missing,
        "duplicates": report.duplicates,
        "differing_windows": report.windows.different,
        "unequal_projections": report.unequal,
        "report": report,
    }


def verdict(report: Report) -> str:
    """The conclusion in one sentence."""
    windows = report.windows
    rows = f"{sum(part.rows for part in report.parts):,} rows"
    missing, twice = (f"{n:,}" if n else "none" for n in (report.missing, report.duplicates))
    said = [rows, f"{missing} missing", f"{twice} twice"]
    if report.unequal:
        said.append(f"{report.unequal} of {len(report.projections)} projections not equal to their table")
    if windows.behind:
        said.append("windows not compared")
    else:
        said.append(f"{windows.different:,} of {windows.compared:,} windows differ")
    return f"{'holds' if report.holds else 'differs'}: {', '.join(said)}"


def _show(report: Report) -> None:
    console = Console(highlight=False, soft_wrap=True)
    _show_rows(console, report.parts)
    for repeats in report.repeats:
        if repeats.repeated:
            console.print(
                f"{repeats.table}: {repeats.repeated:,} of {repeats.rows:,} rows ({repeats.share:.2%}) came again from "
                "their producer; `tidemill backfill` counts each once"
            )
    for one in report.projections:
        said = {
            True: "equal",
            False: "[red]not equal[/red]",
            None: "not compared (no rows in it yet, the table kept changing, or the store refused)",
        }[one.equal]
        console.print(f"projection {escape(one.name)} of {one.table}: {said}")
    _show_windows(console, report.windows)
    colour = "green" if report.holds else "red"
    console.print(f"[{colour}]{verdict(report)}[/{colour}]")


def _show_rows(console: Console, parts: Sequence[Part]) -> None:
    """A line for each table, what the columns mean where that is no plain word, and each partition that is wrong."""
    looked_at = [part for part in parts if part.hi > part.lo]
    columns = [name for name in NO_LOSS if any(getattr(part, name) for part in looked_at)]
    grid = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    grid.add_column("table", no_wrap=True)
    for column in ("offsets", "rows", "missing", "twice", *columns):
        grid.add_column(column.replace("_", "\n"), justify="right", no_wrap=True)
    for table in dict.fromkeys(part.table for part in looked_at):
        own = [part for part in looked_at if part.table == table]
        names = ("rows", "missing", "duplicates", *columns)
        sums = [sum(getattr(part, name) for part in own) for name in names]
        cells = (sum(part.hi - part.lo for part in own), *sums)
        grid.add_row(table, *(f"{n:,}" for n in cells), style="red" if sums[1] or sums[2] else "")
    console.print(grid, soft_wrap=False)
    for name in columns:
        console.print(f"{name.replace('_', ' ')}: {NO_LOSS[name]}")
    for part in looked_at:
        if part.missing or part.duplicates:
            console.print(
                f"[red]{part.table}[/red], partition {part.partition}, offsets {part.lo:,} to {part.hi - 1:,}: "
                f"{part.missing:,} missing, {part.duplicates:,} twice; at {', '.join(part.examples)}"
            )


def _show_windows(console: Console, windows: Windows) -> None:
    if windows.behind:
        console.print(
            f"windows: not compared, as the sink is {windows.behind:,} messages behind; see `tidemill status`"
        )
        return
    left_out = [f"{n:,} {why}" for name, why in LEFT_OUT.items() if (n := getattr(windows, name))]
    console.print(
        f"windows: {windows.compared:,} compared, {windows.different:,} differ"
        + (f"; left out: {', '.join(left_out)}" if left_out else "")
    )
    for example in windows.examples:
        series = " ".join(filter(None, (example.model_version, example.variant, example.role, example.slice)))
        console.print(
            f"  [red]{escape(example.pipeline)}[/red] {rfc3339(example.start_ms)} {escape(series)} "
            f"{escape(example.metric)}: stream {example.stream or 'nothing'}, rows {example.rows or 'nothing'}"
        )
